//! Snapshots.

use super::{
    Act, OfRole, OneVolume, Read, Trial, container_path, duration, snapshot_name, volume_name,
};
use crate::confirm::{Confirm, TypedName};
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// Keep a volume's content as it is now
    Create(SnapshotCreate),
    /// List snapshots
    #[command(visible_alias = "ls")]
    List {
        /// Only those of this volume: name, ROLE/NAME, id, or its beginning
        #[arg(long)]
        volume: Option<String>,
        #[command(flatten)]
        of: OfRole,
        #[command(flatten)]
        read: Read,
    },
    /// Show one snapshot
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        #[command(flatten)]
        which: OneSnapshot,
        #[command(flatten)]
        read: Read,
    },
    /// Delete a snapshot for good
    #[command(visible_alias = "rm")]
    Delete {
        #[command(flatten)]
        which: OneSnapshot,
        #[command(flatten)]
        confirm: TypedName,
        #[command(flatten)]
        act: Act,
    },
    /// Hold a snapshot: neither it nor its volume can be deleted until it is released
    Hold(SnapshotHold),
    /// Release a held snapshot
    Release(SnapshotHold),
}

/// The snapshot that is meant.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct OneSnapshot {
    /// Name, VOLUME@NAME, id, or its beginning
    pub(crate) snapshot: String,
    #[command(flatten)]
    pub(crate) of: OfRole,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct SnapshotCreate {
    #[command(flatten)]
    pub(crate) which: OneVolume,
    /// Unique among the volume's snapshots (default: one is made up)
    #[arg(long, value_parser = snapshot_name)]
    pub(crate) name: Option<berth_model::id::SnapshotName>,
    /// A shell command run in the container of the task that uses the volume: it brings the data to rest, prints a line,
    /// waits for the end of its standard input, and lets go
    #[arg(long)]
    pub(crate) freeze: Option<String>,
    /// How long the freeze command may take until its line; without it no snapshot is taken
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub(crate) freeze_timeout: std::time::Duration,
    /// Who asks, for the records
    #[arg(long)]
    pub(crate) principal: Option<String>,
    #[command(flatten)]
    pub(crate) trial: Trial,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct SnapshotHold {
    #[command(flatten)]
    pub(crate) which: OneSnapshot,
    #[command(flatten)]
    pub(crate) act: Act,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct VolumeRollback {
    #[command(flatten)]
    pub(crate) which: OneVolume,
    /// One of its snapshots: name, id, or its beginning
    #[arg(long)]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) confirm: Confirm,
    #[command(flatten)]
    pub(crate) act: Act,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct VolumeClone {
    #[command(flatten)]
    pub(crate) which: OneVolume,
    /// The new volume's name, unique in its role
    #[arg(value_parser = volume_name)]
    pub(crate) new: berth_model::id::VolumeName,
    /// From which of its snapshots: name, id, or its beginning (default: one is taken now)
    #[arg(long)]
    pub(crate) snapshot: Option<String>,
    /// The new volume's role (default: that of the volume)
    #[arg(long, value_parser = super::role)]
    pub(crate) new_role: Option<berth_model::role::Role>,
    /// Where tasks see it (default: as the volume)
    #[arg(long, value_parser = container_path)]
    pub(crate) path: Option<String>,
    /// Who owns it, for frameworks that name a principal
    #[arg(long)]
    pub(crate) principal: Option<String>,
    #[command(flatten)]
    pub(crate) trial: Trial,
}
