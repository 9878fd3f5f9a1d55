//! Files that are attached as devices, and the file systems mounted from them.
//!
//! Invariant: what such a file system made durable is in its file; what it holds else is lost with the machine.

use super::change::Change;
use super::storage::{Model, Storage};
use super::tree::{Medium, Number};
use berth_agent::disk::image::Format;
use std::sync::Arc;

/// An attached file.
#[derive(Clone, Debug)]
pub(super) struct Device {
    /// As it was read last.
    pub size: u64,
    /// Handles of the process that runs.
    pub holders: u32,
    /// What is mounted from it.
    pub mounted: Option<Mounted>,
}

/// A mounted file system. What it made durable is in the file.
#[derive(Clone, Debug)]
pub(super) struct Mounted {
    pub format: Format,
    pub storage: Box<Storage>,
    /// Under which name; nobody sees it without.
    pub name: Option<String>,
    /// Whoever writes waits, also when the process that froze it is gone.
    pub frozen: bool,
}

impl Mounted {
    pub(super) fn medium(&self) -> Medium {
        Medium::Whole { format: self.format, tree: self.storage.durable().clone() }
    }
}

/// How a file system of this kind loses.
pub(super) fn model_of(format: Format) -> Model {
    match format {
        Format::Ext4 => Model::Ext4,
        Format::Xfs => Model::Xfs,
        Format::Btrfs => Model::Btrfs,
    }
}

impl Storage {
    /// The machine is at rest for a while: the kernel writes everything out.
    pub fn rest(&mut self) {
        let files: Vec<Number> = self.devices.keys().copied().collect();
        for file in files {
            if let Some(mounted) = self.devices.get_mut(&file).and_then(|one| one.mounted.as_mut())
            {
                mounted.storage.sync_all();
            }
            self.flush(file);
        }
        self.sync_all();
    }

    /// What the file system on a device made durable reaches the file, and the data of the file the disk.
    pub(super) fn flush(&mut self, file: Number) {
        self.write_back(file);
        for pending in &mut self.pending {
            if pending.change.is_data() && pending.change.subject() == file && !pending.lost {
                pending.synced = true;
            }
        }
        self.settle();
    }

    /// What the file system on a device made durable reaches the file.
    fn write_back(&mut self, file: Number) {
        let mounted = self.devices.get(&file).and_then(|device| device.mounted.as_ref());
        let Some(medium) = mounted.map(Mounted::medium) else { return };
        if self.seen().medium(file).is_none_or(|before| *before != medium) {
            let medium = Arc::new(medium);
            self.change(Change::Blocks { number: file, medium, is_journaled: true });
        }
    }

    /// The process is gone: what it mounted where nobody sees it, and what it only held attached.
    pub(super) fn end_process(&mut self) {
        let files: Vec<Number> = self.devices.keys().copied().collect();
        for file in files {
            self.let_go(file, true);
        }
    }

    /// Unmounts what nobody sees and detaches what nobody holds.
    pub(super) fn let_go(&mut self, file: Number, process_ended: bool) {
        let Some(device) = self.devices.get_mut(&file) else { return };
        if process_ended {
            device.holders = 0;
        }
        let is_unseen = device.mounted.as_ref().is_some_and(|mounted| mounted.name.is_none());
        if process_ended && is_unseen {
            self.unmount(file);
        }
        let is_free = |device: &Device| device.holders == 0 && device.mounted.is_none();
        if self.devices.get(&file).is_some_and(is_free) {
            self.devices.remove(&file);
        }
    }

    /// Unmounts what is mounted from a file: everything of it is written, and nobody says that the disk has it.
    pub(super) fn unmount(&mut self, file: Number) {
        let mounted = self.devices.get_mut(&file).and_then(|device| device.mounted.as_mut());
        if let Some(mounted) = mounted {
            mounted.storage.sync_all();
        }
        self.write_back(file);
        if let Some(device) = self.devices.get_mut(&file) {
            device.mounted = None;
        }
    }

    /// Does whoever writes to the file system in this file wait?
    pub(super) fn is_frozen(&self, file: Number) -> bool {
        let mounted = self.devices.get(&file).and_then(|device| device.mounted.as_ref());
        mounted.is_some_and(|mounted| mounted.frozen)
    }

    /// Does anybody who writes wait?
    #[must_use]
    pub fn is_any_frozen(&self) -> bool {
        self.devices.keys().any(|file| self.is_frozen(*file))
    }

    /// The file whose file system is seen under this name.
    pub(super) fn shown(&self, name: &str) -> Option<Number> {
        let is_it = |device: &Device| {
            device.mounted.as_ref().is_some_and(|mounted| mounted.name.as_deref() == Some(name))
        };
        self.devices.iter().find(|(_file, device)| is_it(device)).map(|(file, _device)| *file)
    }
}
