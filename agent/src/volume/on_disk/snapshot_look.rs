//! Looking at what lies where a snapshot should be: is it there, and is it the one that is meant? Its marker names the
//! very subvolume, which no other subvolume of the file system will ever be.

use super::super::driver::Fault;
use super::OnDisk;
use super::snapshot::{FOLDER, label, tree_of};
use crate::disk::adopt::Handle;
use crate::disk::fs::Node;
use crate::disk::marker::{self, Fields, ReadError};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::snapshot::SnapshotSpec;
use rustix::io::Errno;

/// The kind of a snapshot's marker file.
const KIND: &str = "berth-snapshot";

impl OnDisk {
    /// The snapshot under its own name, verified.
    pub(super) fn whole(
        &self,
        handle: &Handle,
        snapshot: &SnapshotSpec,
    ) -> Result<Option<Node>, Fault> {
        let folder = match handle.root.directory(FOLDER) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.about(snapshot, "looking at")(errno)),
        };
        let found = self.at(handle, &folder, &snapshot.id.to_string(), snapshot)?;
        let Some(directory) = found else { return Ok(None) };
        match directory.is_read_only() {
            Ok(true) => Ok(Some(directory)),
            Ok(false) => {
                let text =
                    format!("{} can be written, so it may have been changed", label(snapshot));
                Err(Fault::Foreign(Rejection::new(ErrorCode::SnapshotNotReady, text)))
            },
            Err(errno) => Err(self.about(snapshot, "looking at")(errno)),
        }
    }

    /// The snapshot under one of its names, verified but for being read-only.
    pub(super) fn at(
        &self,
        handle: &Handle,
        folder: &Node,
        entry: &str,
        snapshot: &SnapshotSpec,
    ) -> Result<Option<Node>, Fault> {
        let shown = self.shown(entry);
        let foreign = |evidence: String| {
            let text = format!("{shown} is not {}: {evidence}", label(snapshot));
            Fault::Foreign(
                Rejection::new(ErrorCode::SnapshotNotReady, text).remedy("it is left as it is"),
            )
        };
        let unclear = self.about(snapshot, "looking at");
        let directory = match folder.directory(entry) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(foreign("a link or a file".to_owned())),
            Err(Errno::XDEV) => return Err(foreign("something is mounted there".to_owned())),
            Err(errno) => return Err(unclear(errno)),
        };
        let Some(fields) = self.snapshot_marker(handle, snapshot)? else {
            return Err(foreign("it has no marker".to_owned()));
        };
        let tree = tree_of(&directory).map_err(&unclear)?;
        let wanted = self.fields(handle, snapshot, tree.unwrap_or_default());
        let differs = wanted.iter().find(|(key, value)| fields.get(*key) != Some(value));
        if tree.is_none() {
            return Err(foreign("it is no subvolume".to_owned()));
        }
        if let Some((key, value)) = differs {
            let found = fields.get(*key).map_or("nothing", String::as_str);
            return Err(foreign(format!("its marker says {key} {found}, expected {value}")));
        }
        Ok(Some(directory))
    }

    pub(super) fn snapshot_marker(
        &self,
        handle: &Handle,
        snapshot: &SnapshotSpec,
    ) -> Result<Option<Fields>, Fault> {
        match marker::read(&handle.meta, &snapshot.id.to_string(), KIND) {
            Ok(fields) => Ok(fields),
            Err(ReadError::Damaged(error)) => {
                let text = format!("the marker of {} is damaged: {error}", label(snapshot));
                Err(Fault::Foreign(Rejection::new(ErrorCode::SnapshotNotReady, text)))
            },
            Err(ReadError::Io(errno)) => Err(self.about(snapshot, "reading the marker of")(errno)),
        }
    }

    fn fields(
        &self,
        handle: &Handle,
        snapshot: &SnapshotSpec,
        tree: u64,
    ) -> Vec<(&'static str, String)> {
        let of = &snapshot.of;
        vec![
            ("snapshot", snapshot.id.to_string()),
            ("volume", of.id.to_string()),
            ("generation", of.generation.to_string()),
            ("size", of.size.get().to_string()),
            ("role", of.role.to_string()),
            ("agent", self.disk.agent().to_string()),
            ("disk", handle.id.to_string()),
            ("subvolume", tree.to_string()),
        ]
    }

    pub(super) fn mark(
        &self,
        handle: &Handle,
        folder: &Node,
        entry: &str,
        snapshot: &SnapshotSpec,
    ) -> Result<(), Errno> {
        let directory = folder.directory(entry)?;
        let tree = tree_of(&directory)?.ok_or(Errno::INVAL)?;
        let mut fields = self.fields(handle, snapshot, tree);
        fields.push(("name", snapshot.name.to_string()));
        fields.push(("of", snapshot.of.name.to_string()));
        let text = marker::encode(KIND, &fields);
        marker::write(&handle.meta, &snapshot.id.to_string(), &text)
    }
}
