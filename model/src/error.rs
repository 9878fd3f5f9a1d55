//! What a user sees when a call is refused: a stable code, the text, the remedy.
//!
//! Each code has a section in docs/errors.md; only `berth-proto` maps codes to wire statuses.

use std::fmt;

/// Can trying again help?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same call will be refused again.
    Never,
    /// The same call may succeed later.
    Later,
    /// Look at the current state, then decide anew.
    AfterRefresh,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident => $text:literal, $retry:ident;)+) => {
        /// Stable codes of refusals and failures.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)+ }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code as users see it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
            /// Whether trying again can help.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self { $(Self::$variant => Retry::$retry,)+ }
            }
        }
    };
}

codes! {
    /// A field of the call is missing or malformed.
    InvalidArgument => "INVALID_ARGUMENT", Never;
    /// An id breaks the rules for ids.
    InvalidId => "INVALID_ID", Never;
    /// A role breaks the role grammar, or `*` was given where an owner is needed.
    InvalidRole => "INVALID_ROLE", Never;
    /// A container path that no volume may be mounted at.
    InvalidPath => "INVALID_PATH", Never;
    /// Resources that are malformed or do not fit the operation.
    InvalidResources => "INVALID_RESOURCES", Never;
    /// A service document that cannot be accepted.
    InvalidDocument => "INVALID_DOCUMENT", Never;
    /// Something this release does not do.
    Unsupported => "UNSUPPORTED", Never;
    /// No agent of that id.
    UnknownAgent => "UNKNOWN_AGENT", Never;
    /// No framework of that id.
    UnknownFramework => "UNKNOWN_FRAMEWORK", Never;
    /// No volume of that id or name.
    UnknownVolume => "UNKNOWN_VOLUME", Never;
    /// No such disk on the agent.
    UnknownDisk => "UNKNOWN_DISK", Never;
    /// No such task.
    UnknownTask => "UNKNOWN_TASK", Never;
    /// No such operation (or forgotten).
    UnknownOperation => "UNKNOWN_OPERATION", Never;
    /// No such reservation.
    UnknownReservation => "UNKNOWN_RESERVATION", Never;
    /// No such service.
    UnknownService => "UNKNOWN_SERVICE", Never;
    /// A prefix that fits several ids.
    AmbiguousId => "AMBIGUOUS_ID", Never;
    /// The offer was used, declined, rescinded, or made in an earlier epoch.
    StaleOffer => "STALE_OFFER", AfterRefresh;
    /// What an optimistic offer held was committed to somebody else first.
    Conflict => "CONFLICT", AfterRefresh;
    /// The caller's epoch or session is no longer the current one.
    StaleEpoch => "STALE_EPOCH", AfterRefresh;
    /// The request id was used for another request.
    RequestIdReused => "REQUEST_ID_REUSED", Never;
    /// There is less than was asked for.
    InsufficientResources => "INSUFFICIENT_RESOURCES", Later;
    /// A volume needs disk that is reserved to its role.
    NotReserved => "NOT_RESERVED", Never;
    /// Resources are in use by a task.
    ResourcesInUse => "RESOURCES_IN_USE", Later;
    /// A volume of that name or id exists already.
    VolumeExists => "VOLUME_EXISTS", Never;
    /// The volume is used by a task.
    VolumeInUse => "VOLUME_IN_USE", Later;
    /// The volume is shared, and the call is about volumes of one task at a time.
    VolumeShared => "VOLUME_SHARED", Never;
    /// The framework has not said that it understands what it asks for.
    MissingCapability => "MISSING_CAPABILITY", Never;
    /// The volume is in a state in which the call makes no sense.
    VolumeNotReady => "VOLUME_NOT_READY", AfterRefresh;
    /// The volume uses more than the size it is to get.
    VolumeTooFull => "VOLUME_TOO_FULL", AfterRefresh;
    /// The volume failed its identity check, or its disk is not there.
    VolumeUnavailable => "VOLUME_UNAVAILABLE", Later;
    /// The volume's data is not where it must be; nothing was made in its place.
    VolumeLost => "VOLUME_LOST", Never;
    /// Something unknown lies where the volume should be made.
    DirectoryExists => "DIRECTORY_EXISTS", Never;
    /// No snapshot of that id or name.
    UnknownSnapshot => "UNKNOWN_SNAPSHOT", Never;
    /// The volume has a snapshot of that name already.
    SnapshotExists => "SNAPSHOT_EXISTS", Never;
    /// The snapshot is in a state in which the call makes no sense.
    SnapshotNotReady => "SNAPSHOT_NOT_READY", AfterRefresh;
    /// The snapshot is held, and what was asked would end in its deletion.
    SnapshotHeld => "SNAPSHOT_HELD", Never;
    /// The snapshot is not where it must be; nothing was made in its place.
    SnapshotLost => "SNAPSHOT_LOST", Never;
    /// The task's data could not be brought to rest for a snapshot.
    FreezeFailed => "FREEZE_FAILED", Later;
    /// The volumes of a group are on several agents, which cannot be stopped at one moment.
    GroupApart => "GROUP_APART", Never;
    /// The volume has no schedule of snapshots.
    UnknownSchedule => "UNKNOWN_SCHEDULE", Never;
    /// The agent has a disk of that name, or at that place, already.
    DiskExists => "DISK_EXISTS", Never;
    /// No space is left on the disk.
    DiskFull => "DISK_FULL", Later;
    /// The disk is mounted read-only.
    DiskReadOnly => "DISK_READ_ONLY", Later;
    /// The disk answers with errors, or is not the disk it was.
    DiskFaulty => "DISK_FAULTY", Never;
    /// An operator has cordoned the disk: nothing new goes on it.
    DiskCordoned => "DISK_CORDONED", Later;
    /// No profile of that name.
    UnknownProfile => "UNKNOWN_PROFILE", Never;
    /// A profile of that name exists already.
    ProfileExists => "PROFILE_EXISTS", Never;
    /// A quota counts the disks of the profile.
    ProfileInUse => "PROFILE_IN_USE", Never;
    /// A quota that makes no sense, whatever the cluster.
    InvalidQuota => "INVALID_QUOTA", Never;
    /// The role has no quota.
    UnknownQuota => "UNKNOWN_QUOTA", Never;
    /// All guarantees together are more than there is.
    QuotaOvercommitted => "QUOTA_OVERCOMMITTED", Later;
    /// A limit is below what the role consumes.
    LimitBelowUse => "LIMIT_BELOW_USE", Later;
    /// The role would have more than its limit.
    QuotaExceeded => "QUOTA_EXCEEDED", Later;
    /// The agent is not connected.
    AgentUnreachable => "AGENT_UNREACHABLE", Later;
    /// A live session of the same agent or framework exists.
    SessionExists => "SESSION_EXISTS", Later;
    /// The framework is not subscribed.
    NotSubscribed => "NOT_SUBSCRIBED", AfterRefresh;
    /// The framework was torn down.
    FrameworkRemoved => "FRAMEWORK_REMOVED", Never;
    /// A live task of that id exists.
    TaskExists => "TASK_EXISTS", Never;
    /// The task's user does not exist on the agent.
    UnknownUser => "UNKNOWN_USER", Never;
    /// A parent directory cannot be traversed by the task's user.
    PathNotTraversable => "PATH_NOT_TRAVERSABLE", Never;
    /// An absolute container path that does not exist on the agent.
    MountPointMissing => "MOUNT_POINT_MISSING", Never;
    /// The agent lacks the privilege for what was asked.
    NotPrivileged => "NOT_PRIVILEGED", Never;
    /// The task could not be started for another reason.
    LaunchFailed => "LAUNCH_FAILED", Later;
    /// The agent belongs to another cluster.
    WrongCluster => "WRONG_CLUSTER", Never;
    /// The agent's ledger is damaged.
    LedgerCorrupt => "LEDGER_CORRUPT", Never;
    /// The agent's ledger is older than what the master was told.
    LedgerRolledBack => "LEDGER_ROLLED_BACK", Never;
    /// The registry is damaged.
    RegistryCorrupt => "REGISTRY_CORRUPT", Never;
    /// The registry is older than what agents have seen: destructive calls are refused.
    SafeMode => "SAFE_MODE", Later;
    /// The directory is in use by another process.
    Locked => "LOCKED", Later;
    /// A destructive call lacks its confirmation.
    ConfirmationRequired => "CONFIRMATION_REQUIRED", Never;
    /// A document of that name exists and differs in what cannot be changed.
    ServiceConflict => "SERVICE_CONFLICT", Never;
    /// The service is in a state in which the call makes no sense.
    ServiceNotReady => "SERVICE_NOT_READY", Later;
    /// Waiting ended before the operation did; the operation goes on.
    TimedOut => "TIMED_OUT", Later;
    /// A queue is full or the server is stopping.
    Unavailable => "UNAVAILABLE", Later;
    /// An operator protects the volume, and what was asked would take data from it.
    VolumeProtected => "VOLUME_PROTECTED", Never;
    /// A fault of Berth itself.
    Internal => "INTERNAL", Later;
    /// No orphan at that path.
    UnknownOrphan => "UNKNOWN_ORPHAN", AfterRefresh;
    /// What lies there cannot be told to be a volume of that agent: it is kept.
    OrphanUnidentified => "ORPHAN_UNIDENTIFIED", Never;
    /// The agent's settings do not allow this directory to be imported.
    ImportNotAllowed => "IMPORT_NOT_ALLOWED", Never;
    /// What is to be imported holds something that a volume cannot take.
    ImportRefused => "IMPORT_REFUSED", AfterRefresh;
    /// What is imported changed while it was copied.
    SourceChanged => "SOURCE_CHANGED", Later;
    /// The stream between an agent and whoever asked it broke.
    TransferFailed => "TRANSFER_FAILED", Later;
    /// What was copied into a volume is not what is there now.
    CopyDiffers => "COPY_DIFFERS", AfterRefresh;
    /// What is to be exported holds something that an archive cannot, or is in use.
    ExportRefused => "EXPORT_REFUSED", AfterRefresh;
    /// What is read is no whole export: damaged, cut off, or made by something else.
    InvalidArchive => "INVALID_ARCHIVE", Never;
    /// The audit log has no such entry.
    UnknownAuditEntry => "UNKNOWN_AUDIT_ENTRY", Never;
    /// An entry of the audit log is not as it was written.
    AuditBroken => "AUDIT_BROKEN", Never;
}

