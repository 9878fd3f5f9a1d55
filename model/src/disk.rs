//! What operators say of disks: that one is cordoned, its labels, and the profiles that pick disks.
//!
//! It knows no agent and no books. Whether a disk satisfies a profile is decided here, once, for the master that places
//! volumes and for the tools that explain why it did not.

use crate::agent::{Disk, DiskHealth, Media};
use crate::id::{AgentId, DiskId, ProfileName};
use crate::units::{Bytes, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The longest reason, in bytes.
pub const REASON_MAX: usize = 1_000;
/// The longest key of a label, in bytes.
pub const LABEL_KEY_MAX: usize = 63;
/// The longest value of a label, in bytes.
pub const LABEL_VALUE_MAX: usize = 255;
/// The most labels of one disk, or of one profile.
pub const LABELS_MAX: usize = 64;

/// Why a label or a reason cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The key of a label breaks the rule for keys.
    #[error(
        "label key {0:?} is not 1 to 63 letters, digits, '.', '_', '/' or '-' that begin and end with a letter or a digit"
    )]
    Key(String),
    /// The value of a label is too long or holds control characters.
    #[error("the value of label {0} is longer than 255 bytes or holds control characters")]
    Value(String),
    /// There are too many labels.
    #[error("{0} labels are more than 64")]
    Count(usize),
    /// The reason is too long or holds control characters.
    #[error("the reason is longer than 1000 bytes or holds control characters")]
    Reason,
}

/// Checks the key of a label.
///
/// # Errors
/// It breaks the rule.
pub fn check_label_key(key: &str) -> Result<(), TextError> {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-');
    let fits = key.len() <= LABEL_KEY_MAX
        && edge(key.chars().next())
        && edge(key.chars().next_back())
        && key.chars().all(inner);
    if fits { Ok(()) } else { Err(TextError::Key(key.to_owned())) }
}

/// Checks the keys, the values and the number of labels.
///
/// # Errors
/// Says which rule is broken.
pub fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), TextError> {
    if labels.len() > LABELS_MAX {
        return Err(TextError::Count(labels.len()));
    }
    for (key, value) in labels {
        check_label_key(key)?;
        if value.len() > LABEL_VALUE_MAX || value.chars().any(char::is_control) {
            return Err(TextError::Value(key.clone()));
        }
    }
    Ok(())
}

/// Checks a reason; it may be empty.
///
/// # Errors
/// It is too long for a line of a table.
pub fn check_reason(reason: &str) -> Result<(), TextError> {
    if reason.len() > REASON_MAX || reason.chars().any(char::is_control) {
        return Err(TextError::Reason);
    }
    Ok(())
}

/// Nothing new goes on a disk from some time on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cordon {
    /// For people; empty when none was given.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// What operators have said of a disk. Kept in the registry, because an agent may be away or be installed anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskRecord {
    /// Which disk, as written on it.
    pub disk: DiskId,
    /// The agent that had it when this was said.
    pub agent: AgentId,
    /// Present while it is cordoned.
    pub cordon: Option<Cordon>,
    /// Free key-value pairs.
    pub labels: BTreeMap<String, String>,
}

impl DiskRecord {
    /// Nothing said yet.
    #[must_use]
    pub fn new(disk: DiskId, agent: AgentId) -> Self {
        Self { disk, agent, cordon: None, labels: BTreeMap::new() }
    }
    /// True when there is nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cordon.is_none() && self.labels.is_empty()
    }
}

/// A change of what is said of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskRequest {
    /// Nothing new goes on it; what lies on it stays usable.
    Cordon {
        /// Which.
        disk: DiskId,
        /// Why, for people.
        reason: String,
    },
    /// It is used again.
    Uncordon {
        /// Which.
        disk: DiskId,
        /// Why, for people.
        reason: String,
    },
    /// Its labels change.
    Label {
        /// Which.
        disk: DiskId,
        /// Set to these values.
        set: BTreeMap<String, String>,
        /// Removed; absent ones are no error.
        remove: BTreeSet<String>,
    },
}

impl DiskRequest {
    /// Which disk is meant.
    #[must_use]
    pub const fn disk(&self) -> DiskId {
        match self {
            Self::Cordon { disk, .. } | Self::Uncordon { disk, .. } | Self::Label { disk, .. } => {
                *disk
            },
        }
    }
}

/// Which health a profile asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthWish {
    /// Only disks that are fit for use.
    #[default]
    Ok,
    /// Faulty ones too. A volume is never made on those; such a profile is for looking.
    Any,
}

impl HealthWish {
    /// As users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Any => "any",
        }
    }
}

/// A named predicate over disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskProfile {
    /// Unique in the cluster.
    pub name: ProfileName,
    /// One of these; any when empty.
    pub media: BTreeSet<Media>,
    /// At least so large.
    pub size_min: Option<Bytes>,
    /// At most so large.
    pub size_max: Option<Bytes>,
    /// Each with this value.
    pub labels: BTreeMap<String, String>,
    /// Whether faulty disks satisfy it.
    pub health: HealthWish,
}

