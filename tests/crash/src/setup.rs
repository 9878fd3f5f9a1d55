//! The kinds of file systems with a driver on each that are explored.

use crate::books::Record;
use crate::scene::{files_of, rows};
use crate::sim::storage::Model;
use crate::sim::{FREE, Traits};
use berth_agent::disk::DriverChoice;
use berth_agent::disk::image::Format;
use berth_model::units::Bytes;

/// A kind of file system with the driver on it.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// For people.
    pub name: &'static str,
    /// The file system.
    pub traits: Traits,
    /// The driver that is declared.
    pub driver: DriverChoice,
    /// Is the first volume encrypted?
    pub encrypts: bool,
}

impl Setup {
    /// Does the driver keep snapshots here?
    #[must_use]
    pub fn has_snapshots(&self) -> bool {
        match self.format() {
            Some(_image) => self.traits.has_reflinks,
            None => self.traits.has_subvolumes,
        }
    }

    /// May the volume get this size? Not below what it uses, and not above what is free; of images only btrfs gets
    /// smaller.
    #[must_use]
    pub fn can_have(&self, record: &Record, size: Bytes) -> bool {
        let count = files_of(record.data).len() as u64;
        let used = count * rows(record.data.by).len() as u64;
        let more = size.get().saturating_sub(record.spec.size.get());
        let least = match self.format() {
            None => used,
            Some(Format::Btrfs) => Format::Btrfs.least(),
            Some(Format::Xfs | Format::Ext4) => record.spec.size.get(),
        };
        size.get() >= least && more <= FREE
    }

    /// The kind of file system that its volumes are, if they are images.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        match self.driver {
            DriverChoice::Image(format) => format,
            DriverChoice::Auto
            | DriverChoice::Directory
            | DriverChoice::Btrfs
            | DriverChoice::ProjectQuota => None,
        }
    }
}

const fn plain(model: Model, has_attributes: bool) -> Traits {
    Traits {
        model,
        has_attributes,
        has_subvolumes: false,
        has_projects: false,
        has_reflinks: false,
    }
}

/// Every combination that differs.
pub const SETUPS: [Setup; 12] = [
    Setup {
        name: "directories on ext4",
        traits: plain(Model::Ext4, true),
        driver: DriverChoice::Directory,
        encrypts: false,
    },
    Setup {
        name: "directories on xfs",
        traits: plain(Model::Xfs, true),
        driver: DriverChoice::Directory,
        encrypts: false,
    },
    Setup {
        name: "directories on xfs without attributes",
        traits: plain(Model::Xfs, false),
        driver: DriverChoice::Directory,
        encrypts: false,
    },
    Setup {
        name: "directories on btrfs",
        traits: plain(Model::Btrfs, true),
        driver: DriverChoice::Directory,
        encrypts: false,
    },
    Setup {
        name: "directories on btrfs without attributes",
        traits: plain(Model::Btrfs, false),
        driver: DriverChoice::Directory,
        encrypts: false,
    },
    Setup {
        name: "subvolumes on btrfs",
        traits: Traits { has_subvolumes: true, ..plain(Model::Btrfs, true) },
        driver: DriverChoice::Btrfs,
        encrypts: false,
    },
    Setup {
        name: "project quotas on ext4",
        traits: Traits { has_projects: true, ..plain(Model::Ext4, true) },
        driver: DriverChoice::ProjectQuota,
        encrypts: false,
    },
    Setup {
        name: "project quotas on xfs",
        traits: Traits { has_projects: true, ..plain(Model::Xfs, true) },
        driver: DriverChoice::ProjectQuota,
        encrypts: false,
    },
    image("images of ext4 on ext4", Model::Ext4, Format::Ext4),
    Setup {
        encrypts: true,
        ..image("encrypted images of ext4 on ext4", Model::Ext4, Format::Ext4)
    },
    image("images of xfs on xfs", Model::Xfs, Format::Xfs),
    image("images of btrfs on btrfs", Model::Btrfs, Format::Btrfs),
];

const fn image(name: &'static str, model: Model, format: Format) -> Setup {
    let has_subvolumes = matches!(model, Model::Btrfs);
    let has_reflinks = !matches!(model, Model::Ext4);
    let traits = Traits { has_subvolumes, has_reflinks, ..plain(model, true) };
    Setup { name, traits, driver: DriverChoice::Image(Some(format)), encrypts: false }
}
