//! Records and snapshots of an agent's ledger.
//!
//! The journal below frames and checks them; here a record is a format version byte and a message, and a
//! snapshot is a format version byte and messages, each after its length.

use crate::convert;
use crate::ledger_wire::v1 as wire;
use crate::versioned::{self, DecodeError, VERSION};
use berth_model::record::LedgerRecord;
use prost::Message;

/// Writes a record.
#[must_use]
pub fn encode(record: &LedgerRecord) -> Vec<u8> {
    versioned::encode(&convert::to_wire(record))
}

/// Reads a record.
///
/// # Errors
/// Says why it cannot be read.
pub fn decode(bytes: &[u8]) -> Result<LedgerRecord, DecodeError> {
    versioned::decode::<wire::LedgerRecord>(bytes)
        .and_then(checked)
        .map_err(|reason| DecodeError::new("ledger record", reason))
}

/// Writes a list of records.
#[must_use]
pub fn encode_snapshot(records: &[LedgerRecord]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    for record in records {
        convert::to_wire(record).encode_length_delimited(&mut bytes).expect("a vector grows");
    }
    bytes
}

/// Reads a list of records.
///
/// # Errors
/// Names the record's place and says why it cannot be read.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Vec<LedgerRecord>, DecodeError> {
    let mut rest =
        versioned::body(bytes).map_err(|reason| DecodeError::new("ledger snapshot", reason))?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let record = wire::LedgerRecord::decode_length_delimited(&mut rest)
            .map_err(|e| e.to_string())
            .and_then(checked)
            .map_err(|reason| {
                DecodeError::new(format!("ledger snapshot record {}", records.len()), reason)
            })?;
        records.push(record);
    }
    Ok(records)
}

fn checked(message: wire::LedgerRecord) -> Result<LedgerRecord, String> {
    convert::from_wire(message).map_err(|e| versioned::reason(&e))
}
