//! Opening a disk: is the directory the disk it should be? Only a directory that nobody knows anything about is
//! made a disk; everything else is recognised by its marker or refused with the evidence.
//!
//! Layout below a disk's root: `volumes/<uuid>`, `.trash/<uuid>.<generation>` (with `.going` behind it while it is
//! deleted), `.meta/<uuid>` (identity of a volume), `.meta/disk` (identity of the disk), `.meta/place` (file system
//! and inode the disk was adopted on; an operator removes it to confirm that a disk was moved or restored on purpose),
//! `.meta/size` (what it could take when it was adopted).

use super::filesystem::{Position, Room};
use super::fs::{self, FileSystem, Node};
use super::marker::{self, Fields, ReadError};
use super::nested;
use super::place;
use super::rounds::Rounds;
use super::top::Top;
use super::whole;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, ClusterId, DiskId};
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use rustix::io::Errno;
use std::path::Path;

pub(super) const DISK_KIND: &str = "berth-disk";
const SIZE_KIND: &str = "berth-size";
pub(super) const DISK: &str = "disk";
pub(super) const PLACE: &str = "place";
pub(super) const SIZE: &str = "size";
/// Of a disk whose size nobody declared, this share stays with the file system.
const RESERVE_PERCENT: u64 = 5;

/// A verified disk, held open: as long as the handle lives, everything is done on the disk that was verified,
/// whatever is mounted over its path.
#[derive(Debug)]
pub struct Handle {
    /// Written on it.
    pub id: DiskId,
    /// The cluster its marker names, if any.
    pub cluster: Option<ClusterId>,
    /// Its file system's uuid, empty when it has none.
    pub filesystem: String,
    /// Where its root is.
    pub position: Position,
    /// The bytes it could take when it was adopted: what was free then, less a reserve. It does not change as the file
    /// system fills, so what is declared to the cluster stays; absent on a disk that an earlier release adopted.
    pub adopted: Option<u64>,
    /// The root.
    pub root: Node,
    /// Live volumes.
    pub volumes: Node,
    /// Destroyed volumes.
    pub trash: Node,
    /// Markers.
    pub meta: Node,
    /// Where the directories of live and of destroyed volumes are; an open directory does not change its place.
    pub around: (Position, Position),
    /// Who makes volumes on it at the same time syncs together.
    pub rounds: Rounds,
}

/// What is known about a disk before it is opened.
#[derive(Clone, Debug)]
pub struct Expectation<'a> {
    /// The agent it must belong to.
    pub agent: AgentId,
    /// The cluster, once there is one.
    pub cluster: Option<ClusterId>,
    /// Its name, for the marker.
    pub name: &'a str,
    /// How resources name it.
    pub source: &'a DiskSource,
    /// What the ledger remembers of it; nothing when it is new.
    pub known: Option<&'a LedgerDisk>,
    /// The id to write when it is new.
    pub fresh: DiskId,
}

/// Why a disk was not opened.
#[derive(Clone, Debug)]
pub struct Refused {
    /// With the remedy.
    pub reason: Rejection,
    /// A write or a sync failed in a way that leaves unclear what is on the disk.
    pub is_broken: bool,
}

impl From<Rejection> for Refused {
    fn from(reason: Rejection) -> Self {
        Self { reason, is_broken: false }
    }
}

impl Refused {
    pub(super) fn by(errno: Errno, message: &str) -> Self {
        let reason = Rejection::new(super::code_of(errno), message);
        Self { reason, is_broken: super::is_broken(errno) }
    }
}

/// What lies at a root, before anything is done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// It is the disk it should be; otherwise it may be made one.
    pub is_disk: bool,
    /// The room of its file system.
    pub room: Room,
    /// What names its file system; empty when nothing does.
    pub filesystem: String,
    /// Where it is.
    pub position: Position,
    /// Entries that are none of Berth's.
    pub others: usize,
}

/// What [`open`] would find; nothing is written.
///
/// # Errors
/// What was found instead, with the remedy.
pub fn look(
    files: &dyn FileSystem,
    root: &Path,
    expected: &Expectation<'_>,
) -> Result<Looked, Refused> {
    let Top { top, position, filesystem, room } = Top::open(files, root, expected.source)?;
    let is_disk = match read_meta(&top, DISK, DISK_KIND, root)? {
        Some(fields) => {
            recognise(&fields, expected, root)?;
            place::moved(&top, expected, (&filesystem, position.inode), root)?;
            true
        },
        None => {
            may_be_made(files, &top, expected, (root, room.read_only))?;
            false
        },
    };
    let shown = root.display();
    let names =
        top.all_names().map_err(|errno| faulty(format!("{shown} cannot be listed ({errno})")))?;
    let others = names.iter().filter(|name| !whole::OWN.contains(&name.as_str())).count();
    Ok(Looked { is_disk, room, filesystem, position, others })
}

