//! Disks as operators see and mark them, against real processes: the map, cordons that survive the master, labels,
//! profiles, and how a directory becomes a disk.

use anyhow::{Context, ensure};
use berth_cluster_tests::{Pair, wait_until};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// A master and an agent whose disk d1 has 4 GiB beside the 20 GiB of ROOT.
fn pair(dir: &Path) -> anyhow::Result<Pair> {
    std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let root = dir.join("d1");
    std::fs::create_dir(&root)?;
    let disk = format!("root={},driver=directory,size=4GiB", root.display());
    let mut pair = Pair::new(dir)?.with_agent_flags(&["--disk", &disk]);
    pair.start()?;
    Ok(pair)
}

fn create<'a>(name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["volume", "create", name, "--role", "tests", "--size", "64MiB"], more].concat()
}

#[test]
fn a_cordoned_disk_gets_nothing_new_and_keeps_what_it_has_across_restarts() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut pair = pair(dir.path())?;
    let kept = pair.one(&create("kept", &[]))?;
    ensure!(kept["disk"] == "d1", "declared disks come before ROOT: {kept}");
    pair.must(&["disk", "health"])?;

    let cordon = ["disk", "cordon", "host-1:d1", "--reason", "grinding noise"];
    let dry = pair.one(&[&cordon[..], &["--dry-run"]].concat())?;
    ensure!(dry["dry_run"] == true, "{dry}");
    ensure!(pair.one(&["disk", "show", "d1"])?["cordoned"] == false, "a dry run cordoned it");
    let id = "c0ffee000000000000000000000000d1";
    for _ in 0..2 {
        let shown = pair.one(&[&cordon[..], &["--request-id", id]].concat())?;
        ensure!(
            shown["state"] == "CORDONED" && shown["cordon_reason"] == "grinding noise",
            "{shown}"
        );
    }
    let operations = pair.items(&["operation", "list"])?;
    let cordons: Vec<_> = operations.iter().filter(|o| o["kind"] == "CORDON").collect();
    ensure!(cordons.len() == 1, "{operations:?}");
    let object = cordons[0]["object"].as_str().unwrap_or_default();
    ensure!(object.contains("host-1:d1") && object.ends_with(": grinding noise"), "{object}");

    for round in ["before", "after"] {
        let elsewhere = pair.one(&create(round, &[]))?;
        ensure!(elsewhere["disk"] == "root", "{round} a restart: {elsewhere}");
        let explicit = create("explicit", &["--disk", "d1"]);
        pair.berth(&explicit)?.refused(4, &["DISK_CORDONED", "grinding noise", "disk uncordon"])?;
        let reserve = ["reservation", "create", "disk:1GiB", "--role", "tests"];
        let on = ["--agent", "host-1", "--disk", "d1"];
        pair.berth(&[&reserve[..], &on].concat())?.refused(4, &["DISK_CORDONED"])?;
        pair.berth(&["disk", "health", "d1"])?.refused(9, &["1 of 1 disks is not ok"])?;
        if round == "before" {
            pair.kill_both()?;
            pair.start()?;
        }
    }
    // What lies on it is as it was: it goes to the trash and comes back.
    pair.must(&["volume", "delete", "kept", "--yes"])?;
    let back = pair.one(&["volume", "trash", "restore", "kept"])?;
    ensure!(back["state"] == "READY" && back["disk"] == "d1", "{back}");

    let shown = pair.one(&["disk", "uncordon", "d1", "--reason", "fan replaced"])?;
    ensure!(shown["state"] == "OK" && shown["cordoned"] == false, "{shown}");
    ensure!(pair.one(&create("again", &["--disk", "d1"]))?["disk"] == "d1", "uncordoned");
    let full = pair.one(&create("full", &["--disk", "host-1:d1"]))?;
    ensure!(full["disk"] == "d1" && full["hostname"] == "host-1", "{full}");
    let unknown = create("nowhere", &["--disk", "host-2:d1"]);
    pair.berth(&unknown)?.refused(3, &["UNKNOWN_DISK", "host-2:d1", "berth disk list"])?;
    pair.must(&["disk", "health"])?;
    Ok(())
}

