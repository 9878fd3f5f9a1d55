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
        /// Only those of this group: its id, or its beginning
        #[arg(long)]
        group: Option<String>,
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
    /// Snapshots by the clock, and which of them are kept
    #[command(subcommand)]
    Schedule(Schedule),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// Take snapshots of a volume by the clock; replaces the schedule it has
    Set(ScheduleSet),
    /// List schedules
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        of: OfRole,
        #[command(flatten)]
        read: Read,
    },
    /// Show the schedule of a volume: when, which are kept, how the latest went and why it failed
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        #[command(flatten)]
        which: OneVolume,
        #[command(flatten)]
        read: Read,
    },
    /// Take no more snapshots by the clock; those taken stay
    #[command(visible_alias = "rm")]
    Delete {
        #[command(flatten)]
        which: OneVolume,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        act: Act,
    },
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct ScheduleSet {
    #[command(flatten)]
    pub(crate) which: OneVolume,
    /// How often, such as 15m, 1h or 1d: at the multiples of it since the Unix epoch (UTC)
    #[arg(long, value_parser = duration)]
    pub(crate) every: std::time::Duration,
    /// Keep so many of the newest
    #[arg(long, required_unless_present_any = ["keep_hourly", "keep_daily", "keep_weekly"])]
    pub(crate) keep: Option<u32>,
    /// Keep the newest of so many hours
    #[arg(long)]
    pub(crate) keep_hourly: Option<u32>,
    /// Keep the newest of so many days (UTC)
    #[arg(long)]
    pub(crate) keep_daily: Option<u32>,
    /// Keep the newest of so many weeks (UTC, from Monday)
    #[arg(long)]
    pub(crate) keep_weekly: Option<u32>,
    /// As for berth snapshot create, each time
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

/// The snapshot that is meant.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct OneSnapshot {
    /// Name, VOLUME@NAME, id, or its beginning
    pub(crate) snapshot: String,
    #[command(flatten)]
    pub(crate) of: OfRole,
}

/// One of several that are named in a list; a space behind the comma belongs to no name.
#[expect(clippy::unnecessary_wraps, reason = "it is a parser of arguments")]
fn trimmed(text: &str) -> Result<String, String> {
    Ok(text.trim().to_owned())
}

#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false, args = ["volume", "group"])]
pub(crate) struct SnapshotCreate {
    /// Name, ROLE/NAME, id, or its beginning
    pub(crate) volume: Option<String>,
    #[command(flatten)]
    pub(crate) of: OfRole,
    /// Of these volumes of one agent instead, at one moment, all of them or none: the tasks that use them are stopped until
    /// the last one is taken
    #[arg(long, value_name = "VOLUME,…", value_delimiter = ',', value_parser = trimmed)]
    pub(crate) group: Option<Vec<String>>,
    /// Unique among the volume's snapshots (default: one is made up); the same for all of a group
    #[arg(long, value_parser = snapshot_name)]
    pub(crate) name: Option<berth_model::id::SnapshotName>,
    /// A shell command run in the container of each task that uses the volume: it brings the data to rest, prints a line,
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
