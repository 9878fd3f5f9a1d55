//! Reading one table of a document: which keys it may have, which are wrong, and where.
//!
//! It does not know what the keys mean. Invariant: every key of a table is either taken, refused by name, or reported
//! as unknown when the table is finished; problems are collected, not thrown, so that one reading finds them all.

use super::node::Node;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::units::{Bytes, Scalar, parse_duration};
use std::time::Duration;

/// Everything wrong with a document, in reading order.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Rejection>);

impl Problems {
    pub(super) fn add(
        &mut self,
        field: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0
            .push(Rejection::new(ErrorCode::InvalidDocument, message).field(field).remedy(remedy));
    }
    pub(super) fn unsupported(&mut self, field: &str, what: &str, remedy: impl Into<String>) {
        let message = format!("{what} is not supported by this release");
        self.0.push(Rejection::new(ErrorCode::Unsupported, message).field(field).remedy(remedy));
    }
    pub(super) fn into_list(self) -> Vec<Rejection> {
        self.0
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    pub(super) path: String,
    pub(super) node: &'a Node,
}

/// One table while it is read.
#[derive(Debug)]
pub(super) struct Table<'a> {
    path: String,
    entries: Vec<(&'a str, &'a Node)>,
    known: Vec<&'static str>,
    refused: Vec<&'static str>,
}

/// The path of `key` below `parent`.
pub(super) fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

/// The entries of a table whose keys the author chose; repeated keys are reported and left out.
pub(super) fn entries<'a>(place: &Place<'a>, problems: &mut Problems) -> Vec<(&'a str, &'a Node)> {
    let Node::Map(map) = place.node else {
        let found = place.node.kind();
        problems.add(
            &place.path,
            format!("expected a table, found {found}"),
            "write key: value lines",
        );
        return Vec::new();
    };
    let mut seen: Vec<(&str, &Node)> = Vec::with_capacity(map.len());
    for (key, node) in map {
        if seen.iter().any(|(other, _)| other == key) {
            let path = join(&place.path, key);
            problems.add(&path, format!("the name {key:?} is given twice"), "keep one of the two");
        } else {
            seen.push((key, node));
        }
    }
    seen
}

impl<'a> Table<'a> {
    pub(super) fn open(place: &Place<'a>, problems: &mut Problems) -> Self {
        Self {
            path: place.path.clone(),
            entries: entries(place, problems),
            known: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// The value under `key`; an empty value counts as absent.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Place<'a>> {
        self.known.push(key);
        let index = self.entries.iter().position(|(name, _)| *name == key)?;
        let (_, node) = self.entries.remove(index);
        (*node != Node::Null).then(|| Place { path: join(&self.path, key), node })
    }

    /// The value under `key`, which must be there.
    pub(super) fn need(
        &mut self,
        key: &'static str,
        example: &str,
        problems: &mut Problems,
    ) -> Option<Place<'a>> {
        let found = self.take(key);
        if found.is_none() {
            let path = join(&self.path, key);
            problems.add(
                &path,
                format!("{key} is missing"),
                format!("write for example {key}: {example}"),
            );
        }
        found
    }

    /// Keys of the format that this release does not do.
    pub(super) fn refuse(&mut self, keys: &[&'static str], problems: &mut Problems) {
        for key in keys {
            let found = self.take(key);
            self.known.pop();
            self.refused.push(key);
            if let Some(place) = found {
                problems.unsupported(&place.path, &format!("{key:?}"), "remove it");
            }
        }
    }

    /// Reports every key that nothing asked for.
    pub(super) fn finish(self, problems: &mut Problems) {
        for (key, _) in &self.entries {
            let remedy = match nearest(key, self.known.iter().chain(&self.refused).copied()) {
                Some(name) => format!("did you mean {name}?"),
                None => format!("allowed here: {}", self.known.join(", ")),
            };
            problems.add(&join(&self.path, key), format!("unknown key {key:?}"), remedy);
        }
    }
}

/// The candidate that `text` may have been meant to be.
pub(super) fn nearest<'c>(
    text: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let far = 1 + text.len() / 4;
    candidates
        .map(|name| (strsim::damerau_levenshtein(text, name), name))
        .filter(|(distance, _)| *distance <= far)
        .min()
        .map(|(_, name)| name)
}

