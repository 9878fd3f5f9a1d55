//! Roles, quota and weights against a real cluster: the documented commands, refusals, a service that waits for its limit,
//! and that all of it outlives the master.

use anyhow::{Context, ensure};
use berth_cluster_tests::{Cluster, Run, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

fn cluster(dir: &tempfile::TempDir) -> anyhow::Result<Cluster> {
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Cluster::start(dir.path(), &["--agents", "2"])
}

fn done(cluster: &Cluster, line: &str) -> anyhow::Result<Run> {
    let args: Vec<&str> = line.split_whitespace().collect();
    let run = cluster.berth(&args)?;
    ensure!(run.code == 0, "berth {line}: exit {}: {}", run.code, run.stderr);
    Ok(run)
}

/// A disk that satisfies the profile `ssd`, whatever this machine's disks are made of.
fn with_profile(cluster: &Cluster) -> anyhow::Result<()> {
    done(cluster, "disk label agent-1:root tier=gold")?;
    done(cluster, "profile create ssd --label tier=gold").map(drop)
}

/// Arguments, quoted texts in one piece.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().expect("there is one").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn the_documented_commands_run() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = cluster(&dir)?;
    with_profile(&cluster)?;
    let text = include_str!("../../../docs/operations.md");
    let (_, section) = text.split_once("## Roles, quota and weights").context("the section")?;
    let (block, _) =
        section.split_once("```text\n").and_then(|(_, b)| b.split_once("```")).context("block")?;
    let mut runs = 0;
    for line in block.lines().filter_map(|line| line.strip_prefix("berth ")) {
        // What is behind two spaces is said of the command.
        let command = line.split_once("  ").map_or(line, |(command, _)| command);
        let args = words(command);
        let run = cluster.berth(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
        ensure!(run.code == 0, "berth {command}: exit {}: {}", run.code, run.stderr);
        runs += 1;
    }
    ensure!(runs == 8, "{runs} commands are documented");
    ensure!(cluster.items(&["quota", "show"])?.is_empty(), "the last command unsets it");
    let role = cluster.json(&["role", "show", "storage/mysql"])?;
    ensure!(role["weight"] == 2.0, "{role}");
    for command in ["quota --help", "quota set --help", "role set --help", "quota usage --help"] {
        done(&cluster, command)?;
    }
    cluster.stop()
}

/// What is shown of a quota.
fn wanted(shown: &Value) -> (Value, Value, Value) {
    (shown["guarantees"].clone(), shown["limits"].clone(), shown["operation"].clone())
}

/// Command, exit code, words of the error; `storage` has a quota and consumes.
const REFUSED: &[(&str, i32, [&str; 2])] = &[
    (
        "volume create b --role storage/web --size 769MiB",
        1,
        [
            "QUOTA_EXCEEDED",
            "the limit of role storage is 2GiB, it has 1280MiB (storage/db has 1GiB, storage has 256MiB), and 1MiB would be too much",
        ],
    ),
    (
        "volume resize a --role storage --size 1025MiB",
        1,
        ["QUOTA_EXCEEDED", "1MiB would be too much"],
    ),
    (
        "reservation create cpus:1.6 --role storage --agent agent-1",
        1,
        ["QUOTA_EXCEEDED", "0.1 would be too much"],
    ),
    ("quota set storage --limit disk=1GiB", 4, ["LIMIT_BELOW_USE", "disk=1280MiB"]),
    ("quota set storage --limit disk=1GiB --dry-run", 4, ["LIMIT_BELOW_USE", "--force"]),
    ("quota set web --guarantee cpus=4", 1, ["QUOTA_OVERCOMMITTED", "cpus=5, and there is cpus=4"]),
    (
        "quota set storage --guarantee cpus=3 --limit cpus=2",
        2,
        ["INVALID_QUOTA", "above the limit"],
    ),
    ("quota set storage/db --limit cpus=2", 2, ["INVALID_ROLE", "only top-level roles"]),
    ("quota set * --limit cpus=2", 2, ["INVALID_ROLE", "role *"]),
    ("quota set storage", 2, ["INVALID_QUOTA", "neither a guarantee nor a limit"]),
    ("quota set storage --limit cpus=nan", 2, ["nan", "not a number"]),
    ("quota set storage --limit cpus=-1", 2, ["-1", "not a number"]),
    ("quota set storage --limit mem=5", 2, ["no unit", "mem"]),
    ("quota set storage --limit disk=2000000TiB", 2, ["INVALID_QUOTA", "largest amount"]),
    ("quota set storage --limit disk[none]=1GiB", 3, ["UNKNOWN_PROFILE", "none"]),
    ("quota set storage --limit cpus=1 --limit cpus=2", 2, ["cpus twice", "--limit"]),
    ("quota unset web --yes", 3, ["UNKNOWN_QUOTA", "web"]),
    ("quota unset storage", 8, ["CONFIRMATION_REQUIRED", "guarantees cpus=1"]),
    ("quota show web", 3, ["UNKNOWN_QUOTA", "web"]),
    ("profile delete ssd --yes", 4, ["PROFILE_IN_USE", "role storage"]),
    ("role set storage --weight 0", 2, ["not above zero", "0.001"]),
    ("role set storage --weight -1", 2, ["not above zero", "-1"]),
    ("role set storage --weight nan", 2, ["no decimal number", "nan"]),
    ("role set storage --weight 1e9", 2, ["no decimal number", "1e9"]),
    ("role set storage --weight 1000001", 2, ["above the largest", "1000000"]),
];

fn check_refusals(cluster: &Cluster) -> anyhow::Result<()> {
    let before = cluster.items(&["reservation", "list"])?;
    for (line, code, words) in REFUSED {
        let args: Vec<&str> = line.split_whitespace().collect();
        let run = cluster.berth(&args)?;
        let missing: Vec<_> = words.iter().filter(|word| !run.stderr.contains(**word)).collect();
        ensure!(
            run.code == *code && missing.is_empty(),
            "berth {line}: exit {} (wanted {code}), missing {missing:?} in:\n{}",
            run.code,
            run.stderr
        );
    }
    ensure!(cluster.items(&["reservation", "list"])? == before, "a refused call left something");

    Ok(())
}

/// What a role has is counted and shown.
fn check_standing(cluster: &Cluster) -> anyhow::Result<()> {
    done(cluster, "reservation create cpus:0.5;disk:1GiB --role storage/db --agent agent-1")?;
    done(cluster, "volume create a --role storage --size 256MiB --agent agent-2")?;
    let usage = cluster.items(&["quota", "usage", "storage"])?;
    let standing: Vec<(&str, &Value, &str)> = usage
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or_default();
            (text("resource"), &row["consumed"], text("state"))
        })
        .collect();
    let (cpus, disk, ssd) = (json!(0.5), json!(1280_u64 << 20), json!(1_u64 << 30));
    ensure!(
        standing
            == [
                ("cpus", &cpus, "below its guarantee by 0.5"),
                ("disk", &disk, "below its limit by 768MiB"),
                ("disk[ssd]", &ssd, "has its guarantee"),
            ],
        "{usage:#?}"
    );
    let table = done(cluster, "quota usage storage")?.stdout;
    ensure!(table.contains("[##|..................]") && table.contains("BAR"), "{table}");
    let tree = done(cluster, "role tree")?.stdout;
    ensure!(tree.contains("\n  db ") || tree.contains("\n  db  "), "{tree}");
    let role = cluster.json(&["role", "show", "storage"])?;
    ensure!(role["consumed"] == json!({ "cpus": "0.5", "disk": "1.2 GiB" }), "{role}");

    Ok(())
}

