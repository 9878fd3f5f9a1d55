//! A file system in memory for one machine: deterministic, recorded call by call, with faults on demand.
//!
//! It does not know disks or volumes. Handles of one [`SimFs`] share its state; [`SimFs::fork`] and the states in its
//! recording are independent of it.

pub mod attached;
mod call;
mod calls;
pub mod change;
mod copies;
mod device;
pub mod fast;
pub mod images;
mod raw;
mod snapshot;
pub mod storage;
pub mod tree;
mod wipes;

use berth_agent::disk::filesystem::Position;
use berth_agent::disk::fs::{Calls, FileSystem, Site};
pub use call::{Call, CallSite, Event, changing};
use change::Change;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage::{Model, Storage};
use tree::{Content, Inode, Number, ROOT, Tree};

/// The room that every disk has, in bytes.
pub const FREE: u64 = 50 << 30;

/// A call that fails.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The how-manieth call from now on, counted from 0.
    pub at: usize,
    /// How.
    pub errno: Errno,
}

#[derive(Clone, Debug)]
struct State {
    storage: Storage,
    has_attributes: bool,
    is_btrfs: bool,
    has_projects: bool,
    has_reflinks: bool,
    is_recording: bool,
    events: Vec<Event>,
    calls: usize,
    fault: Option<Fault>,
    /// The call that failed by order, and whether on a file system in an image.
    failed: Option<(CallSite, bool)>,
    ignored: Option<CallSite>,
    /// Copying a file takes until whoever holds its file system still gives up.
    copies_are_slow: bool,
    /// Names that went of files of which anything is left, when that is of interest.
    leaks: Option<Vec<String>>,
}

/// The file system of one machine.
#[derive(Clone, Debug)]
pub struct SimFs {
    state: Arc<Mutex<State>>,
}

/// What kind of file system it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// What a crash may do.
    pub model: Model,
    /// Directories take extended attributes.
    pub has_attributes: bool,
    /// There are subvolumes and quotas.
    pub has_subvolumes: bool,
    /// There are projects and quotas of theirs.
    pub has_projects: bool,
    /// Files can share blocks.
    pub has_reflinks: bool,
}