impl DiskProfile {
    /// Why the disk, with these labels, does not satisfy the profile; empty when it does.
    #[must_use]
    pub fn misses(&self, disk: &Disk, labels: &BTreeMap<String, String>) -> Vec<String> {
        let mut misses = Vec::new();
        if !self.media.is_empty() && !self.media.contains(&disk.media) {
            let wanted: Vec<&str> = self.media.iter().map(|media| media.as_str()).collect();
            misses.push(format!(
                "its medium is {}, not {}",
                disk.media.as_str(),
                wanted.join(" or ")
            ));
        }
        if let Some(least) = self.size_min.filter(|least| disk.size < *least) {
            misses.push(format!("it has {}, less than {least}", disk.size));
        }
        if let Some(most) = self.size_max.filter(|most| disk.size > *most) {
            misses.push(format!("it has {}, more than {most}", disk.size));
        }
        for (key, wanted) in &self.labels {
            match labels.get(key) {
                Some(found) if found == wanted => {},
                Some(found) => misses.push(format!("its label {key} is {found}, not {wanted}")),
                None => misses.push(format!("it has no label {key}={wanted}")),
            }
        }
        match (&disk.health, self.health) {
            (DiskHealth::Faulty(why), HealthWish::Ok) => {
                misses.push(format!("it is faulty: {why}"));
            },
            (DiskHealth::Faulty(_), HealthWish::Any) | (DiskHealth::Ok, _) => {},
        }
        misses
    }
}

/// A change of the profiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileRequest {
    /// A new one.
    Create(DiskProfile),
    /// Forget it; what was placed by it stays where it is.
    Delete(ProfileName),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::DiskSource;
    use crate::volume::Enforcement;
    use std::sync::Arc;

    fn disk(media: Media, gib: u64, health: DiskHealth) -> Disk {
        Disk {
            id: DiskId::from_u128(1),
            name: Arc::from("d1"),
            source: DiskSource::Root,
            root: Arc::from("/srv"),
            driver: Arc::from("directory"),
            driver_reason: Arc::from(""),
            enforcement: Enforcement::None,
            size: Bytes::from_mib(gib * 1024),
            free: Bytes::from_mib(gib * 1024),
            health,
            media,
            orphans: Vec::new(),
            no_snapshots: BTreeMap::new(),
            wipes: Vec::new(),
            added: false,
            no_encryption: None,
        }
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_profile_says_everything_that_a_disk_lacks() {
        let profile = DiskProfile {
            name: ProfileName::new("fast").unwrap(),
            media: BTreeSet::from([Media::Ssd, Media::Nvme]),
            size_min: Some(Bytes::from_mib(10 * 1024)),
            size_max: Some(Bytes::from_mib(100 * 1024)),
            labels: labels(&[("tier", "gold"), ("zone", "a")]),
            health: HealthWish::Ok,
        };
        let faulty = || DiskHealth::Faulty("it is read-only".to_owned());
        let good = labels(&[("tier", "gold"), ("zone", "a"), ("other", "x")]);
        for (media, gib, health, found, wanted) in [
            (Media::Nvme, 10, DiskHealth::Ok, &good, vec![]),
            (Media::Ssd, 100, DiskHealth::Ok, &good, vec![]),
            (Media::Hdd, 10, DiskHealth::Ok, &good, vec!["its medium is hdd, not ssd or nvme"]),
            (
                Media::Unknown,
                10,
                DiskHealth::Ok,
                &good,
                vec!["its medium is unknown, not ssd or nvme"],
            ),
            (Media::Ssd, 9, DiskHealth::Ok, &good, vec!["it has 9 GiB, less than 10 GiB"]),
            (Media::Ssd, 101, DiskHealth::Ok, &good, vec!["it has 101 GiB, more than 100 GiB"]),
            (Media::Ssd, 10, faulty(), &good, vec!["it is faulty: it is read-only"]),
            (
                Media::Hdd,
                1,
                DiskHealth::Ok,
                &labels(&[("tier", "tin")]),
                vec![
                    "its medium is hdd, not ssd or nvme",
                    "it has 1 GiB, less than 10 GiB",
                    "its label tier is tin, not gold",
                    "it has no label zone=a",
                ],
            ),
        ] {
            assert_eq!(profile.misses(&disk(media, gib, health), found), wanted);
        }
        let any = DiskProfile {
            media: BTreeSet::new(),
            size_min: None,
            size_max: None,
            labels: BTreeMap::new(),
            health: HealthWish::Any,
            ..profile
        };
        assert_eq!(any.misses(&disk(Media::Unknown, 0, faulty()), &labels(&[])), [""; 0]);
    }

    #[test]
    fn labels_and_reasons_keep_their_rules() {
        for (key, fits) in [
            ("tier", true),
            ("example.com/rack-2_b", true),
            ("9", true),
            ("", false),
            ("tier-", false),
            ("-tier", false),
            ("a b", false),
            ("a=b", false),
            ("é", false),
        ] {
            assert_eq!(check_label_key(key).is_ok(), fits, "{key}");
        }
        let key = |length| check_label_key(&"x".repeat(length));
        assert_eq!((key(63), key(64)), (Ok(()), Err(TextError::Key("x".repeat(64)))));
        assert_eq!(check_labels(&labels(&[("a", ""), ("b", "Grün")])), Ok(()));
        assert_eq!(check_labels(&labels(&[("a", "x\ny")])), Err(TextError::Value("a".to_owned())));
        let many = (0..65).map(|n| (format!("k{n}"), String::new())).collect();
        assert_eq!(check_labels(&many), Err(TextError::Count(65)));
        assert_eq!(check_reason("fan broken, ticket 7"), Ok(()));
        assert_eq!(check_reason("a\nb"), Err(TextError::Reason));
        assert_eq!(check_reason(&"x".repeat(1_001)), Err(TextError::Reason));
    }
}
