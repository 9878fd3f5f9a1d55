//! Which volumes can be wiped how: the one table that reports show and refusals go by.
//!
//! It tries nothing; what a disk is like is its input. Invariant: what is not known to reach the blocks is refused.

use super::fs::Node;
use super::keeps::drivers;
use super::probe::DriverKind;
use berth_model::wipe::{Wipe, WipeAbility};
use std::sync::Arc;

/// What a wipe meets on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ground {
    /// Its file system overwrites in place.
    pub in_place: bool,
    /// It is a raw device that takes discards.
    pub discards: bool,
}

impl Ground {
    /// That of a disk with this root.
    #[must_use]
    pub fn of_directory(root: &Node) -> Self {
        Self { in_place: root.in_place() == Ok(true), discards: false }
    }

    /// That of a raw device.
    #[must_use]
    pub fn of_device(device: &Node) -> Self {
        Self { in_place: false, discards: device.discards() == Ok(true) }
    }
}

/// Why volumes that this driver made cannot be wiped so; nothing when they can.
#[must_use]
pub const fn why_not(driver: DriverKind, ground: Ground, method: Wipe) -> Option<&'static str> {
    match (driver, method) {
        (_, Wipe::None) => None,
        (DriverKind::Btrfs, _) => Some(
            "btrfs never overwrites in place, so what was there before stays where it is, and it gives back blocks without telling the device at once",
        ),
        (DriverKind::Block, Wipe::Discard) if ground.discards => None,
        (DriverKind::Block, Wipe::Discard) => Some("the device takes no discards"),
        (DriverKind::Block, Wipe::Zero | Wipe::Shred) => None,
        (
            DriverKind::Directory
            | DriverKind::ProjectQuota
            | DriverKind::Mount
            | DriverKind::Image(_),
            Wipe::Discard,
        ) => Some(
            "the file system of the disk decides when the device is told of blocks that are given back, and whether at all",
        ),
        (
            DriverKind::Directory
            | DriverKind::ProjectQuota
            | DriverKind::Mount
            | DriverKind::Image(_),
            Wipe::Zero | Wipe::Shred,
        ) => {
            if ground.in_place {
                None
            } else {
                Some(
                    "the file system of the disk is not one that is known to overwrite in place, as ext4 and XFS do",
                )
            }
        },
    }
}

/// What a disk with this root can; nothing while it cannot be reached.
#[must_use]
pub fn of_directory(root: Option<&Node>) -> Vec<WipeAbility> {
    root.map(|root| abilities(false, Ground::of_directory(root))).unwrap_or_default()
}

/// What a raw device can; nothing while it cannot be reached.
#[must_use]
pub fn of_device(device: Option<&Node>) -> Vec<WipeAbility> {
    device.map(|device| abilities(true, Ground::of_device(device))).unwrap_or_default()
}

fn abilities(is_device: bool, ground: Ground) -> Vec<WipeAbility> {
    let here = |driver: &DriverKind| (*driver == DriverKind::Block) == is_device;
    let of = |driver: DriverKind| {
        let methods = Wipe::ALL.into_iter().filter(|method| *method != Wipe::None);
        methods.map(move |method| WipeAbility {
            driver: Arc::from(driver.as_str()),
            method,
            refused: why_not(driver, ground, method).map(str::to_owned),
        })
    };
    drivers().filter(here).flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn able(is_device: bool, ground: Ground) -> Vec<String> {
        let all = abilities(is_device, ground);
        let able = all.into_iter().filter(|ability| ability.refused.is_none());
        able.map(|ability| format!("{} {}", ability.driver, ability.method)).collect()
    }

    fn ground(what: &str) -> Ground {
        Ground { in_place: what == "in place", discards: what == "discards" }
    }

    #[test]
    fn what_does_not_reach_the_blocks_is_refused() {
        assert_eq!(able(true, ground("")), ["block zero", "block shred"]);
        assert_eq!(able(true, ground("discards")), ["block discard", "block zero", "block shred"]);
        assert_eq!(able(false, ground("discards")), [""; 0]);
        let files =
            ["directory", "project-quota", "mount", "image:xfs", "image:ext4", "image:btrfs"];
        let mut wanted: Vec<String> = files
            .iter()
            .flat_map(|driver| [format!("{driver} zero"), format!("{driver} shred")])
            .collect();
        let mut found = able(false, ground("in place"));
        wanted.sort();
        found.sort();
        assert_eq!(found, wanted);
    }
}
