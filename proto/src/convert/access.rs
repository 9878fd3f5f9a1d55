//! Who may do what in a volume's root directory.

use super::field;
use super::{At, Wire};
use crate::v1;
use berth_model::access::{Access, Mode, Owner};
use berth_model::error::Rejection;

impl Wire for Access {
    type Message = v1::VolumeAccess;

    fn to_wire(&self) -> v1::VolumeAccess {
        let Self { owner, mode } = self;
        v1::VolumeAccess {
            owner: owner
                .map(|owner| v1::volume_access::Owner { uid: owner.uid(), gid: owner.gid() }),
            mode: mode.map(Mode::bits),
        }
    }

    fn from_wire(message: v1::VolumeAccess, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::VolumeAccess { owner, mode } = message;
        let owner = owner.map(|v1::volume_access::Owner { uid, gid }| {
            let wrong = |e: berth_model::access::AccessError| {
                at.field("owner").invalid(e.to_string(), "give a user and a group that exist")
            };
            Owner::new(uid, gid).map_err(wrong)
        });
        let mode = mode.map(|bits| {
            Mode::new(bits).map_err(|e| {
                at.field("mode").invalid(e.to_string(), "leave out what are no permissions")
            })
        });
        Ok(Self { owner: owner.transpose()?, mode: mode.transpose()? })
    }
}

/// Nothing said is nothing on the wire.
pub(super) fn some(access: &Access) -> Option<v1::VolumeAccess> {
    (!access.is_empty()).then(|| access.to_wire())
}

pub(super) fn or_default(
    message: Option<v1::VolumeAccess>,
    at: &At<'_>,
) -> Result<Access, Rejection> {
    Ok(field::optional(message, at)?.unwrap_or_default())
}
