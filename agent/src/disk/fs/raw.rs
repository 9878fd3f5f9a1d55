//! The part of the narrow trait that is about raw devices: their bytes, and what the kernel says of them.
//!
//! It does not know what is written on one.

use super::real::{Open, number_of};
use super::{Node, Site};
use crate::disk::block::facts::{self, Facts};
use rustix::io::Errno;
use std::os::fd::AsFd as _;
use std::panic::Location;

/// The calls on an open device. [`Node`] says what each does.
#[expect(missing_docs, reason = "documented once, at the methods of Node that call them")]
#[expect(clippy::missing_errors_doc, reason = "documented once, at the methods of Node")]
pub trait Bytes {
    fn facts(&self, site: Site) -> Result<Facts, Errno>;
    fn read_at(&self, site: Site, at: u64, length: usize) -> Result<Vec<u8>, Errno>;
    fn write_at(&self, site: Site, at: u64, bytes: &[u8]) -> Result<(), Errno>;
}

#[expect(clippy::missing_errors_doc, reason = "each fails as the system call it stands for")]
impl Node {
    /// What the kernel says of a block device.
    #[track_caller]
    pub fn facts(&self) -> Result<Facts, Errno> {
        self.0.facts(Location::caller())
    }

    /// So many bytes of a device; fewer only at its end.
    #[track_caller]
    pub fn read_at(&self, at: u64, length: usize) -> Result<Vec<u8>, Errno> {
        self.0.read_at(Location::caller(), at, length)
    }

    /// Overwrites bytes of a device; after an error any part of them is written.
    #[track_caller]
    pub fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.0.write_at(Location::caller(), at, bytes)
    }
}

impl Bytes for Open {
    fn facts(&self, _site: Site) -> Result<Facts, Errno> {
        let number = number_of(&rustix::fs::fstat(&self.0)?)?;
        facts::of(self.0.as_fd(), number)
    }

    fn read_at(&self, _site: Site, at: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; length];
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(&self.0, rest, at + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(Errno::INTR) => {},
                Err(errno) => return Err(errno),
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }

    fn write_at(&self, _site: Site, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        let written = std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, at);
        written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}
