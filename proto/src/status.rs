//! Rejections as gRPC statuses, and back. The only place where codes meet statuses.
//!
//! The whole rejection travels in the metadata, so a client that knows Berth gets exactly what was
//! refused; any other client sees a fitting code and the text.

use crate::convert::{self, Wire};
use crate::v1;
use berth_model::error::{ErrorCode, Rejection};
use prost::Message;
use std::error::Error;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// The metadata entry that holds the encoded `ErrorDetail`.
pub const DETAIL: &str = "berth-error-bin";

/// The most bytes of each text in a status. HTTP/2 peers refuse headers of more than 16 KiB in sum, and
/// the message travels twice, once escaped.
const TEXT_MAX: usize = 2_000;

/// The gRPC code for one of ours.
#[must_use]
pub const fn code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::InvalidArgument
        | ErrorCode::InvalidId
        | ErrorCode::InvalidRole
        | ErrorCode::InvalidPath
        | ErrorCode::InvalidResources
        | ErrorCode::InvalidDocument
        | ErrorCode::InvalidQuota
        | ErrorCode::AmbiguousId
        | ErrorCode::UnknownUser
        | ErrorCode::ConfirmationRequired => Code::InvalidArgument,
        ErrorCode::Unsupported => Code::Unimplemented,
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
        | ErrorCode::UnknownAuditEntry => Code::NotFound,
        ErrorCode::RequestIdReused
        | ErrorCode::VolumeExists
        | ErrorCode::DirectoryExists
        | ErrorCode::ProfileExists
        | ErrorCode::DiskExists
        | ErrorCode::TaskExists
        | ErrorCode::SessionExists
        | ErrorCode::SnapshotExists => Code::AlreadyExists,
        // Look at the state again, then try anew.
        ErrorCode::StaleOffer
        | ErrorCode::Conflict
        | ErrorCode::StaleEpoch
        | ErrorCode::ResourcesInUse
        | ErrorCode::SourceChanged
        | ErrorCode::VolumeInUse => Code::Aborted,
        ErrorCode::InsufficientResources
        | ErrorCode::DiskFull
        | ErrorCode::QuotaExceeded
        | ErrorCode::QuotaOvercommitted => Code::ResourceExhausted,
        ErrorCode::NotReserved
        | ErrorCode::ProfileInUse
        | ErrorCode::LimitBelowUse
        | ErrorCode::VolumeNotReady
        | ErrorCode::VolumeShared
        | ErrorCode::MissingCapability
        | ErrorCode::VolumeTooFull
        | ErrorCode::DiskReadOnly
        | ErrorCode::DiskCordoned
        | ErrorCode::NotSubscribed
        | ErrorCode::FrameworkRemoved
        | ErrorCode::PathNotTraversable
        | ErrorCode::MountPointMissing
        | ErrorCode::LaunchFailed
        | ErrorCode::WrongCluster
        | ErrorCode::SafeMode
        | ErrorCode::Locked
        | ErrorCode::ServiceConflict
        | ErrorCode::ServiceNotReady
        | ErrorCode::SnapshotNotReady
        | ErrorCode::SnapshotHeld
        | ErrorCode::VolumeProtected
        | ErrorCode::FreezeFailed
        | ErrorCode::GroupApart
        | ErrorCode::OrphanUnidentified
        | ErrorCode::ImportRefused
        | ErrorCode::ExportRefused => Code::FailedPrecondition,
        ErrorCode::NotPrivileged | ErrorCode::ImportNotAllowed => Code::PermissionDenied,
        ErrorCode::VolumeLost
        | ErrorCode::SnapshotLost
        | ErrorCode::DiskFaulty
        | ErrorCode::LedgerCorrupt
        | ErrorCode::LedgerRolledBack
        | ErrorCode::RegistryCorrupt
        | ErrorCode::CopyDiffers
        | ErrorCode::InvalidArchive
        | ErrorCode::AuditBroken => Code::DataLoss,
        ErrorCode::VolumeUnavailable
        | ErrorCode::AgentUnreachable
        | ErrorCode::TransferFailed
        | ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::TimedOut => Code::DeadlineExceeded,
        ErrorCode::Internal => Code::Internal,
    }
}

/// The status that carries a rejection.
#[must_use]
pub fn to_status(rejection: &Rejection) -> Status {
    let v1::ErrorDetail { code: code_text, message, remedy, field } = rejection.to_wire();
    let detail = v1::ErrorDetail {
        code: code_text,
        message: cut(message),
        remedy: cut(remedy),
        field: cut(field),
    };
    let mut status = Status::new(code(rejection.code), cut(rejection.to_string()));
    let value = MetadataValue::from_bytes(&detail.encode_to_vec());
    status.metadata_mut().insert_bin(DETAIL, value);
    status
}

