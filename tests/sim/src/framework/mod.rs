//! A framework that does everything the protocol allows, at random: it reserves, creates, launches, kills,
//! reconciles, destroys, repeats itself and makes mistakes.
//!
//! It remembers its id across crashes and learns everything else again. Invariant: every task has an id of its own,
//! so a task that starts twice was started twice by somebody else.

mod cell;
mod conduct;
mod plan;

pub use conduct::Conduct;

use crate::dice::Dice;
use crate::tally::{Fault, Tally};
use berth_model::cell::CellAgent;
use berth_model::error::ErrorCode;
use berth_model::framework::{Call, Capability, Event, Filters, FrameworkInfo, Terms};
use berth_model::id::{AgentId, FrameworkId, OfferId, Principal, TaskId};
use berth_model::offer::Offer;
use berth_model::role::Role;
use berth_model::task::TaskStatus;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A call with the agent whose resources it uses, as the history wants it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub agent: Option<AgentId>,
    pub call: Call,
}

impl Sent {
    fn plain(call: Call) -> Self {
        Self { agent: None, call }
    }
}

/// What it wants at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Anything.
    Busy,
    /// Nothing new.
    Calm,
    /// Every task is to end, and offers are counted.
    Emptying,
}

/// One scripted framework.
#[derive(Debug)]
pub struct Framework {
    pub conduct: Conduct,
    name: String,
    role: Role,
    principal: Option<Principal>,
    /// It understands shared volumes.
    pub shares: bool,
    failover: Duration,
    /// Survives crashes.
    pub id: Option<FrameworkId>,
    pub up: bool,
    pub life: u64,
    pub conn: Option<u64>,
    pub subscribed: bool,
    pub mood: Mood,
    /// Offers seen since it last began to empty.
    pub offers_seen: u64,
    /// It has told the master that it wants no offers.
    suppressed: bool,
    offers: BTreeMap<OfferId, Offer>,
    /// The cell as it saw it last.
    pub cell: Vec<CellAgent>,
    tasks: BTreeMap<TaskId, Option<AgentId>>,
    calls: u64,
    /// Calls without an answer, by number.
    pub unanswered: BTreeMap<u64, Sent>,
    again: Option<Sent>,
    named: u64,
    dice: Dice,
}

impl Framework {
    #[must_use]
    pub fn new(seed: u64, at: usize, conduct: Conduct) -> Self {
        let mut dice = Dice::new(seed, &format!("framework {at}"));
        let role = ["stores", "stores/db", "web"][at % 3];
        Self {
            conduct,
            name: format!("framework-{at}"),
            role: Role::new(role).expect("a good role"),
            principal: dice.flip().then(|| Principal::new(&format!("p{at}")).expect("a good name")),
            shares: dice.chance(600),
            failover: Duration::from_secs(if dice.chance(150) { 20 } else { 3_600 }),
            id: None,
            up: false,
            life: 0,
            conn: None,
            subscribed: false,
            mood: Mood::Busy,
            offers_seen: 0,
            suppressed: false,
            offers: BTreeMap::new(),
            cell: Vec::new(),
            tasks: BTreeMap::new(),
            calls: 0,
            unanswered: BTreeMap::new(),
            again: None,
            named: 0,
            dice,
        }
    }

    /// The process starts or dies; only the id stays.
    pub fn restart(&mut self, up: bool) {
        self.life += 1;
        self.up = up;
        self.conn = None;
        self.lost_master();
        self.tasks.clear();
        self.again = None;
    }

    /// The connection is over.
    pub fn lost_master(&mut self) {
        self.subscribed = false;
        self.offers.clear();
        let unanswered = std::mem::take(&mut self.unanswered);
        let takes = |sent: &Sent| sent.agent.is_some() || matches!(sent.call, Call::Commit(_));
        let mut accepts = unanswered.into_values().filter(takes);
        self.again = accepts.next_back().or(self.again.take());
    }

    /// The first call of a session.
    pub fn subscribe(&mut self) -> Sent {
        let info = FrameworkInfo {
            name: Arc::from(self.name.as_str()),
            user: Arc::from("nobody"),
            roles: BTreeSet::from([self.role.clone()]),
            principal: self.principal.clone(),
            failover_timeout: self.failover,
            url: Arc::from(""),
            hostname: Arc::from("host"),
            capabilities: self.shares.then_some(Capability::SharedResources).into_iter().collect(),
        };
        self.suppressed = self.conduct == Conduct::Cell;
        let suppressed = self.suppressed.then(|| self.role.clone()).into_iter().collect();
        Sent::plain(Call::Subscribe { info, framework: self.id.clone(), suppressed })
    }

    /// The number of the next call.
    pub fn number(&mut self, sent: &Sent) -> u64 {
        self.calls += 1;
        self.unanswered.insert(self.calls, sent.clone());
        self.calls
    }

