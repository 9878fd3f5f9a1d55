//! Typed identifiers. A raw string becomes an id only here, where its rules are checked.
//!
//! Two shapes exist: 128-bit ids that Berth mints (agents, volumes, operations …), printed as
//! 32 hexadecimal digits, and names that clients choose (tasks, frameworks, volume names), which may end
//! up as path components and are therefore restricted (Mesos rule: 1 to 255 bytes, no slash, no
//! backslash, no control character, not `.` or `..`).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is not an id of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("{kind} is empty: give 1 to 255 bytes")]
    Empty { kind: &'static str },
    /// The text is longer than 255 bytes.
    #[error("{kind} has {length} bytes: at most 255 are allowed")]
    TooLong { kind: &'static str, length: usize },
    /// The text holds a character that ids may not hold.
    #[error(
        "{kind} {text:?} holds {found:?}: slashes, backslashes and control characters are not allowed"
    )]
    Character { kind: &'static str, text: String, found: char },
    /// `.` and `..` would be path components with a meaning of their own.
    #[error("{kind} may not be {text:?}: it would be a path of its own")]
    Dots { kind: &'static str, text: String },
    /// Not 32 hexadecimal digits (hyphens are ignored).
    #[error("{kind} {text:?} is not 32 hexadecimal digits")]
    NotHex { kind: &'static str, text: String },
    /// Not of the form `e3-O17`.
    #[error("offer id {text:?} is not of the form e<epoch>-O<number>")]
    NotAnOffer { text: String },
}

/// Checks the rule for names that may become path components.
///
/// # Errors
/// Says which rule `text` breaks; `kind` is the noun used in the message.
pub fn check_name(kind: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { kind });
    }
    if text.len() > 255 {
        return Err(IdError::TooLong { kind, length: text.len() });
    }
    if text == "." || text == ".." {
        return Err(IdError::Dots { kind, text: text.to_owned() });
    }
    match text.chars().find(|c| *c == '/' || *c == '\\' || c.is_control()) {
        Some(found) => Err(IdError::Character { kind, text: text.to_owned(), found }),
        None => Ok(()),
    }
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` against the rule for names.
            ///
            /// # Errors
            /// Says which rule is broken.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check_name($kind, text)?;
                Ok(Self(Arc::from(text)))
            }
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// An id from its 128 bits.
            #[must_use]
            pub const fn from_u128(bits: u128) -> Self {
                Self(bits)
            }
            /// The 128 bits.
            #[must_use]
            pub const fn as_u128(self) -> u128 {
                self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(self.0, f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(self.0, f)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text)
                    .map(Self)
                    .ok_or_else(|| IdError::NotHex { kind: $kind, text: text.to_owned() })
            }
        }
    };
}

/// Ids are written into every record: digit by digit is several times faster than the general formatter.
fn write_hex(bits: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0_u8; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bits.to_be_bytes()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    f.pad(std::str::from_utf8(&text).expect("hexadecimal digits are text"))
}

fn parse_hex(text: &str) -> Option<u128> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok()
}

uuid_id!(
    /// One installation: minted by the first master start, stored by every agent.
    ClusterId, "cluster id");
uuid_id!(
    /// A machine's daemon: minted by the agent and synced before its first contact.
    AgentId, "agent id");
uuid_id!(
    /// A persistent volume for all its life, across names, roles and generations.
    VolumeId, "volume id");
uuid_id!(
    /// A snapshot of a volume for all its life.
    SnapshotId, "snapshot id");
uuid_id!(
    /// Snapshots of several volumes that were taken at one moment; the id of the operation that took them.
    GroupId, "snapshot group id");
uuid_id!(
    /// A disk, as written on the disk itself.
    DiskId, "disk id");
uuid_id!(
    /// One state-changing operation; clients choose it, so a retry names the same operation.
    OperationId, "operation id");
uuid_id!(
    /// One transaction of a framework, which chooses it, so a retry names the same transaction.
    TransactionId, "transaction id");
uuid_id!(/// One exchange of data between an agent and somebody who asked the master for it; minted by the master.
    TransferId, "transfer id");
uuid_id!(
    /// One row of reserved resources on one agent.
    ReservationId, "reservation id");
uuid_id!(
    /// One status update that awaits its acknowledgement.
    StatusId, "status id");
uuid_id!(
    /// One run of a task on an agent: sandbox, supervisor and cgroup carry it.
    ContainerId, "container id");
uuid_id!(
    /// One life of an agent's connection: a second live one of the same agent is refused.
    SessionId, "session id");

name_id!(
    /// A framework; minted by the master, or kept by a framework that comes back.
    FrameworkId, "framework id");
name_id!(
    /// A task, chosen by its framework; unique among the framework's live tasks.
    TaskId, "task id");
name_id!(
    /// A volume's name (the persistence id of Mesos), unique per role.
    VolumeName, "volume name");
name_id!(
    /// A snapshot's name, unique per volume.
    SnapshotName, "snapshot name");
name_id!(
    /// Who asked: the owner of a reservation or a volume.
    Principal, "principal");
name_id!(
    /// A profile of disks, unique in the cluster.
    ProfileName, "profile name");

/// An offer: the epoch that made it and its number within that epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferId {
    /// The term in which the offer was made; offers of earlier terms are void.
    pub epoch: u64,
    /// Counts from 1 in each term.
    pub number: u64,
}

impl fmt::Display for OfferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}-O{}", self.epoch, self.number)
    }
}

impl fmt::Debug for OfferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OfferId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let parsed = text.strip_prefix('e').and_then(|rest| {
            let (epoch, number) = rest.split_once("-O")?;
            Some(Self { epoch: epoch.parse().ok()?, number: number.parse().ok()? })
        });
        parsed.ok_or_else(|| IdError::NotAnOffer { text: text.to_owned() })
    }
}

/// FNV-1a over bytes (Fowler, Noll, Vo): a stable fingerprint, not a defence against malice.
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Derives a new 128-bit value from `seed` and `index` (two rounds of the splitmix64 finaliser),
/// so that deciding code can mint ids without a source of randomness.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the two halves of the seed are taken apart")]
pub fn derive(seed: u128, index: u64) -> u128 {
    let low = mix((seed as u64).wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let high = mix(((seed >> 64) as u64) ^ low.rotate_left(32) ^ index);
    (u128::from(high) << 64) | u128::from(mix(low ^ high))
}

fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_paths_are_refused() {
        for (text, want) in [
            ("", "task id is empty: give 1 to 255 bytes"),
            (".", "task id may not be \".\": it would be a path of its own"),
            ("..", "task id may not be \"..\": it would be a path of its own"),
            (
                "a/b",
                "task id \"a/b\" holds '/': slashes, backslashes and control characters are not allowed",
            ),
            (
                "a\\b",
                "task id \"a\\\\b\" holds '\\\\': slashes, backslashes and control characters are not allowed",
            ),
            (
                "a\0",
                "task id \"a\\0\" holds '\\0': slashes, backslashes and control characters are not allowed",
            ),
        ] {
            assert_eq!(TaskId::new(text).unwrap_err().to_string(), want);
        }
        assert_eq!(
            TaskId::new(&"x".repeat(256)).unwrap_err(),
            IdError::TooLong { kind: "task id", length: 256 }
        );
        assert_eq!(TaskId::new("…").unwrap().as_str(), "…");
    }

    #[test]
    fn minted_ids_read_back_what_they_print_and_accept_hyphens() {
        let id = AgentId::from_u128(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(id.to_string().parse::<AgentId>(), Ok(id));
        assert_eq!("01234567-89ab-cdef-0011-223344556677".parse::<AgentId>(), Ok(id));
        assert_eq!(
            "xyz".parse::<AgentId>().unwrap_err().to_string(),
            "agent id \"xyz\" is not 32 hexadecimal digits"
        );
        let offer = OfferId { epoch: 3, number: 17 };
        assert_eq!(offer.to_string(), "e3-O17");
        assert_eq!("e3-O17".parse::<OfferId>(), Ok(offer));
    }

    #[test]
    fn derived_values_differ_by_index_and_by_seed() {
        let all: std::collections::BTreeSet<u128> =
            (0..100).flat_map(|seed| (0..100).map(move |index| derive(seed, index))).collect();
        assert_eq!(all.len(), 10_000);
    }
}
