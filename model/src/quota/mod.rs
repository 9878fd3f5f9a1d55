//! Quota: what a top-level role is sure to get (guarantees) and what it never gets more than (limits), for itself and all
//! roles below it.
//!
//! What is counted is a resource that is a number, or the disk that satisfies one profile (`disk[ssd]`), which is a part of
//! all `disk`. It knows no cluster: what a role consumes and what there is come as figures. Invariant: amounts are not negative
//! and bounded, a guarantee is never above a limit that covers it.

mod text;

pub use text::{AmountError, parse_amounts, show_amounts};

use crate::error::{ErrorCode, Rejection};
use crate::id::{OperationId, ProfileName};
use crate::resources::Name;
use crate::role::Role;
use crate::units::{Scalar, Timestamp};
use std::collections::BTreeMap;
use std::fmt;

/// The most amounts of one kind in one quota.
pub const AMOUNTS_MAX: usize = 64;
/// The most memory or disk: an exbibyte, in MiB.
pub const SPACE_MAX: Scalar = Scalar::from_milli((1 << 40) * 1_000);
/// The most of anything else.
pub const NUMBER_MAX: Scalar = Scalar::from_milli(1_000_000_000_000 * 1_000);

/// What is counted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counted {
    /// All of a resource; of `disk` that of all disks.
    All(Name),
    /// The disk that satisfies a profile, whatever its health.
    DiskOf(ProfileName),
}

/// How much of each.
pub type Amounts = BTreeMap<Counted, Scalar>;

/// The quota of a top-level role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Which.
    pub role: Role,
    /// What it is sure to get.
    pub guarantees: Amounts,
    /// What it never gets more than; what is not named has no limit.
    pub limits: Amounts,
    /// Since when.
    pub changed: Timestamp,
    /// Who asked: the operation.
    pub operation: OperationId,
}

/// A change of quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaRequest {
    /// Replaces the whole quota of a role.
    Set {
        /// Which.
        role: Role,
        /// What it is sure to get.
        guarantees: Amounts,
        /// What it never gets more than.
        limits: Amounts,
        /// Although it consumes more than a limit, or there is less than what is guaranteed in sum.
        force: bool,
    },
    /// No guarantee and no limit any more.
    Unset {
        /// Of which.
        role: Role,
    },
}

impl QuotaRequest {
    /// The role it is about.
    #[must_use]
    pub fn role(&self) -> &Role {
        match self {
            Self::Set { role, .. } | Self::Unset { role } => role,
        }
    }
}

/// Why a quota makes no sense, whatever the cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// A role below another.
    #[error(
        "role {role} is below role {top}: only top-level roles have quota, which counts for all roles below them"
    )]
    Nested {
        /// As asked.
        role: Role,
        /// The one it is below.
        top: Role,
    },
    /// Nobody in particular.
    #[error("role * can have no quota, since it is nobody in particular")]
    Star,
    /// Neither guarantee nor limit.
    #[error("the quota of role {0} has neither a guarantee nor a limit")]
    Nothing(Role),
    /// More than anybody needs.
    #[error("{0} amounts are more than {AMOUNTS_MAX}")]
    TooMany(usize),
    /// Ranges and sets have no amount.
    #[error("{0} is no number and cannot be counted by quota")]
    NotCounted(Name),
    /// What would be shown as something else, such as `disk[ssd]` for a resource.
    #[error("{0:?} is not the name of a resource")]
    Name(String),
    /// Below zero.
    #[error("{0}={1} is below zero")]
    Negative(Counted, Scalar),
    /// Beyond the bound.
    #[error("{counted}={} is more than the largest amount, {}", counted.shown(*amount), counted.shown(counted.bound()))]
    TooLarge {
        /// Of what.
        counted: Counted,
        /// How much.
        amount: Scalar,
    },
    /// More is guaranteed than the role may ever have.
    #[error("the guarantee {guaranteed}={} is above the limit {limited}={}", guaranteed.shown(*guarantee), limited.shown(*limit))]
    AboveLimit {
        /// What is guaranteed.
        guaranteed: Counted,
        /// How much.
        guarantee: Scalar,
        /// What is limited: the same, or all disk.
        limited: Counted,
        /// To how much.
        limit: Scalar,
    },
}

/// An amount that is beyond another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// Of what.
    pub counted: Counted,
    /// What is asked for, or there.
    pub amount: Scalar,
    /// What it may be at most.
    pub most: Scalar,
}

