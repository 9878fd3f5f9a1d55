//! A volume, or a snapshot of one, as an archive.
//!
//! Everything is looked at three times, as for an import: before the first byte, when it is written, and when the manifest is.
//! An entry that is not the same each time ends the export without its manifest, so that what was written is no archive.
//! Left out are sockets, times of access, attributes of links and pipes, inode flags and properties of btrfs.

use super::archive::{About, Checksum, Counts, DATA, Head, Kind, MANIFEST, map};
use super::copy::NOT_COPIED;
use super::lines::{Lines, Packing};
use super::survey::{IDENTITIES, Key, Seen, ask_who, look_at_volume, print};
use super::walk::{Visit, Visitor, changed, source_failed, walk};
use super::{Counter, Stop, archive};
use crate::disk::fs::Node;
use crate::disk::fs::copying::{Attribute, Entry, EntryKind};
use crate::disk::fs::real_copying::extents;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::units::Bytes;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// How much is read and handed on at once.
const CHUNK: usize = 256 << 10;

/// Which volume it is that is exported.
#[derive(Clone, Debug)]
pub struct Exported {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: String,
    /// Its size.
    pub size: Bytes,
    /// The name of the snapshot; a volume that is exported itself may be open by nobody.
    pub snapshot: Option<String>,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The archive.
    pub bytes: u64,
    /// Entries of the volume in it.
    pub entries: u64,
    /// SHA-256 of the archive.
    pub checksum: [u8; 32],
}

/// Takes the parts of an archive.
pub type Sink<'a> = &'a mut dyn FnMut(Vec<u8>) -> Result<(), Stop>;

/// What is written, with its checksum.
pub(super) struct Out<'a> {
    part: Vec<u8>,
    sum: Sha256,
    bytes: u64,
    sink: Sink<'a>,
}

impl Out<'_> {
    pub(super) fn put(&mut self, mut bytes: &[u8]) -> Result<(), Stop> {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.part.len()));
            self.part.extend_from_slice(now);
            bytes = later;
            if self.part.len() == CHUNK {
                (self.sink)(std::mem::take(&mut self.part))?;
            }
        }
        Ok(())
    }

    fn checksum(&self) -> Checksum {
        self.sum.clone().finalize().into()
    }

    /// An entry that is no part of the volume.
    fn own(&mut self, path: &[u8], bytes: &[u8]) -> Result<(), Stop> {
        let head = Head::own(path, bytes.len() as u64);
        self.put(&head.encode())?;
        self.put(bytes)?;
        self.put(&vec![0; head.padding()])
    }
}

/// Writes what is below `source` as an archive.
///
/// # Errors
/// EXPORT_REFUSED: something in it cannot be exported, and nothing was written. SOURCE_CHANGED: it was changed meanwhile.
pub fn export(
    source: &Node,
    what: &Exported,
    counter: &Counter,
    sink: Sink<'_>,
) -> Result<Packed, Stop> {
    packed(source, what, counter, sink).map_err(|stop| in_words_of_exports(stop, what))
}

fn packed(
    source: &Node,
    what: &Exported,
    counter: &Counter,
    sink: Sink<'_>,
) -> Result<Packed, Stop> {
    let shown = PathBuf::from(format!("{} of role {}:", what.name, what.role));
    let mut seen = look_at_volume(source, &shown, counter)?;
    if what.snapshot.is_none() {
        ask_who(&mut seen);
    }
    if let Some(first) = seen.survey.refusals.first() {
        return Err(Stop::Content(first.clone()));
    }
    let Seen { survey, prints, .. } = seen;
    // The walk sees sockets, which are left out.
    let entries = prints.len() as u64 - survey.sockets;
    counter.expect(survey.bytes.get(), entries);
    let about = About {
        name: what.name.clone(),
        role: what.role.clone(),
        size: what.size.get(),
        snapshot: what.snapshot.clone().unwrap_or_else(|| "-".to_owned()),
        entries,
        bytes: survey.bytes.get(),
    };
    let mut out = Out { part: Vec::new(), sum: Sha256::new(), bytes: 0, sink };
    out.own(archive::ABOUT, about.text().as_bytes())?;
    let mut packer = Packer {
        shown: &shown,
        counter,
        prints: prints.iter(),
        out: &mut out,
        first: BTreeMap::new(),
        packing: Packing::default(),
        counts: Counts::default(),
    };
    walk(source, &mut packer)?;
    if packer.prints.next().is_some() {
        return Err(changed(&shown));
    }
    let Packer { packing, counts, .. } = packer;
    let tail = archive::tail(counts, &out.checksum());
    let head = Head::own(MANIFEST, packing.lines + tail.len() as u64);
    out.put(&head.encode())?;
    let mut lines = Lines::new(&shown, counter, &prints, &mut out, &packing);
    walk(source, &mut lines)?;
    lines.end()?;
    out.put(&tail)?;
    out.put(&vec![0; head.padding()])?;
    out.put(&[0; 2 * archive::BLOCK])?;
    let Out { part, sum, bytes, sink } = out;
    if !part.is_empty() {
        sink(part)?;
    }
    Ok(Packed { bytes, entries: counts.entries, checksum: sum.finalize().into() })
}

