//! Looking at what lies where a volume should be, on open handles: is it there, and is it the one that is meant?

use super::driver::Fault;
use super::identity::{self, Binding, Home, Identity};
use crate::disk::adopt::Handle;
use crate::disk::filesystem::Position;
use crate::disk::fs::Node;
use crate::disk::marker::{self, ReadError};
use crate::disk::probe::DriverKind;
use crate::disk::remove::volume_attribute;
use crate::disk::{Disk, subvolume};
use berth_agent_core::effect::Place;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeId;
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;

/// A volume that was found and verified, held open.
#[derive(Debug)]
pub struct Here {
    /// Its directory.
    pub directory: Node,
    /// Its marker.
    pub identity: Identity,
    /// Its name among its siblings.
    pub entry: String,
}

/// Where to look, and which lives of the volume count.
#[derive(Clone, Debug)]
pub struct Target {
    /// Live or trash.
    pub place: Place,
    /// The directory's name.
    pub entry: String,
    /// Acceptable generations.
    pub generations: Vec<u64>,
}

impl Target {
    /// The live volume.
    #[must_use]
    pub fn live(spec: &VolumeSpec) -> Self {
        Self { place: Place::Live, entry: spec.id.to_string(), generations: vec![spec.generation] }
    }

    /// The volume in the trash.
    #[must_use]
    pub fn trash(spec: &VolumeSpec) -> Self {
        Self {
            place: Place::Trash,
            entry: trash_entry(spec.id, spec.generation),
            generations: vec![spec.generation],
        }
    }

    /// What an interrupted deletion left of the volume in the trash.
    #[must_use]
    pub fn going(spec: &VolumeSpec) -> Self {
        let trash = Self::trash(spec);
        Self { entry: format!("{}.going", trash.entry), ..trash }
    }

    /// The volume's last life in the trash, where a restore that was interrupted may have begun the next one.
    #[must_use]
    pub fn previous(spec: &VolumeSpec) -> Self {
        let before = spec.generation.saturating_sub(1);
        Self {
            place: Place::Trash,
            entry: trash_entry(spec.id, before),
            generations: vec![before, spec.generation],
        }
    }
}

/// The name of a volume in the trash.
#[must_use]
pub fn trash_entry(id: VolumeId, generation: u64) -> String {
    format!("{id}.{generation}")
}

/// The name of a volume that is being made.
#[must_use]
pub fn unfinished_entry(id: VolumeId) -> String {
    format!(".{id}.tmp")
}

/// The directory that holds the volumes of a place.
#[must_use]
pub fn parent(handle: &Handle, place: Place) -> &Node {
    match place {
        Place::Live => &handle.volumes,
        Place::Trash => &handle.trash,
    }
}

/// Whose volumes a disk holds.
#[must_use]
pub fn home(disk: &Disk, handle: &Handle) -> Home {
    Home { agent: disk.agent(), cluster: disk.cluster(), disk: handle.id }
}

/// The path of an entry, for people and for reports.
#[must_use]
pub fn path(disk: &Disk, place: Place, entry: &str) -> String {
    let place = match place {
        Place::Live => "volumes",
        Place::Trash => ".trash",
    };
    disk.root().join(place).join(entry).to_string_lossy().into_owned()
}

/// The marker of a volume, if there is one.
///
/// # Errors
/// Damaged (foreign) or unreadable (unclear).
pub fn read_marker(disk: &Disk, handle: &Handle, id: VolumeId) -> Result<Option<Identity>, Fault> {
    let shown = || disk.root().join(".meta").join(id.to_string());
    let fields = match marker::read(&handle.meta, &id.to_string(), identity::KIND) {
        Ok(None) => return Ok(None),
        Ok(Some(fields)) => Ok(fields),
        Err(ReadError::Damaged(error)) => Err(error),
        Err(ReadError::Io(errno)) => {
            let text = format!("reading {} failed ({errno})", shown().display());
            return Err(Fault::Unclear(Rejection::new(crate::disk::code_of(errno), text)));
        },
    };
    fields.and_then(|fields| Identity::decode(&fields)).map(Some).map_err(|error| {
        Fault::Foreign(
            Rejection::new(
                ErrorCode::VolumeUnavailable,
                format!("the marker {} of volume {id} is damaged: {error}", shown().display()),
            )
            .remedy("restore it from a backup; the volume is left as it is"),
        )
    })
}

