//! The registry thread: it encodes and commits one batch at a time, blocking as long as the disk does.
//!
//! Dropping the committer waits for the thread: a process that ends while RocksDB closes in another thread crashes
//! in the library's destructors.

use super::EngineError;
use crate::registry::{self, Store, StoreError};
use berth_model::record::RegistryWrite;
use std::thread;
use tokio::sync::mpsc;
use tracing::error;

/// The engine's end of the registry thread.
#[derive(Debug)]
pub(super) struct Committer {
    batches: Option<mpsc::Sender<Vec<RegistryWrite>>>,
    results: mpsc::Receiver<Result<u64, StoreError>>,
    revision: u64,
    thread: Option<thread::JoinHandle<()>>,
}

impl Committer {
    pub(super) fn start(mut store: Box<dyn Store>, revision: u64) -> Result<Self, EngineError> {
        let (batches, mut inbox) = mpsc::channel::<Vec<RegistryWrite>>(1);
        let (results_in, results) = mpsc::channel(1);
        let thread = thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || {
                let mut revision = revision;
                while let Some(writes) = inbox.blocking_recv() {
                    let outcome = store.commit(revision, &registry::encode(&writes));
                    let failed = outcome.is_err();
                    if let Ok(committed) = outcome {
                        revision = committed;
                    }
                    if results_in.blocking_send(outcome).is_err() || failed {
                        return;
                    }
                }
            })
            .map_err(|e| EngineError::Thread { what: e.to_string() })?;
        Ok(Self { batches: Some(batches), results, revision, thread: Some(thread) })
    }

    /// The revision of the last finished commit.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Starts a commit; at most one runs at a time.
    pub(super) fn commit(&mut self, writes: Vec<RegistryWrite>) -> Result<(), EngineError> {
        let batches = self.batches.as_ref().expect("it is taken only by drop");
        batches
            .try_send(writes)
            .map_err(|e| EngineError::Thread { what: format!("it takes no batch ({e})") })
    }

    /// Waits for the running commit. Cancel-safe: nothing is lost when the wait is given up.
    pub(super) async fn committed(&mut self) -> Result<u64, EngineError> {
        match self.results.recv().await {
            Some(result) => {
                self.revision = result?;
                Ok(self.revision)
            },
            None => Err(EngineError::Thread { what: "it ended".to_owned() }),
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        drop(self.batches.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the registry thread has panicked");
        }
    }
}
