//! What can go wrong with a journal, in words for the operator.
//!
//! Invariant: damage is told apart from absence and from a torn tail, and each text names the file and a remedy.

use std::fmt;

use crate::disk;

use super::{Identity, Seq};

/// A refused or failed call on a journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No file of a ledger is here. Whether that is a first start or a loss is for the caller to decide.
    #[error(
        "open ledger: the folder holds none: create one if this is a first start, else restore the folder"
    )]
    Absent,
    #[error("create ledger: {file} exists already: open it, or move the folder's files away first")]
    Occupied { file: String },
    #[error(transparent)]
    Corrupt(Box<Corruption>),
    /// An earlier write failed, so what is durable is unknown until the next open.
    #[error(
        "write to ledger: an earlier write failed and what is durable is unknown: restart the process"
    )]
    Poisoned,
    #[error(
        "append to ledger: a record of {bytes} bytes exceeds the limit of {limit} bytes: write less at once"
    )]
    TooLarge { bytes: usize, limit: usize },
    #[error("ledger: {0}")]
    Disk(#[source] disk::Error),
}

impl Error {
    pub(super) fn corrupt(file: &str, offset: usize, what: Damage) -> Self {
        Self::Corrupt(Box::new(Corruption { file: file.to_owned(), offset: offset as u64, what }))
    }
}

impl From<disk::Error> for Error {
    fn from(error: disk::Error) -> Self {
        Self::Disk(error)
    }
}

/// Proof that the ledger is not what was written. Nothing has been changed on disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ledger is damaged: {file} at byte {offset}: {what}: {}", .what.remedy())]
pub struct Corruption {
    pub file: String,
    pub offset: u64,
    pub what: Damage,
}

impl Corruption {
    pub const fn remedy(&self) -> &'static str {
        self.what.remedy()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// A segment's or snapshot's header fails its checksum or shape.
    Header,
    /// A sector is neither intact nor unwritten.
    Sector,
    /// An unwritten sector with synced data behind it.
    Hole,
    /// All sectors are intact, but what they say does not fit together.
    Order,
    /// A frame fails its checksums, its marks or its length.
    Frame,
    /// A snapshot's payload fails its checksum, its end mark or its length.
    Snapshot,
    Version {
        found: u32,
        known: u32,
    },
    Owner {
        found: Identity,
        wanted: Identity,
    },
    SeqGap {
        found: Seq,
        wanted: Seq,
    },
    /// The file's name says another sequence number than its header.
    Name,
    /// The file must exist, because others follow from it.
    Missing,
    /// A file named like one of ours that we would never write.
    Stranger,
}

impl Damage {
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Header
            | Self::Sector
            | Self::Hole
            | Self::Order
            | Self::Frame
            | Self::Snapshot
            | Self::SeqGap { .. }
            | Self::Name
            | Self::Missing => {
                "check the device, keep a copy of the folder, restore it from a backup or start with a new identity"
            },
            Self::Version { .. } => "run the release that wrote it, or a later one",
            Self::Owner { .. } => {
                "put the folder of this identity back in place, or use another folder"
            },
            Self::Stranger => "move this file out of the folder",
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("its header is damaged"),
            Self::Sector => f.write_str("the sector is damaged"),
            Self::Hole => f.write_str("a sector is empty although synced data follows it"),
            Self::Order => f.write_str("intact sectors in an impossible order"),
            Self::Frame => f.write_str("a record is damaged"),
            Self::Snapshot => f.write_str("the snapshot is damaged"),
            Self::Version { found, known } => {
                write!(f, "its format is version {found}, this release knows version {known}")
            },
            Self::Owner { found, wanted } => {
                write!(f, "it belongs to {}, not to {}", Hyphenated(found), Hyphenated(wanted))
            },
            Self::SeqGap { found, wanted } => {
                write!(f, "record {found} stands where record {wanted} must be")
            },
            Self::Name => f.write_str("its name and its header disagree"),
            Self::Missing => f.write_str("the file is missing"),
            Self::Stranger => f.write_str("the file is not one that a ledger has"),
        }
    }
}

/// An identity in the usual form of a uuid.
struct Hyphenated<'a>(&'a Identity);

impl fmt::Display for Hyphenated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
