//! The resources algebra: what may be merged, subtracted and contained (Mesos semantics, see
//! docs/semantics.md).
//!
//! [`Resource`] is one described amount; [`Resources`] is a canonical sum of them. Two resources are
//! *equal* when everything but the mount (container path, mode) and the volume's principal agrees. A sum
//! keeps one entry per identity, so adding or removing one volume costs the logarithm of their number.

mod error;
mod quantities;
mod ranges;
mod show;
mod sum;
mod text;

pub use error::{ContainerPathError, ResourceError, check_container_path};
pub use quantities::Quantities;
pub use ranges::{Range, Ranges, RangesError};
pub use sum::{Entry, Resources, Shortfall};
pub use text::{TextError, parse_resources};

use crate::id::{Principal, VolumeName};
use crate::reservation::{Reservation, ReservationKind, Stack, StackError};
use crate::role::Role;
use crate::units::{Bytes, Scalar};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// What kind of thing is counted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Processors, in thousandths.
    Cpus,
    /// Memory, in MiB.
    Mem,
    /// Disk space, in MiB.
    Disk,
    /// Graphics processors.
    Gpus,
    /// Network ports, as ranges.
    Ports,
    /// Anything else an agent declares.
    Other(Arc<str>),
}

impl Name {
    /// From text; empty text is refused by [`Resource::validate`].
    #[must_use]
    pub fn new(text: &str) -> Self {
        match text {
            "cpus" => Self::Cpus,
            "mem" => Self::Mem,
            "disk" => Self::Disk,
            "gpus" => Self::Gpus,
            "ports" => Self::Ports,
            other => Self::Other(Arc::from(other)),
        }
    }
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Cpus => "cpus",
            Self::Mem => "mem",
            Self::Disk => "disk",
            Self::Gpus => "gpus",
            Self::Ports => "ports",
            Self::Other(text) => text,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// A fixed-point number.
    Scalar(Scalar),
    /// Integer ranges, both ends included.
    Ranges(Ranges),
    /// Named items.
    Set(BTreeSet<Arc<str>>),
}

/// Which disk a `disk` resource is on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskSource {
    /// The agent's work directory; divisible.
    #[default]
    Root,
    /// A directory, divisible; the text is its root path.
    Path(Arc<str>),
    /// A whole mounted file system, indivisible; the text is its mount point.
    Mount(Arc<str>),
    /// A raw device, indivisible; the text is its path.
    Block(Arc<str>),
}

impl DiskSource {
    /// True when any part of it may be used on its own.
    #[must_use]
    pub fn is_divisible(&self) -> bool {
        match self {
            Self::Root | Self::Path(_) => true,
            Self::Mount(_) | Self::Block(_) => false,
        }
    }
}

impl fmt::Display for DiskSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("ROOT"),
            Self::Path(root) => write!(f, "PATH:{root}"),
            Self::Mount(root) => write!(f, "MOUNT:{root}"),
            Self::Block(device) => write!(f, "BLOCK:{device}"),
        }
    }
}

/// Whether a task may write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MountMode {
    /// Read and write.
    #[default]
    ReadWrite,
    /// Read only.
    ReadOnly,
}

/// Where a task sees a volume. Not part of a resource's identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mount {
    /// Relative to the sandbox, or absolute; checked by [`check_container_path`].
    pub container_path: Arc<str>,
    /// Read-write or read-only.
    pub mode: MountMode,
}

/// What makes a disk resource a persistent volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Persistence {
    /// The volume's name; identity within its role.
    pub name: VolumeName,
    /// Who created it. Not part of the identity.
    pub principal: Option<Principal>,
}

/// The disk facet of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskInfo {
    /// Which disk.
    pub source: DiskSource,
    /// Present on a persistent volume.
    pub persistence: Option<Persistence>,
    /// Where it is mounted; required on a persistent volume.
    pub mount: Option<Mount>,
}

/// One described amount of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What is counted.
    pub name: Name,
    /// How much.
    pub value: Value,
    /// Whose it is.
    pub stack: Stack,
    /// Present on `disk` only; absent there means the ROOT disk.
    pub disk: Option<DiskInfo>,
    /// May be used by several tasks at once; volumes only.
    pub shared: bool,
    /// May be taken back at any time; never reserved dynamically, never a volume.
    pub revocable: bool,
    /// Who provides it, when not the agent itself.
    pub provider: Option<Arc<str>>,
    /// The role it is offered to; set by the master on offers, absent in totals.
    pub allocation_role: Option<Role>,
}

