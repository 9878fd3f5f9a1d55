//! A framework that takes no offers: it looks at the cell now and then, and commits on what it has seen, which may be long over.

use super::{Framework, Sent};
use crate::tally::{Fault, Tally};
use berth_model::cell::CellAgent;
use berth_model::framework::{AcceptMode, Call};
use berth_model::id::{FrameworkId, OfferId, TaskId, TransactionId};
use berth_model::offer::Offer;
use berth_model::resources::Resources;
use berth_model::transaction::{Placement, Transaction};
use std::time::Duration;

impl Framework {
    /// A transaction, its repetition, or the end of a task.
    pub(super) fn act_on_cell(&mut self, tally: &mut Tally) -> Vec<Sent> {
        match self.dice.below(100) {
            0..70 => {
                let Some(transaction) = self.transaction(tally) else { return Vec::new() };
                tally.deed("transactions");
                let sent = Sent::plain(Call::Commit(transaction));
                if self.dice.chance(200) {
                    self.again = Some(sent.clone());
                }
                vec![sent]
            },
            70..85 => {
                let again = self.again.take();
                if again.is_some() {
                    tally.fault(Fault::Retry);
                }
                again.into_iter().collect()
            },
            _ => {
                let tasks: Vec<TaskId> = self.tasks.keys().cloned().collect();
                let grace = Some(Duration::from_millis(self.dice.between(0, 3_000)));
                let task = self.dice.pick(&tasks).cloned();
                let kill = |task| Sent::plain(Call::Kill { task, agent: None, grace });
                task.map(kill).into_iter().collect()
            },
        }
    }

    fn transaction(&mut self, tally: &mut Tally) -> Option<Transaction> {
        let framework = self.id.clone()?;
        let mut placements = Vec::new();
        for _ in 0..self.dice.between(1, 3) {
            let Some(seen) = self.dice.pick(&self.cell).cloned() else { continue };
            let Some(offer) = self.as_offer(&framework, &seen) else { continue };
            let operations = self.plan(&offer, tally);
            if operations.is_empty() {
                continue;
            }
            let if_seq = self.dice.chance(200).then_some(seen.version.seq);
            let (agent, epoch) = (seen.id, seen.version.epoch);
            placements.push(Placement { agent, epoch, if_seq, role: None, operations });
        }
        let whole = self.dice.flip();
        let mode = if whole { AcceptMode::AllOrNothing } else { AcceptMode::Incremental };
        let id = TransactionId::from_u128(self.dice.id());
        (!placements.is_empty()).then_some(Transaction { id, placements, mode })
    }

    /// What it sees of an agent in the form in which it plans.
    fn as_offer(&self, framework: &FrameworkId, seen: &CellAgent) -> Option<Offer> {
        let room = seen.roles.iter().find(|room| room.role == self.role)?;
        let mut resources = room.unreserved.clone();
        resources.add_all(&room.reserved).ok()?;
        Some(Offer {
            id: OfferId { epoch: seen.version.epoch, number: 0 },
            framework: framework.clone(),
            role: self.role.clone(),
            agent: seen.id,
            hostname: seen.hostname.clone(),
            attributes: seen.attributes.clone(),
            resources,
            seq: 0,
            optimistic: Resources::new(),
            version: seen.version,
        })
    }
}
