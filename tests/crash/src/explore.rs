//! The search: an activity is recorded, the machine crashes after each of its calls in every way the file system
//! allows, an agent starts on what is left, does what its ledger calls for, and crashes again.
//!
//! It knows neither drivers nor file systems. Invariant: whatever was judged once in the same state with at least as
//! many crashes to come is not judged again; nothing else is left out.

use crate::activity::{Activity, Answers, Operation, Report, Run, World};
use crate::books::{Books, Record, SnapshotStage, Stage, Subject};
use crate::judge::judge;
use crate::scene::{CLUSTER, carry, start};
use crate::setup::Setup;
use crate::sim::fast::Fast;
use crate::sim::storage::Storage;
use crate::sim::tree::Tree;
use crate::sim::{SimFs, changing};
use berth_agent::volume::Volumes;
use berth_agent_core::effect::VolumeOutcome;
use berth_model::agent::DiskHealth;
use berth_model::volume::VolumeSpec;
use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher as _};

/// The search.
#[derive(Debug)]
pub struct Explorer<'a> {
    setup: &'a Setup,
    /// Sets of unsynced changes up to this size are lost in every combination.
    exhaustive_max: usize,
    /// Stop after so many violations.
    violations_max: usize,
    seen: BTreeMap<u64, u8>,
    /// What was found so far.
    pub report: Report,
}

impl<'a> Explorer<'a> {
    /// A search on this kind of file system.
    #[must_use]
    pub fn new(setup: &'a Setup, exhaustive_max: usize, violations_max: usize) -> Self {
        Self {
            setup,
            exhaustive_max,
            violations_max,
            seen: BTreeMap::new(),
            report: Report::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.report.violations.len() >= self.violations_max
    }

    /// The kind of file system.
    #[must_use]
    pub fn setup(&self) -> &'a Setup {
        self.setup
    }

    /// Something is wrong.
    pub fn complain(&mut self, way: &str, complaint: &str) {
        if !self.is_over() {
            self.report.violations.push(format!("{}: {way}: {complaint}", self.setup.name));
        }
    }

    /// Runs the activity with up to `depth` crashes in a row.
    pub fn explore(
        &mut self,
        world: World,
        running: Option<Volumes>,
        activity: Activity,
        depth: u8,
        way: &str,
    ) {
        if self.is_over() {
            return;
        }
        let World { files, books, answers } = world;
        let way = format!("{way} {activity:?}");
        let initial = files.storage();
        files.record();
        let run = self.run(&files, books, running, activity, answers);
        let events = files.events();
        self.report.runs += 1;
        self.report.recorded.extend(changing(&events));
        for complaint in &run.complaints {
            self.complain(&way, complaint);
        }
        let last = files.storage();
        let intents = last.seen().names("/agent/disk/.meta");
        if last.is_any_frozen() || intents.iter().any(|name| name.starts_with("frozen.")) {
            self.complain(&way, &format!("a file system is left frozen: {intents:?}"));
        }
        if depth > 0 {
            self.crash(&files, &initial, &run, run.at(0), depth, &format!("{way} [at once]"));
            let mut storage = &initial;
            for (call, event) in events.iter().enumerate() {
                // A result was written down, and the next effect did nothing yet.
                if run.during.iter().any(|(from, _books)| *from == call && call > 0) {
                    let way = format!("{way} [before {}]", event.site);
                    self.crash(&files, storage, &run, run.at(call), depth, &way);
                }
                let Some(after) = &event.after else { continue };
                storage = after;
                self.report.points += 1;
                self.report.crashed.insert(event.site);
                let way = format!("{way} [after {} {}]", event.site, event.arguments);
                self.crash(&files, storage, &run, run.at(call), depth, &way);
                if self.is_over() {
                    return;
                }
            }
        }
        self.crash(&files, &last, &run, &run.after, depth, &format!("{way} [answered]"));
    }

    /// One crash in this state, with this ledger, and the recovery.
    pub fn crash_at(
        &mut self,
        files: &SimFs,
        storage: &Storage,
        books: &Books,
        answers: &Answers,
        way: &str,
    ) {
        let run = Run {
            complaints: Vec::new(),
            during: Vec::new(),
            after: books.clone(),
            answers: answers.clone(),
        };
        self.crash(files, storage, &run, books, 1, way);
    }

