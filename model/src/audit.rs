//! The audit log: who did what to the cluster, why, and what it was before and after.
//!
//! Entries are numbered without a gap and each carries a hash over itself and the one before, so a change, a deletion or a
//! swap of stored entries shows. How the hash is computed and checked is the master's core's; here are the values. The
//! chain has no secret: it shows damage and tampering with parts, not somebody who writes the whole log anew.

use crate::error::Rejection;
use crate::id::{AgentId, FrameworkId, OperationId, Principal, VolumeId};
use crate::operation::OperationKind;
use crate::units::Timestamp;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name somebody may call himself by, in bytes.
pub const NAME_MAX: usize = 255;

/// What a caller says of a call beside what is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Who he is. A framework is named by the operation's record.
    pub who: Who,
    /// Why he wants it.
    pub reason: Option<Arc<str>>,
    /// Of a mere question: he means it, and asks before he confirms it, so that a refusal is one. Not kept.
    pub in_earnest: bool,
}

/// Checks what somebody calls himself.
///
/// # Errors
/// It is empty, too long, or holds control characters.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let fits = !name.is_empty() && name.len() <= NAME_MAX && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(NameError) }
}

/// A name that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of the caller is empty, longer than 255 bytes, or holds control characters")]
pub struct NameError;

/// Who caused an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Who {
    /// An operator who did not say.
    #[default]
    Unknown,
    /// An operator, as he calls himself: without authentication it is a claim.
    Claimed(Arc<str>),
    /// A framework.
    Framework {
        /// Its id.
        id: FrameworkId,
        /// What it calls itself; empty when it is not known any more.
        name: Arc<str>,
        /// In whose name it registered.
        principal: Option<Principal>,
    },
    /// Berth itself: a schedule, a start, the log's own bounds.
    Berth,
}

impl Who {
    /// How the name came to be known, as users see it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Claimed(_) => "claimed",
            Self::Framework { .. } => "framework",
            Self::Berth => "berth",
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Claimed(name) => write!(f, "{name} (claimed)"),
            Self::Framework { id, name, principal } => {
                write!(f, "framework {id}")?;
                if !name.is_empty() {
                    write!(f, " {name}")?;
                }
                match principal {
                    Some(principal) => write!(f, " (principal {principal})"),
                    None => Ok(()),
                }
            },
            Self::Berth => f.write_str("berth"),
        }
    }
}

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// An operation was accepted and is under way.
    Accepted,
    /// An operation is done; one that is done when it is accepted has this entry only.
    Done,
    /// An operation failed; one that failed when it was asked for has this entry only.
    Failed,
    /// A request was refused; nothing came of it.
    Refused,
    /// A master opened its term.
    Opened,
    /// The oldest entries were removed, by the bounds of the log.
    Trimmed,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 6] =
        [Self::Accepted, Self::Done, Self::Failed, Self::Refused, Self::Opened, Self::Trimmed];

    /// As users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "ACCEPTED",
            Self::Done => "DONE",
            Self::Failed => "FAILED",
            Self::Refused => "REFUSED",
            Self::Opened => "OPENED",
            Self::Trimmed => "TRIMMED",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One property that an operation changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditChange {
    /// Of what: a kind and an id.
    pub object: String,
    /// Which property.
    pub what: String,
    /// Absent when the object is new.
    pub before: Option<String>,
    /// Absent when the object is gone.
    pub after: Option<String>,
}

/// SHA-256 over an entry and the hash before it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditHash(pub [u8; 32]);

impl fmt::Display for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditHash({self})")
    }
}

/// Text that is no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 hexadecimal digits")]
pub struct HashError;

impl FromStr for AuditHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(HashError);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let high = pair.first().copied().and_then(digit).ok_or(HashError)?;
            let low = pair.last().copied().and_then(digit).ok_or(HashError)?;
            *byte = high << 4 | low;
        }
        Ok(Self(hash))
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// From one on, without a gap.
    pub seq: u64,
    /// When the master decided it.
    pub at: Timestamp,
    /// What it says.
    pub phase: Phase,
    /// The operation it is about, or would have been.
    pub operation: Option<OperationId>,
    /// What kind of operation.
    pub kind: Option<OperationKind>,
    /// Who asked.
    pub who: Who,
    /// Why, in the caller's words.
    pub reason: Option<Arc<str>>,
    /// What it is about, in words.
    pub object: String,
    /// Where.
    pub agent: Option<AgentId>,
    /// The volumes it is about.
    pub volumes: Vec<VolumeId>,
    /// What the step that wrote this entry changed.
    pub changes: Vec<AuditChange>,
    /// Why it failed or was refused.
    pub error: Option<Rejection>,
    /// Things worth knowing, such as what a deletion did to the data.
    pub notes: Vec<String>,
    /// Over all of the above and the hash before.
    pub hash: AuditHash,
}

/// Where the log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// The last entry's number; zero when there is none.
    pub seq: u64,
    /// The last entry's hash; the cluster's own beginning when there is none.
    pub hash: AuditHash,
    /// The last entry that was removed; zero when none was.
    pub trimmed: u64,
    /// Its hash, from which the chain of what is left begins.
    pub anchor: AuditHash,
}

/// The end of a segment, so that what is before it can be removed and the rest still be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditMark {
    /// The segment's last entry.
    pub seq: u64,
    /// Its hash.
    pub hash: AuditHash,
    /// Its time.
    pub at: Timestamp,
}

/// What the log keeps in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditRecord {
    /// Where it begins and ends.
    Head(AuditHead),
    /// The end of a segment.
    Mark(AuditMark),
    /// An entry.
    Entry(Arc<AuditEntry>),
}