/// Nothing says that the directory is, or was, anybody's disk.
fn may_be_made(
    files: &dyn FileSystem,
    top: &Node,
    expected: &Expectation<'_>,
    (root, read_only): (&Path, bool),
) -> Result<(), Rejection> {
    refuse_if_used(top, expected, root)?;
    nested::refuse(files, top, root)?;
    if matches!(expected.source, DiskSource::Mount(_)) {
        whole::refuse_foreign(top, root)?;
    }
    if read_only { Err(read_only_fault(root)) } else { Ok(()) }
}

/// Opens and verifies the disk at `root`; makes it one when neither it nor the ledger knows anything.
///
/// # Errors
/// What was found instead, with the remedy. Nothing was changed.
pub fn open(
    files: &dyn FileSystem,
    root: &Path,
    expected: &Expectation<'_>,
) -> Result<Handle, Refused> {
    let shown = root.display();
    let Top { top, position, filesystem, room } = Top::open(files, root, expected.source)?;
    let (id, cluster) = match read_meta(&top, DISK, DISK_KIND, root)? {
        Some(fields) => {
            let found = recognise(&fields, expected, root)?;
            if expected.known.is_none() {
                // Whoever made it may have died before the marker was synced, and now the ledger will rely on it.
                top.directory(".meta").and_then(|meta| meta.sync()).map_err(|errno| {
                    Refused::by(errno, &format!("syncing {shown}/.meta failed ({errno})"))
                })?;
            }
            found
        },
        None => {
            may_be_made(files, &top, expected, (root, room.read_only))?;
            make(&top, expected, (&filesystem, position.inode), usable(room.free), root)?;
            (expected.fresh, expected.cluster)
        },
    };
    place::check(&top, expected, (&filesystem, position.inode), root)?;
    let adopted = read_size(&top, root)?;
    let open = |name| {
        top.directory(name)
            .map_err(|errno| faulty(format!("{shown}/{name} cannot be opened ({errno})")))
    };
    let (volumes, trash, meta) = (open("volumes")?, open(".trash")?, open(".meta")?);
    let unreadable =
        |errno: Errno| faulty(format!("the disk at {shown} does not answer ({errno})"));
    let around = (volumes.position().map_err(unreadable)?, trash.position().map_err(unreadable)?);
    Ok(Handle {
        id,
        cluster,
        filesystem,
        position,
        adopted,
        root: top,
        volumes,
        trash,
        meta,
        around,
        rounds: Rounds::default(),
    })
}

/// Writes the cluster into the disk's marker, once it is known.
///
/// # Errors
/// The marker is still the old one, or the new one.
pub fn join(handle: &Handle, expected: &Expectation<'_>, cluster: ClusterId) -> Result<(), Errno> {
    let expected = Expectation { fresh: handle.id, cluster: Some(cluster), ..expected.clone() };
    marker::write(&handle.meta, DISK, &disk_marker(&expected))
}

/// The reason for a disk that cannot be written.
#[must_use]
pub fn read_only_fault(root: &Path) -> Rejection {
    Rejection::new(
        ErrorCode::DiskReadOnly,
        format!("the disk at {} is mounted read-only", root.display()),
    )
    .remedy("find out why in the kernel log, then remount it writable")
}

fn recognise(
    fields: &Fields,
    expected: &Expectation<'_>,
    root: &Path,
) -> Result<(DiskId, Option<ClusterId>), Rejection> {
    let shown = root.display();
    let damaged = |error| faulty(format!("the marker {shown}/.meta/disk is damaged: {error}"));
    let agent: AgentId = marker::value(fields, "agent").map_err(damaged)?;
    let id: DiskId = marker::value(fields, "disk").map_err(damaged)?;
    let cluster: Option<ClusterId> = match fields.get("cluster") {
        Some(_) => Some(marker::value(fields, "cluster").map_err(damaged)?),
        None => None,
    };
    if agent != expected.agent {
        return Err(faulty(format!(
            "the disk {id} at {shown} belongs to agent {agent}, this is agent {}",
            expected.agent
        ))
        .remedy("attach it to the agent it belongs to"));
    }
    if let (Some(found), Some(own)) = (cluster, expected.cluster)
        && found != own
    {
        return Err(faulty(format!(
            "the disk {id} at {shown} belongs to cluster {found}, this agent to cluster {own}"
        )));
    }
    if let Some(known) = expected.known
        && known.id != id
    {
        return Err(faulty(format!(
            "at {shown} lies disk {id}, where this agent's ledger knows disk {}",
            known.id
        ))
        .remedy("attach each disk at the root it was declared with"));
    }
    Ok((id, cluster))
}

