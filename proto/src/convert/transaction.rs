//! Transactions of frameworks, and the answers to them.

use super::field::{self, Choice, choice};
use super::framework::accept_mode;
use super::{At, Wire};
use crate::v1::scheduler_call as call;
use crate::{registry_wire, v1};
use berth_model::error::Rejection;
use berth_model::role::Role;
use berth_model::transaction::{
    ConflictKind, Outcome, PLACEMENTS_MAX, Placement, PlacementResult, Transaction,
    TransactionRecord,
};
use berth_model::units::Timestamp;

choice!(
    ConflictKind,
    v1::ConflictKind,
    "kind of conflict",
    [Resources, Quota, Headroom, Stale, Reserved]
);

/// An outcome without its reasons.
#[derive(Clone, Copy)]
enum Stage {
    Ok,
    Conflict,
    Refused,
    NotDone,
}
choice!(Stage, v1::PlacementOutcome, "outcome of a placement", [Ok, Conflict, Refused, NotDone]);

impl Wire for Transaction {
    type Message = call::Commit;

    fn to_wire(&self) -> call::Commit {
        let Self { id, placements, mode } = self;
        call::Commit {
            txn_id: id.to_string(),
            placements: field::messages(placements),
            mode: mode.number(),
        }
    }

    fn from_wire(message: call::Commit, at: &At<'_>) -> Result<Self, Rejection> {
        let call::Commit { txn_id, placements, mode } = message;
        let list = at.field("placements");
        if placements.len() > PLACEMENTS_MAX {
            let problem = format!("the list has {} elements", placements.len());
            return Err(list.invalid(problem, &format!("give at most {PLACEMENTS_MAX}")));
        }
        Ok(Self {
            id: field::id(&txn_id, &at.field("txn_id"))?,
            placements: field::list(placements, &list)?,
            mode: accept_mode(mode, &at.field("mode"))?,
        })
    }
}

impl Wire for Placement {
    type Message = v1::Placement;

    fn to_wire(&self) -> v1::Placement {
        let Self { agent, epoch, if_seq, role, operations } = self;
        v1::Placement {
            agent_id: agent.to_string(),
            epoch: *epoch,
            if_seq: *if_seq,
            role: role.as_ref().map(Role::to_string),
            operations: field::messages(operations),
        }
    }

    fn from_wire(message: v1::Placement, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Placement { agent_id, epoch, if_seq, role, operations } = message;
        let list = at.field("operations");
        field::count(operations.len(), &list)?;
        Ok(Self {
            agent: field::id(&agent_id, &at.field("agent_id"))?,
            epoch,
            if_seq,
            role: role.map(|role| field::role(&role, &at.field("role"))).transpose()?,
            operations: field::list(operations, &list)?,
        })
    }
}

impl Wire for PlacementResult {
    type Message = v1::PlacementResult;

    fn to_wire(&self) -> v1::PlacementResult {
        let Self { agent, seq, outcome } = self;
        let (stage, kind, error) = match outcome {
            Outcome::Done => (Stage::Ok, None, None),
            Outcome::Conflict { kind, error } => (Stage::Conflict, Some(*kind), Some(error)),
            Outcome::Refused(error) => (Stage::Refused, None, Some(error)),
            Outcome::NotDone => (Stage::NotDone, None, None),
        };
        v1::PlacementResult {
            agent_id: agent.to_string(),
            seq: *seq,
            outcome: stage.number(),
            conflict: kind.map(Choice::number).unwrap_or_default(),
            error: error.map(Wire::to_wire),
        }
    }

    fn from_wire(message: v1::PlacementResult, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::PlacementResult { agent_id, seq, outcome, conflict, error } = message;
        let error_at = at.field("error");
        let outcome = match Stage::read(outcome, &at.field("outcome"))? {
            Stage::Ok => Outcome::Done,
            Stage::Conflict => Outcome::Conflict {
                kind: Choice::read(conflict, &at.field("conflict"))?,
                error: field::required(error, &error_at)?,
            },
            Stage::Refused => Outcome::Refused(field::required(error, &error_at)?),
            Stage::NotDone => Outcome::NotDone,
        };
        Ok(Self { agent: field::id(&agent_id, &at.field("agent_id"))?, seq, outcome })
    }
}

impl Wire for TransactionRecord {
    type Message = registry_wire::v1::Transaction;

    fn to_wire(&self) -> Self::Message {
        let Self { framework, id, fingerprint, decided, results } = self;
        registry_wire::v1::Transaction {
            framework_id: framework.to_string(),
            txn_id: id.to_string(),
            fingerprint: *fingerprint,
            decided_ms: decided.ms(),
            results: field::messages(results),
        }
    }

    fn from_wire(message: Self::Message, at: &At<'_>) -> Result<Self, Rejection> {
        let registry_wire::v1::Transaction {
            framework_id,
            txn_id,
            fingerprint,
            decided_ms,
            results,
        } = message;
        Ok(Self {
            framework: field::id(&framework_id, &at.field("framework_id"))?,
            id: field::id(&txn_id, &at.field("txn_id"))?,
            fingerprint,
            decided: Timestamp::from_ms(decided_ms),
            results: field::list(results, &at.field("results"))?,
        })
    }
}
