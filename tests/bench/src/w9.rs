//! W9 and W10 on the `directory` driver: making a volume beside the same system calls without a driver, and looking at all
//! volumes after a restart beside a bare pass over the same files.
//!
//! Both sides sync the same things in the same order, on the same file system, in blocks that alternate.

use crate::report::Figures;
use crate::statistics::{median, theil_sen};
use crate::w4::Effort;
use anyhow::{Context, bail};
use berth_agent::disk::{Declaration, Disks, DriverChoice, Owner};
use berth_agent::volume::Volumes;
use berth_agent_core::effect::{Place, VolumeEffect, VolumeOutcome};
use berth_host_tests::host::{mount_new, run as tool, with_private_mounts};
use berth_model::id::{AgentId, ClusterId, VolumeId, VolumeName};
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use berth_model::role::Role;
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags, StatxFlags, XattrFlags};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const OWNER: Owner =
    Owner { agent: AgentId::from_u128(0xa), cluster: Some(ClusterId::from_u128(0xc)) };
/// About what a marker and an attribute hold.
const MARKER: [u8; 420] = [0x5a; 420];
const ATTRIBUTE: [u8; 190] = [0x5a; 190];

fn as_f64(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
}

fn spec(number: usize) -> anyhow::Result<VolumeSpec> {
    Ok(VolumeSpec {
        id: VolumeId::from_u128(number as u128 + 1),
        generation: 1,
        name: VolumeName::new(&format!("v{number}")).context("name")?,
        role: Role::new("storage/bench").context("role")?,
        principal: None,
        source: DiskSource::Root,
        size: Bytes::from_mib(1),
        access: berth_model::access::Access::default(),
        shared: false,
        encrypted: false,
    })
}

/// Opens the disk as an agent does whose ledger knows it, or makes it when the ledger knows none.
fn open(work: &Path, known: &[LedgerDisk]) -> Volumes {
    let root = Declaration { driver: DriverChoice::Directory, ..Declaration::root() };
    Volumes::new(Arc::new(Disks::open(work, &[root], OWNER, known)))
}

fn present(outcome: &VolumeOutcome) -> anyhow::Result<()> {
    match outcome {
        VolumeOutcome::Present { .. } => Ok(()),
        other => bail!("not present: {other:?}"),
    }
}

/// Volumes on a disk of their own.
struct Ours {
    volumes: Volumes,
    made: usize,
}

impl Ours {
    fn make(&mut self, count: usize) -> anyhow::Result<f64> {
        let mut specs = Vec::with_capacity(count);
        for number in self.made..self.made + count {
            specs.push(spec(number)?);
        }
        self.made += count;
        let start = Instant::now();
        for spec in specs {
            present(&self.volumes.run(&VolumeEffect::Create { spec, purgeable: Vec::new() }))?;
        }
        Ok(start.elapsed().as_secs_f64())
    }

