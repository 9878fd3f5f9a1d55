//! Single fields: ids, roles, enums, texts, times, sizes, lists and maps of them.

use super::{At, Wire};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::IdError;
use berth_model::reservation::StackError;
use berth_model::resources::check_container_path;
use berth_model::role::Role;
use berth_model::units::{Bytes, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// The longest text a client may send: the longest argument Linux passes to a program, without its final
/// zero.
pub const TEXT_MAX: usize = 128 * 1024 - 1;

/// The most elements a list of a client's call may have.
pub const LIST_MAX: usize = 10_000;

/// An enum of the model and its numbers on the wire.
pub(super) trait Choice: Sized {
    fn number(self) -> i32;
    fn read(number: i32, at: &At<'_>) -> Result<Self, Rejection>;
}

/// Pairs the variants of an enum of the model with those of its wire form.
macro_rules! choice {
    ($model:ty, $wire:ty, $what:literal, [$($variant:ident),+ $(,)?]) => {
        impl $crate::convert::field::Choice for $model {
            fn number(self) -> i32 {
                match self { $(Self::$variant => <$wire>::$variant as i32,)+ }
            }
            fn read(
                number: i32,
                at: &$crate::convert::At<'_>,
            ) -> Result<Self, berth_model::error::Rejection> {
                match <$wire>::try_from(number) {
                    $(Ok(<$wire>::$variant) => Ok(Self::$variant),)+
                    Ok(<$wire>::Unspecified) => Err($crate::convert::field::no_choice(
                        at, $what, None, &[$(<$wire>::$variant.as_str_name()),+])),
                    Err(prost::UnknownEnumValue(number)) => Err($crate::convert::field::no_choice(
                        at, $what, Some(number), &[$(<$wire>::$variant.as_str_name()),+])),
                }
            }
        }
    };
}
pub(super) use choice;

pub(super) fn no_choice(at: &At<'_>, what: &str, number: Option<i32>, all: &[&str]) -> Rejection {
    let remedy = format!("use one of {}", all.join(", "));
    match number {
        Some(number) => at.invalid(format!("{number} is not the number of a {what}"), &remedy),
        None => at.invalid(format!("no {what} is given"), &remedy),
    }
}

pub(super) fn id<T: FromStr<Err = IdError>>(text: &str, at: &At<'_>) -> Result<T, Rejection> {
    text.parse().map_err(|e| at.refuse(ErrorCode::InvalidId, e, "give the id as Berth prints it"))
}

pub(super) fn ids<T: FromStr<Err = IdError>>(
    texts: &[String],
    at: &At<'_>,
) -> Result<Vec<T>, Rejection> {
    texts.iter().enumerate().map(|(index, text)| id(text, &at.index(index))).collect()
}

pub(super) fn optional_id<T: FromStr<Err = IdError>>(
    text: Option<&str>,
    at: &At<'_>,
) -> Result<Option<T>, Rejection> {
    text.map(|text| id(text, at)).transpose()
}

pub(super) fn id_texts<T: ToString>(ids: &[T]) -> Vec<String> {
    ids.iter().map(T::to_string).collect()
}

pub(super) fn role(text: &str, at: &At<'_>) -> Result<Role, Rejection> {
    if text.len() > TEXT_MAX {
        return Err(too_long(text, at));
    }
    Role::new(text)
        .map_err(|e| at.refuse(ErrorCode::InvalidRole, e, "give a path such as storage/mysql"))
}

/// A role that can own something: any but `*`.
pub(super) fn owner(text: &str, at: &At<'_>) -> Result<Role, Rejection> {
    let role = role(text, at)?;
    if role.is_star() {
        return Err(at.refuse(ErrorCode::InvalidRole, StackError::Star, ""));
    }
    Ok(role)
}

pub(super) fn roles(texts: &[String], at: &At<'_>) -> Result<BTreeSet<Role>, Rejection> {
    count(texts.len(), at)?;
    let mut roles = BTreeSet::new();
    for (index, text) in texts.iter().enumerate() {
        let at = at.index(index);
        if !roles.insert(role(text, &at)?) {
            let problem = format!("role {text:?} is given twice");
            return Err(at.refuse(ErrorCode::InvalidRole, problem, "give each role once"));
        }
    }
    Ok(roles)
}

pub(super) fn role_texts(roles: &BTreeSet<Role>) -> Vec<String> {
    roles.iter().map(Role::to_string).collect()
}

/// A text that may end up in a program's arguments, environment or paths.
pub(super) fn text(text: String, at: &At<'_>) -> Result<String, Rejection> {
    if text.len() > TEXT_MAX {
        return Err(too_long(&text, at));
    }
    if text.contains('\0') {
        return Err(at.invalid("the text holds a zero byte", "remove it"));
    }
    Ok(text)
}

fn too_long(text: &str, at: &At<'_>) -> Rejection {
    let problem = format!("the text has {} bytes", text.len());
    at.invalid(problem, &format!("give at most {TEXT_MAX}"))
}

pub(super) fn arc(value: String, at: &At<'_>) -> Result<Arc<str>, Rejection> {
    text(value, at).map(Arc::from)
}

pub(super) fn filled(value: String, at: &At<'_>) -> Result<String, Rejection> {
    if value.is_empty() {
        return Err(at.invalid("the text is empty", "give at least one character"));
    }
    text(value, at)
}

pub(super) fn texts(values: Vec<String>, at: &At<'_>) -> Result<Vec<String>, Rejection> {
    values.into_iter().enumerate().map(|(index, value)| text(value, &at.index(index))).collect()
}

pub(super) fn map(
    entries: BTreeMap<String, String>,
    at: &At<'_>,
) -> Result<BTreeMap<String, String>, Rejection> {
    count(entries.len(), at)?;
    for (key, value) in &entries {
        let at = at.key(key);
        if key.is_empty() {
            return Err(at.invalid("a key is empty", "give every entry a key"));
        }
        for part in [key, value] {
            if part.len() > TEXT_MAX {
                return Err(too_long(part, &at));
            }
            if part.contains('\0') {
                return Err(at.invalid("the entry holds a zero byte", "remove it"));
            }
        }
    }
    Ok(entries)
}

pub(super) fn container_path(path: String, at: &At<'_>) -> Result<Arc<str>, Rejection> {
    let path = text(path, at)?;
    check_container_path(&path)
        .map_err(|e| at.refuse(ErrorCode::InvalidPath, e, "give a path such as data"))?;
    Ok(Arc::from(path))
}

/// The size of a volume.
pub(super) fn volume_size(bytes: u64, at: &At<'_>) -> Result<Bytes, Rejection> {
    let size = Bytes::new(bytes);
    size.to_scalar().map(|_| size).map_err(|e| {
        at.refuse(ErrorCode::InvalidResources, e, "give whole MiB: a multiple of 1048576 bytes")
    })
}

/// The size of a volume, if one is given.
pub(super) fn optional_volume_size(
    bytes: Option<u64>,
    at: &At<'_>,
) -> Result<Option<Bytes>, Rejection> {
    bytes.map(|bytes| volume_size(bytes, at)).transpose()
}

/// The life of a volume.
pub(super) fn generation(number: u64, at: &At<'_>) -> Result<u64, Rejection> {
    if number == 0 {
        return Err(at.invalid("generation 0 does not exist", "generations count from 1"));
    }
    Ok(number)
}

/// Whole milliseconds on the wire, saturating; what is shorter is cut.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A span that may not be nothing.
pub(super) fn span(ms: u64, at: &At<'_>) -> Result<Duration, Rejection> {
    if ms == 0 {
        return Err(at.invalid("the time is zero", "give at least one millisecond"));
    }
    Ok(Duration::from_millis(ms))
}

pub(super) fn point(ms: Option<u64>) -> Option<Timestamp> {
    ms.map(Timestamp::from_ms)
}

/// Refuses more elements than a call may have.
pub(super) fn count(length: usize, at: &At<'_>) -> Result<(), Rejection> {
    if length > LIST_MAX {
        let problem = format!("the list has {length} elements");
        return Err(at.invalid(problem, &format!("give at most {LIST_MAX} in one call")));
    }
    Ok(())
}

pub(super) fn required<T: Wire>(message: Option<T::Message>, at: &At<'_>) -> Result<T, Rejection> {
    T::from_wire(message.ok_or_else(|| at.missing())?, at)
}

pub(super) fn optional<T: Wire>(
    message: Option<T::Message>,
    at: &At<'_>,
) -> Result<Option<T>, Rejection> {
    message.map(|message| T::from_wire(message, at)).transpose()
}

pub(super) fn list<T: Wire>(messages: Vec<T::Message>, at: &At<'_>) -> Result<Vec<T>, Rejection> {
    messages
        .into_iter()
        .enumerate()
        .map(|(index, message)| T::from_wire(message, &at.index(index)))
        .collect()
}

pub(super) fn messages<T: Wire>(values: &[T]) -> Vec<T::Message> {
    values.iter().map(T::to_wire).collect()
}