    fn crash(
        &mut self,
        files: &SimFs,
        storage: &Storage,
        run: &Run,
        books: &Books,
        depth: u8,
        way: &str,
    ) {
        let judged = |this: &mut Self, tree: &Tree, way: &str| {
            this.report.states += 1;
            for complaint in judge(tree, books) {
                this.complain(way, &complaint);
            }
        };
        if !self.is_new(storage, books, depth, 0) {
            return;
        }
        for (number, tree) in storage.crashes(self.exhaustive_max).into_iter().enumerate() {
            let way = format!("{way} power cut {number}");
            judged(self, &tree, &way);
            if depth > 0 {
                self.recover(&files.crashed(tree), run, books, depth - 1, &way);
            }
        }
        judged(self, storage.seen(), way);
        if depth > 0 {
            self.recover(
                &files.with(storage.clone()),
                run,
                books,
                depth - 1,
                &format!("{way} kill"),
            );
        }
    }

    fn recover(&mut self, files: &SimFs, run: &Run, books: &Books, depth: u8, way: &str) {
        let purging = books.volumes.iter().any(|record| record.stage == Stage::Purging);
        let activities = [Some(Activity::Recover), purging.then_some(Activity::WantedBack)];
        for (kind, activity) in (1..).zip(activities) {
            let Some(activity) = activity else { continue };
            if self.is_new(&files.storage(), books, depth, kind) {
                self.report.recoveries += 1;
                let (books, answers) = (books.clone(), run.answers.clone());
                let world = World { files: files.fork(), books, answers };
                self.explore(world, None, activity, depth, way);
            }
        }
    }

    fn is_new(&mut self, storage: &Storage, books: &Books, depth: u8, kind: u8) -> bool {
        let mut hasher = Fast::default();
        (storage.fingerprint(), kind, books.disks.len(), books.cluster).hash(&mut hasher);
        for record in &books.volumes {
            let VolumeSpec { generation, size, .. } = record.spec;
            (record.stage, generation, size, record.data).hash(&mut hasher);
            (record.spec.access, record.loose).hash(&mut hasher);
        }
        for snapshot in &books.snapshots {
            (snapshot.stage, snapshot.data, snapshot.group).hash(&mut hasher);
        }
        for life in &books.replaced {
            (life.spec.generation, life.may_be_gone).hash(&mut hasher);
        }
        let key = hasher.finish();
        if self.seen.get(&key).is_some_and(|before| *before >= depth) {
            return false;
        }
        self.seen.insert(key, depth);
        true
    }

    fn run(
        &self,
        files: &SimFs,
        mut books: Books,
        running: Option<Volumes>,
        activity: Activity,
        answers: Answers,
    ) -> Run {
        let mut run =
            Run { complaints: Vec::new(), during: Vec::new(), after: books.clone(), answers };
        let whole = self.begin(files, &mut books, activity, &mut run);
        let volumes = match running {
            Some(volumes) => volumes,
            None => start(files, self.setup, &books, false),
        };
        if activity == Activity::Join {
            volumes.disks().join(CLUSTER);
            books.cluster = Some(CLUSTER);
        }
        disk(&volumes, &mut books, &mut run.complaints);
        for subject in books.subjects() {
            if matches!(activity, Activity::Run(..)) && !books.is_begun(subject) {
                continue;
            }
            let before = books.clone();
            let is_there = is_there(files, &before, subject);
            let Some(outcome) = carry(files, &volumes, &mut books, subject) else { continue };
            let is_over = before.is_begun(subject) && !books.is_begun(subject);
            if is_over && activity != Activity::WantedBack {
                run.during.push((files.recorded(), books.clone()));
            }
            let complaint = if is_there {
                self.compare(&before, subject, &outcome, activity, (&whole, &run.answers))
            } else {
                let is_failed = matches!(outcome, VolumeOutcome::Failed(_));
                (!is_failed).then(|| format!("I6: adopted what is not there: {outcome:?}"))
            };
            run.complaints.extend(complaint);
            let is_recovery =
                matches!(activity, Activity::First | Activity::Join | Activity::Recover);
            if before.is_begun(subject) && !is_recovery {
                run.answers.insert(subject, outcome);
            }
        }
        run.after = books;
        run
    }

