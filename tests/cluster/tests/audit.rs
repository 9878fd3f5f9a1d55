//! The audit log on the real program: who, why, before and after; that a trial leaves nothing; and that bytes changed under a
//! stopped master are found.

use anyhow::{Context, ensure};
use berth_cluster_tests::Pair;
use berth_master::registry::{Change, RocksStore, Store};
use berth_model::audit::{AuditKey, AuditRecord, Who};
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_proto::registry;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

fn ok(pair: &Pair, args: &[&str]) -> anyhow::Result<Value> {
    let words: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
    let run = pair.berth(&words)?;
    ensure!(run.code == 0, "berth {}: {}\n{}", args.join(" "), run.code, run.stderr);
    if run.stdout.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&run.stdout).with_context(|| run.stdout.clone())
}

fn seqs(entries: &[Value]) -> Vec<u64> {
    entries.iter().filter_map(|entry| entry["seq"].as_u64()).collect()
}

#[test]
fn who_did_what_and_why_is_listed_shown_and_checked() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut pair = Pair::new(dir.path())?;
    pair.start()?;
    let create = ["volume", "create", "a", "--role", "tests", "--size", "64MiB"];
    ok(&pair, &[&create[..], &["--reason", "ticket 7"]].concat())?;
    ok(&pair, &["volume", "protect", "a", "--reason", "payroll"])?;
    let refused = pair.berth(&["volume", "delete", "a", "--yes", "--reason", "cleanup"])?;
    ensure!(refused.code == 8, "{}", refused.stderr);

    let items = pair.items(&["audit", "list", "--volume", "tests/a"])?;
    let told: Vec<String> = items
        .iter()
        .map(|e| format!("{} {} {}", e["kind"], e["phase"], e["reason"]).replace('"', ""))
        .collect();
    ensure!(
        told == [
            "CREATE ACCEPTED ticket 7",
            "CREATE DONE ticket 7",
            "PROTECT DONE payroll",
            "DESTROY REFUSED cleanup",
        ],
        "{told:#?}"
    );
    ensure!(items[0]["who_kind"] == "claimed", "{}", items[0]);
    let who = items[0]["who"].as_str().context("who")?;
    ensure!(who.contains('@') && who.ends_with("(claimed)"), "{who}");
    let changed = &items[2]["changes"][0];
    let parts = [&changed["what"], &changed["before"], &changed["after"]];
    ensure!(parts == ["protected", "false", "true"], "{changed}");

    let refusals = pair.items(&["audit", "ls", "--phase", "refused"])?;
    ensure!(refusals.len() == 1, "{refusals:?}");
    ensure!(refusals[0]["error"]["code"] == "VOLUME_PROTECTED", "{}", refusals[0]);
    ensure!(refusals[0]["reason"] == "cleanup", "{}", refusals[0]);

    // Filters, pages, names.
    let all = pair.items(&["audit", "list"])?;
    let count = all.len() as u64;
    ensure!(seqs(&all) == (1..=count).collect::<Vec<_>>(), "{:?}", seqs(&all));
    let last = pair.items(&["audit", "list", "--limit", "2"])?;
    ensure!(seqs(&last) == [count - 1, count], "{last:?}");
    ensure!(pair.items(&["audit", "list", "--until", "1h"])?.is_empty(), "nothing is that old");
    ensure!(pair.items(&["audit", "list", "--since", "1h"])?.len() as u64 == count, "all is new");
    ensure!(pair.items(&["audit", "list", "--operation", "protect"])?.len() == 1, "one kind");
    ensure!(pair.items(&["audit", "list", "--who", "nobody-of-that-name"])?.is_empty(), "who");
    let table = pair.berth(&["audit", "list"])?.stdout;
    ensure!(table.starts_with("SEQ") && table.contains("ticket 7"), "{table}");

    // A dry run leaves nothing, for what can be done and for what cannot.
    let mut dry = create;
    dry[2] = "b";
    ok(&pair, &[&dry[..], &["--dry-run", "--reason", "x"]].concat())?;
    ensure!(pair.items(&["audit", "list"])?.len() as u64 == count, "a dry run left an entry");

    let shown = ok(&pair, &["audit", "show", "1"])?;
    ensure!(shown["phase"] == "OPENED" && shown["who"] == "berth", "{shown}");
    let absent = pair.berth(&["audit", "show", "9999"])?;
    ensure!(absent.code == 3 && absent.stderr.contains("UNKNOWN_AUDIT_ENTRY"), "{}", absent.stderr);

    let check = ok(&pair, &["audit", "verify"])?;
    ensure!(check["intact"] == true && check["checked"] == count, "{check}");
    let hash = check["last_hash"].as_str().context("hash")?.to_owned();
    ensure!(Some(hash.as_str()) == all.last().and_then(|e| e["hash"].as_str()), "{check}");
    let part = ok(&pair, &["audit", "verify", "--from", "2", "--to", "3"])?;
    ensure!(part["intact"] == true && part["checked"] == 2, "{part}");
    let beyond = pair.berth(&["audit", "verify", "--to", "9999"])?;
    ensure!(beyond.code == 2, "{}", beyond.stderr);
    let noted = format!("{count}:{hash}");
    ok(&pair, &["audit", "verify", "--known", &noted])?;

    // A start goes on with the chain, and what was noted still fits.
    pair.kill_master()?;
    pair.start_master()?;
    pair.wait_registered()?;
    let check = ok(&pair, &["audit", "verify", "--known", &noted])?;
    ensure!(check["intact"] == true && check["checked"].as_u64() > Some(count), "{check}");
    let other = pair.berth(&["audit", "verify", "--known", &format!("1:{hash}")])?;
    ensure!(other.code == 9 && other.stderr.contains("AUDIT_BROKEN"), "{}", other.stderr);
    Ok(())
}

