//! A simulated disk: deterministic for a seed, and as unkind as real ones are allowed to be.
//!
//! Fault model. *Power loss* ([`SimDisk::crash`]): appended, overwritten and truncated bytes that were not synced
//! are lost wholly, kept as a prefix of any length, or torn: each 512-byte sector is independently new or not
//! written, which reads as zeros behind the old end. Creates, renames and removes since the last folder sync are
//! undone independently, newest first, unless a later kept one builds on them. *Process death*
//! ([`SimDisk::kill`]): everything written stays visible, and what was not synced stays in danger.
//! *Errors*: a failed append leaves any prefix; a failed file sync loses the pages, and the file then shows either
//! the old content or the new one that no later sync will write; other failed calls have no effect. Sectors are
//! atomic, synced bytes never change by themselves ([`SimDisk::flip`] is for that), and no call is reordered
//! before a sync that it followed.
//!
//! A [`SimDisk`] is a handle; clones share the disk, as a machine's processes do. Handles cloned before a crash or kill are
//! dead after it, so that a journal of the past cannot write into the present.

mod file;
mod folder;
mod rng;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

pub use rng::Rng;

use self::file::SimFile;
use self::folder::Folder;
use super::{Call, Disk, Error, Kind};

/// Which syncs to leave out while answering `Ok`: a broken program or a lying device, to prove that checks notice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IgnoreSync {
    #[default]
    None,
    Files,
    Folder,
    /// Only the n-th sync of either kind from now on, counted from 1.
    Nth(u64),
}

/// One handle on the simulated disk of one machine.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Rc<RefCell<State>>,
    life: u64,
}

#[derive(Debug, Clone)]
struct State {
    rng: Rng,
    folder: Folder,
    files: BTreeMap<u64, SimFile>,
    files_made: u64,
    life: u64,
    failures: VecDeque<(Call, Kind)>,
    failure_per_mille: u16,
    capacity_bytes: Option<usize>,
    ignore_sync: IgnoreSync,
    /// Syncs asked for since `ignore_sync` was set.
    syncs: u64,
    /// Changing calls that still succeed before everything stops.
    calls_left: Option<u64>,
    calls: BTreeMap<Call, u64>,
}

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: Rng::new(seed),
            folder: Folder::default(),
            files: BTreeMap::new(),
            files_made: 0,
            life: 0,
            failures: VecDeque::new(),
            failure_per_mille: 0,
            capacity_bytes: None,
            ignore_sync: IgnoreSync::None,
            syncs: 0,
            calls_left: None,
            calls: BTreeMap::new(),
        };
        Self { state: Rc::new(RefCell::new(state)), life: 0 }
    }

    /// Power loss and return: what was not synced is at the mercy of `rng`. All other handles are dead afterwards.
    pub fn crash(&mut self, rng: &mut Rng) {
        self.kill();
        let mut state = self.state.borrow_mut();
        state.folder.crash(rng);
        for file in state.files.values_mut() {
            file.crash(rng);
        }
        state.drop_nameless();
    }

    /// Death of the process: nothing is lost yet. All other handles are dead afterwards.
    pub fn kill(&mut self) {
        let mut state = self.state.borrow_mut();
        state.life += 1;
        self.life = state.life;
        state.failures.clear();
        state.calls_left = None;
    }

    /// An independent disk in the same state, unsynced changes included.
    pub fn fork(&self) -> Self {
        let state = self.state.borrow().clone();
        Self { state: Rc::new(RefCell::new(state)), life: self.life }
    }

    /// The next call of this kind fails. Repeated calls queue up.
    pub fn fail_next(&self, call: Call, kind: Kind) {
        self.state.borrow_mut().failures.push_back((call, kind));
    }

    /// Each changing call fails with this probability, until set to 0.
    pub fn set_failure_per_mille(&self, per_mille: u16) {
        self.state.borrow_mut().failure_per_mille = per_mille;
    }

    /// Appends beyond this many bytes in all files together fail with [`Kind::NoSpace`].
    pub fn set_capacity_bytes(&self, capacity: Option<usize>) {
        self.state.borrow_mut().capacity_bytes = capacity;
    }

    pub fn set_ignore_sync(&self, ignore: IgnoreSync) {
        let mut state = self.state.borrow_mut();
        state.ignore_sync = ignore;
        state.syncs = 0;
    }

    /// After `calls` more changing calls every call fails, without effect, until [`SimDisk::crash`] or
    /// [`SimDisk::kill`]: the moment at which the power or the process goes.
    pub fn stop_after(&self, calls: u64) {
        self.state.borrow_mut().calls_left = Some(calls);
    }

    /// Whether the calls granted by [`SimDisk::stop_after`] are used up.
    pub fn is_stopped(&self) -> bool {
        self.state.borrow().calls_left == Some(0)
    }

    /// How often this call was made, failed ones included.
    pub fn count(&self, call: Call) -> u64 {
        self.state.borrow().calls.get(&call).copied().unwrap_or(0)
    }

    /// How many calls were made that can change the disk.
    pub fn changes(&self) -> u64 {
        let state = self.state.borrow();
        state.calls.iter().filter(|(call, _)| call.is_change()).map(|(_, count)| count).sum()
    }

    /// Rot: changes one byte, seen and durable, by `mask`.
    ///
    /// # Panics
    /// When there is no such byte.
    pub fn flip(&self, name: &str, offset: usize, mask: u8) {
        let mut state = self.state.borrow_mut();
        let number = state.folder.get(name).expect("the file to rot exists");
        let file = state.files.get_mut(&number).expect("every name has a file");
        file.current[offset] ^= mask;
        if let Some(byte) = file.durable.get_mut(offset) {
            *byte ^= mask;
        }
    }

    fn enter(&self, call: Call, name: &str) -> Result<(), Error> {
        self.state.borrow_mut().enter(call, name, self.life)
    }

    /// Changes one existing file.
    fn change(
        &self,
        call: Call,
        name: &str,
        change: impl FnOnce(&mut SimFile) -> Result<(), Kind>,
    ) -> Result<(), Error> {
        self.enter(call, name)?;
        let mut state = self.state.borrow_mut();
        state.file(name).and_then(change).map_err(|kind| Error::new(call, name, kind))
    }
}

