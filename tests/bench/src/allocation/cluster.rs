//! A master with agents that have nothing on them and frameworks that want everything and use nothing.

use anyhow::{Context, bail, ensure};
use berth_master_core::{Config, Input, Master, Output, Step};
use berth_model::agent::{AgentInfo, Disk, DiskHealth, Media};
use berth_model::framework::{Call, Event, Filters, FrameworkInfo};
use berth_model::id::{AgentId, ClusterId, DiskId, FrameworkId, OfferId, SessionId};
use berth_model::link::{FromAgent, Registration};
use berth_model::offer::Offer;
use berth_model::resources::{DiskSource, Name, Range, Ranges, Resource, Resources, Value};
use berth_model::role::Role;
use berth_model::units::{Bytes, Scalar, Timestamp};
use berth_model::volume::Enforcement;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than a run, in virtual time.
const NEVER: Duration = Duration::from_secs(1_000_000_000);

/// The master and who talks to it.
pub(super) struct Cluster {
    pub(super) master: Master,
    pub(super) now: Timestamp,
    pub(super) frameworks: Vec<(FrameworkId, SessionId)>,
    /// Offers that nobody has answered.
    pub(super) open: BTreeMap<OfferId, Offer>,
}

fn sources() -> [DiskSource; 6] {
    let path = |n: u8| DiskSource::Path(Arc::from(format!("/srv/path-{n}")));
    let mount = |n: u8| DiskSource::Mount(Arc::from(format!("/srv/mount-{n}")));
    [DiskSource::Root, path(1), path(2), mount(1), mount(2), mount(3)]
}

/// The quantities of the `n`-th agent: three kinds of machines.
pub(super) fn quantities(n: usize) -> [(Name, i64); 4] {
    let (cpus, gib) = [(32, 128), (64, 256), (96, 512)][n % 3];
    // Six disks of a TiB each, and a thousand ports.
    [(Name::Cpus, cpus), (Name::Mem, gib << 10), (Name::Disk, 6 << 20), (Name::Ports, 1_000)]
        .map(|(name, units)| (name, units * 1_000))
}

pub(super) fn agent_id(n: usize) -> AgentId {
    AgentId::from_u128(n as u128 + 1)
}

fn info(n: usize) -> anyhow::Result<AgentInfo> {
    let [cpus, mem, _disk, _ports] =
        quantities(n).map(|(name, milli)| Resource::scalar(name, Scalar::from_milli(milli)));
    let ports = Ranges::new(vec![Range { begin: 31_000, end: 31_999 }])?;
    let tib = Bytes::from_mib(1 << 20);
    let mut list = vec![cpus, mem, Resource::of(Name::Ports, Value::Ranges(ports))];
    let mut disks = Vec::new();
    for (source, at) in sources().into_iter().zip(0_u128..) {
        list.push(Resource::disk(source.clone(), tib.to_scalar()?));
        disks.push(Disk {
            id: DiskId::from_u128(n as u128 * 8 + at + 1),
            name: Arc::from(format!("disk-{at}")),
            source,
            root: Arc::from("/srv"),
            driver: Arc::from("directory"),
            driver_reason: Arc::from("bench"),
            enforcement: Enforcement::None,
            size: tib,
            free: tib,
            health: DiskHealth::Ok,
            media: Media::Ssd,
            orphans: Vec::new(),
            no_snapshots: BTreeMap::new(),
            added: false,
            wipes: Vec::new(),
            no_encryption: None,
        });
    }
    Ok(AgentInfo {
        id: agent_id(n),
        hostname: Arc::from(format!("host-{n}")),
        attributes: Arc::new(BTreeMap::from([("rack".to_owned(), format!("r{}", n % 40))])),
        declared: Resources::from_list(list)?,
        disks,
        limitations: Vec::new(),
        version: Arc::from("0"),
    })
}

fn framework_info(n: usize) -> anyhow::Result<FrameworkInfo> {
    Ok(FrameworkInfo {
        name: Arc::from(format!("bench-{n}")),
        user: Arc::from("nobody"),
        roles: BTreeSet::from([Role::new("bench")?]),
        principal: None,
        failover_timeout: Duration::from_secs(600),
        url: Arc::from(""),
        hostname: Arc::from("here"),
        capabilities: BTreeSet::new(),
    })
}

/// The offers that a step makes.
pub(super) fn offered(step: &Step) -> impl Iterator<Item = &Offer> {
    let offers = step.outputs.iter().filter_map(|output| match output {
        Output::ToFramework { event: Event::Offers(offers), .. } => Some(offers),
        _ => None,
    });
    offers.flatten()
}

