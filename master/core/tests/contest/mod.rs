//! A small cluster for random lives in which frameworks race for the same resources: agents that obey at once, frameworks
//! that accept what they may no longer have, an operator who reserves, tasks that fail.
//!
//! A life is a list of moves, so a failing one shrinks. What the master says is kept as a trace in words that do not
//! change when messages get further fields.
#![allow(dead_code, reason = "each test file uses a part of the contest")]
#![expect(clippy::unwrap_used, reason = "a contest that cannot be set up fails the test")]

use crate::stage::{
    Stage, agent_id, framework_info, info, op, report, res, reserved, session, status, sum, task,
    volume,
};
use berth_master_core::{Config, Input, Output, Step, query};
use berth_model::error::ErrorCode;
use berth_model::framework::{AcceptMode, Call, Event, Filters, Terms};
use berth_model::id::{FrameworkId, SessionId, VolumeId};
use berth_model::link::{FromAgent, Registration, TaskReport, ToAgent};
use berth_model::offer::Offer;
use berth_model::operation::{Action, OfferOperation, OperationState};
use berth_model::operator::Request;
use berth_model::resources::Resources;
use berth_model::task::TaskState;
use berth_model::view::Change;
use berth_model::volume::{VolumeReport, VolumeSpec, VolumeState};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub const MACHINE: &str = "cpus:4;mem:4096;disk:4096;disk(storage):512;ports:[31000-31009]";
/// The frameworks' roles.
pub const ROLES: [&str; 4] = ["web", "batch", "storage", "web"];
const AGENTS: usize = 2;

/// What an ACCEPT asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing: the offer is only used up.
    Nothing,
    /// One task.
    Task,
    /// Two tasks in one LAUNCH.
    Tasks,
    /// Two LAUNCHes of one task each.
    Launches,
    /// cpus and disk are reserved, a volume is made, a task uses it.
    Volume,
    /// A task on the first volume of the offer, if there is one.
    OldVolume,
}

/// On which terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Incremental,
    AllOrNothing,
    /// Only if nothing was committed since the offer.
    Unchanged,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Move {
    /// A framework accepts one of its offers, or one that it no longer has.
    Accept { who: usize, which: usize, wish: Wish, tenths: u64, ports: bool, secs: u64, how: How },
    /// It declines all it has.
    Decline { who: usize, secs: u64 },
    /// It wants offers again.
    Revive { who: usize },
    /// It goes, or comes back.
    Framework { who: usize },
    /// A task ends.
    End { which: usize, failed: bool },
    /// An operator reserves, or takes a reservation back.
    Operator { agent: usize, tenths: u64, back: bool },
    /// An agent goes, or comes back with what it runs.
    Agent { at: usize },
    /// Time passes.
    Pass { ms: u64 },
}

pub fn moves() -> impl Strategy<Value = Vec<Move>> {
    prop::collection::vec(one_move(), 1..120)
}

fn one_move() -> impl Strategy<Value = Move> {
    let wish = prop::sample::select(vec![
        Wish::Nothing,
        Wish::Task,
        Wish::Task,
        Wish::Task,
        Wish::Tasks,
        Wish::Launches,
        Wish::Volume,
        Wish::OldVolume,
    ]);
    let who = 0..ROLES.len();
    let how = prop::sample::select(vec![
        How::Incremental,
        How::Incremental,
        How::AllOrNothing,
        How::Unchanged,
    ]);
    prop_oneof![
        8 => (who.clone(), 0..4_usize, wish, 1..45_u64, any::<bool>(), 0..6_u64, how).prop_map(
            |(who, which, wish, tenths, ports, secs, how)| Move::Accept {
                who, which, wish, tenths, ports, secs, how
            }
        ),
        2 => (who.clone(), 0..6_u64).prop_map(|(who, secs)| Move::Decline { who, secs }),
        1 => who.clone().prop_map(|who| Move::Revive { who }),
        1 => who.prop_map(|who| Move::Framework { who }),
        4 => (0..8_usize, any::<bool>()).prop_map(|(which, failed)| Move::End { which, failed }),
        2 => (0..AGENTS, 1..20_u64, any::<bool>())
            .prop_map(|(agent, tenths, back)| Move::Operator { agent, tenths, back }),
        1 => (0..AGENTS).prop_map(|at| Move::Agent { at }),
        6 => prop::sample::select(vec![10, 60, 200, 1_100, 5_500, 31_000])
            .prop_map(|ms| Move::Pass { ms }),
    ]
}

