//! The ledger and the disk crash together: intent synced, effect, result synced, answer. Whatever is lost of both, the
//! ledger that is left explains what lies on the disk, and an agent that starts on both completes what was begun.

use berth_crash_tests::activity::{Answers, Operation};
use berth_crash_tests::books::{Books, Data, Stage, Subject};
use berth_crash_tests::explore::Explorer;
use berth_crash_tests::scene::{start, write_data};
use berth_crash_tests::sequences::adopted;
use berth_crash_tests::setup::SETUPS;
use berth_crash_tests::sim::SimFs;
use berth_ledger::disk::sim::{Rng, SimDisk};
use berth_ledger::journal::{Journal, Options};

const OWNER: [u8; 16] = [7; 16];
/// Ways in which the ledger's disk loses what was not synced.
const LUCK: u64 = 6;

/// What the ledger on this disk says.
fn read(disk: &SimDisk, adopted: &Books) -> Books {
    let (_journal, found) =
        Journal::open(disk.clone(), OWNER, Options::default()).expect("the ledger opens");
    let mut books = adopted.clone();
    for entry in found.records {
        match entry.as_slice() {
            b"begin create" => books.begin(0, Operation::Create),
            b"begin destroy" => books.begin(0, Operation::Destroy),
            b"begin restore" => books.begin(0, Operation::Restore),
            b"begin purge" => books.begin(0, Operation::Purge),
            b"ready" => books.volumes[0].stage = Stage::Ready,
            b"trashed" => books.volumes[0].stage = Stage::Trashed,
            b"gone" => books.volumes[0].stage = Stage::Nothing,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
    books
}

/// Writes a record, synced; false when the power went before.
fn write(disk: &SimDisk, text: &str, calls: Option<u64>) -> bool {
    let (mut journal, _found) =
        Journal::open(disk.clone(), OWNER, Options::default()).expect("the ledger opens");
    if let Some(calls) = calls {
        disk.stop_after(calls);
    }
    journal.append(&[text]).and_then(|_seq| journal.commit()).is_ok() && !disk.is_stopped()
}

struct Crash<'a> {
    explorer: Explorer<'a>,
    adopted: Books,
    data: Data,
    crashes: u64,
}

impl Crash<'_> {
    /// The power goes, for the ledger in several ways, for the volumes' disk in every way.
    fn crash(&mut self, ledger: &SimDisk, files: &SimFs, way: &str) -> Vec<Stage> {
        let mut seen = Vec::new();
        for seed in 0..LUCK {
            let mut ledger = ledger.fork();
            ledger.crash(&mut Rng::new(seed));
            let mut books = read(&ledger, &self.adopted);
            books.volumes[0].data = self.data;
            seen.push(books.volumes[0].stage);
            self.crashes += 1;
            self.explorer.crash_at(files, &files.storage(), &books, &Answers::new(), way);
        }
        seen
    }

    /// The power goes during each call of the ledger's write.
    fn during_write(&mut self, ledger: &SimDisk, files: &SimFs, text: &str) {
        for calls in 0.. {
            let torn = ledger.fork();
            let whole = write(&torn, text, Some(calls));
            self.crash(&torn, files, &format!("{text} after {calls} calls of the ledger"));
            if whole {
                return;
            }
        }
    }
}

#[test]
fn ledger_and_disk_crash_together() {
    use Operation::{Create, Destroy, Purge, Restore};
    let (mut crashes, mut states) = (0, 0);
    for setup in &SETUPS {
        let (files, adopted) = adopted(setup);
        for last in [Restore, Purge] {
            let files = files.fork();
            let explorer = Explorer::new(setup, 3, 3);
            let data = adopted.volumes[0].data;
            let mut run = Crash { explorer, adopted: adopted.clone(), data, crashes: 0 };
            let ledger = SimDisk::new(1);
            Journal::create(ledger.clone(), OWNER, Options::default()).expect("a new ledger");
            let mut books = adopted.clone();
            let volumes = start(&files, setup, &books, false);
            files.rest();
            for operation in [Create, Destroy, last] {
                let intent = format!("begin {}", format!("{operation:?}").to_lowercase());
                run.during_write(&ledger, &files, &intent);
                assert!(write(&ledger, &intent, None));
                books.begin(0, operation);
                let subject = Subject::Volume(0);
                files.record();
                let outcome = volumes.run(&books.called_for(subject).expect("it was begun"));
                books.conclude(subject, &outcome);
                for event in files.events() {
                    if let Some(storage) = event.after {
                        let way = format!("{operation:?} after {}", event.site);
                        run.crash(&ledger, &files.with(storage), &way);
                    }
                }
                let record = &mut books.volumes[0];
                let result = match record.stage {
                    Stage::Ready => "ready",
                    Stage::Trashed => "trashed",
                    Stage::Nothing => "gone",
                    other => panic!("{other:?}: {outcome:?}"),
                };
                run.during_write(&ledger, &files, result);
                assert!(write(&ledger, result, None));
                // Now it may be answered: whatever happens, the ledger says so.
                let stages = run.crash(&ledger, &files, result);
                assert!(stages.iter().all(|stage| *stage == record.stage), "{stages:?}");
                if operation == Create {
                    write_data(&files, record);
                    run.data = record.data;
                }
            }
            assert_eq!(run.explorer.report.violations, [""; 0]);
            crashes += run.crashes;
            states += run.explorer.report.states;
        }
    }
    eprintln!("crashes of ledger and disk together {crashes}, states {states}, violations 0");
    assert!(crashes > 1_000, "only {crashes}");
}
