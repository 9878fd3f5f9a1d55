//! Disks, volumes and mounts for tests.

use berth_agent::disk::image::lock;
use berth_agent::disk::{Declaration, Disks, DriverChoice, Owner};
use berth_agent::volume::Volumes;
use berth_agent_core::effect::{Place, VolumeEffect, VolumeOutcome};
use berth_model::access::Access;
use berth_model::id::{AgentId, ClusterId, SnapshotId, SnapshotName, VolumeId, VolumeName};
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use berth_model::role::Role;
use berth_model::snapshot::SnapshotSpec;
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// The agent the tests are.
pub const OWNER: Owner =
    Owner { agent: AgentId::from_u128(0xa), cluster: Some(ClusterId::from_u128(0xc)) };

/// A volume of 64 MiB on a disk.
///
/// # Panics
/// Never: the names are valid.
#[must_use]
pub fn spec(number: u128, source: &DiskSource) -> VolumeSpec {
    VolumeSpec {
        id: VolumeId::from_u128(number),
        generation: 1,
        name: VolumeName::new(&format!("data-{number}")).expect("a valid name"),
        role: Role::new("storage/mysql").expect("a valid role"),
        principal: None,
        source: source.clone(),
        size: Bytes::from_mib(64),
        access: Access::default(),
        shared: false,
        encrypted: false,
    }
}

/// A snapshot of a volume as it is.
///
/// # Panics
/// Never: the name is valid.
#[must_use]
pub fn snapshot(number: u128, of: &VolumeSpec) -> SnapshotSpec {
    SnapshotSpec {
        id: SnapshotId::from_u128(number),
        name: SnapshotName::new(&format!("snap-{number}")).expect("a valid name"),
        of: of.clone(),
    }
}

/// The same volume in another life.
#[must_use]
pub fn generation(spec: &VolumeSpec, generation: u64) -> VolumeSpec {
    VolumeSpec { generation, ..spec.clone() }
}

/// A PATH disk declared with this driver.
#[must_use]
pub fn declare(root: &Path, driver: DriverChoice) -> Declaration {
    Declaration {
        source: path_source(root),
        name: root.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        driver,
        size: None,
    }
}

/// How resources name a PATH disk.
#[must_use]
pub fn path_source(root: &Path) -> DiskSource {
    DiskSource::Path(Arc::from(root.to_string_lossy().as_ref()))
}

/// How resources name a MOUNT disk.
#[must_use]
pub fn mount_source(root: &Path) -> DiskSource {
    DiskSource::Mount(Arc::from(root.to_string_lossy().as_ref()))
}

/// Opens disks of [`OWNER`].
#[must_use]
pub fn open(work_dir: &Path, declared: &[Declaration], known: &[LedgerDisk]) -> Volumes {
    Volumes::new(Arc::new(Disks::open(work_dir, declared, OWNER, known)))
}

/// Shorthand for the effects.
pub trait Effects {
    /// Creates.
    fn create(&self, spec: &VolumeSpec) -> VolumeOutcome;
    /// Verifies among the live volumes.
    fn verify(&self, spec: &VolumeSpec) -> VolumeOutcome;
    /// Verifies in the trash.
    fn verify_trash(&self, spec: &VolumeSpec) -> VolumeOutcome;
    /// Moves to the trash.
    fn trash(&self, spec: &VolumeSpec) -> VolumeOutcome;
    /// Restores.
    fn restore(&self, spec: &VolumeSpec) -> VolumeOutcome;
    /// Purges.
    fn purge(&self, spec: &VolumeSpec) -> VolumeOutcome;
    /// Measures.
    fn usage(&self, spec: &VolumeSpec) -> VolumeOutcome;
    /// Gives another size.
    fn resize(&self, spec: &VolumeSpec, mib: u64) -> VolumeOutcome;
    /// Gives it another owner and mode.
    fn set_access(&self, spec: &VolumeSpec, access: Access) -> VolumeOutcome;
    /// Takes a snapshot.
    fn take(&self, snapshot: &SnapshotSpec) -> VolumeOutcome;
    /// Looks for a snapshot.
    fn find(&self, snapshot: &SnapshotSpec) -> VolumeOutcome;
    /// Deletes a snapshot.
    fn forget(&self, snapshot: &SnapshotSpec) -> VolumeOutcome;
    /// Rolls back to a snapshot, with another of the present content.
    fn roll_back(
        &self,
        spec: &VolumeSpec,
        snapshot: &SnapshotSpec,
        safety: &SnapshotSpec,
    ) -> VolumeOutcome;
    /// Makes a volume from a snapshot.
    fn clone_from(&self, spec: &VolumeSpec, snapshot: &SnapshotSpec) -> VolumeOutcome;
}

