//! Disks as operators declare them.

use super::image::Format;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// Which driver a declaration asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// What the file system under the disk can do.
    #[default]
    Auto,
    /// Plain directories; sizes by accounting only.
    Directory,
    /// Subvolumes with quota; the disk is faulty where that cannot be done.
    Btrfs,
    /// Directories with a project quota; the disk is faulty where that cannot be done.
    ProjectQuota,
    /// A file system in a file on a loop device, of this kind or of the one that suits the size; the disk is faulty
    /// where that cannot be done.
    Image(Option<Format>),
}

impl Display for DriverChoice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Directory => "directory",
            Self::Btrfs => "btrfs",
            Self::ProjectQuota => "project-quota",
            Self::Image(None) => "image",
            Self::Image(Some(format)) => super::probe::DriverKind::Image(*format).as_str(),
        })
    }
}

impl FromStr for DriverChoice {
    type Err = Rejection;
    fn from_str(text: &str) -> Result<Self, Rejection> {
        match text {
            "auto" => Ok(Self::Auto),
            "directory" => Ok(Self::Directory),
            "btrfs" => Ok(Self::Btrfs),
            "project-quota" => Ok(Self::ProjectQuota),
            "image" => Ok(Self::Image(None)),
            other => match other.strip_prefix("image:").map(str::parse) {
                Some(Ok(format)) => Ok(Self::Image(Some(format))),
                Some(Err(())) | None => Err(Rejection::new(
                    ErrorCode::InvalidArgument,
                    format!("there is no volume driver {other:?}"),
                )
                .remedy("use auto, directory, btrfs, project-quota, image, image:xfs, image:ext4 or image:btrfs")
                .field("driver")),
            },
        }
    }
}

/// A disk as the operator declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// ROOT, PATH with its root, MOUNT with its mount point, or BLOCK with its device. A declaration of ROOT sets name, driver and size of
    /// the disk that is always there.
    pub source: DiskSource,
    /// For people; unique on the agent.
    pub name: String,
    /// Which driver.
    pub driver: DriverChoice,
    /// What to declare to the cluster; from the file system when absent.
    pub size: Option<Bytes>,
}

impl Declaration {
    /// The disk that is always there, with nothing declared.
    #[must_use]
    pub fn root() -> Self {
        Self {
            source: DiskSource::Root,
            name: "root".to_owned(),
            driver: DriverChoice::Auto,
            size: None,
        }
    }
}
