//! Why something is not offered, against a real cluster: the documented commands, tables that fit, JSON.

use anyhow::{Context, ensure};
use berth_cluster_tests::{Cluster, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

fn cluster(dir: &tempfile::TempDir) -> anyhow::Result<Cluster> {
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Cluster::start(dir.path(), &["--agents", "2"])
}

fn text(cluster: &Cluster, line: &str) -> anyhow::Result<String> {
    let args: Vec<&str> = line.split_whitespace().collect();
    let run = cluster.berth(&args)?;
    ensure!(run.code == 0, "berth {line}: exit {}: {}", run.code, run.stderr);
    let wide = run.stdout.lines().find(|line| line.chars().count() > 80);
    ensure!(wide.is_none(), "berth {line}: wider than 80 columns: {wide:?}");
    Ok(run.stdout)
}

const SERVICE: &str = "\
apiVersion: berth/v1
kind: Service
name: waits
role: storage
pods:
  db:
    count: 1
    resources: { cpu: 0.1, memory: 32MiB }
    volumes:
      data: { size: 16MiB, path: data }
    tasks:
      server: { goal: running, cmd: exec sleep 1000 }
";

/// Of each agent: state, reason, the remedy's command.
fn told(cluster: &Cluster) -> anyhow::Result<Vec<Value>> {
    let items = cluster.items(&["explain", "framework", "berth-services"])?;
    let told = items.iter().filter(|item| item["role"] == "storage");
    Ok(told.map(|i| json!([i["hostname"], i["state"], i["reason"], i["fix"]["command"]])).collect())
}

#[test]
fn the_documented_commands_say_why_a_framework_is_offered_nothing() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = cluster(&dir)?;
    let set = cluster.berth(&["quota", "set", "storage", "--limit", "cpus=0,mem=0MiB"])?;
    ensure!(set.code == 0, "{}", set.stderr);
    let file = cluster.dir().join("service.yaml");
    std::fs::write(&file, SERVICE)?;
    let run = cluster.berth(&["apply", file.to_str().context("path")?])?;
    ensure!(run.code == 0, "{}", run.stderr);
    let command = "berth quota show storage";
    let limited = [
        json!(["agent-1", "LEFT_OUT", "QUOTA_LIMIT", command]),
        json!(["agent-2", "LEFT_OUT", "QUOTA_LIMIT", command]),
    ];
    let mut seen = Vec::new();
    wait_until("the limit is named", Duration::from_secs(30), || {
        seen = told(&cluster)?;
        seen.sort_by_key(|one| one[0].to_string());
        Ok(seen == limited)
    })
    .with_context(|| format!("{seen:?}"))?;
    let shown = text(&cluster, "explain framework berth-services --role storage")?;
    for words in [
        "role storage: offered 0 of 2 agents",
        "   2 agents  the limit of role storage",
        "Cheapest fix: raise the limit",
        "berth quota show storage",
    ] {
        ensure!(shown.contains(words), "{words:?} is missing in:\n{shown}");
    }

    let text_of = include_str!("../../../docs/operations.md");
    let (_, section) = text_of.split_once("## Why not").context("the section")?;
    let (block, _) =
        section.split_once("```text\n").and_then(|(_, b)| b.split_once("```")).context("block")?;
    let mut runs = 0;
    for line in block.lines().filter_map(|line| line.strip_prefix("berth ")) {
        let command = line.split_once("  ").map_or(line, |(command, _)| command);
        let run = cluster.berth(&command.split(' ').collect::<Vec<_>>())?;
        ensure!(run.code == 0, "berth {command}: exit {}: {}", run.code, run.stderr);
        runs += 1;
    }
    ensure!(runs == DOCUMENTED, "{runs} commands are documented");
    let help = cluster.berth(&["explain", "framework", "--help"])?;
    ensure!(help.code == 0, "{}", help.stderr);

    for (args, code, words) in [
        (["explain", "framework", "nobody"].as_slice(), 3, "UNKNOWN_FRAMEWORK"),
        (&["explain", "framework", "berth-services", "--role", "none"], 2, "has no role none"),
    ] {
        let run = cluster.berth(args)?;
        ensure!(run.code == code && run.stderr.contains(words), "{args:?}: {}", run.stderr);
    }
    cluster.stop()
}

/// The commands of operations.md.
const DOCUMENTED: usize = 3;
