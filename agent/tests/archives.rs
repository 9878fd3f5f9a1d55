//! Exports and what is made of them again: everything comes back, every flipped bit and every cut is noticed, and what was
//! made to do harm is refused.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use berth_agent::disk::fs::Node;
use berth_agent::volume::content::{
    Archive, Content as _, Counter, Exported, Incoming, Part, Stop, export,
};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::units::Bytes;
use proptest::prelude::*;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock};
use tempfile::TempDir;
use tokio::sync::mpsc;

fn node(path: &Path) -> Node {
    Node::from(OwnedFd::from(File::open(path).unwrap()))
}

fn what() -> Exported {
    let (name, role) = ("rows".to_owned(), "tests".to_owned());
    Exported { name, role, size: Bytes::from_mib(8), snapshot: Some("first".to_owned()) }
}

fn packed(source: &Path) -> Result<Vec<u8>, Stop> {
    let mut all = Vec::new();
    let mut sink = |part: Vec<u8>| {
        all.extend(part);
        Ok(())
    };
    let packed = export(&node(source), &what(), &Counter::default(), &mut sink)?;
    assert_eq!(packed.bytes, all.len() as u64);
    Ok(all)
}

/// Fills a new directory; the parts arrive as they like.
fn unpacked(bytes: &[u8], step: usize, size: Bytes) -> Result<TempDir, Stop> {
    let to = tempfile::tempdir().unwrap();
    let (sender, parts) = mpsc::channel(bytes.len() / step + 2);
    for part in bytes.chunks(step) {
        sender.try_send(Part::Data(part.to_vec())).unwrap();
    }
    sender.try_send(Part::End).unwrap();
    let mut archive = Archive::new(Incoming::new(parts), size, Arc::default());
    archive.fill(&node(to.path()))?;
    archive.compare(&node(to.path()))?;
    Ok(to)
}

#[track_caller]
fn refused(ended: Result<TempDir, Stop>) -> Rejection {
    let Err(Stop::Content(reason)) = ended else { panic!("it ended with {ended:?}") };
    reason
}

/// Everything of a tree that an export keeps, one line each, in order.
fn listed(top: &Path) -> Vec<String> {
    let mut all = Vec::new();
    list(top, Path::new(""), &mut all);
    all.sort();
    all
}

fn list(top: &Path, at: &Path, all: &mut Vec<String>) {
    let path = top.join(at);
    let found = fs::symlink_metadata(&path).unwrap();
    let (kind, length) = (found.file_type(), if found.is_dir() { 0 } else { found.len() });
    let target = fs::read_link(&path).ok();
    let names = if found.is_dir() { 0 } else { found.nlink() };
    let content = if found.is_file() { crc32c::crc32c(&fs::read(&path).unwrap()) } else { 0 };
    let mut marks = vec![0_u8; 4096];
    let size = rustix::fs::lgetxattr(&path, "user.note", marks.as_mut_slice()).unwrap_or_default();
    marks.truncate(size);
    all.push(format!(
        "{at:?} {kind:?} {:o} {}:{} {length} {}.{:09} {target:?} {names} {content} {marks:?}",
        found.mode(),
        found.uid(),
        found.gid(),
        found.mtime(),
        found.mtime_nsec(),
    ));
    if found.is_dir() {
        for entry in fs::read_dir(&path).unwrap() {
            list(top, &at.join(entry.unwrap().file_name()), all);
        }
    }
}