impl Cluster {
    /// Everything is offered to somebody afterwards. Frameworks are numbered in the order of their ids.
    pub(super) fn new(agents: usize, frameworks: usize) -> anyhow::Result<Self> {
        let now = Timestamp::from_ms(1_000_000);
        let config = Config {
            heartbeat: NEVER,
            agent_timeout: NEVER,
            reregister_window: NEVER,
            ..Config::new(ClusterId::from_u128(0xc), 1, 0)
        };
        let (master, _) =
            Master::recover(config, Vec::new(), now).context("begin without records")?;
        let mut cluster = Self { master, now, frameworks: Vec::new(), open: BTreeMap::new() };
        for n in 0..frameworks {
            let session = SessionId::from_u128(1_000_000 + n as u128);
            let body = Call::Subscribe {
                info: framework_info(n)?,
                framework: Some(FrameworkId::new(&format!("f-{n:05}"))?),
                suppressed: BTreeSet::new(),
            };
            let input =
                Input::Framework { session, framework: None, call: 0, fingerprint: 0, body };
            let step = cluster.step(input);
            let id = step.outputs.iter().find_map(|output| match output {
                Output::ToFramework { event: Event::Subscribed { framework, .. }, .. } => {
                    Some(framework.clone())
                },
                _ => None,
            });
            cluster.frameworks.push((id.context("a framework was not taken in")?, session));
        }
        for n in 0..agents {
            let (agent, session) = (agent_id(n), SessionId::from_u128(n as u128 + 1));
            let registration = Registration {
                info: info(n)?,
                session,
                cluster: None,
                epoch: 0,
                revision: 0,
                ledger_seq: 0,
                volumes: Vec::new(),
                tasks: Vec::new(),
                snapshots: Vec::new(),
            };
            let message = FromAgent::Register(Box::new(registration));
            let step = cluster.step(Input::Agent { agent, session, message });
            ensure!(offered(&step).count() == 1, "agent {n} is not offered to one framework");
        }
        Ok(cluster)
    }

    /// One input.
    pub(super) fn step(&mut self, input: Input) -> Step {
        let step = self.master.step(self.now, input);
        self.open.extend(offered(&step).map(|offer| (offer.id, offer.clone())));
        step
    }
    /// One input and how long it took.
    pub(super) fn timed(&mut self, input: Input) -> (Step, f64) {
        let start = Instant::now();
        let step = self.master.step(self.now, input);
        let spent = start.elapsed().as_secs_f64();
        self.open.extend(offered(&step).map(|offer| (offer.id, offer.clone())));
        (step, spent)
    }
    /// Which framework it is.
    pub(super) fn number(&self, framework: &FrameworkId) -> anyhow::Result<usize> {
        let found = self.frameworks.binary_search_by(|(id, _)| id.cmp(framework));
        found.ok().context("an offer to nobody")
    }
    /// How often each framework was offered something so far, when each offer is still open.
    pub(super) fn turns(&self) -> anyhow::Result<Vec<u64>> {
        let mut turns = vec![0; self.frameworks.len()];
        for offer in self.open.values() {
            turns[self.number(&offer.framework)?] += 1;
        }
        Ok(turns)
    }
    /// How DECLINE of these offers reads; all of one framework.
    pub(super) fn decline(
        &mut self,
        framework: usize,
        offers: Vec<OfferId>,
    ) -> anyhow::Result<Input> {
        let (id, session) = self.frameworks.get(framework).context("no such framework")?.clone();
        for offer in &offers {
            self.open.remove(offer);
        }
        let filters = Filters { refuse: Duration::ZERO };
        let body = Call::Decline { offers, filters };
        Ok(Input::Framework { session, framework: Some(id), call: 1, fingerprint: 0, body })
    }
    /// Everything that is offered is given back, so that the next tick is a full cycle.
    pub(super) fn decline_all(&mut self) -> anyhow::Result<()> {
        let mut of: Vec<Vec<OfferId>> = vec![Vec::new(); self.frameworks.len()];
        for offer in self.open.values() {
            of[self.number(&offer.framework)?].push(offer.id);
        }
        for (framework, offers) in of.into_iter().enumerate() {
            let input = self.decline(framework, offers)?;
            let step = self.step(input);
            if offered(&step).next().is_some() {
                bail!("an agent was looked at twice in one interval");
            }
        }
        self.now = self.now.after(Duration::from_secs(1));
        Ok(())
    }
}