impl QuotaError {
    /// The refusal that every interface shows; the field is that of the call.
    #[must_use]
    pub fn rejection(&self) -> Rejection {
        let (code, remedy, field) = match self {
            Self::Nested { top, .. } => {
                (ErrorCode::InvalidRole, format!("give role {top} a quota"), "role")
            },
            Self::Star => {
                (ErrorCode::InvalidRole, "name a role such as storage".to_owned(), "role")
            },
            Self::Nothing(role) => {
                let remedy =
                    format!("give one, or take its quota away with `berth quota unset {role}`");
                (ErrorCode::InvalidQuota, remedy, "guarantees")
            },
            Self::AboveLimit { .. } => {
                let remedy = "raise the limit, or guarantee less".to_owned();
                (ErrorCode::InvalidQuota, remedy, "guarantees")
            },
            Self::TooMany(_)
            | Self::NotCounted(_)
            | Self::Name(_)
            | Self::Negative(..)
            | Self::TooLarge { .. } => {
                let remedy = "give amounts such as cpus=4, mem=8GiB or disk[ssd]=1TiB".to_owned();
                (ErrorCode::InvalidQuota, remedy, "guarantees")
            },
        };
        Rejection::new(code, self.to_string()).remedy(remedy).field(field)
    }
}

impl Counted {
    /// All disk.
    pub const DISK: Self = Self::All(Name::Disk);

    /// The most that may be asked for.
    #[must_use]
    pub fn bound(&self) -> Scalar {
        match self {
            Self::All(Name::Mem | Name::Disk) | Self::DiskOf(_) => SPACE_MAX,
            Self::All(Name::Cpus | Name::Gpus | Name::Ports | Name::Other(_)) => NUMBER_MAX,
        }
    }
    /// Whether amounts of it are sizes.
    #[must_use]
    pub fn is_space(&self) -> bool {
        match self {
            Self::All(Name::Mem | Name::Disk) | Self::DiskOf(_) => true,
            Self::All(Name::Cpus | Name::Gpus | Name::Ports | Name::Other(_)) => false,
        }
    }
    /// An amount of it for people, which is read back as it is: the largest unit in which it is whole.
    #[must_use]
    pub fn shown(&self, amount: Scalar) -> String {
        let mib = amount.milli() / 1_000;
        if !self.is_space() || amount.milli() % 1_000 != 0 || mib < 0 {
            let unit = if self.is_space() { "MiB" } else { "" };
            return format!("{amount}{unit}");
        }
        let (factor, unit) = match mib {
            0 => (1, "MiB"),
            _ if mib % (1 << 20) == 0 => (1 << 20, "TiB"),
            _ if mib % (1 << 10) == 0 => (1 << 10, "GiB"),
            _ => (1, "MiB"),
        };
        format!("{}{unit}", mib / factor)
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(name) => fmt::Display::fmt(name, f),
            Self::DiskOf(profile) => write!(f, "disk[{profile}]"),
        }
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Checks what can be checked without knowing the cluster.
///
/// # Errors
/// Says what makes no sense.
pub fn check(role: &Role, guarantees: &Amounts, limits: &Amounts) -> Result<(), QuotaError> {
    check_role(role)?;
    for amounts in [guarantees, limits] {
        if amounts.len() > AMOUNTS_MAX {
            return Err(QuotaError::TooMany(amounts.len()));
        }
        for (counted, amount) in amounts {
            check_amount(counted, *amount)?;
        }
    }
    if guarantees.values().all(|amount| amount.is_zero()) && limits.is_empty() {
        return Err(QuotaError::Nothing(role.clone()));
    }
    for (guaranteed, guarantee) in guarantees {
        let covering = match guaranteed {
            Counted::DiskOf(_) => [Some(guaranteed), Some(&Counted::DISK)],
            Counted::All(_) => [Some(guaranteed), None],
        };
        for limited in covering.into_iter().flatten() {
            let Some(limit) = limits.get(limited).filter(|limit| *limit < guarantee) else {
                continue;
            };
            return Err(QuotaError::AboveLimit {
                guaranteed: guaranteed.clone(),
                guarantee: *guarantee,
                limited: limited.clone(),
                limit: *limit,
            });
        }
    }
    Ok(())
}

/// Only top-level roles have quota.
///
/// # Errors
/// The role is `*`, or below another.
pub fn check_role(role: &Role) -> Result<(), QuotaError> {
    if role.is_star() {
        return Err(QuotaError::Star);
    }
    let top = role.top();
    if top != *role {
        return Err(QuotaError::Nested { role: role.clone(), top });
    }
    Ok(())
}

fn check_amount(counted: &Counted, amount: Scalar) -> Result<(), QuotaError> {
    if *counted == Counted::All(Name::Ports) {
        return Err(QuotaError::NotCounted(Name::Ports));
    }
    if counted.to_string().parse().as_ref() != Ok(counted) {
        return Err(QuotaError::Name(counted.to_string()));
    }
    if amount < Scalar::ZERO {
        return Err(QuotaError::Negative(counted.clone(), amount));
    }
    if amount > counted.bound() {
        return Err(QuotaError::TooLarge { counted: counted.clone(), amount });
    }
    Ok(())
}

/// The first guarantee that, with those of all other roles, is more than what there is. Guarantees of disk that satisfies a
/// profile are guarantees of disk as well: of both together a role needs what is more.
#[must_use]
pub fn beyond_capacity<'a>(
    guarantees: &Amounts,
    others: impl Iterator<Item = &'a Amounts> + Clone,
    capacity: impl Fn(&Counted) -> Scalar,
) -> Option<Beyond> {
    let is_positive = |counted: &&Counted| needed(guarantees, counted) > 0;
    let disk = (!guarantees.contains_key(&Counted::DISK)).then_some(&Counted::DISK);
    guarantees.keys().chain(disk).filter(is_positive).find_map(|counted| {
        let own = needed(guarantees, counted);
        let sum = others.clone().fold(own, |sum, other| sum + needed(other, counted));
        let most = capacity(counted);
        let amount = Scalar::from_milli(i64::try_from(sum).unwrap_or(i64::MAX));
        let is_beyond = sum > i128::from(most.milli());
        is_beyond.then(|| Beyond { counted: counted.clone(), amount, most })
    })
}

