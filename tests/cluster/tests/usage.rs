//! What volumes use, on the command line.

use anyhow::ensure;
use berth_cluster_tests::{Cluster, wait_until};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

#[test]
fn use_is_measured_and_shown() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
    let cluster = Cluster::start(dir.path(), &["--agents", "1"])?;
    cluster.json(&["volume", "create", "a", "--role", "tests", "--size", "64MiB"])?;
    wait_until("the first measurement", Duration::from_secs(60), || {
        let usage = cluster.json(&["volume", "usage", "a"])?;
        ensure!(!usage["measured_ms"].is_null(), "{usage}");
        Ok(())
    })?;
    let usage = cluster.json(&["volume", "usage", "tests/a"])?;
    let used = usage["used_bytes"].as_u64().unwrap_or(u64::MAX);
    ensure!(used < 1 << 20 && usage["size_bytes"] == 64 << 20, "{usage}");
    ensure!(usage["free_bytes"] == (64 << 20) - used && usage["used_percent"] == 0, "{usage}");
    // One measurement is no trend.
    for field in ["trend_window_ms", "trend_bytes_per_day", "full_in_ms"] {
        ensure!(usage[field].is_null(), "{field}: {usage}");
    }
    let listed = cluster.items(&["volume", "usage"])?;
    ensure!(listed.len() == 1 && listed[0]["volume"] == "a", "{listed:?}");
    let row = cluster.json(&["volume", "show", "a"])?;
    ensure!(row["usage"]["measured_ms"] == usage["measured_ms"], "{row}");
    let wide = cluster.berth(&["volume", "list", "-o", "wide"])?;
    ensure!(wide.code == 0 && wide.stdout.contains("FULL IN"), "{wide:?}");
    let told = cluster.berth(&["volume", "usage", "b"])?;
    ensure!(told.code == 3 && told.stderr.contains("UNKNOWN_VOLUME"), "{told:?}");
    cluster.stop()
}
