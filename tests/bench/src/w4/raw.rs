//! The raw limit: write and fdatasync of the same bytes, as often as one after another as our path syncs.

use anyhow::Context;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// What one operation writes, and how often it syncs in sequence: registry, ledger, ledger, registry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes {
    pub(super) registry: usize,
    pub(super) ledger: usize,
}

/// Two files, as the registry's log and the ledger are.
#[derive(Debug)]
pub(super) struct Raw {
    registry: File,
    ledger: File,
    buffer: Vec<u8>,
}

impl Raw {
    pub(super) fn new(dir: &Path) -> anyhow::Result<Self> {
        let open = |name: &str| {
            let path = dir.join(name);
            let file = OpenOptions::new().create(true).append(true).open(&path);
            file.with_context(|| format!("open {}", path.display()))
        };
        Ok(Self {
            registry: open("raw-registry")?,
            ledger: open("raw-ledger")?,
            buffer: Vec::new(),
        })
    }

    fn write(file: &mut File, buffer: &mut Vec<u8>, bytes: usize) -> anyhow::Result<()> {
        buffer.resize(bytes, 0x5a);
        file.write_all(buffer).context("write")?;
        file.sync_data().context("fdatasync")
    }

    /// The time of `rounds` rounds of `clients` operations that share each sync.
    pub(super) fn time(
        &mut self,
        rounds: usize,
        clients: usize,
        bytes: Bytes,
    ) -> anyhow::Result<Duration> {
        let start = Instant::now();
        for _ in 0..rounds {
            let (registry, ledger) = (bytes.registry * clients / 2, bytes.ledger * clients / 2);
            Self::write(&mut self.registry, &mut self.buffer, registry)?;
            Self::write(&mut self.ledger, &mut self.buffer, ledger)?;
            Self::write(&mut self.ledger, &mut self.buffer, ledger)?;
            Self::write(&mut self.registry, &mut self.buffer, registry)?;
        }
        Ok(start.elapsed())
    }
}