/// Names a record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditKey {
    /// Where it begins and ends.
    Head,
    /// The end of a segment.
    Mark(u64),
    /// An entry.
    Entry(u64),
}

impl AuditRecord {
    /// The key this record is stored under.
    #[must_use]
    pub fn key(&self) -> AuditKey {
        match self {
            Self::Head(_) => AuditKey::Head,
            Self::Mark(mark) => AuditKey::Mark(mark.seq),
            Self::Entry(entry) => AuditKey::Entry(entry.seq),
        }
    }
}

/// The log as lists and checks show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditView {
    /// Where it begins and ends.
    pub head: AuditHead,
    /// What the master found wrong with it when it started.
    pub fault: Option<String>,
}

/// How far a check of the chain came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditCheck {
    /// How many entries are as they were written.
    pub checked: u64,
    /// The last of them.
    pub last: u64,
    /// Its hash.
    pub hash: AuditHash,
    /// The first entry that is not, and why.
    pub broken: Option<(u64, String)>,
    /// The log when it was checked.
    pub log: AuditView,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Only this kind.
    pub kind: Option<OperationKind>,
    /// Only this phase.
    pub phase: Option<Phase>,
    /// Only what names this operation.
    pub operation: Option<OperationId>,
    /// Only what names this volume, by id or in words.
    pub volume: Option<String>,
    /// Only what somebody caused whose name contains this.
    pub who: Option<String>,
}

impl AuditFilter {
    /// Is the entry wanted?
    #[must_use]
    pub fn takes(&self, entry: &AuditEntry) -> bool {
        let Self { since, until, kind, phase, operation, volume, who } = self;
        since.is_none_or(|since| entry.at >= since)
            && until.is_none_or(|until| entry.at < until)
            && kind.is_none_or(|kind| entry.kind == Some(kind))
            && phase.is_none_or(|phase| entry.phase == phase)
            && operation.is_none_or(|operation| entry.operation == Some(operation))
            && volume.as_ref().is_none_or(|text| names_volume(entry, text))
            && who.as_ref().is_none_or(|who| entry.who.to_string().contains(who.as_str()))
    }
}

/// How the note of a CREATE begins that a volume in the trash made room for it.
pub const PURGED: &str = "purged trashed volume";

/// Shorter beginnings of an id say too little.
const ID_PREFIX_MIN: usize = 4;

/// By the id or its beginning, by the name as a word of the object, or by ROLE/NAME; also of a volume that made room for
/// another.
fn names_volume(entry: &AuditEntry, text: &str) -> bool {
    let is_part = |c: char| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-'));
    let words = |object: &str, word: &str| object.split(is_part).any(|part| part == word);
    let names = |object: &str| match text.rsplit_once('/') {
        Some((role, name)) => words(object, name) && object.contains(&format!("of role {role}")),
        None => words(object, text),
    };
    let mut purged = entry.notes.iter().filter(|note| note.starts_with(PURGED));
    let is_beginning = text.len() >= ID_PREFIX_MIN;
    let is_it = |id: &VolumeId| {
        let id = id.to_string();
        id == text || (is_beginning && id.starts_with(text))
    };
    names(&entry.object) || purged.any(|note| names(note)) || entry.volumes.iter().any(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> AuditEntry {
        AuditEntry {
            seq: 4,
            at: Timestamp::from_ms(1_000),
            phase: Phase::Done,
            operation: Some(OperationId::from_u128(1)),
            kind: Some(OperationKind::Destroy),
            who: Who::Claimed("alice@desk".into()),
            reason: None,
            object: "volume data.2 of role storage/db".to_owned(),
            agent: None,
            volumes: vec![VolumeId::from_u128(7)],
            changes: Vec::new(),
            error: None,
            notes: Vec::new(),
            hash: AuditHash::default(),
        }
    }

    #[test]
    fn a_filter_takes_what_all_its_parts_take() {
        let id = VolumeId::from_u128(7).to_string();
        let with = |change: &dyn Fn(&mut AuditFilter)| {
            let mut filter = AuditFilter::default();
            change(&mut filter);
            filter.takes(&entry())
        };
        assert!(with(&|_| {}));
        for (volume, wanted) in [
            ("data.2", true),
            ("storage/db/data.2", true),
            (id.as_str(), true),
            ("data", false),
            ("other/data.2", false),
        ] {
            assert_eq!(with(&|f| f.volume = Some(volume.to_owned())), wanted, "{volume}");
        }
        assert!(with(&|f| f.since = Some(Timestamp::from_ms(1_000))));
        assert!(!with(&|f| f.since = Some(Timestamp::from_ms(1_001))));
        assert!(!with(&|f| f.until = Some(Timestamp::from_ms(1_000))));
        assert!(with(&|f| f.kind = Some(OperationKind::Destroy)));
        assert!(!with(&|f| f.kind = Some(OperationKind::Purge)));
        assert!(!with(&|f| f.phase = Some(Phase::Failed)));
        assert!(!with(&|f| f.operation = Some(OperationId::from_u128(2))));
        assert!(with(&|f| f.who = Some("alice".to_owned())));
        assert!(!with(&|f| f.who = Some("bob".to_owned())));
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let mut hash = AuditHash::default();
        hash.0[0] = 0xab;
        hash.0[31] = 1;
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for wrong in ["", "ab", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(wrong.parse::<AuditHash>(), Err(HashError), "{wrong}");
        }
    }

    #[test]
    fn names_are_short_and_plain() {
        assert_eq!(check_name("alice@desk"), Ok(()));
        for wrong in ["", "a\nb", &"x".repeat(256)] {
            assert_eq!(check_name(wrong), Err(NameError));
        }
    }
}
