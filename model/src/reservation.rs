//! Reservations: the stack that says whose a resource is.
//!
//! The stack is empty for unreserved resources; its last level owns. Each level's role lies strictly
//! below the previous one, and only the first may be static (Mesos reservation refinement).

use crate::id::Principal;
use crate::role::Role;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// How a reservation came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReservationKind {
    /// Declared by the agent's configuration; cannot be unreserved.
    Static,
    /// Made by an operation.
    Dynamic,
}

/// A label; a stack compares labels as a multiset, so they are kept sorted.
pub type Label = (Arc<str>, Arc<str>);

/// One level of a reservation stack.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reservation {
    /// Who owns this level; never `*`.
    pub role: Role,
    /// Static or dynamic.
    pub kind: ReservationKind,
    /// Who asked for it, when known; part of the identity.
    pub principal: Option<Principal>,
    /// Sorted; part of the identity. Build with [`Reservation::with_labels`].
    labels: Vec<Label>,
}

impl Reservation {
    /// A dynamic reservation without principal and labels.
    #[must_use]
    pub fn dynamic(role: Role) -> Self {
        Self { role, kind: ReservationKind::Dynamic, principal: None, labels: Vec::new() }
    }
    /// A static reservation.
    #[must_use]
    pub fn fixed(role: Role) -> Self {
        Self { role, kind: ReservationKind::Static, principal: None, labels: Vec::new() }
    }
    /// The same with a principal.
    #[must_use]
    pub fn with_principal(mut self, principal: Option<Principal>) -> Self {
        self.principal = principal;
        self
    }
    /// The same with labels, in any order.
    #[must_use]
    pub fn with_labels(mut self, mut labels: Vec<Label>) -> Self {
        labels.sort();
        self.labels = labels;
        self
    }
    /// The labels, sorted.
    #[must_use]
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == ReservationKind::Static {
            f.write_str("static:")?;
        }
        write!(f, "{}", self.role)?;
        if let Some(principal) = &self.principal {
            write!(f, "@{principal}")?;
        }
        for (key, value) in &self.labels {
            write!(f, ",{key}={value}")?;
        }
        Ok(())
    }
}

/// A reservation stack; cheap to clone. Empty means unreserved.
#[derive(Clone, Eq, Hash)]
#[expect(
    clippy::derived_hash_with_manual_eq,
    reason = "the short cut answers as the comparison would"
)]
pub struct Stack(Arc<[Reservation]>);

// Stacks are compared all the time and mostly with their own clones.
impl PartialEq for Stack {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Ord for Stack {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for Stack {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Default for Stack {
    fn default() -> Self {
        Self::unreserved()
    }
}

impl Stack {
    /// The empty stack.
    #[must_use]
    pub fn unreserved() -> Self {
        Self(Arc::from([]))
    }
    /// A stack of these levels, the owner last.
    ///
    /// # Errors
    /// Says which rule of the stack is broken.
    pub fn new(levels: Vec<Reservation>) -> Result<Self, StackError> {
        for (index, level) in levels.iter().enumerate() {
            if level.role.is_star() {
                return Err(StackError::Star);
            }
            if index > 0 && level.kind == ReservationKind::Static {
                return Err(StackError::StaticAbove { role: level.role.clone() });
            }
            let below = index.checked_sub(1).and_then(|i| levels.get(i));
            if let Some(parent) = below.filter(|p| !level.role.is_below(&p.role)) {
                return Err(StackError::NotBelow {
                    role: level.role.clone(),
                    parent: parent.role.clone(),
                });
            }
        }
        Ok(Self(Arc::from(levels)))
    }
    /// The levels, the owner last.
    #[must_use]
    pub fn levels(&self) -> &[Reservation] {
        &self.0
    }
    /// The last level, which owns.
    #[must_use]
    pub fn top(&self) -> Option<&Reservation> {
        self.0.last()
    }
    /// The owner's role.
    #[must_use]
    pub fn owner(&self) -> Option<&Role> {
        self.top().map(|r| &r.role)
    }
    /// True when nothing is reserved.
    #[must_use]
    pub fn is_unreserved(&self) -> bool {
        self.0.is_empty()
    }
    /// The stack with one more level.
    ///
    /// # Errors
    /// The level breaks a rule of the stack.
    pub fn push(&self, level: Reservation) -> Result<Self, StackError> {
        let mut levels = self.0.to_vec();
        levels.push(level);
        Self::new(levels)
    }
    /// The stack without its last level; nothing when that is absent or static.
    #[must_use]
    pub fn pop(&self) -> Option<Self> {
        let (last, rest) = self.0.split_last()?;
        (last.kind == ReservationKind::Dynamic).then(|| Self(Arc::from(rest)))
    }
    /// True when a framework of `role` may be offered these resources: unreserved, or owned by the role
    /// or one of its ancestors.
    #[must_use]
    pub fn is_allocatable_to(&self, role: &Role) -> bool {
        self.owner().is_none_or(|owner| role.may_use(owner))
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, level) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" > ")?;
            }
            write!(f, "{level}")?;
        }
        Ok(())
    }
}

/// Why levels do not form a stack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StackError {
    /// `*` owns nothing.
    #[error("nothing can be reserved to the role *: name a role such as storage/mysql")]
    Star,
    /// A static level above another one.
    #[error("a static reservation to {role} cannot refine another reservation")]
    StaticAbove { role: Role },
    /// A level that is no descendant of the one below it.
    #[error("role {role} is not below {parent}, whose reservation it would refine")]
    NotBelow { role: Role, parent: Role },
}
