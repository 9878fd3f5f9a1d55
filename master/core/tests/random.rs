//! Random lives of a small cluster: whatever happens, the invariants hold, a refused call changes
//! nothing, and the registry's records alone bring back all that is durable.
#![expect(clippy::unwrap_used, reason = "a script that cannot be written fails the test")]

mod stage;

use berth_master_core::{Input, Output, Step, query};
use berth_model::access::{Access, Mode};
use berth_model::audit::Said;
use berth_model::disk::DiskRequest;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{Call, Capability, Event, Filters, Terms};
use berth_model::id::{
    AgentId, DiskId, FrameworkId, OfferId, OperationId, SessionId, SnapshotId, VolumeId,
};
use berth_model::link::{FromAgent, Registration, TaskReport, ToAgent};
use berth_model::operation::{Action, OfferOperation, OperationRecord, OperationState};
use berth_model::operator::{DiskChoice, Property, Request, VolumeChoice};
use berth_model::orphan::{OrphanChoice, OrphanPlace};
use berth_model::resources::{Resource, Resources};
use berth_model::schedule::{Keep, SchedulePlan};
use berth_model::snapshot::{SnapshotReport, SnapshotSpec, SnapshotState};
use berth_model::task::TaskState;
use berth_model::transfer::Import;
use berth_model::units::Bytes;
use berth_model::volume::{VolumeReport, VolumeSpec, VolumeState};
use proptest::prelude::*;
use stage::orphan::{orphan, stray};
use stage::roles::{beyond, check_limits, gives, role_request, said_of_roles};
use stage::{
    Stage, agent_id, framework_info, info, mib, op, report, res, reserved, role, session, status,
    task, task_id, vname, volume,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

const MACHINE: &str = "cpus:4;mem:4096;disk:4096;disk(storage):1024;ports:[31000-32000]";

/// One random number at a time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.roll(length as u64)).expect("below a length")
    }
    fn pick<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        list.get(self.index(list.len().max(1))).cloned()
    }
}

/// An agent that does what it is told, when it is its turn.
#[derive(Default)]
struct Machine {
    session: Option<SessionId>,
    inbox: VecDeque<ToAgent>,
    volumes: BTreeMap<VolumeId, (VolumeSpec, VolumeState)>,
    tasks: BTreeMap<(FrameworkId, String), (TaskState, Resources, Vec<VolumeId>)>,
    seq: u64,
    epoch: u64,
}

struct World {
    stage: Stage,
    dice: Dice,
    machines: Vec<Machine>,
    frameworks: Vec<(FrameworkId, Option<u128>)>,
    sessions: u128,
}

impl World {
    fn new(seed: u64) -> Self {
        let machines = (0..2).map(|_| Machine::default()).collect();
        Self {
            stage: Stage::new(),
            dice: Dice(seed),
            machines,
            frameworks: Vec::new(),
            sessions: 10,
        }
    }

    /// Gives an input and delivers what comes of it.
    fn put(&mut self, input: Input) -> Step {
        let gives = gives(&input);
        let before = beyond(&self.stage);
        let step = self.stage.put(input);
        if gives {
            check_limits(&before, &beyond(&self.stage));
        }
        self.deliver(&step);
        step
    }
    fn machine(&mut self, agent: AgentId) -> &mut Machine {
        let index = usize::try_from(agent.as_u128()).expect("a small number") - 1;
        &mut self.machines[index]
    }
    fn deliver(&mut self, step: &Step) {
        goes_to_one(step);
        for output in &step.outputs {
            match output {
                Output::ToAgent { agent, session, message } => {
                    let machine = self.machine(*agent);
                    if machine.session == Some(*session) {
                        machine.inbox.push_back(message.clone());
                    }
                },
                Output::CloseAgent { agent, session } => {
                    let machine = self.machine(*agent);
                    if machine.session == Some(*session) {
                        machine.session = None;
                        machine.inbox.clear();
                    }
                },
                Output::CloseFramework { session: ended, .. } => {
                    for (_, open) in &mut self.frameworks {
                        if open.map(session) == Some(*ended) {
                            *open = None;
                        }
                    }
                },
                _ => {},
            }
        }
    }

