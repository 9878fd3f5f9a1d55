//! Keys and values of the master's registry.
//!
//! A key is a word for the kind and the id, so that records of a kind lie together; a value is a format
//! version byte and a message. Nothing is skipped: a record that cannot be read, or that lies under
//! another's key, is an error that names the key.

use crate::convert;
use crate::registry_wire::v1 as wire;
use crate::versioned::{self, DecodeError};
use berth_model::audit::AuditKey;
use berth_model::id::IdError;
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::role::Role;
use std::str::FromStr;

/// The key under which a record is stored.
#[must_use]
pub fn encode_key(key: &RegistryKey) -> Vec<u8> {
    let text = match key {
        RegistryKey::Meta => "meta".to_owned(),
        RegistryKey::Agent(id) => format!("agent/{id}"),
        RegistryKey::AgentSeq(id) => format!("agent-seq/{id}"),
        RegistryKey::Reservation(id) => format!("reservation/{id}"),
        RegistryKey::Volume(id) => format!("volume/{id}"),
        RegistryKey::Framework(id) => format!("framework/{id}"),
        RegistryKey::Operation(id) => format!("operation/{id}"),
        RegistryKey::Disk(id) => format!("disk/{id}"),
        RegistryKey::Profile(name) => format!("profile/{name}"),
        RegistryKey::Snapshot(id) => format!("snapshot/{id}"),
        RegistryKey::Schedule(id) => format!("schedule/{id}"),
        RegistryKey::Weight(role) => format!("weight/{role}"),
        RegistryKey::Quota(role) => format!("quota/{role}"),
        RegistryKey::Transaction(framework, id) => format!("transaction/{id}/{framework}"),
        RegistryKey::Audit(AuditKey::Head) => "audit/head".to_owned(),
        // Of one length, so that their order is that of the numbers.
        RegistryKey::Audit(AuditKey::Mark(seq)) => format!("audit/mark/{seq:020}"),
        RegistryKey::Audit(AuditKey::Entry(seq)) => format!("audit/entry/{seq:020}"),
    };
    text.into_bytes()
}

/// Reads a key.
///
/// # Errors
/// No record has such a key.
pub fn decode_key(key: &[u8]) -> Result<RegistryKey, DecodeError> {
    let error = |reason: String| DecodeError::new(String::from_utf8_lossy(key), reason);
    let text = std::str::from_utf8(key).map_err(|e| error(format!("the key is not text: {e}")))?;
    let (kind, id) = text.split_once('/').unwrap_or((text, ""));
    fn id_of<T: FromStr<Err = IdError>>(text: &str) -> Result<T, String> {
        text.parse().map_err(|e: IdError| e.to_string())
    }
    let decoded = match kind {
        "meta" => Ok(RegistryKey::Meta),
        "agent" => id_of(id).map(RegistryKey::Agent),
        "agent-seq" => id_of(id).map(RegistryKey::AgentSeq),
        "reservation" => id_of(id).map(RegistryKey::Reservation),
        "volume" => id_of(id).map(RegistryKey::Volume),
        "framework" => id_of(id).map(RegistryKey::Framework),
        "operation" => id_of(id).map(RegistryKey::Operation),
        "disk" => id_of(id).map(RegistryKey::Disk),
        "profile" => id_of(id).map(RegistryKey::Profile),
        "snapshot" => id_of(id).map(RegistryKey::Snapshot),
        "schedule" => id_of(id).map(RegistryKey::Schedule),
        "weight" => role_of(id).map(RegistryKey::Weight),
        "quota" => role_of(id).map(RegistryKey::Quota),
        "transaction" => transaction_key(id),
        "audit" => audit_key(id).map(RegistryKey::Audit),
        other => Err(format!("no kind of record is called {other:?}")),
    };
    let decoded = decoded.map_err(error)?;
    if encode_key(&decoded) != key {
        return Err(error("the key is not written as Berth writes it".to_owned()));
    }
    Ok(decoded)
}

fn role_of(text: &str) -> Result<Role, String> {
    Role::new(text).map_err(|e| e.to_string())
}

fn transaction_key(text: &str) -> Result<RegistryKey, String> {
    let (id, framework) = text.split_once('/').ok_or("the framework is missing")?;
    let framework = framework.parse().map_err(|e: IdError| e.to_string())?;
    Ok(RegistryKey::Transaction(framework, id.parse().map_err(|e: IdError| e.to_string())?))
}

fn audit_key(text: &str) -> Result<AuditKey, String> {
    let number = |text: &str| text.parse().map_err(|e| format!("{text:?} is no number: {e}"));
    match text.split_once('/') {
        None if text == "head" => Ok(AuditKey::Head),
        Some(("mark", seq)) => number(seq).map(AuditKey::Mark),
        Some(("entry", seq)) => number(seq).map(AuditKey::Entry),
        None | Some(_) => Err(format!("no part of the audit log is called {text:?}")),
    }
}

/// Key and value of a record.
#[must_use]
pub fn encode(record: &RegistryRecord) -> (Vec<u8>, Vec<u8>) {
    (encode_key(&record.key()), versioned::encode(&convert::to_wire(record)))
}

/// Reads a record.
///
/// # Errors
/// Names the key, and says why the record cannot be read or does not belong under it.
pub fn decode(key: &[u8], value: &[u8]) -> Result<RegistryRecord, DecodeError> {
    let wanted = decode_key(key)?;
    let error = |reason: String| DecodeError::new(String::from_utf8_lossy(key), reason);
    let record: RegistryRecord = versioned::decode::<wire::RegistryRecord>(value)
        .and_then(|message| convert::from_wire(message).map_err(|e| versioned::reason(&e)))
        .map_err(error)?;
    let found = record.key();
    if found != wanted {
        let found = encode_key(&found);
        let found = String::from_utf8_lossy(&found);
        return Err(error(format!("the record under it belongs under {found:?}")));
    }
    Ok(record)
}
