//! Exchanges of data that the master asks for. They change nothing; an export needs a volume that nobody uses, or a snapshot
//! that is whole, as the ledger has them.

use crate::agent::Agent;
use crate::step::Output;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::TransferId;
use berth_model::transfer::TransferOrder;
use berth_model::volume::{VolumeSpec, VolumeState};

impl Agent {
    pub(crate) fn transfer(&mut self, transfer: TransferId, order: TransferOrder) {
        let refused = match &order {
            TransferOrder::Survey { .. } => None,
            TransferOrder::Export { volume: _, snapshot: Some(snapshot) } => {
                self.not_ready(snapshot)
            },
            TransferOrder::Export { volume, snapshot: None } => self.cannot_export(volume),
        };
        match refused {
            None => self.emit(Output::Transfer { transfer, order }),
            Some(reason) => self.emit(Output::RefuseTransfer { transfer, reason }),
        }
    }

    fn cannot_export(&self, wanted: &VolumeSpec) -> Option<Rejection> {
        let VolumeSpec { id, generation, .. } = wanted;
        let known = self.books.volumes().get(id);
        let Some(known) = known.filter(|known| known.spec.generation == *generation) else {
            let text = format!("volume {id} is not on this agent in generation {generation}");
            return Some(Rejection::new(ErrorCode::VolumeNotReady, text));
        };
        if let Some(task) = self.books.user(*id) {
            let text = format!("volume {id} is used by task {task} and is not exported");
            let error = Rejection::new(ErrorCode::VolumeInUse, text);
            return Some(error.remedy("take a snapshot and export that, or end the task first"));
        }
        if known.state == VolumeState::Ready {
            return None;
        }
        let text = format!("volume {id} is {} and is not exported", known.state);
        Some(Rejection::new(ErrorCode::VolumeNotReady, text).remedy("wait until it is READY"))
    }
}
