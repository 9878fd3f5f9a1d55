//! Why a framework is not offered what an agent has.
//!
//! It decides nothing: it has the allocator take its steps for one framework, and notes the first after which too little is left.
//! What is free is taken apart by the books, since those are why it is no more. When the framework would get something alone, the
//! allocator's whole look says whether others come first. Invariant: who would be offered something in a look now has no reason.

use super::{
    Bounds, Closed, LEAST_CPUS, LEAST_MEM, Look, Stage, Step, Witness, allocate, closed,
    is_worthwhile,
};
use crate::state::{Agent, Filter, Framework, Shares, State, Withheld};
use berth_model::explain::{Explanation, LeftOut, Reason, Short, Verdict};
use berth_model::id::FrameworkId;
use berth_model::quota::Counted;
use berth_model::resources::{Name, Resources};
use berth_model::role::Role;
use berth_model::units::{Scalar, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How every agent stands to a framework, in each of its roles.
pub(crate) fn explain(state: &State, framework: &Framework, now: Timestamp) -> Vec<Explanation> {
    let mut shares = state.shares.clone();
    shares.settle(now, state.config.allocation_interval);
    let mut all = Vec::new();
    for role in &framework.record.info.roles {
        let id = &framework.record.id;
        for agent in state.agents.values() {
            let question = Question { state, agent, role, framework: id, now };
            let verdict = match (question.held(framework), framework.unwilling(role)) {
                (Some(held), _) => held,
                (None, Some(reason)) => left_out(reason, Vec::new()),
                (None, None) => question.verdict(&shares),
            };
            let hostname = Arc::clone(&agent.info.hostname);
            all.push(Explanation { agent: agent.info.id, hostname, role: role.clone(), verdict });
        }
    }
    all
}

fn left_out(reason: Reason, short: Vec<Short>) -> Verdict {
    Verdict::LeftOut(LeftOut { reason, short })
}

/// What is asked of one agent.
#[derive(Clone, Copy)]
struct Question<'a> {
    state: &'a State,
    agent: &'a Agent,
    role: &'a Role,
    framework: &'a FrameworkId,
    now: Timestamp,
}