/// The rejection that a status carries; made from the status's own text when it comes from elsewhere.
#[must_use]
pub fn from_status(status: &Status) -> Rejection {
    let detail = status
        .metadata()
        .get_bin(DETAIL)
        .and_then(|value| value.to_bytes().ok())
        .and_then(|bytes| v1::ErrorDetail::decode(bytes).ok());
    match detail {
        Some(detail) => {
            let fallback = foreign(status);
            // A code of a later release: keep its text, the retry is that of the gRPC code.
            let text = format!("{} ({})", detail.message, detail.code);
            let (remedy, field) = (detail.remedy.clone(), detail.field.clone());
            convert::from_wire(detail).unwrap_or_else(|_unknown_code| {
                Rejection::new(fallback.code, text).remedy(remedy).field(field)
            })
        },
        None => foreign(status),
    }
}

fn foreign(status: &Status) -> Rejection {
    let mut text = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !more.is_empty() && !text.contains(&more) {
            text = if text.is_empty() { more } else { format!("{text}: {more}") };
        }
        cause = error.source();
    }
    if text.is_empty() {
        text = status.code().description().to_owned();
    }
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::Aborted | Code::ResourceExhausted => {
            Rejection::new(ErrorCode::Unavailable, format!("the server cannot be reached: {text}"))
                .remedy("check the address and that the server runs, then try again")
        },
        // The transport reports a broken connection without a code of its own.
        Code::Unknown => {
            Rejection::new(ErrorCode::Unavailable, format!("the connection failed: {text}"))
                .remedy("check the address and that the server runs, then try again")
        },
        Code::DeadlineExceeded => {
            Rejection::new(ErrorCode::TimedOut, format!("no answer in time: {text}"))
                .remedy("ask for the state; what was accepted goes on")
        },
        Code::Unimplemented => Rejection::new(
            ErrorCode::Unsupported,
            format!("the server does not know the call: {text}"),
        )
        .remedy("use a client and a server of the same release"),
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => {
            Rejection::new(ErrorCode::Internal, format!("the call failed: {text}"))
                .remedy("see the server's log")
        },
    }
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        let mut end = TEXT_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_travels_there_and_back_exactly() {
        for code in ErrorCode::ALL {
            let rejection =
                Rejection::new(*code, "volume \"dätä\" is in use").remedy("wait").field("a.b[0]");
            let status = to_status(&rejection);
            assert_eq!(from_status(&status), rejection);
            assert_eq!(status.message(), "volume \"dätä\" is in use (field a.b[0]): wait");
            assert_ne!(status.code(), Code::Ok);
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let rejection = Rejection::new(ErrorCode::Internal, "ä".repeat(5_000));
        let back = from_status(&to_status(&rejection));
        assert_eq!(back.message, format!("{}…", "ä".repeat(1_000)));
    }

    #[test]
    fn statuses_from_elsewhere_keep_their_text_and_say_whether_to_retry() {
        for (status, code, message) in [
            (
                Status::unavailable("tcp connect error"),
                ErrorCode::Unavailable,
                "the server cannot be reached: tcp connect error",
            ),
            (
                Status::unknown("transport error"),
                ErrorCode::Unavailable,
                "the connection failed: transport error",
            ),
            (
                Status::deadline_exceeded(""),
                ErrorCode::TimedOut,
                "no answer in time: Deadline expired before operation could complete",
            ),
            (
                Status::unimplemented("x"),
                ErrorCode::Unsupported,
                "the server does not know the call: x",
            ),
            (
                Status::internal("failed to decode"),
                ErrorCode::Internal,
                "the call failed: failed to decode",
            ),
        ] {
            let rejection = from_status(&status);
            assert_eq!((rejection.code, rejection.message.as_str()), (code, message));
        }
    }

    #[test]
    fn a_code_of_a_later_release_keeps_its_text() {
        let mut status = Status::new(Code::Unavailable, "x");
        let detail = v1::ErrorDetail {
            code: "NEW_CODE".to_owned(),
            message: "something new".to_owned(),
            remedy: "r".to_owned(),
            field: "f".to_owned(),
        };
        let value = MetadataValue::from_bytes(&detail.encode_to_vec());
        status.metadata_mut().insert_bin(DETAIL, value);
        assert_eq!(
            from_status(&status),
            Rejection::new(ErrorCode::Unavailable, "something new (NEW_CODE)")
                .remedy("r")
                .field("f")
        );
    }
}
