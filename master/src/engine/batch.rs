//! A batch: what is to be written, and what may be told once it is.

use berth_master_core::Output;
use berth_model::error::Rejection;
use berth_model::id::SessionId;
use berth_model::record::RegistryWrite;
use std::fmt;

/// Something to let out after the sync.
pub(super) enum Release {
    /// An output of the core.
    Output(Box<Output>),
    /// The answer to a framework's call that was malformed.
    RefuseCall { session: SessionId, call: u64, error: Rejection },
    /// An answer to a query.
    Deliver(Box<dyn FnOnce() + Send>),
    /// The peer of a connection is gone, so what leads to it is dropped.
    Detach(SessionId),
}

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output(output) => write!(f, "{output:?}"),
            Self::RefuseCall { call, error, .. } => write!(f, "RefuseCall({call}, {error})"),
            Self::Deliver(_) => f.write_str("Deliver"),
            Self::Detach(session) => write!(f, "Detach({session})"),
        }
    }
}

/// Writes and releases in the order they were decided.
#[derive(Debug, Default)]
pub(super) struct Batch {
    writes: Vec<RegistryWrite>,
    releases: Vec<Release>,
}

impl Batch {
    pub(super) fn add_writes(&mut self, writes: Vec<RegistryWrite>) {
        self.writes.extend(writes);
    }
    pub(super) fn add_outputs(&mut self, outputs: Vec<Output>) {
        self.releases.extend(outputs.into_iter().map(|output| Release::Output(Box::new(output))));
    }
    pub(super) fn add_delivery(&mut self, deliver: Box<dyn FnOnce() + Send>) {
        self.releases.push(Release::Deliver(deliver));
    }
    pub(super) fn add_call_refusal(&mut self, session: SessionId, call: u64, error: Rejection) {
        self.releases.push(Release::RefuseCall { session, call, error });
    }
    pub(super) fn add_detach(&mut self, session: SessionId) {
        self.releases.push(Release::Detach(session));
    }
    pub(super) fn len(&self) -> usize {
        self.writes.len() + self.releases.len()
    }
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub(super) fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }
    pub(super) fn into_parts(self) -> (Vec<RegistryWrite>, Vec<Release>) {
        (self.writes, self.releases)
    }
}