/// How much of it has to be there for these guarantees, in thousandths.
fn needed(guarantees: &Amounts, counted: &Counted) -> i128 {
    let own = guarantees.get(counted).map_or(0, |amount| i128::from(amount.milli()));
    if *counted != Counted::DISK {
        return own;
    }
    let by_profile = guarantees.iter().filter(|(kind, _)| matches!(kind, Counted::DiskOf(_)));
    own.max(by_profile.map(|(_, amount)| i128::from(amount.milli())).sum())
}

/// The limits that are below what is consumed.
pub fn exceeded<'a>(
    limits: &'a Amounts,
    consumed: impl Fn(&Counted) -> Scalar + 'a,
) -> impl Iterator<Item = Beyond> + 'a {
    limits.iter().filter_map(move |(counted, limit)| {
        let (amount, most) = (consumed(counted), *limit);
        (amount > most).then(|| Beyond { counted: counted.clone(), amount, most })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(text: &str) -> Role {
        Role::new(text).unwrap()
    }
    fn amounts(text: &str) -> Amounts {
        parse_amounts(text).unwrap()
    }
    fn refusal(of: &str, guarantees: &str, limits: &str) -> String {
        let read = |text: &str| if text.is_empty() { Amounts::new() } else { amounts(text) };
        match check(&role(of), &read(guarantees), &read(limits)) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn amounts_are_read_as_they_are_shown() {
        for text in [
            "cpus=4",
            "cpus=0.5,mem=8GiB,disk=3TiB",
            "disk[fast-ssd]=1TiB",
            "disk=1025MiB,gpus=2,tokens=7",
            "cpus=1,disk[a, b=1]=1GiB",
            "cpus=0,mem=0MiB",
        ] {
            let read = amounts(text);
            assert_eq!(amounts(&show_amounts(&read)), read, "{text}");
        }
        assert_eq!(show_amounts(&amounts("mem=8GiB, disk[ssd] = 1TiB")), "mem=8GiB,disk[ssd]=1TiB");
        assert_eq!(show_amounts(&Amounts::new()), "none");
        let wrong = |text: &str| parse_amounts(text).unwrap_err().to_string();
        for (text, words) in [
            ("", "is not NAME=AMOUNT"),
            ("cpus", "is not NAME=AMOUNT"),
            ("cpus=4,", "is not NAME=AMOUNT"),
            ("=4", "is not the name of a resource"),
            ("disk[]=1GiB", "is not the name of a resource"),
            ("disk[a/b]=1GiB", "is not the name of a resource"),
            ("mem[ssd]=1GiB", "is not the name of a resource"),
            ("cpus=1,cpus=2", "cpus is given twice"),
            ("cpus=nan", "cpus: \"nan\" is not a number"),
            ("cpus=-1", "cpus: \"-1\" is not a number"),
            ("cpus=1e400", "is not a number"),
            ("mem=8", "mem: \"8\" has no unit"),
            ("mem=1B", "mem: 1 bytes is not a whole number of MiB"),
            ("disk=99999999999999999999TiB", "is too large"),
        ] {
            assert!(wrong(text).contains(words), "{text}: {}", wrong(text));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_numbers() {
        for (of, guarantees, limits, words) in [
            ("storage", "cpus=4", "", ""),
            ("storage", "", "cpus=0", ""),
            ("storage", "cpus=4,disk[ssd]=1TiB", "cpus=4,disk=1TiB", ""),
            ("*", "cpus=4", "", "role * can have no quota, since it is nobody in particular"),
            (
                "storage/db",
                "cpus=4",
                "",
                "role storage/db is below role storage: only top-level roles have quota, which counts for all roles below them",
            ),
            ("storage", "", "", "the quota of role storage has neither a guarantee nor a limit"),
            (
                "storage",
                "cpus=0",
                "",
                "the quota of role storage has neither a guarantee nor a limit",
            ),
            ("storage", "ports=1", "", "ports is no number and cannot be counted by quota"),
            ("storage", "cpus=5", "cpus=4", "the guarantee cpus=5 is above the limit cpus=4"),
            (
                "storage",
                "disk[ssd]=2TiB",
                "disk=1TiB",
                "the guarantee disk[ssd]=2TiB is above the limit disk=1TiB",
            ),
            (
                "storage",
                "",
                "cpus=1000000000001",
                "cpus=1000000000001 is more than the largest amount, 1000000000000",
            ),
            (
                "storage",
                "disk=1048577TiB",
                "",
                "disk=1048577TiB is more than the largest amount, 1048576TiB",
            ),
        ] {
            assert_eq!(refusal(of, guarantees, limits), words, "{of} {guarantees} {limits}");
        }
        for name in ["disk[ssd]", "a,b=1", "my cpus", ""] {
            let odd = Amounts::from([(Counted::All(Name::new(name)), Scalar::from_milli(1))]);
            let found = check(&role("a"), &Amounts::new(), &odd);
            assert_eq!(found, Err(QuotaError::Name(name.to_owned())));
        }
        let negative = Amounts::from([(Counted::All(Name::Cpus), Scalar::from_milli(-1))]);
        let found = check(&role("a"), &negative, &Amounts::new());
        assert_eq!(
            found,
            Err(QuotaError::Negative(Counted::All(Name::Cpus), Scalar::from_milli(-1)))
        );
        let many =
            (0..65).map(|n| (Counted::All(Name::new(&format!("r{n}"))), Scalar::ZERO)).collect();
        assert_eq!(check(&role("a"), &Amounts::new(), &many), Err(QuotaError::TooMany(65)));
    }

    #[test]
    fn guarantees_add_up_over_roles_and_limits_are_compared_with_what_is_consumed() {
        let all = [amounts("cpus=6,mem=1GiB"), amounts("cpus=3")];
        let capacity = |counted: &Counted| match counted {
            Counted::All(Name::Cpus) => Scalar::from_milli(10_000),
            _other => Scalar::ZERO,
        };
        assert_eq!(beyond_capacity(&amounts("cpus=1"), all.iter(), capacity), None);
        let beyond = Beyond {
            counted: Counted::All(Name::Cpus),
            amount: Scalar::from_milli(10_001),
            most: Scalar::from_milli(10_000),
        };
        assert_eq!(beyond_capacity(&amounts("cpus=1.001"), all.iter(), capacity), Some(beyond));
        // What is not guaranteed cannot be too much; what no machine has, any of it is.
        // Of both what is more counts, and disk of a profile is disk.
        let disks = [amounts("disk=1GiB,disk[a]=2GiB,disk[b]=2GiB")];
        let four = |size: u64| {
            move |_: &Counted| Scalar::from_milli(i64::try_from(size << 20).unwrap() / 1024 * 1_000)
        };
        for own in ["disk=2GiB", "disk[c]=2GiB", "disk=2GiB,disk[c]=1GiB"] {
            assert_eq!(beyond_capacity(&amounts(own), disks.iter(), four(6)), None, "{own}");
            let beyond = beyond_capacity(&amounts(own), disks.iter(), four(5)).map(|b| b.counted);
            assert_eq!(beyond, Some(Counted::DISK), "{own}");
        }
        assert_eq!(beyond_capacity(&amounts("gpus=0"), all.iter(), capacity), None);
        assert!(beyond_capacity(&amounts("gpus=1"), all.iter(), capacity).is_some());
        // Sums do not overflow.
        let huge = vec![amounts("tokens=1000000000000"); 10_000];
        assert!(
            beyond_capacity(&amounts("tokens=1"), huge.iter(), |_| Scalar::from_milli(i64::MAX))
                .is_some()
        );

        let limits = amounts("cpus=10,mem=1GiB");
        let found: Vec<Beyond> = exceeded(&limits, capacity).collect();
        assert_eq!(found, []);
        let limits = amounts("cpus=9,mem=1GiB");
        let beyond = Beyond {
            counted: Counted::All(Name::Cpus),
            amount: Scalar::from_milli(10_000),
            most: Scalar::from_milli(9_000),
        };
        assert_eq!(exceeded(&limits, capacity).collect::<Vec<_>>(), [beyond]);
    }
}
