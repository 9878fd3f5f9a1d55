//! Reservations and volumes.

use super::{Act, OfRole, OneVolume, Read, Trial, container_path, role, size, volume_name};
use crate::confirm::{Confirm, TypedName};
use berth_model::access::{Access, Mode, Owner};
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Reservation {
    /// Reserve resources of one agent for a role
    Create(ReservationCreate),
    /// List reservations
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        of: OfRole,
        #[command(flatten)]
        read: Read,
    },
    /// Give the unused part of a reservation back
    Release {
        /// Id or its beginning
        reservation: String,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        act: Act,
    },
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct ReservationCreate {
    /// What to reserve, such as cpus:1;mem:512MiB;disk:2GiB
    pub(crate) resources: String,
    /// For whom
    #[arg(short, long, env = "BERTH_ROLE", value_parser = role)]
    pub(crate) role: berth_model::role::Role,
    /// Where: id, its beginning, or the host's name
    #[arg(long)]
    pub(crate) agent: String,
    /// The disk that a disk amount is on: its id, name, or root directory (default: the ROOT disk)
    #[arg(long)]
    pub(crate) disk: Option<String>,
    #[command(flatten)]
    pub(crate) trial: Trial,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Volume {
    /// Create a volume, reserving what is missing
    Create(VolumeCreate),
    /// Make a volume with a copy of a directory of an agent's machine, which stays as it is, or with what an export holds
    Import(VolumeImport),
    /// Write what is in a volume that no task uses, or in one of its snapshots, to a file or to standard output
    Export(VolumeExport),
    /// List volumes
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        of: OfRole,
        #[command(flatten)]
        read: Read,
    },
    /// Show one volume
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        #[command(flatten)]
        which: OneVolume,
        #[command(flatten)]
        read: Read,
    },
    /// Give a volume another size, in use or not; its data stays
    Resize {
        #[command(flatten)]
        which: OneVolume,
        /// The new size, such as 20GiB; one below what the volume uses is refused
        #[arg(long, value_parser = size)]
        size: berth_model::units::Bytes,
        #[command(flatten)]
        trial: Trial,
    },
    /// Move a volume to its agent's trash
    #[command(visible_alias = "rm", alias = "destroy")]
    Delete {
        #[command(flatten)]
        which: OneVolume,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        act: Act,
    },
    /// Keep the volume's content as it is now (as berth snapshot create)
    Snapshot(super::SnapshotCreate),
    /// Give a volume the content of one of its snapshots, keeping what it has now as another
    Rollback(super::VolumeRollback),
    /// Make a new volume with a volume's content, on the same disk
    Clone(super::VolumeClone),
    /// Deleted volumes that can still be restored
    #[command(subcommand)]
    Trash(Trash),
    /// Say what volumes use: bytes, inodes, how fast that grows and when it is full
    Usage {
        /// Name, ROLE/NAME, id, or its beginning (default: all)
        volume: Option<String>,
        #[command(flatten)]
        of: OfRole,
        #[command(flatten)]
        read: Read,
    },
    /// Refuse, until it is unprotected, what would take data from a volume: delete, purge, shrink, rollback
    Protect(VolumeProtect),
    /// End the protection of a volume
    Unprotect(VolumeProtect),
    /// Give a volume's root directory another owner or mode, in use or not
    Set(VolumeSet),
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct VolumeProtect {
    #[command(flatten)]
    pub(crate) which: OneVolume,
    #[command(flatten)]
    pub(crate) trial: Trial,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct VolumeCreate {
    /// Unique in the role
    #[arg(value_parser = volume_name)]
    pub(crate) name: berth_model::id::VolumeName,
    /// Whose it will be
    #[arg(short, long, env = "BERTH_ROLE", value_parser = role)]
    pub(crate) role: berth_model::role::Role,
    /// How large, in whole MiB, such as 10GiB
    #[arg(long, value_parser = size)]
    pub(crate) size: berth_model::units::Bytes,
    /// Where: id, its beginning, or the host's name (default: the agent with most room)
    #[arg(long)]
    pub(crate) agent: Option<String>,
    /// Which disk: its id, HOST:NAME, name, or root directory (default: one with room)
    #[arg(long)]
    pub(crate) disk: Option<String>,
    /// Only disks that satisfy this profile
    #[arg(long, conflicts_with = "disk", value_parser = super::profile_name)]
    pub(crate) profile: Option<berth_model::id::ProfileName>,
    /// Where tasks see it, not where it lies: relative to the sandbox, or an absolute directory that exists on the agent
    #[arg(long, default_value = "data", value_parser = container_path)]
    pub(crate) path: String,
    /// Several tasks may use it at once, also tasks of several frameworks; nothing arbitrates between them
    #[arg(long)]
    pub(crate) shared: bool,
    /// Who owns it, for frameworks that name a principal
    #[arg(long)]
    pub(crate) principal: Option<String>,
    /// Encrypts it by a key of its own, which its agent keeps: only on a disk of images (driver image or image:ext4), as image:ext4
    #[arg(long)]
    pub(crate) encrypt: bool,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) trial: Trial,
}

