//! One suite over both disks: the calls of the trait, and a journal's life on them.
//!
//! What the simulator teaches is only worth something if the real folder answers the same.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use berth_ledger::disk::real::RealDisk;
use berth_ledger::disk::sim::SimDisk;
use berth_ledger::disk::{Call, Disk, Error as DiskError, Kind};
use berth_ledger::journal::{Error, Journal, Options, Recovered};

use crate::world::OWNER;

fn error(call: Call, name: &str, kind: Kind) -> Result<(), DiskError> {
    Err(DiskError::new(call, name, kind))
}

fn check_calls(disk: &mut dyn Disk) {
    assert_eq!(disk.list(), Ok(vec![]));
    assert_eq!(disk.create_new("b"), Ok(()));
    assert_eq!(disk.create_new("b"), error(Call::Create, "b", Kind::Exists));
    assert_eq!(disk.create_new("a/b"), error(Call::Create, "a/b", Kind::Invalid));
    assert_eq!(disk.create_new(""), error(Call::Create, "", Kind::Invalid));
    assert_eq!(disk.append("b", b"hello"), Ok(()));
    assert_eq!(disk.append("b", b" world"), Ok(()));
    assert_eq!(disk.overwrite("b", 6, b"W"), Ok(()));
    assert_eq!(disk.overwrite("b", 10, b"xy"), error(Call::Overwrite, "b", Kind::Invalid));
    assert_eq!(disk.overwrite("b", u64::MAX, b"x"), error(Call::Overwrite, "b", Kind::Invalid));
    assert_eq!(disk.sync("b"), Ok(()));
    assert_eq!(disk.read("b"), Ok(b"hello World".to_vec()));
    assert_eq!(disk.truncate("b", 12), error(Call::Truncate, "b", Kind::Invalid));
    assert_eq!(disk.truncate("b", 5), Ok(()));
    assert_eq!(disk.append("b", b"!"), Ok(()));
    assert_eq!(disk.read("b"), Ok(b"hello!".to_vec()));

    assert_eq!(disk.create_new("a"), Ok(()));
    assert_eq!(disk.append("a", b"new"), Ok(()));
    assert_eq!(disk.append("b", b"?"), Ok(()));
    assert_eq!(disk.list(), Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(disk.replace("a", "b"), Ok(()));
    assert_eq!(disk.append("b", b"er"), Ok(()));
    assert_eq!(disk.read("b"), Ok(b"newer".to_vec()));
    assert_eq!(disk.sync_dir(), Ok(()));
    assert_eq!(disk.replace("b", "c"), Ok(()));
    assert_eq!(disk.list(), Ok(vec!["c".to_owned()]));
    assert_eq!(disk.remove("c"), Ok(()));
    assert_eq!(disk.create_new("c"), Ok(()));
    assert_eq!(disk.read("c"), Ok(vec![]));
    assert_eq!(disk.remove("c"), Ok(()));
    assert_eq!(disk.list(), Ok(vec![]));

    let gone = |call| error(call, "c", Kind::NotFound);
    assert_eq!(disk.read("c").map(|_| ()), gone(Call::Read));
    assert_eq!(disk.append("c", b"x"), gone(Call::Append));
    assert_eq!(disk.overwrite("c", 0, b""), gone(Call::Overwrite));
    assert_eq!(disk.truncate("c", 0), gone(Call::Truncate));
    assert_eq!(disk.sync("c"), gone(Call::Sync));
    assert_eq!(disk.replace("c", "d"), gone(Call::Replace));
    assert_eq!(disk.remove("c"), gone(Call::Remove));
    assert_eq!(disk.sync_dir(), Ok(()));
}

/// `disk` answers a fresh handle on the same folder, after the one before was dropped.
fn check_journal<D: Disk>(disk: impl Fn() -> D) {
    let options = Options { record_bytes_max: 3_000, segment_bytes_max: 4_096 };
    let absent = Journal::open(disk(), OWNER, options).map(|_| ());
    assert_eq!(absent, Err(Error::Absent));
    let mut journal = Journal::create(disk(), OWNER, options).unwrap();
    assert_eq!(journal.append::<&[u8]>(&[]), Ok(0));
    assert_eq!(journal.commit(), Ok(0));
    assert_eq!(journal.append(&[b"one".to_vec(), vec![], vec![2; 3_000]]), Ok(3));
    assert_eq!(
        journal.append(&[vec![0; 10], vec![0; 3_001]]),
        Err(Error::TooLarge { bytes: 3_001, limit: 3_000 })
    );
    assert_eq!((journal.seq(), journal.wants_snapshot()), (0, false));
    assert_eq!(journal.commit(), Ok(3));
    assert_eq!((journal.seq(), journal.wants_snapshot()), (3, true));
    assert_eq!(journal.append(&[b"never committed"]), Ok(4));
    drop(journal);

    let (mut journal, recovered) = Journal::open(disk(), OWNER, options).unwrap();
    let records = vec![b"one".to_vec(), vec![], vec![2; 3_000]];
    assert_eq!(recovered, Recovered { snapshot: None, records, seq: 3, torn_bytes: 0 });
    assert_eq!(journal.append(&[b"four"]), Ok(4));
    assert_eq!(journal.snapshot(b"first state"), Ok(5));
    assert_eq!(journal.snapshot(b"second state"), Ok(6));
    assert_eq!((journal.seq(), journal.wants_snapshot()), (6, false));
    assert_eq!(journal.append(&[b"seven"]), Ok(7));
    assert_eq!(journal.commit(), Ok(7));
    drop(journal);

    let (mut journal, recovered) = Journal::open(disk(), OWNER, options).unwrap();
    let snapshot = Some(b"second state".to_vec());
    let records = vec![b"seven".to_vec()];
    assert_eq!(recovered, Recovered { snapshot, records, seq: 7, torn_bytes: 0 });
    assert_eq!(
        journal.disk().list(),
        Ok(vec!["log-00000000000000000007".to_owned(), "snapshot-00000000000000000006".to_owned()])
    );
    assert_eq!(journal.append(&[b"eight"]), Ok(8));
    assert_eq!(journal.commit(), Ok(8));
}

fn real(folder: &Path) -> RealDisk {
    RealDisk::open(folder).expect("the folder is ours")
}

#[test]
fn both_disks_answer_every_call_alike() {
    check_calls(&mut SimDisk::new(3));
    let folder = tempfile::tempdir().unwrap();
    check_calls(&mut real(folder.path()));
}

#[test]
fn a_journal_lives_alike_on_both_disks() {
    let disk = SimDisk::new(3);
    check_journal(|| disk.clone());
    let folder = tempfile::tempdir().unwrap();
    check_journal(|| real(&folder.path().join("made/by/open")));
}

#[test]
fn only_the_owner_may_read_a_real_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(real(folder.path()), OWNER, Options::default()).unwrap();
    journal.append(&["a password"]).unwrap();
    journal.snapshot(b"a password").unwrap();
    let mut modes: Vec<(String, u32)> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            (entry.file_name().into_string().unwrap(), mode)
        })
        .collect();
    modes.sort_unstable();
    let names = ["lock", "log-00000000000000000003", "snapshot-00000000000000000002"];
    assert_eq!(modes, names.map(|name| (name.to_owned(), 0o600)));
}

