//! Volumes that are a file system of their own, under real daemons and real tasks: MOUNT disks and images.

use anyhow::{Context, bail, ensure};
use berth_cluster_tests::{Pair, wait_until};
use berth_host_tests::host::{mount_image, mount_new, run, unmount_images, with_private_mounts};
use berth_model::error::ErrorCode;
use berth_model::framework::{Call, Event, Filters, FrameworkInfo, Terms};
use berth_model::id::{OperationId, TaskId};
use berth_model::offer::Offer;
use berth_model::operation::{Action, OfferOperation};
use berth_model::resources::{Name, Resources, parse_resources};
use berth_model::task::{Command, Program, TaskInfo, TaskReason, TaskState, TaskStatus};
use berth_storage_framework::sdk::{Caller, Client, Notice, Options};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A framework of one role that takes what it is offered, one task at a time.
struct Framework {
    client: Client,
    caller: Caller,
    calls: u64,
    /// Those that are good.
    offers: Vec<Offer>,
}

impl Framework {
    async fn start(pair: &Pair) -> anyhow::Result<Self> {
        let mut client = Client::start(pair.address().parse()?, Options::default())?;
        let caller = loop {
            match tokio::time::timeout(PATIENCE, client.next())
                .await?
                .context("the session ended")?
            {
                Notice::Connected(caller) => break caller,
                Notice::Disconnected(_) | Notice::Event(_) => {},
            }
        };
        let info = FrameworkInfo {
            name: Arc::from("tests"),
            user: Arc::from(""),
            roles: BTreeSet::from(["tests".parse()?]),
            principal: None,
            failover_timeout: Duration::from_secs(60),
            url: Arc::from(""),
            hostname: Arc::from("here"),
            capabilities: BTreeSet::new(),
        };
        let subscribe = Call::Subscribe { info, framework: None, suppressed: BTreeSet::new() };
        caller.call(1, &subscribe)?;
        Ok(Self { client, caller, calls: 1, offers: Vec::new() })
    }

    fn say(&mut self, call: &Call) -> anyhow::Result<()> {
        self.calls += 1;
        Ok(self.caller.call(self.calls, call)?)
    }

    fn take_in(&mut self, notice: Notice) -> anyhow::Result<Event> {
        let event = match notice {
            Notice::Event(event) => event,
            Notice::Connected(_) => bail!("connected again"),
            Notice::Disconnected(why) => bail!("disconnected: {why}"),
        };
        match &event {
            Event::Offers(offers) => self.offers.extend(offers.iter().cloned()),
            Event::Rescind(gone) => self.offers.retain(|offer| offer.id != *gone),
            _ => {},
        }
        Ok(event)
    }

    async fn event(&mut self) -> anyhow::Result<Event> {
        let notice = tokio::time::timeout(PATIENCE, self.client.next()).await;
        self.take_in(notice.context("waiting for an event")?.context("the session ended")?)
    }

    /// What is offered, once the volume and what a task needs is.
    async fn offer(&mut self) -> anyhow::Result<Vec<Offer>> {
        self.say(&Call::Revive(BTreeSet::new()))?;
        let has_volume = |offer: &Offer| offer.resources.iter().any(|r| r.persistence().is_some());
        loop {
            while let Some(notice) = self.client.ready() {
                self.take_in(notice)?;
            }
            let has_cpus = |offer: &Offer| !offer.resources.total(&Name::Cpus).is_zero();
            if self.offers.iter().any(has_volume) && self.offers.iter().any(has_cpus) {
                return Ok(std::mem::take(&mut self.offers));
            }
            self.event().await?;
        }
    }

