//! From what a person types to one object: full ids, unique prefixes of at least four digits, names.

use crate::failure::{Failure, exit};
use berth_model::error::{ErrorCode, Rejection};

/// Shortest prefix that is taken for an id.
pub(crate) const PREFIX_MIN: usize = 4;

/// What can be meant by a text.
pub(crate) struct Kind {
    /// The noun, for messages.
    pub(crate) noun: &'static str,
    /// The code when nothing fits.
    pub(crate) unknown: ErrorCode,
    /// The command that lists all.
    pub(crate) list: &'static str,
}

/// Finds the one item whose id or one of whose names is `text`, or whose id begins with it.
pub(crate) fn find<'a, T>(
    kind: &Kind,
    items: &'a [T],
    text: &str,
    id: impl Fn(&T) -> String,
    names: impl Fn(&T) -> Vec<String>,
) -> Result<&'a T, Failure> {
    let exact: Vec<&T> = items
        .iter()
        .filter(|item| id(item) == text || names(item).iter().any(|n| n == text))
        .collect();
    let fits = if exact.is_empty() && text.len() >= PREFIX_MIN {
        items.iter().filter(|item| id(item).starts_with(text)).collect()
    } else {
        exact
    };
    match fits.as_slice() {
        [one] => Ok(one),
        [] => Err(Failure::not_found(
            kind.unknown,
            format!("{} {text} is not known", kind.noun),
            &format!("see `{}`; ids may be shortened to {PREFIX_MIN} or more digits", kind.list),
        )),
        several => {
            let ids: Vec<String> = several.iter().map(|item| id(item)).collect();
            let error = Rejection::new(
                ErrorCode::AmbiguousId,
                format!("{} {text} fits {}: {}", kind.noun, several.len(), ids.join(", ")),
            );
            Err(Failure::new(
                exit::USAGE,
                error.remedy(if kind.unknown == ErrorCode::UnknownVolume {
                    "give more digits of the id, or the role with --role"
                } else {
                    "give more of it, up to the whole id"
                }),
            ))
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind =
        Kind { noun: "volume", unknown: ErrorCode::UnknownVolume, list: "berth volume list" };

    fn look(text: &str) -> Result<(&'static str, &'static str), String> {
        let items: &[(&str, &str)] =
            &[("abcd1111", "data"), ("abcd2222", "logs"), ("ffff0000", "data")];
        find(&KIND, items, text, |i| i.0.to_owned(), |i| vec![i.1.to_owned()])
            .copied()
            .map_err(|f| format!("{} {}", f.code, f.error.message))
    }

    #[test]
    fn names_ids_and_unique_prefixes_are_found() {
        assert_eq!(look("logs"), Ok(("abcd2222", "logs")));
        assert_eq!(look("abcd1111"), Ok(("abcd1111", "data")));
        assert_eq!(look("ffff"), Ok(("ffff0000", "data")));
        assert_eq!(look("fff"), Err("3 volume fff is not known".to_owned()));
        assert_eq!(look("abcd"), Err("2 volume abcd fits 2: abcd1111, abcd2222".to_owned()));
        assert_eq!(look("data"), Err("2 volume data fits 2: abcd1111, ffff0000".to_owned()));
        assert_eq!(look("none"), Err("3 volume none is not known".to_owned()));
    }
}
