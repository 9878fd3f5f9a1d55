//! Data without a record, and records without data.

use super::field::{self, Choice, choice};
use super::{At, Wire};
use crate::ledger_wire;
use crate::v1::{
    self, envelope as to, from_agent as from, orphan_choice, submit_request as submit,
};
use berth_model::error::Rejection;
use berth_model::id::{OperationId, VolumeId};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::operator::Request;
use berth_model::orphan::{
    LedgerOrphan, Orphan, OrphanChoice, OrphanOrder, OrphanPlace, OrphanState,
};
use berth_model::units::{Bytes, Timestamp};

choice!(OrphanPlace, v1::OrphanPlace, "place of an orphan", [Live, Trash]);

/// The state of a deletion without its error.
#[derive(Clone, Copy)]
enum Stage {
    Purging,
    Gone,
    Failed,
}
choice!(Stage, ledger_wire::v1::OrphanState, "state of an orphan", [Purging, Gone, Failed]);

impl Wire for Orphan {
    type Message = v1::Orphan;

    fn to_wire(&self) -> v1::Orphan {
        let Self { path, place, spec, evidence, used, modified } = self;
        v1::Orphan {
            path: path.to_string(),
            place: place.number(),
            spec: spec.as_ref().map(Wire::to_wire),
            evidence: evidence.to_string(),
            used_bytes: used.map(Bytes::get),
            modified_ms: modified.map(Timestamp::ms),
        }
    }

    fn from_wire(message: v1::Orphan, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Orphan { path, place, spec, evidence, used_bytes, modified_ms } = message;
        Ok(Self {
            path: field::arc(path, &at.field("path"))?,
            place: OrphanPlace::read(place, &at.field("place"))?,
            spec: field::optional(spec, &at.field("spec"))?,
            evidence: evidence.into(),
            used: used_bytes.map(Bytes::new),
            modified: field::point(modified_ms),
        })
    }
}

impl Wire for OrphanOrder {
    type Message = v1::OrphanOrder;

    fn to_wire(&self) -> v1::OrphanOrder {
        let Self { spec, place } = self;
        v1::OrphanOrder { spec: Some(spec.to_wire()), place: place.number() }
    }

    fn from_wire(message: v1::OrphanOrder, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::OrphanOrder { spec, place } = message;
        Ok(Self {
            spec: field::required(spec, &at.field("spec"))?,
            place: OrphanPlace::read(place, &at.field("place"))?,
        })
    }
}

impl Wire for OrphanChoice {
    type Message = v1::OrphanChoice;

    fn to_wire(&self) -> v1::OrphanChoice {
        let choice = match self {
            Self::Data { agent, path } => orphan_choice::Choice::Data(orphan_choice::Data {
                agent_id: agent.to_string(),
                path: path.to_string(),
            }),
            Self::Record(volume) => orphan_choice::Choice::Record(volume.to_wire()),
        };
        v1::OrphanChoice { choice: Some(choice) }
    }

    fn from_wire(message: v1::OrphanChoice, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::OrphanChoice { choice } = message;
        match choice {
            None => Err(at.invalid("no orphan is named", "set one of data and record")),
            Some(orphan_choice::Choice::Data(orphan_choice::Data { agent_id, path })) => {
                let at = at.field("data");
                Ok(Self::Data {
                    agent: field::id(&agent_id, &at.field("agent_id"))?,
                    path: field::filled(path, &at.field("path"))?.into(),
                })
            },
            Some(orphan_choice::Choice::Record(volume)) => {
                Wire::from_wire(volume, &at.field("record")).map(Self::Record)
            },
        }
    }
}

impl Wire for LedgerOrphan {
    type Message = ledger_wire::v1::Orphan;

    fn to_wire(&self) -> Self::Message {
        let Self { operation, order, state } = self;
        let (stage, error) = match state {
            OrphanState::Purging => (Stage::Purging, None),
            OrphanState::Gone => (Stage::Gone, None),
            OrphanState::Failed(error) => (Stage::Failed, Some(error.to_wire())),
        };
        ledger_wire::v1::Orphan {
            operation_id: operation.to_string(),
            order: Some(order.to_wire()),
            state: stage.number(),
            error,
        }
    }