#[test]
fn a_commit_is_one_sync_of_the_real_folder_and_a_torn_tail_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(real(folder.path()), OWNER, Options::default()).unwrap();
    let syncs = journal.disk().syncs();
    for seq in 1..=20 {
        journal.append(&[format!("record {seq}")]).unwrap();
        assert_eq!(journal.commit(), Ok(seq));
        assert_eq!(journal.disk().syncs(), syncs + seq);
    }
    drop(journal);
    let path = folder.path().join("log-00000000000000000001");
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 21 * 512);
    std::fs::write(&path, &bytes[..20 * 512 + 40]).unwrap();
    let (_, recovered) = Journal::open(real(folder.path()), OWNER, Options::default()).unwrap();
    assert_eq!((recovered.seq, recovered.torn_bytes), (19, 40));
    assert_eq!(std::fs::read(&path).unwrap(), bytes[..20 * 512]);
}

#[test]
fn a_folder_serves_one_owner_at_a_time_and_any_number_of_readers() {
    let folder = tempfile::tempdir().unwrap();
    let shown = folder.path().display().to_string();
    let first = real(folder.path());
    let text = RealDisk::open(folder.path()).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        text,
        format!(
            "open {shown}: another process uses this folder: \
             stop that process or give this one a folder of its own"
        )
    );
    let mut view = RealDisk::open_read_only(folder.path()).unwrap();
    assert_eq!(view.list(), Ok(vec![]));
    assert_eq!(view.create_new("x"), error(Call::Create, "x", Kind::ReadOnly));
    drop(first);
    assert_eq!(RealDisk::open(folder.path()).map(|disk| disk.list()), Ok(Ok(vec![])));
    let absent = folder.path().join("absent");
    assert_eq!(
        RealDisk::open_read_only(&absent).map(|_| ()),
        error(Call::Open, &absent.display().to_string(), Kind::NotFound)
    );
}

#[test]
fn handles_of_a_dead_process_write_nothing() {
    let mut disk = SimDisk::new(1);
    let mut old = disk.clone();
    disk.kill();
    assert_eq!(old.create_new("x"), error(Call::Create, "x", Kind::Io(None)));
    assert_eq!(disk.list(), Ok(vec![]));
}
