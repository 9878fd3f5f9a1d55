//! Everything that knows a wire or disk format: protobuf messages and their conversion from and to the
//! values of `berth-model`.
//!
//! It knows no cluster state. Invariant: what a conversion lets through is well-formed, so that those
//! behind it decide on state alone.
#![forbid(unsafe_code)]

pub mod wire;

pub use wire::berth::v1;
pub use wire::berth::{ledger as ledger_wire, registry as registry_wire, service};
