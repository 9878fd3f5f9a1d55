//! Which file of the folder is what.
//!
//! `log-N` holds the records from number N on, `snapshot-N` the state as of number N; N has twenty digits, so names sort
//! as numbers. Invariant: a name is read as a segment or snapshot only if it is exactly the name we would write.

use super::Seq;

pub(super) const CREATING: &str = "create.tmp";
pub(super) const NEW_SEGMENT: &str = "log.tmp";
pub(super) const NEW_SNAPSHOT: &str = "snapshot.tmp";

/// Numbers beyond this are damage; a thousand million records a second reach it in three centuries.
pub(super) const SEQ_MAX: Seq = 1 << 63;

const SEGMENT: &str = "log-";
const SNAPSHOT: &str = "snapshot-";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Segment(Seq),
    Snapshot(Seq),
    /// Left by a crash while the ledger was created: nothing was promised yet.
    Creating,
    /// Left by a crash during a snapshot.
    Temporary,
    /// Looks like ours and is not.
    Stranger,
    /// Not our business.
    Foreign,
}

pub(super) fn segment(first: Seq) -> String {
    format!("{SEGMENT}{first:020}")
}

pub(super) fn snapshot(seq: Seq) -> String {
    format!("{SNAPSHOT}{seq:020}")
}

pub(super) fn parse(name: &str) -> Name {
    let number = |digits: &str| digits.parse().ok().filter(|n| (1..=SEQ_MAX).contains(n));
    let parsed = match name {
        CREATING => return Name::Creating,
        NEW_SEGMENT | NEW_SNAPSHOT => return Name::Temporary,
        _ => name
            .strip_prefix(SEGMENT)
            .map(|digits| number(digits).filter(|n| segment(*n) == name).map(Name::Segment))
            .or_else(|| {
                name.strip_prefix(SNAPSHOT).map(|digits| {
                    number(digits).filter(|n| snapshot(*n) == name).map(Name::Snapshot)
                })
            }),
    };
    match parsed {
        Some(Some(name)) => name,
        Some(None) => Name::Stranger,
        None => Name::Foreign,
    }
}
