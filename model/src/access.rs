//! Who owns the root directory of a volume, and who may do what there.
//!
//! Ids are numbers: a name means what the machine's user database says today, a volume outlives it. What is absent is left as
//! the driver makes it: mode 0700, and owned by the user of the last task that mounted it writable.

use std::fmt;
use std::str::FromStr;

/// What is absent is left as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Access {
    /// Set once, it is kept through every launch.
    pub owner: Option<Owner>,
    /// The permissions.
    pub mode: Option<Mode>,
}

impl Access {
    /// True when nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// This, changed by what `change` says.
    #[must_use]
    pub fn changed(self, change: Self) -> Self {
        Self { owner: change.owner.or(self.owner), mode: change.mode.or(self.mode) }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.owner, self.mode) {
            (None, None) => f.write_str("as made"),
            (Some(owner), None) => write!(f, "owner {owner}"),
            (None, Some(mode)) => write!(f, "mode {mode}"),
            (Some(owner), Some(mode)) => write!(f, "owner {owner}, mode {mode}"),
        }
    }
}

/// A user and a group by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    /// This user and group.
    ///
    /// # Errors
    /// One of them is the number that the kernel takes for "leave it".
    pub fn new(uid: u32, gid: u32) -> Result<Self, AccessError> {
        if uid == u32::MAX || gid == u32::MAX {
            return Err(AccessError::NoId);
        }
        Ok(Self { uid, gid })
    }

    /// The user.
    #[must_use]
    pub fn uid(self) -> u32 {
        self.uid
    }

    /// The group.
    #[must_use]
    pub fn gid(self) -> u32 {
        self.gid
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// `UID:GID`, or `UID` for the group of the same number.
impl FromStr for Owner {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        let number = |part: &str| -> Result<u32, AccessError> {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            if !digits {
                return Err(AccessError::NotNumeric(part.to_owned()));
            }
            part.parse().map_err(|_too_large| AccessError::NoId)
        };
        match text.split_once(':') {
            Some((user, group)) => Self::new(number(user)?, number(group)?),
            None => Self::new(number(text)?, number(text)?),
        }
    }
}

/// Permissions, as of chmod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode(u32);

impl Mode {
    /// These bits.
    ///
    /// # Errors
    /// There are bits that are no permissions.
    pub fn new(bits: u32) -> Result<Self, AccessError> {
        if bits > 0o7777 { Err(AccessError::NoMode) } else { Ok(Self(bits)) }
    }

    /// The bits.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Three or four octal digits.
impl FromStr for Mode {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        let octal = text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        if !octal || !(3..=4).contains(&text.len()) {
            return Err(AccessError::NoMode);
        }
        u32::from_str_radix(text, 8).map_err(|_none| AccessError::NoMode).and_then(Self::new)
    }
}

/// What is no owner or mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// A name, for example.
    #[error("{0:?} is no number: give UID or UID:GID, as `id` prints them on the agent")]
    NotNumeric(String),
    /// The largest number, or beyond.
    #[error("an id is a number from 0 to 4294967294")]
    NoId,
    /// Not octal, or too many bits.
    #[error("a mode is three or four octal digits, such as 0750")]
    NoMode,
}

#[cfg(test)]
mod tests {
    use super::{Access, AccessError, Mode, Owner};

    #[test]
    fn owners_and_modes_are_read_as_they_are_shown() {
        for (text, shown) in
            [("0", "0:0"), ("999:27", "999:27"), ("4294967294", "4294967294:4294967294")]
        {
            assert_eq!(text.parse::<Owner>().map(|owner| owner.to_string()), Ok(shown.to_owned()));
        }
        for text in ["", "mysql", "1:", ":1", "1:2:3", "-1", "+1", " 1"] {
            let error = text.parse::<Owner>();
            assert!(matches!(error, Err(AccessError::NotNumeric(_))), "{text}: {error:?}");
        }
        for text in ["4294967295", "1:4294967295", "99999999999"] {
            assert_eq!(text.parse::<Owner>(), Err(AccessError::NoId), "{text}");
        }
        for (text, shown) in [("750", "0750"), ("0750", "0750"), ("2770", "2770"), ("0000", "0000")]
        {
            assert_eq!(text.parse::<Mode>().map(|mode| mode.to_string()), Ok(shown.to_owned()));
        }
        for text in ["", "7", "77", "00750", "0780", "u+w", "-750"] {
            assert_eq!(text.parse::<Mode>(), Err(AccessError::NoMode), "{text}");
        }
        assert_eq!(Mode::new(0o10_000), Err(AccessError::NoMode));
    }

    #[test]
    fn a_change_keeps_what_it_does_not_mention() {
        let owner = Owner::new(1, 2).ok();
        let mode = Mode::new(0o750).ok();
        let both = Access { owner, mode };
        assert_eq!(Access { owner, mode: None }.changed(Access { owner: None, mode }), both);
        assert_eq!(both.changed(Access::default()), both);
    }
}
