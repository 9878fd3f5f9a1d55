//! Directories that become volumes, on real daemons: what is reported before, what is copied, what is refused, and kills in
//! between.

use anyhow::{Context, ensure};
use berth_cluster_tests::trees::{listed, source};
use berth_cluster_tests::{Pair, Run, run, wait_until};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn volume(pair: &Pair, name: &str) -> anyhow::Result<Option<Value>> {
    let all = pair.items(&["volume", "list"])?;
    Ok(all.into_iter().find(|volume| volume["name"] == name))
}

fn place(volume: &Value) -> anyhow::Result<PathBuf> {
    Ok(PathBuf::from(volume["host_path"].as_str().context("host_path")?))
}

/// What lies among the volumes of the agent's disk.
fn on_disk(dir: &Path) -> anyhow::Result<Vec<String>> {
    let names = fs::read_dir(dir.join("agent/disk/volumes"))?;
    Ok(names.filter_map(|name| name.ok()?.file_name().into_string().ok()).collect())
}

struct Scene {
    dir: tempfile::TempDir,
    pair: Pair,
    source: PathBuf,
}

impl Scene {
    fn new() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let data = dir.path().canonicalize()?.join("srv");
        let source = data.join("data");
        source_dir(&source)?;
        let allowed = data.display().to_string();
        let mut pair = Pair::new(dir.path())?.with_agent_flags(&["--import-from", &allowed]);
        pair.start()?;
        Ok(Self { dir, pair, source })
    }

    fn args<'a>(&self, name: &'a str, path: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let fixed = ["volume", "import", name, "--role", "tests", "--agent", "host-1", "--path"];
        [&fixed[..], &[path], more].concat()
    }

    fn import(&self, name: &str, path: &Path, more: &[&str]) -> anyhow::Result<Run> {
        let path = path.display().to_string();
        self.pair.berth(&self.args(name, &path, more))
    }
}

fn source_dir(at: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(at)?;
    source(at)
}

#[test]
fn a_directory_is_reported_then_copied_with_everything_and_stays_as_it_is() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let (pair, source) = (&scene.pair, &scene.source);
    let before = listed(source)?;
    let dry = scene.import("data", source, &["--size", "8MiB", "--dry-run", "-o", "json"])?;
    ensure!(dry.code == 0, "{dry:?}");
    let told: Value = serde_json::from_str(&dry.stdout)?;
    for (key, wanted) in [
        ("files", 3),
        ("directories", 3),
        ("links", 2),
        ("pipes", 1),
        ("hard_links", 1),
        ("sparse_files", 1),
        ("devices", 0),
        ("size_bytes", 8 << 20),
    ] {
        ensure!(told[key] == wanted, "{key} of {told}");
    }
    ensure!(told["fits"] == true && told["refusals"] == serde_json::json!([]), "{told}");
    ensure!(told["length_bytes"].as_u64().is_some_and(|length| length > 64 << 20), "{told}");
    ensure!(told["copy_bytes"].as_u64().is_some_and(|bytes| bytes < 8 << 20), "{told}");
    ensure!(volume(pair, "data")?.is_none(), "a dry run makes nothing");

    let done = scene.import("data", source, &["--size", "8MiB"])?;
    ensure!(done.code == 0, "{done:?}\n{}", pair.log_tails());
    let made = volume(pair, "data")?.context("it is there")?;
    ensure!(made["state"] == "READY", "{made}");
    let copy = place(&made)?;
    ensure!(listed(&copy)? == before, "{}\n---\n{before}", listed(&copy)?);
    ensure!(listed(source)? == before, "the source has changed");
    let sparse = fs::metadata(copy.join("sparse"))?;
    ensure!(sparse.blocks() * 512 < 1 << 20, "a hole was filled: {sparse:?}");
    let operations = pair.items(&["operation", "list"])?;
    let import = operations.iter().find(|of| of["kind"] == "IMPORT").context("it is listed")?;
    ensure!(import["state"] == "DONE", "{import}");
    Ok(())
}

/// What an agent mounted for its images outlives it; a test takes it away when its daemons are gone.
struct Unmounted(PathBuf);

impl Drop for Unmounted {
    fn drop(&mut self) {
        let path = self.0.join("d/.mounts").display().to_string();
        // Nothing was mounted where there is no such driver.
        run(Path::new("/bin/umount"), &["-l", &path], &[]).ok();
    }
}

/// Which of these drivers a disk of this machine can have.
fn can_have(driver: &str) -> anyhow::Result<bool> {
    let dir = tempfile::tempdir()?;
    let disk = format!("root={}/d,name=own,driver={driver},size=1GiB", dir.path().display());
    fs::create_dir(dir.path().join("d"))?;
    let _unmounted = Unmounted(dir.path().to_owned());
    let mut pair = Pair::new(dir.path())?.with_agent_flags(&["--disk", &disk]);
    pair.start()?;
    let disks = pair.items(&["disk", "list"])?;
    let own = disks.iter().find(|disk| disk["name"] == "own").context("it is declared")?;
    Ok(own["health"] == "ok")
}

