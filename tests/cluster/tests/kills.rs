//! The agent, as a whole process with all its threads, killed at each system call that changes something: it
//! starts again, what was accepted comes to its end, and the data is there.

#![expect(clippy::print_stderr, reason = "how much was tried is part of the result")]

use anyhow::{Context, ensure};
use berth_cluster_tests::{Pair, Run, wait_until};
use berth_host_tests::host::{has, mount_new, run, with_private_mounts};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// The calls by which the agent changes a disk or its ledger.
const CALLS: [&str; 13] = [
    "fsync",
    "fdatasync",
    "syncfs",
    "mkdirat",
    "renameat",
    "renameat2",
    "unlinkat",
    "fsetxattr",
    "fchmod",
    "ftruncate",
    "pwrite64",
    "ioctl",
    "write",
];

/// Which call of each kind is killed after this one: each with BERTH_CRASH=2, else ever fewer, for a minute and not an
/// hour.
fn next(number: usize) -> usize {
    let every = std::env::var("BERTH_CRASH").is_ok_and(|effort| effort != "1");
    if every { number + 1 } else { number * 4 + 1 }
}

/// What one round asks for, in this order; `{}` is the round.
struct Plan {
    /// Besides the plain life of a volume: what only some disks can do.
    snapshots: bool,
}

impl Plan {
    /// The commands and the state in which each must leave the volume.
    fn steps(&self, name: &str) -> Vec<(Vec<String>, &'static str)> {
        let words = |text: &str| -> Vec<String> {
            text.split(' ').map(|word| word.replace("{}", name)).collect()
        };
        let mut steps = vec![(words("volume create {} --role tests --size 16MiB"), "READY")];
        if self.snapshots {
            steps.push((words("snapshot create {} --role tests --name one"), "READY"));
        }
        steps.push((words("volume resize {} --role tests --size 32MiB"), "READY"));
        if self.snapshots {
            steps.push((words("volume rollback {} --to one --yes"), "READY"));
        }
        steps.push((words("volume delete {} --yes"), "TRASHED"));
        steps.push((words("volume trash restore {}"), "READY"));
        steps.push((words("volume delete {} --yes"), "TRASHED"));
        steps.push((words("volume trash purge {} --yes --confirm {}"), "GONE"));
        steps
    }
}

fn good(run: Run) -> anyhow::Result<Run> {
    ensure!(run.code == 0, "ended with {}: {}", run.code, run.stderr);
    Ok(run)
}

/// The live volume of the name, or the one in the trash.
fn volume(pair: &Pair, name: &str) -> anyhow::Result<Option<Value>> {
    let mut found = pair.items(&["volume", "list"])?;
    found.extend(pair.items(&["volume", "trash", "list"])?);
    Ok(found.into_iter().find(|volume| volume["name"] == name))
}

/// One agent under an injection, from its start to the end of the plan. True when it was killed.
struct Sweep<'a> {
    pair: &'a mut Pair,
    /// For request ids.
    asked: u64,
    kills: u32,
}

