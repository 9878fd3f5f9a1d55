//! Disks that are added to an agent while its tasks run, and removed, against real processes that are killed; on the way, a
//! task of a service that sees its volume read-only.

use anyhow::{Context, ensure};
use berth_cluster_tests::{Pair, berth_bin, is_alive, wait_until};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);
const SERVICE: &str = r#"
apiVersion: berth/v1
kind: Service
name: writer
role: storage/tests
pods:
  writer:
    resources: { cpu: 0.1, memory: 32MiB }
    volumes:
      data: { size: 16MiB, path: data }
    tasks:
      fill:
        goal: once
        scope: volume
        cmd: 'echo 1 > data/kept'
      look:
        goal: once
        scope: config
        volumes: { data: { mode: RO } }
        cmd: |
          test "$(cat data/kept)" = 1
          if echo 2 > data/kept; then exit 1; fi 2> refused
          cat refused
          grep -q 'Read-only file system' refused
      write:
        goal: running
        cmd: 'echo $$ > data/pid; exec sleep 1000'
"#;

/// A master, and an agent that lets disks be added below `srv`.
fn pair(dir: &Path) -> anyhow::Result<Pair> {
    fs::set_permissions(dir, PermissionsExt::from_mode(0o755))?;
    place(dir, "d1")?;
    let below = dir.join("srv").display().to_string();
    let mut pair = Pair::new(dir)?.with_agent_flags(&["--disk-add-below", &below]);
    pair.start()?;
    Ok(pair)
}

fn place(dir: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let root = dir.join("srv").join(name);
    fs::create_dir_all(&root)?;
    for one in [dir.join("srv"), root.clone()] {
        fs::set_permissions(one, PermissionsExt::from_mode(0o755))?;
    }
    Ok(root)
}

fn disk(pair: &Pair, name: &str) -> anyhow::Result<Value> {
    let disks = pair.items(&["disk", "list"])?;
    disks.into_iter().find(|disk| disk["name"] == name).with_context(|| format!("no disk {name}"))
}

/// The service scheduler, ended with the test.
struct Scheduler(Child);

