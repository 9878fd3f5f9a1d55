//! What every volume driver can do.
//!
//! All methods are synchronous and idempotent: asked again after a crash at any point, a method completes what
//! was begun and answers as if it had done everything just now. A driver does not know volumes' states, users
//! or retention; it knows one disk and what lies on it.

use super::content::{Content, Counter};
use berth_agent_core::effect::Place;
use berth_model::access::Access;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::snapshot::SnapshotSpec;
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use berth_model::volume::{Enforcement, VolumeSpec};
use berth_model::wipe::Wipe;
use std::fmt;
use std::sync::Arc;

/// What a driver is and promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// As users see it.
    pub name: &'static str,
    /// How sizes are kept.
    pub enforcement: Enforcement,
}

/// A volume that is there and carries the expected identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where on the host.
    pub host_path: Arc<str>,
    /// What made it.
    pub made_by: Capabilities,
}

/// Why a method did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Something is there that does not carry the expected identity; it was left alone.
    Foreign(Rejection),
    /// Not done, and nothing of it remains.
    Failed(Rejection),
    /// Not finished; what is on the disk is unclear until the method is called again.
    Unclear(Rejection),
}

impl Fault {
    /// What went wrong.
    #[must_use]
    pub fn rejection(&self) -> &Rejection {
        match self {
            Self::Foreign(reason) | Self::Failed(reason) | Self::Unclear(reason) => reason,
        }
    }
}

/// Makes and keeps volumes on one disk.
pub trait Driver: fmt::Debug + Send + Sync {
    /// What new volumes get.
    fn capabilities(&self) -> Capabilities;

    /// Makes sure that the volume is live: empty when new, limited, marked, synced.
    ///
    /// # Errors
    /// See [`Fault`]. A volume that was live once and is gone is not made anew.
    fn ensure(&self, spec: &VolumeSpec) -> Result<Found, Fault>;

    /// Makes sure that the volume is live with this content, whole, synced and compared. It is read only when the volume is
    /// not there yet.
    ///
    /// # Errors
    /// See [`Fault`]. After `Failed` nothing of the volume is there.
    fn import(&self, spec: &VolumeSpec, _content: &mut dyn Content) -> Result<Found, Fault> {
        let text =
            format!("driver {} makes no volume {} with content", self.capabilities().name, spec.id);
        Err(Fault::Failed(
            Rejection::new(ErrorCode::Unsupported, text).remedy("choose another disk"),
        ))
    }

    /// Moves the volume: to the trash under its generation, or out of the trash, where it has the generation
    /// before `spec.generation`, which it gets now. Nothing when it is in neither place.
    ///
    /// # Errors
    /// See [`Fault`].
    fn relocate(&self, spec: &VolumeSpec, to: Place) -> Result<Option<Found>, Fault>;

    /// Gives the live volume another size, in use or not; its data stays. `spec` is as it was before. Nothing when it is
    /// not there.
    ///
    /// # Errors
    /// See [`Fault`]. `Failed` means that it has the size of `spec`: a size below what it uses is refused so, with both
    /// numbers.
    fn resize(&self, spec: &VolumeSpec, size: Bytes) -> Result<Option<Found>, Fault>;

    /// Gives the root directory of the live volume this owner and mode, in use or not. Nothing when it is not there.
    ///
    /// # Errors
    /// See [`Fault`]. `Failed` means that it has what it had.
    fn set_access(&self, spec: &VolumeSpec, access: Access) -> Result<Option<Found>, Fault>;

    /// Deletes the volume from the trash, marker included. A live volume is never touched.
    ///
    /// # Errors
    /// See [`Fault`].
    fn erase(&self, spec: &VolumeSpec) -> Result<(), Fault>;

