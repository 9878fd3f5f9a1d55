//! Looking at what lies where a snapshot should be: is it there, and is it the one that is meant? Its marker names the
//! very subvolume, which no other subvolume of the file system will ever be, or the inode of the directory with its image.

use super::super::driver::Fault;
use super::OnDisk;
use super::snapshot::{FOLDER, label, trace_of};
use crate::disk::adopt::Handle;
use crate::disk::fs::Node;
use crate::disk::image::Format;
use crate::disk::image::device::FILE;
use crate::disk::marker::{self, Fields, ReadError};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::snapshot::SnapshotSpec;
use rustix::io::Errno;

/// The kind of a snapshot's marker file.
const KIND: &str = "berth-snapshot";

impl OnDisk {
    /// The content of a snapshot, to be read.
    pub(in crate::volume) fn open_snapshot(&self, snapshot: &SnapshotSpec) -> Result<Node, Fault> {
        let handle = self.disk.readable().map_err(Fault::Unclear)?;
        if let Some(format) = self.image_of(&handle, snapshot)? {
            let text = format!(
                "{} is an image with {format} in it, which is not read as it lies",
                label(snapshot)
            );
            return Err(Fault::Failed(Rejection::new(ErrorCode::Unsupported, text).remedy(
                "make a volume of it and export that: berth volume clone, then berth volume export",
            )));
        }
        self.whole(&handle, snapshot)?.ok_or_else(|| {
            let text = format!("{} is not there", label(snapshot));
            Fault::Failed(Rejection::new(ErrorCode::SnapshotLost, text))
        })
    }

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
        let fields = self.snapshot_marker(handle, snapshot)?.unwrap_or_default();
        if let Some(length) = fields.get("length") {
            return match directory.file(FILE).and_then(|file| file.length()) {
                Ok(found) if found.to_string() == *length => Ok(Some(directory)),
                Ok(found) => {
                    let text = format!(
                        "{} has {found} bytes, its marker says {length}, so it was changed",
                        label(snapshot)
                    );
                    Err(Fault::Foreign(Rejection::new(ErrorCode::SnapshotNotReady, text)))
                },
                Err(Errno::NOENT) => {
                    let text = format!("{} has no image in it", label(snapshot));
                    Err(Fault::Foreign(Rejection::new(ErrorCode::SnapshotNotReady, text)))
                },
                Err(errno) => Err(self.about(snapshot, "looking at")(errno)),
            };
        }
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
            // What lies below it is untouched, and comes back when that goes.
            Err(Errno::XDEV) => {
                let text =
                    format!("something is mounted at {shown}: {} cannot be seen", label(snapshot));
                let unseen = Rejection::new(ErrorCode::SnapshotNotReady, text);
                return Err(Fault::Unclear(
                    unseen.remedy("unmount it; until then it is left as it is"),
                ));
            },
            Err(errno) => return Err(unclear(errno)),
        };
        let Some(fields) = self.snapshot_marker(handle, snapshot)? else {
            return Err(foreign("it has no marker".to_owned()));
        };
        let own = trace_of(&directory).map_err(&unclear)?;
        let wanted = self.fields(handle, snapshot, own);
        let differs = wanted.iter().find(|(key, value)| fields.get(*key) != Some(value));
        if let Some((key, value)) = differs {
            let found = fields.get(*key).map_or("nothing", String::as_str);
            return Err(foreign(format!("its marker says {key} {found}, expected {value}")));
        }
        Ok(Some(directory))
    }

    /// The kind of file system in the image that a snapshot is; nothing of one that is a subvolume.
    pub(super) fn image_of(
        &self,
        handle: &Handle,
        snapshot: &SnapshotSpec,
    ) -> Result<Option<Format>, Fault> {
        let fields = self.snapshot_marker(handle, snapshot)?.unwrap_or_default();
        let Some(text) = fields.get("image") else { return Ok(None) };
        text.parse().map(Some).map_err(|()| {
            let text = format!("{} holds a file system {text}, which is unknown", label(snapshot));
            Fault::Foreign(Rejection::new(ErrorCode::SnapshotNotReady, text))
        })
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
        own: (&'static str, String),
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
            own,
        ]
    }

    pub(super) fn mark(
        &self,
        handle: &Handle,
        folder: &Node,
        entry: &str,
        snapshot: &SnapshotSpec,
        image: Option<Format>,
    ) -> Result<(), Errno> {
        let directory = folder.directory(entry)?;
        let mut fields = self.fields(handle, snapshot, trace_of(&directory)?);
        if let Some(format) = image {
            fields.push(("image", format.to_string()));
            fields.push(("length", directory.file(FILE)?.length()?.to_string()));
        }
        fields.push(("name", snapshot.name.to_string()));
        fields.push(("of", snapshot.of.name.to_string()));
        let text = marker::encode(KIND, &fields);
        marker::write(&handle.meta, &snapshot.id.to_string(), &text)
    }
}
