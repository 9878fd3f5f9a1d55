//! PROTECT and UNPROTECT: what would take data from a protected volume is refused, whoever asks.
//!
//! Only a volume that is there can be protected. What is in the trash goes when its time is over, so there a promise
//! would be empty; a protected volume never gets there.

use super::order::Asked;
use crate::event::Event;
use crate::state::VolumeEntry;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::operation::{OperationKind, OperationState};
use berth_model::volume::{Volume, VolumeState};

/// Protects a volume or ends that. Done when the registry is synced: the agent has no part in it.
pub(crate) fn protect(
    asked: Asked<'_>,
    entry: &VolumeEntry,
    protected: bool,
) -> Result<Vec<Event>, Rejection> {
    let volume = &entry.volume;
    if protected {
        check_there(volume)?;
    }
    let spec = &volume.spec;
    let object = format!("volume {} of role {}", spec.name, spec.role);
    let record = asked.record(Some(volume.agent), vec![spec.id], object, OperationState::Done);
    if volume.protected == protected {
        return Ok(vec![record.into()]);
    }
    // The time of the last change is that of its state, which stays.
    Ok(vec![Volume { protected, ..Volume::clone(volume) }.into(), record.into()])
}

/// Refuses what would take data from a protected volume.
pub(crate) fn check_unprotected(volume: &Volume, kind: OperationKind) -> Result<(), Rejection> {
    if !volume.protected {
        return Ok(());
    }
    let (name, id, role) = (&volume.spec.name, volume.spec.id, &volume.spec.role);
    Err(Rejection::new(
        ErrorCode::VolumeProtected,
        format!("volume {name} ({id}) of role {role} is protected: {kind} is refused"),
    )
    .remedy(format!("if nobody needs its data, `berth volume unprotect {id}` and ask again"))
    .field("volume"))
}

fn check_there(volume: &Volume) -> Result<(), Rejection> {
    let remedy = match volume.state {
        VolumeState::Ready | VolumeState::Lost | VolumeState::Quarantined => return Ok(()),
        VolumeState::Creating => format!("wait for operation {}", volume.operation),
        VolumeState::Failed | VolumeState::Gone => "nothing of it lies on the disk".to_owned(),
        VolumeState::Tombstoned => {
            "it is on its way to the trash: restore it from there first".to_owned()
        },
        VolumeState::Trashed => {
            "its time in the trash would end it all the same: restore it first".to_owned()
        },
    };
    let (name, id) = (&volume.spec.name, volume.spec.id);
    Err(Rejection::new(
        ErrorCode::VolumeNotReady,
        format!("volume {name} ({id}) is {}: it cannot be protected", volume.state),
    )
    .remedy(remedy)
    .field("volume"))
}