impl Effects for Volumes {
    fn create(&self, spec: &VolumeSpec) -> VolumeOutcome {
        self.run(&VolumeEffect::Create { spec: spec.clone(), purgeable: Vec::new() })
    }
    fn verify(&self, spec: &VolumeSpec) -> VolumeOutcome {
        self.run(&VolumeEffect::Verify { spec: spec.clone(), place: Place::Live })
    }
    fn verify_trash(&self, spec: &VolumeSpec) -> VolumeOutcome {
        self.run(&VolumeEffect::Verify { spec: spec.clone(), place: Place::Trash })
    }
    fn trash(&self, spec: &VolumeSpec) -> VolumeOutcome {
        self.run(&VolumeEffect::Trash { spec: spec.clone() })
    }
    fn restore(&self, spec: &VolumeSpec) -> VolumeOutcome {
        self.run(&VolumeEffect::Restore { spec: spec.clone(), purgeable: Vec::new() })
    }
    fn purge(&self, spec: &VolumeSpec) -> VolumeOutcome {
        self.run(&VolumeEffect::Purge { spec: spec.clone() })
    }
    fn usage(&self, spec: &VolumeSpec) -> VolumeOutcome {
        self.run(&VolumeEffect::Usage { spec: spec.clone() })
    }
    fn resize(&self, spec: &VolumeSpec, mib: u64) -> VolumeOutcome {
        let size = Bytes::from_mib(mib);
        self.run(&VolumeEffect::Resize { spec: spec.clone(), size, purgeable: Vec::new() })
    }
    fn set_access(&self, spec: &VolumeSpec, access: Access) -> VolumeOutcome {
        self.run(&VolumeEffect::SetAccess { spec: spec.clone(), access })
    }
    fn take(&self, snapshot: &SnapshotSpec) -> VolumeOutcome {
        self.run(&VolumeEffect::Snapshot { snapshot: snapshot.clone(), freeze: None })
    }
    fn find(&self, snapshot: &SnapshotSpec) -> VolumeOutcome {
        self.run(&VolumeEffect::VerifySnapshot { snapshot: snapshot.clone() })
    }
    fn forget(&self, snapshot: &SnapshotSpec) -> VolumeOutcome {
        self.run(&VolumeEffect::EraseSnapshot { snapshot: snapshot.clone() })
    }
    fn roll_back(
        &self,
        spec: &VolumeSpec,
        snapshot: &SnapshotSpec,
        safety: &SnapshotSpec,
    ) -> VolumeOutcome {
        self.run(&VolumeEffect::RollBack {
            spec: spec.clone(),
            snapshot: snapshot.clone(),
            safety: safety.clone(),
        })
    }
    fn clone_from(&self, spec: &VolumeSpec, snapshot: &SnapshotSpec) -> VolumeOutcome {
        self.run(&VolumeEffect::Clone { spec: spec.clone(), snapshot: snapshot.clone() })
    }
}

/// An outcome without its texts and paths: `present`, `absent`, `used`, `foreign CODE`, `failed CODE`, `unclear CODE`.
#[must_use]
pub fn brief(outcome: &VolumeOutcome) -> String {
    match outcome {
        VolumeOutcome::Present { .. } => "present".to_owned(),
        VolumeOutcome::Absent => "absent".to_owned(),
        VolumeOutcome::Used(_) => "used".to_owned(),
        VolumeOutcome::Taken { .. } => "taken".to_owned(),
        VolumeOutcome::Wiped => "wiped".to_owned(),
        VolumeOutcome::Foreign(reason) => format!("foreign {}", reason.code),
        VolumeOutcome::Failed(reason) => format!("failed {}", reason.code),
        VolumeOutcome::Unclear(reason) => format!("unclear {}", reason.code),
    }
}

