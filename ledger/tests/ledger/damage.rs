//! Rot, cut-off ends, lost and foreign files: refused by name, without a change to the disk, or exactly what can be told.
//!
//! Every single byte of every file is changed in several ways. No wrong or silently shortened content may come back.

use std::collections::BTreeMap;

use berth_ledger::disk::Disk;
use berth_ledger::disk::sim::{Rng, SimDisk};
use berth_ledger::journal::{
    Content, Damage, Error, File, Journal, Options, Recovered, Report, Verdict, inspect,
};

use crate::world::OWNER;

const LOG: &str = "log-00000000000000000005";
const SNAPSHOT: &str = "snapshot-00000000000000000004";

type Files = BTreeMap<String, Vec<u8>>;

/// Three records and a snapshot of them, then three batches of 1, 4 and 1 sectors.
fn ledger() -> SimDisk {
    let disk = SimDisk::new(1);
    let mut journal = Journal::create(disk.clone(), OWNER, Options::default()).unwrap();
    journal.append(&[b"1", b"2", b"3"]).unwrap();
    assert_eq!(journal.snapshot(b"state of three"), Ok(4));
    for batch in batches() {
        journal.append(&batch).unwrap();
        journal.commit().unwrap();
    }
    disk
}

fn batches() -> [Vec<Vec<u8>>; 3] {
    [vec![b"five".to_vec()], vec![vec![0; 1_600], b"seven".to_vec()], vec![b"eight".to_vec()]]
}

fn files(disk: &SimDisk) -> Files {
    let names = disk.list().unwrap();
    names.into_iter().map(|name| (name.clone(), disk.read(&name).unwrap())).collect()
}

fn disk_with(files: &Files) -> SimDisk {
    let mut disk = SimDisk::new(1);
    for (name, bytes) in files {
        disk.create_new(name).unwrap();
        disk.append(name, bytes).unwrap();
        disk.sync(name).unwrap();
    }
    disk.sync_dir().unwrap();
    disk
}

fn open(disk: &SimDisk) -> Result<Recovered, Error> {
    Journal::open(disk.clone(), OWNER, Options::default()).map(|(_, recovered)| recovered)
}

fn damage(outcome: &Result<Recovered, Error>) -> Option<(&str, u64, &Damage)> {
    match outcome {
        Err(Error::Corrupt(corruption)) => {
            Some((&corruption.file, corruption.offset, &corruption.what))
        },
        Ok(_)
        | Err(
            Error::Absent
            | Error::Occupied { .. }
            | Error::Poisoned
            | Error::TooLarge { .. }
            | Error::Disk(_),
        ) => None,
    }
}

/// What open answers when only so many of the three batches are there.
fn recovered(batch_count: usize, torn_bytes: u64) -> Recovered {
    let records = batches()[..batch_count].concat();
    let seq = 4 + records.len() as u64;
    Recovered { snapshot: Some(b"state of three".to_vec()), records, seq, torn_bytes }
}

#[test]
fn any_changed_byte_of_committed_data_is_refused_and_nothing_is_touched() {
    let whole = files(&ledger());
    assert_eq!(whole.keys().collect::<Vec<_>>(), [LOG, SNAPSHOT]);
    assert_eq!(whole[LOG].len(), 512 * 7);
    assert_eq!(open(&disk_with(&whole)), Ok(recovered(3, 0)));
    for (name, bytes) in &whole {
        for (offset, byte) in bytes.iter().enumerate() {
            for mask in [0x01, 0x10, 0x80, 0xFF, *byte] {
                if mask == 0 {
                    continue;
                }
                let mut rotten = whole.clone();
                rotten.get_mut(name).unwrap()[offset] ^= mask;
                let disk = disk_with(&rotten);
                let found = open(&disk);
                let place = damage(&found).map(|(file, ..)| file);
                assert_eq!(place, Some(name.as_str()), "byte {offset} mask {mask:#x}: {found:?}");
                assert_eq!(files(&disk), rotten, "byte {offset}: a refusal changed the disk");
            }
        }
    }
}

