//! Holding the file system of a mounted image still while its file is copied.
//!
//! A file system that was frozen stays so when the process that froze it dies, and every task that writes to it waits. So it
//! is written down before, synced, as `.meta/frozen.<volume>`: whoever starts next on the disk, or wants that volume, thaws
//! what is named there. Nothing else is thawed: an administrator may have frozen something on purpose.
//!
//! Invariants: (a) what this agent froze is named on the disk until it is thawed; (b) it is thawed after [`PATIENCE`] at the
//! latest, whatever the copying does; (c) a copy counts only when the file system stood still from before it to after it.

use super::super::driver::Fault;
use super::OnDisk;
use crate::disk::adopt::Handle;
use crate::disk::fs::Node;
use crate::disk::{is_broken, marker};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeId;
use rustix::io::Errno;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How long writers wait at most.
const PATIENCE: Duration = Duration::from_secs(20);
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
            root.thaw().ok();
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

impl OnDisk {
    /// Carries something out while the file system mounted at `root`, that of this volume, stands still. The caller holds
    /// the lock on mounting.
    pub(super) fn while_still(
        &self,
        handle: &Handle,
        root: &Node,
        id: VolumeId,
        act: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Fault> {
        let on_disk = |errno: Errno| {
            Fault::Unclear(self.why(&format!("copying the image of volume {id}"), errno))
        };
        let text = marker::encode(KIND, &[("volume", id.to_string())]);
        marker::write(&handle.meta, &intent(id), &text).map_err(on_disk)?;
        let frozen = root.freeze();
        let Err(errno) = frozen else { return self.act_still(handle, root, id, act) };
        marker::remove(&handle.meta, &intent(id)).map_err(on_disk)?;
        if is_broken(errno) {
            return Err(self.not_synced(id, errno));
        }
        let text = format!("the file system of volume {id} cannot be held still ({errno})");
        let remedy = match errno {
            Errno::BUSY => "somebody else froze it: let him thaw it (fsfreeze -u)",
            _other => "look into the kernel log",
        };
        Err(Fault::Failed(Rejection::new(ErrorCode::FreezeFailed, text).remedy(remedy)))
    }

    fn act_still(
        &self,
        handle: &Handle,
        root: &Node,
        id: VolumeId,
        act: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Fault> {
        let still = Still(Some(root));
        let (working, over) = channel::<()>();
        let acted = std::thread::scope(|scope| {
            scope.spawn(move || {
                if over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    tracing::warn!(volume = %id, "copying takes too long: its file system is thawed");
                    root.thaw().ok();
                }
            });
            let acted = act();
            drop(working);
            acted
        });
        let stood_still = still.end().map_err(|errno| {
            let text = format!("thawing the file system of volume {id} failed ({errno})");
            let remedy = format!("run fsfreeze -u {}", self.shown_at(id).display());
            Fault::Unclear(Rejection::new(ErrorCode::VolumeUnavailable, text).remedy(remedy))
        })?;
        let failed = |errno: Errno| {
            Fault::Unclear(self.why(&format!("copying the image of volume {id}"), errno))
        };
        marker::remove(&handle.meta, &intent(id)).map_err(failed)?;
        acted.map_err(failed)?;
        if stood_still {
            return Ok(());
        }
        let text = format!(
            "the file system of volume {id} was thawed before its image was copied, which may take {} s",
            PATIENCE.as_secs()
        );
        Err(Fault::Failed(
            Rejection::new(ErrorCode::FreezeFailed, text)
                .remedy("look what keeps the disk busy, and whether somebody else thaws"),
        ))
    }

    /// Lets a file system go on that an agent which is no more left frozen. The caller holds the lock on mounting, or is
    /// the only one there.
    pub(super) fn thaw_left(&self, handle: &Handle, id: VolumeId) -> Result<(), Errno> {
        let name = intent(id);
        if !handle.meta.exists(&name)? {
            return Ok(());
        }
        if let Some(root) = handle.root.shown(&id.to_string())?
            && thaw(&root)?
        {
            tracing::warn!(volume = %id, "its file system was left frozen and is thawed");
        }
        marker::remove(&handle.meta, &name)
    }

    /// At a start, before anything else is done on the disk: everything that was left frozen goes on.
    pub(in super::super) fn thaw_all_left(&self) {
        let Ok(handle) = self.disk.readable() else { return };
        let names = handle.meta.all_names().unwrap_or_default();
        let left = names.iter().filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok());
        for id in left {
            if let Err(errno) = self.thaw_left(&handle, id) {
                // It is tried again when the volume is wanted.
                tracing::warn!(volume = %id, %errno, "its file system may be frozen and cannot be thawed");
                drop(self.why(&format!("thawing volume {id}"), errno));
            }
        }
    }
}