/// The text of a refusal, empty when the outcome is none.
#[must_use]
pub fn reason(outcome: &VolumeOutcome) -> &str {
    match outcome {
        VolumeOutcome::Foreign(reason)
        | VolumeOutcome::Failed(reason)
        | VolumeOutcome::Unclear(reason) => &reason.message,
        VolumeOutcome::Present { .. }
        | VolumeOutcome::Absent
        | VolumeOutcome::Used(_)
        | VolumeOutcome::Taken { .. }
        | VolumeOutcome::Wiped => "",
    }
}

/// Where the outcome says the volume is.
///
/// # Panics
/// The volume is not present.
#[must_use]
pub fn place(outcome: &VolumeOutcome) -> PathBuf {
    match outcome {
        VolumeOutcome::Present { host_path, .. } => PathBuf::from(&**host_path),
        other => panic!("not present: {other:?}"),
    }
}

/// Runs a test in a thread with mounts of its own, or says why it is skipped.
///
/// # Panics
/// When the test does.
pub fn with_private_mounts(tools: &[&str], test: impl FnOnce() + Send) {
    if !rustix::process::geteuid().is_root() {
        skip("mounting needs root");
        return;
    }
    for tool in tools {
        if !has(tool) {
            skip(&format!("there is no {tool} on this machine"));
            return;
        }
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Err(errno) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS) {
                skip(&format!("a mount namespace of one's own is refused ({errno})"));
                return;
            }
            let flags = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
            nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
                .expect("mounts become private");
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Says that a test is skipped.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

/// Why no volume can be encrypted on this machine.
#[must_use]
pub fn no_encryption() -> Option<&'static str> {
    lock::is_missing().then_some(lock::NOT_IN_KERNEL)
}

/// Is the tool on this machine?
#[must_use]
pub fn has(tool: &str) -> bool {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|place| Path::new(place).join(tool).exists())
}

/// Runs a tool and returns what it prints.
///
/// # Panics
/// The tool fails.
#[must_use]
pub fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{tool}: {error}"));
    assert!(
        output.status.success(),
        "{tool} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Makes a file system of `mib` MiB in a file next to `point` and mounts it there; the loop device goes with the
/// mount.
///
/// # Panics
/// The tools fail.
pub fn mount_new(kind: &str, mib: u64, point: &Path) {
    std::fs::create_dir_all(point).expect("the mount point can be made");
    let image = point.with_extension("image");
    let file = std::fs::File::create(&image).expect("the image can be made");
    file.set_len(mib << 20).expect("the image can be sized");
    let image = image.to_string_lossy();
    let _made = run(&format!("mkfs.{kind}"), &["-q", &image]);
    mount_image(&image, point);
}

/// Unmounts every volume that is an image on the disk at `root`, as a restart of the machine would; nothing when none
/// is mounted.
///
/// # Panics
/// One is in use.
pub fn unmount_images(root: &Path) {
    let hub = root.join(".mounts");
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let shown = hub.to_string_lossy().into_owned();
    if table.lines().any(|line| line.split(' ').nth(4) == Some(&shown)) {
        let _gone = run("umount", &["-R", &shown]);
    }
}

/// The loop devices that have a file below `root` behind them.
#[must_use]
pub fn attached_below(root: &Path) -> Vec<String> {
    let mut found: Vec<String> = std::fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("loop/backing_file")).ok())
        .map(|path| path.trim_end().to_owned())
        .filter(|path| Path::new(path).starts_with(root))
        .collect();
    found.sort();
    found
}

/// Mounts an image made by [`mount_new`].
///
/// # Panics
/// The tool fails.
pub fn mount_image(image: &str, point: &Path) {
    let _mounted = run("mount", &["-o", "loop", image, &point.to_string_lossy()]);
}
