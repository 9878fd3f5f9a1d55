//! ACCEPT: offers are used up, operations run in order on what is left of them, the rest goes back.
//!
//! What others hold too may be gone: then an operation conflicts, and so does each that needs what it was to make.

use super::Turn;
use super::running::{Running, asked, mark, needs, object};
use crate::decide::conflict::{self, Footprint};
use crate::decide::launch::{Word, launch};
use crate::decide::order::{Asked, Conversion, Order, Source, answered_before};
use crate::decide::rescind::{filter, gave_back};
use crate::decide::{create, destroy, reserve, resize};
use crate::event::{Event, FrameworkEvent};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{self, AcceptMode, Filters, Terms};
use berth_model::id::{FrameworkId, OfferId, OperationId};
use berth_model::offer::Offer;
use berth_model::operation::{Action, OfferOperation, OperationState};
use berth_model::resources::Resources;
use berth_model::task::{TaskInfo, TaskKey, TaskReason, TaskState};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What an ACCEPT says.
pub(super) struct Accepted {
    pub(super) offers: Vec<OfferId>,
    pub(super) operations: Vec<OfferOperation>,
    pub(super) filters: Filters,
    pub(super) terms: Terms,
}

impl Turn<'_> {
    pub(super) fn accept(&mut self, id: &FrameworkId, call: u64, accepted: Accepted) {
        let Accepted { offers, operations, filters, terms } = accepted;
        let answer = |result| framework::Event::Answered { call, result };
        let ids: Vec<OperationId> = operations.iter().map(|o| o.id).collect();
        let new = match self.new_operations(operations) {
            Ok(new) => new,
            Err(rejection) => return self.inform(id, answer(Err(rejection))),
        };
        if new.is_empty() && !ids.is_empty() {
            self.inform(id, answer(Ok(ids.clone())));
            self.repeat(id, &ids);
            self.give_back(id, &offers);
            return;
        }
        let used = self
            .check_offers(id, &offers, terms)
            .and_then(|used| self.try_out(id, used, &new, terms.mode));
        let used = match used {
            Ok(used) => used,
            Err(rejection) => {
                self.inform(id, answer(Err(rejection.clone())));
                self.void(id, &offers, new, &rejection);
                return;
            },
        };
        self.inform(id, answer(Ok(ids)));
        let Some(mut running) = self.use_up(id, &used) else { return };
        let (is_empty, all) = (new.is_empty(), running.left.clone());
        for operation in new {
            self.run(id, &mut running, operation);
        }
        if running.has_conflict() {
            // The next offer comes at once: nothing of it is hidden.
            self.race_lost(id, running.needed);
            return;
        }
        if !is_empty {
            self.race_won(id);
        }
        if running.left == all {
            self.apply_all(used.iter().filter_map(gave_back));
        }
        let untouched = running.left.minus(&running.made).minus(&running.lent);
        let refused =
            used.first().and_then(|o| filter(o, untouched, filters, self.state, self.now));
        self.apply_all(refused);
    }

    /// What is asked for as a whole is first done to a copy of the books, which shows whether anything is refused.
    fn try_out(
        &self,
        id: &FrameworkId,
        used: Vec<Offer>,
        operations: &[OfferOperation],
        mode: AcceptMode,
    ) -> Result<Vec<Offer>, Rejection> {
        if mode == AcceptMode::Incremental {
            return Ok(used);
        }
        let mut copy = self.state.clone();
        let mut turn = Turn::new(&mut copy, self.now);
        let Some(mut running) = turn.use_up(id, &used) else { return Ok(used) };
        for operation in operations {
            turn.run(id, &mut running, operation.clone());
        }
        match running.refusal {
            None => Ok(used),
            Some(refusal) if refusal.code == ErrorCode::Conflict => Err(refusal),
            Some(refusal) => {
                let text = format!("nothing is done, since all was asked for: {}", refusal.message);
                Err(Rejection { message: text, ..refusal })
            },
        }
    }

    fn race_lost(&mut self, id: &FrameworkId, needed: Resources) {
        self.apply(FrameworkEvent::RaceLost { framework: id.clone(), needed }.into());
    }
    fn race_won(&mut self, id: &FrameworkId) {
        if self.state.frameworks.get(id).is_some_and(|f| f.races.lost > 0) {
            self.apply(FrameworkEvent::RaceWon(id.clone()).into());
        }
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
    pub(super) fn repeat(&mut self, id: &FrameworkId, operations: &[OperationId]) {
        for operation in operations {
            if let Some(record) = self.state.operations.get(operation).cloned() {
                self.inform(id, framework::Event::Operation(Arc::unwrap_or_clone(record)));
            }
        }
    }

    /// All must be live, different, of this framework, and of one agent and role; and nothing committed since, if that is
    /// asked for.
    fn check_offers(
        &self,
        id: &FrameworkId,
        offers: &[OfferId],
        terms: Terms,
    ) -> Result<Vec<Offer>, Rejection> {
        let stale = |text: String| {
            Err(Rejection::new(ErrorCode::StaleOffer, text)
                .remedy("use offers of the current epoch once, all of one agent and role")
                .field("offers"))
        };
        let mut used: Vec<Offer> = Vec::new();
        for offer_id in offers {
            let known = self.state.offers.get(offer_id).filter(|o| o.framework == *id);
            let Some(offer) = known else {
                if let Some(rejection) = conflict::rescinded(self.state, *offer_id, id) {
                    return Err(rejection);
                }
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
        let Some(first) = used.first() else {
            return stale("no offer is named".to_owned());
        };
        let agent = self.state.agent(first.agent)?;
        conflict::check_seq(agent, agent.commits, terms.if_seq)?;
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
        if cause.code == ErrorCode::Conflict {
            self.race_lost(id, needs(&operations));
        }
        self.fail(id, operations, cause);
    }

    /// Says of each operation that it fails, and of each task that it is dropped; nothing is recorded.
    pub(super) fn fail(
        &mut self,
        id: &FrameworkId,
        operations: Vec<OfferOperation>,
        cause: &Rejection,
    ) {
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
        let contested = used.iter().any(Offer::is_optimistic);
        Some(Running { contested, ..Running::new(agent, role, principal, left) })
    }

    pub(super) fn run(
        &mut self,
        id: &FrameworkId,
        running: &mut Running,
        operation: OfferOperation,
    ) {
        let asked = asked(id, &operation, self.now);
        if let Action::Launch(tasks) = &operation.action {
            self.launch(id, running, asked, tasks);
            return;
        }
        let footprint = Footprint::of(&operation.action);
        let ready = running.check(operation.action.kind().as_str(), &footprint);
        let decide = |order: &Order<'_>| match &operation.action {
            Action::Reserve(resources) => reserve::reserve(order, resources),
            Action::Unreserve(resources) => reserve::unreserve(order, resources),
            Action::Create(volumes) => create::create(order, volumes),
            Action::Destroy(volumes) => destroy::destroy_offered(order, volumes),
            Action::Grow { volume, addition } => resize::grow_offered(order, volume, addition),
            Action::Shrink { volume, subtract } => resize::shrink_offered(order, volume, *subtract),
            // Taken apart above.
            Action::Launch(_) => Err(Rejection::new(ErrorCode::Internal, "LAUNCH is run by task")),
        };
        match ready.and_then(|()| self.with_order(running, asked, decide)) {
            Ok(conversion) => {
                running.convert(&conversion);
                self.apply_all(conversion.events);
            },
            Err(rejection) => {
                running.refused(&rejection, &footprint);
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
            contested: running.contested,
            cell: running.cell,
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
            let footprint = Footprint::of_task(task);
            let ready = running.check(&format!("task {}", task.id), &footprint);
            let start = |order: &Order<'_>| launch(order, id, task);
            match ready.and_then(|()| self.with_order(running, asked, start)) {
                Ok(conversion) => {
                    running.convert(&conversion);
                    let key = TaskKey { framework: id.clone(), task: task.id.clone() };
                    self.apply_all(conversion.events);
                    let Some(task) = self.state.tasks.get(&key) else { continue };
                    waits |= task.waiting.is_some();
                    running.lent.add_all(&task.resources.shared()).expect("copies add up");
                },
                Err(rejection) => {
                    running.refused(&rejection, &footprint);
                    refused.push((task, rejection));
                },
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
            // A lost race says nothing against the task, nor does a limit: it may be launched when its role has less.
            let state = match rejection.code {
                ErrorCode::Conflict | ErrorCode::QuotaExceeded => TaskState::Dropped,
                _other => TaskState::Error,
            };
            self.refuse_task(id, task, state, &rejection);
        }
    }
}
