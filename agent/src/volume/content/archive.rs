//! The entries of an archive as bytes: what an export writes and an import reads, a tar archive as POSIX describes it (pax).
//!
//! Every entry is written in one way only, and what is read is written again and compared: an archive that can be
//! understood in two ways is refused. It does not know what lies in a volume. docs/archive.md is the format for people.

use super::heads;
use berth_model::error::{ErrorCode, Rejection};

/// Everything in a tar archive is a multiple of it.
pub(super) const BLOCK: usize = 512;
/// The first entry.
pub(super) const ABOUT: &[u8] = b"volume";
/// Below it lies what is in the volume.
pub(super) const DATA: &[u8] = b"data/";
/// The last entry.
pub(super) const MANIFEST: &[u8] = b"manifest";
/// What the first two say.
pub(super) const VERSION: &str = "berth volume export 1";
/// The most that the names, attributes and times of one entry may take.
pub(super) const RECORDS_MAX: usize = 4 << 20;
/// The most that the first entry may take.
pub(super) const ABOUT_MAX: u64 = 64 << 10;

/// SHA-256.
pub(super) type Checksum = [u8; 32];

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    /// Another name of a file that came before.
    Name,
    Link,
    Directory,
    Pipe,
}

impl Kind {
    pub(super) const fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::Name => b'1',
            Self::Link => b'2',
            Self::Directory => b'5',
            Self::Pipe => b'6',
        }
    }

    fn of(flag: u8) -> Result<Self, Rejection> {
        match flag {
            b'0' => Ok(Self::File),
            b'1' => Ok(Self::Name),
            b'2' => Ok(Self::Link),
            b'5' => Ok(Self::Directory),
            b'6' => Ok(Self::Pipe),
            b'3' | b'4' => Err(invalid("it holds a device, which no volume does")),
            other => Err(invalid(format!("it holds an entry of kind {:?}", char::from(other)))),
        }
    }
}

/// Everything of an entry but its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// With a slash at its end when it is a directory.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified: (i64, u32),
    /// How many bytes follow.
    pub(super) size: u64,
    /// Where a link leads, or the first name of a file.
    pub(super) target: Vec<u8>,
    /// The length of a file with holes; what follows begins with the list of its parts then.
    pub(super) sparse: Option<u64>,
    /// A file that has other names.
    pub(super) is_shared: bool,
    pub(super) attributes: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// A file that is no part of the volume.
    pub(super) fn own(path: &[u8], size: u64) -> Self {
        Self {
            path: path.to_vec(),
            kind: Kind::File,
            mode: 0o444,
            uid: 0,
            gid: 0,
            modified: (0, 0),
            size,
            target: Vec::new(),
            sparse: None,
            is_shared: false,
            attributes: Vec::new(),
        }
    }

    /// The blocks before its content.
    pub(super) fn encode(&self) -> Vec<u8> {
        heads::encode(self)
    }

    /// What fills its last block.
    pub(super) fn padding(&self) -> usize {
        padding(self.size)
    }
}

pub(super) fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).expect("it is less than a block");
    if over == 0 { 0 } else { BLOCK - over }
}

/// What is read is not what an export writes.
pub(super) fn invalid(what: impl std::fmt::Display) -> Rejection {
    Rejection::new(ErrorCode::InvalidArchive, format!("this is no whole export of a volume: {what}"))
        .remedy("fetch it again from where it lies, or make the export again; what is damaged is not repaired")
}

/// Gives exactly so many bytes of an archive.
pub(super) type Take<'a> = &'a mut dyn FnMut(usize) -> Result<Vec<u8>, super::Stop>;

/// Reads the next entry; nothing at the end.
pub(super) fn read(take: Take<'_>) -> Result<Option<Head>, super::Stop> {
    let refuse = super::Stop::Content;
    let mut all = take(BLOCK)?;
    if all.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let mut records = Vec::new();
    if all[156] == b'x' {
        let length = heads::number(&all[124..136]).map_err(refuse)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > RECORDS_MAX {
            let text = format!("the names and attributes of an entry take {length} bytes");
            return Err(refuse(invalid(text)));
        }
        let padded = take(length + padding(length as u64))?;
        records = heads::records(&padded[..length]).map_err(refuse)?;
        all.extend(padded);
        all.extend(take(BLOCK)?);
    }
    let head = decode(&all[all.len() - BLOCK..], records).map_err(refuse)?;
    if head.encode() == all {
        return Ok(Some(head));
    }
    let text = format!("{} is not written as an export writes it", shown(&head.path));
    Err(refuse(invalid(text)))
}

