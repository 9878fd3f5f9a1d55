//! COMMIT: a transaction takes resources of several agents without offers. Its operations go the way of those of an ACCEPT
//! (`accept`), on all that the role may take of each agent.
//!
//! Invariant: a transaction of a framework is decided once; who asks again is given the recorded answer.

use super::Turn;
use super::running::Running;
use crate::decide::{cell, conflict};
use crate::event::Event;
use berth_model::error::{ErrorCode, Rejection, shortened};
use berth_model::framework::{self, AcceptMode};
use berth_model::id::{FrameworkId, OperationId};
use berth_model::record::RegistryRecord;
use berth_model::role::Role;
use berth_model::transaction::{
    ConflictKind, Outcome, Placement, PlacementResult, Transaction, TransactionRecord,
};
use std::sync::Arc;

/// The longest text of an error that an answer keeps, in bytes: there may be a thousand of them.
const TEXT_MAX: usize = 1 << 10;

/// A placement that makes sense.
struct Wanted<'a> {
    placement: &'a Placement,
    role: Role,
    /// The agent's `seq` before the transaction.
    before: u64,
}

impl Turn<'_> {
    pub(super) fn commit(&mut self, id: &FrameworkId, call: u64, transaction: &Transaction) {
        match self.decided(id, transaction) {
            Ok((record, is_new)) => {
                if is_new {
                    self.apply(Event::Put(RegistryRecord::Transaction(Arc::clone(&record))));
                } else {
                    let operations: Vec<OperationId> = transaction.operations().collect();
                    self.repeat(id, &operations);
                }
                let (transaction, results) = (record.id, record.results.clone());
                self.inform(id, framework::Event::Committed { call, transaction, results });
            },
            Err(rejection) => {
                let result = Err(rejection);
                self.inform(id, framework::Event::Answered { call, result });
            },
        }
    }

    /// The answer, and whether the transaction was decided just now.
    fn decided(
        &mut self,
        id: &FrameworkId,
        transaction: &Transaction,
    ) -> Result<(Arc<TransactionRecord>, bool), Rejection> {
        if let Some(known) = cell::answered_before(self.state, id, transaction)? {
            return Ok((Arc::clone(known), false));
        }
        let Some(framework) = self.state.frameworks.get(id) else {
            let text = format!("no framework {id}");
            return Err(Rejection::new(ErrorCode::UnknownFramework, text).remedy("subscribe first"));
        };
        let roles = cell::check(self.state, framework, transaction)?;
        let wanted = transaction.placements.iter().zip(roles);
        let placements: Vec<Wanted<'_>> = wanted
            .map(|(placement, role)| Wanted { placement, role, before: self.seq_of(placement) })
            .collect();
        let results = match transaction.mode {
            AcceptMode::Incremental => {
                placements.iter().map(|wanted| self.place(id, wanted)).collect()
            },
            AcceptMode::AllOrNothing => self.place_all(id, &placements),
        };
        let record = TransactionRecord {
            framework: id.clone(),
            id: transaction.id,
            fingerprint: transaction.mark(),
            decided: self.now,
            results: results.into_iter().map(short).collect(),
        };
        Ok((Arc::new(record), true))
    }

    /// All of it, or nothing: it is first done to a copy of the books, agent by agent in the order of their ids.
    fn place_all(&mut self, id: &FrameworkId, placements: &[Wanted<'_>]) -> Vec<PlacementResult> {
        let mut order: Vec<usize> = (0..placements.len()).collect();
        order.sort_by_key(|index| placements[*index].placement.agent);
        let mut copy = self.state.clone();
        let mut turn = Turn::new(&mut copy, self.now);
        let mut tried = turn.place_in(id, placements, &order);
        let failed = tried.iter().find_map(|result| result.outcome.error());
        let Some(cause) = failed.cloned() else {
            return self.place_in(id, placements, &order);
        };
        for (result, Wanted { placement, before, .. }) in tried.iter_mut().zip(placements) {
            result.seq = *before;
            let own = match &result.outcome {
                Outcome::Done | Outcome::NotDone => {
                    result.outcome = Outcome::NotDone;
                    let text =
                        format!("nothing is done, since all was asked for: {}", cause.message);
                    Rejection { message: text, ..cause.clone() }
                },
                Outcome::Conflict { error, .. } | Outcome::Refused(error) => error.clone(),
            };
            self.fail(id, placement.operations.clone(), &own);
        }
        tried
    }

    /// Places them in this order; the results are in their own.
    fn place_in(
        &mut self,
        id: &FrameworkId,
        placements: &[Wanted<'_>],
        order: &[usize],
    ) -> Vec<PlacementResult> {
        let mut results: Vec<(usize, PlacementResult)> = Vec::new();
        for index in order {
            results.push((*index, self.place(id, &placements[*index])));
        }
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Runs the operations of one placement; each stands for itself.
    fn place(&mut self, id: &FrameworkId, wanted: &Wanted<'_>) -> PlacementResult {
        let placement = wanted.placement;
        let outcome = match self.take_hold(id, wanted) {
            Ok(mut running) => {
                for operation in &placement.operations {
                    self.run(id, &mut running, operation.clone());
                }
                running.outcome
            },
            Err(outcome) => {
                if let Some(error) = outcome.error() {
                    self.fail(id, placement.operations.clone(), error);
                }
                outcome
            },
        };
        PlacementResult { agent: placement.agent, seq: self.seq_of(placement), outcome }
    }

    fn seq_of(&self, placement: &Placement) -> u64 {
        self.state.agents.get(&placement.agent).map_or(0, |agent| agent.commits)
    }

    /// What the placement may draw from.
    fn take_hold(&self, id: &FrameworkId, wanted: &Wanted<'_>) -> Result<Running, Outcome> {
        let Wanted { placement, role, before } = wanted;
        let stale = |error: Rejection| {
            let error = error.remedy(conflict::AGAIN);
            Outcome::Conflict { kind: ConflictKind::Stale, error }
        };
        let agent = self.state.connected_agent(placement.agent).map_err(Outcome::Refused)?;
        conflict::check_epoch(agent, placement.epoch, self.state.config.epoch).map_err(stale)?;
        conflict::check_seq(agent, *before, placement.if_seq).map_err(stale)?;
        self.state.usable_agent(placement.agent).map_err(Outcome::Refused)?;
        if self.state.awaits_agents() {
            let text = format!(
                "Conflict: agent {}: too many agents have not come back yet to tell what guarantees need",
                placement.agent
            );
            let error = Rejection::new(ErrorCode::Conflict, text)
                .remedy("wait until they are back; see `berth agent list`");
            return Err(Outcome::Conflict { kind: ConflictKind::Headroom, error });
        }
        let framework = self.state.frameworks.get(id).expect("it is subscribed");
        let left = cell::room(self.state, agent, framework, role);
        let principal = framework.record.info.principal.clone();
        let running = Running::new(placement.agent, role.clone(), principal, left);
        Ok(Running { contested: true, cell: true, ..running })
    }
}

/// The result as it is recorded.
fn short(result: PlacementResult) -> PlacementResult {
    let bound = |error: Rejection| Rejection {
        message: shortened(error.message, TEXT_MAX),
        remedy: shortened(error.remedy, TEXT_MAX),
        field: shortened(error.field, TEXT_MAX),
        code: error.code,
    };
    let outcome = match result.outcome {
        Outcome::Done => Outcome::Done,
        Outcome::NotDone => Outcome::NotDone,
        Outcome::Conflict { kind, error } => Outcome::Conflict { kind, error: bound(error) },
        Outcome::Refused(error) => Outcome::Refused(bound(error)),
    };
    PlacementResult { outcome, ..result }
}
