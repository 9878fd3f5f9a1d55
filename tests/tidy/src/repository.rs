//! The files of the repository: what Git tracks, and what it would track after `git add`.
//!
//! Knows no rule. Files that are deleted but not yet committed are left out.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Path from the root of the repository, with slashes.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl File {
    /// A file made of text, for tests.
    #[must_use]
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), bytes: text.as_bytes().to_vec() }
    }

    /// The text; empty for a binary file, which a rule of its own refuses.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }

    /// Is it Rust source?
    #[must_use]
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Is it written only for tests: a test package, a `tests` folder, or a test module in a file of its own?
    #[must_use]
    pub fn is_test(&self) -> bool {
        let mut parts = self.path.trim_end_matches(".rs").split('/');
        parts.any(|part| part == "tests" || part == "benches" || part.ends_with("_tests"))
    }
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this package is two folders below the root")
        .to_owned()
}

/// Every file that is, or is about to be, part of the repository.
///
/// # Panics
/// When Git cannot list the files: the rules would then pass by looking at nothing.
#[must_use]
pub fn files() -> Vec<File> {
    let root = root();
    let listing = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .args(["--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .expect("git runs");
    assert!(
        listing.status.success(),
        "git ls-files failed in {}: {}",
        root.display(),
        String::from_utf8_lossy(&listing.stderr)
    );
    let listing = String::from_utf8(listing.stdout).expect("paths are UTF-8");
    let mut paths: Vec<&str> = listing.split_terminator('\0').collect();
    paths.sort_unstable();
    paths.dedup();
    assert!(paths.len() > 20, "git lists only {paths:?}");
    paths
        .into_iter()
        .filter_map(|path| {
            let bytes = std::fs::read(root.join(path)).ok()?;
            Some(File { path: path.to_owned(), bytes })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_files_are_told_from_production() {
        for path in [
            "tests/sim/src/lib.rs",
            "model/tests/laws.rs",
            "agent/src/x/tests.rs",
            "agent/src/x_tests.rs",
        ] {
            assert!(File::new(path, "").is_test(), "{path}");
        }
        for path in ["model/src/lib.rs", "agent/src/attests.rs"] {
            assert!(!File::new(path, "").is_test(), "{path}");
        }
    }

    #[test]
    fn the_repository_lists_this_file() {
        assert!(files().iter().any(|file| file.path == "tests/tidy/src/repository.rs"));
    }
}