impl Question<'_> {
    fn held(&self, framework: &Framework) -> Option<Verdict> {
        let mut offers = self.agent.live_offers(self.state);
        let offer = offers.find(|o| o.framework == *self.framework && o.role == *self.role)?;
        let since = framework.offers.get(&offer.id).copied().unwrap_or_default();
        Some(Verdict::Offered { offer: offer.id, since })
    }

    fn verdict(&self, shares: &Shares) -> Verdict {
        match closed(self.state, self.agent) {
            Some(Closed::Away) => return left_out(Reason::Away(self.agent.state()), Vec::new()),
            Some(Closed::Withheld(why)) => return left_out(Reason::Withheld(why), Vec::new()),
            Some(Closed::Awaits) => {
                let (missing, known) = (self.state.recovering, self.state.agents.len());
                let (missing, known) = (missing as u64, known as u64);
                return left_out(Reason::Awaits { missing, known }, Vec::new());
            },
            Some(Closed::Empty) | None => {},
        }
        match self.alone() {
            Some(found) if !self.is_guaranteed() => Verdict::LeftOut(found),
            Some(found) => self.in_turn(shares).unwrap_or(Verdict::LeftOut(found)),
            None => {
                let due = Verdict::Due(self.agent.look_due);
                self.in_turn(shares).unwrap_or(due)
            },
        }
    }

    /// Whether what the role lacks of a guarantee may come first.
    fn is_guaranteed(&self) -> bool {
        let look = self.look();
        let part = look.part_for(Stage::Guarantees, self.role, self.framework, &mut super::Nobody);
        part.is_some()
    }

    fn look(&self) -> Look<'_> {
        Look::new(self.state, &self.state.standings, self.agent, 0, self.now)
    }

    /// The first step that would leave the framework out if nobody else wanted anything.
    fn alone(&self) -> Option<LeftOut> {
        let mut watcher = Watcher { question: *self, before: Resources::new(), found: None };
        let look = self.look();
        let part = look.part_for(Stage::Shares, self.role, self.framework, &mut watcher);
        match part {
            Some(_) => None,
            None => Some(watcher.found.expect("each step that leaves somebody out is watched")),
        }
    }

    /// What comes of a look now: nothing when it offers the framework something.
    fn in_turn(&self, shares: &Shares) -> Option<Verdict> {
        let figures = (shares, &self.state.standings);
        let offers = allocate(self.state, figures, self.agent, 0, self.now).offers;
        let mine = |role: &Role, id: &FrameworkId| role == self.role && id == self.framework;
        if offers.iter().any(|offer| mine(&offer.role, &offer.framework)) {
            return Some(Verdict::Due(self.agent.look_due));
        }
        let first: BTreeSet<FrameworkId> = offers.into_iter().map(|o| o.framework).collect();
        (!first.is_empty()).then(|| left_out(Reason::Turn(first), Vec::new()))
    }

    /// Why what is free is too little: the books, from the whole agent down.
    fn not_free(&self, free: &Resources) -> LeftOut {
        let books = &self.agent.books;
        let total = books.total.allocatable_to(self.role);
        let unused = total.minus(&books.used).minus(&books.withheld);
        let available = books.available.allocatable_to(self.role);
        let reason = if !is_worthwhile(&total) {
            let owners = self.owners(&books.total);
            if owners.is_empty() { Reason::Small } else { Reason::Reserved(owners) }
        } else if !is_worthwhile(&unused) {
            Reason::Used
        } else if !is_worthwhile(&available) {
            let exclusive = |offer: &&berth_model::offer::Offer| !offer.exclusive().is_empty();
            let offers = self.agent.live_offers(self.state).filter(exclusive);
            Reason::Offered(offers.map(|offer| offer.framework.clone()).collect())
        } else {
            Reason::Disks(self.disks())
        };
        LeftOut { reason, short: short(free) }
    }

    /// Whose reservations the role may not use.
    fn owners(&self, resources: &Resources) -> BTreeSet<Role> {
        let owners = resources.owners().into_iter().filter(|owner| !self.role.may_use(owner));
        owners.cloned().collect()
    }

    /// The disks of which nothing is given away.
    fn disks(&self) -> BTreeSet<Arc<str>> {
        let disks = &self.agent.info.disks;
        let is_withheld = |disk: &&berth_model::agent::Disk| {
            !Withheld::of(self.state, std::slice::from_ref(*disk)).is_empty()
        };
        disks.iter().filter(is_withheld).map(|disk| Arc::clone(&disk.name)).collect()
    }

    /// Who may use what others have: kept for a role for a while, or held optimistically.
    fn out_of_reach(&self, before: &Resources) -> Reason {
        let kept = self.agent.kept_from(self.state, self.role);
        let all = self.agent.kept.iter();
        let mut others = all.filter(|kept| kept.role != *self.role);
        match others.next() {
            Some(first) if !is_worthwhile(&before.minus(&kept)) => {
                let role = first.role.clone();
                let until = others.map(|kept| kept.until).fold(first.until, Timestamp::max);
                Reason::Kept { role, until }
            },
            Some(_) | None => Reason::Held(self.holders()),
        }
    }

    fn holders(&self) -> BTreeSet<FrameworkId> {
        self.agent.holders(self.state).into_iter().cloned().collect()
    }

    fn quota(&self, before: &Resources) -> Reason {
        let standings = &self.state.standings;
        let bounds = Bounds::new(standings, self.agent);
        let top = self.role.top();
        // What quota took away is bounded by something.
        let Some((counted, is_limit)) = bounds.tightest(self.role, before) else {
            return Reason::Used;
        };
        match standings.of(&top).filter(|_| is_limit) {
            Some(standing) => Reason::Limit {
                has: Scalar::from_milli(standing.has(&counted)),
                limit: standing.quota.limits.get(&counted).copied().unwrap_or_default(),
                role: top,
                counted,
            },
            None => {
                let lacks = |role: &&Role| {
                    standings.of(role).is_some_and(|standing| standing.lacks(&counted) > 0)
                };
                let roles = standings.lacking().iter().filter(lacks).cloned().collect();
                Reason::Headroom {
                    free: Scalar::from_milli(standings.free(&counted)),
                    required: Scalar::from_milli(standings.required(&counted)),
                    roles,
                    counted,
                }
            },
        }
    }
}

/// What is missing to the least that is offered.
fn short(part: &Resources) -> Vec<Short> {
    let one = |name: Name, want: Scalar| {
        let have = part.total(&name);
        Short { counted: Counted::All(name), want, have }
    };
    let all = [one(Name::Cpus, LEAST_CPUS), one(Name::Mem, LEAST_MEM)];
    all.into_iter().filter(|short| short.have < short.want).collect()
}

/// Notes the first step after which too little is left.
struct Watcher<'a> {
    question: Question<'a>,
    before: Resources,
    found: Option<LeftOut>,
}

impl Witness for Watcher<'_> {
    fn after(&mut self, step: Step, part: &Resources) {
        if self.found.is_some() {
            return;
        }
        if !is_worthwhile(part) {
            let (question, before) = (&self.question, &self.before);
            let reason = match step {
                Step::Free => {
                    self.found = Some(question.not_free(part));
                    return;
                },
                Step::Shared => Reason::Shared,
                Step::Reach => question.out_of_reach(before),
                Step::Quota => question.quota(before),
                Step::FanOut => Reason::FanOut(question.holders()),
            };
            self.found = Some(LeftOut { reason, short: short(part) });
        }
        self.before = part.clone();
    }
    fn refused(&mut self, filter: &Filter) {
        let reason = Reason::Filter { until: filter.until };
        self.found.get_or_insert(LeftOut { reason, short: Vec::new() });
    }
}
