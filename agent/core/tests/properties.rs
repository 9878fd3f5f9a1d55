//! Random histories with crashes: whatever the master, the host and the clock do, the rules that keep data hold.
//!
//! The host here is a model: it carries effects out in any order, fails at random, and loses nothing by itself
//! except when an action says so. A crash comes after any input: before its records are synced, after that, or after
//! its outputs left.

mod scene;

use berth_agent_core::effect::{
    ContainerEffect, ContainerEvent, Exit, Place, VolumeEffect, VolumeOutcome,
};
use berth_agent_core::{Agent, Books, Config, Input, Output, Step};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{ContainerId, SessionId, VolumeId};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::record::{LedgerRecord, LedgerTaskPhase};
use berth_model::task::TaskKey;
use berth_model::units::{Bytes, Timestamp};
use berth_model::usage::Measured;
use berth_model::volume::{Enforcement, VolumeSpec, VolumeState};
use berth_model::wipe::{Wipe, WipeStage};
use proptest::prelude::*;
use scene::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Action {
    Connect,
    Disconnect,
    NewEpoch,
    OldEpoch { volume: u128 },
    Ensure { volume: u128, generation: u64, op: u128 },
    Destroy { volume: u128, generation: u64, op: u128 },
    Resize { volume: u128, generation: u64, mib: u64, op: u128 },
    Purge { volume: u128, generation: u64, wipe: Option<Wipe> },
    Forget { volume: u128, generation: u64 },
    Launch { task: u8, volume: Option<(u128, u64)> },
    Kill { task: u8 },
    Acknowledge { task: u8 },
    Effect { pick: usize, fate: u8 },
    Contain { pick: usize, fate: u8 },
    Vanish { volume: u128 },
    Wait { seconds: u64 },
    Crash { moment: u8 },
    Shutdown,
}

/// Volume 2 is a shared one.
fn made(number: u128, generation: u64, op: u128) -> ToAgent {
    let spec = VolumeSpec { shared: number == 2, ..spec(number, generation) };
    ToAgent::EnsureVolume { spec, operation: operation(op), restore: generation > 1 }
}

fn wipe() -> impl Strategy<Value = Wipe> {
    prop_oneof![Just(Wipe::None), Just(Wipe::Zero), Just(Wipe::Shred)]
}

fn action() -> impl Strategy<Value = Action> {
    let volume = 1_u128..4;
    let generation = 1_u64..4;
    prop_oneof![
        3 => Just(Action::Connect),
        1 => Just(Action::Disconnect),
        1 => Just(Action::NewEpoch),
        1 => volume.clone().prop_map(|volume| Action::OldEpoch { volume }),
        8 => (volume.clone(), generation.clone(), 0_u128..6)
            .prop_map(|(volume, generation, op)| Action::Ensure { volume, generation, op }),
        4 => (volume.clone(), generation.clone(), 0_u128..6)
            .prop_map(|(volume, generation, op)| Action::Destroy { volume, generation, op }),
        4 => (volume.clone(), 1_u64..3, 1_u64..40, 0_u128..6).prop_map(
            |(volume, generation, mib, op)| Action::Resize { volume, generation, mib, op }
        ),
        2 => (volume.clone(), generation.clone(), proptest::option::of(wipe()))
            .prop_map(|(volume, generation, wipe)| Action::Purge { volume, generation, wipe }),
        2 => (volume.clone(), generation.clone())
            .prop_map(|(volume, generation)| Action::Forget { volume, generation }),
        6 => (0_u8..4, proptest::option::of((volume.clone(), generation)))
            .prop_map(|(task, volume)| Action::Launch { task, volume }),
        2 => (0_u8..4).prop_map(|task| Action::Kill { task }),
        6 => (0_u8..4).prop_map(|task| Action::Acknowledge { task }),
        14 => (any::<usize>(), any::<u8>()).prop_map(|(pick, fate)| Action::Effect { pick, fate }),
        10 => (any::<usize>(), any::<u8>()).prop_map(|(pick, fate)| Action::Contain { pick, fate }),
        1 => volume.prop_map(|volume| Action::Vanish { volume }),
        3 => prop_oneof![Just(1_u64), Just(30), Just(90_000)]
            .prop_map(|seconds| Action::Wait { seconds }),
        2 => (0_u8..3).prop_map(|moment| Action::Crash { moment }),
        1 => Just(Action::Shutdown),
    ]
}

