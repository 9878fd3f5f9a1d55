//! How much a sum has of one thing: what adds up, and what is left.

use super::super::{Name, Resource, ResourceError, Value};
use crate::resources::Ranges;
use crate::units::Scalar;
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Amount {
    Scalar(Scalar),
    Ranges(Ranges),
    Set(BTreeSet<Arc<str>>),
    Copies(u64),
}

impl Amount {
    pub(super) fn of(resource: &Resource) -> Self {
        match &resource.value {
            _ if !resource.is_divisible() => Self::Copies(1),
            Value::Scalar(amount) => Self::Scalar(*amount),
            Value::Ranges(ranges) => Self::Ranges(ranges.clone()),
            Value::Set(items) => Self::Set(items.clone()),
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        match self {
            Self::Scalar(amount) => !amount.is_positive(),
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(items) => items.is_empty(),
            Self::Copies(copies) => *copies == 0,
        }
    }

    pub(super) fn plus(&self, other: &Self, name: &Name) -> Result<Self, ResourceError> {
        let overflow = || ResourceError::Overflow { name: name.to_string() };
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => {
                a.checked_add(*b).map(Self::Scalar).ok_or_else(overflow)
            },
            (Self::Ranges(a), Self::Ranges(b)) => a
                .union(b)
                .map(Self::Ranges)
                .map_err(|source| ResourceError::Ranges { name: name.to_string(), source }),
            (Self::Set(a), Self::Set(b)) => match a.intersection(b).next() {
                None => Ok(Self::Set(a.union(b).cloned().collect())),
                Some(item) => {
                    Err(ResourceError::Item { name: name.to_string(), item: item.to_string() })
                },
            },
            (Self::Copies(a), Self::Copies(b)) => {
                a.checked_add(*b).map(Self::Copies).ok_or_else(overflow)
            },
            // The same name with values of two kinds: agents declare one kind per name.
            (Self::Scalar(_) | Self::Ranges(_) | Self::Set(_) | Self::Copies(_), _) => {
                Err(overflow())
            },
        }
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => Self::Scalar(a.saturating_sub(*b)),
            (Self::Ranges(a), Self::Ranges(b)) => Self::Ranges(a.minus(b)),
            (Self::Set(a), Self::Set(b)) => Self::Set(a.difference(b).cloned().collect()),
            (Self::Copies(a), Self::Copies(b)) => Self::Copies(a.saturating_sub(*b)),
            (Self::Scalar(_) | Self::Ranges(_) | Self::Set(_) | Self::Copies(_), _) => self.clone(),
        }
    }
}
