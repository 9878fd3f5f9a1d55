//! The lives of volumes that roll backs ended: they lie in the trash with a marker of their own, `.meta/<volume>.<generation>`,
//! that names the safety snapshot with the same content, and go with it or with their volume, never before.
//!
//! It does not know how a roll back is made (`derive`). Invariant: a life counts as replaced only when its volume has gone
//! on to another.

use super::super::driver::Fault;
use super::super::look;
use super::OnDisk;
use super::snapshot::trace_of;
use crate::disk::adopt::Handle;
use crate::disk::fs::Node;
use crate::disk::{code_of, marker};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeId;
use berth_model::snapshot::SnapshotSpec;
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;

/// The kind of the marker of a life that a roll back ended.
const REPLACED: &str = "berth-replaced";

impl OnDisk {
    pub(super) fn mark_replaced(
        &self,
        handle: &Handle,
        directory: &Node,
        last: &VolumeSpec,
        safety: &SnapshotSpec,
    ) -> Result<(), Errno> {
        let fields = [
            ("volume", last.id.to_string()),
            ("generation", last.generation.to_string()),
            ("agent", self.disk.agent().to_string()),
            ("disk", handle.id.to_string()),
            ("safety", safety.id.to_string()),
            trace_of(directory)?,
        ];
        let text = marker::encode(REPLACED, &fields);
        marker::write(&handle.meta, &look::trash_entry(last.id, last.generation), &text)
    }

    /// Is this life of a volume one that a roll back ended? It is when the volume has gone on to another.
    pub(super) fn is_replaced(
        &self,
        handle: &Handle,
        volume: VolumeId,
        generation: u64,
    ) -> Result<bool, Fault> {
        let entry = look::trash_entry(volume, generation);
        if !handle.meta.exists(&entry).map_err(unread(volume, &entry))? {
            return Ok(false);
        }
        let now = look::read_marker(&self.disk, handle, volume)?;
        Ok(now.is_none_or(|now| now.generation > generation))
    }

    /// Takes back the claim, left by a roll back that failed, that this life of a volume was replaced.
    pub(super) fn disclaim(&self, handle: &Handle, entry: &str, id: VolumeId) -> Result<(), Fault> {
        let failed = unread(id, entry);
        if handle.meta.exists(entry).map_err(&failed)? {
            marker::remove(&handle.meta, entry).map_err(failed)?;
        }
        Ok(())
    }

    /// Deletes the life that a roll back ended, with the snapshot that has its content.
    pub(super) fn erase_replaced_by(
        &self,
        handle: &Handle,
        safety: &SnapshotSpec,
    ) -> Result<(), Fault> {
        let entry = look::trash_entry(safety.of.id, safety.of.generation);
        self.erase_replaced(handle, safety.of.id, &entry, Some(safety))
    }

    /// Deletes all lives of a volume that roll backs ended: the volume itself is being purged.
    pub(super) fn erase_all_replaced(
        &self,
        handle: &Handle,
        spec: &VolumeSpec,
    ) -> Result<(), Fault> {
        let id = spec.id.to_string();
        let names = handle.meta.all_names().map_err(self.unclear(spec, "purging"))?;
        let own = |name: &&String| {
            name.strip_prefix(id.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        for name in names.iter().filter(own) {
            self.erase_replaced(handle, spec.id, name, None)?;
        }
        Ok(())
    }

    fn erase_replaced(
        &self,
        handle: &Handle,
        volume: VolumeId,
        entry: &str,
        safety: Option<&SnapshotSpec>,
    ) -> Result<(), Fault> {
        let what = format!("the replaced content {entry} of volume {volume}");
        let unclear =
            |text: String| Fault::Unclear(Rejection::new(ErrorCode::VolumeUnavailable, text));
        let fields = marker::read(&handle.meta, entry, REPLACED)
            .map_err(|error| unclear(format!("the marker of {what} cannot be had: {error}")))?;
        let Some(fields) = fields else { return Ok(()) };
        if safety.is_some_and(|safety| fields.get("safety") != Some(&safety.id.to_string())) {
            return Ok(());
        }
        let failed = |errno: Errno| Fault::Unclear(self.why(&format!("deleting {what}"), errno));
        let life = marker::value(&fields, "generation")
            .map_err(|error| unclear(format!("the marker of {what} cannot be had: {error}")))?;
        if !self.is_replaced(handle, volume, life)? {
            // The volume itself is in that life. Its own purge deletes it.
            return match safety {
                Some(_) => Ok(()),
                None => marker::remove(&handle.meta, entry).map_err(failed),
            };
        }
        let trash = &handle.trash;
        match trash.directory(entry) {
            Ok(directory) => {
                let (key, value) = trace_of(&directory).map_err(failed)?;
                if fields.get(key) != Some(&value) {
                    let text = format!("{what} is another directory than its marker says");
                    let reason = Rejection::new(ErrorCode::VolumeUnavailable, text);
                    return Err(Fault::Foreign(reason.remedy("it is left as it is")));
                }
                drop(directory);
                self.empty(trash, entry, &volume, &what)?;
            },
            Err(Errno::NOENT) => {},
            Err(errno) => return Err(failed(errno)),
        }
        marker::remove(&handle.meta, entry).map_err(failed)
    }
}

fn unread(volume: VolumeId, entry: &str) -> impl Fn(Errno) -> Fault {
    let text = format!("the marker {entry} of volume {volume} cannot be looked for");
    move |errno| Fault::Unclear(Rejection::new(code_of(errno), format!("{text} ({errno})")))
}
