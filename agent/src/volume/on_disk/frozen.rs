//! Holding the file system of a mounted image still while its file is copied.
//!
//! A file system that was frozen stays so when the process that froze it dies, and every task that writes to it waits. So it
//! is written down before, synced, as `.meta/frozen.<volume>`: whoever starts next on the disk, or wants that volume, thaws
//! what is named there. Nothing else is thawed: an administrator may have frozen something on purpose.
//!
//! Invariants: (a) what this agent froze is named on the disk until it is thawed; (b) it is thawed when [`PATIENCE`] is over
//! and the kernel has it frozen, whatever the copying does; (c) a copy counts only when the file system stood still from before it to after it.

use super::super::driver::Fault;
use super::OnDisk;
use crate::disk::adopt::Handle;
use crate::disk::fs::Node;
use crate::disk::image::device::FILE;
use crate::disk::{is_broken, marker};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeId;
use rustix::io::Errno;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long writers wait at most, but for the kernel: it lets nobody stop it while it freezes.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// The kind of the marker of a volume whose file system may be frozen.
const KIND: &str = "berth-frozen";
const PREFIX: &str = "frozen.";

fn intent(id: VolumeId) -> String {
    format!("{PREFIX}{id}")
}

/// Thaws when it is dropped, should a panic come between.
struct Still<'a>(Option<&'a Node>);

impl Still<'_> {
    /// Did it stand still until now?
    fn end(mut self) -> Result<bool, Errno> {
        let Some(root) = self.0.take() else { return Ok(false) };
        thaw(root)
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        if let Some(root) = self.0 {
            thaw(root).ok();
        }
    }
}

/// Was it frozen? A failure is tried once more: nothing is worse than to leave it.
fn thaw(root: &Node) -> Result<bool, Errno> {
    let again = |errno: Errno| if errno == Errno::INVAL { Err(errno) } else { root.thaw() };
    match root.thaw().or_else(again) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Did it stand still, and how did it end, if it could be frozen.
type Held = (Result<bool, Errno>, Result<(), Errno>);

/// Freezes, acts and thaws. The time runs from before it is frozen.
fn hold(
    root: &Node,
    id: VolumeId,
    patience: Duration,
    act: impl FnOnce() -> Result<(), Errno>,
) -> Result<Held, Errno> {
    // What was written since the first time, so that freezing has next to nothing to write while everybody waits.
    root.write_out()?;
    let deadline = Instant::now() + patience;
    std::thread::scope(|scope| {
        let (frozen, told) = channel::<()>();
        // Before it is frozen: starting it may wait for memory that cannot be written out then.
        scope.spawn(move || watch(root, id, &told, deadline));
        root.freeze()?;
        let still = Still(Some(root));
        frozen.send(()).ok();
        let acted = act();
        drop(frozen);
        Ok((still.end(), acted))
    })
}

/// Thaws when it takes too long. Until this agent is told to have frozen it there is nothing of its own to be thawed.
fn watch(root: &Node, id: VolumeId, told: &Receiver<()>, deadline: Instant) {
    if told.recv().is_err() {
        return;
    }
    let left = deadline.saturating_duration_since(Instant::now());
    if told.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
        tracing::warn!(volume = %id, "copying takes too long: its file system is thawed");
        thaw(root).ok();
    }
}

impl OnDisk {
    /// Carries something out while the file system mounted at `root`, that of this volume, stands still. The caller wrote
    /// out what there was to write, and holds the lock on mounting.
    pub(super) fn while_still(
        &self,
        handle: &Handle,
        root: &Node,
        id: VolumeId,
        act: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Fault> {
        let failed = |errno: Errno| {
            Fault::Unclear(self.why(&format!("copying the image of volume {id}"), errno))
        };
        let text = marker::encode(KIND, &[("volume", id.to_string())]);
        marker::write(&handle.meta, &intent(id), &text).map_err(failed)?;
        let (stood_still, acted) = match hold(root, id, self.patience, act) {
            Ok(held) => held,
            Err(errno) => {
                marker::remove(&handle.meta, &intent(id)).map_err(failed)?;
                return Err(self.not_still(id, errno));
            },
        };
        let stood_still = stood_still.map_err(|errno| {
            let text = format!("thawing the file system of volume {id} failed ({errno})");
            let remedy = format!("run fsfreeze -u {}", self.shown_at(id).display());
            Fault::Unclear(Rejection::new(ErrorCode::VolumeUnavailable, text).remedy(remedy))
        })?;
        marker::remove(&handle.meta, &intent(id)).map_err(failed)?;
        acted.map_err(failed)?;
        if stood_still {
            return Ok(());
        }
        let text = format!(
            "the file system of volume {id} was thawed before its image was copied, which may take {} s",
            self.patience.as_secs()
        );
        Err(Fault::Failed(
            Rejection::new(ErrorCode::FreezeFailed, text)
                .remedy("look what keeps the disk busy, and whether somebody else thaws"),
        ))
    }

    /// Why a file system could not be written out, or be frozen.
    pub(super) fn not_still(&self, id: VolumeId, errno: Errno) -> Fault {
        if is_broken(errno) {
            return self.not_synced(id, errno);
        }
        let text = format!("the file system of volume {id} cannot be held still ({errno})");
        let remedy = match errno {
            Errno::BUSY => "somebody else froze it: let him thaw it (fsfreeze -u)",
            _other => "look into the kernel log",
        };
        Fault::Failed(Rejection::new(ErrorCode::FreezeFailed, text).remedy(remedy))
    }

    /// Lets a file system go on that an agent which is no more left frozen. One that is mounted where this process does not
    /// see it stays named, until it is mounted here. The caller holds the lock on mounting, or is the only one there.
    pub(super) fn thaw_left(
        &self,
        handle: &Handle,
        id: VolumeId,
        file: Option<&Node>,
    ) -> Result<(), Errno> {
        if !handle.meta.exists(intent(id))? {
            return Ok(());
        }
        if let Some(root) = handle.root.shown(&id.to_string())? {
            return self.thaw_at(handle, id, &root);
        }
        match file.map(Node::attached).transpose()?.flatten() {
            Some(_device) => Ok(()),
            None => marker::remove(&handle.meta, &intent(id)),
        }
    }

    /// The same for a file system with this root.
    pub(super) fn thaw_at(&self, handle: &Handle, id: VolumeId, root: &Node) -> Result<(), Errno> {
        if !handle.meta.exists(intent(id))? {
            return Ok(());
        }
        if thaw(root)? {
            tracing::warn!(volume = %id, "its file system was left frozen and is thawed");
        }
        marker::remove(&handle.meta, &intent(id))
    }

    fn thaw_left_of(&self, handle: &Handle, id: VolumeId) -> Result<(), Errno> {
        let directory = handle.volumes.directory(id.to_string());
        match directory.and_then(|directory| directory.file(FILE)) {
            Ok(file) => self.thaw_left(handle, id, Some(&file)),
            Err(Errno::NOENT) => self.thaw_left(handle, id, None),
            Err(errno) => Err(errno),
        }
    }

    /// At a start, before anything else is done on the disk: everything that was left frozen goes on.
    pub(in super::super) fn thaw_all_left(&self) {
        let Ok(handle) = self.disk.readable() else { return };
        let names = handle.meta.all_names().unwrap_or_default();
        let left = names.iter().filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok());
        for id in left {
            if let Err(errno) = self.thaw_left_of(&handle, id) {
                // It is tried again when the volume is wanted.
                tracing::warn!(volume = %id, %errno, "its file system may be frozen and cannot be thawed");
                drop(self.why(&format!("thawing volume {id}"), errno));
            }
        }
    }
}
