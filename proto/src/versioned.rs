//! The form of everything that is stored: a format version byte, then a message.
//!
//! Checksums are the store's business; this finds what is whole but cannot be read.

use berth_model::error::{ErrorCode, Rejection};
use prost::Message;

/// The only format so far.
pub(crate) const VERSION: u8 = 1;

/// A stored record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored record {key:?} cannot be read: {reason}")]
pub struct DecodeError {
    /// The record's key, or its place.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl DecodeError {
    pub(crate) fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into() }
    }

    /// The error as users see it; `code` says which store is damaged.
    #[must_use]
    pub fn rejection(&self, code: ErrorCode) -> Rejection {
        Rejection::new(code, self.to_string())
            .remedy("restore the directory from a backup; nothing was changed")
    }
}

pub(crate) fn encode(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.encoded_len() + 1);
    bytes.push(VERSION);
    message.encode(&mut bytes).expect("a vector grows");
    bytes
}

pub(crate) fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, String> {
    M::decode(body(bytes)?).map_err(|e| e.to_string())
}

/// What follows the version byte.
pub(crate) fn body(bytes: &[u8]) -> Result<&[u8], String> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((version, _)) => {
            Err(format!("it has format version {version}, this release reads version {VERSION}"))
        },
        None => Err("it is empty".to_owned()),
    }
}

pub(crate) fn reason(rejection: &Rejection) -> String {
    if rejection.field.is_empty() {
        rejection.message.clone()
    } else {
        format!("field {}: {}", rejection.field, rejection.message)
    }
}
