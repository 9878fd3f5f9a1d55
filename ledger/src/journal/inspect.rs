//! A read-only look at a ledger, for tools.
//!
//! Uses the same readers as open. Invariant: calls nothing on the disk that changes it, and reports damage as a finding
//! instead of stopping at it.

use crate::disk::{self, Disk};

use super::names::{self, Name};
use super::{Error, Identity, Seq, recover, segment, snapshot};

/// What is in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub files: Vec<File>,
    /// What open would find, for the owner that the files name.
    pub verdict: Result<Verdict, Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub owner: Identity,
    pub seq: Seq,
    /// Bytes that open would cut off. A running owner's newest write may look like this for a moment.
    pub torn_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub name: String,
    pub bytes: u64,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Segment {
        owner: Identity,
        first: Seq,
        records: u64,
        batches: u64,
        torn_bytes: u64,
    },
    Snapshot {
        owner: Identity,
        seq: Seq,
        state_bytes: u64,
    },
    /// Left by an interrupted create or snapshot; the next open removes it.
    Temporary,
    /// Not a file of the ledger.
    Foreign,
    /// The error that open would answer if it needed this file.
    Damaged(Error),
}

/// Looks at every file, and at all of them together.
pub fn inspect<D: Disk + ?Sized>(disk: &D) -> Result<Report, disk::Error> {
    let mut files = Vec::new();
    for name in disk.list()? {
        let kind = names::parse(&name);
        if kind == Name::Foreign {
            files.push(File { name, bytes: 0, content: Content::Foreign });
            continue;
        }
        let bytes = disk.read(&name)?;
        files.push(File { bytes: bytes.len() as u64, content: content(&name, kind, &bytes), name });
    }
    let verdict = recover::survey(disk, None).map(|survey| Verdict {
        owner: survey.owner,
        seq: survey.seq(),
        torn_bytes: survey.torn_bytes() as u64,
    });
    Ok(Report { files, verdict })
}

fn content(name: &str, kind: Name, bytes: &[u8]) -> Content {
    let found = match kind {
        Name::Segment(_) => segment::scan(name, bytes).map(|scan| Content::Segment {
            owner: scan.header.owner,
            first: scan.header.first,
            records: scan.records.len() as u64,
            batches: scan.batches,
            torn_bytes: scan.torn_bytes as u64,
        }),
        Name::Snapshot(_) => snapshot::take(name, bytes).map(|snapshot| Content::Snapshot {
            owner: snapshot.owner,
            seq: snapshot.seq,
            state_bytes: snapshot.state.len() as u64,
        }),
        Name::Creating | Name::Temporary => Ok(Content::Temporary),
        Name::Stranger => Err(Error::corrupt(name, 0, super::Damage::Stranger)),
        Name::Foreign => Ok(Content::Foreign),
    };
    found.unwrap_or_else(Content::Damaged)
}