/// What is on the disk, what runs, and what was asked of the host in this life of the agent.
#[derive(Default)]
struct Host {
    live: BTreeMap<VolumeId, u64>,
    trash: BTreeMap<VolumeId, u64>,
    /// Of what is in the trash, what was overwritten.
    wiped: BTreeSet<VolumeId>,
    /// Of what is live, the limit that is set.
    sizes: BTreeMap<VolumeId, Bytes>,
    running: BTreeSet<ContainerId>,
    over: BTreeSet<ContainerId>,
    effects: Vec<(u64, VolumeEffect)>,
    containers: Vec<ContainerEffect>,
    started: BTreeSet<ContainerId>,
}

struct World {
    agent: Agent,
    ledger: Vec<LedgerRecord>,
    now: Timestamp,
    epoch: u64,
    host: Host,
    /// Volumes whose destruction somebody asked for.
    condemned: BTreeSet<VolumeId>,
    /// Volumes that are or were LOST and were not forgotten since.
    lost: BTreeSet<VolumeId>,
    /// How the next crash falls.
    crash: Option<u8>,
    /// A registration of the current connection waits for its answer.
    registering: bool,
    /// A master has answered a registration of this life.
    taken_in: bool,
}

impl World {
    fn new() -> Self {
        let now = Timestamp::from_ms(1_000_000);
        let (agent, step) = Agent::recover(Config::default(), info(), vec![], 0, now);
        assert_eq!(step, Step::default());
        Self {
            agent,
            ledger: vec![],
            now,
            epoch: 1,
            host: Host::default(),
            condemned: BTreeSet::new(),
            lost: BTreeSet::new(),
            crash: None,
            registering: false,
            taken_in: false,
        }
    }

    fn give(&mut self, input: Input) {
        let before = self.agent.books().epoch();
        let stale = matches!(&input, Input::Master(e) if e.epoch < before);
        match &input {
            Input::Master(e) if matches!(e.message, ToAgent::Registered { .. }) && !stale => {
                self.taken_in |= self.registering;
            },
            Input::Connected { .. } | Input::Disconnected => self.registering = false,
            _ => {},
        }
        let step = self.agent.step(self.now, input);
        if stale {
            assert_eq!(step.records, vec![], "a message of an old epoch wrote something");
            let harmless = |o: &Output| matches!(o, Output::Disconnect { .. } | Output::Log { .. });
            assert!(step.outputs.iter().all(harmless), "{:?}", step.outputs);
        }
        self.take_in(step);
    }

    /// Syncs the records and lets the outputs go, or crashes on the way.
    fn take_in(&mut self, step: Step) {
        let crash = self.crash.take();
        if crash == Some(0) {
            return self.restart();
        }
        self.note(&step.records);
        self.ledger.extend(step.records);
        assert_eq!(&Books::fold(self.ledger.clone()), self.agent.books());
        assert_eq!(&Books::fold(self.agent.snapshot()), self.agent.books());
        if crash == Some(1) {
            return self.restart();
        }
        for output in step.outputs {
            self.check(&output);
            match output {
                Output::Volume { token, effect } => self.host.effects.push((token, effect)),
                Output::Container(effect) => self.host.containers.push(effect),
                Output::Disconnect { .. } => self.registering = false,
                Output::Send(FromAgent::Register(_)) => self.registering = true,
                Output::Send(_)
                | Output::ReadFile { .. }
                | Output::PurgeOrphan { .. }
                | Output::OrderDisk { .. }
                | Output::TryDisk { .. }
                | Output::Log { .. }
                | Output::Transfer { .. }
                | Output::RefuseTransfer { .. }
                | Output::Stopped => {},
            }
        }
        if crash == Some(2) {
            self.restart();
        }
    }