    fn launch(&mut self, offers: &[Offer], id: &str, script: &str) -> anyhow::Result<()> {
        let mut resources: Resources = parse_resources("cpus:0.1;mem:32")?;
        let offered = offers.iter().flat_map(|offer| offer.resources.iter());
        for volume in offered.filter(|r| r.persistence().is_some()) {
            resources.add(&volume)?;
        }
        let agent = offers.first().context("no offer")?.agent;
        let task = TaskInfo {
            id: TaskId::new(id)?,
            name: id.to_owned(),
            agent,
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
        let number = u128::from(self.calls) + (u128::from(std::process::id()) << 64);
        self.say(&Call::Accept {
            offers: offers.iter().map(|offer| offer.id).collect(),
            operations: vec![OfferOperation {
                id: OperationId::from_u128(number),
                action: Action::Launch(vec![task]),
            }],
            filters: Filters { refuse: Duration::ZERO },
            terms: Terms::default(),
        })
    }

    /// The last status of the task.
    async fn ended(&mut self, id: &str) -> anyhow::Result<TaskStatus> {
        loop {
            let status = match self.event().await? {
                Event::Status(status) => status,
                Event::Answered { result: Err(why), .. } => bail!("the call was refused: {why}"),
                _ => continue,
            };
            if let (Some(agent), Some(update)) = (status.agent, status.id) {
                let task = status.task.clone();
                self.say(&Call::Acknowledge { agent, task, status: update })?;
            }
            if status.task.to_string() == id && status.state.is_terminal() {
                return Ok(status);
            }
        }
    }

    /// Runs a script with the volume to its end.
    async fn run(&mut self, id: &str, script: &str) -> anyhow::Result<TaskStatus> {
        let offer = self.offer().await?;
        self.launch(&offer, id, script)?;
        self.ended(id).await
    }
}

/// Runs a test in mounts of its own, daemons included.
fn in_private_mounts(tools: &[&str], test: impl AsyncFnOnce(PathBuf) -> anyhow::Result<()> + Send) {
    with_private_mounts(tools, || {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // The session is kept by another thread while the test waits.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let root = dir.path().canonicalize().expect("it is there");
        runtime.expect("a runtime").block_on(test(root)).expect("the test succeeds");
    });
}

fn disk(pair: &Pair) -> anyhow::Result<Value> {
    let disks = pair.items(&["disk", "list"])?;
    disks.into_iter().find(|disk| disk["name"] == "d1").context("no disk d1")
}

fn create(pair: &Pair, name: &str, size: &str) -> anyhow::Result<Value> {
    let words =
        ["volume", "create", name, "--role", "tests", "--size", size, "--disk", "d1", "-o", "json"];
    let made = pair.berth(&words)?;
    ensure!(made.code == 0, "{}{}", made.stderr, pair.log_tails());
    volume(pair, name)
}

fn volume(pair: &Pair, name: &str) -> anyhow::Result<Value> {
    let volumes = pair.items(&["volume", "list"])?;
    volumes.into_iter().find(|found| found["name"] == name).context("no such volume")
}

fn count(directory: &Path) -> anyhow::Result<usize> {
    Ok(std::fs::read_dir(directory)?.count())
}

#[test]
fn a_mount_disk_that_is_unmounted_under_its_agent_fails_the_launch_and_stays_empty() {
    in_private_mounts(&["mkfs.ext4", "mount", "umount"], async |dir| {
        let root = dir.join("d1");
        mount_new("ext4", 128, &root);
        let shown = root.display().to_string();
        let mut pair = Pair::new(&dir)?
            .with_agent_flags(&["--disk", &format!("type=mount,root={shown},name=d1")]);
        pair.start()?;
        let declared = disk(&pair)?;
        ensure!(declared["driver"] == "mount" && declared["health"] == "ok", "{declared}");
        let made = create(&pair, "data", "8MiB")?;
        ensure!(made["size_bytes"] == declared["size_bytes"], "{made} of {declared}");
        ensure!(made["enforced"] == "device", "{made}");
        let second =
            ["volume", "create", "two", "--role", "tests", "--size", "8MiB", "--disk", "d1"];
        let refused = pair.berth(&second)?;
        ensure!(
            refused.code != 0 && refused.stderr.contains("INSUFFICIENT_RESOURCES"),
            "{refused:?}"
        );

        let mut framework = Framework::start(&pair).await?;
        let first = framework.run("first", "echo one >data/rows").await?;
        ensure!(first.state == TaskState::Finished, "{first:?}");

        let offer = framework.offer().await?;
        // Lazily, because the agent holds its disks open.
        let _gone = run("umount", &["-l", &shown]);
        framework.launch(&offer, "second", "echo two >>data/rows")?;
        let second = framework.ended("second").await?;
        ensure!(second.state == TaskState::Failed, "{second:?}");
        ensure!(second.reason == TaskReason::VolumeUnavailable, "{second:?}");
        let error = second.error.clone().context("the refusal")?;
        ensure!(error.code == ErrorCode::DiskFaulty, "{error}");
        ensure!(error.message.contains("is not a mount point"), "{error}");
        ensure!(count(&root)? == 0, "something was written to the bare mount point");
        wait_until("the disk to be withheld", PATIENCE, || {
            let now = disk(&pair)?;
            let text = now.to_string();
            ensure!(text.contains("faulty") && text.contains("is not a mount point"), "{text}");
            Ok(())
        })?;
        ensure!(count(&root)? == 0, "something was written to the bare mount point");

        mount_image(&root.with_extension("image").to_string_lossy(), &root);
        wait_until("the disk to be back", PATIENCE, || {
            let now = disk(&pair)?;
            ensure!(now["health"] == "ok", "{now}");
            Ok(())
        })?;
        let third =
            framework.run("third", "echo three >>data/rows; cat data/rows >data/copy").await?;
        ensure!(third.state == TaskState::Finished, "{third:?}");
        let path = PathBuf::from(volume(&pair, "data")?["host_path"].as_str().context("path")?);
        ensure!(std::fs::read_to_string(path.join("copy"))? == "one\nthree\n");
        drop(pair);
        let _gone = run("umount", &["-l", &shown]);
        Ok(())
    });
}

#[test]
fn a_task_gets_the_file_system_of_its_image_and_no_more_than_that() {
    in_private_mounts(&["mkfs.ext4", "mount", "umount"], async |dir| {
        let root = dir.join("d1");
        std::fs::create_dir(&root)?;
        let shown = root.display().to_string();
        let declared = format!("root={shown},driver=image:ext4,name=d1");
        let mut pair = Pair::new(&dir)?.with_agent_flags(&["--disk", &declared]);
        pair.start()?;
        let listed = disk(&pair)?;
        ensure!(listed["driver"] == "image:ext4" && listed["health"] == "ok", "{listed}");
        let made = create(&pair, "data", "100MiB")?;
        let path = PathBuf::from(made["host_path"].as_str().context("path")?);
        ensure!(made["driver"] == "image:ext4", "{made}");

        let mut framework = Framework::start(&pair).await?;
        // Too much is refused to the writer, who goes on with less.
        let script = "dd if=/dev/zero of=data/much bs=1M count=101 2>data.err && exit 3; \
            grep -q 'No space left' data.err || exit 4; rm data/much; echo rows >data/rows";
        let status = framework.run("writer", script).await?;
        ensure!(status.state == TaskState::Finished, "{status:?}");
        ensure!(std::fs::read_to_string(path.join("rows"))? == "rows\n");

        // As after a restart of the machine: nothing is mounted, nothing attached.
        pair.kill_agent()?;
        unmount_images(&root);
        ensure!(!path.join("rows").exists());
        pair.start_agent()?;
        pair.wait_registered()?;
        let status = framework.run("reader", "grep -q rows data/rows").await?;
        ensure!(status.state == TaskState::Finished, "{status:?}");
        let gone = pair.berth(&["volume", "delete", "data", "--role", "tests", "--yes"])?;
        ensure!(gone.code == 0, "{}", gone.stderr);
        let trash = pair.items(&["volume", "trash", "list"])?;
        ensure!(trash.len() == 1 && trash[0]["name"] == "data", "{trash:?}");
        ensure!(!path.exists(), "{} is still mounted", path.display());
        drop(pair);
        unmount_images(&root);
        Ok(())
    });
}

#[test]
fn a_snapshot_of_an_image_is_rolled_back_to_and_cloned_under_real_daemons() {
    in_private_mounts(&["mkfs.xfs", "mkfs.ext4", "mount", "umount"], async |dir| {
        let root = dir.join("d1");
        mount_new("xfs", 1500, &root);
        let shown = root.display().to_string();
        let declared = format!("root={shown},driver=image:ext4,name=d1,size=600MiB");
        let mut pair = Pair::new(&dir)?.with_agent_flags(&["--disk", &declared]);
        pair.start()?;
        let listed = disk(&pair)?;
        ensure!(listed["driver"] == "image:ext4" && listed["snapshots"] == "yes", "{listed}");
        let made = create(&pair, "data", "100MiB")?;
        let path = PathBuf::from(made["host_path"].as_str().context("path")?);
        let must = |words: &[&str]| -> anyhow::Result<()> {
            let ran = pair.berth(words)?;
            ensure!(ran.code == 0, "{words:?}: {}", ran.stderr);
            Ok(())
        };
        std::fs::write(path.join("rows"), "good")?;
        must(&["snapshot", "create", "data", "--role", "tests", "--name", "one"])?;
        std::fs::write(path.join("rows"), "bad")?;
        must(&["volume", "clone", "data", "copy", "--snapshot", "one"])?;
        let copy = PathBuf::from(volume(&pair, "copy")?["host_path"].as_str().context("path")?);
        ensure!(std::fs::read_to_string(copy.join("rows"))? == "good", "the clone");
        must(&["volume", "rollback", "data", "--to", "one", "--yes"])?;
        ensure!(std::fs::read_to_string(path.join("rows"))? == "good", "rolled back");

        // As after a restart of the machine.
        pair.kill_agent()?;
        unmount_images(&root);
        pair.start_agent()?;
        pair.wait_registered()?;
        for (path, name) in [(&path, "data"), (&copy, "copy")] {
            wait_until("the volumes to be seen again", PATIENCE, || {
                let content = std::fs::read_to_string(path.join("rows")).unwrap_or_default();
                ensure!(content == "good", "{name} has {content:?}");
                Ok(())
            })?;
        }
        ensure!(pair.items(&["snapshot", "list"])?.len() == 2, "one, and what was replaced");
        drop(pair);
        unmount_images(&root);
        let _gone = run("umount", &["-l", &shown]);
        Ok(())
    });
}