    fn turn(&mut self) {
        match self.dice.roll(24) {
            0..=5 => self.machine_works(),
            6 => self.machine_comes_or_goes(),
            7 => self.machine_babbles(),
            8 => self.framework_comes_or_goes(),
            9..=12 => self.framework_accepts(),
            13..=15 => self.framework_calls(),
            16..=19 => self.operator_calls(),
            20..=22 => {
                let span = [100, 1_100, 5_000, 30_000][self.dice.index(4)];
                let step = self.stage.advance(Duration::from_millis(span));
                self.deliver(&step);
            },
            _ => {
                if self.dice.roll(4) == 0 {
                    self.master_dies();
                }
            },
        }
    }

    fn says(&mut self, n: usize, message: FromAgent) {
        let Some(session) = self.machines[n].session else { return };
        self.put(Input::Agent { agent: agent_id(n as u128 + 1), session, message });
    }

    fn machine_works(&mut self) {
        let n = self.dice.index(2);
        if let Some(message) = self.machines[n].inbox.pop_front() {
            self.obeys(n, message);
            return;
        }
        let tasks: Vec<_> = self.machines[n].tasks.keys().cloned().collect();
        let Some(key) = self.dice.pick(&tasks) else { return };
        let states =
            [TaskState::Running, TaskState::Running, TaskState::Finished, TaskState::Failed];
        let to = states[self.dice.index(4)];
        self.task_says(n, &key, to);
    }

    fn task_says(&mut self, n: usize, key: &(FrameworkId, String), to: TaskState) {
        let machine = &mut self.machines[n];
        let Some(entry) = machine.tasks.get_mut(key).filter(|t| !t.0.is_terminal()) else { return };
        entry.0 = to;
        let said = status(&key.0, &key.1, agent_id(n as u128 + 1), to, 5);
        self.says(n, FromAgent::Status(said));
    }

    /// Takes or deletes a snapshot.
    fn snapshots(&mut self, n: usize, spec: SnapshotSpec, state: SnapshotState) {
        let machine = &mut self.machines[n];
        machine.seq += 1;
        let ledger_seq = machine.seq;
        let failed = || Rejection::new(ErrorCode::Unsupported, "no snapshots here");
        let error = (state == SnapshotState::Failed).then(failed);
        let report = SnapshotReport {
            spec,
            state,
            operation: None,
            error,
            host_path: Arc::from("/s"),
            group: None,
        };
        self.says(n, FromAgent::Snapshot { ledger_seq, report });
    }

