//! What accepted offers become while the operations of an ACCEPT run on them, and what conflicted on the way.

use crate::decide::conflict::{self, Footprint, contested};
use crate::decide::order::{Asked, Conversion};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, FrameworkId, Principal, fingerprint};
use berth_model::operation::{Action, OfferOperation};
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::transaction::{ConflictKind, Outcome};
use berth_model::units::Timestamp;

/// What the accepted offers have become so far.
pub(super) struct Running {
    pub(super) agent: AgentId,
    pub(super) role: Role,
    pub(super) principal: Option<Principal>,
    /// What is left.
    pub(super) left: Resources,
    /// The part of it that operations of this call made.
    pub(super) made: Resources,
    /// The shared volumes in it that tasks of this call use.
    pub(super) lent: Resources,
    /// Others held some of it too.
    pub(super) contested: bool,
    /// What operations that conflicted would have made.
    pub(super) unmade: Resources,
    /// What they needed in vain.
    pub(super) needed: Resources,
    /// The first refusal, a conflict before others.
    pub(super) refusal: Option<Rejection>,
    /// There are no offers, but a placement of a transaction.
    pub(super) cell: bool,
    /// What becomes of that.
    pub(super) outcome: Outcome,
}

impl Running {
    /// Before anything ran.
    pub(super) fn new(
        agent: AgentId,
        role: Role,
        principal: Option<Principal>,
        left: Resources,
    ) -> Self {
        Self {
            agent,
            role,
            principal,
            left,
            made: Resources::new(),
            lent: Resources::new(),
            contested: false,
            unmade: Resources::new(),
            needed: Resources::new(),
            refusal: None,
            cell: false,
            outcome: Outcome::Done,
        }
    }
    pub(super) fn convert(&mut self, conversion: &Conversion) {
        self.left = self.left.minus(&conversion.consumed);
        self.made = self.made.minus(&conversion.consumed);
        for sum in [&mut self.left, &mut self.made] {
            sum.add_all(&conversion.produced).expect("parts of what the agent has add up");
        }
    }
    /// Refuses what needs something that was not made because of a conflict.
    pub(super) fn check(&self, what: &str, footprint: &Footprint) -> Result<(), Rejection> {
        let missing = self.left.missing(&footprint.takes);
        if missing.common(&self.unmade).is_empty() {
            return Ok(());
        }
        Err(conflict::depends(what, self.agent))
    }
    /// Notes that an operation or a task comes to nothing.
    pub(super) fn refused(&mut self, rejection: &Rejection, footprint: &Footprint) {
        let conflicts = rejection.code == ErrorCode::Conflict;
        if conflicts {
            gather(&mut self.unmade, &footprint.leaves);
            gather(&mut self.needed, &contested(&footprint.takes));
        }
        let known = self.refusal.as_ref().map(|known| known.code);
        if known.is_none() || conflicts && known != Some(ErrorCode::Conflict) {
            self.refusal = Some(rejection.clone());
        }
        if self.outcome.is_done() {
            self.outcome = outcome(rejection, &self.left.missing(&footprint.takes));
        }
    }
    pub(super) fn has_conflict(&self) -> bool {
        self.refusal.as_ref().is_some_and(|rejection| rejection.code == ErrorCode::Conflict)
    }
}

/// What a placement comes to because of this refusal; `missing` is what is not there of what it needs.
fn outcome(rejection: &Rejection, missing: &Resources) -> Outcome {
    let is_reserved = missing.iter().any(|resource| !resource.stack.is_unreserved());
    let kind = match rejection.code {
        ErrorCode::QuotaExceeded => ConflictKind::Quota,
        ErrorCode::Conflict if missing.is_empty() => ConflictKind::Headroom,
        ErrorCode::Conflict if is_reserved => ConflictKind::Reserved,
        ErrorCode::Conflict => ConflictKind::Resources,
        _other => return Outcome::Refused(rejection.clone()),
    };
    Outcome::Conflict { kind, error: rejection.clone() }
}

/// Adds what adds up: two tasks may have asked for the same port.
fn gather(sum: &mut Resources, more: &Resources) {
    for resource in more.iter() {
        drop(sum.add(&resource));
    }
}

/// What the operations need that others may have committed.
pub(super) fn needs(operations: &[OfferOperation]) -> Resources {
    let mut needed = Resources::new();
    for operation in operations {
        gather(&mut needed, &contested(&Footprint::of(&operation.action).takes));
        if let Action::Launch(tasks) = &operation.action {
            for task in tasks {
                gather(&mut needed, &contested(&Footprint::of_task(task).takes));
            }
        }
    }
    needed
}

/// In words, what an operation concerns.
pub(super) fn object(action: &Action) -> String {
    match action {
        Action::Reserve(resources) | Action::Unreserve(resources) => resources.to_string(),
        Action::Create(volumes) | Action::Destroy(volumes) => {
            volumes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        },
        Action::Grow { volume, addition } => format!("{volume} by {addition}"),
        Action::Shrink { volume, subtract } => format!("{volume} by {subtract}"),
        Action::Launch(tasks) => {
            let ids: Vec<String> = tasks.iter().map(|t| t.id.to_string()).collect();
            format!("task {}", ids.join(", "))
        },
    }
}

/// Tells one operation from another under the same id: the whole text of what it does.
pub(super) fn mark(action: &Action) -> u64 {
    fingerprint(format!("{action:?}").as_bytes())
}

pub(super) fn asked<'a>(
    id: &'a FrameworkId,
    operation: &OfferOperation,
    now: Timestamp,
) -> Asked<'a> {
    Asked {
        id: operation.id,
        kind: operation.action.kind(),
        fingerprint: mark(&operation.action),
        framework: Some(id),
        said: None,
        now,
    }
}