impl SimFs {
    /// One with these directories, durable.
    #[must_use]
    pub fn new(traits: Traits, directories: &[&str]) -> Self {
        let mut tree = Tree::default();
        for (number, name) in (ROOT + 1..).zip(directories) {
            let inode = Inode::new(Content::Directory(BTreeMap::new()), 0o755, ROOT);
            let inode = Box::new(inode);
            tree.apply(&Change::Make { dir: ROOT, name: (*name).to_owned(), number, inode });
        }
        let state = State {
            storage: Storage::new(traits.model, tree),
            has_attributes: traits.has_attributes,
            is_btrfs: traits.has_subvolumes,
            has_projects: traits.has_projects,
            has_reflinks: traits.has_reflinks,
            is_recording: false,
            events: Vec::new(),
            calls: 0,
            fault: None,
            failed: None,
            ignored: None,
            copies_are_slow: false,
            leaks: None,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Another machine's file system in the same state.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.state().clone())) }
    }

    /// The same kind of file system in that state, as a process that starts finds it.
    #[must_use]
    pub fn with(&self, storage: Storage) -> Self {
        let mut state = self.state().clone();
        state.storage = storage;
        state.storage.end_process();
        state.events = Vec::new();
        state.is_recording = false;
        state.fault = None;
        state.failed = None;
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// After a crash that left this tree.
    #[must_use]
    pub fn crashed(&self, tree: Tree) -> Self {
        let model = self.state().storage.model();
        self.with(Storage::new(model, tree))
    }

    /// For the agent's code.
    #[must_use]
    pub fn files(&self) -> Arc<dyn FileSystem> {
        Arc::new(self.clone())
    }

    /// The state now.
    #[must_use]
    pub fn storage(&self) -> Storage {
        self.state().storage.clone()
    }

    /// Everything is written out, as the kernel does after a while.
    pub fn rest(&self) {
        self.state().storage.rest();
    }

    /// Records from now on.
    pub fn record(&self) {
        let mut state = self.state();
        state.is_recording = true;
        state.events.clear();
    }

    /// How many calls were recorded so far.
    #[must_use]
    pub fn recorded(&self) -> usize {
        self.state().events.len()
    }

    /// What was recorded.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.state().events)
    }

    /// One call is going to fail.
    pub fn fail(&self, fault: Fault) {
        let mut state = self.state();
        state.calls = 0;
        state.fault = Some(fault);
        state.failed = None;
    }

    /// The call that failed as ordered, if it was reached.
    #[must_use]
    pub fn failed(&self) -> Option<CallSite> {
        self.state().failed.map(|(site, _in_image)| site)
    }

    /// Was it on a file system in an image, or on its device?
    #[must_use]
    pub fn failed_in_image(&self) -> bool {
        self.state().failed.is_some_and(|(_site, in_image)| in_image)
    }

    /// Syncs from this place answer and do nothing from now on.
    pub fn ignore(&self, site: Option<CallSite>) {
        self.state().ignored = site;
    }

    /// Copying a file takes longer than anybody waits, or not.
    pub fn set_slow_copies(&self, are_slow: bool) {
        self.state().copies_are_slow = are_slow;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, image: Option<Number>, number: Number) -> Box<dyn Calls> {
        Box::new(calls::Handle { files: self.clone(), image, number })
    }

    /// Carries a call out, or lets it fail, and records it; with `image`, on the file system in that file.
    fn perform<T>(
        &self,
        image: Option<Number>,
        site: Site,
        (call, arguments): (Call, &dyn Fn() -> String),
        work: impl FnOnce(&mut State) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let site = CallSite::new(site, call);
        let mut state = self.state();
        let number = state.calls;
        state.calls += 1;
        let fault = state.fault.filter(|fault| fault.at == number);
        // Nobody would ever answer.
        let waits = call.is_change() && image.is_some_and(|file| state.storage.is_frozen(file));
        let outcome = match fault {
            Some(fault) => {
                state.fault = None;
                let in_image = image.is_some() || call.is_of_device();
                state.failed = Some((site, in_image));
                Err(fault.errno)
            },
            None if waits => Err(Errno::DEADLK),
            None if call.is_sync() && state.ignored == Some(site) => {
                let storage = state.storage.clone();
                let answer = state.on(image, work);
                state.storage = storage;
                answer
            },
            None => {
                let answer = state.on(image, work);
                if let (Some(file), true, true) = (image, call.is_sync(), answer.is_ok()) {
                    state.storage.flush(file);
                }
                answer
            },
        };
        if state.is_recording {
            let after = call.is_change().then(|| state.storage.clone());
            let error = outcome.as_ref().err().copied();
            state.events.push(Event { site, arguments: arguments(), error, after });
        }
        outcome
    }
}

impl FileSystem for SimFs {
    fn open(&self, site: Site, path: &Path) -> Result<Box<dyn Calls>, Errno> {
        let shown = || path.display().to_string();
        let (image, number) =
            self.perform(None, site, (Call::Open, &shown), |state| state.place(path))?;
        Ok(self.handle(image, number))
    }

    fn locate(&self, site: Site, path: &Path) -> Result<Position, Errno> {
        let shown = || path.display().to_string();
        self.perform(None, site, (Call::Locate, &shown), |state| {
            let number = state.directory_at(path)?;
            state.position(number)
        })
    }

    fn device(&self, site: Site, path: &Path) -> Result<Box<dyn Calls>, Errno> {
        let shown = || path.display().to_string();
        let opened = (Call::RawDevice, &shown as &dyn Fn() -> String);
        let number = self.perform(None, site, opened, |state| state.raw_device_at(path))?;
        Ok(self.handle(None, number))
    }