    fn obeys(&mut self, n: usize, message: ToAgent) {
        let fails = self.dice.roll(6) == 0;
        let machine = &mut self.machines[n];
        let (id, state) = match message {
            ToAgent::EnsureVolume { spec, restore, .. } => {
                let known = machine.volumes.get(&spec.id).map(|(_, state)| *state);
                let state = if known == Some(VolumeState::Ready) {
                    VolumeState::Ready
                } else if fails && !restore {
                    VolumeState::Failed
                } else {
                    VolumeState::Ready
                };
                machine.volumes.insert(spec.id, (spec.clone(), state));
                (spec.id, state)
            },
            ToAgent::ResizeVolume { volume, size, operation, .. } => {
                return self.resizes(n, volume, size, operation);
            },
            ToAgent::EnsureSnapshot { spec, .. } => {
                let state = if fails { SnapshotState::Failed } else { SnapshotState::Ready };
                return self.snapshots(n, spec, state);
            },
            ToAgent::EnsureGroup { members, .. } => {
                let state = if fails { SnapshotState::Failed } else { SnapshotState::Ready };
                for spec in members {
                    self.snapshots(n, spec, state);
                }
                return;
            },
            ToAgent::DeleteSnapshot { spec, .. } => {
                return self.snapshots(n, spec, SnapshotState::Gone);
            },
            ToAgent::SetAccess { volume, access, operation, .. } => {
                return self.gives(n, volume, access, operation);
            },
            ToAgent::DestroyVolume { volume, .. } => (volume, VolumeState::Trashed),
            ToAgent::PurgeVolume { volume, .. } => (volume, VolumeState::Gone),
            ToAgent::ForgetVolume { volume, .. } => {
                machine.volumes.remove(&volume);
                return;
            },
            ToAgent::Launch { framework, task, volumes } => {
                let key = (framework, task.id.to_string());
                let uses = volumes.iter().map(|u| u.volume).collect();
                machine.tasks.insert(key.clone(), (TaskState::Starting, task.resources, uses));
                return self.task_says(n, &key, TaskState::Running);
            },
            ToAgent::Kill { framework, task, .. } => {
                return self.task_says(n, &(framework, task.to_string()), TaskState::Killed);
            },
            ToAgent::Acknowledge { framework, task, .. } => {
                let key = (framework, task.to_string());
                if machine.tasks.get(&key).is_some_and(|t| t.0.is_terminal()) {
                    machine.tasks.remove(&key);
                }
                return;
            },
            ToAgent::DeriveVolume { spec, .. } => {
                let state = if fails { VolumeState::Failed } else { VolumeState::Ready };
                machine.volumes.insert(spec.id, (spec.clone(), state));
                (spec.id, state)
            },
            ToAgent::VerifyVolume { volume, operation, .. } => {
                return self.looks_again(n, volume, operation);
            },
            ToAgent::PurgeOrphan { operation, .. } => {
                let why = || Rejection::new(ErrorCode::VolumeUnavailable, "it is mounted");
                let result = if fails { Err(why()) } else { Ok(()) };
                machine.seq += 1;
                let ledger_seq = machine.seq;
                return self.says(n, FromAgent::OrphanPurged { ledger_seq, operation, result });
            },
            _ => return,
        };
        let Some(entry) = machine.volumes.get_mut(&id) else { return };
        entry.1 = state;
        let spec = entry.0.clone();
        machine.seq += 1;
        let ledger_seq = machine.seq;
        self.says(n, FromAgent::Volume { ledger_seq, report: report(&spec, state) });
    }

    /// The data of a lost volume is back, or not.
    fn looks_again(&mut self, n: usize, id: VolumeId, operation: OperationId) {
        let is_back = self.dice.roll(2) == 0;
        let machine = &mut self.machines[n];
        let Some((spec, state)) = machine.volumes.get_mut(&id) else { return };
        let mut said = report(spec, *state);
        if *state == VolumeState::Lost && is_back {
            *state = VolumeState::Ready;
            said = report(spec, *state);
        } else if *state == VolumeState::Lost {
            said.operation = Some(operation);
            said.error = Some(Rejection::new(ErrorCode::VolumeLost, "still not there"));
        }
        machine.seq += 1;
        let ledger_seq = machine.seq;
        self.says(n, FromAgent::Volume { ledger_seq, report: said });
    }

    fn resizes(&mut self, n: usize, id: VolumeId, size: Bytes, operation: OperationId) {
        let fails = self.dice.roll(4) == 0;
        let machine = &mut self.machines[n];
        let Some((spec, state)) = machine.volumes.get_mut(&id) else { return };
        let error = fails.then(|| Rejection::new(ErrorCode::DiskFull, "no space is left"));
        if !fails {
            spec.size = size;
        }
        let said = VolumeReport { operation: Some(operation), error, ..report(spec, *state) };
        machine.seq += 1;
        let ledger_seq = machine.seq;
        self.says(n, FromAgent::Volume { ledger_seq, report: said });
    }

    fn gives(&mut self, n: usize, id: VolumeId, access: Access, operation: OperationId) {
        let fails = self.dice.roll(4) == 0;
        let machine = &mut self.machines[n];
        let Some((spec, state)) = machine.volumes.get_mut(&id) else { return };
        let error = fails.then(|| Rejection::new(ErrorCode::NotPrivileged, "not permitted"));
        if !fails {
            spec.access = access;
        }
        let said = VolumeReport { operation: Some(operation), error, ..report(spec, *state) };
        machine.seq += 1;
        let ledger_seq = machine.seq;
        self.says(n, FromAgent::Volume { ledger_seq, report: said });
    }

