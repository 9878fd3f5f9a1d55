//! One disk that is reached in two ways, and copies of a disk.
//!
//! Invariant: nobody is told to remove what may be the only one.

use super::Disk;
use super::filesystem::Position;
use super::fs;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

impl Disk {
    /// The same disk under two roots: a copy, or one directory reached in two ways.
    pub(super) fn same_disk(
        &self,
        others: &[Arc<Self>],
        known: &[LedgerDisk],
    ) -> Option<Rejection> {
        let (id, position) = {
            let state = self.state();
            let handle = state.handle.as_ref()?;
            (handle.id, handle.position)
        };
        if let Some(one) = self.one_directory(position, others) {
            return Some(one);
        }
        let twin = others
            .iter()
            .find(|other| other.state().handle.as_ref().is_some_and(|handle| handle.id == id));
        let shown = self.root().display();
        if let Some(twin) = twin {
            return Some(copied(format!(
                "the disk at {shown} carries the identity {id} of the disk at {}: one is a copy of the other",
                twin.root().display()
            )));
        }
        let elsewhere =
            known.iter().find(|known| known.id == id && known.source != *self.source())?;
        let place = &elsewhere.source;
        let is_there = |path: &Arc<str>| fs::locate(&*self.files, Path::new(&**path));
        let found = match place {
            DiskSource::Path(path) | DiskSource::Mount(path) => is_there(path).ok(),
            DiskSource::Root | DiskSource::Block(_) => None,
        };
        Some(match found {
            Some(found) if found.is_same_object(&position) => {
                leads_to(self.root(), &elsewhere.name, place)
            },
            Some(_another) => copied(format!(
                "the disk at {shown} carries the identity {id} of the disk at {place}: one is a copy of the other"
            )),
            None => Rejection::new(
                ErrorCode::DiskFaulty,
                format!(
                    "the disk at {shown} carries the identity {id} of disk {} at {place}, which is not there: it was moved or is a copy",
                    elsewhere.name
                ),
            )
            .remedy("put it back at the root it had before; remove nothing, it may be the only one"),
        })
    }

    /// Refuses a directory that another disk has, whatever path leads to it.
    pub(super) fn one_directory(
        &self,
        position: Position,
        others: &[Arc<Self>],
    ) -> Option<Rejection> {
        let is_it = |other: &&Arc<Self>| {
            let state = other.state();
            let at = state.handle.as_ref().map(|handle| handle.position);
            at.is_some_and(|at| at.is_same_object(&position))
        };
        let twin = others.iter().find(is_it)?;
        Some(leads_to(self.root(), twin.name(), &twin.root().display()))
    }
}

fn leads_to(root: &Path, name: &str, place: &dyn Display) -> Rejection {
    let text = format!("{} leads to disk {name} at {place}: it is one directory", root.display());
    Rejection::new(ErrorCode::DiskExists, text)
        .remedy("declare a disk once, by one path; nothing is to be removed")
        .field("disk.source.root")
}

fn copied(text: String) -> Rejection {
    Rejection::new(ErrorCode::DiskFaulty, text).remedy(
        "declare each disk once, at the root it had before; compare the two, then take the copy away",
    )
}
