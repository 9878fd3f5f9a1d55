//! Exports: what is read from a volume or a snapshot while others live on with it.
//!
//! An export holds nothing: whatever takes the content away ends it first and waits until it has let go. Invariant: every
//! handle that an export opens is closed when it is not listed any more.

use super::Volumes;
use super::content::{Counter, Exported, Packed, Sink, Stop, export};
use super::driver::Fault;
use crate::disk::fs::Node;
use berth_agent_core::effect::VolumeEffect;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{SnapshotId, VolumeId};
use berth_model::snapshot::SnapshotSpec;
use berth_model::transfer::Progress;
use berth_model::volume::VolumeSpec;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long an export may take to let go. A stream that takes nothing is hung up on within a moment.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct UnderWay {
    volume: VolumeId,
    snapshot: Option<SnapshotId>,
    counter: Arc<Counter>,
    stopped: Arc<AtomicBool>,
}

/// Those that are under way.
#[derive(Debug, Default)]
pub(super) struct Exports {
    all: Mutex<BTreeMap<u64, UnderWay>>,
    next: AtomicU64,
    ended: Condvar,
}

impl Exports {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, UnderWay>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An export is listed as long as this exists, however it ends.
struct Listed<'a> {
    exports: &'a Exports,
    number: u64,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.exports.all().remove(&self.number);
        self.exports.ended.notify_all();
    }
}

impl Volumes {
    /// Writes what is in a volume, or in a snapshot of it, as an archive. Ends early when `stopped` becomes true, which it
    /// does when the content is taken away.
    ///
    /// # Errors
    /// It cannot be read, changes meanwhile, or is taken away; what was written is no archive then.
    pub fn export(
        &self,
        volume: &VolumeSpec,
        snapshot: Option<&SnapshotSpec>,
        stopped: &Arc<AtomicBool>,
        sink: Sink<'_>,
    ) -> Result<Packed, Rejection> {
        let counter = Arc::new(Counter::new(Arc::clone(stopped)));
        let number = self.exports.next.fetch_add(1, Ordering::Relaxed);
        let under_way = UnderWay {
            volume: volume.id,
            snapshot: snapshot.map(|snapshot| snapshot.id),
            counter: Arc::clone(&counter),
            stopped: Arc::clone(stopped),
        };
        // Before it is opened: what takes it away from here on ends this.
        self.exports.all().insert(number, under_way);
        let _listed = Listed { exports: &self.exports, number };
        let source = match snapshot {
            Some(snapshot) => self.open_snapshot(snapshot)?,
            None => Node::from(self.open_verified(volume)?),
        };
        let what = Exported {
            name: volume.name.to_string(),
            role: volume.role.to_string(),
            size: volume.size,
            snapshot: snapshot.map(|snapshot| snapshot.name.to_string()),
        };
        export(&source, &what, &counter, sink).map_err(|stop| match stop {
            Stop::Content(reason) => reason,
            Stop::Volume { doing, errno } => {
                Rejection::new(ErrorCode::Internal, format!("{doing} failed ({errno})"))
            },
            Stop::Stopped => {
                let text = format!(
                    "the export of volume {} was ended: nobody takes it any more, its content is taken away, or the agent stops",
                    volume.name
                );
                let ended = Rejection::new(ErrorCode::TransferFailed, text);
                ended.remedy("see berth operation list for what was done to it, then export again")
            },
        })
    }

    fn open_snapshot(&self, snapshot: &SnapshotSpec) -> Result<Node, Rejection> {
        let driver = self.directory(&snapshot.of.source).ok_or_else(|| {
            let text = format!(
                "disk {} of snapshot {} is not declared",
                snapshot.of.source, snapshot.name
            );
            Rejection::new(ErrorCode::UnknownDisk, text)
        })?;
        driver.open_snapshot(snapshot).map_err(|fault| match fault {
            Fault::Foreign(reason) | Fault::Failed(reason) | Fault::Unclear(reason) => reason,
        })
    }

    /// How far they are.
    pub(super) fn exported(&self) -> Vec<(VolumeId, Progress)> {
        self.exports.all().values().map(|one| (one.volume, one.counter.progress())).collect()
    }

    /// Ends those whose content an effect takes away, and waits until they have let go.
    pub(super) fn end_exports(&self, effect: &VolumeEffect) {
        let is_taken = |one: &UnderWay| match effect {
            VolumeEffect::Trash { spec }
            | VolumeEffect::Purge { spec }
            | VolumeEffect::Wipe { spec, .. }
            | VolumeEffect::RollBack { spec, .. } => {
                one.volume == spec.id && one.snapshot.is_none()
            },
            VolumeEffect::EraseSnapshot { snapshot } => one.snapshot == Some(snapshot.id),
            VolumeEffect::EraseGroup { members } => {
                members.iter().any(|member| one.snapshot == Some(member.id))
            },
            VolumeEffect::Create { .. }
            | VolumeEffect::Restore { .. }
            | VolumeEffect::Resize { .. }
            | VolumeEffect::Verify { .. }
            | VolumeEffect::Usage { .. }
            | VolumeEffect::SurveyWipe { .. }
            | VolumeEffect::Snapshot { .. }
            | VolumeEffect::TakeGroup { .. }
            | VolumeEffect::VerifySnapshot { .. }
            | VolumeEffect::Clone { .. }
            | VolumeEffect::Import { .. }
            | VolumeEffect::SetAccess { .. }
            | VolumeEffect::Adopt { .. } => false,
        };
        let all = self.exports.all();
        all.values().filter(|one| is_taken(one)).for_each(|one| {
            one.stopped.store(true, Ordering::Relaxed);
        });
        let holds = |all: &mut BTreeMap<u64, UnderWay>| all.values().any(is_taken);
        // Whoever does not let go is found out by the effect itself, which is tried again.
        drop(self.exports.ended.wait_timeout_while(all, PATIENCE, holds));
    }
}