#[derive(Default)]
struct Machine {
    session: Option<SessionId>,
    inbox: VecDeque<ToAgent>,
    volumes: BTreeMap<VolumeId, (VolumeSpec, VolumeState)>,
    tasks: BTreeMap<(FrameworkId, String), (TaskState, Resources, Vec<VolumeId>)>,
    seq: u64,
}

/// A framework, with everything it was ever offered.
pub struct Player {
    pub id: FrameworkId,
    pub over: Option<u128>,
    /// What it holds as far as it was told.
    pub held: Vec<Offer>,
    /// What was taken back from it or used up, newest last.
    pub lost: Vec<Offer>,
}

pub struct Contest {
    pub stage: Stage,
    pub players: Vec<Player>,
    machines: Vec<Machine>,
    sessions: u128,
    operations: u128,
    tasks: u64,
    pub trace: Vec<String>,
    /// How often what happened.
    pub seen: BTreeMap<&'static str, u64>,
}

impl Contest {
    pub fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut contest = Self {
            stage: Stage::with(change),
            players: Vec::new(),
            machines: (0..AGENTS).map(|_| Machine::default()).collect(),
            sessions: 10,
            operations: 0,
            tasks: 0,
            trace: Vec::new(),
            seen: BTreeMap::new(),
        };
        for at in 0..AGENTS {
            contest.agent(at);
        }
        for role in ROLES {
            contest.sessions += 1;
            let over = contest.sessions;
            let (id, step) = contest.stage.subscribe(over, framework_info("f", &[role]));
            let (held, lost) = (Vec::new(), Vec::new());
            contest.players.push(Player { id, over: Some(over), held, lost });
            contest.take(&step);
        }
        contest
    }

    pub fn play(&mut self, life: &[Move]) {
        for one in life {
            self.make(one);
        }
    }

    /// Makes one move and lets the agents do what follows from it; gives what the move itself led to.
    pub fn make(&mut self, one: &Move) -> Step {
        let step = match one {
            Move::Accept { who, which, wish, tenths, ports, secs, how } => {
                self.accept((*who, *which), *wish, (*tenths, *ports), *secs, *how)
            },
            Move::Decline { who, secs } => {
                let offers = self.players[*who].held.iter().map(|offer| offer.id).collect();
                let filters = Filters { refuse: Duration::from_secs(*secs) };
                self.call(*who, Call::Decline { offers, filters })
            },
            Move::Revive { who } => self.call(*who, Call::Revive(BTreeSet::new())),
            Move::Framework { who } => self.framework(*who),
            Move::End { which, failed } => self.end(*which, *failed),
            Move::Operator { agent, tenths, back } => self.operator(*agent, *tenths, *back),
            Move::Agent { at } => self.agent(*at),
            Move::Pass { ms } => {
                let step = self.stage.advance(Duration::from_millis(*ms));
                self.take(&step);
                step
            },
        };
        for at in 0..AGENTS {
            while let Some(message) = self.machines[at].inbox.pop_front() {
                self.obey(at, message);
            }
        }
        step
    }

    fn put(&mut self, input: Input) -> Step {
        let step = self.stage.put(input);
        self.take(&step);
        step
    }

    /// Delivers what the master says, and keeps it.
    fn take(&mut self, step: &Step) {
        self.trace.extend(lines(step));
        for output in &step.outputs {
            match output {
                Output::ToAgent { agent, session, message } => {
                    let machine = &mut self.machines[usize::try_from(agent.as_u128()).unwrap() - 1];
                    if machine.session == Some(*session) {
                        machine.inbox.push_back(message.clone());
                    }
                },
                Output::ToFramework { framework, event, .. } => {
                    let Some(player) = self.players.iter_mut().find(|p| p.id == *framework) else {
                        continue;
                    };
                    match event {
                        Event::Offers(offers) => player.held.extend(offers.iter().cloned()),
                        Event::Rescind(id) => player.lose(|offer| offer.id == *id),
                        _ => {},
                    }
                },
                _ => {},
            }
        }
    }

    pub fn call(&mut self, who: usize, body: Call) -> Step {
        let player = &mut self.players[who];
        let Some(over) = player.over else { return Step::default() };
        if let Call::Accept { offers, .. } | Call::Decline { offers, .. } = &body {
            player.lose(|offer| offers.contains(&offer.id));
        }
        let framework = Some(player.id.clone());
        let session = session(over);
        self.put(Input::Framework { session, framework, call: 1, fingerprint: 0, body })
    }

    fn framework(&mut self, who: usize) -> Step {
        let player = &mut self.players[who];
        player.lose(|_| true);
        let id = player.id.clone();
        if let Some(open) = player.over.take() {
            let session = session(open);
            return self.put(Input::FrameworkDisconnected { framework: id, session });
        }
        self.sessions += 1;
        let over = self.sessions;
        player.over = Some(over);
        let info = framework_info("f", &[ROLES[who]]);
        let (_, step) = self.stage.resubscribe(over, info, Some(id));
        self.take(&step);
        step
    }

    /// The offer that a framework picks: mostly one it holds, at times one it has lost.
    fn pick(&self, who: usize, which: usize) -> Option<Offer> {
        let player = &self.players[who];
        let lost = player.lost.last().filter(|_| which == 3);
        lost.or_else(|| player.held.get(which % player.held.len().max(1))).cloned()
    }

    fn accept(
        &mut self,
        (who, which): (usize, usize),
        wish: Wish,
        (tenths, ports): (u64, bool),
        secs: u64,
        how: How,
    ) -> Step {
        let Some(offer) = self.pick(who, which) else { return Step::default() };
        let operations = self.operations(who, &offer, wish, tenths, ports);
        let filters = Filters { refuse: Duration::from_secs(secs) };
        let terms = match how {
            How::Incremental => Terms::default(),
            How::AllOrNothing => Terms { mode: AcceptMode::AllOrNothing, if_seq: None },
            How::Unchanged => Terms { if_seq: Some(offer.version.seq), ..Terms::default() },
        };
        let is_dead = !self.players[who].held.iter().any(|held| held.id == offer.id);
        let before = self.committed();
        let asked = operations.clone();
        let step =
            self.call(who, Call::Accept { offers: vec![offer.id], operations, filters, terms });
        if self.players[who].over.is_some() {
            self.judge(&asked, &step, (is_dead, how), &before);
        }
        step
    }

    /// What is committed: what tasks have, what is reserved, what volumes there are, and what is known of operations.
    pub fn committed(&self) -> String {
        let state = self.stage.master.state();
        let tasks: Vec<String> =
            query::tasks(state).iter().map(|t| format!("{:?} {}", t.status, t.resources)).collect();
        let rows: Vec<_> = query::reservations(state).into_iter().map(|row| row.row).collect();
        let volumes: Vec<_> = query::volumes(state).into_iter().map(|v| v.volume).collect();
        format!("{tasks:?} {rows:?} {volumes:?} {:?}", query::operations(state))
    }

    /// Every task and operation is answered once; what is dead, or conflicts as a whole, commits nothing.
    fn judge(
        &mut self,
        asked: &[OfferOperation],
        step: &Step,
        (is_dead, how): (bool, How),
        before: &str,
    ) {
        let told = crate::stage::events(step);
        for operation in asked {
            let answers = told.iter().filter(
                |event| matches!(event, Event::Operation(record) if record.id == operation.id),
            );
            assert_eq!(answers.count(), 1, "answers to {operation:?} in {told:#?}");
            let Action::Launch(tasks) = &operation.action else { continue };
            for task in tasks {
                let statuses = told.iter().filter(
                    |event| matches!(event, Event::Status(status) if status.task == task.id),
                );
                let mut live = query::tasks(self.stage.master.state()).into_iter();
                let starts = live.any(|view| view.status.task == task.id);
                let answers = statuses.count() + usize::from(starts);
                assert_eq!(answers, 1, "answers to task {} in {told:#?}", task.id);
            }
        }
        let refusal = told.iter().find_map(|event| match event {
            Event::Answered { result, .. } => result.as_ref().err().cloned(),
            _ => None,
        });
        assert!(!is_dead || refusal.is_some(), "an offer that is over was accepted: {told:#?}");
        let failed = told.iter().any(|event| {
            matches!(event, Event::Operation(record)
                if matches!(record.state, OperationState::Failed(_)))
        });
        let as_a_whole = how == How::AllOrNothing && failed;
        assert!(!as_a_whole || refusal.is_some(), "a part was done: {told:#?}");
        if refusal.is_some() {
            assert_eq!(self.committed(), before, "refused, but something is there: {refusal:?}");
        }
        for event in &told {
            if let Event::Operation(record) = event
                && let OperationState::Failed(error) = &record.state
                && error.code == ErrorCode::Conflict
            {
                *self.seen.entry("conflict").or_default() += 1;
                assert!(error.message.starts_with("Conflict: "), "{error}");
            }
        }
        let some = if refusal.is_some() { "refused" } else { "answered" };
        *self.seen.entry(some).or_default() += 1;
        *self.seen.entry("all refused").or_default() += u64::from(as_a_whole);
    }

    pub fn operations(
        &mut self,
        who: usize,
        offer: &Offer,
        wish: Wish,
        tenths: u64,
        ports: bool,
    ) -> Vec<OfferOperation> {
        let mut need = res(&format!("cpus:{}.{};mem:64", tenths / 10, tenths % 10));
        if ports {
            need.add_all(&res("ports:[31003-31003]")).unwrap();
        }
        let owner = ROLES[who];
        let actions = match wish {
            Wish::Nothing => Vec::new(),
            Wish::Task => vec![self.launch(offer, &[need])],
            Wish::Tasks => vec![self.launch(offer, &[need.clone(), need])],
            Wish::Launches => {
                vec![self.launch(offer, std::slice::from_ref(&need)), self.launch(offer, &[need])]
            },
            Wish::Volume => {
                let name = format!("v{}", self.tasks);
                let made = sum([volume(&name, owner, 64, "data")]);
                let mut used = res("cpus:0.1;mem:32");
                used.add_all(&made).unwrap();
                vec![
                    Action::Reserve(reserved("disk:64", owner)),
                    Action::Create(made.iter().collect()),
                    self.launch(offer, &[used]),
                ]
            },
            Wish::OldVolume => {
                for volume in offer.resources.volumes().into_iter().take(1) {
                    need.add(&volume).unwrap();
                }
                vec![self.launch(offer, &[need])]
            },
        };
        let ided = actions.into_iter().map(|action| {
            self.operations += 1;
            OfferOperation { id: op(self.operations), action }
        });
        ided.collect()
    }

    fn launch(&mut self, offer: &Offer, needs: &[Resources]) -> Action {
        let tasks = needs.iter().map(|need| {
            self.tasks += 1;
            task(&format!("t{}", self.tasks), offer.agent, need.clone())
        });
        Action::Launch(tasks.collect())
    }

    fn end(&mut self, which: usize, failed: bool) -> Step {
        let live: Vec<(usize, (FrameworkId, String))> = (0..AGENTS)
            .filter(|at| self.machines[*at].session.is_some())
            .flat_map(|at| {
                let tasks = self.machines[at].tasks.iter();
                tasks
                    .filter(|(_, (state, ..))| !state.is_terminal())
                    .map(move |(key, _)| (at, key.clone()))
            })
            .collect();
        let Some((at, key)) = live.get(which % live.len().max(1)).cloned() else {
            return Step::default();
        };
        let to = if failed { TaskState::Failed } else { TaskState::Finished };
        self.task_says(at, &key, to)
    }

    fn operator(&mut self, at: usize, tenths: u64, back: bool) -> Step {
        let agent = agent_id(at as u128 + 1);
        let text = format!("cpus:{}.{}", tenths / 10, tenths % 10);
        let resources = reserved(&text, "storage");
        let request = match back {
            false => Request::Reserve { agent, resources },
            true => Request::Unreserve { agent, resources },
        };
        self.operations += 1;
        let (_, step) = self.stage.operator(self.operations, request);
        self.take(&step);
        step
    }

    fn agent(&mut self, at: usize) -> Step {
        let agent = agent_id(at as u128 + 1);
        let machine = &mut self.machines[at];
        machine.inbox.clear();
        if let Some(session) = machine.session.take() {
            return self.put(Input::AgentDisconnected { agent, session });
        }
        self.sessions += 1;
        let over = session(self.sessions);
        machine.session = Some(over);
        let volumes: Vec<VolumeReport> =
            machine.volumes.values().map(|(spec, state)| report(spec, *state)).collect();
        let tasks = machine.tasks.iter().map(|((framework, name), (state, resources, volumes))| {
            TaskReport {
                status: status(framework, name, agent, *state, 5),
                resources: resources.clone(),
                volumes: volumes.clone(),
                name: name.clone(),
                container: berth_model::id::ContainerId::from_u128(7),
            }
        });
        let tasks = tasks.collect();
        let ledger_seq = machine.seq;
        let registration = Registration {
            ledger_seq,
            volumes,
            tasks,
            ..self.stage.registration(info(agent, MACHINE), over)
        };
        let message = FromAgent::Register(Box::new(registration));
        self.put(Input::Agent { agent, session: over, message })
    }

    fn says(&mut self, at: usize, message: FromAgent) -> Step {
        let Some(session) = self.machines[at].session else { return Step::default() };
        self.put(Input::Agent { agent: agent_id(at as u128 + 1), session, message })
    }

    fn task_says(&mut self, at: usize, key: &(FrameworkId, String), to: TaskState) -> Step {
        let Some(entry) = self.machines[at].tasks.get_mut(key) else { return Step::default() };
        if entry.0.is_terminal() {
            return Step::default();
        }
        entry.0 = to;
        let said = status(&key.0, &key.1, agent_id(at as u128 + 1), to, 5);
        let step = self.says(at, FromAgent::Status(said));
        if to.is_terminal() {
            // Its framework takes the news in at once.
            self.machines[at].tasks.remove(key);
            let Some(who) = self.players.iter().position(|p| p.id == key.0) else { return step };
            let task = crate::stage::task_id(&key.1);
            let agent = agent_id(at as u128 + 1);
            let status = berth_model::id::StatusId::from_u128(5);
            self.call(who, Call::Acknowledge { agent, task, status });
        }
        step
    }

    fn obey(&mut self, at: usize, message: ToAgent) {
        let machine = &mut self.machines[at];
        match message {
            ToAgent::EnsureVolume { spec, .. } => {
                machine.volumes.insert(spec.id, (spec.clone(), VolumeState::Ready));
                machine.seq += 1;
                let ledger_seq = machine.seq;
                let report = report(&spec, VolumeState::Ready);
                self.says(at, FromAgent::Volume { ledger_seq, report });
            },
            ToAgent::Launch { framework, task, volumes } => {
                let key = (framework, task.id.to_string());
                let uses = volumes.iter().map(|u| u.volume).collect();
                machine.tasks.insert(key.clone(), (TaskState::Starting, task.resources, uses));
                self.task_says(at, &key, TaskState::Running);
            },
            ToAgent::Kill { framework, task, .. } => {
                self.task_says(at, &(framework, task.to_string()), TaskState::Killed);
            },
            _ => {},
        }
    }
}