impl Place<'_> {
    /// A text; numbers and truth values must be quoted, because their written form is lost otherwise.
    pub(super) fn text(&self, problems: &mut Problems) -> Option<String> {
        match self.node {
            Node::Text(text) => Some(text.clone()),
            Node::Bool(_) | Node::Int(_) | Node::Decimal(_) => {
                let message = format!("expected a text, found {}", self.node.kind());
                problems.add(&self.path, message, "put it in quotation marks");
                None
            },
            Node::Null | Node::List(_) | Node::Map(_) => {
                problems.add(
                    &self.path,
                    format!("expected a text, found {}", self.node.kind()),
                    "write one text",
                );
                None
            },
        }
    }

    /// A text or a whole number, such as a user.
    pub(super) fn text_or_number(&self, problems: &mut Problems) -> Option<String> {
        match self.node {
            Node::Int(number) => Some(number.to_string()),
            Node::Null
            | Node::Bool(_)
            | Node::Decimal(_)
            | Node::Text(_)
            | Node::List(_)
            | Node::Map(_) => self.text(problems),
        }
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, least: u32, most: u32, problems: &mut Problems) -> Option<u32> {
        let number = match self.node {
            Node::Int(number) => u32::try_from(*number).ok(),
            Node::Null
            | Node::Bool(_)
            | Node::Decimal(_)
            | Node::Text(_)
            | Node::List(_)
            | Node::Map(_) => None,
        };
        let valid = number.filter(|n| (least..=most).contains(n));
        if valid.is_none() {
            let remedy = format!("write a whole number from {least} to {most}");
            problems.add(&self.path, "not a whole number in range", remedy);
        }
        valid
    }

    /// A decimal amount above zero.
    pub(super) fn scalar(&self, problems: &mut Problems) -> Option<Scalar> {
        let text = match self.node {
            Node::Int(number) => number.to_string(),
            Node::Decimal(text) | Node::Text(text) => text.clone(),
            Node::Null | Node::Bool(_) | Node::List(_) | Node::Map(_) => {
                problems.add(
                    &self.path,
                    format!("expected a number, found {}", self.node.kind()),
                    "write for example 0.5",
                );
                return None;
            },
        };
        match text.parse::<Scalar>() {
            Ok(amount) if amount.is_positive() => Some(amount),
            Ok(_) => {
                problems.add(&self.path, "the amount is zero", "write for example 0.5");
                None
            },
            Err(error) => {
                problems.add(&self.path, error.to_string(), "write for example 0.5");
                None
            },
        }
    }

    /// A size with its unit, whole MiB.
    pub(super) fn size(&self, problems: &mut Problems) -> Option<Bytes> {
        if let Node::Int(number) = self.node {
            let remedy = format!("write {number}MiB or {number}GiB");
            problems.add(&self.path, format!("the size {number} has no unit"), remedy);
            return None;
        }
        let text = self.text(problems)?;
        let size = text.parse::<Bytes>().and_then(|size| size.to_scalar().map(|_| size));
        size.map_err(|error| {
            problems.add(&self.path, error.to_string(), "write for example 512MiB or 10GiB");
        })
        .ok()
    }

    /// A duration with its unit, above zero.
    pub(super) fn duration(&self, problems: &mut Problems) -> Option<Duration> {
        if let Node::Int(number) = self.node {
            let remedy = format!("write {number}s or {number}m");
            problems.add(&self.path, format!("the duration {number} has no unit"), remedy);
            return None;
        }
        let text = self.text(problems)?;
        match parse_duration(&text) {
            Ok(span) if !span.is_zero() => Some(span),
            Ok(_) => {
                problems.add(&self.path, "the duration is zero", "write for example 5s");
                None
            },
            Err(error) => {
                problems.add(&self.path, error.to_string(), "write for example 5s");
                None
            },
        }
    }
}

/// A name that may become part of task ids, volume names and labels.
pub(super) fn check_label(path: &str, kind: &str, text: &str, problems: &mut Problems) -> bool {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let rest = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let valid = first && rest && text.len() <= 40 && !text.ends_with('-');
    if !valid {
        let message = format!("{kind} name {text:?} is not allowed");
        problems.add(path, message, "use 1 to 40 of a-z, 0-9 and hyphens, beginning with a letter, not ending with a hyphen");
    }
    valid
}
