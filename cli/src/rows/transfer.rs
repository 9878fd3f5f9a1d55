//! What lies in a directory that is to be imported.

use super::ErrorRow;
use crate::output::{Cell, Row};
use berth_model::transfer::Survey;
use berth_model::units::Bytes;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct OwnerRow {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) entries: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct OpenByRow {
    pub(crate) pid: u32,
    pub(crate) command: String,
    pub(crate) path: String,
    pub(crate) writes: bool,
}

/// The report of a dry run.
#[derive(Debug, Serialize)]
pub(crate) struct SurveyRow {
    pub(crate) path: String,
    /// What a copy takes, holes left out.
    pub(crate) copy_bytes: u64,
    /// The lengths of all files, holes included.
    pub(crate) length_bytes: u64,
    /// The size that was asked for.
    pub(crate) size_bytes: u64,
    pub(crate) fits: bool,
    pub(crate) files: u64,
    pub(crate) directories: u64,
    pub(crate) links: u64,
    pub(crate) pipes: u64,
    /// Left out.
    pub(crate) sockets: u64,
    pub(crate) devices: u64,
    /// Names of files beyond the first of each.
    pub(crate) hard_links: u64,
    pub(crate) sparse_files: u64,
    pub(crate) with_attributes: u64,
    pub(crate) with_acls: u64,
    /// The most frequent first, at most sixteen.
    pub(crate) owners: Vec<OwnerRow>,
    pub(crate) mounts: Vec<String>,
    pub(crate) open_by: Vec<OpenByRow>,
    /// Why it would be refused now.
    pub(crate) refusals: Vec<ErrorRow>,
}

impl SurveyRow {
    pub(crate) fn new(survey: &Survey) -> Self {
        let owner = |of: &berth_model::transfer::OwnerCount| OwnerRow {
            uid: of.uid,
            gid: of.gid,
            entries: of.entries,
        };
        let who = |who: &berth_model::transfer::OpenBy| OpenByRow {
            pid: who.pid,
            command: who.command.clone(),
            path: who.path.clone(),
            writes: who.writes,
        };
        Self {
            path: survey.path.to_string(),
            copy_bytes: survey.bytes.get(),
            length_bytes: survey.length.get(),
            size_bytes: survey.size.get(),
            fits: survey.bytes <= survey.size,
            files: survey.files,
            directories: survey.directories,
            links: survey.links,
            pipes: survey.pipes,
            sockets: survey.sockets,
            devices: survey.devices,
            hard_links: survey.hard_links,
            sparse_files: survey.sparse,
            with_attributes: survey.attributes,
            with_acls: survey.acls,
            owners: survey.owners.iter().map(owner).collect(),
            mounts: survey.mounts.clone(),
            open_by: survey.open_by.iter().map(who).collect(),
            refusals: survey.refusals.iter().map(ErrorRow::from).collect(),
        }
    }
}

impl Row for SurveyRow {
    const COLUMNS: &'static [&'static str] = &["PATH", "BYTES", "ENTRIES", "REFUSALS"];
    const NARROW: usize = 4;

    fn cells(&self) -> Vec<Cell> {
        let entries = self.files + self.directories + self.links + self.pipes;
        vec![
            Cell::text(&self.path),
            Cell::text(Bytes::new(self.copy_bytes)),
            Cell::text(entries),
            Cell::text(self.refusals.len()),
        ]
    }

    fn name(&self) -> String {
        self.path.clone()
    }
}
