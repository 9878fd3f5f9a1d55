//! Archives that were made to do harm: their checksums are right, and each is refused by what it tries.

use super::archive::{self, About, Checksum, Counts, DATA, Head, Kind, MANIFEST};
use super::{Archive, Content as _, Incoming, Stop};
use crate::disk::fs::Node;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::units::Bytes;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// An entry and its content.
type Given<'a> = (Head, &'a [u8]);

/// Puts these entries into an archive whose checksums and counts are right.
fn archive_of(entries: &[(Head, &[u8])], after: &[u8]) -> Vec<u8> {
    let about = About {
        name: "rows".to_owned(),
        role: "tests".to_owned(),
        size: 1 << 20,
        snapshot: "-".to_owned(),
        entries: entries.len() as u64,
        bytes: 0,
    };
    let mut all = Vec::new();
    let put = |all: &mut Vec<u8>, head: &Head, content: &[u8]| {
        all.extend(head.encode());
        all.extend(content);
        all.extend(vec![0; head.padding()]);
    };
    let text = about.text();
    put(&mut all, &Head::own(archive::ABOUT, text.len() as u64), text.as_bytes());
    let mut lines = Vec::new();
    let mut counts = Counts::default();
    for (head, content) in entries {
        put(&mut all, head, content);
        counts.entries += 1;
        if head.kind == Kind::File {
            counts.files += 1;
            counts.bytes += content.len() as u64;
            let sum: Checksum = Sha256::digest(content).into();
            lines.extend(archive::line(&head.path, head.sparse.is_some(), &sum));
        }
    }
    let before: Checksum = Sha256::digest(&all).into();
    lines.extend(archive::tail(counts, &before));
    put(&mut all, &Head::own(MANIFEST, lines.len() as u64), &lines);
    all.extend(after);
    all
}

const END: [u8; 2 * archive::BLOCK] = [0; 2 * archive::BLOCK];

fn top() -> (Head, &'static [u8]) {
    (Head { kind: Kind::Directory, mode: 0o700, ..own(DATA, 0) }, b"")
}

/// As who runs the test.
fn own(path: &[u8], size: u64) -> Head {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Head { mode: 0o600, uid, gid, ..Head::own(path, size) }
}

fn of(kind: Kind, path: &[u8], target: &[u8]) -> (Head, &'static [u8]) {
    (Head { kind, target: target.to_vec(), ..own(path, 0) }, b"")
}

fn file(path: &[u8]) -> (Head, &'static [u8]) {
    (own(path, 4), b"rows")
}

/// Unpacks it beside something that must stay as it is.
fn unpacked(bytes: Vec<u8>) -> Result<(), Rejection> {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir(base.path().join("volume")).unwrap();
    fs::write(base.path().join("precious"), "precious").unwrap();
    let root = File::open(base.path().join("volume")).unwrap();
    let root = Node::from(OwnedFd::from(root));
    let size = Bytes::from_mib(1);
    let mut archive = Archive::new(Incoming::whole(bytes), size, Arc::default());
    let ended = archive.fill(&root).and_then(|()| archive.compare(&root));
    let mut names: Vec<_> =
        fs::read_dir(base.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["precious", "volume"], "something was made outside");
    assert_eq!(fs::read(base.path().join("precious")).unwrap(), b"precious");
    match ended {
        Ok(()) => Ok(()),
        Err(Stop::Content(reason)) => Err(reason),
        Err(other) => panic!("{other:?}"),
    }
}

fn of_entries(entries: &[(Head, &[u8])]) -> Result<(), Rejection> {
    unpacked(archive_of(&[&[top()], entries].concat(), &END))
}

#[test]
fn what_is_well_made_goes_in() {
    let shared = Head { is_shared: true, ..own(b"data/first", 4) };
    let entries = [
        (shared, b"rows".as_slice()),
        of(Kind::Directory, b"data/in/", b""),
        of(Kind::Link, b"data/in/out", b"../../precious"),
        of(Kind::Name, b"data/second", b"data/first"),
    ];
    assert_eq!(of_entries(&entries), Ok(()));
}

