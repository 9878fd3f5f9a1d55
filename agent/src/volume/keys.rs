//! The keys of encrypted volumes: a directory of the agent, outside every disk, with one file for each.
//!
//! A key is durable before anything is encrypted by it, and goes before anything that it encrypts is deleted: without it
//! nobody reads the data, whatever is left of them. Invariant: a key that is there is never replaced. It does not know what
//! a volume is encrypted with.

use super::key_place::KeyPlace;
use crate::disk::fs::real::Host;
use crate::disk::fs::{FileSystem, Node};
use crate::disk::image::lock::{Key, LENGTH};
use crate::disk::is_broken;
use crate::disk::marker::{self, Fields, ReadError};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, VolumeId};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Below the agent's work directory.
const PLACE: &str = "keys";
const KIND: &str = "berth-volume-key";

/// Where bytes that nobody guesses come from.
pub type Random = fn() -> Result<[u8; LENGTH], Errno>;

/// The directory of keys.
#[derive(Debug)]
pub struct Keys {
    files: Arc<dyn FileSystem>,
    place: Option<KeyPlace>,
    random: Random,
    /// A sync failed there: what it promised may be nowhere, whatever a later one says.
    doubt: Mutex<Option<Rejection>>,
}

impl Keys {
    /// Makes the agent's own directory of keys, which only its user may read, durable.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn prepare(work_dir: &Path) -> io::Result<PathBuf> {
        let place = work_dir.join(PLACE);
        match DirBuilder::new().mode(0o700).create(&place) {
            Ok(()) => File::open(work_dir)?.sync_all()?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {},
            Err(error) => return Err(error),
        }
        Ok(place)
    }

    /// None: encrypted volumes are neither made nor read.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Arc::new(Host), None, from_kernel)
    }

    /// Those of an agent, in a directory of the machine that only its user may read. It may be away for a while.
    #[must_use]
    pub fn of_agent(agent: AgentId, work_dir: &Path, place: PathBuf) -> Self {
        let place = KeyPlace::of(agent, work_dir.to_path_buf(), place);
        Self::new(Arc::new(Host), Some(place), from_kernel)
    }

    /// Those in a directory of another file system, for tests.
    #[must_use]
    pub fn on(files: Arc<dyn FileSystem>, place: PathBuf, random: Random) -> Self {
        Self::new(files, Some(KeyPlace::anybodys(place)), random)
    }

    fn new(files: Arc<dyn FileSystem>, place: Option<KeyPlace>, random: Random) -> Self {
        Self { files, place, random, doubt: Mutex::default() }
    }

    /// Why no key is made or destroyed until the agent starts again.
    #[must_use]
    pub fn doubt(&self) -> Option<Rejection> {
        self.doubt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A change of the directory failed.
    fn failed(&self, doing: &str, place: &Path, errno: Errno) -> Rejection {
        let reason = failed(doing, place, errno);
        if is_broken(errno) {
            let mut doubt = self.doubt.lock().unwrap_or_else(PoisonError::into_inner);
            *doubt = Some(reason.clone());
        }
        reason
    }

    fn place(&self) -> Result<&KeyPlace, Rejection> {
        self.place.as_ref().ok_or_else(|| {
            let text =
                "this agent has no directory of keys: it neither makes nor reads encrypted volumes";
            Rejection::new(ErrorCode::VolumeUnavailable, text)
        })
    }

    /// The directory; nothing where none is and no key was ever made.
    fn directory(&self) -> Result<(Option<Node>, &Path), Rejection> {
        let place = self.place()?;
        Ok((place.open(&*self.files)?, place.path()))
    }

    /// Can keys be made and destroyed?
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Rejection> {
        match self.sound()? {
            (Some(_directory), _) => Ok(()),
            (None, place) => Err(failed("opening the directory of keys", place, Errno::NOENT)),
        }
    }

    fn sound(&self) -> Result<(Option<Node>, &Path), Rejection> {
        match self.doubt() {
            Some(why) => Err(why.remedy(
                "check the file system that the keys lie on, then restart the agent: until then no key is made or destroyed",
            )),
            None => self.directory(),
        }
    }

    /// The key of a volume that is being made: the one it has since an attempt that was stopped, or a new one, durable.
    ///
    /// # Errors
    /// There is none then, or one that cannot be read.
    pub fn make(&self, id: VolumeId) -> Result<Key, Rejection> {
        let (directory, place) = self.sound()?;
        let directory = directory
            .ok_or_else(|| failed("opening the directory of keys", place, Errno::NOENT))?;
        self.place()?.establish(&*self.files, &directory)?;
        let bytes = match read(&directory, place, id)? {
            // Written again: whoever wrote it may have died before its name was synced.
            Some(key) => *key.bytes(),
            None => (self.random)().map_err(|errno| failed("making a key for", place, errno))?,
        };
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = marker::encode(KIND, &[("volume", id.to_string()), ("key", hex)]);
        marker::write(&directory, &id.to_string(), &text)
            .map_err(|errno| self.failed("writing a key to", place, errno))?;
        Ok(Key::new(bytes))
    }

    /// The key of a volume.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub fn find(&self, id: VolumeId) -> Result<Key, Rejection> {
        let (directory, place) = self.directory()?;
        let found = directory.map_or(Ok(None), |directory| read(&directory, place, id))?;
        found.ok_or_else(|| {
            let text =
                format!("the key of encrypted volume {id} is not in {}", place.display());
            Rejection::new(ErrorCode::VolumeUnavailable, text).remedy(
                "put the file of that name back from your copy of the keys; without it nobody reads the volume",
            )
        })
    }

    /// Overwrites and removes the key of a volume, synced; absent is done. What it encrypted can be read by nobody
    /// afterwards, unless there is a copy of the key.
    ///
    /// # Errors
    /// It may be there still.
    pub fn destroy(&self, id: VolumeId) -> Result<(), Rejection> {
        let (directory, place) = self.sound()?;
        let Some(directory) = directory else { return Ok(()) };
        let name = id.to_string();
        let gone = match directory.file(&name) {
            // A file system that writes in place has it no more then; the others give the blocks away soon.
            Ok(file) => file
                .length()
                .map(|length| vec![0; usize::try_from(length).unwrap_or(0).min(4 * KEPT)])
                .and_then(|nothing| file.write(&nothing))
                .and_then(|()| file.sync()),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        };
        gone.and_then(|()| marker::remove(&directory, &name))
            .map_err(|errno| self.failed("destroying a key in", place, errno))
    }
}

