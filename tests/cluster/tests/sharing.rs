//! A shared volume under real daemons: two frameworks use it at once, one of them read-only, and a third that does not
//! know shared volumes never hears of it.

use anyhow::{Context, bail, ensure};
use berth_cluster_tests::{Pair, wait_until};
use berth_host_tests::host::skip;
use berth_model::framework::{Call, Capability, Event, Filters, FrameworkInfo, Terms};
use berth_model::id::{OperationId, TaskId};
use berth_model::offer::Offer;
use berth_model::operation::{Action, OfferOperation};
use berth_model::resources::{MountMode, Name, Resources, parse_resources};
use berth_model::task::{Command, Program, TaskInfo, TaskState, TaskStatus};
use berth_storage_framework::sdk::{Caller, Client, Notice, Options};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A framework of the role of the volume.
struct Framework {
    client: Client,
    caller: Caller,
    calls: u64,
    number: u64,
    offers: Vec<Offer>,
    /// It was offered a shared volume at some time.
    was_offered: bool,
}

impl Framework {
    async fn start(pair: &Pair, number: u64, shares: bool) -> anyhow::Result<Self> {
        let mut client = Client::start(pair.address().parse()?, Options::default())?;
        let caller = loop {
            let notice = tokio::time::timeout(PATIENCE, client.next()).await?;
            match notice.context("the session ended")? {
                Notice::Connected(caller) => break caller,
                Notice::Disconnected(_) | Notice::Event(_) => {},
            }
        };
        let info = FrameworkInfo {
            name: Arc::from(format!("tests-{number}")),
            user: Arc::from(""),
            roles: BTreeSet::from(["tests".parse()?]),
            principal: None,
            failover_timeout: Duration::from_secs(60),
            url: Arc::from(""),
            hostname: Arc::from("here"),
            capabilities: shares.then_some(Capability::SharedResources).into_iter().collect(),
        };
        let subscribe = Call::Subscribe { info, framework: None, suppressed: BTreeSet::new() };
        caller.call(1, &subscribe)?;
        Ok(Self { client, caller, calls: 1, number, offers: Vec::new(), was_offered: false })
    }

    fn say(&mut self, call: &Call) -> anyhow::Result<()> {
        self.calls += 1;
        Ok(self.caller.call(self.calls, call)?)
    }

    fn take_in(&mut self, notice: Notice) -> anyhow::Result<Event> {
        let Notice::Event(event) = notice else { bail!("the session is not steady: {notice:?}") };
        match &event {
            Event::Offers(offers) => {
                self.was_offered |= offers.iter().any(|o| !o.resources.shared().is_empty());
                self.offers.extend(offers.iter().cloned());
            },
            Event::Rescind(gone) => self.offers.retain(|offer| offer.id != *gone),
            Event::Answered { result: Err(why), .. } => bail!("the call was refused: {why}"),
            _ => {},
        }
        Ok(event)
    }

    async fn event(&mut self) -> anyhow::Result<Event> {
        let notice = tokio::time::timeout(PATIENCE, self.client.next()).await;
        self.take_in(notice.context("waiting for an event")?.context("the session ended")?)
    }

    /// Gives back what it holds, so that others have something to run with.
    fn give_back(&mut self) -> anyhow::Result<()> {
        let offers = std::mem::take(&mut self.offers).iter().map(|offer| offer.id).collect();
        let filters = Filters { refuse: Duration::from_secs(600) };
        self.say(&Call::Decline { offers, filters })
    }

    /// Launches a task on the shared volume once that and processors are offered.
    async fn launch(&mut self, id: &str, mode: MountMode, script: &str) -> anyhow::Result<()> {
        self.say(&Call::Revive(BTreeSet::new()))?;
        loop {
            let shared = self.offers.iter().any(|o| !o.resources.shared().is_empty());
            if shared && self.offers.iter().any(|o| !o.resources.total(&Name::Cpus).is_zero()) {
                break;
            }
            self.event().await?;
        }
        let offers = std::mem::take(&mut self.offers);
        let mut resources: Resources = parse_resources("cpus:0.1;mem:32")?;
        for mut volume in offers.iter().flat_map(|offer| offer.resources.shared().volumes()) {
            let mount = volume.disk.as_mut().and_then(|disk| disk.mount.as_mut());
            mount.context("a volume has a mount")?.mode = mode;
            resources.add(&volume)?;
        }
        let task = TaskInfo {
            id: TaskId::new(id)?,
            name: id.to_owned(),
            agent: offers.first().context("an offer")?.agent,
            resources,
            command: Command {
                program: Program::Shell(script.to_owned()),
                env: BTreeMap::new(),
                user: None,
            },
            health: None,
            readiness: None,
            kill_grace: Duration::from_secs(5),
            labels: BTreeMap::new(),
        };
        let unique = u128::from(self.calls) + (u128::from(self.number) << 32);
        let operation = OfferOperation {
            id: OperationId::from_u128(unique + (u128::from(std::process::id()) << 64)),
            action: Action::Launch(vec![task]),
        };
        self.say(&Call::Accept {
            offers: offers.iter().map(|offer| offer.id).collect(),
            operations: vec![operation],
            filters: Filters { refuse: Duration::from_secs(600) },
            terms: Terms::default(),
        })
    }

