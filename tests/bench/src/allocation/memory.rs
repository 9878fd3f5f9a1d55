//! W7: what an agent, a task, a volume and an offer take of the master's memory.
//!
//! Clusters of several sizes are built by what agents, operators and frameworks send; bytes in use before and after are
//! fitted to a constant and coefficients of what there is.

use super::as_f64;
use super::cluster::{Cluster, DISKS, agent_id, agent_session};
use crate::counting::in_use;
use crate::report::Figures;
use crate::stage;
use crate::w4::Effort;
use anyhow::{Context, ensure};
use berth_master_core::{Input, Output, query};
use berth_model::audit::Said;
use berth_model::framework::{Call, Filters, Terms};
use berth_model::id::{OfferId, OperationId, StatusId, TaskId, VolumeName};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::operation::{Action, OfferOperation};
use berth_model::operator::{DiskChoice, Request};
use berth_model::resources::parse_resources;
use berth_model::role::Role;
use berth_model::task::TaskState;
use berth_model::units::Bytes;
use berth_model::volume::{Enforcement, VolumeReport, VolumeState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What there is of each kind on an agent.
#[derive(Clone, Copy, Debug)]
struct Shape {
    agents: usize,
    disks: usize,
    tasks: usize,
    volumes: usize,
    offers: usize,
}

struct Build {
    cluster: Cluster,
    minted: u128,
}

impl Build {
    fn fresh(&mut self) -> u128 {
        self.minted += 1;
        self.minted
    }
    fn says(&mut self, n: usize, message: FromAgent) {
        let (agent, session) = (agent_id(n), agent_session(n));
        self.cluster.step(Input::Agent { agent, session, message });
    }

    /// An operator makes a volume, and the agent has it.
    fn volume(&mut self, n: usize) -> anyhow::Result<()> {
        let number = self.fresh();
        let request = Request::CreateVolume {
            name: VolumeName::new(&format!("volume-{number}"))?,
            role: Role::new("bench")?,
            principal: None,
            size: Bytes::from_mib(64),
            agent: Some(agent_id(n)),
            disk: DiskChoice::Any,
            container_path: Arc::from("data"),
            access: berth_model::access::Access::default(),
            encrypted: false,
            import: None,
            shared: false,
        };
        let operation = OperationId::from_u128(number);
        let said = Said::default();
        let input = Input::Operator { reply: 1, operation, fingerprint: 1, request, said };
        let step = self.cluster.step(input);
        let spec = step.outputs.iter().find_map(|output| match output {
            Output::ToAgent { message: ToAgent::EnsureVolume { spec, .. }, .. } => Some(spec),
            _ => None,
        });
        let spec = spec.with_context(|| format!("no volume was made: {:?}", step.outputs))?.clone();
        let report = VolumeReport {
            host_path: Arc::from(format!("/srv/berth/volumes/{}", spec.id)),
            spec,
            state: VolumeState::Ready,
            operation: Some(operation),
            error: None,
            driver: Arc::from("directory"),
            enforcement: Enforcement::None,
            used: None,
            purged: Vec::new(),
            resizing: None,
            setting: None,
            wiped: None,
            refused: false,
            unavailable: None,
        };
        let ledger_seq = u64::try_from(number).unwrap_or(u64::MAX);
        self.says(n, FromAgent::Volume { ledger_seq, report });
        Ok(())
    }

    /// The framework starts tasks on every agent; they run, and that is acknowledged.
    fn tasks(&mut self, each: usize) -> anyhow::Result<()> {
        let share = parse_resources("cpus:0.1;mem:32")?;
        let mut of: BTreeMap<usize, Vec<OfferId>> = BTreeMap::new();
        for offer in self.cluster.open.values() {
            let n = usize::try_from(offer.agent.as_u128())? - 1;
            of.entry(n).or_default().push(offer.id);
        }
        self.cluster.open.clear();
        let framework = self.cluster.frameworks[0].0.clone();
        for (n, offers) in of {
            let ids = (0..each)
                .map(|_| Ok(TaskId::new(&format!("task-{}", self.fresh()))?))
                .collect::<anyhow::Result<Vec<TaskId>>>()?;
            let info = |id: &TaskId| stage::task(id.clone(), agent_id(n), share.clone());
            let action = Action::Launch(ids.iter().map(info).collect());
            let id = OperationId::from_u128(self.fresh());
            let body = Call::Accept {
                offers,
                operations: vec![OfferOperation { id, action }],
                filters: Filters { refuse: Duration::ZERO },
                terms: Terms::default(),
            };
            let input = self.cluster.call(0, body)?;
            self.cluster.step(input);
            for task in ids {
                let (status, at) = (StatusId::from_u128(self.fresh()), self.cluster.now);
                let running = TaskState::Running;
                let (task_id, of) = (task.clone(), framework.clone());
                let said = stage::status(of, task_id, agent_id(n), running, Some(status), at);
                self.says(n, FromAgent::Status(said));
                let body = Call::Acknowledge { agent: agent_id(n), task, status };
                let input = self.cluster.call(0, body)?;
                self.cluster.step(input);
            }
        }
        Ok(())
    }
}

/// Builds it; what only the benchmark needs is dropped.
fn build(shape: Shape) -> anyhow::Result<Cluster> {
    let mut config = stage::config();
    config.operations_kept = 1;
    config.optimistic.fan_out = u32::try_from(shape.offers.max(1))?;
    config.optimistic.stagger = Duration::ZERO;
    config.optimistic.timeout = Duration::from_secs(1_000_000);
    let mut build = Build { cluster: Cluster::empty(config)?, minted: 0 };
    for n in 0..shape.agents {
        build.cluster.register(n, shape.disks)?;
    }
    for n in 0..shape.agents * shape.volumes {
        build.volume(n % shape.agents)?;
    }
    if shape.tasks > 0 {
        build.cluster.subscribe()?;
        build.tasks(shape.tasks)?;
    }
    if shape.offers == 0 && shape.tasks > 0 {
        let input = build.cluster.call(0, Call::Suppress(BTreeSet::new()))?;
        build.cluster.step(input);
        build.cluster.decline_all()?;
    }
    while build.cluster.frameworks.len() < shape.offers {
        build.cluster.subscribe()?;
    }
    for _second in 0..2 {
        build.cluster.now = build.cluster.now.after(Duration::from_secs(1));
        build.cluster.step(Input::Tick);
    }
    build.cluster.open = BTreeMap::new();
    Ok(build.cluster)
}

/// What is counted. The first task, volume or optimistic offer of an agent takes more than the next one: until then its
/// sums of resources are one.
const KINDS: [&str; 9] = [
    "constant_bytes",
    "agent_bytes",
    "agent_with_tasks_more_bytes",
    "task_bytes",
    "agent_with_volumes_more_bytes",
    "volume_bytes",
    "offer_bytes",
    "agent_with_optimistic_offers_more_bytes",
    "optimistic_offer_bytes",
];

/// How many there are of each kind, and the bytes.
type Row = ([f64; KINDS.len()], f64);

fn measure(shape: Shape) -> anyhow::Result<Row> {
    let before = in_use();
    let cluster = build(shape)?;
    let bytes = u32::try_from(in_use() - before).context("no gigabytes")?;
    let state = cluster.master.state();
    let counts =
        [query::tasks(state).len(), query::volumes(state).len(), query::offers(state).len()];
    let wanted = [shape.tasks, shape.volumes, shape.offers].map(|each| each * shape.agents);
    ensure!(counts == wanted, "{shape:?} came to have {counts:?}");
    let [tasks, volumes, offers] = counts.map(as_f64);
    let agents = as_f64(shape.agents);
    let agents_if = |is: bool| if is { agents } else { 0.0 };
    let optimistic = shape.offers > 1;
    let (alone, several) = if optimistic { (0.0, offers) } else { (offers, 0.0) };
    let counts = [
        1.0,
        agents,
        agents_if(shape.tasks > 0),
        tasks,
        agents_if(shape.volumes > 0),
        volumes,
        alone,
        agents_if(optimistic),
        several,
    ];
    Ok((counts, f64::from(bytes)))
}

/// The coefficients with the least squares of relative errors.
fn fit(rows: &[Row]) -> [f64; KINDS.len()] {
    const N: usize = KINDS.len();
    let mut table = [[0.0; N + 1]; N];
    for (counts, bytes) in rows {
        for (line, one) in table.iter_mut().zip(counts) {
            for (cell, other) in line.iter_mut().zip(counts.iter().chain([bytes])) {
                *cell += one * other / (bytes * bytes);
            }
        }
    }
    for at in 0..N {
        let pivot = table[at];
        for line in table.iter_mut().enumerate().filter(|(n, _)| *n != at).map(|(_, line)| line) {
            let times = line[at] / pivot[at];
            line.iter_mut().zip(pivot).for_each(|(cell, of)| *cell -= times * of);
        }
    }
    std::array::from_fn(|at| table[at][N] / table[at][at])
}

/// Runs it.
///
/// # Errors
/// A cluster did not come to have what it was built for.
pub fn run(effort: Effort) -> anyhow::Result<Figures> {
    let quick = effort.largest < 1_000;
    let sizes = if quick { &[40, 80][..] } else { &[500, 1_000, 2_000][..] };
    let mixes =
        [(0, 0, 0), (10, 0, 0), (20, 0, 0), (0, 4, 0), (0, 8, 0), (0, 0, 1), (0, 0, 2), (0, 0, 4)];
    let mut rows = Vec::new();
    let mut small = Vec::new();
    for agents in sizes.iter().copied() {
        for (tasks, volumes, offers) in mixes {
            rows.push(measure(Shape { agents, disks: DISKS, tasks, volumes, offers })?);
        }
        small.push(measure(Shape { agents, disks: 1, tasks: 0, volumes: 0, offers: 0 })?);
    }
    let found = fit(&rows);
    let guess = |counts: &[f64; KINDS.len()]| {
        counts.iter().zip(found).map(|(n, each)| n * each).sum::<f64>()
    };
    let off = rows.iter().map(|(counts, bytes)| (guess(counts) / bytes - 1.0).abs());
    let mut figures = Figures::default();
    figures.put("largest_deviation", off.fold(0.0, f64::max));
    for (name, bytes) in KINDS.into_iter().zip(found) {
        figures.put(name, bytes);
    }
    if let (Some(first), Some(last)) = (small.first(), small.last()) {
        let bytes = (last.1 - first.1) / (last.0[1] - first.0[1]);
        figures.put("agent_of_one_disk_bytes", bytes);
    }
    Ok(figures)
}