/// Who asked, why, before and after: also of what was refused.
fn check_audit(cluster: &Cluster) -> anyhow::Result<()> {
    done(cluster, "role set storage --weight 3 --reason ticket-13")?;
    let planned = cluster.json(&[
        "quota",
        "set",
        "storage",
        "--limit",
        "disk=1GiB",
        "--force",
        "--dry-run",
    ])?;
    let plan = planned["plan"].as_str().context("a plan")?;
    ensure!(
        plan.contains("it has: guarantees cpus=1,disk[ssd]=1GiB") && plan.contains("by force"),
        "{plan}"
    );
    let log = cluster.items(&["audit", "list"])?;
    let of = |kind: &str, phase: &str| {
        log.iter().find(|entry| entry["kind"] == kind && entry["phase"] == phase)
    };
    let entry = of("SET_QUOTA", "DONE").context("no entry of SET_QUOTA")?;
    ensure!(entry["reason"] == "ticket-12" && entry.to_string().contains("disk=2GiB"), "{entry}");
    let entry = of("SET_WEIGHT", "DONE").context("no entry of SET_WEIGHT")?;
    ensure!(entry["reason"] == "ticket-13", "{entry}");
    ensure!(of("RESERVE", "REFUSED").is_some(), "refusals are in the log: {log:#?}");

    Ok(())
}

