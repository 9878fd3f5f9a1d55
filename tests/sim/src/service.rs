//! The real service scheduler's core with its ledger: the journal on a simulated disk, holding the records as they are
//! encoded for real.
//!
//! It knows no wires. Invariant: a record that was answered for is there after every crash.

use crate::dice::Dice;
use berth_framework_core::document::parse;
use berth_framework_core::record::Record;
use berth_framework_core::scheduler::{Command, Config, Input, Output, Scheduler};
use berth_ledger::disk::sim::SimDisk;
use berth_ledger::journal::{Error, Journal, Options};
use berth_model::units::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

const OWNER: [u8; 16] = *b"berth-scheduler1";
const DOCUMENT: &str = "apiVersion: berth/v1\nkind: Service\nname: store\nrole: svc\npods:\n  db:\n    resources: {cpu: 0.2, memory: 64MiB}\n    volumes: {data: {size: 300MiB, path: data}}\n    tasks:\n      init: {goal: once, scope: volume, cmd: prepare}\n      server: {goal: running, cmd: serve}\n";

/// A running scheduler.
#[derive(Debug)]
pub struct Process {
    pub core: Scheduler,
    journal: Journal<SimDisk>,
    pub conn: Option<u64>,
    /// Steps wait here while a commit runs.
    pub inbox: VecDeque<Input>,
    flying: Option<(Vec<Record>, Vec<Output>)>,
}

/// What outlives the scheduler's process, and the process.
#[derive(Debug)]
pub struct Service {
    pub disk: SimDisk,
    pub process: Option<Process>,
    pub life: u64,
    created: bool,
    /// The user has handed in the document.
    applied: bool,
    /// The user has asked for the end of the service.
    pub deleting: bool,
    pub dice: Dice,
}

impl Service {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "service");
        Self {
            disk: SimDisk::new(dice.draw()),
            process: None,
            life: 0,
            created: false,
            applied: false,
            deleting: false,
            dice,
        }
    }

    /// Starts the process.
    ///
    /// # Errors
    /// The ledger is not what it was.
    pub fn start(&mut self, now: Timestamp) -> Result<(), String> {
        self.disk.kill();
        let options = Options::default();
        let (journal, records) = match Journal::open(self.disk.clone(), OWNER, options) {
            Ok((journal, recovered)) => {
                let decode = |bytes: &Vec<u8>| Record::decode(bytes).map_err(|e| e.to_string());
                let records = recovered.records.iter().map(decode).collect::<Result<_, _>>()?;
                (journal, records)
            },
            Err(Error::Absent) if !self.created => {
                let journal = Journal::create(self.disk.clone(), OWNER, options);
                (journal.map_err(|e| e.to_string())?, Vec::new())
            },
            Err(error) => return Err(error.to_string()),
        };
        self.created = true;
        self.life += 1;
        let config = Config {
            name: "services".to_owned(),
            user: "nobody".to_owned(),
            principal: None,
            failover_timeout: Duration::from_secs(7_200),
            url: String::new(),
            hostname: "host".to_owned(),
            seed: self.dice.id(),
        };
        let core = Scheduler::recover(config, &records, now);
        let inbox = VecDeque::new();
        self.process = Some(Process { core, journal, conn: None, inbox, flying: None });
        Ok(())
    }

    /// What the user does now: hand in the document once, ask for the end when it is time.
    pub fn command(&mut self) -> Option<Command> {
        let process = self.process.as_ref()?;
        let known = process.core.state().services.contains_key("store");
        if self.deleting {
            let service = "store".to_owned();
            return known.then_some(Command::Delete { service, volumes: true });
        }
        if self.applied && known {
            return None;
        }
        self.applied = true;
        let services = parse(DOCUMENT, None).expect("the document is right");
        Some(Command::Apply { services, dry_run: false })
    }
}

impl Process {
    /// Is a commit on its way?
    #[must_use]
    pub fn in_commit(&self) -> bool {
        self.flying.is_some()
    }
    /// Takes in one input; true when a commit has to come first.
    pub fn take(&mut self, now: Timestamp, input: Input) -> (bool, Vec<Output>) {
        let step = self.core.step(now, input);
        if step.records.is_empty() {
            return (false, step.outputs);
        }
        self.flying = Some((step.records, step.outputs));
        (true, Vec::new())
    }
    /// The commit ends.
    ///
    /// # Errors
    /// The disk failed.
    pub fn commit(&mut self) -> Result<Vec<Output>, Error> {
        let Some((records, outputs)) = self.flying.take() else { return Ok(Vec::new()) };
        let payloads: Vec<Vec<u8>> = records.iter().map(Record::encode).collect();
        self.journal.append(&payloads)?;
        self.journal.commit()?;
        Ok(outputs)
    }
    /// Calls that were not sent belong to a connection that is over.
    pub fn forget_calls(&mut self) {
        if let Some((_, outputs)) = &mut self.flying {
            outputs.retain(|output| !matches!(output, Output::Call { .. }));
        }
    }
}
