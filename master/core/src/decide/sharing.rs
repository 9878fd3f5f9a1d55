//! What is refused of volumes that several tasks may use at once.
//!
//! Nothing here arbitrates between the tasks: whoever shares a volume agrees with the others about what is written when.

use super::order::Order;
use super::room::Wish;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeName;
use berth_model::resources::DiskSource;
use berth_model::volume::VolumeSpec;

/// As [`check_disk`], for what an operator wishes.
pub(super) fn check_source(wish: &Wish<'_>, source: &DiskSource) -> Result<(), Rejection> {
    if wish.shared { check_disk(wish.name, source) } else { Ok(()) }
}

/// Refuses to share what has no file system: two tasks that write to one device destroy each other's data.
pub(super) fn check_disk(name: &VolumeName, source: &DiskSource) -> Result<(), Rejection> {
    match source {
        DiskSource::Root | DiskSource::Path(_) | DiskSource::Mount(_) => Ok(()),
        DiskSource::Block(device) => Err(Rejection::new(
            ErrorCode::Unsupported,
            format!("volume {name} cannot be shared: disk {device} is a raw device without a file system"),
        )
        .remedy("choose a disk with a file system, or leave the volume to one task at a time")
        .field("shared")),
    }
}

/// Refuses a framework that would never be offered what it makes.
pub(super) fn check_creator(order: &Order<'_>, name: &VolumeName) -> Result<(), Rejection> {
    let Some(id) = order.asked.framework else { return Ok(()) };
    let known = order.state.frameworks.get(id);
    if known.is_some_and(|framework| framework.record.info.can_share()) {
        return Ok(());
    }
    Err(Rejection::new(
        ErrorCode::MissingCapability,
        format!(
            "volume {name} is shared, and framework {id} lacks the capability SHARED_RESOURCES"
        ),
    )
    .remedy("subscribe with that capability, or create the volume without `shared`")
    .field("volumes"))
}

/// Refuses to change the size under tasks that know nothing of each other.
pub(super) fn check_resizable(spec: &VolumeSpec) -> Result<(), Rejection> {
    if !spec.shared {
        return Ok(());
    }
    Err(Rejection::new(
        ErrorCode::VolumeShared,
        format!("volume {} ({}) is shared, and a shared volume keeps its size", spec.name, spec.id),
    )
    .remedy("create a volume of the size you need and copy the data")
    .field("volume"))
}

/// Refuses to bring the data of several tasks to rest by the command of one of them.
pub(super) fn check_freezable(spec: &VolumeSpec) -> Result<(), Rejection> {
    if !spec.shared {
        return Ok(());
    }
    Err(Rejection::new(
        ErrorCode::VolumeShared,
        format!(
            "volume {} ({}) is shared: a freeze command brings one task to rest and not the others",
            spec.name, spec.id
        ),
    )
    .remedy("take the snapshot without a freeze command, after its tasks have been brought to rest")
    .field("freeze"))
}