impl State {
    /// Counts the call and answers what keeps it from happening.
    fn enter(&mut self, call: Call, name: &str, life: u64) -> Result<(), Error> {
        *self.calls.entry(call).or_insert(0) += 1;
        let failed = |kind| Err(Error::new(call, name, kind));
        if life != self.life {
            return failed(Kind::Io(None));
        }
        match &mut self.calls_left {
            Some(0) => return failed(Kind::Io(None)),
            Some(left) => *left -= u64::from(call.is_change()),
            None => {},
        }
        if let Some(at) = self.failures.iter().position(|(wanted, _)| *wanted == call) {
            let (_, kind) = self.failures.remove(at).expect("the position was just found");
            return failed(kind);
        }
        if call.is_change() && self.failure_per_mille > 0 && self.rng.chance(self.failure_per_mille)
        {
            const EIO: i32 = 5;
            return failed(if self.rng.flip() { Kind::NoSpace } else { Kind::Io(Some(EIO)) });
        }
        Ok(())
    }

    fn file(&mut self, name: &str) -> Result<&mut SimFile, Kind> {
        let number = self.folder.get(name).ok_or(Kind::NotFound)?;
        Ok(self.files.get_mut(&number).expect("every name has a file"))
    }

    fn room_bytes(&self) -> usize {
        let used: usize = self
            .folder
            .names()
            .iter()
            .filter_map(|name| self.folder.get(name))
            .filter_map(|number| self.files.get(&number))
            .map(|file| file.current.len())
            .sum();
        self.capacity_bytes.map_or(usize::MAX, |capacity| capacity.saturating_sub(used))
    }

    /// Counts a sync that would succeed, and answers whether it is to be left out.
    fn is_ignored_sync(&mut self, call: Call) -> bool {
        self.syncs += 1;
        match self.ignore_sync {
            IgnoreSync::None => false,
            IgnoreSync::Files => call == Call::Sync,
            IgnoreSync::Folder => call == Call::SyncDir,
            IgnoreSync::Nth(nth) => self.syncs == nth,
        }
    }