#[test]
fn a_changed_byte_before_a_torn_tail_is_refused_and_never_cut_with_it() {
    let mut whole = files(&ledger());
    let log = whole.get_mut(LOG).unwrap();
    // A torn fourth batch: its first sector was not written, its second was cut short.
    log.resize(log.len() + 512 + 100, 0);
    log[512 * 8..].fill(7);
    assert_eq!(open(&disk_with(&whole)), Ok(recovered(3, 612)));
    for offset in 0..512 * 7 {
        let disk = disk_with(&whole);
        disk.flip(LOG, offset, 0x20);
        let found = open(&disk);
        assert_eq!(damage(&found).map(|(file, ..)| file), Some(LOG), "byte {offset}: {found:?}");
    }
}

#[test]
fn a_shorter_segment_gives_a_prefix_of_batches_and_the_number_tells() {
    let whole = files(&ledger());
    let ends = [512_usize, 1_024, 512 * 6, 512 * 7];
    for len in 0..=512 * 7 {
        let mut cut = whole.clone();
        cut.get_mut(LOG).unwrap().truncate(len);
        let found = open(&disk_with(&cut));
        let Some(batch_count) = ends.iter().rposition(|end| *end <= len) else {
            assert_eq!(damage(&found), Some((LOG, 0, &Damage::Header)), "length {len}");
            continue;
        };
        let torn = (len - ends[batch_count]) as u64;
        assert_eq!(found, Ok(recovered(batch_count, torn)), "length {len}");
    }
    for len in 0..whole[SNAPSHOT].len() {
        let mut cut = whole.clone();
        cut.get_mut(SNAPSHOT).unwrap().truncate(len);
        let what = if len < 52 { Damage::Header } else { Damage::Snapshot };
        let found = open(&disk_with(&cut));
        let offset = if len < 52 { 0 } else { 52 };
        assert_eq!(damage(&found), Some((SNAPSHOT, offset, &what)), "length {len}");
    }
}

#[test]
fn unwritten_sectors_are_a_torn_tail_only_in_the_last_batch() {
    let whole = files(&ledger());
    let emptied = |sectors: std::ops::Range<usize>| {
        let mut files = whole.clone();
        files.get_mut(LOG).unwrap()[512 * sectors.start..512 * sectors.end].fill(0);
        open(&disk_with(&files))
    };
    for (sectors, hole) in [(1..2, 512), (2..3, 1_024), (3..4, 1_536), (5..6, 2_560), (2..6, 1_024)]
    {
        let found = emptied(sectors.clone());
        assert_eq!(damage(&found), Some((LOG, hole, &Damage::Hole)), "sectors {sectors:?}");
    }
    assert_eq!(emptied(6..7), Ok(recovered(2, 512)));
    assert_eq!(emptied(2..7), Ok(recovered(1, 512 * 5)));
    // The last batch is lost as a whole when one of its sectors is, whichever it is.
    let mut last = whole.clone();
    last.get_mut(LOG).unwrap().truncate(512 * 6);
    for sector in 2..6 {
        let mut files = last.clone();
        files.get_mut(LOG).unwrap()[512 * sector..512 * (sector + 1)].fill(0);
        assert_eq!(open(&disk_with(&files)), Ok(recovered(1, 512 * 4)), "sector {sector}");
    }
    // A hole followed by a batch that was only begun is still a hole: one batch is synced before the next.
    let mut begun = whole.clone();
    let log = begun.get_mut(LOG).unwrap();
    log[512 * 4..512 * 5].fill(0);
    log[512 * 6..].fill(0);
    let found = open(&disk_with(&begun));
    assert_eq!(damage(&found), Some((LOG, 512 * 4, &Damage::Hole)));
}