    /// Writes the intent down. Answers with what is wanted back from a deletion and is whole.
    fn begin(
        &self,
        files: &SimFs,
        books: &mut Books,
        activity: Activity,
        run: &mut Run,
    ) -> Vec<Subject> {
        let mut whole = Vec::new();
        match activity {
            Activity::Run(index, operation) => books.begin(index, operation),
            Activity::WantedBack => {
                for index in 0..books.volumes.len() {
                    if books.volumes[index].stage == Stage::Purging {
                        books.begin(index, Operation::Restore);
                    }
                }
            },
            Activity::Join | Activity::First | Activity::Recover => {},
        }
        if !matches!(activity, Activity::Run(..)) {
            books.starts();
        }
        let mut during = books.clone();
        if activity == Activity::WantedBack {
            let storage = files.storage();
            for (index, record) in during.volumes.iter_mut().enumerate() {
                if record.stage != Stage::Restoring {
                    continue;
                }
                if is_restorable(storage.seen(), record) {
                    whole.push(Subject::Volume(index));
                } else {
                    // Under another name it has lost something, and it may only go on to vanish.
                    record.stage = Stage::Quarantined;
                }
            }
        }
        run.during.push((0, during));
        whole
    }

    /// What is wrong with this answer.
    fn compare(
        &self,
        before: &Books,
        subject: Subject,
        outcome: &VolumeOutcome,
        activity: Activity,
        (whole, answers): (&[Subject], &Answers),
    ) -> Option<String> {
        let is_present =
            matches!(outcome, VolumeOutcome::Present { .. } | VolumeOutcome::Taken { .. });
        if !before.is_begun(subject) {
            return (!is_present).then(|| format!("I6: {subject:?} is {outcome:?}"));
        }
        let goes = match subject {
            Subject::Volume(index) => {
                matches!(before.volumes[index].stage, Stage::Purging | Stage::PurgingOrphan(_))
            },
            Subject::Group(_) => false,
            Subject::Snapshot(number) => before.snapshots[number].stage == SnapshotStage::Deleting,
        };
        let is_wanted = match activity {
            Activity::WantedBack if matches!(subject, Subject::Volume(_)) => {
                if whole.contains(&subject) {
                    is_present
                } else {
                    *outcome == VolumeOutcome::Absent
                }
            },
            Activity::WantedBack | Activity::Run(..) if goes => *outcome == VolumeOutcome::Absent,
            Activity::WantedBack | Activity::Run(..) => {
                match refused(self.setup, before, subject) {
                    true => matches!(outcome, VolumeOutcome::Failed(_)),
                    false => is_present,
                }
            },
            Activity::First | Activity::Join | Activity::Recover => {
                let answer = answers.get(&subject);
                let differs = answer.filter(|answer| *answer != outcome);
                return differs
                    .map(|answer| format!("I7: {answer:?} undisturbed, {outcome:?} now"));
            },
        };
        (!is_wanted).then(|| format!("{activity:?} of {subject:?}: {outcome:?}"))
    }
}

/// Is what was begun impossible, so that it has to be refused?
fn refused(setup: &Setup, books: &Books, subject: Subject) -> bool {
    let Subject::Volume(index) = subject else { return false };
    let record = &books.volumes[index];
    let Stage::Resizing(size) = record.stage else { return false };
    !setup.can_have(record, size)
}

/// Does what is to be adopted lie where it has to? A power cut may have undone what was put there and not synced.
fn is_there(files: &SimFs, books: &Books, subject: Subject) -> bool {
    let Subject::Volume(index) = subject else { return true };
    let record = &books.volumes[index];
    let live = || format!("/agent/disk/volumes/{}", record.spec.id);
    record.stage != Stage::Adopting || files.storage().seen().at(&live()).is_some()
}

/// Does the volume lie in the trash under the name by which a restore finds it?
fn is_restorable(tree: &Tree, record: &Record) -> bool {
    let name = format!("{}.{}", record.spec.id, record.spec.generation - 1);
    tree.names("/agent/disk/.trash").contains(&name)
}

/// The disk must be fit for use, and the one that the ledger knows; then the ledger remembers it.
fn disk(volumes: &Volumes, books: &mut Books, complaints: &mut Vec<String>) {
    for disk in volumes.disks().report() {
        if disk.health != DiskHealth::Ok {
            complaints.push(format!("I6: disk {} is {:?}", disk.name, disk.health));
        }
    }
    let known = volumes.disks().ledger();
    for before in &books.disks {
        if !known.iter().any(|disk| disk.id == before.id) {
            complaints.push(format!("I2: disk {} is now {known:?}", before.id));
        }
    }
    books.disks = known;
}
