//! The command line against a real cluster: results, refusals, exit codes.

use anyhow::{Context, ensure};
use berth_cluster_tests::{Cluster, berth_bin, processes_of, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

fn cluster(dir: &tempfile::TempDir) -> anyhow::Result<Cluster> {
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Cluster::start(dir.path(), &["--agents", "2"])
}

/// Each case: arguments, exit code, words that must be in the error.
type Case<'a> = (&'a [&'a str], i32, &'a [&'a str]);

fn check_refusals(cluster: &Cluster, cases: &[Case<'_>]) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for (args, code, words) in cases {
        let run = cluster.berth(args)?;
        let missing: Vec<_> = words.iter().filter(|word| !run.stderr.contains(**word)).collect();
        if run.code != *code || !missing.is_empty() {
            wrong.push(format!(
                "berth {}: exit {} (wanted {code}), missing {missing:?} in:\n{}",
                args.join(" "),
                run.code,
                run.stderr
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

const SLEEPER: &str = "\
apiVersion: berth/v1
kind: Service
name: sleeper
role: tests
pods:
  one:
    count: 1
    resources: { cpu: 0.1, memory: 32MiB }
    volumes:
      data: { size: 16MiB, path: data }
    tasks:
      server:
        goal: running
        cmd: echo started; echo kept >> data/file; exec sleep 1000
";

fn apply(cluster: &Cluster, document: &str) -> anyhow::Result<()> {
    let file = cluster.dir().join("service.yaml");
    std::fs::write(&file, document)?;
    let path = file.to_str().context("path")?;
    let run = cluster.berth(&["apply", path, "--wait", "--timeout", "60s"])?;
    ensure!(
        run.code == 0,
        "apply ended with {}: {}\n{}",
        run.code,
        run.stderr,
        cluster.log_tails()
    );
    Ok(())
}

#[test]
fn volumes_are_created_listed_deleted_restored_and_purged() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = cluster(&dir)?;
    let made = cluster.json(&["volume", "create", "a", "--role", "tests", "--size", "64MiB"])?;
    ensure!(made["state"] == "READY" && made["size_bytes"] == 64 << 20, "{made}");
    let items = cluster.items(&["volume", "list"])?;
    ensure!(items.len() == 1 && items[0]["name"] == "a", "{items:?}");

    let named = cluster.berth(&["volume", "list", "-o", "name"])?;
    ensure!(named.stdout == "tests/a\n", "{:?}", named.stdout);
    let table = cluster.berth(&["volume", "ls"])?;
    ensure!(
        table.stdout.starts_with("VOLUME") && table.stdout.contains("READY"),
        "{}",
        table.stdout
    );

    // The same request again is the same operation.
    let id = "c0ffee00000000000000000000000001";
    let create =
        ["volume", "create", "b", "--role", "tests", "--size", "16MiB", "--request-id", id];
    for _ in 0..2 {
        let run = cluster.berth(&create)?;
        ensure!(run.code == 0, "{}", run.stderr);
    }
    ensure!(cluster.items(&["volume", "list"])?.len() == 2, "the repeated request acted twice");
    let other = ["volume", "create", "c", "--role", "tests", "--size", "16MiB", "--request-id", id];
    check_refusals(&cluster, &[(&other, 4, &["REQUEST_ID_REUSED"])])?;

    let deleted = cluster.berth(&["volume", "delete", "a", "--yes"])?;
    ensure!(deleted.code == 0, "{}", deleted.stderr);
    let trash = cluster.items(&["volume", "trash", "list"])?;
    ensure!(trash.len() == 1 && trash[0]["state"] == "TRASHED", "{trash:?}");
    let restored = cluster.json(&["volume", "trash", "restore", "a"])?;
    ensure!(restored["state"] == "READY" && restored["generation"] == 2, "{restored}");
    ensure!(restored["id"] == made["id"], "restored as another volume");

    // A request id belongs to one request: what it removed is not found by name again, and it stands for nothing else.
    let id = "c0ffee00000000000000000000000002";
    let delete = |name| ["volume", "delete", name, "--yes", "--request-id", id];
    for _ in 0..2 {
        let run = cluster.berth(&delete("a"))?;
        ensure!(run.code == 0, "{}", run.stderr);
    }
    check_refusals(
        &cluster,
        &[
            (&delete("b"), 4, &["REQUEST_ID_REUSED"]),
            (&delete("nothing"), 4, &["REQUEST_ID_REUSED", "volume a of role tests"]),
        ],
    )?;
    let kept = cluster.json(&["volume", "show", "b"])?;
    ensure!(kept["state"] == "READY", "{kept}");
    check_refusals(
        &cluster,
        &[
            (&["volume", "trash", "purge", "a"], 8, &["CONFIRMATION_REQUIRED", "--confirm a"]),
            (
                &["volume", "trash", "purge", "a", "--yes", "--confirm", "b"],
                8,
                &["does not name a"],
            ),
        ],
    )?;
    let purged = cluster.berth(&["volume", "trash", "purge", "a", "--yes", "--confirm", "a"])?;
    ensure!(purged.code == 0, "{}", purged.stderr);
    ensure!(cluster.items(&["volume", "trash", "list"])?.is_empty(), "still in the trash");
    cluster.stop()
}

#[test]
fn a_volume_in_use_is_not_deleted_and_its_user_is_named() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = cluster(&dir)?;
    apply(&cluster, SLEEPER)?;
    let volumes = cluster.items(&["volume", "list"])?;
    let name = volumes[0]["name"].as_str().context("name")?.to_owned();
    let user = volumes[0]["in_use_by"][0].as_str().context("user")?.to_owned();
    let task = user.split('/').next_back().context("task")?.to_owned();
    check_refusals(
        &cluster,
        &[(&["volume", "delete", &name, "--yes"], 4, &["VOLUME_IN_USE", &task])],
    )?;

    let logs = wait_until("the task's output", Duration::from_secs(10), || {
        let run = cluster.berth(&["task", "logs", &task])?;
        ensure!(run.stdout == "started\n", "{run:?}");
        Ok(run.stdout)
    })?;
    ensure!(logs == "started\n", "{logs:?}");

    let gone = cluster.berth(&["service", "delete", "sleeper", "--yes"])?;
    ensure!(gone.code == 0, "{}", gone.stderr);
    let deleted = cluster.berth(&["volume", "delete", &name, "--yes"])?;
    ensure!(deleted.code == 0, "{}", deleted.stderr);
    cluster.stop()
}

#[test]
fn every_refused_call_names_its_object_and_a_remedy() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = cluster(&dir)?;
    let before = cluster.items(&["reservation", "list"])?;
    let none = "00000000000000000000000000000000";
    check_refusals(
        &cluster,
        &[
            (&["volume", "create", "a", "--role", "*", "--size", "1MiB"], 2, &["INVALID_ROLE"]),
            (&["volume", "create", "a", "--role", "a//b", "--size", "1MiB"], 2, &["a//b"]),
            (&["volume", "create", "../a", "--role", "r", "--size", "1MiB"], 2, &["../a"]),
            (&["volume", "create", "a", "--role", "r", "--size", "10"], 2, &["no unit"]),
            (
                &["volume", "create", "a", "--role", "r", "--size", "5B"],
                2,
                &["whole number of MiB"],
            ),
            (
                &["volume", "create", "a", "--role", "r", "--size", "1MiB", "--path", "a/../b"],
                2,
                &[".."],
            ),
            (
                &["volume", "create", "a", "--role", "r", "--size", "1TiB"],
                1,
                &["INSUFFICIENT_RESOURCES", "hint:"],
            ),
            (
                &["volume", "create", "a", "--role", "r", "--size", "1MiB", "--agent", "nowhere"],
                3,
                &["UNKNOWN_AGENT", "berth agent list"],
            ),
            (
                &["volume", "create", "a", "--role", "r", "--size", "1MiB", "--disk", "nodisk"],
                3,
                &["UNKNOWN_DISK", "nodisk"],
            ),
            (
                &["volume", "delete", "nothing", "--yes"],
                3,
                &["UNKNOWN_VOLUME", "berth volume list"],
            ),
            (&["volume", "show", "nothing"], 3, &["UNKNOWN_VOLUME"]),
            (&["volume", "trash", "restore", "nothing"], 3, &["UNKNOWN_VOLUME"]),
            (
                &["reservation", "create", "disk:1TiB", "--role", "r", "--agent", "agent-1"],
                1,
                &["INSUFFICIENT_RESOURCES"],
            ),
            (
                &["reservation", "create", "disk:0", "--role", "r", "--agent", "agent-1"],
                2,
                &["INVALID_RESOURCES"],
            ),
            (
                &["reservation", "create", "cpus:x", "--role", "r", "--agent", "agent-1"],
                2,
                &["not a number"],
            ),
            (&["reservation", "release", none, "--yes"], 3, &["UNKNOWN_RESERVATION"]),
            (&["operation", "show", none], 3, &["UNKNOWN_OPERATION"]),
            (&["task", "show", "nothing"], 3, &["UNKNOWN_TASK"]),
            (&["task", "logs", "nothing"], 3, &["UNKNOWN_TASK"]),
            (&["framework", "show", "nothing"], 3, &["UNKNOWN_FRAMEWORK"]),
            (&["service", "show", "nothing"], 3, &["UNKNOWN_SERVICE"]),
            (&["agent", "show", "nothing"], 3, &["UNKNOWN_AGENT"]),
            (&["volume", "list", "--master", "127.0.0.1:1"], 6, &["does not answer", "hint:"]),
            (
                &["volume", "list", "--master", "https://127.0.0.1:1"],
                2,
                &["UNSUPPORTED", "http://"],
            ),
            (&["volume", "list", "--colour"], 2, &["--colour"]),
        ],
    )?;
    ensure!(cluster.items(&["reservation", "list"])? == before, "a refused call left something");
    ensure!(cluster.items(&["volume", "list"])?.is_empty(), "a refused call made a volume");

    // Twice the same name in one role.
    ensure!(
        cluster.berth(&["volume", "create", "a", "--role", "r", "--size", "16MiB"])?.code == 0,
        "create"
    );
    check_refusals(
        &cluster,
        &[(
            &["volume", "create", "a", "--role", "r", "--size", "16MiB"],
            4,
            &["VOLUME_EXISTS", "volume a of role r"],
        )],
    )?;
    cluster.stop()
}

#[test]
fn lists_are_json_that_jq_reads_and_names_that_shells_read() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = cluster(&dir)?;
    let listed = cluster.berth(&["agent", "list", "-o", "json"])?;
    match Command::new("jq")
        .args(["-r", ".items | length"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    {
        Ok(mut jq) => {
            jq.stdin.take().context("jq's input")?.write_all(listed.stdout.as_bytes())?;
            let counted = jq.wait_with_output()?;
            ensure!(String::from_utf8_lossy(&counted.stdout) == "2\n", "{counted:?}");
        },
        Err(_absent) => eprintln!("SKIPPED: jq is not installed"),
    }
    for noun in [
        "agent",
        "disk",
        "profile",
        "reservation",
        "volume",
        "framework",
        "offer",
        "task",
        "operation",
        "service",
        "role",
    ] {
        for plural in [noun.to_owned(), format!("{noun}s")] {
            let value = cluster.json(&[&plural, "list"])?;
            ensure!(value["items"].is_array(), "{plural}: {value}");
        }
        for format in ["table", "wide", "yaml", "name"] {
            let run = cluster.berth(&[noun, "list", "-o", format])?;
            ensure!(run.code == 0, "{noun} -o {format}: {}", run.stderr);
            ensure!(
                !run.stdout.contains('\u{1b}'),
                "{noun} -o {format} is coloured without a terminal"
            );
        }
    }
    let prefix =
        cluster.items(&["agent", "list"])?[0]["id"].as_str().context("id")?[..8].to_owned();
    let shown = cluster.json(&["agent", "show", &prefix])?;
    ensure!(shown["id"].as_str().is_some_and(|id| id.starts_with(&prefix)), "{shown}");
    let disks = cluster.items(&["disk", "list"])?;
    let seen: Vec<_> = disks.iter().map(|d| (&d["name"], &d["health"], &d["size_bytes"])).collect();
    let root = (&Value::from("root"), &Value::from("ok"), &Value::from(10_u64 << 30));
    ensure!(seen == [root, root], "{disks:?}");
    cluster.stop()
}

#[test]
fn a_reader_or_a_terminal_that_goes_away_leaves_nothing_running() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = cluster(&dir)?;
    let talker = SLEEPER.replace("exec sleep 1000", "while :; do echo again; sleep 0.1; done");
    apply(&cluster, &talker)?;

    // A reader that goes away ends what is followed.
    let task = cluster.items(&["task", "list"])?[0]["id"].as_str().context("id")?.to_owned();
    let mut logs = Command::new(berth_bin()?)
        .args(["task", "logs", "--follow", &task, "--master", cluster.url()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(logs.stdout.take().context("pipe")?).read_line(&mut line)?;
    ensure!(line == "started\n", "{line:?}");
    let ended = wait_until("`task logs` to end", Duration::from_secs(10), || {
        logs.try_wait()?.context("it still runs")
    });
    logs.kill()?;
    ensure!(ended?.success(), "`task logs` failed");

    // A closed terminal stops the cluster as Ctrl-C does.
    let dir = cluster.dir().to_owned();
    cluster.stop_with(Signal::SIGHUP)?;
    let left = processes_of(&dir);
    ensure!(left.is_empty(), "left running: {left:?}");
    Ok(())
}
