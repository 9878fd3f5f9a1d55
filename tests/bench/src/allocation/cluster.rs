//! A master with agents that have nothing on them and frameworks that want everything and use nothing.

use crate::stage;
use anyhow::{Context, bail, ensure};
use berth_master_core::{Config, Input, Master, Output, Step};
use berth_model::agent::AgentInfo;
use berth_model::framework::{Call, Event, Filters};
use berth_model::id::{AgentId, DiskId, FrameworkId, OfferId, SessionId};
use berth_model::offer::Offer;
use berth_model::resources::{DiskSource, Name, Range, Ranges, Resource, Resources, Value};
use berth_model::units::{Bytes, Scalar, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// How many disks an agent has.
pub(super) const DISKS: usize = 6;

/// The connection of the `n`-th agent.
pub(super) fn agent_session(n: usize) -> SessionId {
    SessionId::from_u128(n as u128 + 1)
}

pub(super) fn agent_id(n: usize) -> AgentId {
    AgentId::from_u128(n as u128 + 1)
}

fn info(n: usize, disks: usize) -> anyhow::Result<AgentInfo> {
    let [cpus, mem, _disk, _ports] =
        quantities(n).map(|(name, milli)| Resource::scalar(name, Scalar::from_milli(milli)));
    let ports = Ranges::new(vec![Range { begin: 31_000, end: 31_999 }])?;
    let tib = Bytes::from_mib(1 << 20);
    let mut list = vec![cpus, mem, Resource::of(Name::Ports, Value::Ranges(ports))];
    let most = disks;
    let mut disks = Vec::new();
    for (source, at) in sources().into_iter().zip(0_u128..).take(most) {
        list.push(Resource::disk(source.clone(), tib.to_scalar()?));
        let id = DiskId::from_u128(n as u128 * 8 + at + 1);
        disks.push(stage::disk(id, &format!("disk-{at}"), source, tib));
    }
    let attributes = BTreeMap::from([("rack".to_owned(), format!("r{}", n % 40))]);
    Ok(stage::agent(agent_id(n), attributes, Resources::from_list(list)?, disks))
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
        let mut cluster = Self::empty(stage::config())?;
        for _framework in 0..frameworks {
            cluster.subscribe()?;
        }
        for n in 0..agents {
            let step = cluster.register(n, DISKS)?;
            ensure!(offered(&step).count() == 1, "agent {n} is not offered to one framework");
        }
        Ok(cluster)
    }
    /// Nobody is there.
    pub(super) fn empty(config: Config) -> anyhow::Result<Self> {
        let now = Timestamp::from_ms(1_000_000);
        let (master, _) =
            Master::recover(config, Vec::new(), now).context("begin without records")?;
        Ok(Self { master, now, frameworks: Vec::new(), open: BTreeMap::new() })
    }
    /// One more framework.
    pub(super) fn subscribe(&mut self) -> anyhow::Result<()> {
        let n = self.frameworks.len();
        let session = SessionId::from_u128(1_000_000 + n as u128);
        let input = stage::subscribe(session, &format!("f-{n:05}"), "bench")?;
        let step = self.step(input);
        let id = stage::subscribed(&step).context("a framework was not taken in")?;
        self.frameworks.push((id, session));
        Ok(())
    }
    /// The `n`-th agent comes, with the first of its disks.
    pub(super) fn register(&mut self, n: usize, disks: usize) -> anyhow::Result<Step> {
        Ok(self.step(stage::register(info(n, disks)?, agent_session(n))))
    }
    /// How a call of a framework reads.
    pub(super) fn call(&self, framework: usize, body: Call) -> anyhow::Result<Input> {
        let (id, session) = self.frameworks.get(framework).context("no such framework")?.clone();
        Ok(Input::Framework { session, framework: Some(id), call: 1, fingerprint: 0, body })
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
        for offer in &offers {
            self.open.remove(offer);
        }
        let filters = Filters { refuse: Duration::ZERO };
        self.call(framework, Call::Decline { offers, filters })
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
