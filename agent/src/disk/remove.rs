//! The only recursive deleter of the agent: it removes a directory tree by handles.
//!
//! It follows no symbolic link, enters no mount and no other file system, and refuses a directory that carries
//! the identity of a volume or of a disk, even an empty one. It does not know what the tree was used for, nor
//! whether anybody may delete it: the caller has decided that. It keeps a bounded number of directories open
//! however deep the tree is, and it stops at the first thing it may not or cannot delete, leaving the rest.

use super::filesystem::Position;
use super::fs::{Kind, Node};
use super::wipe::{Stop, Wiper};
use crate::host::pace;
use rustix::io::Errno;
use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;

/// Extended attribute that says "this directory is a volume"; tasks without CAP_SYS_ADMIN cannot change it.
pub const VOLUME_XATTR: &str = "trusted.berth.volume";
/// The same, where the agent lacks the privilege for the first.
pub const VOLUME_XATTR_UNPRIVILEGED: &str = "user.berth.volume";
/// The marker that makes a directory a disk, relative to the disk's root.
pub const DISK_MARKER: &str = ".meta/disk";

/// Directories kept open at once; what lies deeper is first moved up to the top of the tree.
const OPEN_DIRECTORIES: usize = 64;
/// Names read before deleting starts; bounds memory for directories with millions of entries.
const NAMES_AT_ONCE: usize = 1024;

/// How much one call may do and what it may delete.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Entries to delete before the call returns unfinished.
    pub entries: u64,
    /// The top directory may carry this volume identity (its exact attribute). Nothing below it may carry any.
    pub volume: Option<Vec<u8>>,
}

impl Limits {
    /// Everything, except what carries an identity: for sandboxes.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self { entries: u64::MAX, volume: None }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files and directories deleted.
    pub entries: u64,
    /// Nothing is left (also when there was nothing).
    pub finished: bool,
}

/// Why the tree, or the rest of it, was left alone. Paths are relative to the directory given.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The top is a file or a link.
    #[error("{path} is not a directory: nothing was deleted")]
    NotADirectory { path: String },
    /// A mount point.
    #[error("{path} is a mount point: unmount it first; it was left alone")]
    Mounted { path: String },
    /// Another file system or a nested subvolume.
    #[error(
        "{path} belongs to another file system or is a subvolume of its own: move it away or delete it by hand; it was left alone"
    )]
    OtherFileSystem { path: String },
    /// A volume.
    #[error("{path} carries the identity of a volume: it was left alone")]
    Volume { path: String },
    /// A disk.
    #[error("{path} carries the marker of a disk: it was left alone")]
    Disk { path: String },
    /// `chattr +i` or `+a`.
    #[error(
        "{path} is immutable or append-only: run chattr -i -a on it if it may go; it was left alone"
    )]
    Immutable { path: String },
    /// Its old content would stay where it is.
    #[error(
        "{path} is not overwritten in place by its file system, or shares blocks with another file: it was left alone"
    )]
    Elsewhere { path: String },
    /// The agent ends.
    #[error("{path} was begun to be deleted and the agent stops: it goes on after its next start")]
    CalledOff { path: String },
    /// The file system says no.
    #[error("{action} {path} failed ({source})")]
    Io { action: &'static str, path: String, source: Errno },
}

struct Frame {
    directory: Node,
    name: OsString,
    names: Vec<OsString>,
}

struct Walk<'a> {
    parent: &'a Node,
    frames: Vec<Frame>,
    limits: &'a Limits,
    wiper: Option<Wiper<'a>>,
    device: (u32, u32),
    mount: u64,
    removed: u64,
    moved: u64,
}

/// Deletes the directory `name` in `parent` with everything below it. An absent directory is a finished call.
///
/// # Errors
/// Says what was met and left alone. What had been deleted before stays deleted.
pub fn remove_tree(
    parent: BorrowedFd<'_>,
    name: &CStr,
    limits: &Limits,
) -> Result<Removed, RemoveError> {
    let parent = parent.try_clone_to_owned().map_err(|error| RemoveError::Io {
        action: "opening",
        path: ".".to_owned(),
        source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    })?;
    tree(&Node::from(parent), OsStr::from_bytes(name.to_bytes()), limits)
}

/// Deletes the directory `name` in `parent` with everything below it. An absent directory is a finished call.
///
/// # Errors
/// See [`remove_tree`].
pub fn tree(parent: &Node, name: &OsStr, limits: &Limits) -> Result<Removed, RemoveError> {
    walk(parent, name, limits, None)
}