/// Changes what is stored while no master runs.
fn tamper(
    dir: &Path,
    change: impl FnOnce(&mut RocksStore) -> anyhow::Result<Vec<Change>>,
) -> anyhow::Result<()> {
    let mut store = RocksStore::open(&dir.join("master/registry"))?;
    let revision = store.load()?.revision;
    let batch = change(&mut store)?;
    store.commit(revision, &batch)?;
    Ok(())
}

fn key(seq: u64) -> Vec<u8> {
    registry::encode_key(&RegistryKey::Audit(AuditKey::Entry(seq)))
}

#[test]
fn stored_bytes_that_were_changed_are_found_and_stop_nobody() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut pair = Pair::new(dir.path())?;
    pair.start()?;
    ok(&pair, &["volume", "create", "a", "--role", "tests", "--size", "16MiB"])?;
    ok(&pair, &["volume", "delete", "a", "--yes", "--reason", "I did it"])?;
    let all = pair.items(&["audit", "list"])?;
    let done = all.iter().rfind(|e| e["kind"] == "DESTROY").context("an entry")?;
    let seq = done["seq"].as_u64().context("seq")?;

    pair.kill_master()?;
    tamper(dir.path(), |store| {
        let (key, value) = store.read_log(&key(seq), 1)?.remove(0);
        let RegistryRecord::Audit(AuditRecord::Entry(entry)) = registry::decode(&key, &value)?
        else {
            anyhow::bail!("no entry");
        };
        let mut entry = berth_model::audit::AuditEntry::clone(&entry);
        entry.who = Who::Claimed(Arc::from("somebody@else"));
        let record = RegistryRecord::Audit(AuditRecord::Entry(Arc::new(entry)));
        let (key, value) = registry::encode(&record);
        Ok(vec![Change::Put { key, value }])
    })?;
    pair.start_master()?;
    pair.wait_registered()?;
    let check = pair.berth(&["audit", "verify"])?;
    ensure!(check.code == 9, "{}\n{}", check.stdout, check.stderr);
    let wanted = format!("from entry {seq} on: its hash does not follow");
    ensure!(check.stderr.contains(&wanted), "{}", check.stderr);
    ensure!(pair.log_tails().contains("the audit log is damaged"), "{}", pair.log_tails());
    let listed = pair.berth(&["audit", "list"])?;
    ensure!(listed.stderr.contains("found the log damaged"), "{}", listed.stderr);
    // The cluster works, and what was written since is chained.
    ok(&pair, &["volume", "create", "b", "--role", "tests", "--size", "16MiB"])?;
    let from = (seq + 1).to_string();
    let after = ok(&pair, &["audit", "verify", "--from", &from])?;
    ensure!(after["intact"] == true, "{after}");

    // Bytes that are no record, and an entry that is gone.
    for (change, wanted) in [
        (Change::Put { key: key(2), value: b"\x01rubbish".to_vec() }, "it cannot be read"),
        (Change::Delete { key: key(2) }, "it is missing"),
    ] {
        pair.kill_master()?;
        tamper(dir.path(), |_| Ok(vec![change]))?;
        pair.start_master()?;
        pair.wait_registered()?;
        let check = pair.berth(&["audit", "verify"])?;
        ensure!(check.code == 9 && check.stderr.contains("from entry 2 on"), "{}", check.stderr);
        ensure!(check.stderr.contains(wanted), "{wanted}: {}", check.stderr);
    }
    Ok(())
}