    fn machine_comes_or_goes(&mut self) {
        let n = self.dice.index(2);
        let agent = agent_id(n as u128 + 1);
        if let Some(session) = self.machines[n].session.take() {
            self.machines[n].inbox.clear();
            self.put(Input::AgentDisconnected { agent, session });
            return;
        }
        self.sessions += 1;
        let over = session(self.sessions);
        let declared = if self.dice.roll(8) == 0 { "cpus:1;disk:512" } else { MACHINE };
        let machine = &mut self.machines[n];
        machine.session = Some(over);
        let volumes: Vec<VolumeReport> =
            machine.volumes.values().map(|(spec, state)| report(spec, *state)).collect();
        let tasks = machine
            .tasks
            .iter()
            .map(|((framework, name), (state, resources, volumes))| TaskReport {
                status: status(framework, name, agent, *state, 5),
                resources: resources.clone(),
                volumes: volumes.clone(),
                name: name.clone(),
                container: berth_model::id::ContainerId::from_u128(7),
            })
            .collect();
        let mut told = info(agent, declared);
        told.disks[0].orphans = vec![
            orphan("/srv/volumes/live", OrphanPlace::Live, Some(stray(agent.as_u128(), "live"))),
            orphan(
                "/srv/.trash/dead",
                OrphanPlace::Trash,
                Some(stray(8 + agent.as_u128(), "dead")),
            ),
        ];
        let registration = Registration {
            ledger_seq: machine.seq,
            epoch: machine.epoch,
            volumes,
            tasks,
            ..self.stage.registration(told, over)
        };
        self.machines[n].epoch = self.stage.epoch;
        self.put(Input::Agent {
            agent,
            session: over,
            message: FromAgent::Register(Box::new(registration)),
        });
    }

    /// Says something about a volume that may be wrong in every way.
    fn machine_babbles(&mut self) {
        if self.dice.roll(4) > 0 {
            return;
        }
        let n = self.dice.index(2);
        let known: Vec<VolumeSpec> =
            self.machines.iter().flat_map(|m| m.volumes.values().map(|v| v.0.clone())).collect();
        let Some(mut spec) = self.dice.pick(&known) else { return };
        spec.generation = spec.generation.saturating_sub(1) + self.dice.roll(3);
        if self.dice.roll(4) == 0 {
            spec.id = VolumeId::from_u128(u128::from(self.dice.roll(3)));
        }
        let state = VolumeState::ALL[self.dice.index(8)];
        let ledger_seq = self.machines[n].seq;
        self.says(n, FromAgent::Volume { ledger_seq, report: report(&spec, state) });
    }

    fn framework_comes_or_goes(&mut self) {
        let index = self.dice.index(4);
        self.sessions += 1;
        let over = self.sessions;
        match self.frameworks.get(index).cloned() {
            Some((id, Some(open))) if self.dice.roll(3) > 0 => {
                self.frameworks[index].1 = None;
                self.put(Input::FrameworkDisconnected { framework: id, session: session(open) });
            },
            Some((id, _)) => self.subscribes(index, over, Some(id)),
            None => self.subscribes(index, over, None),
        }
    }

    fn subscribes(&mut self, index: usize, over: u128, framework: Option<FrameworkId>) {
        let roles: &[&str] = [&["storage", "web"][..], &["storage/db"]][self.dice.index(2)];
        let mut info = framework_info("f", roles);
        info.failover_timeout = Duration::from_secs(self.dice.roll(3) * 40);
        info.capabilities.extend((self.dice.roll(3) > 0).then_some(Capability::SharedResources));
        let suppressed = std::collections::BTreeSet::new();
        let body = Call::Subscribe { info, framework, suppressed };
        let input = Input::Framework {
            session: session(over),
            framework: None,
            call: 0,
            fingerprint: 0,
            body,
        };
        let step = self.put(input);
        let id = stage::events(&step).into_iter().find_map(|event| match event {
            Event::Subscribed { framework, .. } => Some(framework),
            _ => None,
        });
        match id {
            Some(id) if index < self.frameworks.len() => self.frameworks[index] = (id, Some(over)),
            Some(id) => self.frameworks.push((id, Some(over))),
            None if index < self.frameworks.len() => drop(self.frameworks.remove(index)),
            None => {},
        }
    }

