//! One simulated file: what processes see, and what the platter holds.
//!
//! It knows sectors, not records. Invariant: bytes reach `durable` only through a sync or by the luck of a crash.

use std::collections::BTreeSet;
use std::ops::Range;

use super::rng::Rng;

pub(super) const SECTOR: usize = 512;

#[derive(Debug, Clone, Default)]
pub(super) struct SimFile {
    pub(super) current: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Sectors of `current` that the next sync writes. After a failed sync a sector may be in neither state: clean
    /// here, and yet different from `durable`.
    dirty: BTreeSet<usize>,
}

impl SimFile {
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let start = self.current.len();
        self.current.extend_from_slice(bytes);
        self.soil(start..self.current.len());
    }

    pub(super) fn overwrite(&mut self, offset: usize, bytes: &[u8]) {
        let range = offset..offset + bytes.len();
        self.current[range.clone()].copy_from_slice(bytes);
        self.soil(range);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.soil(len..self.current.len());
        self.current.truncate(len);
    }

    pub(super) fn sync(&mut self) {
        self.durable.resize(self.current.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            copy_sector(sector, &self.current, &mut self.durable);
        }
    }

    /// A failed sync. Either the file shows the old content again (as btrfs does), or it goes on showing the new
    /// content and believes it clean (as ext4 and XFS do), so that a later sync writes nothing of it.
    pub(super) fn lose(&mut self, rng: &mut Rng) {
        let reverts = rng.flip();
        for sector in std::mem::take(&mut self.dirty) {
            if rng.chance(200) {
                let end = self.current.len().min((sector + 1) * SECTOR);
                if self.durable.len() < end {
                    self.durable.resize(end, 0);
                }
                copy_sector(sector, &self.current, &mut self.durable);
            }
        }
        if reverts {
            self.current.clone_from(&self.durable);
        }
    }

    /// Power loss: each unsynced sector is kept or not, and the length is that of before, of after, or between.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        let (old, new) = (self.durable.len(), self.current.len());
        let mut out = self.durable.clone();
        match rng.up_to(3) {
            0 => {},
            1 => {
                out.resize(new, 0);
                for sector in &self.dirty {
                    copy_sector(*sector, &self.current, &mut out);
                }
            },
            2 => {
                let len = old.min(new) + rng.up_to(old.abs_diff(new));
                out.resize(len, 0);
                for sector in &self.dirty {
                    if (sector + 1) * SECTOR > old || rng.flip() {
                        copy_sector(*sector, &self.current, &mut out);
                    }
                }
            },
            _ => {
                out.resize(if rng.flip() { new } else { old.max(new) }, 0);
                for sector in &self.dirty {
                    if rng.flip() {
                        copy_sector(*sector, &self.current, &mut out);
                    }
                }
            },
        }
        self.durable.clone_from(&out);
        self.current = out;
        self.dirty.clear();
    }

    fn soil(&mut self, bytes: Range<usize>) {
        if !bytes.is_empty() {
            self.dirty.extend(bytes.start / SECTOR..=(bytes.end - 1) / SECTOR);
        }
    }
}

fn copy_sector(sector: usize, from: &[u8], to: &mut [u8]) {
    let start = sector * SECTOR;
    let end = (start + SECTOR).min(from.len()).min(to.len());
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}