/// Empties the directory `name` in `parent`; whatever a file holds is overwritten and synced before its last name goes.
/// The directory itself stays.
///
/// # Errors
/// See [`remove_tree`].
pub fn wiped(
    parent: &Node,
    name: &OsStr,
    limits: &Limits,
    wiper: Wiper<'_>,
) -> Result<Removed, RemoveError> {
    walk(parent, name, limits, Some(wiper))
}

fn walk(
    parent: &Node,
    name: &OsStr,
    limits: &Limits,
    wiper: Option<Wiper<'_>>,
) -> Result<Removed, RemoveError> {
    let Some(top) = open_directory(parent, name, &|| text(name))? else {
        return Ok(Removed { entries: 0, finished: true });
    };
    let Position { device, mount, .. } = place(&top, &|| text(name))?;
    if place(parent, &|| ".".to_owned())?.mount != mount {
        return Err(RemoveError::Mounted { path: text(name) });
    }
    let mut walk =
        Walk { parent, frames: Vec::new(), limits, wiper, device, mount, removed: 0, moved: 0 };
    walk.refuse_marked(&top, name)?;
    walk.frames.push(Frame { directory: top, name: name.to_owned(), names: Vec::new() });
    walk.run()
}

impl Walk<'_> {
    fn run(&mut self) -> Result<Removed, RemoveError> {
        while let Some(frame) = self.frames.last_mut() {
            if pace::is_called_off() {
                return Err(RemoveError::CalledOff { path: self.path(None) });
            }
            if self.removed >= self.limits.entries {
                return Ok(Removed { entries: self.removed, finished: false });
            }
            if let Some(entry) = frame.names.pop() {
                self.delete(&entry)?;
                continue;
            }
            match frame.directory.names(NAMES_AT_ONCE) {
                Ok(names) if names.is_empty() => self.leave()?,
                Ok(names) => frame.names = names,
                Err(source) => return Err(self.io("listing", None, source)),
            }
        }
        Ok(Removed { entries: self.removed, finished: true })
    }

    /// The innermost directory is empty: remove it from the one above.
    fn leave(&mut self) -> Result<(), RemoveError> {
        let path = self.path(None);
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        if self.wiper.is_some() && self.frames.is_empty() {
            return Ok(());
        }
        let above = self.frames.last().map_or(self.parent, |above| &above.directory);
        match remove_directory(above, &frame.name) {
            // A writer was faster: the next round deletes what it made.
            Err(Errno::NOTEMPTY | Errno::EXIST) => self.frames.push(frame),
            Err(Errno::NOENT) => {},
            Ok(()) => self.removed += 1,
            Err(source) => return Err(explain("removing", path, &frame.directory, None, source)),
        }
        Ok(())
    }

    fn delete(&mut self, entry: &OsStr) -> Result<(), RemoveError> {
        let Some(frame) = self.frames.last() else { return Ok(()) };
        let here = &frame.directory;
        match here.kind(entry) {
            Ok(Kind::Directory) => return self.enter(entry),
            Ok(Kind::Other) => {},
            Err(Errno::NOENT) => return Ok(()),
            Err(source) => return Err(self.io("looking at", Some(entry), source)),
        }
        if let Some(wiper) = &self.wiper {
            wiper.entry(here, entry).map_err(|stop| self.stopped(here, entry, stop))?;
        }
        match unlink(here, entry) {
            Ok(()) => {
                self.removed += 1;
                Ok(())
            },
            Err(Errno::NOENT) => Ok(()),
            Err(source) => {
                Err(explain("deleting", self.path(Some(entry)), here, Some(entry), source))
            },
        }
    }

    fn stopped(&self, here: &Node, entry: &OsStr, stop: Stop) -> RemoveError {
        let path = self.path(Some(entry));
        match stop {
            Stop::Ended => RemoveError::CalledOff { path },
            Stop::Elsewhere => RemoveError::Elsewhere { path },
            Stop::Io(source) => explain("overwriting", path, here, Some(entry), source),
        }
    }

    fn enter(&mut self, entry: &OsStr) -> Result<(), RemoveError> {
        let Some(frame) = self.frames.last() else { return Ok(()) };
        let path = || self.path(Some(entry));
        let Some(directory) = open_directory(&frame.directory, entry, &path)? else {
            return Ok(());
        };
        let Position { device, mount, .. } = place(&directory, &path)?;
        if mount != self.mount {
            return Err(RemoveError::Mounted { path: path() });
        }
        if device != self.device {
            return Err(RemoveError::OtherFileSystem { path: path() });
        }
        self.refuse_marked(&directory, entry)?;
        if self.frames.len() < OPEN_DIRECTORIES {
            self.frames.push(Frame { directory, name: entry.to_owned(), names: Vec::new() });
            return Ok(());
        }
        self.move_up(entry)
    }

    /// Moves a deep directory to the top of the tree, where a later round finds it.
    fn move_up(&mut self, entry: &OsStr) -> Result<(), RemoveError> {
        loop {
            self.moved += 1;
            let name = format!(".deep-{}", self.moved);
            let (Some(frame), Some(top)) = (self.frames.last(), self.frames.first()) else {
                return Ok(());
            };
            match frame.directory.rename(entry, &top.directory, &name) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => {},
                Err(source) => return Err(self.io("moving up", Some(entry), source)),
            }
        }
    }

    fn refuse_marked(&self, directory: &Node, entry: &OsStr) -> Result<(), RemoveError> {
        let path = || self.path(Some(entry));
        match volume_attribute(directory) {
            Ok(None) => {},
            Ok(found) if self.frames.is_empty() && found == self.limits.volume => {},
            Ok(Some(_)) => return Err(RemoveError::Volume { path: path() }),
            Err(source) => {
                return Err(RemoveError::Io {
                    action: "reading the attributes of",
                    path: path(),
                    source,
                });
            },
        }
        match directory.kind(DISK_MARKER) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Ok(_) => Err(RemoveError::Disk { path: path() }),
            Err(source) => {
                Err(RemoveError::Io { action: "looking for a marker in", path: path(), source })
            },
        }
    }

    fn path(&self, entry: Option<&OsStr>) -> String {
        let names = self.frames.iter().map(|frame| text(&frame.name));
        names.chain(entry.map(text)).collect::<Vec<_>>().join("/")
    }

    fn io(&self, action: &'static str, entry: Option<&OsStr>, source: Errno) -> RemoveError {
        RemoveError::Io { action, path: self.path(entry), source }
    }
}