impl Player {
    fn lose(&mut self, which: impl Fn(&Offer) -> bool) {
        let (gone, left) = std::mem::take(&mut self.held).into_iter().partition(|o| which(o));
        self.held = left;
        let mut gone: Vec<Offer> = gone;
        self.lost.append(&mut gone);
    }
}

/// What frameworks and watchers are told, in words.
fn lines(step: &Step) -> Vec<String> {
    let mut lines = Vec::new();
    for output in &step.outputs {
        match output {
            Output::ToFramework { framework, event, .. } => match event {
                Event::Offers(offers) => lines.extend(offers.iter().map(|offer| {
                    format!(
                        "offer {} to {framework} {} of {}: {} at {}",
                        offer.id, offer.role, offer.agent, offer.resources, offer.seq
                    )
                })),
                Event::Rescind(offer) => lines.push(format!("rescind {offer} of {framework}")),
                Event::Status(status) => lines.push(format!(
                    "task {} {} {:?} {}",
                    status.task, status.state, status.reason, status.message
                )),
                Event::Answered { result, .. } => lines.push(match result {
                    Ok(ids) => format!("answered {}", ids.len()),
                    Err(error) => format!("refused {error}"),
                }),
                _ => {},
            },
            Output::Changed(Change::Operation(record)) => lines.push(match &record.state {
                OperationState::Failed(error) => format!("{} FAILED {error}", record.kind),
                other => format!("{} {}", record.kind, other.as_str()),
            }),
            Output::Reply { result: Err(error), .. } => lines.push(format!("operator {error}")),
            _ => {},
        }
    }
    lines
}

