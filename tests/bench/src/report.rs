//! Figures with their names, written as one flat JSON object a benchmark.

use crate::statistics::{bootstrap, median};
use anyhow::Context;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// `bench` in the target directory.
///
/// # Errors
/// It cannot be made.
pub fn folder() -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new("target").to_owned(), PathBuf::from);
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}

/// Figures of one benchmark.
#[derive(Debug, Default)]
pub struct Figures(Map<String, Value>);

impl Figures {
    /// Adds a figure; the name carries the unit.
    pub fn put(&mut self, name: &str, value: f64) {
        let rounded = (value * 10_000.0).round() / 10_000.0;
        self.0.insert(name.to_owned(), Value::from(rounded));
    }
    /// Adds the median of ratios, one a block, with the bounds between which it lies in 95 of 100 cases.
    pub fn put_ratio(&mut self, name: &str, ratios: &[f64]) {
        let (low, high) = bootstrap(ratios);
        self.put(name, median(ratios));
        self.put(&format!("{name}.low"), low);
        self.put(&format!("{name}.high"), high);
    }
    /// A figure that was added.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).and_then(Value::as_f64)
    }
    /// As text, one a line.
    #[must_use]
    pub fn table(&self) -> String {
        let width = self.0.keys().map(String::len).max().unwrap_or(0);
        self.0.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
    }
    /// Writes `bench/NAME.json` in the target directory.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = folder()?.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(&self.0).context("write JSON")?;
        std::fs::write(&path, text + "\n").with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}
