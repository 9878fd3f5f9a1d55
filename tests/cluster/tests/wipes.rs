//! `--wipe` on the real program: what the disk cannot do is refused and changes nothing, what it can is certified.

use anyhow::{Context, ensure};
use berth_cluster_tests::Pair;

#[test]
fn a_purge_wipes_as_asked_and_the_audit_log_certifies_it() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut pair = Pair::new(dir.path())?;
    pair.start()?;
    let disk = pair.items(&["disk", "list"])?.into_iter().next().context("a disk")?;
    ensure!(disk["wipe"]["discard"].as_str().is_some_and(|why| why.starts_with("no: ")), "{disk}");
    if disk["wipe"]["zero"] != "yes" {
        eprintln!("SKIPPED: the temporary directory cannot be wiped ({})", disk["wipe"]["zero"]);
        return Ok(());
    }
    for args in [
        &["volume", "create", "a", "--role", "tests", "--size", "64MiB"][..],
        &["volume", "delete", "a", "--yes"],
    ] {
        let run = pair.berth(args)?;
        ensure!(run.code == 0, "{args:?}: {}", run.stderr);
    }
    let purge = |more: &[&str]| {
        let args = [&["volume", "trash", "purge", "a", "--yes", "--confirm", "a"], more].concat();
        pair.berth(&args)
    };
    let run = purge(&["--wipe", "burn"])?;
    ensure!(run.code == 2 && run.stderr.contains("none, discard, zero or shred"), "{}", run.stderr);
    let run = purge(&["--wipe", "discard"])?;
    ensure!(run.code == 2, "{}", run.stderr);
    ensure!(run.stderr.contains("use --wipe zero or --wipe shred"), "{}", run.stderr);
    let run = purge(&["--wipe", "zero", "--dry-run"])?;
    ensure!(run.code == 0, "{}", run.stderr);
    let planned = format!("{}{}", run.stdout, run.stderr);
    ensure!(planned.contains("after it was overwritten with zeros"), "{planned}");
    ensure!(pair.items(&["volume", "trash", "list"])?.len() == 1, "nothing was changed");

    let run = purge(&["--wipe", "zero"])?;
    ensure!(run.code == 0, "{}", run.stderr);
    ensure!(pair.items(&["volume", "trash", "list"])?.is_empty(), "it is gone");
    let entries = pair.items(&["audit", "list", "--operation", "purge", "--phase", "done"])?;
    let notes = entries.last().context("an entry")?["notes"].to_string();
    ensure!(notes.contains("overwritten with zeros (zero), synced"), "{notes}");
    Ok(())
}
