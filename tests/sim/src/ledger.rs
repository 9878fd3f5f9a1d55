//! An agent's ledger: the real journal on a simulated disk. What it stores are numbers of records that lie in memory
//! beside it, so no wire format takes part.
//!
//! The store also remembers what was answered for. Invariant: a reopened ledger is what was answered for, with all
//! or nothing of the batch that was on its way; anything else is reported.

use crate::judges::Fold;
use crate::options::Breach;
use berth_ledger::disk::sim::{IgnoreSync, Rng, SimDisk};
use berth_ledger::journal::{Error, Journal, Options, Recovered};
use berth_model::record::LedgerRecord;

/// The durable memory of one agent.
#[derive(Debug)]
pub struct Ledger {
    pub disk: SimDisk,
    owner: [u8; 16],
    records: Vec<LedgerRecord>,
    states: Vec<Vec<LedgerRecord>>,
    created: bool,
    /// What was answered for.
    pub durable: Fold,
    pub seq: u64,
    /// What a commit that did not answer may have left.
    in_doubt: Vec<LedgerRecord>,
}

/// An open ledger.
#[derive(Debug)]
pub struct Open {
    pub journal: Journal<SimDisk>,
    pub records: Vec<LedgerRecord>,
    pub seq: u64,
}

/// Why it is not open.
#[derive(Debug)]
pub enum Refused {
    /// The disk failed; another attempt may succeed.
    Disk,
    /// It forgot something, or cannot be read.
    Broken(String),
}

/// An older copy of a ledger, with what it holds.
#[derive(Debug)]
pub struct OldCopy {
    pub disk: SimDisk,
    pub seq: u64,
    durable: Fold,
    in_doubt: Vec<LedgerRecord>,
}

const OPTIONS: Options = Options { record_bytes_max: 4 << 20, segment_bytes_max: 3_000 };

impl Ledger {
    #[must_use]
    pub fn new(seed: u64, owner: u128, breach: Option<Breach>) -> Self {
        let disk = SimDisk::new(seed);
        match breach {
            Some(Breach::LedgerFilesUnsynced) => disk.set_ignore_sync(IgnoreSync::Files),
            Some(Breach::LedgerFolderUnsynced) => disk.set_ignore_sync(IgnoreSync::Folder),
            Some(_) | None => {},
        }
        Self {
            disk,
            owner: owner.to_be_bytes(),
            records: Vec::new(),
            states: Vec::new(),
            created: false,
            durable: Fold::default(),
            seq: 0,
            in_doubt: Vec::new(),
        }
    }

    /// Opens it, or creates it when it never was.
    pub fn open(&mut self) -> Result<Open, Refused> {
        match Journal::open(self.disk.clone(), self.owner, OPTIONS) {
            Ok((journal, recovered)) => {
                let seq = recovered.seq;
                let records = self.read(&recovered)?;
                self.check(&records, seq)?;
                Ok(Open { journal, records, seq })
            },
            Err(Error::Absent) if self.created => Err(Refused::Broken("it is gone".to_owned())),
            Err(Error::Absent) => match Journal::create(self.disk.clone(), self.owner, OPTIONS) {
                Ok(journal) => {
                    self.created = true;
                    Ok(Open { journal, records: Vec::new(), seq: 0 })
                },
                Err(Error::Disk(_)) => Err(Refused::Disk),
                Err(error) => Err(Refused::Broken(format!("create: {error}"))),
            },
            Err(Error::Disk(_)) => Err(Refused::Disk),
            Err(error) => Err(Refused::Broken(format!("open: {error}"))),
        }
    }

    fn read(&self, recovered: &Recovered) -> Result<Vec<LedgerRecord>, Refused> {
        let unknown = || Refused::Broken("a number that was never written".to_owned());
        let mut records = match &recovered.snapshot {
            Some(bytes) => {
                self.states.get(number(bytes).ok_or_else(unknown)?).ok_or_else(unknown)?.clone()
            },
            None => Vec::new(),
        };
        for bytes in &recovered.records {
            let at = number(bytes).ok_or_else(unknown)?;
            records.push(self.records.get(at).ok_or_else(unknown)?.clone());
        }
        Ok(records)
    }

    fn check(&mut self, records: &[LedgerRecord], seq: u64) -> Result<(), Refused> {
        self.created = true;
        let found = Fold::of(records);
        let mut with_batch = self.durable.clone();
        with_batch.extend(&self.in_doubt);
        self.in_doubt.clear();
        let answered = std::mem::replace(&mut self.durable, found);
        if (self.durable != answered && self.durable != with_batch) || seq < self.seq {
            let text =
                format!("it forgot what it answered for: number {seq}, {} was answered", self.seq);
            return Err(Refused::Broken(text));
        }
        self.seq = seq;
        Ok(())
    }

    /// Writes a batch; nothing was written for sure when this fails.
    pub fn commit(
        &mut self,
        journal: &mut Journal<SimDisk>,
        batch: &[LedgerRecord],
    ) -> Result<u64, Error> {
        let first = self.records.len();
        self.records.extend_from_slice(batch);
        let payloads: Vec<[u8; 8]> =
            (first..self.records.len()).map(|at| (at as u64).to_le_bytes()).collect();
        self.in_doubt = batch.to_vec();
        journal.append(&payloads)?;
        let seq = journal.commit()?;
        self.in_doubt.clear();
        self.durable.extend(batch);
        self.seq = seq;
        Ok(seq)
    }

    /// Replaces the records by a state that says the same.
    pub fn snapshot(
        &mut self,
        journal: &mut Journal<SimDisk>,
        state: Vec<LedgerRecord>,
    ) -> Result<u64, Error> {
        let at = self.states.len() as u64;
        self.states.push(state);
        let seq = journal.snapshot(&at.to_le_bytes())?;
        self.seq = seq;
        Ok(seq)
    }

    /// The process died.
    pub fn kill(&mut self) {
        self.disk.kill();
    }
    /// The machine's power went.
    pub fn crash(&mut self, rng: &mut Rng) {
        self.disk.crash(rng);
    }
    /// A backup of the folder.
    #[must_use]
    pub fn copy(&self) -> OldCopy {
        OldCopy {
            disk: self.disk.fork(),
            seq: self.seq,
            durable: self.durable.clone(),
            in_doubt: self.in_doubt.clone(),
        }
    }
    /// A backup is put in place; answers what was there.
    pub fn restore(&mut self, copy: OldCopy) -> OldCopy {
        let mut disk = copy.disk;
        disk.kill();
        OldCopy {
            disk: std::mem::replace(&mut self.disk, disk),
            seq: std::mem::replace(&mut self.seq, copy.seq),
            durable: std::mem::replace(&mut self.durable, copy.durable),
            in_doubt: std::mem::replace(&mut self.in_doubt, copy.in_doubt),
        }
    }
}

fn number(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
}