/// Something of every kind, with names that somebody might trip over.
fn source() -> TempDir {
    let base = tempfile::tempdir().unwrap();
    let at = |path: &[u8]| base.path().join(OsStr::from_bytes(path));
    fs::create_dir_all(at(b"deep/er")).unwrap();
    fs::create_dir(at(b"nothing in it")).unwrap();
    fs::write(at(b"rows"), "all the rows".repeat(1_000)).unwrap();
    fs::hard_link(at(b"rows"), at(b"zz rows")).unwrap();
    fs::hard_link(at(b"rows"), at(b"deep/er/rows")).unwrap();
    fs::write(at(b"empty"), "").unwrap();
    for name in [
        b"line\nend\\ and = % \"".as_slice(),
        b"\xff\xfe no text",
        "ein Wört".as_bytes(),
        b"-rf",
        b"...",
    ] {
        fs::write(at(name), name).unwrap();
    }
    let long = [b'n'; 200];
    fs::create_dir(at(&long)).unwrap();
    fs::write(at(&[&long[..], b"/", &long[..]].concat()), "far down").unwrap();
    symlink("rows", at(b"link")).unwrap();
    symlink(OsStr::from_bytes(&[b'/'; 300]), at(b"long link")).unwrap();
    symlink("../../etc/passwd", at(b"outside")).unwrap();
    let sparse = File::create(at(b"sparse")).unwrap();
    sparse.write_all_at(b"middle", 40 << 20).unwrap();
    sparse.set_len(80 << 20).unwrap();
    File::create(at(b"hole")).unwrap().set_len(3 << 20).unwrap();
    node(base.path()).make_pipe(OsStr::new("pipe")).unwrap();
    fs::set_permissions(at(b"empty"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(at(b"deep"), fs::Permissions::from_mode(0o2550)).unwrap();
    let flags = rustix::fs::XattrFlags::CREATE;
    // Without the privilege, or on a file system without attributes, the rest is compared all the same.
    rustix::fs::setxattr(at(b"rows"), "user.note", b"kept\0=\n", flags).ok();
    rustix::fs::setxattr(at(b"deep"), "user.note", b"of a directory", flags).ok();
    std::os::unix::fs::lchown(at(b"rows"), Some(12_345_678), Some(4_321)).ok();
    let file = File::options().write(true).open(at(b"empty")).unwrap();
    let before = std::time::SystemTime::UNIX_EPOCH - std::time::Duration::from_millis(1_500);
    file.set_modified(before).unwrap();
    base
}

#[test]
fn everything_comes_back_in_parts_of_any_size() {
    let source = source();
    let bytes = packed(source.path()).unwrap();
    for step in [1, 511, 100_000, bytes.len()] {
        let copy = unpacked(&bytes, step, Bytes::from_mib(8)).unwrap();
        assert_eq!(listed(copy.path()), listed(source.path()));
        let sparse = fs::metadata(copy.path().join("sparse")).unwrap();
        assert!(sparse.blocks() * 512 < 1 << 20, "a hole was filled: {sparse:?}");
    }
    // What was made of it exports to the same bytes.
    let copy = unpacked(&bytes, 4_096, Bytes::from_mib(8)).unwrap();
    assert!(packed(copy.path()).unwrap() == bytes);
}

#[test]
fn tar_and_sha256sum_read_an_export() {
    let source = source();
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("export.tar");
    fs::write(&file, packed(source.path()).unwrap()).unwrap();
    let (to, quiet) = (base.path().join("to"), ["--no-same-owner", "--warning=no-timestamp"]);
    fs::create_dir(&to).unwrap();
    let tar = |args: &[&str]| {
        let mut command = Command::new("tar");
        command.arg(args[0]).arg(&file).args(&args[1..]).current_dir(&to).output()
    };
    let Ok(told) = tar(&["tf"]) else {
        eprintln!("SKIPPED: there is no tar");
        return;
    };
    assert!(told.status.success() && told.stderr.is_empty(), "{told:?}");
    let names = String::from_utf8_lossy(&told.stdout).into_owned();
    for name in ["volume", "data/", "data/sparse", "data/deep/er/rows", "manifest"] {
        assert!(names.lines().any(|line| line == name), "{name} of {names}");
    }
    let taken = tar(&[&["xf"], quiet.as_slice()].concat()).unwrap();
    assert!(taken.status.success(), "{taken:?}");
    let (was, is) = (listed(source.path()), listed(&to.join("data")));
    // As another user tar gives owners and attributes up, which are not what is asked here.
    let plain = |lines: Vec<String>| {
        let words = |line: String| {
            line.split(' ').filter(|w| !w.contains(':')).collect::<Vec<_>>().join(" ")
        };
        let cut =
            |line: String| line.rsplit_once(" [").map_or(line.clone(), |(kept, _)| kept.to_owned());
        lines.into_iter().map(cut).map(words).collect::<Vec<_>>()
    };
    if rustix::process::geteuid().is_root() {
        assert_eq!(plain(is), plain(was));
    }
    let Ok(sums) =
        Command::new("sha256sum").args(["-c", "--strict", "manifest"]).current_dir(&to).output()
    else {
        eprintln!("SKIPPED: there is no sha256sum");
        return;
    };
    assert!(sums.status.success(), "{}", String::from_utf8_lossy(&sums.stderr));
    assert!(String::from_utf8_lossy(&sums.stdout).contains("data/deep/er/rows: OK"), "{sums:?}");
}

/// A small one, so that every place of it can be tried.
fn small() -> Vec<u8> {
    let base = tempfile::tempdir().unwrap();
    let at = |path: &str| base.path().join(path);
    fs::create_dir(at("in")).unwrap();
    fs::write(at("in/rows"), "all the rows").unwrap();
    fs::hard_link(at("in/rows"), at("same")).unwrap();
    symlink("in/rows", at("link")).unwrap();
    let sparse = File::create(at("sparse")).unwrap();
    sparse.write_all_at(b"end", 1 << 20).unwrap();
    packed(base.path()).unwrap()
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let bytes = small();
    let size = Bytes::from_mib(8);
    unpacked(&bytes, 512, size).unwrap();
    // One bit of every fifth byte: with more the test takes minutes.
    for at in (0..bytes.len()).step_by(5) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let reason = refused(unpacked(&damaged, bytes.len(), size));
        let expected = [ErrorCode::InvalidArchive, ErrorCode::ImportRefused];
        assert!(expected.contains(&reason.code), "byte {at}: {reason}");
        if at % 64 < 5 {
            let reason = refused(unpacked(&bytes[..at.max(1)], bytes.len(), size));
            assert_eq!(reason.code, ErrorCode::InvalidArchive, "cut at {at}: {reason}");
            assert!(reason.message.ends_with("it is cut off"), "{reason}");
        }
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    let reason = refused(unpacked(&longer, 77, size));
    assert!(reason.message.ends_with("something follows its end"), "{reason}");
}

static SMALL: LazyLock<Vec<u8>> = LazyLock::new(small);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn bytes_that_are_replaced_moved_or_repeated_are_noticed(
        at in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
        length in 1_usize..2_048,
        kind in 0..3,
    ) {
        let bytes = SMALL.as_slice();
        let (at, from) = (at.index(bytes.len()), from.index(bytes.len()));
        let part = bytes[from..(from + length).min(bytes.len())].to_vec();
        let mut damaged = bytes.to_vec();
        match kind {
            0 => { damaged.splice(at..at, part); },
            1 => { damaged.drain(at..(at + length).min(bytes.len())); },
            _ => {
                let end = (at + part.len()).min(bytes.len());
                damaged.splice(at..end, part);
            },
        }
        prop_assume!(damaged != bytes);
        let ended = unpacked(&damaged, 1_000, Bytes::from_mib(8));
        prop_assert!(matches!(ended, Err(Stop::Content(_))), "{ended:?}");
    }
}

#[test]
fn a_stream_that_breaks_is_no_end() {
    let bytes = small();
    let to = tempfile::tempdir().unwrap();
    let (sender, parts) = mpsc::channel(2);
    sender.try_send(Part::Data(bytes)).unwrap();
    drop(sender);
    let mut archive = Archive::new(Incoming::new(parts), Bytes::from_mib(8), Arc::default());
    let Err(Stop::Content(reason)) = archive.fill(&node(to.path())) else { panic!("it ended") };
    assert_eq!(reason.code, ErrorCode::TransferFailed);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_made() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("rows"), vec![7; 2 << 20]).unwrap();
    let bytes = packed(source.path()).unwrap();
    let reason = refused(unpacked(&bytes, 4_096, Bytes::from_mib(1)));
    assert_eq!(reason.code, ErrorCode::ImportRefused);
    assert!(reason.message.contains("does not fit into a volume of 1 MiB"), "{reason}");
}

