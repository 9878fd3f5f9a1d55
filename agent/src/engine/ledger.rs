//! The ledger's thread: takes batches of records, makes each durable with one sync, and answers.
//!
//! One batch is under way; the engine collects the next one meanwhile. It does not know what records mean.
//! Invariant: an answer comes after the sync, and after a failure nothing is written any more.

use super::error::Error;
use berth_ledger::disk::real::RealDisk;
use berth_ledger::journal::{self, Journal};
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// One batch.
#[derive(Debug, Default)]
pub(super) struct Job {
    /// Encoded records.
    pub(super) records: Vec<Vec<u8>>,
    /// The whole state after these records, when the segment has grown long.
    pub(super) snapshot: Option<Vec<u8>>,
}

/// A batch is durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    /// The number of the last durable record.
    pub(super) seq: u64,
    /// The next batch should carry a snapshot.
    pub(super) wants_snapshot: bool,
}

/// The ledger as the engine sees it.
#[derive(Debug)]
pub(super) struct Ledger {
    jobs: Option<mpsc::Sender<Job>>,
    done: mpsc::Receiver<Result<Done, journal::Error>>,
    thread: Option<JoinHandle<()>>,
}

impl Ledger {
    pub(super) fn start(journal: Journal<RealDisk>) -> Result<Self, Error> {
        let (jobs, wanted) = mpsc::channel(1);
        let (answers, done) = mpsc::channel(1);
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || serve(journal, wanted, &answers))
            .map_err(|_e| Error::Part("ledger thread"))?;
        Ok(Self { jobs: Some(jobs), done, thread: Some(thread) })
    }

    /// Hands a batch over. There must be none under way.
    pub(super) fn commit(&self, job: Job) -> Result<(), Error> {
        let jobs = self.jobs.as_ref().ok_or(Error::Part("ledger thread"))?;
        jobs.try_send(job).map_err(|_e| Error::Part("ledger thread"))
    }

    /// The next answer.
    pub(super) async fn done(&mut self) -> Result<Done, Error> {
        match self.done.recv().await {
            Some(answer) => answer.map_err(Error::Write),
            None => Err(Error::Part("ledger thread")),
        }
    }

    /// Waits until the ledger's folder is free for another process.
    pub(super) async fn close(mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
            if !joined.unwrap_or(false) {
                tracing::error!("the ledger's thread failed");
            }
        }
    }
}

fn serve(
    mut journal: Journal<RealDisk>,
    mut wanted: mpsc::Receiver<Job>,
    answers: &mpsc::Sender<Result<Done, journal::Error>>,
) {
    while let Some(job) = wanted.blocking_recv() {
        let answer = carry_out(&mut journal, &job);
        let failed = answer.is_err();
        // The engine is gone: nobody waits for this answer.
        if answers.blocking_send(answer).is_err() || failed {
            return;
        }
    }
}

fn carry_out(journal: &mut Journal<RealDisk>, job: &Job) -> Result<Done, journal::Error> {
    journal.append(&job.records)?;
    let mut seq = journal.commit()?;
    if let Some(state) = &job.snapshot {
        seq = journal.snapshot(state)?;
    }
    Ok(Done { seq, wants_snapshot: journal.wants_snapshot() })
}
