//! Snapshots.

use super::{Change, OfRole, Read, container_path, duration, snapshot_name, volume_name};
use crate::confirm::Confirm;
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
        /// Name, VOLUME@NAME, id, or its beginning
        snapshot: String,
        #[command(flatten)]
        of: OfRole,
        #[command(flatten)]
        read: Read,
    },
    /// Delete a snapshot for good
    #[command(visible_alias = "rm")]
    Delete {
        /// Name, VOLUME@NAME, id, or its beginning
        snapshot: String,
        #[command(flatten)]
        of: OfRole,
        /// With --yes: the snapshot's name, instead of typing it
        #[arg(long, help_heading = "Safety")]
        confirm: Option<String>,
        #[command(flatten)]
        safety: Confirm,
        #[command(flatten)]
        change: Change,
        #[command(flatten)]
        read: Read,
    },
    /// Hold a snapshot: neither it nor its volume can be deleted until it is released
    Hold(SnapshotHold),
    /// Release a held snapshot
    Release(SnapshotHold),
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct SnapshotCreate {
    /// Of which volume: name, ROLE/NAME, id, or its beginning
    pub(crate) volume: String,
    #[command(flatten)]
    pub(crate) of: OfRole,
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
    /// Show what would be done and do nothing
    #[arg(long, help_heading = "Safety")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) change: Change,
    #[command(flatten)]
    pub(crate) read: Read,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct SnapshotHold {
    /// Name, VOLUME@NAME, id, or its beginning
    pub(crate) snapshot: String,
    #[command(flatten)]
    pub(crate) of: OfRole,
    #[command(flatten)]
    pub(crate) change: Change,
    #[command(flatten)]
    pub(crate) read: Read,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct VolumeRollback {
    /// Name, ROLE/NAME, id, or its beginning
    pub(crate) volume: String,
    /// One of its snapshots: name, id, or its beginning
    #[arg(long)]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) of: OfRole,
    #[command(flatten)]
    pub(crate) confirm: Confirm,
    #[command(flatten)]
    pub(crate) change: Change,
    #[command(flatten)]
    pub(crate) read: Read,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct VolumeClone {
    /// Name, ROLE/NAME, id, or its beginning
    pub(crate) volume: String,
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
    pub(crate) of: OfRole,
    /// Show what would be done and do nothing
    #[arg(long, help_heading = "Safety")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) change: Change,
    #[command(flatten)]
    pub(crate) read: Read,
}
