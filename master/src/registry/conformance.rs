//! One suite for every store.

use super::{
    Change, FailingStore, LOG_TAIL, MemoryStore, PART_MAX, Record, RocksStore, Store, StoreError,
};

fn put(key: &str, value: &str) -> Change {
    Change::Put { key: key.into(), value: value.into() }
}

fn delete(key: &str) -> Change {
    Change::Delete { key: key.into() }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    list.iter().map(|(k, v)| (Vec::from(*k), Vec::from(*v))).collect()
}

fn entry(n: usize) -> Change {
    put(&format!("audit/entry/{n:05}"), "e")
}

fn keys(records: &[Record]) -> Vec<&str> {
    records.iter().map(|(key, _)| std::str::from_utf8(key).unwrap()).collect()
}

/// The log is written with the other records, loaded from its end, and read in parts.
fn check_log<S: Store>(mut store: S, reopen: impl Fn(S) -> S) {
    assert_eq!(store.read_log(b"audit/entry/", 5).unwrap(), []);
    let many: Vec<Change> =
        (0..700).map(entry).chain([put("audit/head", "h"), put("z", "")]).collect();
    assert_eq!(store.commit(0, &many).unwrap(), 1);
    let gone = (0..10).map(|n| delete(&format!("audit/entry/{n:05}")));
    assert_eq!(store.commit(1, &gone.collect::<Vec<_>>()).unwrap(), 2);
    let mut store = reopen(store);
    let loaded = store.load().unwrap();
    assert_eq!((loaded.revision, loaded.records), (2, pairs(&[("audit/head", "h"), ("z", "")])));
    assert_eq!(loaded.log_fault, None);
    let tail = keys(&loaded.log);
    let ends = (tail.len(), tail.first().copied(), tail.last().copied());
    assert_eq!(ends, (LOG_TAIL, Some("audit/entry/00188"), Some("audit/entry/00699")));
    for (from, wanted) in [
        ("audit/entry/", &["audit/entry/00010", "audit/entry/00011"][..]),
        ("audit/entry/00698", &["audit/entry/00698", "audit/entry/00699"]),
        ("audit/entry/00699", &["audit/entry/00699"]),
        ("audit/entry/00700", &[]),
    ] {
        assert_eq!(keys(&store.read_log(from.as_bytes(), 2).unwrap()), wanted, "from {from}");
    }
    let third = "x".repeat(PART_MAX / 3);
    let long: Vec<Change> =
        (800..810).map(|n| put(&format!("audit/entry/{n:05}"), &third)).collect();
    assert_eq!(store.commit(2, &long).unwrap(), 3);
    let part = store.read_log(b"audit/entry/00800", 10).unwrap();
    assert_eq!(keys(&part).len(), 4, "no more once they are long enough");
}

/// `reopen` gives a new store on what the given one has made durable.
fn check<S: Store>(mut store: S, reopen: impl Fn(S) -> S) {
    assert_eq!(store.load().unwrap().revision, 0);
    assert_eq!(store.load().unwrap().records, pairs(&[]));
    assert_eq!(store.commit(0, &[put("b", "1"), put("a", "2"), delete("none")]).unwrap(), 1);
    assert_eq!(store.commit(1, &[put("b", "3"), put("c", "4")]).unwrap(), 2);
    let mut store = reopen(store);
    let loaded = store.load().unwrap();
    assert_eq!(
        (loaded.revision, loaded.records),
        (2, pairs(&[("a", "2"), ("b", "3"), ("c", "4")]))
    );
    assert_eq!(store.commit(2, &[delete("a"), put("d", "")]).unwrap(), 3);
    let stale = store.commit(2, &[put("z", "9")]).unwrap_err();
    assert!(matches!(stale, StoreError::Conflict { expected: 2, found: 3 }), "{stale}");
    let loaded = reopen(store).load().unwrap();
    assert_eq!((loaded.revision, loaded.records), (3, pairs(&[("b", "3"), ("c", "4"), ("d", "")])));
}

#[test]
fn the_memory_store_conforms() {
    check(MemoryStore::default(), |store| store.clone());
    check_log(MemoryStore::default(), |store| store.clone());
}

#[test]
fn the_failing_store_conforms_until_it_fails() {
    check(FailingStore::new(MemoryStore::default(), 4), |store| store);
    check_log(FailingStore::new(MemoryStore::default(), 4), |store| store);
    let mut store = FailingStore::new(MemoryStore::default(), 1);
    assert_eq!(store.commit(0, &[put("a", "1")]).unwrap(), 1);
    for _ in 0..2 {
        let error = store.commit(1, &[put("a", "2")]).unwrap_err();
        assert!(matches!(error, StoreError::Write { .. }), "{error}");
    }
    assert_eq!(store.load().unwrap().records, pairs(&[("a", "1")]));
}

#[test]
fn rocksdb_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let again = |store, folder: &tempfile::TempDir| {
        drop::<RocksStore>(store);
        RocksStore::open(folder.path()).unwrap()
    };
    check(RocksStore::open(folder.path()).unwrap(), |store| again(store, &folder));
    let folder = tempfile::tempdir().unwrap();
    check_log(RocksStore::open(folder.path()).unwrap(), |store| again(store, &folder));
}
