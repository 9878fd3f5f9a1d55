//! ACCEPT: offers are used up, operations run in order on what is left of them, the rest goes back.

use super::Turn;
use crate::decide::launch::{Word, launch};
use crate::decide::order::{Asked, Conversion, Order, Source, answered_before};
use crate::decide::rescind::filter;
use crate::decide::{create, destroy, reserve, resize};
use crate::event::{Event, FrameworkEvent};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{self, Filters};
use berth_model::id::{AgentId, FrameworkId, OfferId, OperationId, Principal, fingerprint};
use berth_model::offer::Offer;
use berth_model::operation::{Action, OfferOperation, OperationState};
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::task::{TaskInfo, TaskKey, TaskReason, TaskState};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the accepted offers have become so far.
struct Running {
    agent: AgentId,
    role: Role,
    principal: Option<Principal>,
    /// What is left.
    left: Resources,
    /// The part of it that operations of this call made.
    made: Resources,
    /// The shared volumes in it that tasks of this call use.
    lent: Resources,
}

impl Running {
    fn convert(&mut self, conversion: &Conversion) {
        self.left = self.left.minus(&conversion.consumed);
        self.made = self.made.minus(&conversion.consumed);
        for sum in [&mut self.left, &mut self.made] {
            sum.add_all(&conversion.produced).expect("parts of what the agent has add up");
        }
    }
}

