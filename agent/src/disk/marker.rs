//! Marker files: small texts of `key=value` lines with a checksum, which say what a directory is.
//!
//! A marker is replaced as a whole: temporary file, fsync, rename, fsync of the directory. A reader gets the old
//! text, the new one, or an error; never a mixture. This module does not know what the keys mean.

use super::fs::Node;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The version this release writes. Readers accept every version up to it.
const VERSION: u32 = 1;
/// Longer files are not ours.
const LENGTH_MAX: u64 = 64 << 10;

/// Keys and values of one marker.
pub type Fields = BTreeMap<String, String>;

/// Why a text is not a marker of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkerError {
    /// Another file, or the first line is damaged.
    #[error("it does not start with {kind:?}")]
    Kind { kind: &'static str },
    /// Written by a newer release.
    #[error("it has version {version}; this release reads up to {VERSION}")]
    Version { version: u32 },
    /// Cut off or flipped.
    #[error("its checksum does not fit its text")]
    Checksum,
    /// A line without `=`.
    #[error("line {line:?} is not key=value")]
    Line { line: String },
    /// A key is absent.
    #[error("it has no {key}")]
    Missing { key: &'static str },
    /// A value that cannot be read.
    #[error("its {key} {value:?} cannot be read")]
    Value { key: &'static str, value: String },
}

/// Why a marker could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is there and is not a whole marker.
    #[error(transparent)]
    Damaged(#[from] MarkerError),
    /// It could not be read.
    #[error("it cannot be read ({0})")]
    Io(Errno),
}

/// The text of a marker.
#[must_use]
pub fn encode(kind: &str, fields: &[(&str, String)]) -> String {
    let mut text = format!("{kind} {VERSION}\n");
    for (key, value) in fields {
        assert!(!value.contains('\n'), "marker value of {key} holds a line break");
        text.push_str(key);
        text.push('=');
        text.push_str(value);
        text.push('\n');
    }
    let sum = crc32c::crc32c(text.as_bytes());
    writeln!(text, "crc32c={sum:08x}").expect("writing to a string cannot fail");
    text
}

/// Reads a marker's text. Unknown keys are kept: a later release may have added them.
///
/// # Errors
/// The text is not a whole marker of this kind.
pub fn decode(kind: &'static str, text: &[u8]) -> Result<Fields, MarkerError> {
    let text = std::str::from_utf8(text).map_err(|_bytes| MarkerError::Checksum)?;
    let (body, sum) = text
        .strip_suffix('\n')
        .and_then(|text| text.rsplit_once("crc32c="))
        .ok_or(MarkerError::Checksum)?;
    if u32::from_str_radix(sum, 16) != Ok(crc32c::crc32c(body.as_bytes())) {
        return Err(MarkerError::Checksum);
    }
    let (first, lines) = body.split_once('\n').ok_or(MarkerError::Kind { kind })?;
    let version = first
        .strip_prefix(kind)
        .and_then(|rest| rest.trim_start().parse::<u32>().ok())
        .ok_or(MarkerError::Kind { kind })?;
    if version > VERSION {
        return Err(MarkerError::Version { version });
    }
    lines
        .lines()
        .map(|line| {
            let (key, value) =
                line.split_once('=').ok_or_else(|| MarkerError::Line { line: line.to_owned() })?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}

/// A value of the marker, converted.
///
/// # Errors
/// The key is absent or its value cannot be read.
pub fn value<T: std::str::FromStr>(fields: &Fields, key: &'static str) -> Result<T, MarkerError> {
    let text = fields.get(key).ok_or(MarkerError::Missing { key })?;
    text.parse().map_err(|_reason| MarkerError::Value { key, value: text.clone() })
}

/// Reads the marker `name` in `directory`; absent is no error.
///
/// # Errors
/// It is there but damaged, or it cannot be read.
pub fn read(directory: &Node, name: &str, kind: &'static str) -> Result<Option<Fields>, ReadError> {
    match directory.read(name, LENGTH_MAX) {
        Ok(text) => Ok(Some(decode(kind, &text)?)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(ReadError::Io(errno)),
    }
}

/// Writes or replaces the marker `name` in `directory`, synced.
///
/// # Errors
/// The marker may be the old or the new one; it is not damaged.
pub fn write(directory: &Node, name: &str, text: &str) -> Result<(), Errno> {
    place(directory, name, text)?;
    directory.sync()
}

/// As [`write()`], but its name is not synced: the caller has to sync `directory`.
///
/// # Errors
/// As [`write()`].
pub fn place(directory: &Node, name: &str, text: &str) -> Result<(), Errno> {
    let begun = begin(directory, name, text)?;
    begun.sync()?;
    begun.name()
}

/// A marker that is written and has no name yet; without [`Begun::name`] it is taken back.
#[derive(Debug)]
pub struct Begun<'a> {
    directory: &'a Node,
    file: Node,
    name: &'a str,
    is_named: bool,
}

/// Writes what is to become the marker `name` in `directory`: not synced, and not there under that name.
///
/// # Errors
/// Nothing is left of it.
pub fn begin<'a>(directory: &'a Node, name: &'a str, text: &str) -> Result<Begun<'a>, Errno> {
    let temporary = temporary(name);
    match directory.unlink(&temporary) {
        Ok(()) | Err(Errno::NOENT) => {},
        Err(errno) => return Err(errno),
    }
    let file = directory.create(&temporary)?;
    let begun = Begun { directory, file, name, is_named: false };
    begun.file.write(text.as_bytes())?;
    Ok(begun)
}

fn temporary(name: &str) -> String {
    format!(".{name}.tmp")
}

impl Begun<'_> {
    /// Its content is durable afterwards.
    ///
    /// # Errors
    /// It may or may not be.
    #[track_caller]
    pub fn sync(&self) -> Result<(), Errno> {
        self.file.sync()
    }

    /// Gives it its name, which replaces a marker of that name; the caller has to sync the directory. Only after
    /// [`Begun::sync`].
    ///
    /// # Errors
    /// The old marker, if there is one, is the one that counts.
    pub fn name(mut self) -> Result<(), Errno> {
        self.directory.replace(temporary(self.name), self.directory, self.name)?;
        self.is_named = true;
        Ok(())
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.is_named {
            // Best effort: a temporary file that stays is removed by the next write.
            self.directory.unlink(temporary(self.name)).ok();
        }
    }
}

/// Removes the marker `name`, synced. Absent is done.
///
/// # Errors
/// It may or may not be there.
pub fn remove(directory: &Node, name: &str) -> Result<(), Errno> {
    match directory.unlink(name) {
        // Also when it is absent: whoever removed it may have died before that was synced.
        Ok(()) | Err(Errno::NOENT) => directory.sync(),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    #[test]
    fn a_marker_reads_back_and_every_single_bit_flip_and_cut_is_noticed() {
        let fields = [("volume", "00ff".to_owned()), ("name", "a=b c".to_owned())];
        let text = encode("berth-test", &fields);
        let want: Fields =
            fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        assert_eq!(decode("berth-test", text.as_bytes()), Ok(want.clone()));
        for cut in 0..text.len() {
            assert_eq!(decode("berth-test", &text.as_bytes()[..cut]), Err(MarkerError::Checksum));
        }
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let read = decode("berth-test", &bytes);
            // The checksum's own hexadecimal digits may change case.
            assert!(read.is_err() || read == Ok(want.clone()), "bit {bit}: {read:?}");
        }
        assert_eq!(
            decode("berth-other", text.as_bytes()),
            Err(MarkerError::Kind { kind: "berth-other" })
        );
        let newer = "berth-test 2\n";
        let newer = format!("{newer}crc32c={:08x}\n", crc32c::crc32c(newer.as_bytes()));
        assert_eq!(
            decode("berth-test", newer.as_bytes()),
            Err(MarkerError::Version { version: 2 })
        );
    }

    #[test]
    fn a_marker_is_replaced_as_a_whole_and_links_are_not_read() {
        let base = tempfile::tempdir().unwrap();
        let fd = &Node::from(OwnedFd::from(std::fs::File::open(base.path()).unwrap()));
        assert_eq!(read(fd, "m", "berth-test"), Ok(None));
        std::fs::write(base.path().join(".m.tmp"), "left over from a crash").unwrap();
        for number in ["1", "2"] {
            write(fd, "m", &encode("berth-test", &[("n", number.to_owned())])).unwrap();
            let fields = read(fd, "m", "berth-test").unwrap().unwrap();
            assert_eq!(value::<String>(&fields, "n"), Ok(number.to_owned()));
        }
        std::os::unix::fs::symlink("m", base.path().join("link")).unwrap();
        assert_eq!(read(fd, "link", "berth-test"), Err(ReadError::Io(Errno::LOOP)));
        remove(fd, "m").unwrap();
        remove(fd, "m").unwrap();
        assert_eq!(read(fd, "m", "berth-test"), Ok(None));
        assert!(!base.path().join(".m.tmp").exists());
    }
}