    /// As many threads as volumes.
    fn make_at_once(&mut self, count: usize) -> anyhow::Result<f64> {
        let numbers = self.made..self.made + count;
        self.made += count;
        let volumes = &self.volumes;
        let start = Instant::now();
        std::thread::scope(|scope| {
            let threads: Vec<_> = numbers
                .map(|number| {
                    scope.spawn(move || {
                        let create =
                            VolumeEffect::Create { spec: spec(number)?, purgeable: Vec::new() };
                        present(&volumes.run(&create))
                    })
                })
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a thread failed")))
        })?;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// The same folders without a driver.
struct Raw {
    live: OwnedFd,
    meta: OwnedFd,
    made: usize,
}

impl Raw {
    fn new(dir: &Path) -> anyhow::Result<Self> {
        let folder = |name: &str| -> anyhow::Result<OwnedFd> {
            let path = dir.join(name);
            std::fs::create_dir_all(&path).with_context(|| format!("{}", path.display()))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            Ok(rustix::fs::open(&path, flags, Mode::empty())?)
        };
        Ok(Self { live: folder("volumes")?, meta: folder("meta")?, made: 0 })
    }

    fn make(&mut self, count: usize) -> anyhow::Result<f64> {
        let start = Instant::now();
        for number in self.made..self.made + count {
            self.one(number).context("the raw sequence")?;
        }
        self.made += count;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Directory, mode, attribute, sync; its entry, sync; marker, sync, name, sync; its own name, sync.
    fn one(&self, number: usize) -> rustix::io::Result<()> {
        let (name, unfinished) = (format!("{number:032x}"), format!(".{number:032x}.tmp"));
        rustix::fs::mkdirat(&self.live, &unfinished, Mode::RWXU)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = rustix::fs::openat(&self.live, &unfinished, flags, Mode::empty())?;
        rustix::fs::fchmod(&directory, Mode::RWXU)?;
        rustix::fs::fsetxattr(&directory, "user.bench", &ATTRIBUTE, XattrFlags::empty())?;
        rustix::fs::fsync(&directory)?;
        rustix::fs::fsync(&self.live)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = rustix::fs::openat(&self.meta, &unfinished, flags, Mode::RUSR | Mode::WUSR)?;
        rustix::io::write(&file, &MARKER)?;
        rustix::fs::fsync(&file)?;
        rustix::fs::renameat(&self.meta, &unfinished, &self.meta, &name)?;
        rustix::fs::fsync(&self.meta)?;
        let flags = RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(&self.live, &unfinished, &self.live, &name, flags)?;
        rustix::fs::fsync(&self.live)
    }
}

/// How often the device under a folder was told to flush so far. Syncs at the same time share one: they are a group.
fn flushes(dir: &Path) -> anyhow::Result<f64> {
    let device = rustix::fs::stat(dir)?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let path = format!("/sys/dev/block/{major}:{minor}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let count = text.split_whitespace().nth(15).context("this kernel does not count flushes")?;
    count.parse().context("flushes")
}

/// Makes volumes on an ext4 that nobody else uses, and counts in flushes of a single sync.
fn groups(root: &Path, effort: Effort, figures: &mut Figures) -> anyhow::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = rustix::fs::open(root, flags, Mode::empty())?;
    let before = flushes(root)?;
    for number in 0..20 {
        rustix::fs::mkdirat(&folder, format!("single-{number}"), Mode::RWXU)?;
        rustix::fs::fsync(&folder)?;
    }
    let single = (flushes(root)? - before) / 20.0;
    if single < 0.5 {
        bail!("a sync does not flush this device: {single}");
    }
    let work = root.join("work");
    std::fs::create_dir_all(&work).context("create a folder")?;
    let mut ours = Ours { volumes: open(&work, &[]), made: 0 };
    ours.make(4)?;
    let (mut one_by_one, mut at_once) = (Vec::new(), Vec::new());
    for _block in 0..effort.blocks {
        let start = flushes(root)?;
        ours.make(32)?;
        let middle = flushes(root)?;
        ours.make_at_once(32)?;
        one_by_one.push((middle - start) / single);
        at_once.push((flushes(root)? - middle) / single);
    }
    figures.put("create.32_one_by_one.groups_of_syncs", median(&one_by_one));
    figures.put("create.32_at_once.groups_of_syncs", median(&at_once));
    Ok(())
}

fn grouping(dir: &Path, effort: Effort, figures: &mut Figures) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    with_private_mounts(&["mkfs.ext4", "mount", "umount"], || {
        let root = dir.join("ext4");
        mount_new("ext4", 512, &root);
        outcome = groups(&root, effort, figures);
        let _gone = tool("umount", &[&root.to_string_lossy()]);
    });
    outcome
}

fn w9(dir: &Path, effort: Effort, figures: &mut Figures) -> anyhow::Result<()> {
    let batch = if effort.blocks > 2 { 20 } else { 4 };
    let mut points = Vec::new();
    for existing in crate::w4::EXISTING.into_iter().filter(|n| *n <= effort.largest) {
        let (work, bare) =
            (dir.join(format!("w9-{existing}")), dir.join(format!("w9r-{existing}")));
        std::fs::create_dir_all(&work).context("create a folder")?;
        let mut ours = Ours { volumes: open(&work, &[]), made: 0 };
        let mut raw = Raw::new(&bare)?;
        ours.make(existing)?;
        raw.make(existing)?;
        let (mut ratios, mut each) = (Vec::new(), Vec::new());
        for _block in 0..effort.blocks {
            let before = raw.make(batch)?;
            let mine = ours.make(batch)? + ours.make(batch)?;
            let after = raw.make(batch)?;
            ratios.push(mine / (before + after));
            each.push(mine / as_f64(2 * batch));
        }
        figures.put(&format!("create.{existing}_existing.ms"), median(&each) * 1e3);
        figures.put_ratio(&format!("create.{existing}_existing.ratio_to_raw"), &ratios);
        points.push((as_f64(existing.max(1)), median(&each)));
        if existing == 0 {
            let mut at_once = Vec::new();
            for _block in 0..effort.blocks {
                at_once.push(ours.make_at_once(32)? / 32.0 / median(&each));
            }
            figures.put("create.32_at_once.time_to_one_by_one", median(&at_once));
        }
    }
    figures.put("create.slope_in_existing_volumes", theil_sen(&points));
    Ok(())
}

/// Opens the disk anew and looks at every volume; how long the opening took, and both together.
fn recover(work: &Path, known: &[LedgerDisk], count: usize) -> anyhow::Result<(f64, f64)> {
    let mut specs = Vec::with_capacity(count);
    for number in 0..count {
        specs.push(spec(number)?);
    }
    let start = Instant::now();
    let volumes = open(work, known);
    let opened = start.elapsed().as_secs_f64();
    for spec in specs {
        present(&volumes.run(&VolumeEffect::Verify { spec, place: Place::Live }))?;
    }
    Ok((opened, start.elapsed().as_secs_f64()))
}

/// What no verification can do without: lists the directory, opens each entry, asks where it is and for its attribute, and
/// reads the file of its name.
fn pass(work: &Path) -> anyhow::Result<f64> {
    let root = work.join("disk");
    let start = Instant::now();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let live = rustix::fs::open(root.join("volumes"), flags, Mode::empty())?;
    let meta = rustix::fs::open(root.join(".meta"), flags, Mode::empty())?;
    let (mut seen, mut buffer) = (0_usize, vec![0_u8; 4096]);
    for entry in rustix::fs::Dir::read_from(&live)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let directory = rustix::fs::openat2(&live, name, flags, Mode::empty(), inside)?;
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let stat = rustix::fs::statx(&directory, "", AtFlags::EMPTY_PATH, wanted)?;
        seen += usize::from(stat.stx_ino > 0);
        let attribute =
            rustix::fs::fgetxattr(&directory, "trusted.berth.volume", buffer.as_mut_slice())
                .or_else(|_unprivileged| {
                    rustix::fs::fgetxattr(&directory, "user.berth.volume", buffer.as_mut_slice())
                })?;
        let marker = rustix::fs::openat2(&meta, name, OFlags::RDONLY, Mode::empty(), inside)?;
        if attribute == 0 || rustix::io::read(&marker, &mut buffer)? == 0 {
            bail!("an empty marker");
        }
    }
    if seen == 0 {
        bail!("nothing was passed over");
    }
    Ok(start.elapsed().as_secs_f64())
}

fn w10(dir: &Path, effort: Effort, figures: &mut Figures) -> anyhow::Result<()> {
    let mut points = Vec::new();
    for count in [100, 1_000, 10_000].into_iter().filter(|n| *n <= effort.largest) {
        let work = dir.join(format!("w10-{count}"));
        std::fs::create_dir_all(&work).context("create a folder")?;
        let mut made = Ours { volumes: open(&work, &[]), made: 0 };
        made.make(count)?;
        let known = made.volumes.disks().ledger();
        let (mut ratios, mut mine, mut opened) = (Vec::new(), Vec::new(), Vec::new());
        for _block in 0..effort.blocks {
            let before = pass(&work)?;
            let (one, first) = recover(&work, &known, count)?;
            let (two, second) = recover(&work, &known, count)?;
            let after = pass(&work)?;
            ratios.push((first + second) / (before + after));
            mine.push(f64::midpoint(first, second));
            opened.push(f64::midpoint(one, two));
        }
        figures.put(&format!("recovery.{count}_volumes.ms"), median(&mine) * 1e3);
        figures
            .put(&format!("recovery.{count}_volumes.opening_the_disk_ms"), median(&opened) * 1e3);
        figures.put_ratio(&format!("recovery.{count}_volumes.ratio_to_raw"), &ratios);
        points.push((as_f64(count), median(&mine)));
    }
    if points.len() > 1 {
        figures.put("recovery.slope_in_volumes", theil_sen(&points));
    }
    Ok(())
}

/// Runs both below `dir`.
///
/// # Errors
/// A volume could not be made or was not found again.
pub fn run(dir: &Path, effort: Effort) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    w9(dir, effort, &mut figures)?;
    grouping(dir, effort, &mut figures)?;
    w10(dir, effort, &mut figures)?;
    Ok(figures)
}