    fn open_framework(&mut self) -> Option<(FrameworkId, u128)> {
        let open: Vec<_> =
            self.frameworks.iter().filter_map(|(id, open)| Some((id.clone(), (*open)?))).collect();
        self.dice.pick(&open)
    }

    fn framework_accepts(&mut self) {
        let Some((id, over)) = self.open_framework() else { return };
        let own: Vec<_> = self.stage.offers().into_iter().filter(|o| o.framework == id).collect();
        let Some(offer) = self.dice.pick(&own) else { return };
        let mut operations = Vec::new();
        for _ in 0..self.dice.roll(4) {
            let action = self.action(&offer);
            let id = op(1_000 + u128::from(self.dice.roll(5_000)));
            operations.push(OfferOperation { id, action });
        }
        let refuse = Duration::from_secs(self.dice.roll(3) * 4);
        let mut offers: Vec<OfferId> = vec![offer.id];
        if self.dice.roll(10) == 0 {
            offers.push(OfferId { epoch: 1, number: 1 });
        }
        let body = Call::Accept {
            offers,
            operations,
            filters: Filters { refuse },
            terms: Terms::default(),
        };
        self.calls(&id, over, body);
    }

    fn calls(&mut self, id: &FrameworkId, over: u128, body: Call) {
        self.put(Input::Framework {
            session: session(over),
            framework: Some(id.clone()),
            call: 1,
            fingerprint: 0,
            body,
        });
    }

    fn action(&mut self, offer: &berth_model::offer::Offer) -> Action {
        let size = 64 * (1 + self.dice.roll(4));
        let name = format!("v{}", self.dice.roll(4));
        let owner = if self.dice.roll(5) == 0 { "web" } else { offer.role.as_str() };
        let volumes = offer.resources.volumes();
        match self.dice.roll(if volumes.is_empty() { 10 } else { 16 }) {
            8 if !volumes.is_empty() => Action::Shrink {
                volume: Box::new(self.dice.pick(&volumes).unwrap()),
                subtract: mib(size / 2),
            },
            9 if !volumes.is_empty() => Action::Grow {
                volume: Box::new(self.dice.pick(&volumes).unwrap()),
                addition: Box::new(reserved(&format!("disk:{size}"), owner).iter().next().unwrap()),
            },
            0 | 1 => Action::Reserve(reserved(&format!("disk:{size};cpus:0.1"), owner)),
            2 => Action::Unreserve(reserved(&format!("disk:{size}"), owner)),
            3 | 4 => Action::Create(vec![self.one_volume(&name, owner, size)]),
            5 => Action::Destroy(self.dice.pick(&volumes).into_iter().collect()),
            _ => {
                let mut resources = res("cpus:0.2;mem:32");
                if let Some(volume) = self.dice.pick(&volumes) {
                    resources.add(&volume).unwrap();
                } else if self.dice.roll(2) == 0 {
                    resources.add(&self.one_volume(&name, owner, size)).unwrap();
                }
                let tasks = 1 + self.dice.roll(2);
                let names = (0..tasks).map(|_| format!("t{}", self.dice.roll(5)));
                let of = |name: String| task(&name, offer.agent, resources.clone());
                Action::Launch(names.map(of).collect())
            },
        }
    }

    fn one_volume(&mut self, name: &str, owner: &str, size: u64) -> Resource {
        Resource { shared: self.dice.roll(3) == 0, ..volume(name, owner, size, "data") }
    }

