//! A machine with one simulated disk and one journal, and what an observer outside knows about it.
//!
//! The state kept in the journal is the list of all payloads ever appended; a snapshot is that list. The observer
//! shares no code with the journal. Invariant checked at each open: the history is what was answered for, with
//! either all or nothing of the one batch whose commit did not answer.

use berth_ledger::disk::sim::{Rng, SimDisk};
use berth_ledger::disk::{Call, Disk, Error as DiskError};
use berth_ledger::journal::{Error, Journal, Options, Recovered};

pub type Payload = Vec<u8>;

pub const OWNER: [u8; 16] = *b"owner-of-journal";

#[derive(Debug, Clone)]
pub enum Step {
    Append(Vec<Payload>),
    Commit,
    Snapshot,
    /// The process dies; memory that the system holds survives.
    Kill,
    /// The power goes and comes back.
    Crash(u64),
    /// The power or the process goes after this many more changes to the disk.
    StopAfter(u64),
    /// From now on each change fails with this probability.
    Failures(u16),
}

/// The simulated disk, with one kind of call left out while answering `Ok`.
#[derive(Debug, Clone)]
pub struct Faulty {
    pub disk: SimDisk,
    pub skipped: Option<Call>,
}

impl Faulty {
    fn change(
        &mut self,
        call: Call,
        change: impl FnOnce(&mut SimDisk) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        if self.skipped == Some(call) { Ok(()) } else { change(&mut self.disk) }
    }
}

impl Disk for Faulty {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        self.disk.list()
    }
    fn read(&self, name: &str) -> Result<Vec<u8>, DiskError> {
        self.disk.read(name)
    }
    fn create_new(&mut self, name: &str) -> Result<(), DiskError> {
        self.change(Call::Create, |disk| disk.create_new(name))
    }
    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
        self.change(Call::Append, |disk| disk.append(name, bytes))
    }
    fn overwrite(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.change(Call::Overwrite, |disk| disk.overwrite(name, offset, bytes))
    }
    fn truncate(&mut self, name: &str, len: u64) -> Result<(), DiskError> {
        self.change(Call::Truncate, |disk| disk.truncate(name, len))
    }
    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        self.change(Call::Sync, |disk| disk.sync(name))
    }
    fn replace(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.change(Call::Replace, |disk| disk.replace(from, to))
    }
    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.change(Call::Remove, |disk| disk.remove(name))
    }
    fn sync_dir(&mut self) -> Result<(), DiskError> {
        self.change(Call::SyncDir, SimDisk::sync_dir)
    }
}

#[derive(Debug)]
pub struct World {
    pub disk: Faulty,
    journal: Option<Journal<Faulty>>,
    /// The create was answered.
    is_created: bool,
    /// Every payload that a commit, a snapshot or an open has answered for.
    durable: Vec<Payload>,
    /// Payloads whose commit was called and did not answer.
    in_flight: Vec<Payload>,
    /// Payloads appended since; they must never appear before a commit is called.
    buffered: Vec<Payload>,
    /// The highest number that was answered for.
    seq: u64,
}

/// What the observer saw that must not be.
pub type Violation = String;

impl World {
    pub fn new(disk: SimDisk, skipped: Option<Call>) -> Self {
        Self {
            disk: Faulty { disk, skipped },
            journal: None,
            is_created: false,
            durable: Vec::new(),
            in_flight: Vec::new(),
            buffered: Vec::new(),
            seq: 0,
        }
    }

    /// The same machine in a parallel universe, with its process dead.
    pub fn fork(&self) -> Self {
        Self {
            disk: Faulty { disk: self.disk.disk.fork(), skipped: self.disk.skipped },
            journal: None,
            is_created: self.is_created,
            durable: self.durable.clone(),
            in_flight: self.in_flight.clone(),
            buffered: Vec::new(),
            seq: self.seq,
        }
    }

    /// Runs one step. `Ok(false)`: the journal's process has died of an error of the disk.
    pub fn apply(&mut self, step: &Step) -> Result<bool, Violation> {
        match step {
            Step::Failures(per_mille) => {
                self.disk.disk.set_failure_per_mille(*per_mille);
                Ok(true)
            },
            Step::StopAfter(changes) => {
                self.disk.disk.stop_after(*changes);
                Ok(true)
            },
            Step::Kill => {
                self.kill();
                self.start()
            },
            Step::Crash(seed) => {
                self.crash(*seed);
                self.start()
            },
            Step::Append(payloads) => {
                let Some(journal) = &mut self.journal else { return Ok(false) };
                let seq = journal.append(payloads).map_err(|e| format!("append: {e}"))?;
                self.buffered.extend_from_slice(payloads);
                let wanted = self.seq + self.buffered.len() as u64;
                expect(seq == wanted, || format!("append answered {seq}, not {wanted}"))
            },
            Step::Commit => {
                let wanted = self.seq + self.buffered.len() as u64;
                self.write(wanted, |journal, _history| journal.commit())
            },
            Step::Snapshot => {
                let wanted = self.seq + self.buffered.len() as u64 + 1;
                self.write(wanted, |journal, history| journal.snapshot(&encode(history)))
            },
        }
    }

