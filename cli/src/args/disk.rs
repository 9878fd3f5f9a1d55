//! Disks and profiles.

use super::{Act, Read, Trial, profile_name, size};
use crate::confirm::Confirm;
use crate::output::Show;
use berth_model::id::ProfileName;
use berth_model::units::Bytes;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Disk {
    /// List disks
    #[command(visible_alias = "ls")]
    List(Read),
    /// Show everything known of one disk
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        /// Id, its beginning, or HOST:NAME
        disk: String,
        #[command(flatten)]
        read: Read,
    },
    /// Draw disks to scale, with their volumes, reserved and free space, and trash
    Map(DiskMap),
    /// Say which disks are not ok, with the evidence; ends with 9 when one is not
    Health {
        /// Id, its beginning, or HOST:NAME (default: all)
        disk: Option<String>,
        #[command(flatten)]
        read: Read,
    },
    /// Put nothing new on a disk; volumes on it stay usable and stay offered to their roles. The reason is shown wherever the
    /// disk is refused
    Cordon {
        #[command(flatten)]
        change: DiskChange,
    },
    /// Use a cordoned disk again
    Uncordon {
        #[command(flatten)]
        change: DiskChange,
    },
    /// Set labels with KEY=VALUE, remove them with KEY-
    Label {
        #[command(flatten)]
        change: DiskChange,
        /// KEY=VALUE or KEY-
        #[arg(required = true)]
        labels: Vec<String>,
    },
    /// List file systems and block devices of this machine, and whose disks they carry; asks no cluster
    Scan(DiskScan),
    /// Have an agent that runs use one more disk; without --agent, check a directory of this machine and print how to
    /// configure it
    Add(DiskAdd),
    /// Have its agent use a disk no more that was added with `berth disk add`; it must be cordoned and empty
    #[command(visible_alias = "rm")]
    Remove(DiskChange),
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct DiskMap {
    /// Only this agent: id, its beginning, or the host's name
    pub(crate) agent: Option<String>,
    /// Draw with plain characters (default: when the locale is not UTF-8)
    #[arg(long, help_heading = "Output")]
    pub(crate) ascii: bool,
    /// Draw so many columns wide (default: the terminal's width, 80 when there is none)
    #[arg(long, help_heading = "Output")]
    pub(crate) width: Option<u16>,
    #[command(flatten)]
    pub(crate) read: Read,
}

/// Flags of commands that say something of one disk.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct DiskChange {
    /// Id, its beginning, or HOST:NAME
    pub(crate) disk: String,
    #[command(flatten)]
    pub(crate) trial: Trial,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct DiskScan {
    /// Also look whether these directories carry a disk
    pub(crate) directories: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) show: Show,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct DiskAdd {
    /// The directory that is to be the disk's root; the same as --path
    #[arg(required_unless_present_any = ["path", "mount", "block"])]
    pub(crate) root: Option<PathBuf>,
    /// The agent that is to use it: id, its beginning, or the host's name; it must allow the place (its setting
    /// `disk_add_below`)
    #[arg(long, required_unless_present = "root")]
    pub(crate) agent: Option<String>,
    /// A directory on the agent's machine
    #[arg(long, value_name = "DIR", group = "place", conflicts_with = "root")]
    pub(crate) path: Option<PathBuf>,
    /// A mount point on the agent's machine; one volume has the whole file system
    #[arg(long, value_name = "DIR", group = "place", conflicts_with = "root")]
    pub(crate) mount: Option<PathBuf>,
    /// A device on the agent's machine with nothing on it; one volume has all of it
    #[arg(long, value_name = "DEVICE", group = "place", conflicts_with = "root")]
    pub(crate) block: Option<PathBuf>,
    /// The disk's name (default: the last part of its place)
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Which driver makes volumes: auto, directory, btrfs, project-quota, or image[:xfs|:ext4|:btrfs]
    #[arg(long, default_value = "auto", conflicts_with_all = ["mount", "block"])]
    pub(crate) driver: String,
    /// How much it declares (default: what is free when it is adopted, less a reserve)
    #[arg(long, value_parser = size)]
    pub(crate) size: Option<Bytes>,
    #[command(flatten)]
    pub(crate) trial: Trial,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Profile {
    /// Create a profile
    Create(ProfileCreate),
    /// List profiles
    #[command(visible_alias = "ls")]
    List(Read),
    /// Show one profile
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        /// Its name
        #[arg(value_parser = profile_name)]
        profile: ProfileName,
        #[command(flatten)]
        read: Read,
    },
    /// Say for each disk whether it satisfies a profile, and why not; ends with 9 when none does
    Match {
        /// Its name
        #[arg(value_parser = profile_name)]
        profile: ProfileName,
        #[command(flatten)]
        read: Read,
    },
    /// Forget a profile; volumes that were placed by it stay where they are
    #[command(visible_alias = "rm")]
    Delete {
        /// Its name
        #[arg(value_parser = profile_name)]
        profile: ProfileName,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        act: Act,
    },
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct ProfileCreate {
    /// Unique in the cluster
    #[arg(value_parser = profile_name)]
    pub(crate) name: ProfileName,
    /// One of these media (default: any)
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) media: Vec<Medium>,
    /// At least so large, such as 1TiB
    #[arg(long, value_parser = size)]
    pub(crate) size_min: Option<Bytes>,
    /// At most so large
    #[arg(long, value_parser = size)]
    pub(crate) size_max: Option<Bytes>,
    /// With this label, KEY=VALUE; may be repeated
    #[arg(long = "label")]
    pub(crate) labels: Vec<String>,
    /// Whether faulty disks satisfy it; no volume is made on those in any case
    #[arg(long, value_enum, default_value_t)]
    pub(crate) health: Health,
    #[command(flatten)]
    pub(crate) trial: Trial,
}

/// What a disk is made of.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Medium {
    /// It turns
    Hdd,
    /// It does not turn
    Ssd,
    /// It does not turn and is attached by NVMe
    Nvme,
    /// The agent cannot tell
    Unknown,
}

impl From<Medium> for berth_model::agent::Media {
    fn from(medium: Medium) -> Self {
        match medium {
            Medium::Hdd => Self::Hdd,
            Medium::Ssd => Self::Ssd,
            Medium::Nvme => Self::Nvme,
            Medium::Unknown => Self::Unknown,
        }
    }
}

/// Which health a profile asks for.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(crate) enum Health {
    /// Only disks that are fit for use
    #[default]
    Ok,
    /// Faulty ones too
    Any,
}