    fn note(&mut self, records: &[LedgerRecord]) {
        let mut epoch = Books::fold(self.ledger.clone()).epoch();
        for record in records {
            match record {
                LedgerRecord::Epoch { epoch: next, .. } => {
                    assert!(*next >= epoch, "the epoch went from {epoch} to {next}");
                    epoch = *next;
                },
                LedgerRecord::Volume(v) if v.state == VolumeState::Lost => {
                    self.lost.insert(v.spec.id);
                },
                LedgerRecord::VolumeForgotten(id) => drop(self.lost.remove(id)),
                _ => {},
            }
        }
    }

    fn restart(&mut self) {
        self.host.effects.clear();
        self.host.containers.clear();
        self.host.started.clear();
        (self.registering, self.taken_in) = (false, false);
        let seq = self.ledger.len() as u64;
        let records = self.ledger.clone();
        let (agent, step) = Agent::recover(Config::default(), info(), records, seq, self.now);
        self.agent = agent;
        self.take_in(step);
    }

    /// What is purged is in the trash, and wiped before where that was wanted.
    fn check_purge(&self, id: VolumeId, effect: &VolumeEffect) {
        let volume = &self.agent.books().volumes()[&id];
        assert_eq!(volume.state, VolumeState::Trashed);
        let stage = volume.wipe.map(|wipe| wipe.stage);
        if let VolumeEffect::Wipe { method, .. } = effect {
            assert_eq!(volume.wipe.map(|wipe| wipe.method), Some(*method));
            assert!(matches!(stage, Some(WipeStage::Begun(_))), "{stage:?}");
        }
        if let (VolumeEffect::Purge { .. }, Some(stage)) = (effect, stage) {
            assert!(matches!(stage, WipeStage::Done(_)), "purged before it is wiped: {stage:?}");
            let is_left = self.host.trash.contains_key(&id);
            assert!(!is_left || self.host.wiped.contains(&id), "nobody wiped it");
        }
    }

