//! The user a task runs as.
//!
//! It knows the account database of the host and nothing of tasks. A numeric uid needs no entry there.

use berth_model::error::{ErrorCode, Rejection};
use nix::unistd::{Gid, Uid, User};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::io;

/// A resolved user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Present when the supplementary groups of that entry are to be taken.
    pub name: Option<String>,
}

impl Account {
    /// The account of this process.
    #[must_use]
    pub fn own() -> Self {
        Self { uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw(), name: None }
    }

    /// The account `text` stands for: `name`, `uid` or `uid:gid`. A uid without an entry gets the group of the
    /// same number.
    ///
    /// # Errors
    /// `UNKNOWN_USER`.
    pub fn resolve(text: &str, host: &str) -> Result<Self, Rejection> {
        let unknown = |why: &str| {
            Rejection::new(
                ErrorCode::UnknownUser,
                format!("user {text:?} cannot be used on agent {host}: {why}"),
            )
            .field("task.command.user")
        };
        let lookup = |error: nix::Error| unknown(&format!("the account database fails: {error}"));
        if let Some((uid, gid)) = text.split_once(':') {
            let number = |part: &str| part.parse::<u32>().ok().filter(|n| *n != u32::MAX);
            return match (number(uid), number(gid)) {
                (Some(uid), Some(gid)) => Ok(Self { uid, gid, name: None }),
                (None, _) | (_, None) => Err(unknown("it is not of the form uid:gid")
                    .remedy("write two numbers such as 1000:1000, or the name alone")),
            };
        }
        if let Ok(uid) = text.parse::<u32>() {
            if uid == u32::MAX {
                return Err(unknown("4294967295 is no user id").remedy("give another uid"));
            }
            let entry = User::from_uid(Uid::from_raw(uid)).map_err(lookup)?;
            return Ok(match entry {
                Some(entry) => Self::of(entry),
                None => Self { uid, gid: uid, name: None },
            });
        }
        match User::from_name(text).map_err(lookup)? {
            Some(entry) => Ok(Self::of(entry)),
            None => Err(unknown("no such user")
                .remedy(format!("create it on {host}, or give a numeric uid such as 1000"))),
        }
    }

    fn of(entry: User) -> Self {
        Self { uid: entry.uid.as_raw(), gid: entry.gid.as_raw(), name: Some(entry.name) }
    }

    /// Makes this process, which must have one thread, run as the account for good.
    ///
    /// # Errors
    /// The process lacks the privilege, or a limit is reached.
    pub fn become_it(&self) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        match &self.name {
            Some(name) => nix::unistd::initgroups(&CString::new(name.as_str())?, gid)?,
            None => nix::unistd::setgroups(&[gid])?,
        }
        nix::unistd::setresgid(gid, gid, gid)?;
        nix::unistd::setresuid(uid, uid, uid)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_pairs_are_accounts() {
        let resolve = |text| Account::resolve(text, "h").map_err(|r| r.to_string());
        let root = Account { uid: 0, gid: 0, name: Some("root".into()) };
        assert_eq!(resolve("root"), Ok(root.clone()));
        assert_eq!(resolve("0"), Ok(root));
        assert_eq!(resolve("54321"), Ok(Account { uid: 54321, gid: 54321, name: None }));
        assert_eq!(resolve("7:8"), Ok(Account { uid: 7, gid: 8, name: None }));
        assert_eq!(
            resolve("nobody-here"),
            Err("user \"nobody-here\" cannot be used on agent h: no such user (field task.command.user): \
                 create it on h, or give a numeric uid such as 1000"
                .into())
        );
        assert_eq!(
            resolve("root:wheel"),
            Err("user \"root:wheel\" cannot be used on agent h: it is not of the form uid:gid (field \
                 task.command.user): write two numbers such as 1000:1000, or the name alone"
                .into())
        );
    }
}
