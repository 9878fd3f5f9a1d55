//! The master, as a whole process with all its threads, killed at each system call that changes something: what it
//! had acknowledged is there after the next start, and what it had not can be asked for again.

use anyhow::{Context, bail, ensure};
use berth_cluster_tests::{Pair, wait_until};
use berth_host_tests::host::has;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// The calls by which the master changes its registry.
const CALLS: [&str; 10] = [
    "fsync",
    "fdatasync",
    "write",
    "pwrite64",
    "rename",
    "renameat",
    "unlink",
    "mkdir",
    "ftruncate",
    "fallocate",
];
/// Without these there is no registry that is durable.
const NEEDED: [&str; 4] = ["fsync", "fdatasync", "write", "rename"];

/// Which call of each kind is killed after this one: each with BERTH_CRASH=2, else ever fewer.
fn next(number: usize) -> usize {
    let every = std::env::var("BERTH_CRASH").is_ok_and(|effort| effort != "1");
    if every { number + 1 } else { number * 2 + 1 }
}

/// What one round asks for, with the state in which it leaves the volume, in this order.
fn steps(name: &str) -> Vec<(String, &'static str)> {
    vec![
        (format!("volume create {name} --role tests --size 16MiB"), "READY"),
        (format!("volume resize {name} --role tests --size 32MiB"), "READY"),
        (format!("volume delete {name} --yes"), "TRASHED"),
        (format!("volume trash restore {name}"), "READY"),
        (format!("volume create {name}-b --role tests --size 8MiB"), "READY"),
        (format!("volume delete {name}-b --yes"), "TRASHED"),
        (format!("volume trash purge {name}-b --yes --confirm {name}-b"), "GONE"),
    ]
}

/// One cluster whose master is killed again and again.
struct Sweep {
    pair: Pair,
    /// For request ids.
    asked: u64,
    kills: u32,
    /// What was acknowledged: volumes by name, with their states.
    acknowledged: BTreeMap<String, &'static str>,
}