#[test]
fn the_map_shows_every_disk_to_scale_within_its_width() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let pair = pair(dir.path())?;
    pair.must(&["volume", "create", "data", "--role", "tests", "--size", "1GiB"])?;
    pair.must(&["volume", "create", "old", "--role", "tests", "--size", "512MiB"])?;
    pair.must(&["volume", "delete", "old", "--yes"])?;
    pair.must(&["disk", "cordon", "d1"])?;

    let items = pair.items(&["disk", "map"])?;
    let d1 = items.iter().find(|item| item["name"] == "d1").context("no d1")?;
    ensure!(d1["cordoned"] == "" && d1["faulty"].is_null(), "{d1}");
    let parts = d1["parts"].as_array().context("parts")?;
    let seen: Vec<Value> =
        parts.iter().map(|p| json!([p["kind"], p["name"], p["role"], p["size_bytes"]])).collect();
    // The reservation of the deleted volume stays.
    let wanted = [
        json!(["volume", "data", "tests", 1024 * MIB]),
        json!(["reserved", "", "tests", 512 * MIB]),
        json!(["trash", "old", "tests", 512 * MIB]),
        json!(["free", "", "", 2560 * MIB]),
    ];
    ensure!(seen == wanted, "{seen:?}");

    for width in ["40", "80", "132"] {
        for ascii in [&[][..], &["--ascii"]] {
            let args = [&["disk", "map", "host-1", "--width", width], ascii].concat();
            let run = pair.must(&args)?;
            ensure!(!run.stdout.contains('\u{1b}'), "coloured without a terminal");
            let limit: usize = width.parse()?;
            let longest = run.stdout.lines().map(|line| line.chars().count()).max();
            ensure!(longest.is_some_and(|longest| longest <= limit), "{longest:?}\n{}", run.stdout);
            ensure!(ascii.is_empty() || run.stdout.is_ascii(), "{}", run.stdout);
            for word in ["host-1", "root", "d1", "CORDONED", "tests/data", "tests/old", "free"] {
                ensure!(run.stdout.contains(word), "{word} is missing:\n{}", run.stdout);
            }
        }
    }
    // Piped, without a locale: 80 columns of ASCII. The larger disk is as long as there is room, the other to scale.
    let plain = berth_cluster_tests::run(
        &berth_cluster_tests::berth_bin()?,
        &["disk", "map"],
        &[("BERTH_MASTER", pair.address()), ("LC_ALL", "C")],
    )?;
    ensure!(plain.stdout.is_ascii(), "{}", plain.stdout);
    let bars: Vec<usize> = plain
        .stdout
        .lines()
        .filter_map(|line| Some(line.strip_prefix("  [")?.strip_suffix(']')?.len()))
        .collect();
    // 15 cells to scale would not be readable, so the map enlarges the small one and says so.
    ensure!(bars == [20, 76], "{bars:?}\n{}", plain.stdout);
    ensure!(plain.stdout.contains("enlarged: 1 cell = 204.7 MiB"), "{}", plain.stdout);
    pair.berth(&["disk", "map", "nowhere"])?.refused(3, &["UNKNOWN_AGENT"])
}

#[test]
fn a_faulty_disk_is_shown_with_its_evidence_and_its_volumes() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut pair = pair(dir.path())?;
    pair.must(&create("data", &["--disk", "d1"]))?;
    pair.kill_agent()?;
    wait_until("the agent to be missed", Duration::from_secs(60), || {
        pair.berth(&["disk", "health", "d1"])?.refused(9, &["AGENT_UNREACHABLE"])
    })?;
    let unknown = pair.berth(&["disk", "health"])?;
    ensure!(
        unknown.stdout.contains("UNKNOWN") && unknown.stdout.contains("UNREACHABLE"),
        "{unknown:?}"
    );

    std::fs::rename(dir.path().join("d1"), dir.path().join("d1.away"))?;
    pair.start_agent()?;
    wait_until("the disk to be faulty", Duration::from_secs(60), || {
        pair.berth(&["disk", "health", "d1"])?
            .refused(9, &["DISK_FAULTY", "1 of 1 disks is not ok"])
    })?;
    let health = pair.berth(&["disk", "health", "-o", "json"])?;
    let health: Value = serde_json::from_str(&health.stdout)?;
    let seen: Vec<_> = health["items"].as_array().context("items")?.iter().collect();
    ensure!(
        seen.len() == 2 && seen[0]["state"] == "FAULTY" && seen[1]["state"] == "OK",
        "{seen:?}"
    );
    let evidence = seen[0]["evidence"].as_str().unwrap_or_default();
    ensure!(evidence.contains("does not exist"), "{evidence}");
    let map = pair.must(&["disk", "map", "--ascii"])?.stdout;
    for words in ["  d1  4 GiB  FAULTY", "faulty: the disk's root", "  !a", "a tests/data   64 MiB"]
    {
        ensure!(map.contains(words), "{words} is missing:\n{map}");
    }
    Ok(())
}

