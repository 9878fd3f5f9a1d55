//! What the log says of disks: that one is withheld and why, that it is back, that two share their room.
//!
//! Invariant: the same news is told once, however often a disk is looked at.

use super::Disk;
use berth_model::error::Rejection;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tracing::{info, warn};

/// Tells the disk's fault, or its end, unless that is what was told last.
pub(super) fn health(
    (name, root): (&str, &Path),
    told: &mut Option<String>,
    fault: Option<&Rejection>,
) {
    let now = fault.map(ToString::to_string);
    if now == *told {
        return;
    }
    let root = root.display();
    match fault {
        Some(fault) => {
            let code = fault.code.as_str();
            warn!(disk = name, %root, code, error = %fault, "disk is withheld");
        },
        None => info!(disk = name, %root, "disk is in use again"),
    }
    *told = now;
}

/// Tells which disks take their sizes from one file system, whose room then counts more than once.
pub(super) fn shared(disks: &[Arc<Disk>]) {
    let mut seen: BTreeMap<String, &Disk> = BTreeMap::new();
    for disk in disks {
        let Some(place) = file_system(disk) else { continue };
        let twin = *seen.entry(place).or_insert(disk);
        if std::ptr::eq(twin, disk.as_ref()) || !(twin.is_measured() || disk.is_measured()) {
            continue;
        }
        warn!(
            disk = disk.name(),
            root = %disk.root().display(),
            other = twin.name(),
            other_root = %twin.root().display(),
            "two disks lie on one file system, so its room counts twice: give each a size"
        );
    }
}

/// What names the file system under the disk; its own identity, because subvolumes have devices of their own.
fn file_system(disk: &Disk) -> Option<String> {
    let handle = disk.readable().ok()?;
    let (major, minor) = handle.position.device;
    let device = || format!("{major}:{minor}");
    Some(if handle.filesystem.is_empty() { device() } else { handle.filesystem.clone() })
}

#[cfg(test)]
mod tests {
    use crate::disk::{Declaration, Disks, DriverChoice, Owner};
    use berth_model::id::AgentId;
    use berth_model::resources::DiskSource;
    use berth_model::units::Bytes;
    use std::io::Write;
    use std::path::Path;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;
        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    impl Lines {
        /// The lines since the last look, with `base` as `BASE`.
        fn take(&self, base: &Path) -> Vec<String> {
            let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
            let text = text.replace(&base.display().to_string(), "BASE");
            text.lines().map(|line| line.trim().to_owned()).collect()
        }
    }

    fn declared(root: &Path, size: Option<Bytes>) -> Declaration {
        Declaration {
            source: DiskSource::Path(Arc::from(root.to_string_lossy().as_ref())),
            name: root.file_name().unwrap().to_string_lossy().into_owned(),
            driver: DriverChoice::Directory,
            size,
        }
    }

    #[test]
    fn faults_and_shared_room_are_told_once() {
        let base = tempfile::tempdir().unwrap();
        let lines = Lines::default();
        let log = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .finish();
        let owner = Owner { agent: AgentId::from_u128(1), cluster: None };
        tracing::subscriber::with_default(log, || {
            let root = base.path().join("d1");
            let size = Some(Bytes::from_mib(64));
            let wanted = [Declaration { size, ..Declaration::root() }, declared(&root, None)];
            let disks = Disks::open(base.path(), &wanted, owner, &[]);
            assert_eq!(
                lines.take(base.path()),
                [
                    "WARN disk is withheld disk=\"d1\" root=BASE/d1 code=\"DISK_FAULTY\" error=the disk's root BASE/d1 does not exist: mount the disk or make the directory, then restart the agent or wait"
                ]
            );
            assert!(!disks.refresh());
            assert_eq!(lines.take(base.path()), [""; 0]);
            std::fs::create_dir(&root).unwrap();
            assert!(disks.refresh());
            assert_eq!(
                lines.take(base.path()),
                ["INFO disk is in use again disk=\"d1\" root=BASE/d1"]
            );
            let known = disks.ledger();
            drop(disks);
            let _again = Disks::open(base.path(), &wanted, owner, &known);
            assert_eq!(
                lines.take(base.path()),
                [
                    "WARN two disks lie on one file system, so its room counts twice: give each a size disk=\"d1\" root=BASE/d1 other=\"root\" other_root=BASE/disk"
                ]
            );
            let sized = [wanted[0].clone(), declared(&root, size)];
            let _sized = Disks::open(base.path(), &sized, owner, &known);
            assert_eq!(lines.take(base.path()), [""; 0]);
        });
    }
}