#[test]
fn a_device_is_refused_by_name_before_anything_is_written() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("a"), "rows").unwrap();
    let directory = File::open(source.path()).unwrap();
    let mode = rustix::fs::Mode::RUSR;
    let made =
        rustix::fs::mknodat(&directory, "null", rustix::fs::FileType::CharacterDevice, mode, 259);
    if made.is_err() {
        eprintln!("SKIPPED: making a device needs root");
        return;
    }
    let mut sink = |_part| panic!("something was written");
    let ended = export(&node(source.path()), &what(), &Counter::default(), &mut sink);
    let Err(Stop::Content(reason)) = ended else { panic!("{ended:?}") };
    assert_eq!(reason.code, ErrorCode::ExportRefused);
    assert_eq!(reason.message, "rows of role tests:/null is a device");
}

#[test]
fn what_changes_while_it_is_exported_ends_the_export() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("a"), vec![7; 1 << 20]).unwrap();
    fs::write(source.path().join("b"), "as it was").unwrap();
    let late = source.path().join("b");
    let mut all = Vec::new();
    let mut sink = |part: Vec<u8>| {
        all.extend(part);
        fs::write(&late, "as it is now").unwrap();
        Ok(())
    };
    let ended = export(&node(source.path()), &what(), &Counter::default(), &mut sink);
    let Err(Stop::Content(reason)) = ended else { panic!("{ended:?}") };
    assert_eq!(reason.code, ErrorCode::SourceChanged);
    let reason = refused(unpacked(&all, 4_096, Bytes::from_mib(8)));
    assert_eq!(reason.code, ErrorCode::InvalidArchive);
}