    /// Takes in an event and answers with calls.
    pub fn hear(&mut self, event: Event) -> Vec<Sent> {
        match event {
            Event::Subscribed { framework, .. } => {
                self.id = Some(framework);
                self.subscribed = true;
                vec![Sent::plain(Call::Reconcile(Vec::new()))]
            },
            Event::Offers(offers) => {
                self.offers_seen += offers.len() as u64;
                self.offers.extend(offers.into_iter().map(|offer| (offer.id, offer)));
                Vec::new()
            },
            Event::Rescind(offer) => {
                // One that wants everything does not let go at once.
                let stays = self.conduct == Conduct::Greedy && self.dice.chance(300);
                if !stays {
                    self.offers.remove(&offer);
                }
                Vec::new()
            },
            Event::Status(status) => self.take_status(status),
            Event::Error(reason) => {
                if reason.code == ErrorCode::FrameworkRemoved
                    || reason.code == ErrorCode::UnknownFramework
                {
                    self.forget_id();
                }
                Vec::new()
            },
            Event::Operation(_)
            | Event::AgentLost(_)
            | Event::Heartbeat
            | Event::Committed { .. }
            | Event::Answered { .. } => Vec::new(),
        }
    }

    /// It was torn down: it comes back as somebody new.
    fn forget_id(&mut self) {
        self.id = None;
        self.tasks.clear();
        self.named += 1;
    }

    fn take_status(&mut self, status: TaskStatus) -> Vec<Sent> {
        if status.state.is_terminal() {
            self.tasks.remove(&status.task);
        } else {
            self.tasks.insert(status.task.clone(), status.agent);
        }
        // An update that is not acknowledged comes again.
        match (status.id, status.agent) {
            (Some(id), Some(agent)) if self.mood != Mood::Busy || !self.dice.chance(100) => {
                vec![Sent::plain(Call::Acknowledge { agent, task: status.task, status: id })]
            },
            (Some(_) | None, _) => Vec::new(),
        }
    }

    /// Something to do now.
    pub fn act(&mut self, tally: &mut Tally) -> Vec<Sent> {
        if !self.subscribed {
            return Vec::new();
        }
        match self.mood {
            Mood::Busy => match self.conduct {
                Conduct::Fair => self.act_busy(tally),
                Conduct::Greedy => self.grab(),
                Conduct::Hoarder => self.hoard(),
                Conduct::Silent => Vec::new(),
                Conduct::Cell => self.act_on_cell(tally),
            },
            Mood::Calm => self.give_back(),
            Mood::Emptying => {
                let mut calls = self.give_back();
                calls.extend(self.tasks.keys().map(|task| {
                    let (task, grace) = (task.clone(), Some(Duration::from_millis(500)));
                    Sent::plain(Call::Kill { task, agent: None, grace })
                }));
                calls.push(Sent::plain(Call::Revive(BTreeSet::new())));
                calls.push(Sent::plain(Call::Reconcile(Vec::new())));
                calls
            },
        }
    }

    fn give_back(&mut self) -> Vec<Sent> {
        let answers = matches!(self.conduct, Conduct::Fair | Conduct::Greedy | Conduct::Cell);
        let offers: Vec<OfferId> = std::mem::take(&mut self.offers).into_keys().collect();
        if offers.is_empty() || !answers {
            return Vec::new();
        }
        let filters = Filters { refuse: Duration::from_secs(2) };
        vec![Sent::plain(Call::Decline { offers, filters })]
    }

    fn act_busy(&mut self, tally: &mut Tally) -> Vec<Sent> {
        match self.dice.below(100) {
            0..65 => self.use_offer(tally),
            65..72 => {
                let tasks: Vec<TaskId> = self.tasks.keys().cloned().collect();
                let task = self.dice.pick(&tasks).cloned();
                let grace = Some(Duration::from_millis(self.dice.between(0, 3_000)));
                task.map(|task| Sent::plain(Call::Kill { task, agent: None, grace }))
                    .into_iter()
                    .collect()
            },
            72..78 => {
                let tasks = self.tasks.iter().map(|(task, agent)| (task.clone(), *agent));
                let some = if self.dice.flip() { tasks.collect() } else { Vec::new() };
                vec![Sent::plain(Call::Reconcile(some))]
            },
            78..82 => {
                self.suppressed = !self.suppressed;
                let all = BTreeSet::new();
                let call = if self.suppressed { Call::Suppress(all) } else { Call::Revive(all) };
                vec![Sent::plain(call)]
            },
            82..90 => {
                let again = self.again.take();
                if again.is_some() {
                    tally.fault(Fault::Retry);
                }
                again.into_iter().collect()
            },
            90..91 => {
                let gone = self.dice.chance(120);
                if gone { vec![Sent::plain(Call::Teardown)] } else { Vec::new() }
            },
            _ => {
                self.suppressed = false;
                vec![Sent::plain(Call::Revive(BTreeSet::new()))]
            },
        }
    }

    fn use_offer(&mut self, tally: &mut Tally) -> Vec<Sent> {
        let ids: Vec<OfferId> = self.offers.keys().copied().collect();
        let Some(id) = self.dice.pick(&ids).copied() else { return Vec::new() };
        let Some(offer) = self.offers.remove(&id) else { return Vec::new() };
        if self.dice.chance(150) {
            let filters = Filters { refuse: Duration::from_secs(self.dice.between(0, 6)) };
            return vec![Sent::plain(Call::Decline { offers: vec![id], filters })];
        }
        let operations = self.plan(&offer, tally);
        let offers = vec![id];
        let refuse = Duration::from_secs(self.dice.between(0, 5));
        let filters = Filters { refuse };
        let terms = Terms::default();
        let call = Call::Accept { offers, operations, filters, terms };
        let sent = Sent { agent: Some(offer.agent), call };
        if self.dice.chance(80) {
            self.again = Some(sent.clone());
        }
        vec![sent]
    }
}
