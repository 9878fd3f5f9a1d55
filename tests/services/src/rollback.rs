//! A database under write load is snapshotted at rest, loses a table, and gets it back in place.

use crate::database::{ready_placement, sql};
use anyhow::{Context, ensure};
use berth_cluster_tests::{Cluster, wait_until};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
const SERVICE: &str = "mariadb";

/// Holds a global read lock in one session until the input ends: the client prints the word, waits in a shell, and lets go
/// with its connection.
const FREEZE: &str = "mariadb --no-defaults --protocol=socket --socket=data/mysqld.sock --user=root --unbuffered \
     --skip-column-names --execute='FLUSH TABLES WITH READ LOCK; SELECT \"at rest\"; \\! cat >/dev/null'";

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub struct RolledBack {
    /// Rows whose commit had been answered before the snapshot was asked for.
    pub committed_before: u64,
    /// Rows found after the roll back.
    pub found: u64,
    /// Rows whose commit had been answered when the snapshot was done.
    pub committed_after: u64,
}

/// Runs the steps on a cluster in `dir`, which lies on btrfs.
///
/// # Errors
/// A step failed; the text says which and why.
pub fn roll_back(dir: &Path, document: &Path) -> anyhow::Result<RolledBack> {
    let cluster = Cluster::start(dir, &["--agents", "1"])?;
    let seen = steps(&cluster, document).with_context(|| cluster.log_tails())?;
    cluster.stop()?;
    Ok(seen)
}

fn steps(cluster: &Cluster, document: &Path) -> anyhow::Result<RolledBack> {
    let document = document.to_str().context("the document's path is not text")?;
    must(cluster, &["apply", document])?;
    let home = wait_until("the database", PATIENCE, || ready_placement(cluster, SERVICE))?;
    sql(
        home.port,
        "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY, digest BINARY(16)) ENGINE=InnoDB",
    )?;
    let (committed, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (before, after, written) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(home.port, &committed, &stop));
        let seen = wait_until("rows", PATIENCE, || {
            let rows = committed.load(Ordering::Acquire);
            ensure!(rows >= 20, "{rows} rows");
            Ok(rows)
        })
        .and_then(|before| {
            let volume = home.volume.as_str();
            let args = ["volume", "snapshot", volume, "--name", "good", "--freeze", FREEZE];
            must(cluster, &args)?;
            let after = committed.load(Ordering::Acquire);
            // The lock is gone: the writer goes on.
            wait_until("rows after the snapshot", PATIENCE, || {
                let rows = committed.load(Ordering::Acquire);
                ensure!(rows > after, "still {rows} rows");
                Ok(())
            })?;
            Ok((before, after))
        });
        stop.store(true, Ordering::Release);
        let written = writer.join().map_err(|_panic| anyhow::anyhow!("the writer panicked"))?;
        let (before, after) = seen?;
        anyhow::Ok((before, after, written))
    })?;
    written?;
    sql(home.port, "DROP TABLE shop.orders")?;

    let refused = cluster.berth(&["volume", "rollback", &home.volume, "--to", "good", "--yes"])?;
    ensure!(
        refused.code != 0 && refused.stderr.contains("VOLUME_IN_USE"),
        "a volume in use was rolled back: {refused:?}"
    );
    must(cluster, &["service", "delete", SERVICE, "--yes"])?;
    wait_until("the volume to be unused", PATIENCE, || {
        must(cluster, &["volume", "rollback", &home.volume, "--to", "good", "--yes", "--dry-run"])
    })?;
    must(cluster, &["volume", "rollback", &home.volume, "--to", "good", "--yes"])?;
    must(cluster, &["apply", document])?;
    let again = wait_until("the database again", PATIENCE, || ready_placement(cluster, SERVICE))?;
    ensure!(again.volume == home.volume, "volume {} became {}", home.volume, again.volume);
    let text = sql(
        again.port,
        "SELECT COUNT(*), COALESCE(SUM(digest = UNHEX(MD5(id))),0), COALESCE(MAX(id),0) FROM shop.orders",
    )?;
    let figures: Vec<u64> = text.split('\t').filter_map(|figure| figure.parse().ok()).collect();
    ensure!(
        figures.len() == 3 && figures.iter().all(|figure| figure == &figures[0]),
        "rows, whole ones, highest: {text}"
    );
    let shown = cluster.json(&["volume", "show", &home.volume])?;
    ensure!(shown["generation"] == 2, "{shown}");
    let listed = cluster.items(&["snapshot", "list", "--volume", &home.volume])?;
    ensure!(listed.len() == 2, "the snapshot and what it replaced: {listed:?}");
    Ok(RolledBack { committed_before: before, found: figures[0], committed_after: after })
}

fn must(cluster: &Cluster, args: &[&str]) -> anyhow::Result<()> {
    let run = cluster.berth(args)?;
    ensure!(run.code == 0, "berth {} ended with {}: {}", args.join(" "), run.code, run.stderr);
    Ok(())
}

/// One row after the other, each committed before the next.
fn write(port: u16, committed: &AtomicU64, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut next = 1_u64;
    while !stop.load(Ordering::Acquire) {
        sql(port, &format!("INSERT INTO shop.orders VALUES ({next}, UNHEX(MD5({next})))"))?;
        committed.store(next, Ordering::Release);
        next += 1;
    }
    Ok(())
}