#[test]
fn a_quota_counts_limits_and_outlives_the_master() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = cluster(&dir)?;
    with_profile(&cluster)?;
    let id = "c0ffee00000000000000000000000041";
    let set = format!(
        "quota set storage --guarantee cpus=1,disk[ssd]=1GiB --limit cpus=2,disk=2GiB --reason ticket-12 --request-id {id}"
    );
    // The same request again is the same operation.
    for _ in 0..2 {
        done(&cluster, &set)?;
    }
    let parts = (
        json!({ "cpus": 1.0, "disk[ssd]": 1_u64 << 30 }),
        json!({ "cpus": 2.0, "disk": 2_u64 << 30 }),
        json!(id),
    );
    let shown = cluster.json(&["quota", "show", "storage"])?;
    ensure!(wanted(&shown) == parts, "{shown}");

    check_standing(&cluster)?;
    check_refusals(&cluster)?;
    ensure!(wanted(&cluster.json(&["quota", "show", "storage"])?) == parts, "it changed the quota");
    check_audit(&cluster)?;
    cluster.kill9("master")?;
    let shown = wait_until("the master to be back", Duration::from_secs(30), || {
        cluster.json(&["quota", "show", "storage"])
    })?;
    ensure!(wanted(&shown) == parts, "{shown}");
    ensure!(cluster.json(&["role", "show", "storage"])?["weight"] == 3.0, "the weight is gone");
    done(&cluster, "quota unset storage --yes --reason over")?;
    done(&cluster, "volume create b --role storage/web --size 769MiB")?;
    cluster.stop()
}

const SLEEPER: &str = "\
apiVersion: berth/v1
kind: Service
name: sleeper
role: tests/web
pods:
  one:
    count: 1
    resources: { cpu: 0.1, memory: 32MiB }
    volumes:
      data: { size: 16MiB, path: data }
    tasks:
      server:
        goal: running
        cmd: exec sleep 1000
";

#[test]
fn a_service_beyond_the_limit_of_its_role_waits_until_there_is_room() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = cluster(&dir)?;
    done(&cluster, "quota set tests --limit cpus=0.05")?;
    let file = cluster.dir().join("service.yaml");
    std::fs::write(&file, SLEEPER)?;
    let path = file.to_str().context("path")?;
    done(&cluster, &format!("apply {path}"))?;
    // Offers keep within the limit, and the service says what it is short of.
    wait_until("the service to say what it waits for", Duration::from_secs(30), || {
        let shown = cluster.json(&["service", "show", "sleeper"])?;
        let message = shown["message"].as_str().context("message")?.to_owned();
        ensure!(message.contains("cpus: 0.1 wanted, 0.05 offered"), "{message}");
        Ok(())
    })?;
    let usage = cluster.items(&["quota", "usage", "tests"])?;
    let limit = usage.iter().find(|row| row["resource"] == "cpus").context("no row of cpus")?;
    ensure!(limit["limit"] == 0.05, "{limit}");
    let running = |task: &Value| task["state"] == "TASK_RUNNING";
    ensure!(!cluster.items(&["task", "list"])?.iter().any(running), "it runs beyond its limit");

    done(&cluster, "quota set tests --limit cpus=0.5")?;
    wait_until("the service to run", Duration::from_secs(60), || {
        let tasks = cluster.items(&["task", "list"])?;
        ensure!(tasks.iter().any(running), "{tasks:#?}");
        Ok(())
    })?;
    cluster.stop()
}