impl Scheduler {
    fn start(pair: &Pair, dir: &Path) -> anyhow::Result<Self> {
        let folder = dir.join("scheduler");
        let child = Command::new(berth_bin()?)
            .args(["scheduler", "run", "--master", pair.address(), "--work-dir"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start the scheduler")?;
        Ok(Self(child))
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_disk_added_while_a_task_runs_outlives_a_kill_right_after_the_answer() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut pair = pair(dir.path())?;
    let _scheduler = Scheduler::start(&pair, dir.path())?;
    let document = dir.path().join("writer.yaml");
    fs::write(&document, SERVICE)?;
    wait_until("the service to be taken", PATIENCE, || {
        pair.must(&["apply", &document.display().to_string()])
    })?;
    let pid: i32 = wait_until("the task's pid", PATIENCE, || {
        let tasks = pair.items(&["task", "list"])?;
        // The tasks before it have ended well: what the second found was a volume that it could not write to.
        let server = tasks.iter().find(|task| task.to_string().contains("writer-0.write"));
        let pid = server.and_then(|task| task["pid"].as_i64()).context("no pid")?;
        Ok(i32::try_from(pid)?)
    })?;
    let volumes = pair.items(&["volume", "list"])?;
    let reserved = pair.items(&["reservation", "list"])?;

    let root = dir.path().join("srv/d1").display().to_string();
    let add = ["disk", "add", "--agent", "host-1", "--path", &root, "--size", "1GiB"];
    let dry = pair.one(&[&add[..], &["--dry-run"]].concat())?;
    ensure!(dry["dry_run"] == true, "{dry}");
    ensure!(disk(&pair, "d1").is_err(), "a dry run added it");
    ensure!(fs::read_dir(&root)?.next().is_none(), "a dry run wrote");

    let id = "c0ffee000000000000000000000000a1";
    let shown = pair.one(&[&add[..], &["--request-id", id]].concat())?;
    pair.kill_agent()?;
    ensure!(shown["name"] == "d1" && shown["size_bytes"] == 1024 * MIB, "{shown}");
    pair.kill_master()?;
    pair.start()?;
    ensure!(is_alive(pid), "the task did not outlive the kills");
    let back = disk(&pair, "d1")?;
    ensure!(back["id"] == shown["id"] && back["health"] == "ok", "{back}");
    // Said again under its id it does nothing again, and it is used at once.
    pair.must(&[&add[..], &["--request-id", id]].concat())?;
    let made = ["volume", "create", "on-it", "--role", "tests", "--size", "64MiB", "--disk", "d1"];
    let made = pair.one(&made)?;
    ensure!(made["disk"] == "d1" && made["state"] == "READY", "{made}");
    // What was reserved and used before is as it was.
    let now = pair.items(&["volume", "list"])?;
    ensure!(now.iter().any(|volume| volume["id"] == volumes[0]["id"]), "{now:?}");
    let rows = pair.items(&["reservation", "list"])?;
    ensure!(rows.iter().any(|row| row["id"] == reserved[0]["id"]), "{rows:?}");
    let agents = pair.items(&["agent", "list"])?;
    ensure!(agents[0]["state"] == "REGISTERED", "{agents:?}");

    // Nothing that is used can be taken away; what is not, can, and does not come back.
    pair.berth(&["disk", "remove", "d1"])?.refused(4, &["it is not cordoned"])?;
    pair.must(&["disk", "cordon", "d1"])?;
    pair.berth(&["disk", "remove", "d1"])?.refused(4, &["volume on-it"])?;
    pair.must(&["volume", "delete", "on-it", "--yes"])?;
    pair.must(&["volume", "trash", "purge", "on-it", "--yes", "--confirm", "on-it"])?;
    let rows = pair.items(&["reservation", "list"])?;
    let row = rows.iter().find(|row| row["role"] == "tests").context("no reservation")?;
    pair.must(&["reservation", "release", row["id"].as_str().context("id")?, "--yes"])?;
    let dry = pair.must(&["disk", "remove", "d1", "--dry-run"])?;
    ensure!(dry.stderr.contains("nothing is on it"), "{}", dry.stderr);
    pair.must(&["disk", "remove", "d1"])?;
    pair.kill_agent()?;
    ensure!(fs::read_dir(&root)?.next().is_none(), "something of the disk was left");
    pair.start_agent()?;
    pair.wait_registered()?;
    ensure!(disk(&pair, "d1").is_err(), "it came back");
    ensure!(is_alive(pid), "the task did not outlive the removal");
    pair.must(&["service", "delete", "writer", "--yes"])?;
    wait_until("the task to end", PATIENCE, || {
        ensure!(!is_alive(pid), "it runs");
        Ok(())
    })
}

#[test]
fn an_agent_says_which_places_it_takes_and_why_not() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut pair = pair(dir.path())?;
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere)?;
    let open = place(dir.path(), "open")?;
    fs::set_permissions(&open, PermissionsExt::from_mode(0o777))?;
    let shown = |path: &Path| path.display().to_string();
    let (elsewhere, open) = (shown(&elsewhere), shown(&open));
    let root = shown(&dir.path().join("srv/d1"));
    let add = |place: &[&str], dry: bool| -> Vec<String> {
        let mut words = vec!["disk", "add", "--agent", "host-1"];
        words.extend(place);
        words.extend(dry.then_some("--dry-run"));
        words.into_iter().map(str::to_owned).collect()
    };
    for dry in [true, false] {
        for (place, words) in [
            (
                &["--path", elsewhere.as_str()][..],
                &["INVALID_ARGUMENT", "is not taken", "disk_add_below"][..],
            ),
            (&["--path", &open], &["others can write to it"]),
            (&["--mount", &root], &["is not a mount point"]),
            (&["--block", &root], &["leads to", "not below /dev"]),
            (&["--path", &root, "--name", "root"], &["DISK_EXISTS", "disk root of agent"]),
        ] {
            let args = add(place, dry);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let run = pair.berth(&args)?;
            let missing: Vec<_> = words.iter().filter(|w| !run.stderr.contains(**w)).collect();
            ensure!(run.code != 0 && missing.is_empty(), "{args:?}: {missing:?} in {}", run.stderr);
        }
    }
    ensure!(pair.items(&["disk", "list"])?.len() == 1, "something was added");
    ensure!(fs::read_dir(&root)?.next().is_none(), "something was written");

    // The configuration comes to speak of the same place, under another name: it counts, and the agent starts.
    let args = add(&["--path", &root], false);
    pair.must(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
    let flag = format!("root={root},name=other");
    pair.kill_agent()?;
    pair = pair.with_agent_flags(&["--disk", &flag]);
    pair.start_agent()?;
    pair.wait_registered()?;
    wait_until("the configured name", PATIENCE, || {
        let other = disk(&pair, "other")?;
        ensure!(other["health"] == "ok", "{other}");
        Ok(())
    })?;
    ensure!(disk(&pair, "d1").is_err(), "both are there");
    let agent = pair.one(&["agent", "show", "host-1"])?.to_string();
    ensure!(agent.contains("the configuration counts"), "{agent}");
    Ok(())
}