    fn framework_calls(&mut self) {
        let Some((id, over)) = self.open_framework() else { return };
        let named = task_id(&format!("t{}", self.dice.roll(5)));
        let some_role =
            [role("storage"), role("web"), role("storage/db")][self.dice.index(3)].clone();
        let own: Vec<OfferId> =
            self.stage.offers().iter().filter(|o| o.framework == id).map(|o| o.id).collect();
        let agent = agent_id(u128::from(1 + self.dice.roll(3)));
        let body = match self.dice.roll(12) {
            0..=2 => Call::Decline {
                offers: own,
                filters: Filters { refuse: Duration::from_secs(self.dice.roll(9)) },
            },
            3 => Call::Revive([some_role].into()),
            4 => Call::Suppress([some_role].into()),
            5 => Call::Revive([].into()),
            6 | 7 => Call::Acknowledge {
                agent,
                task: named,
                status: berth_model::id::StatusId::from_u128(5),
            },
            8 => Call::Reconcile(vec![(named, Some(agent))]),
            9 => Call::Kill { task: named, agent: None, grace: None },
            10 => Call::UpdateRoles([some_role, role("extra")].into()),
            _ if self.dice.roll(4) == 0 => Call::Teardown,
            _ => Call::Reconcile(Vec::new()),
        };
        self.calls(&id, over, body);
    }

    /// Cordons and the like, of the ROOT disk of an agent that may not be there.
    fn disk_request(&mut self, agent: AgentId) -> Request {
        let disk = DiskId::from_u128(agent.as_u128() + 1000);
        let reason = if self.dice.roll(3) == 0 { "noise".to_owned() } else { String::new() };
        let labels = |key: u64| BTreeMap::from([(format!("k{key}"), "v".to_owned())]);
        Request::Disk(match self.dice.roll(5) {
            0 | 1 => DiskRequest::Cordon { disk, reason },
            2 | 3 => DiskRequest::Uncordon { disk, reason },
            _ => {
                let (set, remove) = (labels(self.dice.roll(2)), labels(2 + self.dice.roll(2)));
                DiskRequest::Label { disk, set, remove: remove.into_keys().collect() }
            },
        })
    }

    /// Of what an agent tells of, or of a volume in whatever state.
    fn orphan_request(&mut self, agent: AgentId, chosen: VolumeId) -> Request {
        let orphan = match self.dice.roll(3) {
            0 => OrphanChoice::Record(VolumeChoice::Id(chosen)),
            1 => OrphanChoice::Data { agent, path: Arc::from("/srv/volumes/live") },
            _ => OrphanChoice::Data { agent, path: Arc::from("/srv/.trash/dead") },
        };
        match self.dice.roll(2) {
            0 => Request::AdoptOrphan { orphan },
            _ => Request::PurgeOrphan { orphan },
        }
    }

    /// Snapshots by the clock, holds and deletions.
    fn snapshot_request(&mut self, volume: VolumeId) -> Request {
        let all = query::snapshots(self.stage.master.state());
        let ids: Vec<SnapshotId> = all.iter().map(|view| view.snapshot.spec.id).collect();
        let snapshot = self.dice.pick(&ids).unwrap_or(SnapshotId::from_u128(1));
        let held = self.dice.roll(2) == 0;
        let volume = VolumeChoice::Id(volume);
        match self.dice.roll(6) {
            0 => Request::DeleteSchedule { volume },
            1 => Request::DeleteSnapshot { snapshot },
            2 => Request::HoldSnapshot { snapshot, held },
            _ => {
                let keep = Keep { last: u32::from(held), hourly: 1, ..Keep::default() };
                let every = Duration::from_secs(8 + self.dice.roll(5));
                let plan = SchedulePlan { every, keep, freeze: None };
                Request::SetSchedule { volume, plan, principal: None }
            },
        }
    }

