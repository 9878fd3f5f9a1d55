//! What somebody meets who does not know Berth yet: each mistake is refused with a reason that is true and a way on.

use anyhow::{Context, ensure};
use berth_cluster_tests::{Pair, Run, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn pair(dir: &Path) -> anyhow::Result<Pair> {
    for made in ["srv/d2", "srv/d3", "data"] {
        fs::create_dir_all(dir.join(made))?;
    }
    for made in ["", "srv", "srv/d2", "srv/d3"] {
        fs::set_permissions(dir.join(made), PermissionsExt::from_mode(0o755))?;
    }
    fs::write(dir.join("data/one"), "1")?;
    let (below, from) = (shown(dir, "srv"), shown(dir, "data"));
    let flags = ["--disk-add-below", &below, "--import-from", &from];
    let mut pair = Pair::new(dir)?.with_agent_flags(&flags);
    pair.start()?;
    Ok(pair)
}

fn shown(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

/// Ends with this code and says all of these words.
fn says(pair: &Pair, args: &[&str], code: i32, words: &[&str]) -> anyhow::Result<Run> {
    let run = pair.berth(args)?;
    let all = format!("{}{}", run.stdout, run.stderr);
    let missing: Vec<_> = words.iter().filter(|word| !all.contains(**word)).collect();
    let command = args.join(" ");
    ensure!(run.code == code, "berth {command}: {} instead of {code}: {all}", run.code);
    ensure!(missing.is_empty(), "berth {command}: {missing:?} missing in: {all}");
    Ok(run)
}

fn one(pair: &Pair, args: &[&str]) -> anyhow::Result<Value> {
    let run = says(pair, &[args, &["-o", "json"]].concat(), 0, &[])?;
    serde_json::from_str(&run.stdout).context("read JSON")
}

#[test]
fn a_place_that_cannot_be_a_disk_is_refused_for_what_it_is() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let pair = pair(dir.path())?;
    let (srv, d2, d3) =
        (shown(dir.path(), "srv"), shown(dir.path(), "srv/d2"), shown(dir.path(), "srv/d3"));
    let add = |place: &str, more: &[&str]| -> Vec<String> {
        let words = ["disk", "add", "--agent", "host-1", "--path", place];
        words.iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    let refused = |place: &str, more: &[&str], code, words: &[&str]| {
        let args = add(place, more);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        says(&pair, &args, code, words)
    };
    refused(&srv, &[], 2, &["disks are added below it, it is none itself", "/d1"])?;
    refused(&d2, &["--size", "900TiB"], 2, &["its whole file system has", "declare less"])?;
    let words = ["it declares 64 MiB", "its driver is to be directory"];
    refused(&d2, &["--size", "64MiB", "--driver", "directory", "--dry-run"], 0, &words)?;
    ensure!(fs::read_dir(&d2)?.next().is_none(), "something was written");
    refused(&d2, &["--size", "64MiB"], 0, &["health:         ok"])?;

    let link = shown(dir.path(), "srv/link");
    symlink(&d2, &link)?;
    for more in [&["--dry-run"][..], &[]] {
        let run = refused(&link, more, 4, &["leads to disk d2", "it is one directory"])?;
        ensure!(!run.stderr.contains("remove the"), "{}", run.stderr);
    }
    let made =
        ["volume", "create", "v", "--role", "tests", "--size", "16MiB", "--disk", "host-1:d2"];
    let made = one(&pair, &made)?;
    let inside = format!("{}/sub", made["host_path"].as_str().context("a path")?);
    fs::create_dir(&inside)?;
    fs::set_permissions(&inside, PermissionsExt::from_mode(0o755))?;
    refused(&inside, &[], 2, &["lie within one another"])?;
    let around = shown(dir.path(), "srv/d3/d4");
    fs::create_dir_all(dir.path().join("srv/d3/d4/.meta"))?;
    fs::write(dir.path().join("srv/d3/d4/.meta/disk"), "another agent's")?;
    refused(&d3, &[], 4, &["DISK_EXISTS", &around])?;

    let nowhere = shown(dir.path(), "nowhere");
    says(&pair, &["disk", "scan", &nowhere], 2, &["cannot be looked at"])?;
    let relative = ["disk", "add", "--agent", "host-1", "--path", "d1"];
    says(&pair, &relative, 2, &["is no absolute path", "INVALID_ARGUMENT"])?;

    let data = shown(dir.path(), "data");
    let import = ["volume", "import", "i", "--role", "tests", "--agent", "host-1", "--path", &data];
    let import = [&import[..], &["--size", "16MiB", "--disk", "host-1:d2"]].concat();
    let found = one(&pair, &import)?;
    ensure!(found["disk"] == "d2" && found["state"] == "READY", "{found}");
    Ok(())
}

#[test]
fn what_is_asked_of_an_agent_that_is_away_says_so() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let pair = pair(dir.path())?;
    let create = ["volume", "create", "orders", "--role", "tests", "--size", "16MiB"];
    says(
        &pair,
        &[&create[..], &["--dry-run"]].concat(),
        0,
        &["on agent host-1", "it reserves 16 MiB"],
    )?;
    says(&pair, &create, 0, &[])?;
    let id = one(&pair, &["volume", "show", "orders"])?["id"].as_str().context("id")?.to_owned();
    // Refused requests are found under the volume, by whatever names it.
    says(
        &pair,
        &["volume", "resize", "orders", "--size", "900TiB"],
        1,
        &["INSUFFICIENT_RESOURCES"],
    )?;
    for text in ["orders", "tests/orders", &id, &id[..8]] {
        let found = pair.items(&["audit", "list", "--volume", text, "--phase", "REFUSED"])?;
        ensure!(found.len() == 1 && found[0]["volumes"][0] == id.as_str(), "{text}: {found:?}");
    }
    says(&pair, &["audit", "list", "-o", "wide", "--volume", "orders"], 0, &["VOLUMES", &id])?;
    says(&pair, &["audit", "show", "abc"], 2, &["not the number of an entry"])?;
    says(&pair, &["audit", "verify", "--to", "9999"], 2, &["entries 1 to 9999", "field: to"])?;
    let long = "x".repeat(5_000);
    let run = says(&pair, &["volume", "protect", "orders", "--reason", &long], 2, &["--reason"])?;
    ensure!(run.stderr.len() < 500, "the reason is repeated in full");
    says(
        &pair,
        &["volume", "show", "orders", "--role", "nosuch"],
        3,
        &["orders is not known in role nosuch"],
    )?;
    wait_until("its use to be measured", PATIENCE, || {
        says(&pair, &["volume", "delete", "orders", "--dry-run"], 0, &["used (measured"])
    })?;

    // The agent hangs: what was accepted waits, and says for what.
    pair.signal_agent(Signal::SIGSTOP)?;
    let waiting = ["volume", "create", "late", "--role", "tests", "--size", "16MiB"];
    let timed_out = [&waiting[..], &["--timeout", "1s"]].concat();
    says(&pair, &timed_out, 7, &["TIMED_OUT", "has not ended within 1s"])?;
    wait_until("the agent to be missed", PATIENCE, || {
        says(&pair, &["disk", "list"], 0, &["unknown: agent"])
    })?;
    says(&pair, &["volume", "show", "late"], 0, &["waits_for:", "agent host-1 is"])?;
    let operations = pair.items(&["operation", "list"])?;
    let late = operations.iter().find(|one| one["state"] == "ACCEPTED").context("it goes on")?;
    let late = late["id"].as_str().context("id")?;
    says(
        &pair,
        &["operation", "show", late],
        0,
        &["waits_for:", "it goes on once the agent is back"],
    )?;
    says(&pair, &["operation", "wait", late, "--timeout", "1s"], 7, &["agent host-1 is"])?;
    let elsewhere =
        ["volume", "create", "more", "--role", "tests", "--size", "16MiB", "--disk", "root"];
    says(&pair, &elsewhere, 6, &["AGENT_UNREACHABLE"])?;
    Ok(())
}

#[test]
fn numbers_groups_and_columns_say_what_they_are() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let pair = pair(dir.path())?;
    says(&pair, &["audit", "show", "0"], 2, &["begin at 1"])?;
    let verify = ["audit", "verify", "--from", "50", "--to", "10"];
    says(&pair, &verify, 2, &["--from 50 is behind --to 10", "write --from 10 --to 50"])?;
    let none = ["snapshot", "list", "--group", "nightly"];
    says(&pair, &none, 3, &["the id of a group is wanted", "UNKNOWN_SNAPSHOT", "group_id"])?;
    says(&pair, &["snapshot", "create"], 2, &["--group"])?;
    let spaced = ["snapshot", "create", "--group", "nothing, never"];
    says(&pair, &spaced, 3, &["volume nothing is not known"])?;

    let create = ["volume", "create", "s", "--role", "tests", "--size", "16MiB", "--shared"];
    says(&pair, &create, 0, &[])?;
    let wide = says(&pair, &["volume", "list", "-o", "wide"], 0, &["ENCRYPTED", "SHARED"])?;
    let row = wide.stdout.lines().find(|line| line.starts_with("s ")).context("a row")?;
    let cells: Vec<&str> = row.split_whitespace().collect();
    ensure!(cells.ends_with(&["-", "yes"]), "{row}");
    let narrow = says(&pair, &["volume", "list"], 0, &[])?;
    ensure!(!narrow.stdout.contains("SHARED"), "{}", narrow.stdout);
    says(&pair, &["audit", "list", "-o", "wide"], 0, &["NOTES"])?;

    says(&pair, &["volume", "delete", "s", "--yes"], 0, &[])?;
    let purge = ["volume", "trash", "purge", "s", "--dry-run"];
    says(&pair, &purge, 0, &["wiped before that if purge_wipe of agent host-1 says so"])?;
    Ok(())
}
