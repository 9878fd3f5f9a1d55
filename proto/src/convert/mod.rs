//! Between the values of the model and the messages on the wire, one file per noun.
//!
//! Writing cannot fail. Reading checks everything that needs no cluster state (*shape before state*) and
//! names the field at fault by its whole path. Both sides take structs apart without `..`, so a field
//! that one of them forgets does not compile. Times on the wire are whole milliseconds.

mod access;
mod agent;
mod at;
mod audit;
mod cell;
mod declaration;
mod disk;
mod error;
mod explain;
mod field;
mod framework;
mod link;
mod log;
mod offer;
mod operation;
mod operator;
mod orders;
mod orphan;
mod quota;
mod record;
mod resource;
mod role;
mod schedule;
mod snapshot;
mod task;
mod transaction;
mod transfer;
mod usage;
mod view;
mod volume;
mod wipe;

pub use at::At;
pub use audit::{AuditRequest, VerifyRequest};
pub use field::{LIST_MAX, TEXT_MAX};
pub use log::LogRequest;
pub(crate) use operation::action_to_wire;
pub(crate) use operator::request_to_wire;
pub use transfer::survey_wish;

use berth_model::error::Rejection;
use berth_model::id::IdError;
use berth_model::role::Role;
use std::str::FromStr;
use std::sync::Arc;

/// The largest message clients and servers should let in: a registration of an agent with ten thousand
/// volumes is some MiB, and the default of gRPC is four.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A value of the model that has a wire form.
pub trait Wire: Sized {
    /// Its wire form.
    type Message: prost::Message + Default;

    /// Writes the value.
    fn to_wire(&self) -> Self::Message;

    /// Reads and checks a message found at `at`.
    ///
    /// # Errors
    /// Names the field at fault and the remedy.
    fn from_wire(message: Self::Message, at: &At<'_>) -> Result<Self, Rejection>;
}

impl<T: Wire> Wire for Arc<T> {
    type Message = T::Message;

    fn to_wire(&self) -> T::Message {
        T::to_wire(self)
    }

    fn from_wire(message: T::Message, at: &At<'_>) -> Result<Self, Rejection> {
        T::from_wire(message, at).map(Self::new)
    }
}

/// Writes a value.
#[must_use]
pub fn to_wire<T: Wire>(value: &T) -> T::Message {
    value.to_wire()
}

/// Reads and checks a whole message.
///
/// # Errors
/// Names the field at fault and the remedy.
pub fn from_wire<T: Wire>(message: T::Message) -> Result<T, Rejection> {
    T::from_wire(message, &At::ROOT)
}

/// Writes a list, such as the rows of a reply.
#[must_use]
pub fn list_to_wire<T: Wire>(values: &[T]) -> Vec<T::Message> {
    field::messages(values)
}

/// Reads a list found in the field `name`.
///
/// # Errors
/// Names the field at fault and the remedy.
pub fn list_from_wire<T: Wire>(messages: Vec<T::Message>, name: &str) -> Result<Vec<T>, Rejection> {
    field::list(messages, &At::ROOT.field(name))
}

/// Reads an id found in the field `name`.
///
/// # Errors
/// Names the field and the rule that is broken.
pub fn id_from_wire<T: FromStr<Err = IdError>>(text: &str, name: &str) -> Result<T, Rejection> {
    field::id(text, &At::ROOT.field(name))
}

/// Reads a role found in the field `name`.
///
/// # Errors
/// Names the field and the rule that is broken.
pub fn role_from_wire(text: &str, name: &str) -> Result<Role, Rejection> {
    field::role(text, &At::ROOT.field(name))
}
