//! Snapshots on btrfs: how long one takes, by how much the volume holds.
//!
//! The content is on the disk before a snapshot is taken, so that nothing of it has to be written with the snapshot. Sizes
//! are visited in turns. Needs root and the tools of btrfs; without them there are no figures, and that is said.

use crate::report::Figures;
use crate::statistics::{median, theil_sen};
use crate::w4::Effort;
use anyhow::{Context, bail};
use berth_agent::disk::DriverChoice;
use berth_agent_core::effect::VolumeOutcome;
use berth_host_tests::host::{
    Effects as _, declare, mount_new, open, path_source, run as tool, snapshot, spec,
    with_private_mounts,
};
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

/// What the volumes hold, in MiB.
const SIZES: [u64; 4] = [1, 16, 128, 1024];

fn place(outcome: &VolumeOutcome) -> anyhow::Result<&str> {
    match outcome {
        VolumeOutcome::Present { host_path, .. } => Ok(host_path),
        other => bail!("not present: {other:?}"),
    }
}

fn fill(folder: &str, mib: u64) -> anyhow::Result<()> {
    let mut file = std::fs::File::create(Path::new(folder).join("data")).context("create")?;
    for number in 0..mib {
        // No two blocks are alike.
        let block: Vec<u8> = (0..1_u64 << 17)
            .flat_map(|at| (at ^ (number << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
            .collect();
        file.write_all(&block).context("write")?;
    }
    file.sync_all().context("sync")
}

fn measure(root: &Path, effort: Effort, figures: &mut Figures) -> anyhow::Result<()> {
    let work = root.with_extension("work");
    std::fs::create_dir_all(&work).context("create a folder")?;
    let volumes = open(&work, &[declare(root, DriverChoice::Btrfs)], &[]);
    let source = path_source(root);
    let mut all = Vec::new();
    for (number, mib) in (1_u128..).zip(SIZES) {
        let volume = VolumeSpec { size: Bytes::from_mib(mib + 64), ..spec(number, &source) };
        fill(place(&volumes.create(&volume))?, mib)?;
        all.push((mib, volume, Vec::new()));
    }
    let _synced = tool("btrfs", &["filesystem", "sync", &root.to_string_lossy()]);
    for block in 0..effort.blocks {
        for (_, volume, times) in &mut all {
            let snapshot = snapshot(0x1000 + block as u128 * 0x100 + volume.id.as_u128(), volume);
            let start = Instant::now();
            place(&volumes.take(&snapshot))?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let mut points = Vec::new();
    for (mib, _, times) in &all {
        figures.put(&format!("snapshot.{mib}_mib.ms"), median(times));
        points.push((f64::from(u32::try_from(*mib).unwrap_or(u32::MAX)), median(times)));
    }
    figures.put("snapshot.slope_in_size", theil_sen(&points));
    Ok(())
}

/// Runs it below `dir`; nothing where this machine cannot.
///
/// # Errors
/// A volume could not be made or a snapshot not be taken.
pub fn run(dir: &Path, effort: Effort) -> anyhow::Result<Option<Figures>> {
    let mut outcome = None;
    with_private_mounts(&["mkfs.btrfs", "btrfs", "mount", "umount"], || {
        let root = dir.join("btrfs");
        mount_new("btrfs", 3 * 1024, &root);
        let mut figures = Figures::default();
        outcome = Some(measure(&root, effort, &mut figures).map(|()| figures));
        let _gone = tool("umount", &[&root.to_string_lossy()]);
    });
    outcome.transpose()
}