#[test]
fn a_directory_is_copied_into_a_file_system_of_its_own() -> anyhow::Result<()> {
    let driver = "image:ext4";
    if !can_have(driver)? {
        eprintln!("SKIPPED: no disk of this machine can have the driver {driver}");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let source = dir.path().canonicalize()?.join("srv/data");
    source_dir(&source)?;
    fs::create_dir(dir.path().join("d"))?;
    let disk = format!("root={}/d,name=own,driver={driver},size=1GiB", dir.path().display());
    let allowed = source.display().to_string();
    let flags = ["--import-from", &allowed, "--disk", &disk];
    let _unmounted = Unmounted(dir.path().to_owned());
    let mut pair = Pair::new(dir.path())?.with_agent_flags(&flags);
    pair.start()?;
    let fixed =
        ["volume", "import", "data", "--role", "tests", "--agent", "host-1", "--disk", "own"];
    let small = [&fixed[..], &["--path", &allowed, "--size", "64MiB"]].concat();
    pair.must(&small)?;
    let made = volume(&pair, "data")?.context("it is there")?;
    ensure!(made["state"] == "READY" && made["driver"] == driver, "{made}");
    let same = listed(&place(&made)?)? == listed(&source)?;
    pair.must(&["volume", "delete", "data", "--yes"])?;
    ensure!(same, "the copy differs");
    Ok(())
}

#[test]
fn what_does_not_fit_or_must_not_be_read_is_refused_and_nothing_of_it_stays() -> anyhow::Result<()>
{
    let scene = Scene::new()?;
    let (pair, source, dir) = (&scene.pair, &scene.source, scene.dir.path().canonicalize()?);
    let size = ["--size", "8MiB"];
    let elsewhere = dir.join("elsewhere");
    fs::create_dir(&elsewhere)?;
    scene.import("no", &elsewhere, &size)?.refused(5, &["IMPORT_NOT_ALLOWED", "import_from"])?;
    let trial = ["--size", "8MiB", "--dry-run"];
    scene.import("no", &elsewhere, &trial)?.refused(5, &["IMPORT_NOT_ALLOWED", "import_from"])?;
    let link = dir.join("srv/way");
    symlink(&elsewhere, &link)?;
    scene.import("no", &link, &size)?.refused(5, &["IMPORT_NOT_ALLOWED", "symbolic link"])?;
    fs::remove_file(&link)?;
    scene.import("no", &dir.join("srv/../elsewhere"), &size)?.refused(2, &["the part .."])?;
    scene.import("no", &dir.join("srv/absent"), &size)?.refused(4, &["is not there"])?;

    fs::write(source.join("large"), vec![1; 9 << 20])?;
    for more in [&size[..], &trial] {
        scene.import("no", source, more)?.refused(4, &["IMPORT_REFUSED", "does not fit"])?;
    }
    fs::remove_file(source.join("large"))?;

    let open = File::options().append(true).open(source.join("base/rows"))?;
    let mut writer = Command::new("sleep").arg("60").stdin(Stdio::null()).stdout(open).spawn()?;
    let dry = scene.import("no", source, &["--size", "8MiB", "--dry-run", "-o", "json"])?;
    let real = scene.import("no", source, &size)?;
    writer.kill()?;
    writer.wait()?;
    let told: Value = serde_json::from_str(&dry.stdout)?;
    ensure!(
        told["open_by"][0]["command"] == "sleep" && told["open_by"][0]["writes"] == true,
        "{told}"
    );
    real.refused(4, &["IMPORT_REFUSED", "open for writing", "sleep"])?;

    let left = on_disk(&dir)?;
    ensure!(left.is_empty(), "there is {left:?}");
    ensure!(pair.items(&["reservation", "list"])?.is_empty(), "nothing stays reserved");
    // The name is free: the same command does it once nothing speaks against it.
    let done = scene.import("no", source, &size)?;
    ensure!(done.code == 0, "{done:?}");
    Ok(())
}

#[test]
fn an_agent_that_is_killed_while_it_copies_begins_again_and_half_a_copy_is_never_ready()
-> anyhow::Result<()> {
    let mut scene = Scene::new()?;
    let many = scene.source.join("many");
    fs::create_dir(&many)?;
    for number in 0..3_000 {
        fs::write(many.join(format!("{number}")), vec![7; 20_000])?;
    }
    let id = "0123456789abcdef0123456789abcdef";
    let path = scene.source.display().to_string();
    let args = scene.args("data", &path, &["--size", "200MiB", "--detach", "--request-id", id]);
    scene.pair.must(&args)?;
    let dir = scene.dir.path().to_owned();
    let half = wait_until("a half copy", PATIENCE, || {
        let names = on_disk(&dir)?;
        let half = names.iter().find(|name| name.starts_with('.')).context("none yet")?;
        let half = dir.join("agent/disk/volumes").join(half);
        ensure!(half.join("many").exists(), "it has only begun");
        Ok(half)
    })?;
    scene.pair.kill_both()?;
    ensure!(half.exists(), "it was cut off half way");
    scene.pair.start()?;
    scene.pair.must(&["operation", "wait", id])?;
    let made = volume(&scene.pair, "data")?.context("it is there")?;
    ensure!(made["state"] == "READY", "{made}");
    ensure!(listed(&place(&made)?)? == listed(&scene.source)?, "the copy differs");
    let names = on_disk(&dir)?;
    ensure!(names.len() == 1 && !names[0].starts_with('.'), "{names:?}");

    // Killed again, and the source has something by then that cannot be taken: nothing of it stays.
    let id = "1123456789abcdef0123456789abcdef";
    let args = scene.args("more", &path, &["--size", "200MiB", "--detach", "--request-id", id]);
    scene.pair.must(&args)?;
    wait_until("another half copy", PATIENCE, || {
        ensure!(on_disk(&dir)?.iter().any(|name| name.starts_with('.')), "none yet");
        Ok(())
    })?;
    scene.pair.kill_agent()?;
    fs::write(scene.source.join("large"), vec![1; 250 << 20])?;
    scene.pair.start_agent()?;
    scene.pair.wait_registered()?;
    let ended = scene.pair.berth(&["operation", "wait", id])?;
    ended.refused(4, &["IMPORT_REFUSED", "does not fit"])?;
    let names = on_disk(&dir)?;
    ensure!(names.len() == 1 && !names[0].starts_with('.'), "{names:?}");
    Ok(())
}