/// What speaks against an import speaks against an export in other words.
fn in_words_of_exports(stop: Stop, what: &Exported) -> Stop {
    let Stop::Content(reason) = stop else { return stop };
    let (code, remedy) = match reason.code {
        ErrorCode::ImportRefused => {
            (ErrorCode::ExportRefused, "see to it in the volume, then export again".to_owned())
        },
        ErrorCode::SourceChanged if what.snapshot.is_none() => {
            let remedy = "take a snapshot (berth snapshot create) and export that: berth volume export --snapshot";
            (ErrorCode::SourceChanged, remedy.to_owned())
        },
        code => (code, reason.remedy.replace("import again", "export again")),
    };
    Stop::Content(Rejection { code, remedy, ..reason })
}

struct Packer<'a, 'b> {
    shown: &'a Path,
    counter: &'a Counter,
    prints: std::slice::Iter<'a, u64>,
    out: &'a mut Out<'b>,
    /// Where a file of several names has its first.
    first: BTreeMap<Key, PathBuf>,
    packing: Packing,
    counts: Counts,
}

/// The path of an entry in the archive.
pub(super) fn inside(path: &Path, is_directory: bool) -> Vec<u8> {
    let mut bytes = [DATA, path.as_os_str().as_bytes()].concat();
    if is_directory && !path.as_os_str().is_empty() {
        bytes.push(b'/');
    }
    bytes
}

impl Packer<'_, '_> {
    fn is_same(&mut self, here: Visit<'_>) -> Result<(), Stop> {
        self.counter.check()?;
        if self.prints.next() == Some(&print(here)) {
            return Ok(());
        }
        Err(changed(&self.shown.join(here.path)))
    }

    fn attributes(&self, path: &Path, node: &Node) -> Result<Vec<Attribute>, Stop> {
        let all = node.attributes();
        let mut all = all.map_err(|errno| self.unread("reading the attributes of", path, errno))?;
        let is_top = path.as_os_str().is_empty();
        let is_identity = |name: &str| IDENTITIES.contains(&name);
        if !is_top && all.iter().any(|(name, _value)| is_identity(name)) {
            return Err(changed(&self.shown.join(path)));
        }
        all.retain(|(name, _value)| !is_identity(name) && !name.starts_with(NOT_COPIED));
        Ok(all)
    }

    fn head(&self, here: Visit<'_>, kind: Kind) -> Head {
        let entry = here.entry;
        Head {
            kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            modified: entry.modified,
            ..Head::own(&inside(here.path, kind == Kind::Directory), 0)
        }
    }

    fn put(&mut self, here: Visit<'_>, head: &Head) -> Result<(), Stop> {
        let bytes = head.encode();
        if bytes.len() > archive::RECORDS_MAX {
            let text = format!(
                "{} has attributes of {} bytes, more than an archive takes for one entry",
                self.shown.join(here.path).display(),
                bytes.len()
            );
            return Err(Stop::Content(Rejection::new(ErrorCode::ExportRefused, text)));
        }
        self.counts.entries += 1;
        self.counter.add_entry()?;
        self.out.put(&bytes)
    }