/// Looks for the volume. Nothing when there is nothing of that name.
///
/// # Errors
/// Foreign when what is there is not the volume; Unclear when it cannot be looked at.
pub fn look(
    disk: &Disk,
    handle: &Handle,
    spec: &VolumeSpec,
    target: Target,
) -> Result<Option<Here>, Fault> {
    let shown = || path(disk, target.place, &target.entry);
    let foreign = |evidence: String| {
        let text = format!("{} is not volume {}: {evidence}", shown(), spec.id);
        Fault::Foreign(
            Rejection::new(ErrorCode::VolumeUnavailable, text)
                .remedy("it is left as it is; put the volume's own directory back in its place"),
        )
    };
    // What lies below it is untouched, and comes back when that goes.
    let covered = || {
        let text =
            format!("something is mounted at {}: volume {} cannot be seen", shown(), spec.id);
        let unseen = Rejection::new(ErrorCode::VolumeUnavailable, text);
        Fault::Unclear(unseen.remedy("unmount it; until then the volume is left as it is"))
    };
    let unclear = |errno: Errno| {
        let text = format!("looking at {} failed ({errno})", shown());
        Fault::Unclear(Rejection::new(crate::disk::code_of(errno), text))
    };
    let parent = parent(handle, target.place);
    let directory = match parent.directory(&target.entry) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR) => {
            return Err(foreign("it is a link or a file".to_owned()));
        },
        Err(Errno::XDEV) => return Err(covered()),
        Err(errno) => return Err(unclear(errno)),
    };
    let Some(identity) = read_marker(disk, handle, spec.id)? else {
        return Err(foreign("it has no marker".to_owned()));
    };
    if let Some(evidence) = identity.contradiction(spec, home(disk, handle), &target.generations) {
        return Err(foreign(evidence));
    }
    let position = directory.position().map_err(unclear)?;
    let around = match target.place {
        Place::Live => handle.around.0,
        Place::Trash => handle.around.1,
    };
    if position.mount != around.mount {
        return Err(covered());
    }
    if let Some(evidence) = misplaced(&identity, position, around) {
        return Err(foreign(evidence));
    }
    match identity.binding {
        Binding::Attribute => {
            let value = volume_attribute(&directory).map_err(unclear)?;
            if let Some(evidence) = unbound(&identity, value.as_deref(), &target.generations) {
                return Err(foreign(evidence));
            }
        },
        Binding::Inode(inode) if inode != position.inode => {
            let evidence = format!("it is inode {}, its marker says {inode}", position.inode);
            return Err(foreign(evidence));
        },
        Binding::Inode(_) => {},
    }
    Ok(Some(Here { directory, identity, entry: target.entry }))
}

/// A directory volume is on the very device of its disk, a subvolume is the root of its own.
fn misplaced(identity: &Identity, position: Position, around: Position) -> Option<String> {
    let own_device = position.device != around.device;
    match identity.driver {
        DriverKind::Directory
        | DriverKind::ProjectQuota
        | DriverKind::Image(_)
        | DriverKind::Mount
        | DriverKind::Block
            if own_device =>
        {
            Some(format!(
                "it is on device {}:{}, its disk on {}:{}",
                position.device.0, position.device.1, around.device.0, around.device.1
            ))
        },
        DriverKind::Btrfs if !own_device || position.inode != subvolume::ROOT_INODE => {
            Some("it is no subvolume, which its marker says it is".to_owned())
        },
        DriverKind::Directory
        | DriverKind::Btrfs
        | DriverKind::ProjectQuota
        | DriverKind::Image(_)
        | DriverKind::Mount
        | DriverKind::Block => None,
    }
}

fn unbound(identity: &Identity, value: Option<&[u8]>, generations: &[u64]) -> Option<String> {
    let Some(value) = value else {
        return Some("the directory carries no identity".to_owned());
    };
    match identity::read_attribute(value) {
        Err(error) => Some(format!("the directory's identity is damaged: {error}")),
        Ok((id, _generation, _agent, _disk)) if id != identity.id => {
            Some(format!("the directory says it is volume {id}"))
        },
        Ok((_id, _generation, agent, disk))
            if agent != identity.home.agent || disk != identity.home.disk =>
        {
            Some(format!("the directory says it belongs to disk {disk} of agent {agent}"))
        },
        Ok((_id, generation, _agent, _disk)) if !generations.contains(&generation) => {
            Some(format!("the directory says it is generation {generation}"))
        },
        Ok(_matching) => None,
    }
}
