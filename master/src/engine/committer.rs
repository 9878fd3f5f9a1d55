//! The registry thread: it encodes and commits one batch at a time, blocking as long as the disk does, and reads parts of
//! the log between two batches.
//!
//! Dropping the committer waits for the thread: a process that ends while RocksDB closes in another thread crashes
//! in the library's destructors.

use super::EngineError;
use crate::registry::{self, Record, Store, StoreError};
use berth_model::record::RegistryWrite;
use std::thread;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

/// How many reads of the log may wait; one place is left for the batch.
const READS: usize = 16;

/// A part of the log, or why it cannot be read.
pub(super) type LogPart = Result<Vec<Record>, StoreError>;

#[derive(Debug)]
enum Job {
    Commit(Vec<RegistryWrite>),
    Read { from: Vec<u8>, limit: usize, answer: oneshot::Sender<LogPart> },
}

/// The engine's end of the registry thread.
#[derive(Debug)]
pub(super) struct Committer {
    jobs: Option<mpsc::Sender<Job>>,
    results: mpsc::Receiver<Result<u64, StoreError>>,
    revision: u64,
    thread: Option<thread::JoinHandle<()>>,
}

impl Committer {
    pub(super) fn start(mut store: Box<dyn Store>, revision: u64) -> Result<Self, EngineError> {
        let (jobs, mut inbox) = mpsc::channel::<Job>(READS + 1);
        let (results_in, results) = mpsc::channel(1);
        let thread = thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || {
                let mut revision = revision;
                while let Some(job) = inbox.blocking_recv() {
                    let writes = match job {
                        Job::Commit(writes) => writes,
                        Job::Read { from, limit, answer } => {
                            // Nobody waits any more: nothing is lost.
                            drop(answer.send(store.read_log(&from, limit)));
                            continue;
                        },
                    };
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
        Ok(Self { jobs: Some(jobs), results, revision, thread: Some(thread) })
    }

    /// The revision of the last finished commit.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Starts a commit; at most one runs at a time.
    pub(super) fn commit(&mut self, writes: Vec<RegistryWrite>) -> Result<(), EngineError> {
        let jobs = self.jobs.as_ref().expect("it is taken only by drop");
        jobs.try_send(Job::Commit(writes))
            .map_err(|e| EngineError::Thread { what: format!("it takes no batch ({e})") })
    }

    /// Reads a part of the log between two batches. Dropping the answer's end says that too many wait already.
    pub(super) fn read(&self, from: Vec<u8>, limit: usize, answer: oneshot::Sender<LogPart>) {
        let jobs = self.jobs.as_ref().expect("it is taken only by drop");
        if jobs.capacity() > 1 {
            // A thread that has ended is found out by the next batch.
            drop(jobs.try_send(Job::Read { from, limit, answer }));
        }
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
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the registry thread has panicked");
        }
    }
}