    fn operator_calls(&mut self) {
        let views = query::volumes(self.stage.master.state());
        let ids: Vec<VolumeId> = views.iter().map(|v| v.volume.spec.id).collect();
        let chosen = self.dice.pick(&ids).unwrap_or(VolumeId::from_u128(1));
        let agent = agent_id(u128::from(1 + self.dice.roll(3)));
        let size = 64 * (1 + self.dice.roll(8));
        let owner = [role("storage"), role("web"), role("storage/db")][self.dice.index(3)].clone();
        let rows = query::reservations(self.stage.master.state());
        let row = self.dice.pick(&rows).map(|r| r.row.id);
        let request = match self.dice.roll(21) {
            19 | 20 => role_request(|sides| self.dice.index(sides)),
            14..=16 => self.snapshot_request(chosen),
            17 | 18 => self.orphan_request(agent, chosen),
            12 | 13 => self.disk_request(agent),
            0..=3 => Request::CreateVolume {
                name: vname(&format!("v{}", self.dice.roll(4))),
                role: owner,
                principal: None,
                size: mib(size),
                agent: (self.dice.roll(3) == 0).then_some(agent),
                disk: DiskChoice::Any,
                container_path: Arc::from(if self.dice.roll(9) == 0 { "../x" } else { "data" }),
                access: Access::default(),
                encrypted: false,
                import: (self.dice.roll(4) == 0)
                    .then(|| Import::Directory { path: Arc::from("/srv/data") }),
                shared: self.dice.roll(2) == 0,
            },
            4 if self.dice.roll(2) == 0 => {
                Request::ResizeVolume { volume: VolumeChoice::Id(chosen), size: mib(size * 2) }
            },
            4 | 5 => Request::DestroyVolume { volume: VolumeChoice::Id(chosen) },
            6 if self.dice.roll(3) == 0 => Request::Property {
                volume: VolumeChoice::Id(chosen),
                property: match self.dice.roll(2) {
                    0 => Property::Protected(self.dice.roll(3) == 0),
                    _ => {
                        let mode = Mode::new(if self.dice.roll(2) == 0 { 0o750 } else { 0o700 });
                        Property::Access(Access { owner: None, mode: mode.ok() })
                    },
                },
            },
            6 => Request::RestoreVolume { volume: chosen },
            7 => Request::PurgeVolume { volume: chosen, wipe: None },
            8 => Request::Reserve {
                agent,
                resources: reserved(&format!("disk:{size}"), owner.as_str()),
            },
            9 => Request::Unreserve {
                agent,
                resources: reserved(&format!("disk:{size}"), owner.as_str()),
            },
            10 => Request::Release {
                reservation: row.unwrap_or(berth_model::id::ReservationId::from_u128(0)),
            },
            _ => match self.frameworks.first() {
                Some((framework, _)) if self.dice.roll(6) == 0 => {
                    Request::Teardown { framework: framework.clone() }
                },
                _ => Request::KillTask {
                    framework: FrameworkId::new("abcdef01-0001").unwrap(),
                    task: task_id(&format!("t{}", self.dice.roll(5))),
                    grace: None,
                },
            },
        };
        self.put(Input::Tick);
        let before = self.stage.master.state().clone();
        let operation: OperationId = op(u128::from(self.dice.roll(400)));
        let fingerprint = self.dice.roll(2);
        let step = self.put(Input::Operator {
            reply: 1,
            operation,
            fingerprint,
            request,
            said: Said::default(),
        });
        let refused = step.outputs.iter().find_map(|output| match output {
            Output::Reply { result: Err(rejection), .. } => Some(rejection.clone()),
            _ => None,
        });
        if let Some(rejection) = refused {
            assert_eq!(step.writes, [], "{rejection}");
            assert_eq!(self.stage.master.state(), &before, "refused, but changed: {rejection}");
            assert!(!rejection.remedy.is_empty() || !rejection.field.is_empty(), "{rejection:?}");
        }
    }

    fn master_dies(&mut self) {
        let before = durable(&self.stage);
        self.stage.restart();
        assert_eq!(durable(&self.stage), before);
        for machine in &mut self.machines {
            machine.session = None;
            machine.inbox.clear();
        }
        for (_, open) in &mut self.frameworks {
            *open = None;
        }
    }
}

