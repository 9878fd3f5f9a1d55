//! What frameworks call for, ACCEPT apart.

use super::Turn;
use super::accept::Accepted;
use crate::boundary::Output;
use crate::decide::kill::{drop_offers, kill, reconcile, teardown};
use crate::decide::rescind::{filter, gave_back, rescind};
use crate::decide::subscribe::{check_roles, subscribe, subscribed};
use crate::event::{Event, FrameworkEvent};
use crate::state::Kill;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{self, Call, Filters, FrameworkInfo};
use berth_model::id::{FrameworkId, OfferId, OperationId, SessionId};
use berth_model::record::{FrameworkRecord, RegistryRecord};
use berth_model::role::Role;
use berth_model::task::TaskKey;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Turn<'_> {
    pub(super) fn framework(
        &mut self,
        session: SessionId,
        framework: Option<FrameworkId>,
        call: u64,
        body: Call,
    ) {
        if let Call::Subscribe { info, framework, suppressed } = body {
            self.subscribe(session, &info, framework.as_ref(), suppressed);
            return;
        }
        let id = match framework.ok_or_else(not_subscribed) {
            Ok(id) => id,
            Err(reason) => {
                self.say(Output::CloseFramework { session, reason });
                return;
            },
        };
        let live = self.state.frameworks.get(&id).and_then(|f| f.session);
        if live != Some(session) {
            let reason = match live {
                Some(_) => Rejection::new(
                    ErrorCode::StaleEpoch,
                    format!("framework {id} has a newer session"),
                )
                .remedy("only one scheduler of a framework can be at work"),
                None => not_subscribed(),
            };
            self.say(Output::CloseFramework { session, reason });
            return;
        }
        let result = match body {
            // Taken apart above.
            Call::Subscribe { .. } => Ok(Vec::new()),
            Call::Accept { offers, operations, filters, terms } => {
                self.answers_offers(&id);
                self.accept(&id, call, Accepted { offers, operations, filters, terms });
                return;
            },
            Call::Commit(transaction) => {
                self.commit(&id, call, &transaction);
                return;
            },
            Call::Decline { offers, filters } => {
                self.answers_offers(&id);
                self.decline(&id, &offers, filters)
            },
            Call::Revive(roles) => {
                self.answers_offers(&id);
                self.revive(&id, roles)
            },
            Call::Suppress(roles) => self.suppress(&id, roles),
            Call::Acknowledge { agent, task, status } => {
                self.acknowledge(agent, &TaskKey { framework: id.clone(), task }, status);
                Ok(Vec::new())
            },
            Call::Reconcile(tasks) => {
                let events = reconcile(self.state, &id, &tasks, self.now);
                self.apply_all(events);
                Ok(Vec::new())
            },
            Call::Kill { task, agent, grace } => {
                let key = TaskKey { framework: id.clone(), task };
                let events = match self.state.tasks.get(&key) {
                    Some(known) if agent.is_some_and(|agent| agent != known.agent) => Vec::new(),
                    Some(known) if !known.ended() => {
                        kill(self.state, &key, Kill { grace }, self.now)
                    },
                    Some(_) | None => reconcile(self.state, &id, &[(key.task, agent)], self.now),
                };
                self.apply_all(events);
                Ok(Vec::new())
            },
            Call::UpdateRoles(roles) => self.update_roles(&id, roles),
            Call::Teardown => self.teardown_called(&id),
        };
        self.inform(&id, framework::Event::Answered { call, result });
        self.close_if_removed(&id, session);
    }

    fn subscribe(
        &mut self,
        session: SessionId,
        info: &FrameworkInfo,
        wanted: Option<&FrameworkId>,
        suppressed: BTreeSet<Role>,
    ) {
        let (id, records) = match subscribe(self.state, info, wanted, &suppressed, self.now) {
            Ok(found) => found,
            Err(reason) => {
                self.say(Output::CloseFramework { session, reason });
                return;
            },
        };
        if let Some(known) = self.state.frameworks.get(&id) {
            let old = known.session.filter(|old| *old != session);
            let events = drop_offers(known);
            self.apply_all(events);
            if let Some(session) = old {
                let reason = Rejection::new(
                    ErrorCode::StaleEpoch,
                    format!("framework {id} failed over to a newer session"),
                )
                .remedy("only one scheduler of a framework can be at work");
                self.say(Output::CloseFramework { session, reason });
            }
        }
        self.apply_all(records.into_iter().map(Event::Put));
        let opened = FrameworkEvent::Opened { framework: id.clone(), session, suppressed };
        self.apply(opened.into());
        let (epoch, heartbeat) = (self.state.config.epoch, self.state.config.heartbeat);
        let event = framework::Event::Subscribed { framework: id.clone(), epoch, heartbeat };
        self.inform(&id, event);
    }

    fn decline(
        &mut self,
        id: &FrameworkId,
        offers: &[OfferId],
        filters: Filters,
    ) -> Result<Vec<OperationId>, Rejection> {
        for offer in offers {
            let Some(offer) = self.state.offers.get(offer).filter(|o| o.framework == *id) else {
                continue;
            };
            let refused = filter(offer, offer.resources.clone(), filters, self.state, self.now);
            let back = gave_back(offer);
            let ended = FrameworkEvent::OfferEnded(offer.id).into();
            self.apply_all(back);
            self.apply(ended);
            self.apply_all(refused);
        }
        Ok(Vec::new())
    }

    /// Whoever answers is no longer slow.
    fn answers_offers(&mut self, id: &FrameworkId) {
        if self.state.frameworks.get(id).is_some_and(|f| f.races.slow_until.is_some()) {
            let framework = id.clone();
            self.apply(FrameworkEvent::Slow { framework, until: None }.into());
        }
    }

    /// The roles that are meant: the named ones, or all.
    fn meant(&self, id: &FrameworkId, roles: BTreeSet<Role>) -> Result<BTreeSet<Role>, Rejection> {
        let own = self.state.frameworks.get(id).map(|f| f.record.info.roles.clone());
        let own = own.unwrap_or_default();
        if roles.is_empty() {
            return Ok(own);
        }
        subscribed(&own, &roles, "roles").map(|()| roles)
    }

    fn revive(
        &mut self,
        id: &FrameworkId,
        roles: BTreeSet<Role>,
    ) -> Result<Vec<OperationId>, Rejection> {
        let roles = self.meant(id, roles)?;
        self.apply(FrameworkEvent::Revived { framework: id.clone(), roles }.into());
        Ok(Vec::new())
    }

    fn suppress(
        &mut self,
        id: &FrameworkId,
        roles: BTreeSet<Role>,
    ) -> Result<Vec<OperationId>, Rejection> {
        let roles = self.meant(id, roles)?;
        self.apply(FrameworkEvent::Suppressed { framework: id.clone(), roles }.into());
        Ok(Vec::new())
    }

    fn update_roles(
        &mut self,
        id: &FrameworkId,
        roles: BTreeSet<Role>,
    ) -> Result<Vec<OperationId>, Rejection> {
        let Some(known) = self.state.frameworks.get(id) else { return Ok(Vec::new()) };
        let info = FrameworkInfo { roles, ..known.record.info.clone() };
        check_roles(&info, &BTreeSet::new())?;
        let dropped: Vec<Event> = known
            .offers
            .keys()
            .filter_map(|offer| self.state.offers.get(offer))
            .filter(|offer| !info.roles.contains(&offer.role))
            .flat_map(rescind)
            .collect();
        let new: BTreeSet<Role> =
            info.roles.difference(&known.record.info.roles).cloned().collect();
        let record = FrameworkRecord { info, ..known.record.clone() };
        self.apply_all(dropped);
        self.apply(Event::Put(RegistryRecord::Framework(Arc::new(record))));
        self.apply(FrameworkEvent::Revived { framework: id.clone(), roles: new }.into());
        Ok(Vec::new())
    }

    fn teardown_called(&mut self, id: &FrameworkId) -> Result<Vec<OperationId>, Rejection> {
        self.state.refuse_in_safe_mode("TEARDOWN")?;
        let events = teardown(self.state, id, self.now);
        self.apply_all(events);
        Ok(Vec::new())
    }

    /// Ends the session of a framework that was removed.
    pub(super) fn close_if_removed(&mut self, id: &FrameworkId, session: SessionId) {
        let removed = self.state.frameworks.get(id).is_some_and(|f| f.record.removed.is_some());
        if removed {
            let reason =
                Rejection::new(ErrorCode::FrameworkRemoved, format!("framework {id} was removed"))
                    .remedy("subscribe without an id to begin anew");
            self.say(Output::CloseFramework { session, reason });
            self.apply(FrameworkEvent::Closed(id.clone()).into());
        }
    }

    pub(super) fn framework_disconnected(&mut self, id: &FrameworkId, session: SessionId) {
        let Some(known) = self.state.frameworks.get(id) else { return };
        if known.session != Some(session) {
            return;
        }
        let until = self.now.after(known.record.info.failover_timeout);
        let events = drop_offers(known);
        self.apply_all(events);
        self.apply(FrameworkEvent::Cut { framework: id.clone(), until }.into());
    }
}

fn not_subscribed() -> Rejection {
    Rejection::new(ErrorCode::NotSubscribed, "the framework is not subscribed")
        .remedy("subscribe first, on the same session")
}