#[derive(Debug, Args)]
#[group(id = "source", required = true, multiple = false, args = ["path", "from"])]
pub(crate) struct VolumeImport {
    /// Unique in the role
    #[arg(value_parser = volume_name)]
    pub(crate) name: berth_model::id::VolumeName,
    /// Whose it will be
    #[arg(short, long, env = "BERTH_ROLE", value_parser = role)]
    pub(crate) role: berth_model::role::Role,
    /// The directory on the agent's machine, absolute; the agent's import_from must allow it
    #[arg(long, value_name = "DIR", value_parser = directory, requires = "agent")]
    pub(crate) path: Option<std::sync::Arc<str>>,
    /// An export on this machine (- for standard input), as berth volume export writes it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["path", "detach"])]
    pub(crate) from: Option<std::path::PathBuf>,
    /// The agent: id, its beginning, or the host's name; the one that has the directory (of an export: the one with most room)
    #[arg(long)]
    pub(crate) agent: Option<String>,
    /// How large the volume will be, in whole MiB, such as 10GiB
    #[arg(long, value_parser = size)]
    pub(crate) size: berth_model::units::Bytes,
    /// Which disk: its id, HOST:NAME, name, or root directory (default: one with room)
    #[arg(long)]
    pub(crate) disk: Option<String>,
    /// Only disks that satisfy this profile
    #[arg(long, conflicts_with = "disk", value_parser = super::profile_name)]
    pub(crate) profile: Option<berth_model::id::ProfileName>,
    /// Where tasks see it: relative to the sandbox, or an absolute directory that exists on the agent
    #[arg(long, default_value = "data", value_parser = container_path)]
    pub(crate) container_path: String,
    /// Who owns it, for frameworks that name a principal
    #[arg(long)]
    pub(crate) principal: Option<String>,
    /// Encrypts it by a key of its own, which its agent keeps: only on a disk of images (driver image or image:ext4), as image:ext4
    #[arg(long)]
    pub(crate) encrypt: bool,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) trial: Trial,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct VolumeExport {
    #[command(flatten)]
    pub(crate) which: OneVolume,
    /// The file to write, which must not be there, or - for standard output
    #[arg(value_name = "FILE")]
    pub(crate) file: std::path::PathBuf,
    /// Which of its snapshots: name, VOLUME@NAME, id, or its beginning (default: the volume itself, which no task may use)
    #[arg(long)]
    pub(crate) snapshot: Option<String>,
    #[command(flatten)]
    pub(crate) trial: Trial,
}

fn directory(text: &str) -> Result<std::sync::Arc<str>, String> {
    let trimmed = text.trim_end_matches('/');
    berth_model::transfer::check_directory(trimmed).map_err(|e| e.message)?;
    Ok(std::sync::Arc::from(trimmed))
}

/// Who may do what in a volume's root directory.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct AccessArgs {
    /// Who owns its root directory: UID:GID, or UID for the group of that number (else, of a new volume, the user of the task)
    #[arg(long, value_name = "UID[:GID]", value_parser = owner)]
    pub(crate) owner: Option<Owner>,
    /// The permissions of its root directory, such as 0750 (else, of a new volume, 0700)
    #[arg(long, value_parser = mode)]
    pub(crate) mode: Option<Mode>,
}

impl AccessArgs {
    pub(crate) fn access(&self) -> Access {
        Access { owner: self.owner, mode: self.mode }
    }
}

fn wipe(text: &str) -> Result<berth_model::wipe::Wipe, String> {
    text.parse().map_err(|e: berth_model::wipe::WipeError| e.to_string())
}

fn owner(text: &str) -> Result<Owner, String> {
    text.parse().map_err(|e: berth_model::access::AccessError| e.to_string())
}

fn mode(text: &str) -> Result<Mode, String> {
    text.parse().map_err(|e: berth_model::access::AccessError| e.to_string())
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct VolumeSet {
    #[command(flatten)]
    pub(crate) which: OneVolume,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) trial: Trial,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Trash {
    /// List what is in the trash
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        of: OfRole,
        #[command(flatten)]
        read: Read,
    },
    /// Take a volume out of the trash
    Restore {
        #[command(flatten)]
        which: OneVolume,
        #[command(flatten)]
        trial: Trial,
    },
    /// Delete a volume from the trash for good
    Purge {
        #[command(flatten)]
        which: OneVolume,
        /// What becomes of its blocks: none, discard, zero (overwritten in place) or shred (random bytes, then zeros); berth
        /// disk show says what its disk can, and anything else is refused (default: purge_wipe of its agent)
        #[arg(long, value_name = "METHOD", value_parser = wipe)]
        wipe: Option<berth_model::wipe::Wipe>,
        #[command(flatten)]
        confirm: TypedName,
        #[command(flatten)]
        act: Act,
    },
}