impl Turn<'_> {
    pub(super) fn accept(
        &mut self,
        id: &FrameworkId,
        call: u64,
        offers: &[OfferId],
        operations: Vec<OfferOperation>,
        filters: Filters,
    ) {
        let answer = |result| framework::Event::Answered { call, result };
        let ids: Vec<OperationId> = operations.iter().map(|o| o.id).collect();
        let new = match self.new_operations(operations) {
            Ok(new) => new,
            Err(rejection) => return self.inform(id, answer(Err(rejection))),
        };
        if new.is_empty() && !ids.is_empty() {
            self.inform(id, answer(Ok(ids.clone())));
            self.repeat(id, &ids);
            self.give_back(id, offers);
            return;
        }
        let used = match self.check_offers(id, offers) {
            Ok(used) => used,
            Err(rejection) => {
                self.inform(id, answer(Err(rejection.clone())));
                self.void(id, offers, new, &rejection);
                return;
            },
        };
        self.inform(id, answer(Ok(ids)));
        let Some(mut running) = self.use_up(id, &used) else { return };
        for operation in new {
            self.run(id, &mut running, operation);
        }
        let untouched = running.left.minus(&running.made).minus(&running.lent);
        let refused =
            used.first().and_then(|o| filter(o, untouched, filters, self.state, self.now));
        self.apply_all(refused);
    }

    /// The operations that were not taken in before.
    fn new_operations(
        &self,
        operations: Vec<OfferOperation>,
    ) -> Result<Vec<OfferOperation>, Rejection> {
        let mut seen = BTreeSet::new();
        let mut new = Vec::new();
        for operation in operations {
            if !seen.insert(operation.id) {
                return Err(Rejection::new(
                    ErrorCode::InvalidArgument,
                    format!("two operations have the id {}", operation.id),
                )
                .remedy("give each operation an id of its own")
                .field("operations"));
            }
            if answered_before(self.state, operation.id, mark(&operation.action))?.is_none() {
                new.push(operation);
            }
        }
        Ok(new)
    }

    /// Tells again what became of operations that were taken in before.
    fn repeat(&mut self, id: &FrameworkId, operations: &[OperationId]) {
        for operation in operations {
            if let Some(record) = self.state.operations.get(operation).cloned() {
                self.inform(id, framework::Event::Operation(Arc::unwrap_or_clone(record)));
            }
        }
    }

    /// All must be live, different, of this framework, and of one agent and role.
    fn check_offers(&self, id: &FrameworkId, offers: &[OfferId]) -> Result<Vec<Offer>, Rejection> {
        let stale = |text: String| {
            Err(Rejection::new(ErrorCode::StaleOffer, text)
                .remedy("use offers of the current epoch once, all of one agent and role")
                .field("offers"))
        };
        let mut used: Vec<Offer> = Vec::new();
        for offer_id in offers {
            let known = self.state.offers.get(offer_id).filter(|o| o.framework == *id);
            let Some(offer) = known else {
                return stale(format!("offer {offer_id} is not outstanding"));
            };
            if used.iter().any(|other| other.id == offer.id) {
                return stale(format!("offer {offer_id} is named twice"));
            }
            if let Some(first) = used.first()
                && (first.agent != offer.agent || first.role != offer.role)
            {
                return stale(format!(
                    "offers {} and {offer_id} are not of one agent and role",
                    first.id
                ));
            }
            used.push(offer.clone());
        }
        if used.is_empty() {
            return stale("no offer is named".to_owned());
        }
        Ok(used)
    }

    /// The whole call is void: its live offers are given back, its operations fail, its tasks are dropped.
    fn void(
        &mut self,
        id: &FrameworkId,
        offers: &[OfferId],
        operations: Vec<OfferOperation>,
        cause: &Rejection,
    ) {
        self.give_back(id, offers);
        for operation in operations {
            let asked = asked(id, &operation, self.now);
            let state = OperationState::Failed(cause.clone());
            let record = asked.record(None, Vec::new(), object(&operation.action), state);
            self.inform(id, framework::Event::Operation(record));
            if let Action::Launch(tasks) = &operation.action {
                for task in tasks {
                    self.refuse_task(id, task, TaskState::Dropped, cause);
                }
            }
        }
    }

    /// Ends what is left of the named offers: a call that names an offer uses it, whatever comes of it.
    fn give_back(&mut self, id: &FrameworkId, offers: &[OfferId]) {
        for offer in offers {
            let known = self.state.offers.get(offer).filter(|o| o.framework == *id);
            if let Some(event) = known.map(|o| FrameworkEvent::OfferEnded(o.id)) {
                self.apply(event.into());
            }
        }
    }

    /// Says that a task does not start, unless one of its name is alive.
    fn refuse_task(
        &mut self,
        id: &FrameworkId,
        task: &TaskInfo,
        state: TaskState,
        cause: &Rejection,
    ) {
        let key = TaskKey { framework: id.clone(), task: task.id.clone() };
        if self.state.tasks.get(&key).is_some_and(|known| !known.ended()) {
            return;
        }
        let dropped = state == TaskState::Dropped;
        let word = Word {
            framework: id,
            task: &task.id,
            agent: Some(task.agent),
            state,
            reason: if dropped { TaskReason::InvalidOffers } else { TaskReason::TaskInvalid },
            message: cause.message.clone(),
            error: Some(cause.clone()),
        };
        let event = word.told(self.now);
        self.apply(event);
    }

    fn use_up(&mut self, id: &FrameworkId, used: &[Offer]) -> Option<Running> {
        let first = used.first()?;
        let principal = self.state.frameworks.get(id)?.record.info.principal.clone();
        let mut left = Resources::new();
        for offer in used {
            left.add_all(&offer.resources).expect("offers of one agent do not overlap");
            self.apply(FrameworkEvent::OfferEnded(offer.id).into());
        }
        let (agent, role) = (first.agent, first.role.clone());
        let (made, lent) = (Resources::new(), Resources::new());
        Some(Running { agent, role, principal, left, made, lent })
    }

    fn run(&mut self, id: &FrameworkId, running: &mut Running, operation: OfferOperation) {
        let asked = asked(id, &operation, self.now);
        if let Action::Launch(tasks) = &operation.action {
            self.launch(id, running, asked, tasks);
            return;
        }
        let result = self.with_order(running, asked, |order| match &operation.action {
            Action::Reserve(resources) => reserve::reserve(order, resources),
            Action::Unreserve(resources) => reserve::unreserve(order, resources),
            Action::Create(volumes) => create::create(order, volumes),
            Action::Destroy(volumes) => destroy::destroy_offered(order, volumes),
            Action::Grow { volume, addition } => resize::grow_offered(order, volume, addition),
            Action::Shrink { volume, subtract } => resize::shrink_offered(order, volume, *subtract),
            // Taken apart above.
            Action::Launch(_) => Err(Rejection::new(ErrorCode::Internal, "LAUNCH is run by task")),
        });
        match result {
            Ok(conversion) => {
                running.convert(&conversion);
                self.apply_all(conversion.events);
            },
            Err(rejection) => {
                let state = OperationState::Failed(rejection);
                let object = object(&operation.action);
                let record = asked.record(Some(running.agent), Vec::new(), object, state);
                self.apply(record.into());
            },
        }
    }

    fn with_order(
        &self,
        running: &Running,
        asked: Asked<'_>,
        decide: impl FnOnce(&Order<'_>) -> Result<Conversion, Rejection>,
    ) -> Result<Conversion, Rejection> {
        let agent = self.state.usable_agent(running.agent)?;
        let source = Source::Accepted {
            running: &running.left,
            role: &running.role,
            principal: running.principal.as_ref(),
        };
        decide(&Order { state: self.state, agent, source, asked })
    }

    /// Each task stands for itself: a refused one does not keep the others from starting. The operation
    /// is recorded before its tasks, which may end it later.
    fn launch(
        &mut self,
        id: &FrameworkId,
        running: &mut Running,
        asked: Asked<'_>,
        tasks: &[TaskInfo],
    ) {
        let mut events: Vec<Event> = Vec::new();
        let mut refused = Vec::new();
        let mut waits = false;
        for task in tasks {
            match self.with_order(running, asked, |order| launch(order, id, task)) {
                Ok(conversion) => {
                    running.convert(&conversion);
                    let key = TaskKey { framework: id.clone(), task: task.id.clone() };
                    self.apply_all(conversion.events);
                    let Some(task) = self.state.tasks.get(&key) else { continue };
                    waits |= task.waiting.is_some();
                    running.lent.add_all(&task.resources.shared()).expect("copies add up");
                },
                Err(rejection) => refused.push((task, rejection)),
            }
        }
        let object = tasks.iter().map(|t| t.id.to_string()).collect::<Vec<_>>().join(", ");
        let state = match refused.first() {
            Some((_, rejection)) if refused.len() == tasks.len() => {
                OperationState::Failed(rejection.clone())
            },
            Some(_) | None if waits => OperationState::Accepted,
            Some(_) | None => OperationState::Done,
        };
        let mut record =
            asked.record(Some(running.agent), Vec::new(), format!("task {object}"), state);
        record.notes = refused.iter().map(|(t, r)| format!("task {}: {r}", t.id)).collect();
        events.push(record.into());
        self.apply_all(events);
        for (task, rejection) in refused {
            self.refuse_task(id, task, TaskState::Error, &rejection);
        }
    }
}

/// Tells one operation from another under the same id: the whole text of what it does.
fn mark(action: &Action) -> u64 {
    fingerprint(format!("{action:?}").as_bytes())
}

fn asked<'a>(
    id: &'a FrameworkId,
    operation: &OfferOperation,
    now: berth_model::units::Timestamp,
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

/// In words, what an operation concerns.
fn object(action: &Action) -> String {
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
