//! Keys and values of the master's registry.
//!
//! A key is a word for the kind and the id, so that records of a kind lie together; a value is a format
//! version byte and a message. Nothing is skipped: a record that cannot be read, or that lies under
//! another's key, is an error that names the key.

use crate::convert::{self, AgentSeqRecord, MetaRecord, Wire};
use crate::registry_wire::v1 as wire;
use crate::versioned::{self, DecodeError};
use berth_model::agent::AgentInfo;
use berth_model::id::IdError;
use berth_model::operation::OperationRecord;
use berth_model::record::{FrameworkRecord, RegistryKey, RegistryRecord, ReservationRow};
use berth_model::volume::Volume;
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
        other => Err(format!("no kind of record is called {other:?}")),
    };
    let decoded = decoded.map_err(error)?;
    if encode_key(&decoded) != key {
        return Err(error("the key is not written as Berth writes it".to_owned()));
    }
    Ok(decoded)
}

/// Key and value of a record.
#[must_use]
pub fn encode(record: &RegistryRecord) -> (Vec<u8>, Vec<u8>) {
    let value = match record {
        RegistryRecord::Meta { cluster, epoch, next_framework } => {
            let (cluster, epoch, next_framework) = (*cluster, *epoch, *next_framework);
            versioned::encode(&MetaRecord { cluster, epoch, next_framework }.to_wire())
        },
        RegistryRecord::Agent(info) => {
            versioned::encode(&wire::Agent { info: Some(info.to_wire()) })
        },
        RegistryRecord::AgentSeq { agent, ledger_seq } => {
            let (agent, ledger_seq) = (*agent, *ledger_seq);
            versioned::encode(&AgentSeqRecord { agent, ledger_seq }.to_wire())
        },
        RegistryRecord::Reservation(row) => {
            versioned::encode(&wire::Reservation { row: Some(row.to_wire()) })
        },
        RegistryRecord::Volume(volume) => {
            versioned::encode(&wire::Volume { volume: Some(volume.to_wire()) })
        },
        RegistryRecord::Framework(record) => versioned::encode(&record.to_wire()),
        RegistryRecord::Operation(record) => {
            versioned::encode(&wire::Operation { record: Some(record.to_wire()) })
        },
    };
    (encode_key(&record.key()), value)
}

/// Reads a record.
///
/// # Errors
/// Names the key, and says why the record cannot be read or does not belong under it.
pub fn decode(key: &[u8], value: &[u8]) -> Result<RegistryRecord, DecodeError> {
    let wanted = decode_key(key)?;
    let error = |reason: String| DecodeError::new(String::from_utf8_lossy(key), reason);
    let record = read(&wanted, value).map_err(error)?;
    let found = record.key();
    if found != wanted {
        let found = encode_key(&found);
        let found = String::from_utf8_lossy(&found);
        return Err(error(format!("the record under it belongs under {found:?}")));
    }
    Ok(record)
}

fn read(key: &RegistryKey, value: &[u8]) -> Result<RegistryRecord, String> {
    match key {
        RegistryKey::Meta => {
            let MetaRecord { cluster, epoch, next_framework } =
                checked(versioned::decode::<wire::Meta>(value)?)?;
            Ok(RegistryRecord::Meta { cluster, epoch, next_framework })
        },
        RegistryKey::Agent(_) => {
            let wire::Agent { info } = versioned::decode(value)?;
            inner::<AgentInfo>(info, "info").map(RegistryRecord::Agent)
        },
        RegistryKey::AgentSeq(_) => {
            let AgentSeqRecord { agent, ledger_seq } =
                checked(versioned::decode::<wire::AgentSeq>(value)?)?;
            Ok(RegistryRecord::AgentSeq { agent, ledger_seq })
        },
        RegistryKey::Reservation(_) => {
            let wire::Reservation { row } = versioned::decode(value)?;
            inner::<ReservationRow>(row, "row").map(RegistryRecord::Reservation)
        },
        RegistryKey::Volume(_) => {
            let wire::Volume { volume } = versioned::decode(value)?;
            inner::<Volume>(volume, "volume").map(RegistryRecord::Volume)
        },
        RegistryKey::Framework(_) => {
            let record: FrameworkRecord = checked(versioned::decode(value)?)?;
            Ok(RegistryRecord::Framework(record))
        },
        RegistryKey::Operation(_) => {
            let wire::Operation { record } = versioned::decode(value)?;
            inner::<OperationRecord>(record, "record").map(RegistryRecord::Operation)
        },
    }
}

fn checked<T: Wire>(message: T::Message) -> Result<T, String> {
    convert::from_wire(message).map_err(|e| versioned::reason(&e))
}

fn inner<T: Wire>(message: Option<T::Message>, name: &str) -> Result<T, String> {
    let message = message.ok_or_else(|| format!("field {name} is missing"))?;
    T::from_wire(message, &convert::At::ROOT.field(name)).map_err(|e| versioned::reason(&e))
}