/// What must survive. Launches that waited end with the master that knew of them; frameworks that gave
/// no time to come back are removed.
fn durable(stage: &Stage) -> String {
    let state = stage.master.state();
    let volumes: Vec<_> = query::volumes(state).into_iter().map(|v| v.volume).collect();
    let rows: Vec<_> = query::reservations(state).into_iter().map(|r| r.row).collect();
    let operations: Vec<_> =
        query::operations(state).into_iter().map(|o| (o.id, o.kind, ended(&o))).collect();
    let frameworks: Vec<_> =
        query::frameworks(state).into_iter().map(|f| (f.id, f.info, f.registered)).collect();
    let disks: Vec<_> =
        query::disks(state).into_iter().map(|d| (d.disk.id, d.cordon, d.labels)).collect();
    let roles = said_of_roles(stage);
    format!("{volumes:#?}\n{rows:#?}\n{operations:#?}\n{frameworks:#?}\n{disks:#?}\n{roles}")
}

/// A shared volume is offered to one framework in a cycle.
fn goes_to_one(step: &Step) {
    let mut offered: Vec<(AgentId, Resource, FrameworkId)> = Vec::new();
    for offer in stage::offered(step) {
        for volume in offer.resources.shared().iter() {
            let twin = offered.iter().find(|(agent, other, _)| {
                *agent == offer.agent && stage::sum([other.clone()]) == stage::sum([volume.clone()])
            });
            assert_eq!(twin, None, "{volume} is offered to {} as well", offer.framework);
            offered.push((offer.agent, volume, offer.framework.clone()));
        }
    }
}

fn ended(operation: &OperationRecord) -> bool {
    operation.kind == berth_model::operation::OperationKind::Launch
        || operation.state != OperationState::Accepted
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn invariants_hold_whatever_happens(seed in any::<u64>(), turns in 50_usize..400) {
        let mut world = World::new(seed);
        for _ in 0..turns {
            world.turn();
        }
        world.master_dies();
    }
}

/// The lives above are worth something only if they reach what matters.
#[test]
fn random_lives_reach_every_kind_of_end() {
    let mut seen: BTreeMap<(String, String), u64> = BTreeMap::new();
    for seed in 0..90 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.turn();
            for view in query::volumes(world.stage.master.state()) {
                let key = ("volume".to_owned(), view.volume.state.to_string());
                *seen.entry(key).or_default() += 1;
                let users = ["nobody", "one", "several"][view.users.len().min(2)];
                let key = ("volume in use by".to_owned(), users.to_owned());
                *seen.entry(key).or_default() += 1;
            }
            for task in query::tasks(world.stage.master.state()) {
                *seen.entry(("task".to_owned(), task.status.state.to_string())).or_default() += 1;
            }
        }
        for record in query::operations(world.stage.master.state()) {
            let key = (record.kind.to_string(), record.state.as_str().to_owned());
            *seen.entry(key).or_default() += 1;
        }
    }
    for (kind, state) in [
        ("CREATE", "DONE"),
        ("CREATE", "FAILED"),
        ("DESTROY", "DONE"),
        ("GROW", "DONE"),
        ("GROW", "FAILED"),
        ("SHRINK", "DONE"),
        ("LAUNCH", "DONE"),
        ("LAUNCH", "FAILED"),
        ("PURGE", "DONE"),
        ("RESERVE", "DONE"),
        ("RESERVE", "FAILED"),
        ("RESTORE", "DONE"),
        ("TEARDOWN", "DONE"),
        ("UNRESERVE", "DONE"),
        ("KILL", "DONE"),
        ("SET_QUOTA", "DONE"),
        ("UNSET_QUOTA", "DONE"),
        ("SET_WEIGHT", "DONE"),
        ("volume", "LOST"),
        ("volume", "QUARANTINED"),
        ("volume", "TRASHED"),
        ("volume", "FAILED"),
        ("volume in use by", "one"),
        ("volume in use by", "several"),
        ("task", "TASK_UNREACHABLE"),
        ("task", "TASK_KILLED"),
        ("task", "TASK_DROPPED"),
    ] {
        let count = seen.get(&(kind.to_owned(), state.to_owned())).copied().unwrap_or(0);
        assert!(count > 0, "{kind} {state} never happened: {seen:#?}");
    }
}