impl Sweep<'_> {
    /// A killed agent starts again, by itself.
    fn revive(&mut self) -> anyhow::Result<bool> {
        if !self.pair.agent_is_gone()? {
            return Ok(false);
        }
        self.pair.wrap_agent(&[]);
        self.pair.start_agent()?;
        self.pair.wait_registered()?;
        self.kills += 1;
        Ok(true)
    }

    fn round(
        &mut self,
        plan: &Plan,
        name: &str,
        (call, number): (&str, usize),
    ) -> anyhow::Result<bool> {
        let (traced, injection) =
            (format!("trace={call}"), format!("inject={call}:signal=KILL:when={number}"));
        // With -D the process that was started is the agent, and strace its grandchild.
        let quiet = ["strace", "-D", "-f", "-o", "/dev/null", "-e", &traced, "-e", &injection];
        self.pair.wrap_agent(&quiet);
        self.pair.start_agent()?;
        let mut killed = wait_until("the agent to be there or gone", PATIENCE, || {
            let gone = self.pair.agent_is_gone()?;
            ensure!(gone || self.pair.is_registered()?, "neither");
            Ok(gone)
        })?;
        if killed {
            self.revive()?;
        }
        for (command, state) in plan.steps(name) {
            self.asked += 1;
            let id = format!("{:032x}", self.asked);
            let mut words: Vec<&str> = command.iter().map(String::as_str).collect();
            words.extend(["--request-id", &id, "--detach"]);
            // What the last round left to be done may have killed it before it was asked for anything.
            wait_until("it to be asked for", PATIENCE, || {
                let asked = self.pair.berth(&words)?;
                killed |= asked.code != 0 && self.revive()?;
                good(asked)
            })
            .with_context(|| command.join(" "))?;
            let record = wait_until("the operation to end", PATIENCE, || {
                killed |= self.revive()?;
                let shown = good(self.pair.berth(&["operation", "show", &id, "-o", "json"])?)?;
                let record: Value = serde_json::from_str(&shown.stdout).context("read JSON")?;
                ensure!(record["state"] != "ACCEPTED", "{record}");
                Ok(record)
            })?;
            ensure!(record["state"] == "DONE", "{}: {record}", command.join(" "));
            self.expect(name, state, &command)?;
        }
        self.pair.kill_agent()?;
        Ok(killed)
    }

    /// The volume stands where the command leaves it, with its data.
    fn expect(&self, name: &str, state: &str, command: &[String]) -> anyhow::Result<()> {
        let found = volume(self.pair, name)?;
        let what = command.join(" ");
        if state == "GONE" {
            ensure!(found.is_none(), "{what}: {found:?}");
            return Ok(());
        }
        let found = found.with_context(|| format!("{what}: no volume"))?;
        ensure!(found["state"] == state, "{what}: {found}");
        if state != "READY" {
            return Ok(());
        }
        let path = found["host_path"].as_str().context("no path")?;
        let rows = Path::new(path).join("rows");
        if command[1] == "create" && command[0] == "volume" {
            std::fs::write(&rows, name).context("write the data")?;
        }
        let text = std::fs::read_to_string(&rows).unwrap_or_default();
        ensure!(text == name, "{what}: the data is {text:?}");
        Ok(())
    }
}

fn sweep(dir: &Path, plan: &Plan) -> anyhow::Result<()> {
    let mut pair = Pair::new(dir)?;
    pair.start_master()?;
    let mut sweep = Sweep { pair: &mut pair, asked: 0, kills: 0 };
    let mut silent = Vec::new();
    for call in CALLS {
        let before = sweep.kills;
        for number in std::iter::successors(Some(1), |number| Some(next(*number))) {
            let name = format!("{}-{number}", call.replace('_', "-"));
            let killed = sweep
                .round(plan, &name, (call, number))
                .with_context(|| format!("killed at {call} {number}"))
                .with_context(|| sweep.pair.log_tails())?;
            if !killed {
                break;
            }
            // strace counts no further.
            ensure!(next(number) < 65_536, "{call} is called more often than can be counted");
        }
        eprintln!("{call}: {} kills", sweep.kills - before);
        if sweep.kills == before {
            silent.push(call);
        }
    }
    eprintln!("{} kills of the whole agent; never called: {silent:?}", sweep.kills);
    // Every life of a volume syncs the ledger, makes, moves and deletes a directory or a subvolume.
    let make = if plan.snapshots { "ioctl" } else { "mkdirat" };
    let needed = ["fdatasync", make, "unlinkat", "fsetxattr"];
    ensure!(!silent.iter().any(|call| needed.contains(call)), "never called: {silent:?}");
    Ok(())
}

#[test]
fn an_agent_killed_at_any_call_on_plain_directories_loses_nothing() -> anyhow::Result<()> {
    if !has("strace") {
        eprintln!("SKIPPED: strace is not installed");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    sweep(dir.path(), &Plan { snapshots: false })
}

#[test]
fn an_agent_killed_at_any_call_on_btrfs_loses_nothing() {
    with_private_mounts(&["mkfs.btrfs", "mount", "strace"], || {
        let base = tempfile::tempdir().expect("a temporary directory");
        let root = base.path().join("cluster");
        mount_new("btrfs", 1024, &root);
        if let Err(error) = sweep(&root, &Plan { snapshots: true }) {
            panic!("{error:#}");
        }
        let _gone = run("umount", &["-l", &root.to_string_lossy()]);
    });
}
