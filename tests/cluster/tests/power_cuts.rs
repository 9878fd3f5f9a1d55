//! The power goes off under a whole cluster: real daemons on a real file system, on a drive that loses what it had not
//! been told to flush. What was acknowledged is there afterwards.

#![expect(clippy::print_stderr, reason = "how much was tried is part of the result")]

use anyhow::{Context, ensure};
use berth_cluster_tests::{Pair, Run, wait_until};
use berth_host_tests::host::{mount_image, run, skip, with_private_mounts};
use berth_host_tests::recorded::{Recorded, Recording};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// How often the power goes off: a few times in every test run, more with BERTH_CRASH=2.
fn cuts() -> usize {
    let many = std::env::var("BERTH_CRASH").is_ok_and(|effort| effort != "1");
    if many { 100 } else { 8 }
}

/// What users may rely on at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Promised {
    /// Each volume's state, and its data while it is live.
    volumes: BTreeMap<String, (String, Option<String>)>,
    snapshots: BTreeSet<String>,
}

/// The promises, each with the moment from which it holds.
type Promises = Vec<(usize, Promised)>;

fn good(run: Run) -> anyhow::Result<Run> {
    ensure!(run.code == 0, "ended with {}: {}", run.code, run.stderr);
    Ok(run)
}

/// What is there now.
fn found(pair: &Pair) -> anyhow::Result<Promised> {
    let mut found = Promised::default();
    for volume in
        [pair.items(&["volume", "list"])?, pair.items(&["volume", "trash", "list"])?].concat()
    {
        let state = volume["state"].as_str().context("no state")?.to_owned();
        let path = volume["host_path"].as_str().unwrap_or_default();
        let rows = std::fs::read_to_string(Path::new(path).join("rows")).ok();
        let name = volume["name"].as_str().context("no name")?.to_owned();
        let rows = rows.filter(|_| state == "READY");
        found.volumes.insert(name, (state, rows));
    }
    for snapshot in pair.items(&["snapshot", "list"])? {
        let is_ready = snapshot["state"] == "READY";
        let name = snapshot["name"].as_str().context("no name")?;
        // A roll back names its own.
        if is_ready && !name.starts_with("before-rollback-") {
            found.snapshots.insert(name.to_owned());
        }
    }
    Ok(found)
}

/// A cluster's life, recorded.
struct Life<'a> {
    pair: Pair,
    recording: &'a Recording,
    promised: Promised,
    promises: Promises,
}

impl Life<'_> {
    fn keep(&mut self) {
        self.promises.push((self.recording.now(), self.promised.clone()));
    }
    fn ask(&mut self, words: &str) -> anyhow::Result<()> {
        let words: Vec<&str> = words.split(' ').collect();
        good(self.pair.berth(&words)?).with_context(|| words.join(" "))?;
        Ok(())
    }
    fn state(&mut self, words: &str, name: &str, state: Option<&str>) -> anyhow::Result<()> {
        self.ask(words)?;
        let rows = self.promised.volumes.remove(name).and_then(|(_, rows)| rows);
        if let Some(state) = state {
            self.promised.volumes.insert(name.to_owned(), (state.to_owned(), rows));
        }
        self.keep();
        Ok(())
    }
    fn write(&mut self, name: &str, rows: &str) -> anyhow::Result<()> {
        let volumes = self.pair.items(&["volume", "list"])?;
        let volume = volumes.iter().find(|v| v["name"] == name).context("no such volume")?;
        let path = Path::new(volume["host_path"].as_str().context("no path")?).to_owned();
        // As a database would: a new file, synced, in the place of the old one, synced.
        let mut file = File::create(path.join("new"))?;
        file.write_all(rows.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(path.join("new"), path.join("rows"))?;
        File::open(&path)?.sync_all()?;
        let entry = self.promised.volumes.get_mut(name).context("not promised")?;
        entry.1 = Some(rows.to_owned());
        self.keep();
        Ok(())
    }
}

fn live(dir: &Path, recording: &Recording, kind: &str) -> anyhow::Result<Promises> {
    let mut pair = Pair::new(dir)?;
    pair.start()?;
    let mut life =
        Life { pair, recording, promised: Promised::default(), promises: Promises::new() };
    life.state("volume create a --role tests --size 16MiB", "a", Some("READY"))?;
    life.write("a", "one")?;
    life.state("volume create b --role tests --size 16MiB", "b", Some("READY"))?;
    life.write("b", "kept")?;
    if kind == "btrfs" {
        life.ask("snapshot create a --role tests --name s")?;
        life.promised.snapshots.insert("s".to_owned());
        life.keep();
        life.write("a", "two")?;
    }
    life.state("volume resize a --role tests --size 32MiB", "a", Some("READY"))?;
    life.state("volume delete b --yes", "b", Some("TRASHED"))?;
    // Its data is looked at again once it is out of the trash.
    if kind == "btrfs" {
        life.ask("volume rollback a --to s --yes")?;
        life.promised.volumes.insert("a".into(), ("READY".into(), Some("one".into())));
        life.keep();
    }
    life.state("volume trash restore b", "b", Some("READY"))?;
    life.write("b", "again")?;
    life.state("volume delete b --yes", "b", Some("TRASHED"))?;
    life.state("volume trash purge b --yes --confirm b", "b", None)?;
    life.state("volume create c --role tests --size 16MiB", "c", Some("READY"))?;
    life.write("c", "three")?;
    life.pair.kill_both()?;
    Ok(life.promises)
}

