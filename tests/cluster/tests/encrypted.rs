//! An encrypted volume under real daemons: made by the operator, unreadable on the disk, back after the machine stopped,
//! unavailable without its key, and gone for good with it.

use anyhow::{Context, ensure};
use berth_cluster_tests::{Pair, wait_until};
use berth_host_tests::host::{no_encryption, skip, unmount_images, with_private_mounts};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "the rows that nobody else may read";

fn volume(pair: &Pair) -> anyhow::Result<Value> {
    let all = pair.items(&["volume", "list"])?;
    all.into_iter().find(|volume| volume["name"] == "secrets").context("no such volume")
}

fn is_in(file: &Path, text: &str) -> anyhow::Result<bool> {
    let bytes = fs::read(file)?;
    Ok(bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[test]
fn an_encrypted_volume_is_made_comes_back_and_ends_with_its_key() {
    if let Some(why) = no_encryption() {
        return skip(why);
    }
    with_private_mounts(&["mkfs.ext4", "mount", "umount"], || {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().canonicalize().expect("it is there");
        life(&root).expect("the test succeeds");
    });
}

fn life(dir: &Path) -> anyhow::Result<()> {
    let root = dir.join("d1");
    fs::create_dir(&root)?;
    let declared = format!("root={},driver=image:ext4,name=img", root.display());
    let mut pair = Pair::new(dir)?.with_agent_flags(&["--disk", &declared]);
    pair.start()?;
    let disks = pair.items(&["disk", "list"])?;
    let says = |name: &str| {
        let disk = disks.iter().find(|disk| disk["name"] == name);
        disk.map(|disk| disk["encryption"].to_string()).unwrap_or_default()
    };
    ensure!(says("img") == "\"yes\"", "{disks:?}");
    ensure!(says("root").starts_with("\"no: driver "), "{disks:?}");

    let on = |disk: &'static str| {
        [
            "volume",
            "create",
            "secrets",
            "--role",
            "tests",
            "--size",
            "64MiB",
            "--encrypt",
            "--disk",
            disk,
        ]
    };
    let refused = pair.berth(&on("root"))?;
    ensure!(
        refused.code != 0 && refused.stderr.contains("can have no encrypted volumes"),
        "{refused:?}"
    );
    ensure!(pair.items(&["volume", "list"])?.is_empty(), "a refused volume is there");
    pair.must(&on("img"))?;
    let made = volume(&pair)?;
    ensure!(made["encrypted"] == true && made["driver"] == "image:ext4", "{made}");
    let place = PathBuf::from(made["host_path"].as_str().context("host_path")?);
    fs::write(place.join("rows"), SECRET.repeat(1000))?;
    let taken =
        pair.berth(&["snapshot", "create", "secrets", "--role", "tests", "--name", "one"])?;
    ensure!(taken.code != 0 && taken.stderr.contains("it is encrypted"), "{taken:?}");

    // As after the machine was switched off.
    pair.kill_both()?;
    unmount_images(&root);
    let id = made["id"].as_str().context("id")?.to_owned();
    let (image, key) =
        (root.join("volumes").join(&id).join("image"), dir.join("agent/keys").join(&id));
    ensure!(!is_in(&image, SECRET)?, "it can be read on the disk");
    let away = dir.join("away");
    fs::rename(&key, &away)?;
    pair.start()?;
    wait_until("the volume to be unavailable", PATIENCE, || {
        let log = pair.log_tails();
        ensure!(log.contains(&format!("the key of encrypted volume {id} is not in")), "{log}");
        ensure!(!place.join("rows").exists(), "it can be read");
        let shown = volume(&pair)?;
        ensure!(shown["unavailable"]["code"] == "VOLUME_UNAVAILABLE", "{shown}");
        let list = pair.berth(&["volume", "list"])?.stdout;
        ensure!(list.contains("READY, unavailable"), "{list}");
        Ok(())
    })?;
    let refused =
        pair.berth(&["volume", "resize", "secrets", "--role", "tests", "--size", "96MiB"])?;
    ensure!(refused.stderr.contains("cannot be used now: the key of"), "{refused:?}");
    pair.kill_agent()?;
    fs::rename(&away, &key)?;
    pair.start_agent()?;
    pair.wait_registered()?;
    wait_until("the rows to be back", PATIENCE, || {
        let rows = fs::read_to_string(place.join("rows")).unwrap_or_default();
        ensure!(rows == SECRET.repeat(1000), "{} bytes", rows.len());
        Ok(())
    })?;

    pair.must(&["volume", "delete", "secrets", "--role", "tests", "--yes"])?;
    ensure!(key.exists(), "a volume in the trash has lost its key");
    // Without its key it stays there.
    fs::rename(&key, &away)?;
    let refused = pair.berth(&["volume", "trash", "restore", "secrets", "--role", "tests"])?;
    ensure!(
        refused.code != 0 && refused.stderr.contains("the key of encrypted volume"),
        "{refused:?}"
    );
    ensure!(pair.items(&["volume", "trash", "list"])?.len() == 1, "it left the trash");
    fs::rename(&away, &key)?;
    pair.must(&["volume", "trash", "restore", "secrets", "--role", "tests"])?;
    ensure!(fs::read_to_string(place.join("rows"))? == SECRET.repeat(1000), "other rows");
    pair.must(&["volume", "delete", "secrets", "--role", "tests", "--yes"])?;
    pair.must(&["volume", "trash", "purge", "secrets", "--yes", "--confirm", "secrets"])?;
    ensure!(!key.exists(), "a purged volume has its key");
    drop(pair);
    unmount_images(&root);
    Ok(())
}
