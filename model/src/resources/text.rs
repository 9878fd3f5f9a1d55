//! Resources as operators write them: `cpus:2;mem:2GiB;disk(storage/mysql):10GiB;ports:[31000-32000]`.
//!
//! A bare number of `mem` and `disk` is MiB, as in Mesos. A role in parentheses is a static reservation.

use super::{Name, Range, Ranges, RangesError, Resource, ResourceError, Resources, Value};
use crate::reservation::{Reservation, Stack, StackError};
use crate::role::{Role, RoleError};
use crate::units::{Bytes, Scalar, UnitError};
use std::sync::Arc;

/// Why a text does not name resources.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// No colon.
    #[error("resources item {item:?} has no value: write name:amount, such as cpus:2")]
    NoValue { item: String },
    /// A parenthesis without its partner.
    #[error("resources item {item:?} has an unclosed parenthesis")]
    Parenthesis { item: String },
    /// A bad amount.
    #[error("resources item {item:?}: {source}")]
    Unit {
        /// The item.
        item: String,
        /// What is wrong.
        #[source]
        source: UnitError,
    },
    /// A bad role.
    #[error("resources item {item:?}: {source}")]
    Role {
        /// The item.
        item: String,
        /// What is wrong.
        #[source]
        source: RoleError,
    },
    /// A reservation that cannot be.
    #[error("resources item {item:?}: {source}")]
    Stack {
        /// The item.
        item: String,
        /// What is wrong.
        #[source]
        source: StackError,
    },
    /// Bad ranges.
    #[error("resources item {item:?}: {source}")]
    Ranges {
        /// The item.
        item: String,
        /// What is wrong.
        #[source]
        source: RangesError,
    },
    /// Not valid, or a sum that does not fit.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// The same item twice in a set.
    #[error("resources item {item:?} names an item twice")]
    Twice { item: String },
}

/// Reads a list of resources.
///
/// # Errors
/// Names the item and what is wrong with it.
pub fn parse_resources(text: &str) -> Result<Resources, TextError> {
    let items = text.split(';').map(str::trim).filter(|item| !item.is_empty());
    let list = items.map(parse_item).collect::<Result<Vec<_>, _>>()?;
    Ok(Resources::from_list(list)?)
}

fn parse_item(item: &str) -> Result<Resource, TextError> {
    let owned = || item.to_owned();
    let no_value = || TextError::NoValue { item: owned() };
    let (name, role, value) = match item.split_once('(') {
        Some((name, rest)) if !name.contains(':') => {
            let (role, rest) =
                rest.split_once(')').ok_or_else(|| TextError::Parenthesis { item: owned() })?;
            let value = rest.trim_start().strip_prefix(':').ok_or_else(no_value)?;
            // As printed: a role in parentheses is a static reservation either way.
            (name, Some(role.strip_prefix("static:").unwrap_or(role)), value)
        },
        Some(_) | None => {
            let (name, value) = item.split_once(':').ok_or_else(no_value)?;
            (name, None, value)
        },
    };
    let name = Name::new(name.trim());
    let value = parse_value(&name, value.trim(), item)?;
    let stack = match role.map(Role::new).transpose() {
        Ok(None) => Stack::unreserved(),
        Ok(Some(role)) if role.is_star() => Stack::unreserved(),
        Ok(Some(role)) => Stack::new(vec![Reservation::fixed(role)])
            .map_err(|source| TextError::Stack { item: owned(), source })?,
        Err(source) => return Err(TextError::Role { item: owned(), source }),
    };
    Ok(Resource::of(name, value).with_stack(stack))
}

fn parse_value(name: &Name, text: &str, item: &str) -> Result<Value, TextError> {
    let unit = |source| TextError::Unit { item: item.to_owned(), source };
    if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        let ranges = inner
            .split(',')
            .map(|part| {
                let (begin, end) =
                    part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
                let number = |t: &str| {
                    t.trim()
                        .parse::<u64>()
                        .map_err(|_e| unit(UnitError::NotANumber { text: t.to_owned() }))
                };
                Ok(Range { begin: number(begin)?, end: number(end)? })
            })
            .collect::<Result<Vec<_>, TextError>>()?;
        return Ranges::new(ranges)
            .map(Value::Ranges)
            .map_err(|source| TextError::Ranges { item: item.to_owned(), source });
    }
    if let Some(inner) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
        let names: Vec<&str> = inner.split(',').map(str::trim).collect();
        let set: std::collections::BTreeSet<Arc<str>> =
            names.iter().map(|n| Arc::from(*n)).collect();
        if set.len() != names.len() {
            return Err(TextError::Twice { item: item.to_owned() });
        }
        return Ok(Value::Set(set));
    }
    let is_size = matches!(name, Name::Mem | Name::Disk);
    let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
    let scalar = if is_size && has_unit {
        text.parse::<Bytes>().and_then(Bytes::to_scalar).map_err(unit)?
    } else {
        text.parse::<Scalar>().map_err(unit)?
    };
    if is_size && scalar.milli() % 1_000 != 0 {
        let bytes = u64::try_from(scalar.milli()).unwrap_or(0).saturating_mul(1_048_576) / 1_000;
        return Err(unit(UnitError::NotWholeMib { bytes }));
    }
    Ok(Value::Scalar(scalar))
}