fn decode(main: &[u8], records: Vec<heads::Record>) -> Result<Head, Rejection> {
    let field = |at: usize, length: usize| {
        let field = &main[at..at + length];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
        field[..end].to_vec()
    };
    let narrow =
        |number: u64| u32::try_from(number).map_err(|_wrong| invalid("a number is too large"));
    let mut head = Head {
        kind: Kind::of(main[156])?,
        mode: narrow(heads::number(&main[100..108])?)?,
        uid: narrow(heads::number(&main[108..116])?)?,
        gid: narrow(heads::number(&main[116..124])?)?,
        size: heads::number(&main[124..136])?,
        modified: (i64::try_from(heads::number(&main[136..148])?).unwrap_or_default(), 0),
        target: field(157, 100),
        ..Head::own(&field(0, 100), 0)
    };
    for (key, value) in records {
        heads::apply(&mut head, &key, value)?;
    }
    Ok(head)
}

/// The parts of a file with holes, as they stand before its content: one number a line, how many, then offset and length
/// of each, and an empty part at the end when a hole is there; filled up to a whole block.
pub(super) fn map(parts: &[(u64, u64)], length: u64) -> Vec<u8> {
    let end = parts.last().map_or(0, |(at, length)| at + length);
    let last = (end < length).then_some((length, 0));
    let all: Vec<(u64, u64)> = parts.iter().copied().chain(last).collect();
    let mut text = format!("{}\n", all.len());
    for (at, length) in all {
        text.push_str(&format!("{at}\n{length}\n"));
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len() + padding(bytes.len() as u64), 0);
    bytes
}

/// For people.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).escape_debug().to_string()
}

/// A line of the manifest: what `sha256sum` writes. Of a file with holes the checksum is of what the archive has of it, so
/// that its line is a remark to `sha256sum`.
pub(super) fn line(path: &[u8], is_sparse: bool, checksum: &Checksum) -> Vec<u8> {
    let mut line = Vec::with_capacity(path.len() + 72);
    let is_plain = !path.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r'));
    if is_sparse {
        line.extend(b"# parts ");
    }
    if !is_plain {
        line.push(b'\\');
    }
    line.extend(hex(checksum).into_bytes());
    line.extend(b"  ");
    for byte in path {
        match byte {
            b'\\' => line.extend(b"\\\\"),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            other => line.push(*other),
        }
    }
    line.push(b'\n');
    line
}

/// The last lines of the manifest.
pub(super) fn tail(counts: Counts, before: &Checksum) -> Vec<u8> {
    let Counts { entries, files, bytes } = counts;
    format!(
        "# entries {entries} files {files} bytes {bytes}\n# sha256 of all that is before this entry: {}\n",
        hex(before)
    )
    .into_bytes()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an archive holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Below `data/`, itself included.
    pub(super) entries: u64,
    /// With a content of their own.
    pub(super) files: u64,
    /// Contents, holes left out.
    pub(super) bytes: u64,
}

/// What the first entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct About {
    pub(super) name: String,
    pub(super) role: String,
    /// Of the volume.
    pub(super) size: u64,
    /// The snapshot that was exported.
    pub(super) snapshot: String,
    pub(super) entries: u64,
    /// What a copy takes.
    pub(super) bytes: u64,
}

impl About {
    pub(super) fn text(&self) -> String {
        let Self { name, role, size, snapshot, entries, bytes } = self;
        format!(
            "{VERSION}\nname {name}\nrole {role}\nsize {size}\nsnapshot {snapshot}\nentries {entries}\nbytes {bytes}\n"
        )
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, Rejection> {
        let text =
            std::str::from_utf8(text).map_err(|_no_text| invalid("its first entry is no text"))?;
        let mut lines = text.lines();
        if let Some(first) = lines.next().filter(|first| *first != VERSION) {
            let text = format!("it is {first:?}, this program reads {VERSION:?}");
            return Err(invalid(text));
        }
        let mut value = |key: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(key)?.strip_prefix(' '));
            line.map(str::to_owned).ok_or_else(|| invalid(format!("its first entry says no {key}")))
        };
        let count =
            |text: String| text.parse().map_err(|_wrong| invalid(format!("{text:?} is no number")));
        let about = Self {
            name: value("name")?,
            role: value("role")?,
            size: count(value("size")?)?,
            snapshot: value("snapshot")?,
            entries: count(value("entries")?)?,
            bytes: count(value("bytes")?)?,
        };
        if about.text() == text {
            return Ok(about);
        }
        Err(invalid("its first entry says more than it should"))
    }
}