#[test]
fn names_that_lead_elsewhere_come_twice_or_out_of_order_are_refused() {
    let link = || of(Kind::Link, b"data/a", b"..");
    let directory = || of(Kind::Directory, b"data/a/", b"");
    let cases: Vec<(&str, Vec<Given<'_>>)> = vec![
        ("upwards", vec![file(b"data/../precious")]),
        ("upwards from a directory", vec![directory(), file(b"data/a/../../precious")]),
        ("itself", vec![file(b"data/.")]),
        ("absolute", vec![file(b"/precious")]),
        ("beside the volume", vec![file(b"precious")]),
        ("through a link", vec![link(), file(b"data/a/precious")]),
        ("without its directory", vec![file(b"data/a/b")]),
        ("twice", vec![file(b"data/a"), file(b"data/a")]),
        ("a directory in the place of a link", vec![link(), directory()]),
        ("a link in the place of a directory", vec![directory(), link()]),
        ("out of order", vec![file(b"data/b"), file(b"data/a")]),
        ("back into a directory", vec![directory(), file(b"data/b"), file(b"data/a/c")]),
        ("the root again", vec![of(Kind::Directory, DATA, b"")]),
        ("no name", vec![of(Kind::Directory, b"data//", b"")]),
        (
            "a name that ends early",
            vec![file(&[b"data/".as_slice(), &[b'n'; 120], b"\0x"].concat())],
        ),
        ("a name too long", vec![file(&[b"data/".as_slice(), &[b'n'; 256]].concat())]),
        ("a file named as a directory", vec![file(b"data/a/")]),
        ("another name of nothing", vec![of(Kind::Name, b"data/a", b"data/b")]),
        ("another name of what is outside", vec![of(Kind::Name, b"data/a", b"precious")]),
        ("another name of a link", vec![link(), of(Kind::Name, b"data/b", b"data/a")]),
        ("a link that leads nowhere", vec![of(Kind::Link, b"data/a", b"")]),
        ("a pipe that leads somewhere", vec![of(Kind::Pipe, b"data/a", b"b")]),
    ];
    for (what, entries) in cases {
        let refused = of_entries(&entries).expect_err(what);
        assert_eq!(refused.code, ErrorCode::InvalidArchive, "{what}: {refused}");
    }
}

#[test]
fn what_says_more_or_less_than_it_is_is_refused() {
    let attribute = (super::survey::IDENTITIES[1].to_owned(), b"{}".to_vec());
    let identity = Head { attributes: vec![attribute], ..own(b"data/a", 4) };
    let sparse = |length, map: &[u8]| {
        let mut content = map.to_vec();
        content.resize(512, 0);
        content.extend(b"rows");
        (Head { sparse: Some(length), ..own(b"data/a", 516) }, content)
    };
    let refused = |entries: &[(Head, &[u8])]| of_entries(entries).unwrap_err().code;
    assert_eq!(refused(&[(identity, b"rows")]), ErrorCode::InvalidArchive);
    let modes = Head { mode: 0o10_777, ..own(b"data/a", 4) };
    assert_eq!(refused(&[(modes, b"rows")]), ErrorCode::InvalidArchive);
    let (head, content) = sparse(1 << 20, b"2\n0\n4\n1048576\n0\n");
    assert_eq!(refused(&[(head, &content)]), ErrorCode::InvalidArchive, "half a block");
    for map in [
        b"1\n4096\n4\n".as_slice(),
        b"2\n8192\n4\n4096\n4\n",
        b"99999999\n",
        b"x\n",
        b"2\n18446744073709551615\n4\n1048576\n0\n",
    ] {
        let (head, content) = sparse(1 << 20, map);
        assert_eq!(refused(&[(head, &content)]), ErrorCode::InvalidArchive, "{map:?}");
    }
    // As large as a number can say, and larger than a file can be.
    for length in [u64::MAX, u64::MAX - 511, 1 << 63] {
        let map = format!("1\n0\n{length}\n");
        let (head, content) = sparse(length, map.as_bytes());
        assert_eq!(refused(&[(head, &content)]), ErrorCode::InvalidArchive, "{length}");
    }
    // As large as it says, and larger than the volume: nothing of it is read.
    let bomb = (own(b"data/a", 1 << 50), b"rows".as_slice());
    assert_eq!(refused(&[bomb]), ErrorCode::ImportRefused);
    let attributes = (0..20).map(|n| (format!("user.n{n:02}"), vec![7; 60_000])).collect();
    let marks = Head { attributes, ..own(b"data/a", 4) };
    assert_eq!(refused(&[(marks, b"rows")]), ErrorCode::ImportRefused, "attributes count");
}

#[test]
fn nothing_follows_the_manifest_and_none_is_missing() {
    let entries = [top(), file(b"data/a")];
    let late = [file(b"data/b").0.encode(), b"rows".to_vec(), vec![0; 508], END.to_vec()].concat();
    let code = |after: &[u8]| unpacked(archive_of(&entries, after)).unwrap_err().code;
    assert_eq!(unpacked(archive_of(&entries, &END)), Ok(()));
    for after in [&late[..], &END[..1_023], &[&END[..], &[0]].concat(), b""] {
        assert_eq!(code(after), ErrorCode::InvalidArchive);
    }
    assert_eq!(unpacked(END.to_vec()).unwrap_err().code, ErrorCode::InvalidArchive);
}