    /// Finds everything that speaks against wiping the volume in the trash so, and measures it. Changes nothing. Nothing
    /// when it is not there.
    ///
    /// # Errors
    /// See [`Fault`]; `Failed` when it never can be, also when its deletion has begun.
    fn survey_wipe(&self, spec: &VolumeSpec, method: Wipe) -> Result<Option<Bytes>, Fault> {
        let name = self.capabilities().name;
        let text = format!("driver {name} cannot wipe volume {} by {method}", spec.id);
        Err(Fault::Failed(
            Rejection::new(ErrorCode::Unsupported, text).remedy("purge it with --wipe none"),
        ))
    }

    /// Overwrites what the volume in the trash holds, synced before anything of it is given back; no restore finds it
    /// from then on. False when it is not there. Deleting what is left is for [`Driver::erase`].
    ///
    /// # Errors
    /// See [`Fault`].
    fn wipe(&self, spec: &VolumeSpec, method: Wipe, _counter: &Counter) -> Result<bool, Fault> {
        self.survey_wipe(spec, method).map(|found| found.is_some())
    }

    /// Looks for the volume. Changes nothing.
    ///
    /// # Errors
    /// See [`Fault`]; never `Failed`.
    fn observe(&self, spec: &VolumeSpec, place: Place) -> Result<Option<Found>, Fault>;

    /// Makes what lies in the volume's place, with its identity, durable there. Nothing when it is not there.
    ///
    /// # Errors
    /// See [`Fault`]; never `Failed`.
    fn adopt(&self, spec: &VolumeSpec) -> Result<Option<Found>, Fault>;

    /// Measures the volume, wherever it is.
    ///
    /// # Errors
    /// See [`Fault`].
    fn usage(&self, spec: &VolumeSpec) -> Result<Measured, Fault>;

    /// How much room the disk has more when the volume is gone, what was begun of it included; what it shares with
    /// others stays. Nothing when it is nowhere.
    ///
    /// # Errors
    /// See [`Fault`].
    fn taken(&self, spec: &VolumeSpec) -> Result<Bytes, Fault> {
        self.usage(spec).map(|measured| measured.bytes)
    }

    /// What the disk has free.
    ///
    /// # Errors
    /// See [`Fault`].
    fn free(&self) -> Result<Bytes, Fault>;

    /// What it does with snapshots.
    ///
    /// # Errors
    /// It can do nothing with them.
    fn snapshots(&self) -> Result<&dyn Snapshots, Rejection> {
        let text = format!("driver {} takes no snapshots", self.capabilities().name);
        Err(Rejection::new(ErrorCode::Unsupported, text)
            .remedy("use a disk on btrfs with quotas for volumes that need snapshots"))
    }
}

/// Takes snapshots of volumes on one disk, and makes volumes from them. As idempotent as [`Driver`].
pub trait Snapshots {
    /// Makes sure that the snapshot of the live volume is there, whole, marked and synced; answers where.
    ///
    /// # Errors
    /// See [`Fault`]. One that was there once and is gone is not taken anew.
    fn take(&self, snapshot: &SnapshotSpec) -> Result<Arc<str>, Fault>;

    /// Looks for the snapshot. Changes nothing.
    ///
    /// # Errors
    /// See [`Fault`]; never `Failed`.
    fn find(&self, snapshot: &SnapshotSpec) -> Result<Option<Arc<str>>, Fault>;

    /// Deletes the snapshot, its marker last.
    ///
    /// # Errors
    /// See [`Fault`].
    fn delete(&self, snapshot: &SnapshotSpec) -> Result<(), Fault>;

    /// Puts a copy of the snapshot in the place of the live volume of the generation before `spec.generation`, whose
    /// data goes to the trash, where it stays as long as the safety snapshot. Nothing when the volume is not there.
    ///
    /// # Errors
    /// See [`Fault`]. After `Failed` the volume is live in its last generation.
    fn roll_back(
        &self,
        spec: &VolumeSpec,
        snapshot: &SnapshotSpec,
        safety: &SnapshotSpec,
    ) -> Result<Option<Found>, Fault>;

    /// Makes sure that the volume is live with the content of the snapshot.
    ///
    /// # Errors
    /// See [`Fault`].
    fn clone_from(&self, spec: &VolumeSpec, snapshot: &SnapshotSpec) -> Result<Found, Fault>;
}