    fn write(
        &mut self,
        wanted: u64,
        write: impl FnOnce(&mut Journal<Faulty>, &[Payload]) -> Result<u64, Error>,
    ) -> Result<bool, Violation> {
        let Some(journal) = &mut self.journal else { return Ok(false) };
        self.in_flight = std::mem::take(&mut self.buffered);
        let history = [self.durable.as_slice(), &self.in_flight].concat();
        match write(journal, &history) {
            Ok(seq) => {
                self.durable = history;
                self.in_flight.clear();
                self.seq = wanted;
                expect(seq == wanted, || format!("write answered {seq}, not {wanted}"))
            },
            Err(Error::Disk(_)) => {
                let after = (journal.append(&[b"more"]), journal.commit(), journal.snapshot(b""));
                let poisoned = (Err(Error::Poisoned), Err(Error::Poisoned), Err(Error::Poisoned));
                self.journal = None;
                expect(after == poisoned, || format!("a failed journal goes on: {after:?}"))?;
                Ok(false)
            },
            Err(error) => Err(format!("write: {error}")),
        }
    }

    pub fn kill(&mut self) {
        self.journal = None;
        self.buffered.clear();
        self.disk.disk.kill();
    }

    pub fn crash(&mut self, seed: u64) {
        self.kill();
        self.disk.disk.crash(&mut Rng::new(seed));
    }

    /// Starts the process: opens the journal, or creates it if it never was. `Ok(false)`: the disk failed.
    pub fn start(&mut self) -> Result<bool, Violation> {
        let options = Options::default();
        match Journal::open(self.disk.clone(), OWNER, options) {
            Ok((journal, recovered)) => {
                self.check(&recovered)?;
                self.journal = Some(journal);
                Ok(true)
            },
            Err(Error::Absent) => {
                expect(!self.is_created, || "the ledger is gone".to_owned())?;
                match Journal::create(self.disk.clone(), OWNER, options) {
                    Ok(journal) => {
                        self.is_created = true;
                        self.journal = Some(journal);
                        Ok(true)
                    },
                    Err(Error::Disk(_)) => Ok(false),
                    Err(error) => Err(format!("create: {error}")),
                }
            },
            Err(Error::Disk(_)) => Ok(false),
            Err(error) => Err(format!("open: {error}")),
        }
    }

    fn check(&mut self, recovered: &Recovered) -> Result<(), Violation> {
        let mut history = recovered.snapshot.as_deref().map_or_else(Vec::new, decode);
        history.extend(recovered.records.iter().cloned());
        let with_batch = [self.durable.as_slice(), &self.in_flight].concat();
        expect(history == self.durable || history == with_batch, || {
            format!(
                "{} payloads of history, {} were answered for and {} in flight",
                history.len(),
                self.durable.len(),
                self.in_flight.len()
            )
        })?;
        expect(recovered.seq >= self.seq, || {
            format!("open answers number {}, {} was answered before", recovered.seq, self.seq)
        })?;
        self.is_created = true;
        self.durable = history;
        self.in_flight.clear();
        self.seq = recovered.seq;
        Ok(())
    }
}

fn expect(holds: bool, text: impl FnOnce() -> Violation) -> Result<bool, Violation> {
    if holds { Ok(true) } else { Err(text()) }
}

fn encode(history: &[Payload]) -> Vec<u8> {
    let mut out = Vec::new();
    for payload in history {
        out.extend_from_slice(&u32::try_from(payload.len()).expect("small").to_le_bytes());
        out.extend_from_slice(payload);
    }
    out
}

fn decode(mut state: &[u8]) -> Vec<Payload> {
    let mut out = Vec::new();
    while let Some((length, rest)) = state.split_first_chunk() {
        let length = usize::try_from(u32::from_le_bytes(*length)).expect("small");
        let (payload, rest) = rest.split_at(length);
        out.push(payload.to_vec());
        state = rest;
    }
    out
}