    fn file(&mut self, here: Visit<'_>, parent: &Node) -> Result<(), Stop> {
        let Visit { name, path, entry } = here;
        let key = (entry.device, entry.inode);
        if let Some(first) = self.first.get(&key).filter(|_| entry.names > 1) {
            let target = inside(first, false);
            let head = Head { target, ..self.head(here, Kind::Name) };
            return self.put(here, &head);
        }
        let from = parent.content(name);
        let from = from.map_err(|errno| self.unread("opening", path, errno))?;
        let attributes = self.attributes(path, &from)?;
        let parts = match from.descriptor() {
            Ok(file) => extents(file, entry.length),
            // A simulated file system has no holes.
            Err(Errno::OPNOTSUPP) => Ok(vec![(0, entry.length)]),
            Err(errno) => Err(errno),
        };
        let parts = parts.map_err(|errno| self.unread("reading", path, errno))?;
        let is_whole = parts == [(0, entry.length)] || entry.length == 0;
        let before = if is_whole { Vec::new() } else { map(&parts, entry.length) };
        let bytes: u64 = parts.iter().map(|(_at, length)| length).sum();
        let head = Head {
            size: before.len() as u64 + bytes,
            sparse: (!is_whole).then_some(entry.length),
            is_shared: entry.names > 1,
            attributes,
            ..self.head(here, Kind::File)
        };
        self.put(here, &head)?;
        let mut sum = Sha256::new_with_prefix(&before);
        self.out.put(&before)?;
        for (at, length) in parts {
            self.part(here, &from, (at, length), &mut sum)?;
        }
        self.out.put(&vec![0; head.padding()])?;
        let now = from.entry(None);
        if now.map_err(|errno| self.unread("looking at", path, errno))? != *entry {
            return Err(changed(&self.shown.join(path)));
        }
        if entry.names > 1 {
            self.first.insert(key, path.to_owned());
        }
        self.counts.files += 1;
        self.counts.bytes += bytes;
        self.packing.add(&head, sum.finalize().into());
        Ok(())
    }

    /// A part of a file that is no hole.
    fn part(
        &mut self,
        here: Visit<'_>,
        from: &Node,
        (mut at, length): (u64, u64),
        sum: &mut Sha256,
    ) -> Result<(), Stop> {
        let end = at + length;
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let bytes = from.read_at(at, wanted);
            let bytes = bytes.map_err(|errno| self.unread("reading", here.path, errno))?;
            if bytes.len() != wanted {
                return Err(changed(&self.shown.join(here.path)));
            }
            sum.update(&bytes);
            self.out.put(&bytes)?;
            at += wanted as u64;
            if !self.counter.add_bytes(wanted as u64) {
                return Err(Stop::Stopped);
            }
        }
        Ok(())
    }
}

impl Visitor for Packer<'_, '_> {
    fn enter(&mut self, here: Visit<'_>, directory: &Node) -> Result<(), Stop> {
        self.is_same(here)?;
        let attributes = self.attributes(here.path, directory)?;
        let head = Head { attributes, ..self.head(here, Kind::Directory) };
        self.put(here, &head)
    }

    fn leave(&mut self, _here: Visit<'_>, _directory: &Node) -> Result<(), Stop> {
        Ok(())
    }

    fn leaf(&mut self, here: Visit<'_>, parent: &Node) -> Result<(), Stop> {
        self.is_same(here)?;
        match here.entry.kind {
            EntryKind::File => self.file(here, parent),
            EntryKind::Link => {
                let target = parent.target(here.name);
                let target = target.map_err(|errno| self.unread("reading", here.path, errno))?;
                let target = target.as_bytes().to_vec();
                let head = Head { target, ..self.head(here, Kind::Link) };
                self.put(here, &head)
            },
            EntryKind::Pipe => {
                let head = self.head(here, Kind::Pipe);
                self.put(here, &head)
            },
            EntryKind::Socket => Ok(()),
            // Refused by the survey.
            EntryKind::Device | EntryKind::Directory => Err(changed(&self.shown.join(here.path))),
        }
    }

    fn mounted(&mut self, here: Visit<'_>) -> Result<(), Stop> {
        Err(changed(&self.shown.join(here.path)))
    }
    fn too_deep(&mut self, here: Visit<'_>) -> Result<(), Stop> {
        Err(changed(&self.shown.join(here.path)))
    }
    fn too_many(&self, path: &Path, _what: &str) -> Stop {
        changed(&self.shown.join(path))
    }
    fn unread(&self, doing: &str, path: &Path, errno: Errno) -> Stop {
        source_failed(self.shown, doing, path, errno)
    }
}

/// What the copy of an entry of an archive must be like.
pub(super) fn entry_of(head: &Head, length: u64) -> Entry {
    let kind = match head.kind {
        Kind::File | Kind::Name => EntryKind::File,
        Kind::Link => EntryKind::Link,
        Kind::Directory => EntryKind::Directory,
        Kind::Pipe => EntryKind::Pipe,
    };
    Entry {
        kind,
        mode: head.mode,
        uid: head.uid,
        gid: head.gid,
        length,
        allocated: length,
        names: 1,
        device: (0, 0),
        mount: 0,
        inode: 0,
        modified: head.modified,
        changed: head.modified,
    }
}

/// A name as the system has it.
pub(super) fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}
