//! Everything that knows a wire or disk format: protobuf messages and their conversion from and to the
//! values of `berth-model`.
//!
//! It knows no cluster state. Invariant: what a conversion lets through is well-formed, so that those
//! behind it decide on state alone.
#![forbid(unsafe_code)]

pub mod address;
pub mod convert;
pub mod fingerprint;
pub mod ledger;
pub mod registry;
pub mod status;
mod versioned;
pub mod wire;

pub use fingerprint::fingerprint;
pub use versioned::DecodeError;
pub use wire::berth::v1;
pub use wire::berth::{ledger as ledger_wire, registry as registry_wire, service};