    fn drop_nameless(&mut self) {
        let names = self.folder.names();
        let named: Vec<u64> = names.iter().filter_map(|name| self.folder.get(name)).collect();
        self.files.retain(|number, _| named.contains(number));
    }
}

impl Disk for SimDisk {
    fn list(&self) -> Result<Vec<String>, Error> {
        self.enter(Call::List, "")?;
        Ok(self.state.borrow().folder.names())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.enter(Call::Read, name)?;
        let mut state = self.state.borrow_mut();
        let file = state.file(name).map_err(|kind| Error::new(Call::Read, name, kind))?;
        Ok(file.current.clone())
    }

    fn create_new(&mut self, name: &str) -> Result<(), Error> {
        self.enter(Call::Create, name)?;
        let mut state = self.state.borrow_mut();
        if name.is_empty() || name.contains('/') {
            return Err(Error::new(Call::Create, name, Kind::Invalid));
        }
        if state.folder.get(name).is_some() {
            return Err(Error::new(Call::Create, name, Kind::Exists));
        }
        state.files_made += 1;
        let number = state.files_made;
        state.files.insert(number, SimFile::default());
        state.folder.create(name, number);
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let entered = self.enter(Call::Append, name);
        let mut state = self.state.borrow_mut();
        let room = state.room_bytes();
        let (length, outcome) = match entered {
            Ok(()) if bytes.len() > room => {
                (room, Err(Error::new(Call::Append, name, Kind::NoSpace)))
            },
            Ok(()) => (bytes.len(), Ok(())),
            Err(error) if self.life != state.life || state.calls_left == Some(0) => {
                return Err(error);
            },
            Err(error) => (state.rng.up_to(bytes.len().min(room)), Err(error)),
        };
        let file = state.file(name).map_err(|kind| Error::new(Call::Append, name, kind))?;
        file.append(&bytes[..length]);
        outcome
    }

    fn overwrite(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.change(Call::Overwrite, name, |file| {
            let offset = usize::try_from(offset).map_err(|_out_of_range| Kind::Invalid)?;
            match offset.checked_add(bytes.len()) {
                Some(end) if end <= file.current.len() => {
                    file.overwrite(offset, bytes);
                    Ok(())
                },
                Some(_) | None => Err(Kind::Invalid),
            }
        })
    }

    fn truncate(&mut self, name: &str, len: u64) -> Result<(), Error> {
        self.change(Call::Truncate, name, |file| match usize::try_from(len) {
            Ok(len) if len <= file.current.len() => {
                file.truncate(len);
                Ok(())
            },
            Ok(_) | Err(_) => Err(Kind::Invalid),
        })
    }

    fn sync(&mut self, name: &str) -> Result<(), Error> {
        let entered = self.enter(Call::Sync, name);
        let mut state = self.state.borrow_mut();
        if let Err(error) = entered {
            if self.life == state.life && state.calls_left != Some(0) {
                let mut rng = state.rng.clone();
                if let Ok(file) = state.file(name) {
                    file.lose(&mut rng);
                }
                state.rng = rng;
            }
            return Err(error);
        }
        let is_ignored = state.is_ignored_sync(Call::Sync);
        let file = state.file(name).map_err(|kind| Error::new(Call::Sync, name, kind))?;
        if !is_ignored {
            file.sync();
        }
        Ok(())
    }

    fn replace(&mut self, from: &str, to: &str) -> Result<(), Error> {
        self.enter(Call::Replace, from)?;
        if self.state.borrow_mut().folder.replace(from, to) {
            Ok(())
        } else {
            Err(Error::new(Call::Replace, from, Kind::NotFound))
        }
    }

    fn remove(&mut self, name: &str) -> Result<(), Error> {
        self.enter(Call::Remove, name)?;
        if self.state.borrow_mut().folder.remove(name) {
            Ok(())
        } else {
            Err(Error::new(Call::Remove, name, Kind::NotFound))
        }
    }

    fn sync_dir(&mut self) -> Result<(), Error> {
        self.enter(Call::SyncDir, "")?;
        let mut state = self.state.borrow_mut();
        if !state.is_ignored_sync(Call::SyncDir) {
            state.folder.sync();
            state.drop_nameless();
        }
        Ok(())
    }
}