#[test]
fn intact_sectors_in_the_wrong_place_are_refused() {
    let whole = files(&ledger());
    let mut swapped = whole.clone();
    let log = swapped.get_mut(LOG).unwrap();
    let (left, right) = log.split_at_mut(512 * 4);
    left[512 * 3..].swap_with_slice(&mut right[..512]);
    let found = open(&disk_with(&swapped));
    assert_eq!(damage(&found), Some((LOG, 512 * 3, &Damage::Sector)));

    // The same records under another owner: each sector is salted with its segment's header.
    let disk = SimDisk::new(1);
    let other = *b"another-owner-id";
    let mut journal = Journal::create(disk.clone(), other, Options::default()).unwrap();
    journal.append(&[b"mine"]).unwrap();
    journal.commit().unwrap();
    let name = "log-00000000000000000001";
    let mut grafted = files(&disk);
    let sector = whole[LOG][512..1_024].to_vec();
    grafted.get_mut(name).unwrap()[512..].copy_from_slice(&sector);
    let found = Journal::open(disk_with(&grafted), other, Options::default()).map(|(_, r)| r);
    assert_eq!(damage(&found), Some((name, 512, &Damage::Sector)));
}

#[test]
fn lost_renamed_and_foreign_files_are_told_apart() {
    let whole = files(&ledger());
    let with = |change: &dyn Fn(&mut Files)| {
        let mut files = whole.clone();
        change(&mut files);
        open(&disk_with(&files))
    };
    let found = with(&|files| drop(files.remove(LOG)));
    assert_eq!(damage(&found), Some((LOG, 0, &Damage::Missing)));
    let found = with(&|files| drop(files.remove(SNAPSHOT)));
    assert_eq!(damage(&found), Some((SNAPSHOT, 0, &Damage::Missing)));
    assert_eq!(with(&Files::clear), Err(Error::Absent));

    // Only the temporary file of a snapshot is left: that is a loss, not a first start.
    let found = with(&|files| {
        files.clear();
        files.insert("snapshot.tmp".to_owned(), Vec::new());
    });
    assert_eq!(damage(&found), Some(("log-00000000000000000001", 0, &Damage::Missing)));
    // Only that of a create: nothing was promised yet.
    let found = with(&|files| {
        files.clear();
        files.insert("create.tmp".to_owned(), b"half a hea".to_vec());
    });
    assert_eq!(found, Err(Error::Absent));

    let renamed = "log-00000000000000000006";
    let found = with(&|files| {
        let log = files.remove(LOG).unwrap();
        files.insert(renamed.to_owned(), log);
        let snapshot = files.remove(SNAPSHOT).unwrap();
        files.insert("snapshot-00000000000000000005".to_owned(), snapshot);
    });
    assert_eq!(damage(&found), Some(("snapshot-00000000000000000005", 32, &Damage::Name)));
    let found = with(&|files| drop(files.insert("log-7".to_owned(), Vec::new())));
    assert_eq!(damage(&found), Some(("log-7", 0, &Damage::Stranger)));
    assert_eq!(
        with(&|files| drop(files.insert("notes".to_owned(), Vec::new()))),
        Ok(recovered(3, 0))
    );
}

#[test]
fn an_older_generation_is_no_substitute_for_a_damaged_one() {
    // The old pair is still there because the power went before its removal was durable.
    let mut both = files(&ledger());
    let disk = SimDisk::new(1);
    let mut journal = Journal::create(disk.clone(), OWNER, Options::default()).unwrap();
    journal.append(&[b"1", b"2", b"3"]).unwrap();
    journal.commit().unwrap();
    both.extend(files(&disk));
    let mut rotten = both.clone();
    rotten.get_mut(SNAPSHOT).unwrap()[60] ^= 1;
    let found = open(&disk_with(&rotten));
    assert_eq!(damage(&found), Some((SNAPSHOT, 52, &Damage::Snapshot)));

    let disk = disk_with(&both);
    assert_eq!(open(&disk), Ok(recovered(3, 0)));
    assert_eq!(disk.list().unwrap(), [LOG, SNAPSHOT]);

    // The segment that follows the snapshot is missing, and the older one does not reach up to it.
    let older = "log-00000000000000000001";
    let mut short = both.clone();
    short.remove(LOG);
    short.get_mut(older).unwrap().truncate(512);
    let found = open(&disk_with(&short));
    assert_eq!(damage(&found), Some((LOG, 0, &Damage::Missing)));
}

