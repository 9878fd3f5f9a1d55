//! Fingerprints of requests: another request under a known operation id is recognised by them.

use crate::convert;
use crate::v1;
use berth_model::id;
use berth_model::operation::Action;
use berth_model::operator::Request;
use prost::Message;

/// The fingerprint of a message. Clear its operation id first, or use [`request`] and [`action`].
#[must_use]
pub fn fingerprint(message: &impl Message) -> u64 {
    id::fingerprint(&message.encode_to_vec())
}

/// The fingerprint of an operator's request, without its operation id.
#[must_use]
pub fn request(request: &Request) -> u64 {
    let request = Some(convert::request_to_wire(request));
    fingerprint(&v1::SubmitRequest { request, ..v1::SubmitRequest::default() })
}

/// The fingerprint of an operation of an ACCEPT, without its operation id.
#[must_use]
pub fn action(action: &Action) -> u64 {
    let action = Some(convert::action_to_wire(action));
    fingerprint(&v1::OfferOperation { operation_id: String::new(), action })
}
