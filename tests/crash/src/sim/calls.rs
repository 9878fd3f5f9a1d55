//! The calls on the simulated file system.
//!
//! Invariant: every call of the trait goes through [`SimFs::perform`], so that it is counted, recorded and can fail.

use super::change::Change;
use super::tree::{Content, Number};
use super::{Call, FREE, SimFs, State};
use berth_agent::disk::filesystem::{Position, Room};
use berth_agent::disk::fs::{Access, Calls, Kind, Raw, Replace, Site, Tree};
use berth_agent::disk::project::Account;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;

const GIB: u64 = 1 << 30;
/// Writes of more bytes than this are remembered by their size alone.
const BYTES_MAX: usize = 64 << 10;

/// An open file or directory.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) files: SimFs,
    /// The file whose file system it is on; the disk's own without.
    pub(super) image: Option<Number>,
    pub(super) number: Number,
}

pub(super) fn text(name: &OsStr) -> Result<&str, Errno> {
    name.to_str().ok_or(Errno::INVAL)
}

pub(super) fn shown(name: &OsStr) -> impl Fn() -> String {
    move || name.to_string_lossy().into_owned()
}

pub(super) fn nothing() -> String {
    String::new()
}

impl Handle {
    fn open(&self, number: Number) -> Box<dyn Calls> {
        self.files.handle(self.image, number)
    }

    pub(super) fn ask<T>(
        &self,
        site: Site,
        call: Call,
        work: impl FnOnce(&State) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        self.files.perform(self.image, site, (call, &nothing), |state| work(state))
    }
}