/// A life from one number, the same for ever.
pub fn life(seed: u64, length: usize) -> Vec<Move> {
    let mut state = seed;
    let mut roll = |sides: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    let small = |number: u64| usize::try_from(number).unwrap();
    let one = |_| match roll(24) {
        0..=7 => {
            let wish = [
                Wish::Nothing,
                Wish::Task,
                Wish::Task,
                Wish::Task,
                Wish::Tasks,
                Wish::Launches,
                Wish::Volume,
                Wish::OldVolume,
            ][small(roll(8))];
            let (who, which, tenths) = (small(roll(4)), small(roll(4)), 1 + roll(44));
            let (ports, secs, how) = (roll(2) == 0, roll(6), How::Incremental);
            Move::Accept { who, which, wish, tenths, ports, secs, how }
        },
        8 | 9 => Move::Decline { who: small(roll(4)), secs: roll(6) },
        10 => Move::Revive { who: small(roll(4)) },
        11 => Move::Framework { who: small(roll(4)) },
        12..=15 => Move::End { which: small(roll(8)), failed: roll(2) == 0 },
        16 | 17 => {
            Move::Operator { agent: small(roll(2)), tenths: 1 + roll(19), back: roll(2) == 0 }
        },
        18 => Move::Agent { at: small(roll(2)) },
        _ => Move::Pass { ms: [10, 60, 200, 1_100, 5_500, 31_000][small(roll(6))] },
    };
    (0..length).map(one).collect()
}