    fn check(&mut self, output: &Output) {
        let books = self.agent.books();
        match output {
            Output::Volume { effect, .. } => {
                let state = |id: &VolumeId| books.volumes()[id].state;
                let id = effect.spec().id;
                let looks =
                    matches!(effect, VolumeEffect::Verify { .. } | VolumeEffect::Usage { .. });
                assert!(looks || self.taken_in, "no master has taken it in: {effect:?}");
                let mut touched: BTreeSet<VolumeId> = BTreeSet::from([id]);
                match effect {
                    VolumeEffect::Create { purgeable, .. }
                    | VolumeEffect::Restore { purgeable, .. } => {
                        assert_eq!(state(&id), VolumeState::Creating);
                        for (spec, _) in purgeable {
                            assert_eq!(state(&spec.id), VolumeState::Trashed);
                            assert!(touched.insert(spec.id));
                        }
                        assert!(!self.lost.contains(&id), "LOST volume {id} is made anew");
                    },
                    VolumeEffect::Trash { .. } => {
                        assert_eq!(state(&id), VolumeState::Tombstoned);
                        assert_eq!(books.user(id), None);
                        assert!(self.condemned.contains(&id));
                    },
                    VolumeEffect::Resize { size, purgeable, .. } => {
                        assert_eq!(state(&id), VolumeState::Ready);
                        assert_eq!(books.volumes()[&id].resize, Some(*size));
                        for (spec, _) in purgeable {
                            assert_eq!(state(&spec.id), VolumeState::Trashed);
                            assert!(touched.insert(spec.id));
                        }
                    },
                    VolumeEffect::SurveyWipe { .. }
                    | VolumeEffect::Wipe { .. }
                    | VolumeEffect::Purge { .. } => self.check_purge(id, effect),
                    VolumeEffect::Verify { .. } | VolumeEffect::Usage { .. } => {},
                    VolumeEffect::Snapshot { .. }
                    | VolumeEffect::TakeGroup { .. }
                    | VolumeEffect::EraseGroup { .. }
                    | VolumeEffect::EraseSnapshot { .. }
                    | VolumeEffect::VerifySnapshot { .. }
                    | VolumeEffect::RollBack { .. }
                    | VolumeEffect::SetAccess { .. }
                    | VolumeEffect::Clone { .. }
                    | VolumeEffect::Import { .. }
                    | VolumeEffect::Adopt { .. } => panic!("nobody asked for {effect:?}"),
                }
                for (_, other) in &self.host.effects {
                    assert!(!touched.contains(&other.spec().id), "two effects on one volume");
                    if let VolumeEffect::Create { purgeable, .. }
                    | VolumeEffect::Resize { purgeable, .. }
                    | VolumeEffect::Restore { purgeable, .. } = other
                    {
                        assert!(!purgeable.iter().any(|(spec, _)| touched.contains(&spec.id)));
                    }
                }
            },
            Output::Container(ContainerEffect::Start { container, volumes, .. }) => {
                assert!(self.taken_in, "{container} is started for no master");
                assert!(self.host.started.insert(*container), "{container} is started twice");
                let task = books.task_of(*container).expect("the task is in the books");
                assert_ne!(task.phase, LedgerTaskPhase::Ended);
                for (used, spec) in volumes {
                    let volume = &books.volumes()[&used.volume];
                    assert_eq!((volume.state, &volume.spec), (VolumeState::Ready, spec));
                    assert_eq!(volume.spec.generation, used.generation);
                    let users: Vec<&TaskKey> = books.users(used.volume).collect();
                    assert!(users.contains(&&task.key()), "{users:?}");
                    assert!(users.len() == 1 || volume.spec.shared, "{users:?}");
                }
                assert_eq!(volumes.len(), task.volumes.len());
            },
            Output::Send(FromAgent::Status(status)) if status.id.is_some() => {
                let key =
                    TaskKey { framework: status.framework.clone(), task: status.task.clone() };
                assert_eq!(books.tasks()[&key].unacknowledged.first(), Some(status));
            },
            Output::Send(FromAgent::Volume { report, .. }) => {
                // Written down, if not by now overtaken in the same step.
                let written = self.ledger.iter().rev().find_map(|record| match record {
                    LedgerRecord::Volume(v) if v.spec.id == report.spec.id => {
                        (v.state == report.state).then_some(v.spec.generation)
                    },
                    _ => None,
                });
                assert_eq!(written, Some(report.spec.generation));
            },
            _ => {},
        }
    }

    fn say(&mut self, message: ToAgent) {
        self.give(envelope(self.epoch, message));
    }

