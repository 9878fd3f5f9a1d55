//! What can be asked of the file system, and where in the source each question comes from.
//!
//! It knows no answers.

use super::storage::Storage;
use berth_agent::disk::fs::Site;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fmt;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    Open,
    Locate,
    Directory,
    MakeDirectory,
    Create,
    Write,
    Read,
    Unlink,
    RemoveDirectory,
    Rename,
    Sync,
    SyncFileSystem,
    Attribute,
    SetAttribute,
    SetMode,
    SetOwner,
    Unlock,
    IsImmutable,
    Kind,
    Names,
    Position,
    Room,
    Identity,
    IsBtrfs,
    TreeSize,
    Mounts,
    MakeSubvolume,
    Subvolume,
    Limit,
    QuotaUsed,
    EnableQuota,
    ForgetQuota,
    Project,
    SetProject,
    Account,
    LimitProject,
    Snapshot,
    IsReadOnly,
    MakeWritable,
    File,
    WriteInPlace,
    Allocate,
    SetLength,
    Length,
    Allocated,
    Attach,
    Attached,
    Device,
    InUse,
    GiveSize,
    Shown,
    Unmount,
    ReadSize,
    Format,
    Mount,
    Holds,
    Share,
    Shared,
    WriteOut,
    Freeze,
    Encrypt,
    OpenWith,
    Thaw,
    Renew,
    Put,
    RawDevice,
    RawNumber,
    Facts,
    ReadAt,
    WriteAt,
    Entry,
    Content,
    Target,
    Attributes,
    Fill,
    Checksum,
    MakeLink,
    MakeName,
    MakePipe,
    Dress,
    Regular,
    ToOverwrite,
    Overwrite,
    Discards,
    InPlace,
    Survey,
}

impl Call {
    /// Can it change what is seen or what is durable?
    #[must_use]
    pub const fn is_change(self) -> bool {
        matches!(
            self,
            Self::MakeDirectory
                | Self::Create
                | Self::Write
                | Self::Unlink
                | Self::RemoveDirectory
                | Self::Rename
                | Self::Sync
                | Self::SyncFileSystem
                | Self::SetAttribute
                | Self::SetMode
                | Self::SetOwner
                | Self::Unlock
                | Self::MakeSubvolume
                | Self::Limit
                | Self::EnableQuota
                | Self::ForgetQuota
                | Self::SetProject
                | Self::LimitProject
                | Self::Snapshot
                | Self::MakeWritable
                | Self::WriteInPlace
                | Self::Allocate
                | Self::SetLength
                | Self::Attach
                | Self::GiveSize
                | Self::Unmount
                | Self::ReadSize
                | Self::Format
                | Self::Mount
                | Self::Put
                | Self::Share
                | Self::Freeze
                | Self::Encrypt
                | Self::Thaw
                | Self::Renew
                | Self::WriteAt
                | Self::Fill
                | Self::MakeLink
                | Self::MakeName
                | Self::MakePipe
                | Self::Dress
                | Self::Overwrite
        )
    }

    /// Is it about a device and what lies on it, not about the disk?
    #[must_use]
    pub const fn is_of_device(self) -> bool {
        matches!(
            self,
            Self::Attach
                | Self::Attached
                | Self::Device
                | Self::ReadSize
                | Self::Format
                | Self::Mount
                | Self::Holds
                | Self::Shown
                | Self::Put
                | Self::Renew
                | Self::WriteOut
                | Self::Freeze
                | Self::Thaw
                | Self::Unmount
        )
    }

    /// Does it promise that something is durable?
    #[must_use]
    pub const fn is_sync(self) -> bool {
        matches!(self, Self::Sync | Self::SyncFileSystem)
    }
}

/// A call and the place in the source that it comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallSite {
    /// The file.
    pub file: &'static str,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
    /// What was asked.
    pub call: Call,
}

impl CallSite {
    pub(super) fn new(site: Site, call: Call) -> Self {
        Self { file: site.file(), line: site.line(), column: site.column(), call }
    }
}

impl fmt::Display for CallSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{} {:?}", self.file, self.line, self.column, self.call)
    }
}

impl fmt::Debug for CallSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One recorded call.
#[derive(Clone, Debug)]
pub struct Event {
    /// Which call, from where.
    pub site: CallSite,
    /// On which names.
    pub arguments: String,
    /// How it ended.
    pub error: Option<Errno>,
    /// The state after it, of a call that can change one.
    pub after: Option<Storage>,
}

/// Every call site in a recording that changes something or makes it durable.
#[must_use]
pub fn changing(events: &[Event]) -> BTreeSet<CallSite> {
    events.iter().map(|event| event.site).filter(|site| site.call.is_change()).collect()
}