impl ErrorCode {
    /// The code with this text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal or a failure in the form every interface shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The stable code.
    pub code: ErrorCode,
    /// What failed, on which object: lower case, no full stop.
    pub message: String,
    /// What the user can do; empty when nothing is known.
    pub remedy: String,
    /// The field of the call that is at fault, such as `volume.size`; empty when none is.
    pub field: String,
}

impl Rejection {
    /// A rejection without field and remedy.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), remedy: String::new(), field: String::new() }
    }
    /// The same with a remedy.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
    /// The same, naming the field at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }
    /// Whether trying again can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.code.retry()
    }
    /// The same with texts short enough for a record: whoever asked may have written what they quote.
    #[must_use]
    pub fn bounded(self) -> Self {
        let Self { code, message, remedy, field } = self;
        Self {
            code,
            message: shortened(message, RECORDED_MAX),
            remedy: shortened(remedy, RECORDED_MAX),
            field: shortened(field, RECORDED_MAX),
        }
    }
}

/// The longest text of an error that a record keeps, in bytes.
pub const RECORDED_MAX: usize = 4 << 10;

/// Room for how much was left out.
const LEFT_OUT: usize = 48;

/// The text, or its beginning and how much is left out: at most `max` bytes, of which there must be some dozens.
#[must_use]
pub fn shortened(text: String, max: usize) -> String {
    if text.len() <= max {
        return text;
    }
    let mut end = max.saturating_sub(LEFT_OUT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let (kept, left_out) = text.split_at(end);
    format!("{kept}... ({} bytes more)", left_out.len())
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if !self.field.is_empty() {
            write!(f, " (field {})", self.field)?;
        }
        if !self.remedy.is_empty() {
            write!(f, ": {}", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_for_a_record_says_how_much_is_left_out() {
        assert_eq!(shortened("x".repeat(100), 100), "x".repeat(100));
        let text = shortened("é".repeat(100), 99);
        assert_eq!(text, format!("{}... (150 bytes more)", "é".repeat(25)));
        let long = || "x".repeat(40 << 20);
        let error = Rejection::new(ErrorCode::Internal, long()).remedy(long()).field(long());
        let bounded = error.bounded();
        assert!(bounded.to_string().len() <= 3 * RECORDED_MAX + 16, "{}", bounded.message.len());
        assert_eq!(bounded.clone().bounded(), bounded, "a second time nothing goes");
    }
}