/// A directory without a marker becomes a disk only when nothing says that it was one.
fn refuse_if_used(root: &Node, expected: &Expectation<'_>, path: &Path) -> Result<(), Rejection> {
    let shown = path.display();
    if let Some(known) = expected.known {
        return Err(faulty(format!(
            "{shown} carries no marker, but disk {} was there: it is not mounted, or it was emptied",
            known.id
        ))
        .remedy("mount the disk; nothing is written to the bare directory"));
    }
    for name in ["volumes", ".trash"] {
        let directory = match root.directory(name) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(faulty(format!("{shown}/{name} cannot be opened ({errno})"))),
        };
        let unreadable = |errno| faulty(format!("{shown}/{name} cannot be listed ({errno})"));
        if let Some(entry) = directory.all_names().map_err(unreadable)?.first() {
            return Err(faulty(format!(
                "{shown} carries no marker, yet {name} holds {entry}: it is not taken over"
            ))
            .remedy("restore .meta from a backup, or move the directories away"));
        }
    }
    Ok(())
}

fn make(
    root: &Node,
    expected: &Expectation<'_>,
    lies: (&str, u64),
    size: u64,
    path: &Path,
) -> Result<(), Refused> {
    let shown = path.display();
    let failed =
        |errno: Errno| Refused::by(errno, &format!("making the disk at {shown} failed ({errno})"));
    for (name, mode) in [("volumes", 0o711), (".trash", 0o700), (".meta", 0o700)] {
        match root.make_directory(name, mode) {
            Ok(()) | Err(Errno::EXIST) => {},
            Err(errno) => return Err(failed(errno)),
        }
    }
    root.sync().map_err(failed)?;
    let meta = root.directory(".meta").map_err(failed)?;
    marker::write(&meta, PLACE, &place::marker(lies)).map_err(failed)?;
    let text = marker::encode(SIZE_KIND, &[("bytes", size.to_string())]);
    marker::write(&meta, SIZE, &text).map_err(failed)?;
    marker::write(&meta, DISK, &disk_marker(expected)).map_err(failed)
}

/// What of so much room is for volumes when nobody said how much.
#[must_use]
pub fn usable(room: u64) -> u64 {
    room - room / 100 * RESERVE_PERCENT
}

fn read_size(root: &Node, path: &Path) -> Result<Option<u64>, Rejection> {
    let Some(fields) = read_meta(root, SIZE, SIZE_KIND, path)? else { return Ok(None) };
    let size = marker::value(&fields, "bytes").map_err(|error| {
        faulty(format!("the marker {}/.meta/size is damaged: {error}", path.display()))
    })?;
    Ok(Some(size))
}

/// Makes the root of the ROOT disk below a work directory.
///
/// # Errors
/// It cannot be made.
pub fn make_root(files: &dyn FileSystem, work_dir: &Path) -> Result<(), Refused> {
    let shown = work_dir.join("disk");
    sync_root(files, work_dir).map_err(|errno| {
        Refused::by(errno, &format!("making {} failed ({errno})", shown.display()))
    })
}

fn sync_root(files: &dyn FileSystem, work_dir: &Path) -> Result<(), Errno> {
    let parent = fs::open(files, work_dir)?;
    match parent.make_directory("disk", 0o755) {
        // Also when it is there: whoever made it may have died before it was synced.
        Ok(()) | Err(Errno::EXIST) => parent.sync(),
        Err(errno) => Err(errno),
    }
}

fn disk_marker(expected: &Expectation<'_>) -> String {
    let mut fields = vec![
        ("agent", expected.agent.to_string()),
        ("disk", expected.fresh.to_string()),
        ("name", expected.name.to_owned()),
        ("source", expected.source.to_string()),
    ];
    if let Some(cluster) = expected.cluster {
        fields.push(("cluster", cluster.to_string()));
    }
    marker::encode(DISK_KIND, &fields)
}

pub(super) fn read_meta(
    root: &Node,
    name: &str,
    kind: &'static str,
    path: &Path,
) -> Result<Option<Fields>, Rejection> {
    let shown = path.display();
    let meta = match root.directory(".meta") {
        Ok(meta) => meta,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(faulty(format!("{shown}/.meta cannot be opened ({errno})"))),
    };
    marker::read(&meta, name, kind).map_err(|error| match error {
        ReadError::Damaged(error) => {
            faulty(format!("the marker {shown}/.meta/{name} is damaged: {error}"))
                .remedy("restore it from a backup; the volumes are left as they are")
        },
        ReadError::Io(errno) => {
            faulty(format!("the marker {shown}/.meta/{name} cannot be read ({errno})"))
        },
    })
}

pub(super) fn faulty(message: String) -> Rejection {
    Rejection::new(ErrorCode::DiskFaulty, message)
}