/// How long a key's file is at most, about.
const KEPT: usize = 1024;

fn from_kernel() -> Result<[u8; LENGTH], Errno> {
    let mut bytes = [0; LENGTH];
    let flags = rustix::rand::GetRandomFlags::empty();
    match rustix::rand::getrandom(&mut bytes, flags)? {
        LENGTH => Ok(bytes),
        _less => Err(Errno::IO),
    }
}

fn failed(doing: &str, place: &Path, errno: Errno) -> Rejection {
    let text = format!("{doing} {} failed ({errno})", place.display());
    Rejection::new(ErrorCode::VolumeUnavailable, text)
        .remedy("check key_dir of the agent's settings and the file system it lies on")
}

fn read(directory: &Node, place: &Path, id: VolumeId) -> Result<Option<Key>, Rejection> {
    let damaged = |why: &str| {
        let path = place.join(id.to_string());
        let text = format!("the key of volume {id} in {} cannot be read: {why}", path.display());
        Rejection::new(ErrorCode::VolumeUnavailable, text)
            .remedy("put the file back from your copy of the keys; it is left as it is")
    };
    let fields = match marker::read(directory, &id.to_string(), KIND) {
        Ok(Some(fields)) => fields,
        Ok(None) => return Ok(None),
        Err(ReadError::Io(errno)) => return Err(damaged(&errno.to_string())),
        Err(ReadError::Damaged(error)) => return Err(damaged(&error.to_string())),
    };
    key_of(&fields, id).map(Some).ok_or_else(|| damaged("it is the key of another volume"))
}

fn key_of(fields: &Fields, id: VolumeId) -> Option<Key> {
    let owner: VolumeId = marker::value(fields, "volume").ok()?;
    let hex: String = marker::value(fields, "key").ok()?;
    if owner != id || hex.len() != 2 * LENGTH || !hex.is_ascii() {
        return None;
    }
    let mut bytes = [0; LENGTH];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(Key::new(bytes))
}