    /// The status of the task when it is as wanted.
    async fn status(
        &mut self,
        id: &str,
        wanted: impl Fn(TaskState) -> bool,
    ) -> anyhow::Result<TaskStatus> {
        loop {
            let Event::Status(status) = self.event().await? else { continue };
            if let (Some(agent), Some(update)) = (status.agent, status.id) {
                let task = status.task.clone();
                self.say(&Call::Acknowledge { agent, task, status: update })?;
            }
            if status.task.to_string() == id && wanted(status.state) {
                return Ok(status);
            }
            ensure!(!status.state.is_terminal(), "{status:?}");
        }
    }
}

fn volume(pair: &Pair) -> anyhow::Result<Value> {
    let volumes = pair.items(&["volume", "list"])?;
    volumes.into_iter().find(|found| found["name"] == "data").context("no volume data")
}

fn users(pair: &Pair) -> anyhow::Result<usize> {
    Ok(volume(pair)?["in_use_by"].as_array().context("a list")?.len())
}

fn is_refused_its_end(pair: &Pair) -> anyhow::Result<()> {
    let run = pair.berth(&["volume", "delete", "data", "--yes"])?;
    ensure!(run.code != 0 && run.stderr.contains("VOLUME_IN_USE"), "{run:?}");
    Ok(())
}

const WRITES: &str = "until [ -e data/stop-w ]; do echo w >>data/rows; sleep 0.05; done";
const READS: &str = "if touch data/intruder 2>/dev/null; then exit 9; fi; \
    until [ -s data/rows ]; do sleep 0.05; done; \
    until [ -e data/stop-r ]; do sleep 0.05; done";

async fn shared_by_two(pair: &mut Pair) -> anyhow::Result<()> {
    let create = ["volume", "create", "data", "--role", "tests", "--size", "64MiB", "--shared"];
    let dry = pair.berth(&[&create[..], &["--dry-run"]].concat())?;
    ensure!(dry.code == 0 && dry.stderr.contains("shared"), "{dry:?}");
    let made = pair.berth(&create)?;
    ensure!(made.code == 0, "{made:?}{}", pair.log_tails());
    let made = volume(pair)?;
    ensure!(made["shared"] == true, "{made}");
    let data = PathBuf::from(made["host_path"].as_str().context("path")?);
    let grow = pair.berth(&["volume", "resize", "data", "--size", "128MiB"])?;
    ensure!(grow.code != 0 && grow.stderr.contains("VOLUME_SHARED"), "{grow:?}");

    let mut legacy = Framework::start(pair, 3, false).await?;
    let mut writer = Framework::start(pair, 1, true).await?;
    // The legacy one holds the processors at first.
    while legacy.offers.is_empty() {
        legacy.event().await?;
    }
    legacy.give_back()?;
    writer.launch("writes", MountMode::ReadWrite, WRITES).await?;
    writer.status("writes", |state| state == TaskState::Running).await?;
    // Only now, so that the two do not wait for what the other is offered.
    let mut reader = Framework::start(pair, 2, true).await?;
    let seen = pair.items(&["framework", "list"])?;
    let capable =
        seen.iter().filter(|f| f["capabilities"] == serde_json::json!(["SHARED_RESOURCES"]));
    ensure!(capable.count() == 2, "{seen:?}");
    let as_root = nix::unistd::geteuid().is_root();
    if !as_root {
        skip("a read-only mount needs root: the second task mounts it for writing");
    }
    let (mode, script) = match as_root {
        true => (MountMode::ReadOnly, READS),
        false => (MountMode::ReadWrite, READS.split_once("fi; ").context("a guard")?.1),
    };
    reader.launch("reads", mode, script).await?;
    reader.status("reads", |state| state == TaskState::Running).await?;
    ensure!(users(pair)? == 2, "{}", volume(pair)?);
    is_refused_its_end(pair)?;

    pair.kill_agent()?;
    pair.start_agent()?;
    pair.wait_registered()?;
    wait_until("both to be known again", PATIENCE, || {
        ensure!(users(pair)? == 2, "{}", volume(pair)?);
        Ok(())
    })?;
    is_refused_its_end(pair)?;
    let rows = || std::fs::metadata(data.join("rows")).map(|rows| rows.len());
    let before = rows()?;
    wait_until("the writer to go on", PATIENCE, || {
        ensure!(rows()? > before, "{before}");
        Ok(())
    })?;

    std::fs::write(data.join("stop-r"), "")?;
    let ended = reader.status("reads", TaskState::is_terminal).await?;
    ensure!(ended.state == TaskState::Finished, "{ended:?}");
    ensure!(!data.join("intruder").exists() && users(pair)? == 1, "{}", volume(pair)?);
    is_refused_its_end(pair)?;
    std::fs::write(data.join("stop-w"), "")?;
    let ended = writer.status("writes", TaskState::is_terminal).await?;
    ensure!(ended.state == TaskState::Finished, "{ended:?}");
    let gone = pair.berth(&["volume", "delete", "data", "--yes"])?;
    ensure!(gone.code == 0 && volume(pair).is_err(), "{gone:?}");
    while let Some(notice) = legacy.client.ready() {
        legacy.take_in(notice)?;
    }
    ensure!(!legacy.was_offered, "a framework without the capability was offered it");
    Ok(())
}

#[test]
fn two_frameworks_use_a_shared_volume_at_once_and_across_the_death_of_the_agent() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // The session is kept by another thread while the test waits.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let root = dir.path().canonicalize().expect("it is there");
    let test = async {
        let mut pair = Pair::new(&root)?;
        pair.start()?;
        shared_by_two(&mut pair).await.with_context(|| pair.log_tails())
    };
    runtime.expect("a runtime").block_on(test).expect("the test succeeds");
}
