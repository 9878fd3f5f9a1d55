//! A volume's size over crashes of real daemons: what was answered holds, and what was begun ends.

use anyhow::{Context, ensure};
use berth_cluster_tests::{Pair, wait_until};
use serde_json::Value;
use std::time::Duration;

const MIB: u64 = 1 << 20;

fn volume(pair: &Pair) -> anyhow::Result<Value> {
    pair.items(&["volume", "list"])?.into_iter().next().context("no volume")
}

#[test]
fn an_answered_size_survives_killing_master_and_agent_and_an_accepted_one_comes()
-> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut pair = Pair::new(dir.path())?;
    pair.start()?;
    let made = ["volume", "create", "data", "--role", "tests", "--size", "8MiB"];
    ensure!(pair.berth(&made)?.code == 0);
    let path = volume(&pair)?["host_path"].as_str().context("path")?.to_owned();
    std::fs::write(format!("{path}/rows"), vec![7_u8; 6 << 20])?;
    for (round, mib) in [64_u64, 16, 128, 7].into_iter().enumerate() {
        let size = format!("{mib}MiB");
        let resize = ["volume", "resize", "data", "--role", "tests", "--size", &size];
        if round % 2 == 0 {
            let run = pair.berth(&resize)?;
            ensure!(run.code == 0, "{}", run.stderr);
            pair.kill_both()?;
            pair.start()?;
            let shown = volume(&pair)?;
            ensure!(shown["size_bytes"] == mib * MIB, "{shown}");
        } else {
            let run = pair.berth(&[&resize[..], &["--detach"]].concat())?;
            ensure!(run.code == 0, "{}", run.stderr);
            pair.kill_both()?;
            pair.start()?;
            let id = run.stdout.trim().to_owned();
            let run = pair.berth(&["operation", "wait", &id, "--timeout", "30s"])?;
            ensure!(run.code == 0, "{}", run.stderr);
            let shown = volume(&pair)?;
            ensure!(shown["size_bytes"] == mib * MIB, "{shown}");
        }
        ensure!(std::fs::metadata(format!("{path}/rows"))?.len() == 6 << 20, "round {round}");
    }
    let run = pair.berth(&["volume", "resize", "data", "--role", "tests", "--size", "5MiB"])?;
    ensure!(
        run.code == 4 && run.stderr.contains("VOLUME_TOO_FULL"),
        "{}: {}",
        run.code,
        run.stderr
    );
    ensure!(run.stderr.contains("uses 6 MiB, more than the wanted 5 MiB"), "{}", run.stderr);
    wait_until("the size stays", Duration::from_secs(10), || {
        let shown = volume(&pair)?;
        let same = shown["size_bytes"] == 7 * MIB && shown["resizing_to_bytes"].is_null();
        ensure!(same, "{shown}");
        Ok(())
    })
}
