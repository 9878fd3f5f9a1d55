//! Roles: who resources belong to. A role is a path such as `storage/mysql`; `*` is nobody.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A checked role. `storage` is an ancestor of `storage/mysql`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role(Arc<str>);

/// Why a text is not a role (Mesos grammar).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// Empty text.
    #[error("role is empty: give a path such as storage/mysql")]
    Empty,
    /// A leading, trailing or doubled slash.
    #[error("role {role:?} has an empty part: no slash at the ends, no two in a row")]
    EmptyPart { role: String },
    /// `.` or `..` as a part.
    #[error("role {role:?} has the part {part:?}, which is not allowed")]
    Dots { role: String, part: String },
    /// A part that begins with a hyphen.
    #[error("role {role:?} has the part {part:?}, which begins with a hyphen")]
    Hyphen { role: String, part: String },
    /// White space, backslash or control character.
    #[error(
        "role {role:?} holds {found:?}: white space, backslashes and control characters are not allowed"
    )]
    Character { role: String, found: char },
    /// `*` inside a path.
    #[error("role {role:?} has a part *: * stands only alone, for no role")]
    Star { role: String },
}

impl Role {
    /// Checks the grammar; `*` alone is accepted and means unreserved.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn new(text: &str) -> Result<Self, RoleError> {
        if text.is_empty() {
            return Err(RoleError::Empty);
        }
        if let Some(found) =
            text.chars().find(|c| c.is_whitespace() || c.is_control() || *c == '\\')
        {
            return Err(RoleError::Character { role: text.to_owned(), found });
        }
        if text != "*" {
            for part in text.split('/') {
                check_part(text, part)?;
            }
        }
        Ok(Self(Arc::from(text)))
    }
    /// The role `*`.
    #[must_use]
    pub fn star() -> Self {
        Self(Arc::from("*"))
    }
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// True for `*`, to which nothing can be reserved.
    #[must_use]
    pub fn is_star(&self) -> bool {
        &*self.0 == "*"
    }
    /// True when `self` lies strictly below `ancestor`.
    #[must_use]
    pub fn is_below(&self, ancestor: &Self) -> bool {
        self.0.strip_prefix(&*ancestor.0).is_some_and(|rest| rest.starts_with('/'))
    }
    /// The role at the top of its tree: itself, or the one that it is below and that is below none.
    #[must_use]
    pub fn top(&self) -> Self {
        match self.0.split_once('/') {
            Some((top, _)) => Self(Arc::from(top)),
            None => self.clone(),
        }
    }
    /// The role that it is directly below.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(Arc::from(parent)))
    }
    /// True when a framework of this role may use what is reserved to `owner`: the same role, or one
    /// below it.
    #[must_use]
    pub fn may_use(&self, owner: &Self) -> bool {
        self == owner || self.is_below(owner)
    }
}

fn check_part(role: &str, part: &str) -> Result<(), RoleError> {
    let (role, text) = (role.to_owned(), part.to_owned());
    match part {
        "" => Err(RoleError::EmptyPart { role }),
        "." | ".." => Err(RoleError::Dots { role, part: text }),
        "*" => Err(RoleError::Star { role }),
        _ if part.starts_with('-') => Err(RoleError::Hyphen { role, part: text }),
        _ => Ok(()),
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Role {
    type Err = RoleError;
    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_roles_are_refused_and_good_ones_kept() {
        for text in
            ["", "/a", "a/", "a//b", ".", "a/..", "-a", "a/-b", "a b", "a\tb", "a\\b", "a/*", "*/a"]
        {
            assert!(Role::new(text).is_err(), "{text:?}");
        }
        for text in ["*", "a", "storage/mysql", "a-b", "a.b", "…"] {
            assert_eq!(Role::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn descent_is_by_whole_parts() {
        let role = |t: &str| Role::new(t).unwrap();
        assert!(role("a/b").is_below(&role("a")));
        assert!(!role("ab").is_below(&role("a")));
        assert!(!role("a").is_below(&role("a")));
        assert!(role("a/b/c").may_use(&role("a")));
        assert!(!role("a").may_use(&role("a/b")));
        assert_eq!((role("a/b/c").top(), role("a").top()), (role("a"), role("a")));
        assert_eq!((role("a/b/c").parent(), role("a").parent()), (Some(role("a/b")), None));
        assert_eq!(role("*").top(), Role::star());
    }
}