    fn from_wire(message: Self::Message, at: &At<'_>) -> Result<Self, Rejection> {
        let ledger_wire::v1::Orphan { operation_id, order, state, error } = message;
        let error_at = at.field("error");
        let state = match (Stage::read(state, &at.field("state"))?, error) {
            (Stage::Purging, None) => OrphanState::Purging,
            (Stage::Gone, None) => OrphanState::Gone,
            (Stage::Failed, error) => OrphanState::Failed(field::required(error, &error_at)?),
            (Stage::Purging | Stage::Gone, Some(_)) => {
                return Err(error_at.invalid(
                    "a deletion that has not failed carries an error",
                    "restore the ledger from a backup",
                ));
            },
        };
        Ok(Self {
            operation: field::id(&operation_id, &at.field("operation_id"))?,
            order: field::required(order, &at.field("order"))?,
            state,
        })
    }
}

pub(super) fn adopt_to_wire(orphan: &OrphanChoice) -> submit::Request {
    submit::Request::AdoptOrphan(submit::AdoptOrphan { orphan: Some(orphan.to_wire()) })
}

pub(super) fn purge_to_wire(orphan: &OrphanChoice) -> submit::Request {
    submit::Request::PurgeOrphan(submit::PurgeOrphan { orphan: Some(orphan.to_wire()) })
}

pub(super) fn adopt(message: submit::AdoptOrphan, at: &At<'_>) -> Result<Request, Rejection> {
    let submit::AdoptOrphan { orphan } = message;
    Ok(Request::AdoptOrphan { orphan: field::required(orphan, &at.field("orphan"))? })
}

pub(super) fn purge(message: submit::PurgeOrphan, at: &At<'_>) -> Result<Request, Rejection> {
    let submit::PurgeOrphan { orphan } = message;
    Ok(Request::PurgeOrphan { orphan: field::required(orphan, &at.field("orphan"))? })
}

pub(super) fn verify_to_wire(
    volume: VolumeId,
    generation: u64,
    operation: OperationId,
) -> to::Message {
    to::Message::VerifyVolume(to::VerifyVolume {
        volume_id: volume.to_string(),
        generation,
        operation_id: operation.to_string(),
    })
}

pub(super) fn verify(message: to::VerifyVolume, at: &At<'_>) -> Result<ToAgent, Rejection> {
    let to::VerifyVolume { volume_id, generation, operation_id } = message;
    Ok(ToAgent::VerifyVolume {
        volume: field::id(&volume_id, &at.field("volume_id"))?,
        generation: field::generation(generation, &at.field("generation"))?,
        operation: field::id(&operation_id, &at.field("operation_id"))?,
    })
}

pub(super) fn order_to_wire(operation: OperationId, order: &OrphanOrder) -> to::Message {
    let (operation_id, order) = (operation.to_string(), Some(order.to_wire()));
    to::Message::PurgeOrphan(to::PurgeOrphan { operation_id, order })
}

pub(super) fn order(message: to::PurgeOrphan, at: &At<'_>) -> Result<ToAgent, Rejection> {
    let to::PurgeOrphan { operation_id, order } = message;
    Ok(ToAgent::PurgeOrphan {
        operation: field::id(&operation_id, &at.field("operation_id"))?,
        order: Box::new(field::required(order, &at.field("order"))?),
    })
}

pub(super) fn forget_to_wire(operation: OperationId) -> to::Message {
    to::Message::ForgetOrphan(to::ForgetOrphan { operation_id: operation.to_string() })
}

pub(super) fn forget(message: to::ForgetOrphan, at: &At<'_>) -> Result<ToAgent, Rejection> {
    let to::ForgetOrphan { operation_id } = message;
    Ok(ToAgent::ForgetOrphan { operation: field::id(&operation_id, &at.field("operation_id"))? })
}

pub(super) fn purged(message: from::OrphanPurged, at: &At<'_>) -> Result<FromAgent, Rejection> {
    let from::OrphanPurged { ledger_seq, operation_id, error } = message;
    let operation = field::id(&operation_id, &at.field("operation_id"))?;
    let error = field::optional(error, &at.field("error"))?;
    Ok(FromAgent::OrphanPurged { ledger_seq, operation, result: error.map_or(Ok(()), Err) })
}
