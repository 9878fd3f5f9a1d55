//! CREATE with content: it is put into the volume before that has its name, synced, and compared with what was to be there.
//!
//! Invariant: whatever is below the unfinished name was put there by the agent and given to nobody, so it goes when the
//! volume does not get its name. Its marker goes after it: found alone it would say that a volume was lost.

use super::super::content::{Content, Stop};
use super::super::driver::Fault;
use super::super::look::{self, Target, look};
use super::{OnDisk, access};
use crate::disk::adopt::Handle;
use crate::disk::fs::{Kind, Node};
use crate::disk::probe::DriverKind;
use crate::disk::remove::{self, Limits};
use berth_agent_core::effect::Place;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;

/// The agent ends before the content is there.
pub(super) fn stopping(spec: &VolumeSpec) -> Rejection {
    let text = format!("the agent was stopped while volume {} got its content", spec.id);
    Rejection::new(ErrorCode::Unavailable, text).remedy("it is begun again when the agent is back")
}

impl OnDisk {
    /// Fills a volume that has its unfinished directory, or takes everything back.
    pub(super) fn put_in(
        &self,
        handle: &Handle,
        spec: &VolumeSpec,
        content: &mut dyn Content,
    ) -> Result<(), Fault> {
        let unclear = self.unclear(spec, "opening the beginnings of");
        let directory =
            handle.volumes.directory(look::unfinished_entry(spec.id)).map_err(unclear)?;
        let Err(stop) = self.put_into(&directory, spec, content) else { return Ok(()) };
        drop(directory);
        Err(match stop {
            Stop::Content(reason) => match self.sweep(handle, spec) {
                Ok(()) => Fault::Failed(reason),
                Err(_second) => Fault::Unclear(reason),
            },
            Stop::Volume { doing, errno: Errno::DQUOT } => match self.sweep(handle, spec) {
                Ok(()) => Fault::Failed(too_small(spec, &doing)),
                Err(_second) => Fault::Unclear(too_small(spec, &doing)),
            },
            Stop::Volume { doing, errno } => match self.take_back(handle, spec, errno) {
                Fault::Failed(reason) => Fault::Failed(named(reason, &doing)),
                Fault::Unclear(reason) => Fault::Unclear(named(reason, &doing)),
                foreign @ Fault::Foreign(_) => foreign,
            },
            Stop::Stopped => Fault::Unclear(stopping(spec)),
        })
    }

    /// Fills the root of a volume that nobody was given; afterwards what is in it is durable and compared.
    pub(super) fn put_into(
        &self,
        root: &Node,
        spec: &VolumeSpec,
        content: &mut dyn Content,
    ) -> Result<(), Stop> {
        let failed = |doing: &str| {
            let doing = format!("{doing} volume {}", spec.id);
            move |errno| Stop::Volume { doing: doing.clone(), errno }
        };
        content.fill(root)?;
        // What is not said stays as the content has it.
        access::give(root, spec.access).map_err(failed("setting the owner or mode of"))?;
        root.sync_file_system().map_err(failed("syncing the content of"))?;
        content.compare(root)
    }

    /// Deletes what was begun of a content, durably, before its marker goes.
    pub(super) fn empty_copy(&self, handle: &Handle, spec: &VolumeSpec) -> Result<(), Fault> {
        let entry = look::unfinished_entry(spec.id);
        let generations = vec![1, spec.generation];
        let target = Target { place: Place::Live, entry: entry.clone(), generations };
        // What carries no identity has no content either: it gets it first. Anything else there is not ours.
        let here = match look(&self.disk, handle, spec, target) {
            Ok(Some(here)) => here,
            Ok(None) | Err(Fault::Foreign(_)) => return Ok(()),
            Err(unclear) => return Err(unclear),
        };
        if here.identity.driver.image().is_some() {
            return Ok(());
        }
        let unclear = self.unclear(spec, "clearing the beginnings of");
        let names = here.directory.names(usize::MAX).map_err(&unclear)?;
        if names.is_empty() {
            return Ok(());
        }
        if here.identity.driver == DriverKind::Btrfs {
            // A full quota would stop deletions as well.
            here.directory.limit(None).ok();
        }
        for name in &names {
            match here.directory.kind(name).map_err(&unclear)? {
                Kind::Other => here.directory.unlink(name).map_err(&unclear)?,
                Kind::Directory => {
                    remove::tree(&here.directory, name, &Limits::unlimited())
                        .map_err(|error| self.left_alone(spec, error))?;
                },
            }
        }
        here.directory.sync_file_system().map_err(unclear)
    }
}

/// The volume is full, not the disk it lies on.
pub(super) fn too_small(spec: &VolumeSpec, doing: &str) -> Rejection {
    let text = format!("{doing} failed: volume {} of {} is full", spec.id, spec.size);
    Rejection::new(ErrorCode::ImportRefused, text).remedy("ask for a larger volume")
}

fn named(mut reason: Rejection, doing: &str) -> Rejection {
    reason.message = format!("{doing}: {}", reason.message);
    reason
}
