//! Volumes that leave as a stream and come back, on real daemons: what is in them, who is told, what is refused, and kills in
//! between.

use anyhow::{Context, ensure};
use berth_cluster_tests::trees::{listed, source};
use berth_cluster_tests::{Pair, Run, berth_bin, run, wait_until};
use serde_json::Value;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// More than all the queues on the way hold.
const LARGE: usize = 24 << 20;

struct Scene {
    dir: tempfile::TempDir,
    pair: Pair,
}

impl Scene {
    /// A cluster with a volume `data` that holds something of every kind.
    fn new(settings: &str) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let data = dir.path().canonicalize()?.join("srv");
        fs::create_dir_all(data.join("data"))?;
        source(&data.join("data"))?;
        let config = dir.path().join("agent.toml");
        fs::write(&config, format!("import_from = [\"{}\"]\n{settings}", data.display()))?;
        let config = config.display().to_string();
        let mut pair = Pair::new(dir.path())?.with_agent_flags(&["--config", &config]);
        pair.start()?;
        let scene = Self { dir, pair };
        scene.import_directory("data", &data.join("data"), "8MiB")?;
        Ok(scene)
    }

    fn import_directory(&self, name: &str, path: &Path, size: &str) -> anyhow::Result<()> {
        let path = path.display().to_string();
        let fixed = ["volume", "import", name, "--role", "tests", "--agent", "host-1", "--path"];
        self.pair.must(&[&fixed[..], &[&path, "--size", size]].concat()).map(drop)
    }

    /// And one that is larger than all the queues on the way.
    fn with_large(self) -> anyhow::Result<Self> {
        let path = self.at("srv/large");
        fs::create_dir(&path)?;
        fs::write(path.join("rows"), vec![7; LARGE])?;
        self.import_directory("large", &path, "64MiB")?;
        Ok(self)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn file(&self, path: &str) -> String {
        self.at(path).display().to_string()
    }

    fn volume(&self, name: &str) -> anyhow::Result<Option<Value>> {
        let all = self.pair.items(&["volume", "list"])?;
        Ok(all.into_iter().find(|volume| volume["name"] == name))
    }

    fn content(&self, name: &str) -> anyhow::Result<String> {
        let volume = self.volume(name)?.context("it is there")?;
        ensure!(volume["state"] == "READY", "{volume}");
        listed(Path::new(volume["host_path"].as_str().context("host_path")?))
    }

    fn operation(&self, kind: &str) -> anyhow::Result<Value> {
        let all = self.pair.items(&["operation", "list"])?;
        all.into_iter().rfind(|of| of["kind"] == kind).with_context(|| format!("no {kind} yet"))
    }

    /// How the last operation of this kind ended.
    fn ended(&self, kind: &str) -> anyhow::Result<Value> {
        wait_until("the operation to end", PATIENCE, || {
            let operation = self.operation(kind)?;
            ensure!(operation["state"] != "ACCEPTED", "it goes on: {operation}");
            Ok(operation)
        })
        .with_context(|| self.pair.log_tails())
    }

    /// What lies among the volumes of the agent's disk.
    fn on_disk(&self) -> anyhow::Result<Vec<String>> {
        let names = fs::read_dir(self.at("agent/disk/volumes"))?;
        let mut names: Vec<String> =
            names.filter_map(|name| name.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    fn import(&self, name: &str, from: &str, more: &[&str]) -> anyhow::Result<Run> {
        let fixed = ["volume", "import", name, "--role", "tests", "--from", from];
        self.pair.berth(&[&fixed[..], more].concat())
    }

    fn spawn(&self, args: &[&str], stdin: Stdio, stdout: Stdio) -> anyhow::Result<Child> {
        let mut command = Command::new(berth_bin()?);
        command.args(args).env("BERTH_MASTER", self.pair.address()).env("NO_COLOR", "1");
        Ok(command.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn()?)
    }

    /// An export that begins and that nobody reads.
    fn stalled(&self) -> anyhow::Result<Child> {
        let args = ["volume", "export", "large", "--role", "tests", "-"];
        let child = self.spawn(&args, Stdio::null(), Stdio::piped())?;
        wait_until("the export to be under way", PATIENCE, || {
            let operation = self.operation("EXPORT")?;
            let notes = operation["notes"].as_array().context("notes")?;
            let moves =
                notes.iter().any(|note| note.as_str().is_some_and(|n| !n.starts_with("0 B")));
            ensure!(operation["state"] == "ACCEPTED" && moves, "{operation}");
            Ok(())
        })?;
        Ok(child)
    }
}

fn ending(mut child: Child) -> anyhow::Result<(i32, String)> {
    // What it wrote so far has to be read, or it waits for ever.
    drop(child.stdout.take());
    let mut text = String::new();
    child.stderr.take().context("stderr")?.read_to_string(&mut text)?;
    Ok((child.wait()?.code().unwrap_or(-1), text))
}

#[test]
fn a_volume_leaves_as_a_stream_and_comes_back_with_everything() -> anyhow::Result<()> {
    let scene = Scene::new("")?;
    let pair = &scene.pair;
    let before = scene.content("data")?;
    let file = scene.file("data.tar");
    let export = ["volume", "export", "data", "--role", "tests", &file];
    let dry = pair.must(&[&export[..], &["--dry-run"]].concat())?;
    ensure!(dry.stderr.contains("would export volume data"), "{dry:?}");
    ensure!(!scene.at("data.tar").exists(), "a dry run writes nothing");
    let done = pair.must(&[&export[..], &["--reason", "ticket 12", "-o", "json"]].concat())?;
    let told: Value = serde_json::from_str(&done.stdout)?;
    ensure!(told["kind"] == "EXPORT" && told["state"] == "DONE", "{told}");
    let length = fs::metadata(&file)?.len();
    let note = told["notes"][0].as_str().context("a note")?.to_owned();
    ensure!(note.contains(&format!("({length} bytes), SHA-256 ")), "{note}");
    let again = pair.berth(&export)?;
    let there = ["is there already and is not replaced", "INVALID_ARGUMENT", "hint:"];
    again.refused(2, &there)?;
    pair.berth(&[&export[..], &["--dry-run"]].concat())?.refused(2, &there)?;

    match run(Path::new("/bin/tar"), &["tf", &file], &[]) {
        Ok(names) => {
            ensure!(names.code == 0 && names.stderr.is_empty(), "{names:?}");
            ensure!(names.stdout.starts_with("volume\ndata/\n"), "{names:?}");
            ensure!(names.stdout.ends_with("\nmanifest\n"), "{names:?}");
        },
        Err(error) => eprintln!("SKIPPED: there is no tar ({error})"),
    }

    let size = ["--size", "8MiB"];
    let dry = scene.import("copy", &file, &[&size[..], &["--dry-run"]].concat())?;
    ensure!(dry.code == 0 && scene.volume("copy")?.is_none(), "{dry:?}");
    let done = scene.import("copy", &file, &size)?;
    ensure!(done.code == 0, "{done:?}\n{}", pair.log_tails());
    ensure!(scene.content("copy")? == before, "{}\n---\n{before}", scene.content("copy")?);
    ensure!(scene.operation("IMPORT")?["state"] == "DONE", "{}", scene.operation("IMPORT")?);

    // From one to the other, with no file between them.
    let from = ["volume", "export", "copy", "--role", "tests", "-"];
    let mut from = scene.spawn(&from, Stdio::null(), Stdio::piped())?;
    let piped = from.stdout.take().context("stdout")?;
    let to = ["volume", "import", "third", "--role", "tests", "--from", "-", "--size", "8MiB"];
    let to = scene.spawn(&to, piped.into(), Stdio::null())?;
    for child in [from, to] {
        let (code, text) = ending(child)?;
        ensure!(code == 0, "{code}: {text}");
    }
    ensure!(scene.content("third")? == before, "it differs");

    let audit = pair.items(&["audit", "list", "--operation", "EXPORT"])?;
    let entry = audit.iter().find(|entry| entry["reason"] == "ticket 12").context("an entry")?;
    ensure!(entry["object"] == "volume data of role tests", "{entry}");
    ensure!(audit.len() == 4, "two of each, and the trial has none: {audit:?}");
    Ok(())
}

#[test]
fn what_cannot_be_is_refused_and_nothing_of_it_stays() -> anyhow::Result<()> {
    let scene = Scene::new("")?;
    let pair = &scene.pair;
    let (file, bad) = (scene.file("data.tar"), scene.file("bad.tar"));
    pair.must(&["volume", "export", "data", "--role", "tests", &file])?;
    let whole = fs::read(&file)?;
    let before = scene.on_disk()?;
    let reserved = pair.items(&["reservation", "list"])?.len();
    let size = ["--size", "8MiB"];
    let mut flipped = whole.clone();
    let at = flipped.len() / 3;
    flipped[at] ^= 4;
    for damaged in [&flipped[..], &whole[..whole.len() - 1], &whole[..700], b"", b"no archive"] {
        fs::write(&bad, damaged)?;
        let ended = scene.import("no", &bad, &size)?;
        ended.refused(1, &["INVALID_ARCHIVE", "this is no whole export of a volume"])?;
        ensure!(scene.on_disk()? == before, "there is {:?}", scene.on_disk()?);
    }
    let imports = |pair: &Pair| -> anyhow::Result<usize> {
        Ok(pair.items(&["operation", "list"])?.iter().filter(|o| o["kind"] == "IMPORT").count())
    };
    let asked = imports(pair)?;
    for more in [&size[..], &["--size", "8MiB", "--dry-run"]] {
        let absent = scene.import("no", &scene.file("absent"), more)?;
        absent.refused(2, &["opening", "absent", "INVALID_ARGUMENT", "hint:"])?;
        let directory = scene.import("no", &scene.file("srv"), more)?;
        directory.refused(2, &["is a directory", "INVALID_ARGUMENT", "--path"])?;
    }
    ensure!(imports(pair)? == asked, "the cluster was asked");
    for more in [&[][..], &["--dry-run"]] {
        let nowhere = scene.file("nowhere/x.tar");
        let export = ["volume", "export", "data", "--role", "tests", &nowhere];
        let run = pair.berth(&[&export[..], more].concat())?;
        run.refused(2, &["is no directory", "INVALID_ARGUMENT", "hint:"])?;
    }
    if Path::new("/dev/full").exists() {
        let to = fs::OpenOptions::new().write(true).open("/dev/full")?;
        let export = ["volume", "export", "data", "--role", "tests", "-"];
        let (code, text) = ending(scene.spawn(&export, Stdio::null(), to.into())?)?;
        ensure!(code == 1 && text.contains("TRANSFER_FAILED"), "{code}: {text}");
        ensure!(text.contains("No space left") && text.contains("hint:"), "{text}");
    }
    let none = ["volume", "import", "no", "--role", "tests", "--size", "8MiB"];
    pair.berth(&none)?.refused(2, &["--path <DIR>", "--from <FILE>"])?;
    let both = ["--path", "/srv", "--agent", "host-1", "--size", "8MiB"];
    scene.import("no", &file, &both)?.refused(2, &["cannot be used with"])?;
    let detached = ["volume", "export", "data", "--role", "tests", &bad, "--detach"];
    pair.berth(&detached)?.refused(2, &["has to wait for it", "INVALID_ARGUMENT", "hint:"])?;
    let unknown = ["volume", "export", "data", "--snapshot", "none", &scene.file("x")];
    pair.berth(&unknown)?.refused(3, &["UNKNOWN_SNAPSHOT"])?;
    ensure!(pair.items(&["reservation", "list"])?.len() == reserved, "nothing stays reserved");
    // The name is free, and what is whole goes in.
    let done = scene.import("no", &file, &size)?;
    ensure!(done.code == 0, "{done:?}");
    Ok(())
}

/// Begins an import of a large export and has it stand still half way.
fn half_an_import(scene: &Scene, id: &str) -> anyhow::Result<Child> {
    let file = scene.file("large.tar");
    if !scene.at("large.tar").exists() {
        scene.pair.must(&["volume", "export", "large", "--role", "tests", &file])?;
    }
    let fixed = ["volume", "import", "half", "--role", "tests", "--size", "64MiB", "--from", "-"];
    let args = [&fixed[..], &["--request-id", id]].concat();
    let mut child = scene.spawn(&args, Stdio::piped(), Stdio::null())?;
    let whole = fs::read(&file)?;
    let mut to = child.stdin.take().context("stdin")?;
    to.write_all(&whole[..LARGE / 2])?;
    // Kept open: nobody says that this was all.
    child.stdin = Some(to);
    wait_until("half an import", PATIENCE, || {
        let half = scene.on_disk()?.into_iter().find(|name| name.starts_with('.'));
        let half = half.context("none yet")?;
        let found = fs::metadata(scene.at("agent/disk/volumes").join(half).join("rows"))?;
        ensure!(found.len() > 1 << 20, "it has only begun");
        Ok(())
    })?;
    Ok(child)
}

#[test]
fn a_kill_while_a_volume_comes_in_fails_the_import_and_leaves_nothing() -> anyhow::Result<()> {
    let mut scene = Scene::new("transfer_idle = \"5s\"\n")?.with_large()?;
    for (round, kills_agent) in [(1, true), (2, false)] {
        let before = scene.on_disk()?;
        let id = format!("{round}123456789abcdef0123456789abcdef");
        let mut child = half_an_import(&scene, &id)?;
        if kills_agent {
            scene.pair.kill_agent()?;
            scene.pair.start_agent()?;
        } else {
            scene.pair.kill_master()?;
            scene.pair.start_master()?;
        }
        scene.pair.wait_registered()?;
        drop(child.stdin.take());
        let (code, text) = ending(child)?;
        ensure!(code != 0, "{text}");
        let ended = scene.ended("IMPORT")?;
        ensure!(ended["state"] == "FAILED", "{ended}");
        ensure!(ended["error"]["code"] == "TRANSFER_FAILED", "{ended}");
        ensure!(scene.on_disk()? == before, "there is {:?}", scene.on_disk()?);
        // The id stands for what became of it, and another one does it.
        let file = scene.file("large.tar");
        let again = scene.import("half", &file, &["--size", "64MiB", "--request-id", &id])?;
        again.refused(1, &["TRANSFER_FAILED"])?;
    }
    let done = scene.import("half", &scene.file("large.tar"), &["--size", "64MiB"])?;
    ensure!(done.code == 0, "{done:?}\n{}", scene.pair.log_tails());
    ensure!(scene.content("half")? == scene.content("large")?, "it differs");
    Ok(())
}

#[test]
fn whoever_stands_still_or_goes_ends_the_stream_and_holds_no_place() -> anyhow::Result<()> {
    let scene = Scene::new("transfer_idle = \"2s\"\n")?.with_large()?;
    // More than an agent has places.
    for _ in 0..5 {
        let child = scene.stalled()?;
        let ended = scene.ended("EXPORT")?;
        ensure!(ended["error"]["code"] == "TRANSFER_FAILED", "{ended}");
        let (code, text) = ending(child)?;
        ensure!(code != 0, "{text}");
    }
    let mut gone = scene.stalled()?;
    gone.kill()?;
    gone.wait()?;
    let ended = scene.ended("EXPORT")?;
    ensure!(ended["error"]["code"] == "TRANSFER_FAILED", "{ended}");
    let before = scene.on_disk()?;
    let mut sender = half_an_import(&scene, "3123456789abcdef0123456789abcdef")?;
    let ended = scene.ended("IMPORT")?;
    ensure!(ended["error"]["code"] == "TRANSFER_FAILED", "{ended}");
    ensure!(
        ended["error"]["message"].as_str().is_some_and(|m| m.contains("nothing moved")),
        "{ended}"
    );
    ensure!(scene.on_disk()? == before, "there is {:?}", scene.on_disk()?);
    sender.kill()?;
    sender.wait()?;
    scene.pair.must(&["volume", "export", "large", "--role", "tests", &scene.file("whole.tar")])?;
    Ok(())
}

#[test]
fn an_export_ends_with_whatever_carries_it_and_holds_nothing_back() -> anyhow::Result<()> {
    let mut scene = Scene::new("")?.with_large()?;
    for kills_agent in [true, false] {
        let child = scene.stalled()?;
        if kills_agent {
            scene.pair.kill_agent()?;
            scene.pair.start_agent()?;
        } else {
            scene.pair.kill_master()?;
            scene.pair.start_master()?;
        }
        scene.pair.wait_registered()?;
        let ended = scene.ended("EXPORT")?;
        ensure!(ended["error"]["code"] == "TRANSFER_FAILED", "{ended}");
        let (code, text) = ending(child)?;
        ensure!(code != 0, "{text}");
    }
    // The volume goes at once, although somebody has begun to take it.
    let mut child = scene.stalled()?;
    let begun = Instant::now();
    scene.pair.must(&["volume", "delete", "large", "--role", "tests", "--yes"])?;
    ensure!(begun.elapsed() < Duration::from_secs(30), "it waited {:?}", begun.elapsed());
    ensure!(scene.volume("large")?.is_none(), "it is still there");
    child.kill()?;
    child.wait()?;
    let ended = scene.ended("EXPORT")?;
    ensure!(ended["error"]["code"] == "TRANSFER_FAILED", "{ended}");
    Ok(())
}