    fn device_number(&self, site: Site, path: &Path) -> Result<(u32, u32), Errno> {
        let shown = || path.display().to_string();
        self.perform(None, site, (Call::RawNumber, &shown), |state| {
            let number = state.raw_device_at(path)?;
            Ok((9, u32::try_from(number).unwrap_or(u32::MAX)))
        })
    }
}

impl State {
    /// Does something on the disk, or on the file system in a file that is mounted.
    fn on<T>(
        &mut self,
        image: Option<Number>,
        work: impl FnOnce(&mut Self) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let Some(file) = image else { return work(self) };
        let device = self.storage.devices.get_mut(&file);
        let mut mounted = device.and_then(|device| device.mounted.take()).ok_or(Errno::STALE)?;
        std::mem::swap(&mut self.storage, &mut mounted.storage);
        let attributes = std::mem::replace(&mut self.has_attributes, true);
        let answer = work(self);
        self.has_attributes = attributes;
        std::mem::swap(&mut self.storage, &mut mounted.storage);
        if let Some(device) = self.storage.devices.get_mut(&file) {
            device.mounted = Some(mounted);
        }
        answer
    }

    /// Where a path leads: to a directory of the disk, or to what is mounted from an image.
    fn place(&self, path: &Path) -> Result<(Option<Number>, Number), Errno> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(Errno::INVAL)?;
        if path.parent().is_some_and(|parent| parent.ends_with(".mounts")) {
            let file = self.storage.shown(name).ok_or(Errno::NOENT)?;
            return Ok((Some(file), ROOT));
        }
        self.directory_at(path).map(|number| (None, number))
    }

    fn directory_at(&self, path: &Path) -> Result<Number, Errno> {
        let path = path.to_str().ok_or(Errno::INVAL)?;
        let number = self.storage.seen().walk(ROOT, path).ok_or(Errno::NOENT)?;
        self.entries(number).map(|_entries| number)
    }

    fn inode(&self, number: Number) -> Result<&Inode, Errno> {
        self.storage.seen().get(number).ok_or(Errno::NOENT)
    }

    fn entries(&self, number: Number) -> Result<&BTreeMap<String, Number>, Errno> {
        self.inode(number)?.entries().ok_or(Errno::NOTDIR)
    }

    fn entry(&self, number: Number, name: &str) -> Result<Number, Errno> {
        self.entries(number)?.get(name).copied().ok_or(Errno::NOENT)
    }

    fn position(&self, number: Number) -> Result<Position, Errno> {
        let inode = self.inode(number)?;
        let own = inode.subvolume == number && number != ROOT;
        let minor = u32::try_from(inode.subvolume).unwrap_or(u32::MAX);
        Ok(Position { device: (0, minor), mount: 1, inode: if own { 256 } else { number } })
    }

    /// Nothing is written in a snapshot.
    fn writable(&self, number: Number) -> Result<(), Errno> {
        let subvolume = self.inode(number)?.subvolume;
        if self.inode(subvolume).is_ok_and(|root| root.read_only) {
            return Err(Errno::ROFS);
        }
        Ok(())
    }

    fn make(
        &mut self,
        dir: Number,
        name: &str,
        content: Content,
        mode: u32,
    ) -> Result<Number, Errno> {
        self.writable(dir)?;
        if self.entries(dir)?.contains_key(name) {
            return Err(Errno::EXIST);
        }
        let number = self.storage.fresh();
        let inode = Box::new(self.inode(dir)?.child(content, mode));
        self.storage.change(Change::Make { dir, name: name.to_owned(), number, inode });
        Ok(number)
    }

    fn make_subvolume(&mut self, dir: Number, name: &str) -> Result<(), Errno> {
        if !self.is_btrfs {
            return Err(Errno::NOTTY);
        }
        if self.entries(dir)?.contains_key(name) {
            return Err(Errno::EXIST);
        }
        let number = self.storage.fresh();
        let inode = Inode::new(Content::Directory(BTreeMap::new()), 0o755, number);
        let inode = Box::new(inode);
        self.storage.change(Change::Make { dir, name: name.to_owned(), number, inode });
        Ok(())
    }
}
