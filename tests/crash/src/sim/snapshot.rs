//! Subvolumes with what others hold, and what the kind of file system allows at all.

use super::State;
use super::change::Change;
use super::tree::{Number, ROOT};
use berth_agent::disk::fs::Access;
use rustix::io::Errno;

impl State {
    pub(super) fn check_empty(&self, number: Number) -> Result<(), Errno> {
        if self.entries(number)?.is_empty() { Ok(()) } else { Err(Errno::NOTEMPTY) }
    }

    pub(super) fn check_projects(&self) -> Result<(), Errno> {
        if self.has_projects { Ok(()) } else { Err(Errno::NOSYS) }
    }

    /// A subvolume with what another holds, as of now.
    pub(super) fn snapshot(
        &mut self,
        dir: Number,
        name: &str,
        of: Number,
        access: Access,
    ) -> Result<(), Errno> {
        if !self.is_btrfs {
            return Err(Errno::NOTTY);
        }
        if self.inode(of)?.subvolume != of || of == ROOT {
            return Err(Errno::INVAL);
        }
        self.writable(dir)?;
        if self.entries(dir)?.contains_key(name) {
            return Err(Errno::EXIST);
        }
        let (mut inodes, of) = self.storage.seen().copy(of, self.storage.fresh());
        if let Some((_number, root)) = inodes.first_mut() {
            root.read_only = access == Access::ReadOnly;
        }
        self.storage.change(Change::Snapshot { dir, name: name.to_owned(), inodes, of });
        Ok(())
    }
}
