//! Carries out steps on one volume and prints what became of each: a process that tests can kill at any system
//! call.
//!
//! `volume-step WORK_DIR DRIVER create|restore|trash|purge|verify GENERATION …` (any number of pairs); the volume
//! lies on the ROOT disk. `take`, `keep`, `find` and `forget` are about its snapshots, the numbers of which are the lives
//! they are of (`keep` takes the one that `roll-back` needs before it begins the next life); `clone` makes volume 2.
//! A size in MiB other than 64 follows a colon, as in `create:256`; `resize:64:128` goes from the first to the second.

use anyhow::{Context as _, bail};
use berth_agent::disk::{Declaration, DriverChoice};
use berth_host_tests::host::{Effects as _, brief, generation, open, snapshot, spec};
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use std::io::Write as _;
use std::path::Path;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [work_dir, driver, steps @ ..] = arguments.as_slice() else {
        bail!("usage: volume-step WORK_DIR DRIVER (STEP GENERATION)…");
    };
    let driver: DriverChoice = driver.parse()?;
    let root = Declaration { driver, ..Declaration::root() };
    let volumes = open(Path::new(work_dir), &[root], &[]);
    for step in steps.chunks(2) {
        let [step, life] = step else { bail!("each step needs a generation") };
        let mut volume =
            generation(&spec(1, &DiskSource::Root), life.parse().context("generation")?);
        let (name, sizes) = step.split_once(':').unwrap_or((step, ""));
        let (size, wanted) = sizes.split_once(':').unwrap_or((sizes, ""));
        if !size.is_empty() {
            volume.size = Bytes::from_mib(size.parse().context("a size in MiB")?);
        }
        let outcome = match name {
            "create" => volumes.create(&volume),
            "restore" => volumes.restore(&volume),
            "trash" => volumes.trash(&volume),
            "purge" => volumes.purge(&volume),
            "verify" => volumes.verify(&volume),
            "resize" => volumes.resize(&volume, wanted.parse().context("the wanted size in MiB")?),
            "take" => volumes.take(&snapshot(0x50, &volume)),
            "keep" => volumes.take(&snapshot(0x51, &volume)),
            "find" => volumes.find(&snapshot(0x50, &volume)),
            "forget" => volumes.forget(&snapshot(0x50, &volume)),
            "forget-kept" => volumes.forget(&snapshot(0x51, &volume)),
            "roll-back" => {
                let last = generation(&volume, volume.generation.saturating_sub(1));
                volumes.roll_back(&volume, &snapshot(0x50, &last), &snapshot(0x51, &last))
            },
            "clone" => {
                let copy = spec(2, &DiskSource::Root);
                volumes.clone_from(&copy, &snapshot(0x50, &volume))
            },
            other => bail!("there is no step {other}"),
        };
        // One write, so that a trace shows when the answer was given.
        let line = format!("{step} {life}: {}\n", brief(&outcome));
        std::io::stdout().write_all(line.as_bytes())?;
    }
    Ok(())
}