/// The identity attribute of a volume directory, under either of its names.
///
/// # Errors
/// The attribute is there but cannot be read.
pub fn volume_attribute(directory: &Node) -> Result<Option<Vec<u8>>, Errno> {
    for name in [VOLUME_XATTR, VOLUME_XATTR_UNPRIVILEGED] {
        match directory.attribute(name) {
            Ok(value) => return Ok(Some(value)),
            Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM) => {},
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

fn open_directory(
    parent: &Node,
    name: &OsStr,
    path: &dyn Fn() -> String,
) -> Result<Option<Node>, RemoveError> {
    let opened = match parent.directory(name) {
        // Without root, a directory of our own may be unreadable for ourselves.
        Err(Errno::ACCESS) if parent.unlock(name).is_ok() => parent.directory(name),
        other => other,
    };
    match opened {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::NOTDIR | Errno::LOOP) => Err(RemoveError::NotADirectory { path: path() }),
        Err(Errno::XDEV) => Err(RemoveError::Mounted { path: path() }),
        Err(source) => Err(RemoveError::Io { action: "opening", path: path(), source }),
    }
}

/// Where an open directory is.
fn place(directory: &Node, path: &dyn Fn() -> String) -> Result<Position, RemoveError> {
    directory.position().map_err(|source| RemoveError::Io {
        action: "looking at",
        path: path(),
        source,
    })
}

fn unlink(directory: &Node, name: &OsStr) -> Result<(), Errno> {
    match directory.unlink(name) {
        // Without root, a directory of our own may be unwritable for ourselves.
        Err(Errno::ACCESS) if directory.set_mode(0o700).is_ok() => directory.unlink(name),
        other => other,
    }
}

fn remove_directory(directory: &Node, name: &OsStr) -> Result<(), Errno> {
    match directory.remove_directory(name) {
        Err(Errno::ACCESS) if directory.set_mode(0o700).is_ok() => directory.remove_directory(name),
        other => other,
    }
}

/// Why an object, or an entry of a directory, could not be deleted.
fn explain(
    action: &'static str,
    path: String,
    object: &Node,
    entry: Option<&OsStr>,
    source: Errno,
) -> RemoveError {
    let is_immutable =
        || object.is_immutable(None) || (entry.is_some() && object.is_immutable(entry));
    match source {
        Errno::BUSY => RemoveError::Mounted { path },
        Errno::PERM if is_immutable() => RemoveError::Immutable { path },
        source => RemoveError::Io { action, path, source },
    }
}

fn text(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};
    use std::fs;
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::os::unix::fs::symlink;

    fn remove(base: &std::path::Path, limits: &Limits) -> Result<Removed, String> {
        let parent = fs::File::open(base).unwrap();
        remove_tree(parent.as_fd(), c"top", limits).map_err(|error| error.to_string())
    }

    #[test]
    fn a_deletion_that_is_called_off_stops_and_goes_on_when_it_is_asked_for_again() {
        use std::sync::Arc;
        use std::sync::atomic::AtomicBool;
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("top/a")).unwrap();
        let stopped = Arc::new(AtomicBool::new(true));
        let outcome = pace::gently(&stopped, || remove(base.path(), &Limits::unlimited()));
        let text =
            "top was begun to be deleted and the agent stops: it goes on after its next start";
        assert_eq!(outcome, Err(text.to_owned()));
        assert!(base.path().join("top/a").is_dir());
        let again = remove(base.path(), &Limits::unlimited());
        assert_eq!(again, Ok(Removed { entries: 2, finished: true }));
    }

    #[test]
    fn links_are_deleted_and_what_they_point_to_is_not() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("top/a/b")).unwrap();
        fs::create_dir(base.path().join("precious")).unwrap();
        fs::write(base.path().join("precious/data"), "rows").unwrap();
        symlink("../../precious", base.path().join("top/a/link")).unwrap();
        symlink("../precious/data", base.path().join("top/file-link")).unwrap();
        assert_eq!(
            remove(base.path(), &Limits::unlimited()),
            Ok(Removed { entries: 5, finished: true })
        );
        assert!(!base.path().join("top").exists());
        assert_eq!(fs::read_to_string(base.path().join("precious/data")).unwrap(), "rows");
        assert_eq!(
            remove(base.path(), &Limits::unlimited()),
            Ok(Removed { entries: 0, finished: true })
        );
        symlink("precious", base.path().join("top")).unwrap();
        assert_eq!(
            remove(base.path(), &Limits::unlimited()),
            Err("top is not a directory: nothing was deleted".to_owned())
        );
    }

    #[test]
    fn a_tree_deeper_than_any_path_and_wider_than_one_reading_goes() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("top")).unwrap();
        let mut here = OwnedFd::from(fs::File::open(base.path().join("top")).unwrap());
        for _level in 0..700 {
            rustix::fs::mkdirat(&here, "directory-with-a-long-name", Mode::RWXU).unwrap();
            here = rustix::fs::openat(
                &here,
                "directory-with-a-long-name",
                OFlags::RDONLY,
                Mode::empty(),
            )
            .unwrap();
        }
        for number in 0..3000 {
            fs::write(base.path().join(format!("top/{number}")), "").unwrap();
        }
        let first = remove(base.path(), &Limits { entries: 10, volume: None });
        assert_eq!(first, Ok(Removed { entries: 10, finished: false }));
        let rest = remove(base.path(), &Limits::unlimited());
        assert_eq!(rest, Ok(Removed { entries: 3691, finished: true }));
    }

    #[test]
    fn directories_with_an_identity_are_refused_even_when_empty() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("top/sandbox/volume")).unwrap();
        let volume = fs::File::open(base.path().join("top/sandbox/volume")).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        if let Err(errno) = rustix::fs::fsetxattr(&volume, VOLUME_XATTR_UNPRIVILEGED, b"v-1", flags)
        {
            eprintln!("SKIPPED: the temporary directory takes no extended attributes ({errno})");
            return;
        }
        let refused = "top/sandbox/volume carries the identity of a volume: it was left alone";
        assert_eq!(remove(base.path(), &Limits::unlimited()), Err(refused.to_owned()));
        let named = Limits { entries: u64::MAX, volume: Some(b"v-1".to_vec()) };
        assert_eq!(remove(base.path(), &named), Err(refused.to_owned()));
        assert!(base.path().join("top/sandbox/volume").is_dir());

        let inner = fs::File::open(base.path().join("top/sandbox")).unwrap();
        assert_eq!(
            remove_tree(inner.as_fd(), c"volume", &named).unwrap(),
            Removed { entries: 1, finished: true }
        );
        fs::create_dir_all(base.path().join("top/disk/.meta")).unwrap();
        fs::write(base.path().join("top/disk/.meta/disk"), "").unwrap();
        assert_eq!(
            remove(base.path(), &Limits::unlimited()),
            Err("top/disk carries the marker of a disk: it was left alone".to_owned())
        );
        assert!(base.path().join("top/disk/.meta/disk").exists());
    }
}