impl Sweep {
    fn new(dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).context("create a folder")?;
        let mut pair = Pair::new(dir)?;
        pair.start_agent()?;
        Ok(Self { pair, asked: 0, kills: 0, acknowledged: BTreeMap::new() })
    }

    /// A killed master starts again, by itself, and has everything that was acknowledged.
    fn revive(&mut self) -> anyhow::Result<bool> {
        if !self.pair.master_is_gone()? {
            return Ok(false);
        }
        self.pair.wrap_master(&[]);
        self.pair.start_master()?;
        self.pair.wait_registered()?;
        self.kills += 1;
        Ok(true)
    }

    /// Every volume is in the state that was acknowledged; the one of that name may be between two.
    fn check(&self, but: &str) -> anyhow::Result<()> {
        let mut found = BTreeMap::new();
        for list in [&["volume", "list"][..], &["volume", "trash", "list"]] {
            for volume in self.pair.items(list)? {
                let name = volume["name"].as_str().context("no name")?.to_owned();
                let state = volume["state"].as_str().context("no state")?.to_owned();
                let path = volume["host_path"].as_str().unwrap_or_default();
                let there = state != "READY" || Path::new(path).is_dir();
                ensure!(there, "{name} is READY, and there is nothing at {path:?}");
                found.insert(name, state);
            }
        }
        found.remove(but);
        let mut wanted = self.acknowledged.clone();
        wanted.remove(but);
        wanted.retain(|_name, state| *state != "GONE");
        let wanted: BTreeMap<_, _> =
            wanted.into_iter().map(|(name, state)| (name, state.to_owned())).collect();
        ensure!(found == wanted, "acknowledged {wanted:?}, found {found:?}");
        Ok(())
    }

    /// Asks until it is acknowledged, and then until it is done. True when the master was killed meanwhile.
    fn ask(&mut self, command: &str) -> anyhow::Result<bool> {
        self.asked += 1;
        let id = format!("{:032x}", self.asked);
        let mut words: Vec<&str> = command.split(' ').collect();
        let name = words.iter().copied().rfind(|word| word.contains("-call-"));
        let name = name.context("a command without a volume")?.to_owned();
        words.extend(["--request-id", &id, "--detach"]);
        let mut killed = false;
        wait_until("it to be acknowledged", PATIENCE, || {
            let run = self.pair.berth(&words)?;
            if run.code == 0 {
                return Ok(());
            }
            if self.revive()? {
                killed = true;
                self.check(&name)?;
            }
            bail!("ended with {}: {}", run.code, run.stderr)
        })?;
        let record = wait_until("the operation to end", PATIENCE, || {
            if self.revive()? {
                killed = true;
                self.check(&name)?;
            }
            let shown = self.pair.berth(&["operation", "show", &id, "-o", "json"])?;
            ensure!(shown.code == 0, "ended with {}: {}", shown.code, shown.stderr);
            let record: Value = serde_json::from_str(&shown.stdout).context("read JSON")?;
            ensure!(record["state"] != "ACCEPTED", "{record}");
            Ok(record)
        })?;
        ensure!(record["state"] == "DONE", "{command}: {record}");
        Ok(killed)
    }

    /// One master under an injection, from its start to the end of the plan. True when it was killed.
    fn round(&mut self, name: &str, (call, number): (&str, usize)) -> anyhow::Result<bool> {
        let (traced, injection) =
            (format!("trace={call}"), format!("inject={call}:signal=KILL:when={number}"));
        // With -D the process that was started is the master, and strace its grandchild.
        let quiet = ["strace", "-D", "-f", "-o", "/dev/null", "-e", &traced, "-e", &injection];
        self.pair.wrap_master(&quiet);
        self.pair.start_master()?;
        let mut killed = wait_until("the master to answer or be gone", PATIENCE, || {
            let gone = self.pair.master_is_gone()?;
            ensure!(gone || self.pair.is_registered()?, "neither");
            Ok(gone)
        })?;
        if killed {
            self.revive()?;
            self.check("")?;
        }
        for (command, state) in steps(name) {
            killed |= self.ask(&command).with_context(|| command.clone())?;
            let named = command.split(' ').rfind(|word| word.contains("-call-"));
            self.acknowledged.insert(named.unwrap_or_default().to_owned(), state);
            // It may be killed between the answer and the look as well.
            wait_until("a look at all volumes", PATIENCE, || {
                killed |= self.revive()?;
                self.check("")
            })
            .with_context(|| format!("after {command}"))?;
        }
        self.pair.kill_master()?;
        Ok(killed)
    }
}

#[test]
fn a_master_killed_at_any_call_forgets_nothing_that_it_acknowledged() -> anyhow::Result<()> {
    if !has("strace") {
        eprintln!("SKIPPED: strace is not installed");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let (mut kills, mut silent) = (0, Vec::new());
    for call in CALLS {
        // Each on a fresh registry, so that its making is killed as well.
        let mut sweep = Sweep::new(&dir.path().join(call))?;
        for number in std::iter::successors(Some(1), |number| Some(next(*number))) {
            let name = format!("{call}-call-{number}");
            let killed = sweep
                .round(&name, (call, number))
                .with_context(|| format!("killed at {call} {number}"))
                .with_context(|| sweep.pair.log_tails())?;
            if !killed {
                break;
            }
            // strace counts no further.
            ensure!(next(number) < 65_536, "{call} is called more often than can be counted");
        }
        eprintln!("{call}: {} kills", sweep.kills);
        kills += sweep.kills;
        if sweep.kills == 0 {
            silent.push(call);
        }
    }
    eprintln!("{kills} kills of the whole master; never called: {silent:?}");
    ensure!(!silent.iter().any(|call| NEEDED.contains(call)), "never called: {silent:?}");
    Ok(())
}