#[test]
fn a_ledger_of_another_owner_or_version_is_refused_with_its_own_remedy() {
    let disk = ledger();
    let mine = *b"0123456789abcdef";
    let text =
        Journal::open(disk.clone(), mine, Options::default()).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        text,
        "ledger is damaged: log-00000000000000000005 at byte 16: it belongs to \
         6f776e65-722d-6f66-2d6a-6f75726e616c, not to 30313233-3435-3637-3839-616263646566: \
         put the folder of this identity back in place, or use another folder"
    );
    let mut newer = files(&disk);
    let log = newer.get_mut(LOG).unwrap();
    log[8] = 2;
    let crc = crc32c::crc32c(&log[..40]).to_le_bytes();
    log[40..44].copy_from_slice(&crc);
    assert_eq!(
        open(&disk_with(&newer)).unwrap_err().to_string(),
        "ledger is damaged: log-00000000000000000005 at byte 0: its format is version 2, \
         this release knows version 1: run the release that wrote it, or a later one"
    );
    let file = "log-00000000000000000005".to_owned();
    let created = Journal::create(disk, OWNER, Options::default()).map(|_| ());
    assert_eq!(created, Err(Error::Occupied { file }));
}

#[test]
fn random_rot_of_many_bytes_never_brings_back_other_content() {
    let whole = files(&ledger());
    let mut rng = Rng::new(7);
    for round in 0..3_000 {
        let mut rotten = whole.clone();
        for _ in 0..=rng.up_to(3) {
            let bytes = rotten.get_mut(if rng.chance(150) { SNAPSHOT } else { LOG }).unwrap();
            let start = rng.up_to(bytes.len() - 1);
            let end = (start + 1 + rng.up_to(700)).min(bytes.len());
            let fill = if rng.flip() { 0 } else { 0xEE };
            bytes[start..end].fill(fill);
        }
        let found = open(&disk_with(&rotten));
        let is_whole = rotten == whole;
        // Whole sectors of the last batch turned to zeros are the one thing that looks like a torn tail.
        let is_lost_tail = rotten[LOG][..512 * 6] == whole[LOG][..512 * 6]
            && rotten[LOG][512 * 6..].iter().all(|byte| *byte == 0)
            && rotten[SNAPSHOT] == whole[SNAPSHOT];
        let is_lost_more = rotten[LOG][512 * 6..].iter().all(|byte| *byte == 0)
            && found.as_ref().is_ok_and(|found| found.seq < 8 && found.torn_bytes > 0);
        let is_right = match &found {
            Ok(got) if is_whole => *got == recovered(3, 0),
            Ok(got) if is_lost_tail => *got == recovered(2, 512),
            Ok(got) => is_lost_more && batches().concat().starts_with(&got.records),
            Err(_) => damage(&found).is_some() && !is_whole,
        };
        assert!(is_right, "round {round}: {found:?}");
    }
}

#[test]
fn inspect_reports_sound_torn_and_damaged_files_without_touching_them() {
    let disk = ledger();
    let mut torn = files(&disk);
    torn.get_mut(LOG).unwrap().extend_from_slice(b"half a sector");
    torn.insert("log.tmp".to_owned(), b"x".to_vec());
    torn.insert("notes".to_owned(), b"y".to_vec());
    let disk = disk_with(&torn);
    let segment =
        Content::Segment { owner: OWNER, first: 5, records: 4, batches: 3, torn_bytes: 13 };
    let snapshot = Content::Snapshot { owner: OWNER, seq: 4, state_bytes: 14 };
    let file = |name: &str, bytes, content| File { name: name.to_owned(), bytes, content };
    let sound = [
        file(LOG, 3_597, segment.clone()),
        file("log.tmp", 1, Content::Temporary),
        file("notes", 0, Content::Foreign),
        file(SNAPSHOT, 74, snapshot),
    ];
    let verdict = Ok(Verdict { owner: OWNER, seq: 8, torn_bytes: 13 });
    assert_eq!(inspect(&disk), Ok(Report { files: sound.to_vec(), verdict }));
    assert_eq!(files(&disk), torn);

    disk.flip(SNAPSHOT, 55, 1);
    let error = open(&disk).unwrap_err();
    let mut damaged = sound.to_vec();
    damaged[3].content = Content::Damaged(error.clone());
    assert_eq!(inspect(&disk), Ok(Report { files: damaged, verdict: Err(error) }));
}
