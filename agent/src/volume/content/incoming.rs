//! The bytes of an archive as they arrive from whoever imports it, in parts of any size, through a bounded queue.
//!
//! Invariant: every byte that is given out is in the checksum, and a queue that closes before its end is no end.

use super::archive::{Checksum, invalid};
use super::{Counter, Stop};
use berth_model::error::{ErrorCode, Rejection};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

/// A piece of what arrives.
#[derive(Debug)]
pub enum Part {
    /// Bytes.
    Data(Vec<u8>),
    /// There are no more.
    End,
    /// There will be no more, and why.
    Failed(Rejection),
}

/// An archive that arrives.
#[derive(Debug)]
pub struct Incoming {
    parts: mpsc::Receiver<Part>,
    now: Vec<u8>,
    at: usize,
    has_ended: bool,
    sum: Sha256,
}

impl Incoming {
    /// From this queue.
    #[must_use]
    pub fn new(parts: mpsc::Receiver<Part>) -> Self {
        Self { parts, now: Vec::new(), at: 0, has_ended: false, sum: Sha256::new() }
    }

    /// All of it has arrived.
    #[must_use]
    pub fn whole(bytes: Vec<u8>) -> Self {
        Self { now: bytes, has_ended: true, ..Self::broken() }
    }

    /// Nothing arrives.
    #[must_use]
    pub fn broken() -> Self {
        Self::new(mpsc::channel(1).1)
    }

    /// Makes sure that there is something; false at the end.
    fn refill(&mut self, counter: &Counter) -> Result<bool, Stop> {
        while self.at == self.now.len() && !self.has_ended {
            counter.check()?;
            match self.parts.blocking_recv() {
                Some(Part::Data(bytes)) => {
                    self.now = bytes;
                    self.at = 0;
                },
                Some(Part::End) => self.has_ended = true,
                Some(Part::Failed(reason)) => {
                    counter.check()?;
                    return Err(Stop::Content(reason));
                },
                None => {
                    counter.check()?;
                    let text = "the stream of the import broke before its end";
                    let broken = Rejection::new(ErrorCode::TransferFailed, text);
                    return Err(Stop::Content(broken.remedy("import again")));
                },
            }
        }
        Ok(self.at < self.now.len())
    }

    /// Exactly so many bytes.
    pub(super) fn take(&mut self, length: usize, counter: &Counter) -> Result<Vec<u8>, Stop> {
        let mut taken = Vec::with_capacity(length);
        while taken.len() < length {
            if !self.refill(counter)? {
                return Err(Stop::Content(invalid("it is cut off")));
            }
            let most = (length - taken.len()).min(self.now.len() - self.at);
            taken.extend_from_slice(&self.now[self.at..self.at + most]);
            self.at += most;
        }
        self.sum.update(&taken);
        Ok(taken)
    }

    /// Of everything so far.
    pub(super) fn checksum(&self) -> Checksum {
        self.sum.clone().finalize().into()
    }

    /// Nothing follows.
    pub(super) fn end(&mut self, counter: &Counter) -> Result<(), Stop> {
        if self.refill(counter)? {
            return Err(Stop::Content(invalid("something follows its end")));
        }
        Ok(())
    }
}