#[test]
fn labels_and_profiles_say_where_volumes_go_and_why_not() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut pair = pair(dir.path())?;
    let profile =
        pair.one(&["profile", "create", "gold", "--label", "tier=gold", "--size-min", "1GiB"])?;
    ensure!(profile["disks"] == json!([]), "{profile}");
    pair.berth(&create("a", &["--profile", "gold"]))?.refused(
        3,
        &["UNKNOWN_DISK", "host-1:d1: it has no label tier=gold", "host-1:root: it has no label"],
    )?;
    pair.berth(&["profile", "match", "gold"])?
        .refused(9, &["none of 2 disks satisfies profile gold"])?;
    pair.berth(&create("a", &["--profile", "tin"]))?.refused(3, &["UNKNOWN_PROFILE"])?;
    pair.berth(&["profile", "create", "gold"])?.refused(4, &["PROFILE_EXISTS"])?;
    pair.berth(&["disk", "label", "root", "tier"])?
        .refused(2, &["neither sets nor removes a label"])?;

    let shown = pair.one(&["disk", "label", "root", "tier=gold", "note=for mysql"])?;
    ensure!(shown["labels"] == json!({"tier": "gold", "note": "for mysql"}), "{shown}");
    let shown = pair.one(&["disk", "label", "root", "note-"])?;
    ensure!(shown["labels"] == json!({"tier": "gold"}), "{shown}");
    ensure!(shown["profiles"] == json!(["gold"]), "{shown}");

    pair.kill_master()?;
    pair.start_master()?;
    pair.wait_registered()?;
    let made = pair.one(&create("a", &["--profile", "gold"]))?;
    ensure!(made["disk"] == "root", "{made}");
    let matches = pair.items(&["profile", "match", "gold"])?;
    let seen: Vec<_> = matches.iter().map(|m| (&m["name"], &m["matches"])).collect();
    ensure!(seen == [(&json!("root"), &json!(true)), (&json!("d1"), &json!(false))], "{matches:?}");
    pair.berth(&["profile", "delete", "gold"])?.refused(8, &["CONFIRMATION_REQUIRED"])?;
    pair.must(&["profile", "delete", "gold", "--yes"])?;
    ensure!(pair.items(&["profile", "list"])?.is_empty(), "still listed");
    Ok(())
}

#[test]
fn a_directory_is_added_with_the_flag_that_is_printed() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut pair = pair(dir.path())?;
    let root = dir.path().join("new disk");
    std::fs::create_dir(&root)?;
    let shown = root.display().to_string();
    let added = pair.must(&["disk", "add", &shown, "--name", "d2", "--size", "2GiB"])?;
    ensure!(added.stderr.contains("nothing was added"), "{}", added.stderr);
    let root = root.canonicalize()?;
    let flag = format!("root={},name=d2,size=2147483648B", root.display());
    ensure!(added.stdout == format!("--disk '{flag}'\n"), "{}", added.stdout);

    let first = format!("root={},driver=directory,size=4GiB", dir.path().join("d1").display());
    pair.kill_agent()?;
    pair = pair.with_agent_flags(&["--disk", &first, "--disk", &flag]);
    pair.start_agent()?;
    wait_until("the disk d2", Duration::from_secs(60), || {
        let disks = pair.items(&["disk", "list"])?;
        let d2 = disks.iter().find(|disk| disk["name"] == "d2").context("no d2")?;
        ensure!(d2["health"] == "ok" && d2["size_bytes"] == 2048 * MIB, "{d2}");
        Ok(())
    })?;
    // Whose it is now is read from the disk itself, without a cluster.
    let agents = pair.items(&["agent", "list"])?;
    let again = pair.must(&["disk", "add", &shown])?;
    let owner = agents[0]["id"].as_str().context("id")?;
    ensure!(again.stderr.contains(&format!("only agent {owner} can use it")), "{}", again.stderr);
    pair.berth(&["disk", "add", "/nowhere"])?.refused(2, &["/nowhere"])?;
    let inside = root.join("volumes").display().to_string();
    pair.berth(&["disk", "add", &inside])?.refused(2, &["lies within the disk at"])?;
    let items = pair.items(&["disk", "scan", &shown])?;
    let disks: Vec<_> = items.iter().filter_map(|i| i["disks"].as_array()).flatten().collect();
    let is_found = disks.iter().any(|disk| disk["name"] == "d2" && disk["agent_id"] == owner);
    if items.iter().all(|item| item["mounted"] == json!([])) {
        eprintln!("SKIPPED: no file system of this machine lies on a block device");
    } else {
        ensure!(is_found, "{items:#?}");
    }
    Ok(())
}
