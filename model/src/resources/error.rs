//! What is wrong with a resource or a container path.
//!
//! It knows single resources only; what does not fit a cluster is refused elsewhere.

use super::RangesError;
use crate::units::Scalar;

/// Checks where a volume may be mounted: relative or absolute, no empty, `.` or `..` part.
///
/// # Errors
/// Says what is wrong with `path`.
pub fn check_container_path(path: &str) -> Result<(), ContainerPathError> {
    if path.is_empty() {
        return Err(ContainerPathError::Empty);
    }
    let inner = path.strip_prefix('/').unwrap_or(path);
    if inner.is_empty() {
        return Err(ContainerPathError::Root);
    }
    if path.contains('\0') || path.chars().any(char::is_control) {
        return Err(ContainerPathError::Control { path: path.to_owned() });
    }
    match inner.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        Some(part) => {
            Err(ContainerPathError::Part { path: path.to_owned(), part: part.to_owned() })
        },
        None => Ok(()),
    }
}

/// Why a volume cannot be mounted at a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContainerPathError {
    /// No path.
    #[error("container path is empty: give a path such as data or /var/lib/mysql")]
    Empty,
    /// The root directory.
    #[error("container path is /: a volume cannot replace the whole file system")]
    Root,
    /// A control character.
    #[error("container path {path:?} holds a control character")]
    Control { path: String },
    /// An empty, `.` or `..` part.
    #[error("container path {path:?} has the part {part:?}: write it without empty, . or .. parts")]
    Part { path: String, part: String },
}

/// Why a resource is not valid on its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// The name is empty.
    #[error("a resource has no name: give one such as cpus, mem or disk")]
    NoName,
    /// Zero or negative.
    #[error("{name} is {amount}: give an amount above zero")]
    NotPositive { name: String, amount: Scalar },
    /// No range or item.
    #[error("{name} is empty: give at least one range or item")]
    NothingIn { name: String },
    /// Ranges where a number is needed, or the like.
    #[error("{name} has an amount of another kind: give {wanted}")]
    Kind { name: String, wanted: &'static str },
    /// Disk information on another resource.
    #[error("{name} carries disk information: only disk may")]
    DiskOnOther { name: String },
    /// A mount without a volume.
    #[error("disk has a mount but no volume name: only persistent volumes are mounted")]
    MountWithoutVolume,
    /// Shared, but no volume.
    #[error("{name} is marked shared: only persistent volumes can be")]
    SharedNotVolume { name: String },
    /// Revocable and reserved or persistent.
    #[error(
        "{name} is revocable and also reserved or a volume: revocable resources can be neither"
    )]
    Revocable { name: String },
    /// Amounts that do not fit a fixed-point number.
    #[error("{name} overflows: the sum does not fit")]
    Overflow { name: String },
    /// A named item that is there already.
    #[error("{name} has the item {item:?} twice: give each item once")]
    Item { name: String, item: String },
    /// Ranges that overlap when added.
    #[error("{name}: {source}")]
    Ranges {
        /// The resource.
        name: String,
        /// What overlaps.
        #[source]
        source: RangesError,
    },
}
