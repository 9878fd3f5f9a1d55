//! Wiping: what becomes of the blocks of a volume when it is deleted for good.
//!
//! It knows no driver; which method reaches the blocks of a disk is what its agent says. Invariant: what a certificate says
//! was overwritten before the last name of it was gone.

use crate::id::OperationId;
use crate::units::Bytes;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What is done to the blocks before they are given back, the least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wipe {
    /// Nothing: the names go, the blocks keep what they hold until somebody writes them again.
    #[default]
    None,
    /// The device is told that nobody needs them any more; what it answers then is up to it.
    Discard,
    /// They are overwritten in place with zeros.
    Zero,
    /// They are overwritten in place with random bytes, then with zeros.
    Shred,
}

impl Wipe {
    /// Every method.
    pub const ALL: [Self; 4] = [Self::None, Self::Discard, Self::Zero, Self::Shred];

    /// As users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Discard => "discard",
            Self::Zero => "zero",
            Self::Shred => "shred",
        }
    }

    /// What was done, for people.
    #[must_use]
    pub const fn done(self) -> &'static str {
        match self {
            Self::None => "not wiped",
            Self::Discard => "discarded",
            Self::Zero => "overwritten with zeros",
            Self::Shred => "overwritten with random bytes, then with zeros",
        }
    }
}

impl fmt::Display for Wipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that names no method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no way to wipe: none, discard, zero or shred")]
pub struct WipeError(String);

impl FromStr for Wipe {
    type Err = WipeError;
    fn from_str(text: &str) -> Result<Self, WipeError> {
        let found = Self::ALL.into_iter().find(|method| method.as_str() == text);
        found.ok_or_else(|| WipeError(text.to_owned()))
    }
}

/// Whether volumes that a driver made can be wiped so on a disk, as its agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WipeAbility {
    /// Which driver.
    pub driver: Arc<str>,
    /// Which method; never `None`, which every driver can.
    pub method: Wipe,
    /// Why not; nothing when it can.
    pub refused: Option<String>,
}

/// What an agent says when it has wiped a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wiped {
    /// How.
    pub method: Wipe,
    /// How much there was when it began.
    pub bytes: Bytes,
    /// Which driver had made the volume.
    pub driver: Arc<str>,
}

impl Wiped {
    /// For the audit log.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { method, bytes, driver } = self;
        format!(
            "wiped: {bytes} ({} bytes) of driver {driver} {} ({method}), synced before they were given back",
            bytes.get(),
            method.done()
        )
    }
}

/// How far a wipe is, as an agent's ledger knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WipeStage {
    /// Nothing was changed yet.
    Wanted,
    /// So many bytes are being overwritten; never restored.
    Begun(Bytes),
    /// So many bytes were, and that is synced.
    Done(Bytes),
}

/// A wipe in an agent's ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerWipe {
    /// On whose behalf; nobody's when the retention was over.
    pub operation: Option<OperationId>,
    /// How.
    pub method: Wipe,
    /// How far.
    pub stage: WipeStage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_read_as_they_are_written() {
        for method in Wipe::ALL {
            assert_eq!(method.to_string().parse(), Ok(method));
        }
        let wrong = "burn".parse::<Wipe>().map_err(|error| error.to_string());
        assert_eq!(wrong, Err("\"burn\" is no way to wipe: none, discard, zero or shred".into()));
        assert!(
            Wipe::None < Wipe::Discard && Wipe::Discard < Wipe::Zero && Wipe::Zero < Wipe::Shred
        );
    }
}
