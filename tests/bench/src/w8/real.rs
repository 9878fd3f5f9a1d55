//! The master itself as a cell: its allocator makes the offers, its ACCEPT commits. Only time is not real.
//!
//! Schedulers behave as good frameworks do: who has no work declines and suppresses; who decided on what it saw uses, of
//! each machine, the offers that it holds when it is ready, since the master takes back and renews those that others have
//! taken something from.

use super::cell::{Amounts, Cell, Detection, Gang, Placement, Room, Rules};
use super::workload::Shape;
use crate::stage;
use anyhow::{Context, ensure};
use berth_master_core::{Input, Master, Output, Step, invariants};
use berth_model::framework::{AcceptMode, Call, Event, Filters, Terms};
use berth_model::id::{AgentId, DiskId, FrameworkId, OfferId, OperationId, SessionId, TaskId};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::offer::Offer;
use berth_model::operation::{Action, OfferOperation};
use berth_model::resources::{DiskSource, Name, Resources, parse_resources};
use berth_model::task::TaskState;
use berth_model::units::{Bytes, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The clock when a run begins.
const BEGIN: u64 = 1_000_000;
const SERVICE_ROLE: &str = "service";
const BATCH_ROLE: &str = "batch";

/// An offer as far as the scheduler looks at it.
#[derive(Clone, Copy, Debug)]
struct Held {
    free: Amounts,
    seq: u64,
}

#[derive(Debug)]
struct Framework {
    id: FrameworkId,
    session: SessionId,
    /// By machine.
    offers: BTreeMap<usize, BTreeMap<OfferId, Held>>,
}

/// The master and who talks to it.
#[derive(Debug)]
pub(super) struct Real {
    master: Master,
    machines: usize,
    rules: Rules,
    fan_out: u32,
    frameworks: Vec<Framework>,
    woken: BTreeSet<usize>,
    operations: u128,
    /// Tasks that the last step told an agent to start.
    launched: BTreeSet<TaskId>,
}

fn agent_id(machine: usize) -> AgentId {
    AgentId::from_u128(machine as u128 + 1)
}

fn machine(agent: AgentId) -> anyhow::Result<usize> {
    Ok(usize::try_from(agent.as_u128())? - 1)
}

fn session(n: u128) -> SessionId {
    SessionId::from_u128(n)
}

/// Thousandths in words.
fn text(milli: i64) -> String {
    format!("{}.{:03}", milli / 1_000, milli % 1_000)
}

fn resources(size: &Amounts) -> anyhow::Result<Resources> {
    let [cpus, mem, disk] = size.map(text);
    let disk = if size[2] > 0 { format!(";disk({SERVICE_ROLE}):{disk}") } else { String::new() };
    Ok(parse_resources(&format!("cpus:{cpus};mem:{mem}{disk}"))?)
}

fn task_id(task: u64) -> anyhow::Result<TaskId> {
    Ok(TaskId::new(&format!("t{task}"))?)
}

fn time(at: u64) -> Timestamp {
    Timestamp::from_ms(BEGIN + at)
}

impl Real {
    /// A master whose free resources go to `fan_out` frameworks at once; the service scheduler and the batch schedulers
    /// are there and have no work.
    pub(super) fn new(shape: &Shape, rules: Rules, fan_out: u32) -> anyhow::Result<Self> {
        let mut config = stage::config();
        config.optimistic.fan_out = fan_out;
        let (master, _) =
            Master::recover(config, Vec::new(), time(0)).context("begin without records")?;
        let mut real = Self {
            master,
            machines: shape.machines,
            rules,
            fan_out,
            frameworks: Vec::new(),
            woken: BTreeSet::new(),
            operations: 0,
            launched: BTreeSet::new(),
        };
        for n in 0..=shape.batch_schedulers {
            let session = session(1_000_000 + n as u128);
            let role = if n == 0 { SERVICE_ROLE } else { BATCH_ROLE };
            let step =
                real.step(0, stage::subscribe(session, &format!("scheduler-{n:02}"), role)?)?;
            let id = stage::subscribed(&step).context("a framework was not taken in")?;
            real.frameworks.push(Framework { id, session, offers: BTreeMap::new() });
            real.rest(0, n)?;
        }
        for n in 0..shape.machines {
            let tib = Bytes::from_mib(1 << 20);
            let disk = stage::disk(DiskId::from_u128(n as u128 + 1), "root", DiskSource::Root, tib);
            let info =
                stage::agent(agent_id(n), BTreeMap::new(), resources(&shape.capacity)?, vec![disk]);
            real.step(0, stage::register(info, session(n as u128 + 1)))?;
        }
        Ok(real)
    }

    fn step(&mut self, at: u64, input: Input) -> anyhow::Result<Step> {
        let step = self.master.step(time(at), input);
        self.launched.clear();
        for output in &step.outputs {
            match output {
                Output::ToFramework { event: Event::Offers(offers), .. } => {
                    offers.iter().try_for_each(|offer| self.offered(offer))?;
                },
                Output::ToFramework { framework, event: Event::Rescind(id), .. } => {
                    let scheduler = self.number(framework)?;
                    for held in self.frameworks[scheduler].offers.values_mut() {
                        held.remove(id);
                    }
                },
                Output::ToAgent { message: ToAgent::Launch { task, .. }, .. } => {
                    self.launched.insert(task.id.clone());
                },
                _ => {},
            }
        }
        Ok(step)
    }

    fn number(&self, id: &FrameworkId) -> anyhow::Result<usize> {
        let found = self.frameworks.binary_search_by(|framework| framework.id.cmp(id));
        found.ok().context("an event for nobody")
    }

    fn offered(&mut self, offer: &Offer) -> anyhow::Result<()> {
        let scheduler = self.number(&offer.framework)?;
        let amount = |name: Name| offer.resources.total(&name).milli();
        let free = [amount(Name::Cpus), amount(Name::Mem), amount(Name::Disk)];
        let of = self.frameworks[scheduler].offers.entry(machine(offer.agent)?).or_default();
        of.insert(offer.id, Held { free, seq: offer.version.seq });
        self.woken.insert(scheduler);
        Ok(())
    }

    fn call(&mut self, at: u64, scheduler: usize, body: Call) -> anyhow::Result<()> {
        let Framework { id, session, .. } = &self.frameworks[scheduler];
        let (framework, session) = (Some(id.clone()), *session);
        let input = Input::Framework { session, framework, call: 1, fingerprint: 0, body };
        self.step(at, input).map(drop)
    }

    fn give_back(&mut self, at: u64, scheduler: usize) -> anyhow::Result<()> {
        let offers = std::mem::take(&mut self.frameworks[scheduler].offers);
        let offers: Vec<OfferId> = offers.into_values().flat_map(BTreeMap::into_keys).collect();
        let filters = Filters { refuse: Duration::ZERO };
        self.call(at, scheduler, Call::Decline { offers, filters })
    }

    /// The tasks of one machine, in one ACCEPT of all that the scheduler holds of it.
    fn accept(
        &mut self,
        at: u64,
        scheduler: usize,
        machine: usize,
        tasks: &[(u64, u64)],
        size: &Amounts,
    ) -> anyhow::Result<BTreeSet<u64>> {
        let held = self.frameworks[scheduler].offers.remove(&machine).unwrap_or_default();
        if held.is_empty() {
            return Ok(BTreeSet::new());
        }
        let resources = resources(size)?;
        let infos = tasks
            .iter()
            .map(|(task, _)| Ok(stage::task(task_id(*task)?, agent_id(machine), resources.clone())))
            .collect::<anyhow::Result<Vec<_>>>()?;
        self.operations += 1;
        let id = OperationId::from_u128(self.operations);
        let mode = match self.rules.gang {
            Gang::Incremental => AcceptMode::Incremental,
            Gang::AllOrNothing => AcceptMode::AllOrNothing,
        };
        let seen = tasks.first().map(|(_, seq)| *seq);
        let if_seq = seen.filter(|_| self.rules.detection == Detection::Coarse);
        let body = Call::Accept {
            offers: held.into_keys().collect(),
            operations: vec![OfferOperation { id, action: Action::Launch(infos) }],
            filters: Filters { refuse: Duration::ZERO },
            terms: Terms { mode, if_seq },
        };
        self.call(at, scheduler, body)?;
        let mut placed = BTreeSet::new();
        for (task, _) in tasks {
            if self.launched.contains(&task_id(*task)?) {
                placed.insert(*task);
            }
        }
        Ok(placed)
    }
}

impl Cell for Real {
    fn want(&mut self, at: u64, scheduler: usize) -> anyhow::Result<()> {
        self.call(at, scheduler, Call::Revive(BTreeSet::new()))
    }
    fn pause(&mut self, at: u64, scheduler: usize) -> anyhow::Result<()> {
        // Nobody else can have what it holds.
        if self.fan_out == 1 { self.give_back(at, scheduler) } else { Ok(()) }
    }
    fn rest(&mut self, at: u64, scheduler: usize) -> anyhow::Result<()> {
        self.call(at, scheduler, Call::Suppress(BTreeSet::new()))?;
        self.give_back(at, scheduler)
    }
    fn seen(&self, scheduler: usize) -> Vec<Room> {
        let mut rooms = vec![Room::default(); self.machines];
        for (machine, offers) in &self.frameworks[scheduler].offers {
            let room = &mut rooms[*machine];
            for held in offers.values() {
                room.free.iter_mut().zip(held.free).for_each(|(free, more)| *free += more);
                room.seq = room.seq.max(held.seq);
            }
        }
        rooms
    }
    fn commit(
        &mut self,
        at: u64,
        scheduler: usize,
        size: &Amounts,
        placements: &[Placement],
    ) -> anyhow::Result<Vec<bool>> {
        let mut by_machine: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
        for one in placements {
            by_machine.entry(one.machine).or_default().push((one.task, one.seq));
        }
        let mut placed = BTreeSet::new();
        for (machine, tasks) in by_machine {
            placed.extend(self.accept(at, scheduler, machine, &tasks, size)?);
        }
        Ok(placements.iter().map(|one| placed.contains(&one.task)).collect())
    }
    fn end(&mut self, at: u64, scheduler: usize, machine: usize, task: u64) -> anyhow::Result<()> {
        let (agent, framework) = (agent_id(machine), self.frameworks[scheduler].id.clone());
        let finished = TaskState::Finished;
        let status = stage::status(framework, task_id(task)?, agent, finished, None, time(at));
        let (session, message) = (session(agent.as_u128()), FromAgent::Status(status));
        self.step(at, Input::Agent { agent, session, message }).map(drop)
    }
    fn due(&self) -> Option<u64> {
        self.master.next_deadline().map(|at| at.ms().saturating_sub(BEGIN))
    }
    fn tick(&mut self, at: u64) -> anyhow::Result<()> {
        self.step(at, Input::Tick).map(drop)
    }
    fn woken(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.woken)
    }
    fn check(&self) -> anyhow::Result<()> {
        let broken = invariants::check(self.master.state());
        ensure!(broken.is_empty(), "the master's books are broken: {broken:?}");
        Ok(())
    }
}
