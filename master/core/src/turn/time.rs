//! What is due.

use super::Turn;
use crate::allocator::allocate;
use crate::boundary::Output;
use crate::decide::adopt::lost;
use crate::decide::conflict;
use crate::decide::kill::teardown;
use crate::decide::rescind::{gave_back, rescind};
use crate::decide::schedule;
use crate::event::{AgentEvent, Event, FrameworkEvent};
use crate::state::{Link, Timer};
use berth_model::framework;
use berth_model::id::{AgentId, FrameworkId, OfferId, VolumeId};
use berth_model::link::ToAgent;
use berth_model::offer::Offer;
use std::collections::BTreeMap;
use std::time::Duration;

impl Turn<'_> {
    pub(super) fn run_timers(&mut self) {
        while let Some((at, timer)) = self.state.timers.due(self.now).cloned() {
            self.apply(AgentEvent::Fired { at, timer: timer.clone() }.into());
            match timer {
                Timer::Heartbeat => self.heartbeat(),
                Timer::AgentSilent(agent) => self.agent_silent(agent),
                Timer::ReregisterWindow => self.reregister_window(),
                Timer::FrameworkAway(framework) => self.framework_away(&framework),
                Timer::OfferOld(offer) => self.offer_old(offer),
                Timer::OfferLost(offer) => {
                    let events = conflict::give_up(self.state, offer);
                    self.apply_all(events);
                },
                Timer::KeptOver(agent) => self.apply(AgentEvent::KeptOver(agent).into()),
                Timer::FilterEnds(key) => self.apply(FrameworkEvent::FilterEnded(key).into()),
                Timer::Look(agent) => self.look(agent),
                Timer::Schedule(volume) => self.schedule(volume),
            }
            self.settle();
        }
    }

    /// Notes which optimistic offers do not fit any more after what this step has changed.
    pub(super) fn settle(&mut self) {
        while let Some(agent) = self.state.unsettled.first().copied() {
            let events = conflict::settle(self.state, agent);
            self.apply_all(events);
        }
        if self.state.standings.is_stale() || self.state.standings.has_eased() {
            self.apply(AgentEvent::Counted.into());
        }
    }

    /// An offer was not answered in time. Who leaves an optimistic one unanswered comes last until it answers, or for as long
    /// as the offer was out: for ever, and it could never answer again.
    fn offer_old(&mut self, id: OfferId) {
        let Some(offer) = self.state.offers.get(&id) else { return };
        let is_slow = offer.is_optimistic() || self.state.alone.contains(&id);
        let framework = offer.framework.clone();
        let events: Vec<Event> = gave_back(offer).into_iter().chain(rescind(offer)).collect();
        self.apply_all(events);
        if is_slow {
            let until = Some(self.now.after(self.state.config.optimistic.timeout));
            self.apply(FrameworkEvent::Slow { framework, until }.into());
        }
    }

    fn heartbeat(&mut self) {
        let agents: Vec<AgentId> = self.state.agents.keys().copied().collect();
        for agent in agents {
            self.tell(agent, ToAgent::Heartbeat);
        }
        let frameworks: Vec<FrameworkId> = self.state.frameworks.keys().cloned().collect();
        for framework in frameworks {
            self.inform(&framework, framework::Event::Heartbeat);
        }
        let pause = self.state.config.heartbeat.max(Duration::from_millis(1));
        let at = self.now.after(pause);
        self.apply(AgentEvent::Armed { at, timer: Timer::Heartbeat }.into());
    }

    fn agent_silent(&mut self, agent: AgentId) {
        let Some(known) = self.state.agents.get(&agent) else { return };
        let (Some(session), Some(seen)) = (known.session(), known.last_seen) else { return };
        let limit = seen.after(self.state.config.agent_timeout);
        if limit > self.now {
            let timer = Timer::AgentSilent(agent);
            self.apply(AgentEvent::Armed { at: limit, timer }.into());
            return;
        }
        let events = lost(self.state, agent, self.now);
        self.apply_all(events);
        self.say(Output::CloseAgent { agent, session });
    }

    fn reregister_window(&mut self) {
        let away = self.state.agents.iter().filter(|(_, agent)| agent.link == Link::Recovering);
        let away: Vec<AgentId> = away.map(|(id, _)| *id).collect();
        for agent in away {
            let events = lost(self.state, agent, self.now);
            self.apply_all(events);
        }
    }

    fn framework_away(&mut self, id: &FrameworkId) {
        let Some(known) = self.state.frameworks.get(id) else { return };
        let over = known.given_up.is_some_and(|at| at <= self.now) && known.session.is_none();
        if !over {
            return;
        }
        if self.state.safe_mode.is_some() {
            // What the registry says of the framework may be old; nothing of it is ended.
            let until = self
                .now
                .after(known.record.info.failover_timeout.max(self.state.config.agent_timeout));
            self.apply(FrameworkEvent::Cut { framework: id.clone(), until }.into());
            return;
        }
        let events = teardown(self.state, id, self.now);
        self.apply_all(events);
        self.apply(FrameworkEvent::Closed(id.clone()).into());
    }

    /// What the volume's schedule asks for now; each step sees what the one before left.
    fn schedule(&mut self, volume: VolumeId) {
        for decide in [schedule::settle, schedule::take, schedule::prune] {
            let events = decide(self.state, volume, self.now);
            self.apply_all(events);
        }
        if let Some(at) = schedule::next_look(self.state, volume, self.now) {
            self.apply(AgentEvent::Armed { at, timer: Timer::Schedule(volume) }.into());
        }
    }

    /// The next holder of what was just offered has its turn a little later. The look that finds none is the last.
    fn fan_out(&mut self, agent: AgentId) {
        let stagger = self.state.config.optimistic.stagger;
        if !stagger.is_zero() {
            let at = self.now.after(stagger);
            self.apply(AgentEvent::FanOut { agent, at }.into());
        }
    }

    /// Offers what is free of an agent.
    fn look(&mut self, agent: AgentId) {
        if self.state.shares.is_idle() {
            self.apply(AgentEvent::NotLooked(agent).into());
            return;
        }
        self.apply(AgentEvent::Looked(agent).into());
        let Some(known) = self.state.agents.get(&agent) else { return };
        let mut made: BTreeMap<FrameworkId, Vec<Offer>> = BTreeMap::new();
        let figures = (&self.state.shares, &self.state.standings);
        let round = allocate(self.state, figures, known, self.state.next_offer, self.now);
        let mut goes_on = false;
        for offer in round.offers {
            goes_on |= offer.is_optimistic();
            made.entry(offer.framework.clone()).or_default().push(offer.clone());
            let alone = (round.alone == Some(offer.id)).then_some(offer.id);
            self.apply(FrameworkEvent::Offered(Box::new(offer)).into());
            if let Some(offer) = alone {
                self.apply(FrameworkEvent::OfferedAlone(offer).into());
            }
        }
        if goes_on {
            self.fan_out(agent);
        }
        if round.is_cut {
            self.apply(AgentEvent::CutByQuota(agent).into());
        }
        for (framework, offers) in made {
            self.apply(Event::inform(framework, framework::Event::Offers(offers)));
        }
    }
}