/// Whether what is there is what was promised; of data that was being written meanwhile, nothing is known.
fn holds(found: &Promised, promised: &Promised, next: Option<&Promised>) -> bool {
    let same = |wanted: &Promised| {
        let rows = |name: &String| -> BTreeSet<Option<&String>> {
            [Some(promised), next]
                .into_iter()
                .flatten()
                .filter_map(|p| Some(p.volumes.get(name)?.1.as_ref()))
                .collect()
        };
        found.snapshots == wanted.snapshots
            && found.volumes.keys().eq(wanted.volumes.keys())
            && wanted.volumes.iter().all(|(name, (state, _))| {
                let (now, data) = &found.volumes[name];
                now == state && (state != "READY" || rows(name).contains(&data.as_ref()))
            })
    };
    same(promised) || next.is_some_and(same)
}

/// Starts the cluster on what is left, and looks.
fn check(dir: &Path, promises: &Promises, moment: usize) -> anyhow::Result<()> {
    let past = promises.iter().rposition(|(at, _)| *at <= moment);
    let nothing = Promised::default();
    let promised = past.map_or(&nothing, |at| &promises[at].1);
    let next = promises.get(past.map_or(0, |at| at + 1)).map(|(_, promised)| promised);
    let mut pair = Pair::new(dir)?;
    pair.start()?;
    let settled = wait_until("nothing to be under way", PATIENCE, || {
        let found = found(&pair)?;
        let moving =
            found.volumes.values().any(|(state, _)| state == "CREATING" || state == "TOMBSTONED");
        let operations = pair.items(&["operation", "list"])?;
        let pending = operations.iter().any(|operation| operation["state"] == "ACCEPTED");
        ensure!(!moving && !pending, "{found:?} {operations:?}");
        Ok(found)
    })
    .with_context(|| pair.log_tails())?;
    ensure!(
        holds(&settled, promised, next),
        "found {settled:?}\npromised {promised:?}\nor {next:?}\n{}",
        pair.log_tails()
    );
    pair.kill_both()
}

/// A small generator is enough, and says the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        // Marsaglia's xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or_default() % sides.max(1)
    }
}

fn record(base: &Path, kind: &str) -> anyhow::Result<(PathBuf, Recorded, Promises)> {
    let (content, disk) = (base.join("content"), base.join("disk"));
    File::create(&content)?.set_len(512 << 20)?;
    let _made = run(&format!("mkfs.{kind}"), &["-q", &content.to_string_lossy()]);
    let start = base.join("start");
    copy(&content, &start);
    std::fs::create_dir(&disk)?;
    let recording = Recording::start(&content, &base.join("recorded"))?;
    let _mounted = run("mount", &[recording.device(), &disk.to_string_lossy()]);
    std::fs::create_dir(disk.join("cluster"))?;
    let promises = live(&disk.join("cluster"), &recording, kind);
    let _gone = run("umount", &[&*disk.to_string_lossy()]);
    let recorded = recording.stop()?;
    Ok((start, recorded, promises?))
}

fn copy(from: &Path, to: &Path) {
    let names = (from.to_string_lossy(), to.to_string_lossy());
    let _copied = run("cp", &["--sparse=always", &names.0, &names.1]);
}

fn power_goes_off(kind: &str) -> anyhow::Result<()> {
    let base = tempfile::tempdir()?;
    let (start, recorded, promises) = record(base.path(), kind)?;
    ensure!(recorded.flushes() > promises.len(), "only {} flushes", recorded.flushes());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (first, mut lost) = (promises.first().map_or(0, |(at, _)| *at), 0);
    let disk = base.path().join("disk");
    for number in 0..cuts() {
        // At the moment of an answer, or right before a flush, when much is still in the drive's cache; once when most is.
        let moment = match number {
            1 => recorded.fullest_after(first),
            even if even % 2 == 0 => promises[dice.below(promises.len())].0,
            _odd => recorded.flush_after(first + dice.below(recorded.len() - first)),
        };
        let image = base.path().join("cut");
        copy(&start, &image);
        lost += recorded.cut(&image, moment, |sides| dice.below(sides))?;
        mount_image(&image.to_string_lossy(), &disk);
        let checked = check(&disk.join("cluster"), &promises, moment).with_context(|| {
            format!("{kind}: power cut {number} at {moment} of {}", recorded.len())
        });
        let _gone = run("umount", &[&*disk.to_string_lossy()]);
        checked?;
    }
    eprintln!(
        "{kind}: {} power cuts in {} writes with {} flushes, {lost} writes lost or torn, {} promises kept",
        cuts(),
        recorded.len() - recorded.flushes(),
        recorded.flushes(),
        promises.len()
    );
    ensure!(lost > 0, "no cut lost anything");
    Ok(())
}

fn on(kind: &'static str) {
    with_private_mounts(&["mount", "losetup", &format!("mkfs.{kind}")], || {
        if !Path::new("/dev/fuse").exists() {
            skip("there is no /dev/fuse to record a disk with");
            return;
        }
        if let Err(error) = power_goes_off(kind) {
            panic!("{error:#}");
        }
    });
}

#[test]
fn acknowledged_survives_power_cuts_on_ext4() {
    on("ext4");
}

#[test]
fn acknowledged_survives_power_cuts_on_xfs() {
    on("xfs");
}

#[test]
fn acknowledged_survives_power_cuts_on_btrfs() {
    on("btrfs");
}
