//! The cell that frameworks watch: what is shown of an agent, and that what is told of changes adds up to what is there; and random
//! lives in which some take by transactions what others are offered.
#![expect(clippy::unwrap_used, reason = "a script that cannot be written fails the test")]

mod contest;
mod stage;

use berth_master_core::query::{self, CellChanges, CellWatch};
use berth_master_core::{Input, Step};
use berth_model::cell::{Cell, CellAgent, CellEvent, CellRole};
use berth_model::error::ErrorCode;
use berth_model::framework::{AcceptMode, Call, Event};
use berth_model::id::{FrameworkId, OfferId, TransactionId};
use berth_model::offer::{Offer, Version};
use berth_model::operation::Action;
use berth_model::resources::Resources;
use berth_model::transaction::{Outcome, Placement, Transaction};
use contest::{Contest, Move, ROLES, Wish, moves};
use proptest::prelude::*;
use stage::{
    Stage, agent_id, events, framework_info, op, plus, res, reserved, role, session, sum, task,
    volume,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Somebody who watches, as the shell does it.
struct Watcher {
    watch: CellWatch,
    since: u64,
    cell: Cell,
    /// Snapshots that were begun.
    snapshots: u64,
}

impl Watcher {
    fn new(stage: &Stage, id: &FrameworkId) -> Self {
        let state = stage.master.state();
        let watch = query::watch_cell(state, id).unwrap();
        let mut watcher = Self { watch, since: 0, cell: Cell::default(), snapshots: 0 };
        watcher.snapshot(stage);
        watcher
    }
    fn snapshot(&mut self, stage: &Stage) {
        let state = stage.master.state();
        (self.since, self.snapshots) = (query::cell_point(state), self.snapshots + 1);
        let (mut after, mut begins) = (None, true);
        loop {
            let agents = query::cell_part(state, &self.watch, after, 1).unwrap();
            let more = agents.len() == 1;
            after = agents.last().map(|agent| agent.id);
            let number = self.cell.number + 1;
            self.cell.apply(CellEvent { number, begins, more, agents });
            if !more {
                return;
            }
            begins = false;
        }
    }
    /// The agents that may have changed.
    fn look(&mut self, stage: &Stage) -> usize {
        match query::cell_changes(stage.master.state(), &self.watch, self.since).unwrap() {
            CellChanges::All(watch) => {
                self.watch = watch;
                self.snapshot(stage);
                usize::MAX
            },
            CellChanges::Agents(agents, next) => {
                let (many, number) = (agents.len(), self.cell.number + 1);
                self.since = next;
                self.cell.apply(CellEvent { number, begins: false, more: false, agents });
                many
            },
        }
    }
    fn fresh(&self, stage: &Stage) -> BTreeMap<berth_model::id::AgentId, CellAgent> {
        let all = query::cell_part(stage.master.state(), &self.watch, None, usize::MAX).unwrap();
        all.into_iter().map(|agent| (agent.id, agent)).collect()
    }
}

const MACHINE: &str = "cpus:4;mem:4096;disk:4096";

#[test]
fn an_agent_is_shown_with_what_is_free_for_each_role_and_told_again_when_that_changes() {
    let mut stage = Stage::with(|config| config.optimistic.fan_out = 2);
    let (id, _) = stage.subscribe(50, framework_info("cell", &["batch", "web"]));
    stage.call(&id, 50, Call::Suppress(BTreeSet::new()));
    stage.register(1, MACHINE);
    stage.register(2, "cpus:1;mem:64;disk:64");
    let mut watcher = Watcher::new(&stage, &id);
    let free = |role_name: &str, unreserved: &str, own: Resources| CellRole {
        role: role(role_name),
        unreserved: res(unreserved),
        reserved: own,
    };
    let nothing = Resources::new;
    let shown = |seq: u64, roles: Vec<CellRole>| CellAgent {
        id: agent_id(1),
        hostname: Arc::from("host-1"),
        attributes: Arc::default(),
        version: Version { epoch: 1, seq },
        away: String::new(),
        roles,
    };
    let all = vec![free("batch", MACHINE, nothing()), free("web", MACHINE, nothing())];
    assert_eq!(watcher.cell.agents[&agent_id(1)], shown(1, all));
    assert_eq!(watcher.look(&stage), 0, "nothing has happened");

    // A volume of one role, made by a transaction of it.
    let made = volume("v", "batch", 64, "data");
    let actions = vec![
        Action::Reserve(reserved("disk:128", "batch")),
        Action::Create(vec![made.clone()]),
        Action::Launch(vec![task("t", agent_id(1), res("cpus:1;mem:96"))]),
    ];
    let operations = (0..).zip(actions);
    let operations = operations
        .map(|(n, action)| berth_model::operation::OfferOperation { id: op(700 + n), action })
        .collect();
    let (agent, role_of) = (agent_id(1), Some(role("batch")));
    let seq = watcher.cell.agents[&agent].version.seq;
    let placement = Placement { agent, epoch: 1, if_seq: Some(seq), role: role_of, operations };
    let placements = vec![placement];
    let id_of = TransactionId::from_u128(1);
    let call = Call::Commit(Transaction { id: id_of, placements, mode: AcceptMode::AllOrNothing });
    let step = stage.call(&id, 50, call);
    let told = events(&step).into_iter().find_map(|event| match event {
        Event::Committed { results, .. } => Some(results),
        _ => None,
    });
    let results = told.unwrap();
    assert_eq!(results[0].outcome, Outcome::Done);
    assert_eq!(watcher.look(&stage), 1, "the other agent has not changed");
    let left = "cpus:3;mem:4000;disk:3968";
    let own = reserved("disk:64", "batch");
    let now = vec![free("batch", left, own.clone()), free("web", left, nothing())];
    assert_eq!(watcher.cell.agents[&agent], shown(results[0].seq, now), "it is not READY yet");
    let spec = stage::ensured(&step).unwrap();
    stage.reports(1, session(1), stage::report(&spec, berth_model::volume::VolumeState::Ready));
    watcher.look(&stage);
    let seen = &watcher.cell.agents[&agent].roles[0].reserved;
    assert_eq!(*seen, plus(&own, &sum([made])));

    // What somebody is offered exclusively is not free for others; an agent that goes has nothing.
    stage.put(Input::AgentDisconnected { agent, session: session(1) });
    watcher.look(&stage);
    let gone = &watcher.cell.agents[&agent];
    assert_eq!(gone.away, "the agent is UNREACHABLE");
    assert!(gone.roles.iter().all(|r| r.unreserved.is_empty() && r.reserved.is_empty()));

    // Other roles: everything is told anew.
    stage.call(&id, 50, Call::UpdateRoles(BTreeSet::from([role("other")])));
    assert_eq!((watcher.look(&stage), watcher.snapshots), (usize::MAX, 2));
    assert_eq!(watcher.cell.agents, watcher.fresh(&stage));
    assert_eq!(watcher.cell.agents[&agent_id(2)].roles[0].role, role("other"));

    // It ends with the session.
    stage.put(Input::FrameworkDisconnected { framework: id.clone(), session: session(50) });
    let ended = query::cell_changes(stage.master.state(), &watcher.watch, watcher.since);
    assert_eq!(ended.unwrap_err().code, ErrorCode::NotSubscribed);
    assert_eq!(
        query::watch_cell(stage.master.state(), &id).unwrap_err().code,
        ErrorCode::NotSubscribed
    );
    let nobody = FrameworkId::new("nobody").unwrap();
    let unknown = query::watch_cell(stage.master.state(), &nobody).unwrap_err();
    assert_eq!(
        (unknown.code, unknown.field.as_str()),
        (ErrorCode::UnknownFramework, "framework_id")
    );
}

#[test]
fn who_looks_away_while_most_of_the_cell_changes_is_given_a_snapshot() {
    let mut stage = Stage::new();
    let (id, _) = stage.subscribe(50, framework_info("cell", &["batch"]));
    stage.call(&id, 50, Call::Suppress(BTreeSet::new()));
    for n in 1..=80 {
        stage.register(n, "cpus:1;mem:64");
    }
    let mut watcher = Watcher::new(&stage, &id);
    for n in 1..=64 {
        stage.put(Input::AgentDisconnected { agent: agent_id(n), session: session(n) });
    }
    assert_eq!(watcher.look(&stage), 64);
    for n in 1..=64 {
        stage.back(n, "cpus:1;mem:64", Vec::new(), Vec::new());
    }
    stage.put(Input::AgentDisconnected { agent: agent_id(65), session: session(65) });
    assert_eq!((watcher.look(&stage), watcher.snapshots), (usize::MAX, 2));
    assert_eq!(watcher.cell.agents, watcher.fresh(&stage));
}

/// One thing that happens in a life: as in a contest, or a transaction over both agents.
#[derive(Clone, Debug)]
enum Deed {
    Move(Move),
    Commit {
        who: usize,
        places: Vec<(usize, Wish, u64, bool)>,
        whole: bool,
        exact: bool,
    },
    /// It repeats its last transaction.
    Again {
        who: usize,
    },
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let wish = prop::sample::select(vec![
        Wish::Task,
        Wish::Task,
        Wish::Tasks,
        Wish::Launches,
        Wish::Volume,
        Wish::OldVolume,
    ]);
    let place = (0..2_usize, wish, 1..45_u64, any::<bool>());
    let places = prop::collection::vec(place, 1..4);
    let who = 0..ROLES.len();
    let commit = (who.clone(), places, any::<bool>(), prop::bool::weighted(0.3))
        .prop_map(|(who, places, whole, exact)| Deed::Commit { who, places, whole, exact });
    // One of a list of moves: the list is the contest's own.
    let one = moves().prop_map(|mut list| Deed::Move(list.pop().unwrap()));
    let again = who.prop_map(|who| Deed::Again { who });
    prop::collection::vec(prop_oneof![6 => one, 3 => commit, 1 => again], 1..80)
}

struct Life {
    contest: Contest,
    watchers: Vec<Option<Watcher>>,
    last: Vec<Option<(Transaction, Step)>>,
    transactions: u128,
}

impl Life {
    fn new(fan_out: u32) -> Self {
        let contest = Contest::new(|config| config.optimistic.fan_out = fan_out);
        let none = || ROLES.iter().map(|_| None).collect();
        let watchers = ROLES.iter().map(|_| None).collect();
        Self { contest, watchers, last: none(), transactions: 0 }
    }

    /// What has changed adds up to what is there, for each who watches.
    fn look(&mut self) {
        for (who, watcher) in self.watchers.iter_mut().enumerate() {
            let player = &self.contest.players[who];
            if player.over.is_none() {
                *watcher = None;
                continue;
            }
            let known =
                watcher.get_or_insert_with(|| Watcher::new(&self.contest.stage, &player.id));
            known.look(&self.contest.stage);
            assert_eq!(known.cell.agents, known.fresh(&self.contest.stage));
        }
    }

    fn placement(
        &mut self,
        who: usize,
        place: &(usize, Wish, u64, bool),
        exact: bool,
    ) -> Placement {
        let (at, wish, tenths, ports) = *place;
        let agent = agent_id(at as u128 + 1);
        let watcher = self.watchers[who].as_ref().unwrap();
        let seen = &watcher.cell.agents[&agent];
        let version = seen.version;
        // The contest makes operations from offers.
        let offer = Offer {
            id: OfferId { epoch: 1, number: 0 },
            framework: self.contest.players[who].id.clone(),
            role: role(ROLES[who]),
            agent,
            hostname: Arc::from(""),
            attributes: Arc::default(),
            resources: plus(&seen.roles[0].unreserved, &seen.roles[0].reserved),
            seq: 0,
            optimistic: Resources::new(),
            version,
        };
        let operations = self.contest.operations(who, &offer, wish, tenths, ports);
        let if_seq = exact.then_some(version.seq);
        Placement { agent, epoch: version.epoch, if_seq, role: None, operations }
    }

    fn make(&mut self, deed: &Deed) {
        match deed {
            Deed::Move(one) => drop(self.contest.make(one)),
            Deed::Commit { who, places, whole, exact } => {
                if self.watchers[*who].is_some() {
                    let placements = places.iter().map(|p| self.placement(*who, p, *exact));
                    let placements = placements.collect::<Vec<_>>();
                    let mode =
                        if *whole { AcceptMode::AllOrNothing } else { AcceptMode::Incremental };
                    self.transactions += 1;
                    let id = TransactionId::from_u128(self.transactions);
                    self.commit(*who, Transaction { id, placements, mode });
                }
                // The agents do what they were told.
                self.contest.make(&Move::Pass { ms: 0 });
            },
            Deed::Again { who } => {
                let Some((transaction, first)) = self.last[*who].clone() else { return };
                if self.contest.players[*who].over.is_none() {
                    return;
                }
                let before = self.contest.committed();
                let step = self.contest.call(*who, Call::Commit(transaction));
                assert_eq!(answer(&step), answer(&first));
                assert_eq!((step.writes.len(), self.contest.committed()), (0, before));
            },
        }
        self.look();
    }

    fn commit(&mut self, who: usize, transaction: Transaction) {
        let before = self.contest.committed();
        let step = self.contest.call(who, Call::Commit(transaction.clone()));
        let results = answer(&step).expect("it makes sense");
        let whole = transaction.mode == AcceptMode::AllOrNothing;
        let done = results.iter().all(|result| result.outcome.is_done());
        if whole && !done {
            assert_eq!(self.contest.committed(), before, "{results:#?}");
            assert!(results.iter().all(|result| !result.outcome.is_done()), "{results:#?}");
        }
        for (placement, result) in transaction.placements.iter().zip(&results) {
            for operation in &placement.operations {
                let told = events(&step);
                let answers = told
                    .iter()
                    .filter(|event| matches!(event, Event::Operation(r) if r.id == operation.id));
                assert_eq!(answers.count(), 1, "{operation:?} in {told:#?}");
            }
            let kind = match &result.outcome {
                Outcome::Done => "done",
                Outcome::Conflict { kind, error } => {
                    let wanted =
                        matches!(error.code, ErrorCode::Conflict | ErrorCode::QuotaExceeded);
                    assert!(wanted, "{error:?}");
                    kind.as_str()
                },
                Outcome::Refused(_) => "refused",
                Outcome::NotDone => "not done",
            };
            *self.contest.seen.entry(kind).or_default() += 1;
        }
        self.last[who] = Some((transaction, step));
    }
}

fn answer(step: &Step) -> Option<Vec<berth_model::transaction::PlacementResult>> {
    events(step).into_iter().find_map(|event| match event {
        Event::Committed { results, .. } => Some(results),
        _ => None,
    })
}

fn live(fan_out: u32, deeds: &[Deed]) -> BTreeMap<&'static str, u64> {
    let mut life = Life::new(fan_out);
    life.look();
    for deed in deeds {
        life.make(deed);
    }
    life.contest.seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn transactions_and_offers_share_a_cell_in_every_life(fan_out in 1..5_u32, life in deeds()) {
        live(fan_out, &life);
    }
}

#[test]
fn the_lives_see_the_common_outcomes() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeMap<&'static str, u64> = BTreeMap::new();
    for fan_out in [2, 3, 4, 2, 3, 4, 2, 3, 4, 2] {
        let life = deeds().new_tree(&mut runner).unwrap().current();
        for (what, times) in live(fan_out, &life) {
            *seen.entry(what).or_default() += times;
        }
    }
    for what in ["done", "RESOURCES", "refused", "not done", "conflict"] {
        assert!(seen.contains_key(what), "{what} is not among {seen:?}");
    }
}
