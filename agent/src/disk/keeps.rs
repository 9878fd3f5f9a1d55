//! Which volumes of a disk can have snapshots, and whether they can be encrypted, as the master is told: by what made them, since a disk may have volumes of
//! drivers that it was declared with before.
//!
//! It tries nothing; the choice of the driver says what was tried.

use super::choice::Choice;
use super::image::{Format, lock};
use super::probe::DriverKind;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every driver, each kind of image by itself.
pub(super) fn drivers() -> impl Iterator<Item = DriverKind> {
    let plain = [
        DriverKind::Directory,
        DriverKind::Btrfs,
        DriverKind::ProjectQuota,
        DriverKind::Mount,
        DriverKind::Block,
    ];
    plain.into_iter().chain(Format::ALL.map(DriverKind::Image))
}

/// Why volumes that this driver made can have no snapshots, wherever they lie; nothing when that depends on the disk.
const fn nowhere(driver: DriverKind) -> Option<&'static str> {
    match driver {
        DriverKind::Directory | DriverKind::ProjectQuota => Some("a directory has one content"),
        DriverKind::Mount => Some("a volume that is a whole file system has nothing beside it"),
        DriverKind::Block => Some("a raw device has one content"),
        DriverKind::Btrfs | DriverKind::Image(_) => None,
    }
}

/// Why volumes that this driver made can have no snapshots on a disk with this choice; nothing when they can, or when that
/// was not tried.
#[must_use]
pub fn why_none(choice: Option<&Choice>, driver: DriverKind) -> Option<&str> {
    let unshared = || choice.and_then(|choice| choice.unshared.as_deref());
    nowhere(driver).or_else(|| driver.image().and_then(|_format| unshared()))
}

/// The drivers whose volumes can have no snapshots on a disk with this choice, each with the reason.
#[must_use]
pub fn no_snapshots(choice: Option<&Choice>) -> BTreeMap<Arc<str>, String> {
    let named = |driver: DriverKind| {
        Some((Arc::from(driver.as_str()), why_none(choice, driver)?.to_owned()))
    };
    drivers().filter_map(named).collect()
}

/// Why no volume can be encrypted on a disk with this choice; nothing when it can.
#[must_use]
pub fn no_encryption(choice: Option<&Choice>) -> Option<String> {
    match choice {
        Some(choice) if choice.encrypts() => {
            lock::is_missing().then(|| lock::NOT_IN_KERNEL.to_owned())
        },
        Some(choice) => Some(format!(
            "driver {} encrypts nothing: only images of ext4 are encrypted",
            choice.driver.as_str()
        )),
        None => Some("only images of ext4 are encrypted".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_refused() {
        let named = |choice: Option<&Choice>| -> Vec<String> {
            no_snapshots(choice).into_keys().map(|name| name.to_string()).collect()
        };
        let never = ["block", "directory", "mount", "project-quota"];
        assert_eq!(named(None), never);
        let tried = |unshared: Option<&str>| Choice {
            driver: DriverKind::Image(Format::Ext4),
            reason: String::new(),
            formats: vec![Format::Ext4],
            refusal: None,
            unshared: unshared.map(str::to_owned),
        };
        assert_eq!(named(Some(&tried(None))), never);
        let unshared = tried(Some("no"));
        assert_eq!(
            named(Some(&unshared)),
            [
                "block",
                "directory",
                "image:btrfs",
                "image:ext4",
                "image:xfs",
                "mount",
                "project-quota"
            ]
        );
        assert_eq!(why_none(Some(&unshared), DriverKind::Image(Format::Xfs)), Some("no"));
    }
}
