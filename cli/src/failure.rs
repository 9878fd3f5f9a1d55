//! Why a command failed, and with which exit code the program ends.

use berth_model::error::{ErrorCode, Rejection};
use std::fmt;

/// Exit codes; each is documented in docs/errors.md.
pub(crate) mod exit {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const NOT_FOUND: u8 = 3;
    pub(crate) const CONFLICT: u8 = 4;
    pub(crate) const NOT_ALLOWED: u8 = 5;
    pub(crate) const UNREACHABLE: u8 = 6;
    pub(crate) const TIMED_OUT: u8 = 7;
    pub(crate) const GUARD: u8 = 8;
    pub(crate) const PROBLEMS: u8 = 9;
    pub(crate) const INTERRUPTED: u8 = 130;
}

/// A refusal or failure with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) error: Rejection,
}

impl Failure {
    pub(crate) fn new(code: u8, error: Rejection) -> Self {
        Self { code, error }
    }
    pub(crate) fn usage(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(exit::USAGE, Rejection::new(ErrorCode::InvalidArgument, message).remedy(remedy))
    }
    pub(crate) fn not_found(code: ErrorCode, message: String, remedy: &str) -> Self {
        Self::new(exit::NOT_FOUND, Rejection::new(code, message).remedy(remedy))
    }
    /// Something of this machine: a file, the terminal.
    pub(crate) fn local(message: impl Into<String>) -> Self {
        Self::new(exit::FAILED, Rejection::new(ErrorCode::Internal, message))
    }
}

impl From<Rejection> for Failure {
    fn from(error: Rejection) -> Self {
        Self::new(exit_code(error.code), error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Failure {}

/// The exit code of a refusal.
pub(crate) const fn exit_code(code: ErrorCode) -> u8 {
    match code {
        ErrorCode::InvalidArgument
        | ErrorCode::InvalidId
        | ErrorCode::InvalidRole
        | ErrorCode::InvalidPath
        | ErrorCode::InvalidResources
        | ErrorCode::InvalidDocument
        | ErrorCode::InvalidQuota
        | ErrorCode::Unsupported
        | ErrorCode::AmbiguousId => exit::USAGE,
        ErrorCode::UnknownAgent
        | ErrorCode::UnknownFramework
        | ErrorCode::UnknownVolume
        | ErrorCode::UnknownDisk
        | ErrorCode::UnknownTask
        | ErrorCode::UnknownOperation
        | ErrorCode::UnknownReservation
        | ErrorCode::UnknownService
        | ErrorCode::UnknownProfile
        | ErrorCode::UnknownSnapshot
        | ErrorCode::UnknownOrphan
        | ErrorCode::UnknownSchedule
        | ErrorCode::UnknownQuota
        | ErrorCode::UnknownAuditEntry => exit::NOT_FOUND,
        ErrorCode::StaleOffer
        | ErrorCode::Conflict
        | ErrorCode::StaleEpoch
        | ErrorCode::RequestIdReused
        | ErrorCode::NotReserved
        | ErrorCode::ResourcesInUse
        | ErrorCode::VolumeExists
        | ErrorCode::VolumeInUse
        | ErrorCode::VolumeNotReady
        | ErrorCode::VolumeShared
        | ErrorCode::MissingCapability
        | ErrorCode::VolumeTooFull
        | ErrorCode::DirectoryExists
        | ErrorCode::DiskCordoned
        | ErrorCode::ProfileExists
        | ErrorCode::ProfileInUse
        | ErrorCode::LimitBelowUse
        | ErrorCode::DiskExists
        | ErrorCode::SessionExists
        | ErrorCode::NotSubscribed
        | ErrorCode::FrameworkRemoved
        | ErrorCode::TaskExists
        | ErrorCode::ServiceConflict
        | ErrorCode::ServiceNotReady
        | ErrorCode::Locked
        | ErrorCode::WrongCluster
        | ErrorCode::SnapshotExists
        | ErrorCode::SnapshotNotReady
        | ErrorCode::SnapshotHeld
        | ErrorCode::GroupApart
        | ErrorCode::OrphanUnidentified
        | ErrorCode::ImportRefused
        | ErrorCode::ExportRefused
        | ErrorCode::SourceChanged => exit::CONFLICT,
        ErrorCode::NotPrivileged | ErrorCode::ImportNotAllowed => exit::NOT_ALLOWED,
        ErrorCode::Unavailable | ErrorCode::AgentUnreachable => exit::UNREACHABLE,
        ErrorCode::AuditBroken => exit::PROBLEMS,
        ErrorCode::TimedOut => exit::TIMED_OUT,
        ErrorCode::SafeMode | ErrorCode::ConfirmationRequired | ErrorCode::VolumeProtected => {
            exit::GUARD
        },
        ErrorCode::InsufficientResources
        | ErrorCode::QuotaExceeded
        | ErrorCode::QuotaOvercommitted
        | ErrorCode::VolumeUnavailable
        | ErrorCode::VolumeLost
        | ErrorCode::SnapshotLost
        | ErrorCode::FreezeFailed
        | ErrorCode::DiskFull
        | ErrorCode::DiskReadOnly
        | ErrorCode::DiskFaulty
        | ErrorCode::UnknownUser
        | ErrorCode::PathNotTraversable
        | ErrorCode::MountPointMissing
        | ErrorCode::LaunchFailed
        | ErrorCode::TransferFailed
        | ErrorCode::CopyDiffers
        | ErrorCode::InvalidArchive
        | ErrorCode::LedgerCorrupt
        | ErrorCode::LedgerRolledBack
        | ErrorCode::RegistryCorrupt
        | ErrorCode::Internal => exit::FAILED,
    }
}