impl Resource {
    /// An unreserved scalar.
    #[must_use]
    pub fn scalar(name: Name, amount: Scalar) -> Self {
        Self::of(name, Value::Scalar(amount))
    }
    /// An unreserved amount of any kind.
    #[must_use]
    pub fn of(name: Name, value: Value) -> Self {
        Self {
            name,
            value,
            stack: Stack::unreserved(),
            disk: None,
            shared: false,
            revocable: false,
            provider: None,
            allocation_role: None,
        }
    }
    /// Unreserved disk on `source`.
    #[must_use]
    pub fn disk(source: DiskSource, size: Scalar) -> Self {
        let mut resource = Self::scalar(Name::Disk, size);
        if source != DiskSource::Root {
            resource.disk = Some(DiskInfo { source, ..DiskInfo::default() });
        }
        resource
    }
    /// The same with this reservation stack.
    #[must_use]
    pub fn with_stack(mut self, stack: Stack) -> Self {
        self.stack = stack;
        self
    }
    /// This reserved disk as a persistent volume.
    #[must_use]
    pub fn with_volume(mut self, persistence: Persistence, mount: Mount) -> Self {
        let source = self.disk_source();
        self.disk = Some(DiskInfo { source, persistence: Some(persistence), mount: Some(mount) });
        self
    }
    /// Which disk; ROOT when nothing is said.
    #[must_use]
    pub fn disk_source(&self) -> DiskSource {
        self.disk.as_ref().map(|d| d.source.clone()).unwrap_or_default()
    }
    /// The volume's identity facet, when this is a persistent volume.
    #[must_use]
    pub fn persistence(&self) -> Option<&Persistence> {
        self.disk.as_ref().and_then(|d| d.persistence.as_ref())
    }
    /// The scalar amount; nothing for ranges and sets.
    #[must_use]
    pub fn amount(&self) -> Option<Scalar> {
        match &self.value {
            Value::Scalar(amount) => Some(*amount),
            Value::Ranges(_) | Value::Set(_) => None,
        }
    }
    /// The size in bytes of `disk` or `mem`.
    #[must_use]
    pub fn size(&self) -> Bytes {
        self.amount().map(Bytes::from_scalar).unwrap_or_default()
    }
    /// The same without its topmost dynamic reservation.
    #[must_use]
    pub fn pop(&self) -> Option<Self> {
        Some(self.clone().with_stack(self.stack.pop()?))
    }
    /// The same with one more reservation.
    ///
    /// # Errors
    /// The level breaks a rule of the stack.
    pub fn push(&self, level: Reservation) -> Result<Self, StackError> {
        Ok(self.clone().with_stack(self.stack.push(level)?))
    }
    /// The plain reserved disk under a volume: no persistence, no mount, not shared; the source stays.
    #[must_use]
    pub fn strip_volume(&self) -> Self {
        let mut plain = self.clone();
        plain.shared = false;
        let source = self.disk_source();
        plain.disk = (source != DiskSource::Root).then_some(DiskInfo {
            source,
            persistence: None,
            mount: None,
        });
        plain
    }
    /// True when a part of it can be taken: neither a volume nor a whole disk.
    #[must_use]
    pub fn is_divisible(&self) -> bool {
        self.disk.as_ref().is_none_or(|d| d.persistence.is_none() && d.source.is_divisible())
    }

    /// True when several frameworks may be offered it at the same time: nobody's, and any part of it is as good as another.
    /// What is reserved, volumes, whole disks and what comes in pieces go to one at a time.
    #[must_use]
    pub fn can_be_optimistic(&self) -> bool {
        let counted = match &self.name {
            Name::Cpus | Name::Mem | Name::Disk | Name::Ports => true,
            Name::Gpus | Name::Other(_) => false,
        };
        let plain = !self.shared && !self.revocable && self.provider.is_none();
        counted && plain && self.stack.is_unreserved() && self.is_divisible()
    }

    /// Checks what can be checked without knowing the cluster.
    ///
    /// # Errors
    /// Says which rule this resource breaks.
    pub fn validate(&self) -> Result<(), ResourceError> {
        let name = || self.name.as_str().to_owned();
        if self.name.as_str().is_empty() {
            return Err(ResourceError::NoName);
        }
        match &self.value {
            Value::Scalar(amount) if !amount.is_positive() => {
                return Err(ResourceError::NotPositive { name: name(), amount: *amount });
            },
            Value::Ranges(ranges) if ranges.is_empty() => {
                return Err(ResourceError::NothingIn { name: name() });
            },
            Value::Set(items) if items.is_empty() || items.contains("") => {
                return Err(ResourceError::NothingIn { name: name() });
            },
            Value::Scalar(_) | Value::Ranges(_) | Value::Set(_) => {},
        }
        match (&self.name, &self.value) {
            (Name::Cpus | Name::Mem | Name::Disk | Name::Gpus, Value::Scalar(_))
            | (Name::Ports, Value::Ranges(_))
            | (Name::Other(_), _) => {},
            (Name::Ports, _) => {
                return Err(ResourceError::Kind { name: name(), wanted: "ranges of numbers" });
            },
            (Name::Cpus | Name::Mem | Name::Disk | Name::Gpus, _) => {
                return Err(ResourceError::Kind { name: name(), wanted: "one number" });
            },
        }
        if let Some(disk) = &self.disk {
            if self.name != Name::Disk {
                return Err(ResourceError::DiskOnOther { name: name() });
            }
            if disk.persistence.is_none() && disk.mount.is_some() {
                return Err(ResourceError::MountWithoutVolume);
            }
        }
        let volume = self.persistence().is_some();
        if self.shared && !volume {
            return Err(ResourceError::SharedNotVolume { name: name() });
        }
        let dynamic = self.stack.top().is_some_and(|r| r.kind == ReservationKind::Dynamic);
        if self.revocable && (volume || dynamic) {
            return Err(ResourceError::Revocable { name: name() });
        }
        Ok(())
    }
}