impl Calls for Handle {
    fn raw(&self) -> Raw<'_> {
        Raw::Number(self.number)
    }

    fn directory(&self, site: Site, name: &OsStr) -> Result<Box<dyn Calls>, Errno> {
        let number =
            self.files.perform(self.image, site, (Call::Directory, &shown(name)), |state| {
                let number = state.entry(self.number, text(name)?)?;
                state.entries(number).map(|_entries| number)
            })?;
        Ok(self.open(number))
    }

    fn make_directory(&self, site: Site, name: &OsStr, mode: u32) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::MakeDirectory, &shown(name)), |state| {
            let content = Content::Directory(BTreeMap::new());
            state.make(self.number, text(name)?, content, mode).map(|_number| ())
        })
    }

    fn create(&self, site: Site, name: &OsStr) -> Result<Box<dyn Calls>, Errno> {
        let number =
            self.files.perform(self.image, site, (Call::Create, &shown(name)), |state| {
                let content = Content::File { bytes: Vec::new(), bulk: 0 };
                state.make(self.number, text(name)?, content, 0o600)
            })?;
        Ok(self.open(number))
    }

    fn write(&self, site: Site, bytes: &[u8]) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::Write, &nothing), |state| {
            state.writable(self.number)?;
            let subvolume = state.inode(self.number)?.subvolume;
            let limit = state.inode(subvolume)?.limit;
            let used = state.storage.seen().used(subvolume) + bytes.len() as u64;
            let project = state.inode(self.number)?.project;
            let (taken, _files, most) = state.storage.seen().account(project);
            let too_much = most.is_some_and(|most| taken + bytes.len() as u64 > most);
            if limit.is_some_and(|limit| used > limit) || (project != 0 && too_much) {
                return Err(Errno::DQUOT);
            }
            let change = if bytes.len() > BYTES_MAX {
                Change::Write { number: self.number, bytes: Vec::new(), bulk: bytes.len() as u64 }
            } else {
                Change::Write { number: self.number, bytes: bytes.to_vec(), bulk: 0 }
            };
            state.storage.change(change);
            Ok(())
        })
    }

    fn read(&self, site: Site, name: &OsStr, most: u64) -> Result<Vec<u8>, Errno> {
        self.files.perform(self.image, site, (Call::Read, &shown(name)), |state| {
            let number = state.entry(self.number, text(name)?)?;
            match &state.inode(number)?.content {
                Content::File { bytes, .. } => {
                    let most = usize::try_from(most).unwrap_or(usize::MAX);
                    Ok(bytes.iter().copied().take(most).collect())
                },
                Content::Directory(_) => Err(Errno::ISDIR),
                Content::Image { .. } => Err(Errno::FBIG),
            }
        })
    }

    fn unlink(&self, site: Site, name: &OsStr) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::Unlink, &shown(name)), |state| {
            state.writable(self.number)?;
            let name = text(name)?;
            let number = state.entry(self.number, name)?;
            if state.entries(number).is_ok() {
                return Err(Errno::ISDIR);
            }
            state.goes(number, name);
            state.storage.change(Change::Remove {
                dir: self.number,
                name: name.to_owned(),
                number,
            });
            Ok(())
        })
    }

    fn remove_directory(&self, site: Site, name: &OsStr) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::RemoveDirectory, &shown(name)), |state| {
            state.writable(self.number)?;
            let name = text(name)?;
            let number = state.entry(self.number, name)?;
            state.check_empty(number)?;
            state.storage.change(Change::Remove {
                dir: self.number,
                name: name.to_owned(),
                number,
            });
            Ok(())
        })
    }

    fn rename(
        &self,
        site: Site,
        name: &OsStr,
        (to, new): (Raw<'_>, &OsStr),
        replace: Replace,
    ) -> Result<(), Errno> {
        let arguments = || format!("{} to {}", name.display(), new.display());
        self.files.perform(self.image, site, (Call::Rename, &arguments), |state| {
            let Raw::Number(to) = to else { return Err(Errno::XDEV) };
            let (name, new) = (text(name)?, text(new)?);
            let number = state.entry(self.number, name)?;
            state.writable(self.number).and_then(|()| state.writable(to))?;
            if to != self.number {
                state.writable(number)?;
            }
            match state.entry(to, new) {
                Ok(_taken) if replace == Replace::No => return Err(Errno::EXIST),
                Ok(taken) if state.entries(taken).is_ok() => state.check_empty(taken)?,
                Ok(_) | Err(Errno::NOENT) => {},
                Err(errno) => return Err(errno),
            }
            let (name, new) = (name.to_owned(), new.to_owned());
            state.storage.change(Change::Rename { from: self.number, name, to, new, number });
            Ok(())
        })
    }

    fn sync(&self, site: Site) -> Result<(), Errno> {
        let outcome = self.files.perform(self.image, site, (Call::Sync, &nothing), |state| {
            state.storage.sync(self.number);
            Ok(())
        });
        if outcome.is_err() {
            self.files
                .state()
                .on(self.image, |state| {
                    state.storage.lose(self.number);
                    Ok(())
                })
                .ok();
        }
        outcome
    }

    fn sync_file_system(&self, site: Site) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::SyncFileSystem, &nothing), |state| {
            state.storage.sync_all();
            Ok(())
        })
    }

    fn attribute(&self, site: Site, name: &str) -> Result<Vec<u8>, Errno> {
        self.ask(site, Call::Attribute, |state| {
            if !state.has_attributes {
                return Err(Errno::NOTSUP);
            }
            state.inode(self.number)?.attributes.get(name).cloned().ok_or(Errno::NODATA)
        })
    }

    fn set_attribute(&self, site: Site, name: &str, value: &[u8]) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::SetAttribute, &nothing), |state| {
            if !state.has_attributes {
                return Err(Errno::NOTSUP);
            }
            state.writable(self.number)?;
            let (name, value) = (name.to_owned(), value.to_vec());
            state.storage.change(Change::Attribute { number: self.number, name, value });
            Ok(())
        })
    }

    fn set_mode(&self, site: Site, mode: u32) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::SetMode, &nothing), |state| {
            state.writable(self.number)?;
            state.storage.change(Change::Mode { number: self.number, mode });
            Ok(())
        })
    }

    fn set_owner(&self, site: Site, uid: u32, gid: u32) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::SetOwner, &nothing), |state| {
            state.writable(self.number)?;
            state.storage.change(Change::Owner { number: self.number, owner: (uid, gid) });
            Ok(())
        })
    }

    fn unlock(&self, site: Site, name: &OsStr) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::Unlock, &shown(name)), |state| {
            let number = state.entry(self.number, text(name)?)?;
            state.writable(number)?;
            state.storage.change(Change::Mode { number, mode: 0o700 });
            Ok(())
        })
    }

    fn is_immutable(&self, site: Site, _entry: Option<&OsStr>) -> bool {
        self.ask(site, Call::IsImmutable, |_state| Ok(false)).unwrap_or(false)
    }

    fn kind(&self, site: Site, path: &OsStr) -> Result<Kind, Errno> {
        self.files.perform(self.image, site, (Call::Kind, &shown(path)), |state| {
            let number = state.storage.seen().walk(self.number, text(path)?).ok_or(Errno::NOENT)?;
            Ok(if state.entries(number).is_ok() { Kind::Directory } else { Kind::Other })
        })
    }

    fn names(&self, site: Site, most: usize) -> Result<Vec<OsString>, Errno> {
        self.ask(site, Call::Names, |state| {
            Ok(state.entries(self.number)?.keys().take(most).map(OsString::from).collect())
        })
    }

    fn position(&self, site: Site) -> Result<Position, Errno> {
        let position = self.ask(site, Call::Position, |state| state.position(self.number))?;
        Ok(match self.image.map(u32::try_from) {
            // A mount and a device of its own.
            Some(Ok(file)) => {
                Position { device: (7, file), mount: 1_000 + u64::from(file), ..position }
            },
            Some(Err(_)) | None => position,
        })
    }

    fn room(&self, site: Site) -> Result<Room, Errno> {
        let room = Room { total: 100 * GIB, free: FREE, read_only: false };
        self.ask(site, Call::Room, |_state| Ok(room))
    }

    fn identity(&self, site: Site) -> Result<String, Errno> {
        self.ask(site, Call::Identity, |_state| Ok("5157".repeat(8)))
    }

    fn is_btrfs(&self, site: Site) -> Result<bool, Errno> {
        self.ask(site, Call::IsBtrfs, |state| Ok(state.is_btrfs))
    }

    fn tree_size(&self, site: Site) -> Result<Tree, String> {
        let counted = self.ask(site, Call::TreeSize, |state| {
            Ok(Tree { bytes: state.storage.seen().below(self.number), inodes: 0 })
        });
        counted.map_err(|errno| errno.to_string())
    }

    fn mounts(&self, site: Site) -> io::Result<Vec<String>> {
        self.ask(site, Call::Mounts, |_state| Ok(Vec::new()))
            .map_err(|errno| io::Error::from_raw_os_error(errno.raw_os_error()))
    }

    fn make_subvolume(&self, site: Site, name: &OsStr) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::MakeSubvolume, &shown(name)), |state| {
            state.make_subvolume(self.number, text(name)?)
        })
    }

    fn subvolume(&self, site: Site) -> Result<u64, Errno> {
        self.ask(site, Call::Subvolume, |state| Ok(state.inode(self.number)?.subvolume))
    }

    fn limit(&self, site: Site, bytes: Option<u64>) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::Limit, &nothing), |state| {
            state.storage.change(Change::Limit { number: self.number, bytes });
            Ok(())
        })
    }

    fn quota_used(&self, site: Site) -> Result<Option<u64>, Errno> {
        self.ask(site, Call::QuotaUsed, |state| {
            let subvolume = state.inode(self.number)?.subvolume;
            Ok(Some(state.storage.counted(subvolume)))
        })
    }

    fn enable_quota(&self, site: Site) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::EnableQuota, &nothing), |state| {
            if state.is_btrfs { Ok(()) } else { Err(Errno::NOTTY) }
        })
    }

    fn forget_quota(&self, site: Site, _group: u64) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::ForgetQuota, &nothing), |_state| Ok(()))
    }

    fn snapshot(&self, site: Site, name: &OsStr, of: Raw<'_>, access: Access) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::Snapshot, &shown(name)), |state| {
            let Raw::Number(of) = of else { return Err(Errno::XDEV) };
            state.snapshot(self.number, text(name)?, of, access)
        })
    }

    fn is_read_only(&self, site: Site) -> Result<bool, Errno> {
        self.ask(site, Call::IsReadOnly, |state| Ok(state.inode(self.number)?.read_only))
    }

    // Nobody makes subvolumes in volumes here.
    fn nested(&self, site: Site) -> Result<Option<String>, Errno> {
        self.ask(site, Call::Subvolume, |_state| Ok(None))
    }

    fn make_writable(&self, site: Site) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::MakeWritable, &nothing), |state| {
            state.storage.change(Change::Unlock { number: self.number });
            Ok(())
        })
    }

    fn project(&self, site: Site) -> Result<u32, Errno> {
        self.ask(site, Call::Project, |state| {
            state.check_projects()?;
            Ok(state.inode(self.number)?.project)
        })
    }

    fn set_project(&self, site: Site, project: u32) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::SetProject, &|| project.to_string()), |state| {
            state.check_projects()?;
            state.storage.change(Change::Project { number: self.number, project });
            Ok(())
        })
    }

    fn account(&self, site: Site, project: u32) -> Result<Account, Errno> {
        self.ask(site, Call::Account, |state| {
            state.check_projects()?;
            let (bytes, files, limit) = state.storage.seen().account(project);
            Ok(Account { bytes, files, limit })
        })
    }

    fn limit_project(&self, site: Site, project: u32, bytes: Option<u64>) -> Result<(), Errno> {
        self.files.perform(
            self.image,
            site,
            (Call::LimitProject, &|| project.to_string()),
            |state| {
                state.check_projects()?;
                state.storage.change(Change::LimitProject { project, bytes });
                Ok(())
            },
        )
    }
}