    fn connect(&mut self) {
        self.give(Input::Connected { session: SessionId::from_u128(1) });
        let heartbeat = Duration::from_secs(5);
        self.say(ToAgent::Registered { heartbeat });
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect => self.connect(),
            Action::Disconnect => self.give(Input::Disconnected),
            Action::NewEpoch => {
                self.epoch += 1;
                self.connect();
            },
            Action::OldEpoch { volume } => {
                self.give(envelope(self.epoch - 1, made(volume, 1, 1)));
            },
            Action::Ensure { volume, generation, op } => self.say(made(volume, generation, op)),
            Action::Destroy { volume: number, generation, op } => {
                self.condemned.insert(volume(number));
                self.say(destroy(number, generation, op));
            },
            Action::Resize { volume: number, generation, mib, op } => {
                self.say(ToAgent::ResizeVolume {
                    volume: volume(number),
                    generation,
                    size: Bytes::from_mib(mib),
                    operation: operation(op),
                });
            },
            Action::Purge { volume: number, generation, wipe } => self.say(ToAgent::PurgeVolume {
                wipe,
                volume: volume(number),
                generation,
                operation: operation(50),
            }),
            Action::Forget { volume: number, generation } => {
                self.say(ToAgent::ForgetVolume { volume: volume(number), generation });
            },
            Action::Launch { task, volume } => {
                let volumes = volume.map(|(number, generation)| used(number, generation));
                self.say(launch(&format!("t{task}"), volumes.into_iter().collect()));
            },
            Action::Kill { task } => {
                let TaskKey { framework, task } = key(&format!("t{task}"));
                self.say(ToAgent::Kill { framework, task, grace: None });
            },
            Action::Acknowledge { task } => self.acknowledge(&key(&format!("t{task}"))),
            Action::Effect { pick, fate } => self.carry_out(pick, fate),
            Action::Contain { pick, fate } => self.contain(pick, fate),
            Action::Vanish { volume: number } => {
                // An administrator deletes a volume's data behind Berth's back.
                self.condemned.insert(volume(number));
                self.host.live.remove(&volume(number));
            },
            Action::Wait { seconds } => {
                self.now = self.now.after(Duration::from_secs(seconds));
                self.give(Input::Tick);
            },
            Action::Crash { moment } => self.crash = Some(moment),
            Action::Shutdown => {
                self.give(Input::Shutdown { kill_tasks: true });
                self.restart();
            },
        }
        for (id, generation) in &self.host.live {
            let known = self.agent.books().volumes().get(id);
            assert!(known.is_some(), "volume {id} of generation {generation} leaks");
        }
        for volume in self.agent.books().volumes().values() {
            let id = volume.spec.id;
            let at_rest = volume.state == VolumeState::Ready && volume.resize.is_none();
            let busy = self.host.effects.iter().any(|(_, effect)| effect.spec().id == id);
            if at_rest && !busy && self.host.live.contains_key(&id) {
                assert_eq!(self.host.sizes.get(&id), Some(&volume.spec.size), "volume {id}");
            }
        }
        for (id, generation) in &self.host.trash {
            let state = self.agent.books().volumes().get(id).map(|v| v.state);
            let explained = match state {
                Some(
                    VolumeState::Trashed
                    | VolumeState::Tombstoned
                    | VolumeState::Creating
                    | VolumeState::Quarantined,
                ) => true,
                Some(
                    VolumeState::Ready
                    | VolumeState::Failed
                    | VolumeState::Lost
                    | VolumeState::Gone,
                )
                | None => false,
            };
            assert!(explained, "trash of {id} in generation {generation} leaks: {state:?}");
        }
    }

    fn acknowledge(&mut self, key: &TaskKey) {
        let head = self.agent.books().tasks().get(key).and_then(|t| t.unacknowledged.first());
        if let Some(status) = head.and_then(|s| s.id) {
            let TaskKey { framework, task } = key.clone();
            self.say(ToAgent::Acknowledge { framework, task, status });
        }
    }

    fn carry_out(&mut self, pick: usize, fate: u8) {
        if self.host.effects.is_empty() {
            return;
        }
        let index = pick % self.host.effects.len();
        let (token, effect) = self.host.effects.remove(index);
        let id = effect.spec().id;
        let fault = Rejection::new(ErrorCode::DiskFaulty, "input/output error");
        // Failed promises that nothing of the effect remains, also of an earlier attempt.
        let done = self.host.live.contains_key(&id);
        let outcome = match fate {
            0..20 if matches!(effect, VolumeEffect::Create { .. }) => {
                self.host.live.remove(&id);
                VolumeOutcome::Failed(fault)
            },
            0..20 if matches!(effect, VolumeEffect::Resize { .. }) => {
                self.host.sizes.insert(id, effect.spec().size);
                VolumeOutcome::Failed(fault)
            },
            0..20 if !(done && matches!(effect, VolumeEffect::Restore { .. })) => {
                VolumeOutcome::Failed(fault)
            },
            20..40 => VolumeOutcome::Unclear(fault),
            40..50 => {
                // Done, but the answer says it is unclear.
                self.host.apply(&effect);
                VolumeOutcome::Unclear(fault)
            },
            _ => self.host.apply(&effect),
        };
        self.give(Input::Volume { volume: id, token, outcome });
    }

    fn contain(&mut self, pick: usize, fate: u8) {
        let host = &mut self.host;
        if host.containers.is_empty() || fate < 60 {
            let Some(container) =
                host.running.iter().nth(pick % host.running.len().max(1)).copied()
            else {
                return;
            };
            let asked = |e: &ContainerEffect| matches!(e, ContainerEffect::Start { container: c, .. } | ContainerEffect::Adopt { container: c, .. } if *c == container);
            // A running container speaks only after its start or adoption was answered.
            if host.containers.iter().any(asked) {
                return;
            }
            let event = match fate % 4 {
                0 => ContainerEvent::Ready(pick.is_multiple_of(2)),
                1 => ContainerEvent::Healthy(!pick.is_multiple_of(8)),
                2 | 3 => {
                    host.running.remove(&container);
                    host.over.insert(container);
                    ContainerEvent::Exited(Exit::Status(i32::from(fate % 3)))
                },
                _ => return,
            };
            return self.give(Input::Container { container, event });
        }
        let effect = host.containers.remove(pick % host.containers.len());
        let (container, event) = match effect {
            ContainerEffect::Start { container, volumes, .. } => {
                let there = |v: &VolumeId, g: u64| host.live.get(v) == Some(&g);
                let event = if host.over.contains(&container) {
                    ContainerEvent::Exited(Exit::Status(0))
                } else if host.running.contains(&container) {
                    ContainerEvent::Running { pid: 1 }
                } else if !volumes.iter().all(|(_, spec)| there(&spec.id, spec.generation)) {
                    ContainerEvent::NotStarted(Rejection::new(ErrorCode::VolumeUnavailable, "gone"))
                } else if fate > 230 {
                    ContainerEvent::NotStarted(Rejection::new(ErrorCode::LaunchFailed, "no shell"))
                } else {
                    host.running.insert(container);
                    ContainerEvent::Running { pid: 1 }
                };
                (container, event)
            },
            ContainerEffect::Adopt { container, .. } if host.running.contains(&container) => {
                (container, ContainerEvent::Running { pid: 1 })
            },
            ContainerEffect::Adopt { container, .. } => {
                (container, ContainerEvent::Exited(Exit::Unknown("no supervisor".to_owned())))
            },
            ContainerEffect::Kill { container, .. } => {
                host.running.remove(&container);
                host.over.insert(container);
                (container, ContainerEvent::Exited(Exit::Signal(15)))
            },
            ContainerEffect::Release { container } => {
                assert!(!host.running.contains(&container), "a running container is released");
                return;
            },
        };
        self.give(Input::Container { container, event });
    }

    /// All faults are over: everything comes to rest.
    fn heal(&mut self) {
        self.crash = None;
        self.restart();
        for round in 0..200 {
            self.connect();
            while !self.host.effects.is_empty() {
                self.carry_out(0, 255);
            }
            while !self.host.containers.is_empty() {
                self.contain(0, 200);
            }
            let keys: Vec<TaskKey> = self.agent.books().tasks().keys().cloned().collect();
            for key in keys {
                self.acknowledge(&key);
            }
            self.now = self.now.after(Duration::from_secs(1));
            self.give(Input::Tick);
            if self.is_at_rest() {
                return;
            }
            assert!(round < 199, "still at work: {:?}", self.agent.books());
        }
    }

    fn is_at_rest(&self) -> bool {
        let books = self.agent.books();
        let volumes = books.volumes().values();
        let settled = |state| !matches!(state, VolumeState::Creating | VolumeState::Tombstoned);
        let mut tasks = books.tasks().values();
        self.host.effects.iter().all(|(_, e)| matches!(e, VolumeEffect::Usage { .. }))
            && self.host.containers.is_empty()
            && volumes.clone().all(|v| settled(v.state))
            && tasks.all(|t| t.phase == LedgerTaskPhase::Running && t.unacknowledged.is_empty())
            && books
                .live()
                .iter()
                .all(|key| self.host.running.contains(&books.tasks()[key].container))
            && self.host.running.len() == books.live().len()
            && volumes
                .filter(|v| v.state == VolumeState::Ready)
                .all(|v| self.host.live.get(&v.spec.id) == Some(&v.spec.generation))
    }
}

