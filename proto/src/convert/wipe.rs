//! How volumes are wiped when they are purged, what was done of it, and what a disk can.

use super::field::{self, Choice, choice};
use super::{At, Wire};
use crate::v1::submit_request;
use crate::{ledger_wire, v1};
use berth_model::error::Rejection;
use berth_model::operator::Request;
use berth_model::units::Bytes;
use berth_model::wipe::{LedgerWipe, Wipe, WipeAbility, WipeStage, Wiped};
use std::sync::Arc;

choice!(Wipe, v1::Wipe, "way to wipe", [None, Discard, Zero, Shred]);

/// The number of a choice that may be left out.
pub(super) fn number(wipe: Option<Wipe>) -> i32 {
    wipe.map_or(v1::Wipe::Unspecified as i32, Choice::number)
}

/// A choice that may be left out.
pub(super) fn read(number: i32, at: &At<'_>) -> Result<Option<Wipe>, Rejection> {
    if number == v1::Wipe::Unspecified as i32 { Ok(None) } else { Wipe::read(number, at).map(Some) }
}

/// A purge, as somebody calls for it.
pub(super) fn purge(
    message: &submit_request::PurgeVolume,
    at: &At<'_>,
) -> Result<Request, Rejection> {
    let submit_request::PurgeVolume { volume_id, wipe } = message;
    let volume = field::id(volume_id, &at.field("volume_id"))?;
    Ok(Request::PurgeVolume { volume, wipe: read(*wipe, &at.field("wipe"))? })
}

/// What a disk can. A method of a later release is unknown to this one, and no reason to refuse the disk.
pub(super) fn abilities(messages: Vec<v1::WipeAbility>, at: &At<'_>) -> Vec<WipeAbility> {
    let of = |message: v1::WipeAbility| {
        let v1::WipeAbility { driver, method, refused } = message;
        Some(WipeAbility {
            driver: Arc::from(driver),
            method: Wipe::read(method, at).ok()?,
            refused,
        })
    };
    messages.into_iter().filter_map(of).collect()
}

pub(super) fn abilities_to_wire(abilities: &[WipeAbility]) -> Vec<v1::WipeAbility> {
    let of = |ability: &WipeAbility| {
        let WipeAbility { driver, method, refused } = ability;
        v1::WipeAbility {
            driver: driver.to_string(),
            method: method.number(),
            refused: refused.clone(),
        }
    };
    abilities.iter().map(of).collect()
}

impl Wire for Wiped {
    type Message = v1::Wiped;

    fn to_wire(&self) -> v1::Wiped {
        let Self { method, bytes, driver } = self;
        v1::Wiped { method: method.number(), bytes: bytes.get(), driver: driver.to_string() }
    }

    fn from_wire(message: v1::Wiped, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Wiped { method, bytes, driver } = message;
        Ok(Self {
            method: Wipe::read(method, &at.field("method"))?,
            bytes: Bytes::new(bytes),
            driver: Arc::from(driver),
        })
    }
}

impl Wire for LedgerWipe {
    type Message = ledger_wire::v1::Wipe;

    fn to_wire(&self) -> Self::Message {
        let Self { operation, method, stage } = self;
        let (bytes, done) = match stage {
            WipeStage::Wanted => (None, false),
            WipeStage::Begun(bytes) => (Some(bytes.get()), false),
            WipeStage::Done(bytes) => (Some(bytes.get()), true),
        };
        ledger_wire::v1::Wipe {
            operation_id: operation.as_ref().map(ToString::to_string),
            method: method.number(),
            bytes,
            done,
        }
    }

    fn from_wire(message: Self::Message, at: &At<'_>) -> Result<Self, Rejection> {
        let ledger_wire::v1::Wipe { operation_id, method, bytes, done } = message;
        let stage = match (bytes.map(Bytes::new), done) {
            (None, false) => WipeStage::Wanted,
            (Some(bytes), false) => WipeStage::Begun(bytes),
            (Some(bytes), true) => WipeStage::Done(bytes),
            (None, true) => {
                return Err(at
                    .field("bytes")
                    .invalid("a wipe that is done says not how much it was", "give the bytes"));
            },
        };
        Ok(Self {
            operation: field::optional_id(operation_id.as_deref(), &at.field("operation_id"))?,
            method: Wipe::read(method, &at.field("method"))?,
            stage,
        })
    }
}