impl Host {
    fn apply(&mut self, effect: &VolumeEffect) -> VolumeOutcome {
        let present = |purged| VolumeOutcome::Present {
            host_path: Arc::from("/v"),
            driver: Arc::from("directory"),
            enforcement: Enforcement::None,
            purged,
        };
        let foreign =
            || VolumeOutcome::Foreign(Rejection::new(ErrorCode::DirectoryExists, "something else"));
        let (id, generation) = (effect.spec().id, effect.spec().generation);
        match effect {
            VolumeEffect::Create { purgeable, .. } => {
                if *self.live.entry(id).or_insert(generation) != generation {
                    return foreign();
                }
                self.sizes.insert(id, effect.spec().size);
                // Room is found by purging the oldest.
                let oldest = purgeable.first().map(|(spec, _)| spec.id);
                if let Some(old) = oldest {
                    self.trash.remove(&old);
                }
                present(oldest.into_iter().collect())
            },
            VolumeEffect::Restore { .. } => match (self.live.get(&id), self.trash.get(&id)) {
                (Some(there), _) if *there == generation => present(vec![]),
                (None, Some(there)) if *there + 1 == generation => {
                    self.trash.remove(&id);
                    self.live.insert(id, generation);
                    self.sizes.insert(id, effect.spec().size);
                    present(vec![])
                },
                (None, None) => VolumeOutcome::Absent,
                _ => foreign(),
            },
            VolumeEffect::Resize { size, .. } => match self.live.get(&id) {
                Some(there) if *there == generation => {
                    self.sizes.insert(id, *size);
                    present(vec![])
                },
                Some(_) => foreign(),
                None => VolumeOutcome::Absent,
            },
            VolumeEffect::Trash { .. } => {
                if let Some(there) = self.live.remove(&id) {
                    self.wiped.remove(&id);
                    self.trash.insert(id, there);
                }
                if self.trash.contains_key(&id) { present(vec![]) } else { VolumeOutcome::Absent }
            },
            VolumeEffect::SurveyWipe { .. } | VolumeEffect::Wipe { .. } => {
                if !self.trash.contains_key(&id) {
                    return VolumeOutcome::Absent;
                }
                if matches!(effect, VolumeEffect::SurveyWipe { .. }) {
                    return VolumeOutcome::Used(Measured::of(Bytes::new(7)));
                }
                self.wiped.insert(id);
                VolumeOutcome::Wiped
            },
            VolumeEffect::Purge { .. } => {
                self.trash.remove(&id);
                VolumeOutcome::Absent
            },
            VolumeEffect::Verify { place, .. } => {
                let shelf = if *place == Place::Live { &self.live } else { &self.trash };
                match shelf.get(&id) {
                    Some(there) if *there == generation => present(vec![]),
                    Some(_) => foreign(),
                    None => VolumeOutcome::Absent,
                }
            },
            VolumeEffect::Usage { .. } => VolumeOutcome::Used(Measured::of(Bytes::new(1))),
            VolumeEffect::Snapshot { .. }
            | VolumeEffect::TakeGroup { .. }
            | VolumeEffect::EraseGroup { .. }
            | VolumeEffect::EraseSnapshot { .. }
            | VolumeEffect::VerifySnapshot { .. }
            | VolumeEffect::RollBack { .. }
            | VolumeEffect::SetAccess { .. }
            | VolumeEffect::Clone { .. }
            | VolumeEffect::Import { .. }
            | VolumeEffect::Adopt { .. } => panic!("nobody asked for {effect:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_that_keep_data_hold_in_every_history(
        actions in proptest::collection::vec(action(), 1..150),
    ) {
        let mut world = World::new();
        world.connect();
        for action in actions {
            world.act(action);
        }
        world.heal();
        // What was on the disk and was never condemned is still there.
        for id in world.agent.books().volumes().values().filter(|v| v.state == VolumeState::Lost) {
            prop_assert!(world.condemned.contains(&id.spec.id), "{} was lost", id.spec.id);
        }
    }
}
