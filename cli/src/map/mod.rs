//! The Berth map: each disk as a berth whose length is its size, with the volumes moored in it.
//!
//! This file is the numbers behind the picture, made from the views the master shows; `-o json` prints them. They know no
//! terminal. Invariant: what volumes hold, what is reserved without a volume, and what is free add up to the size; trash
//! lies in what is free, because a volume that needs the room takes it.

mod draw;
mod scale;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use draw::render;
pub(crate) use text::Canvas;

use berth_model::agent::DiskHealth;
use berth_model::units::{Bytes, Timestamp};
use berth_model::view::{AgentState, DiskView, VolumeView};
use berth_model::volume::VolumeState;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a part of a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A volume.
    Volume,
    /// Reserved to a role, without a volume.
    Reserved,
    /// A deleted volume that can be restored.
    Trash,
    /// Neither.
    Free,
}

/// A part of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Part {
    pub(crate) kind: Kind,
    /// Of the volume; empty otherwise.
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) size_bytes: u64,
    pub(crate) used_bytes: Option<u64>,
    pub(crate) in_use_by: Vec<String>,
    pub(crate) host_path: String,
}

impl Part {
    fn plain(kind: Kind, role: String, size: Bytes) -> Self {
        Self {
            kind,
            name: String::new(),
            role,
            id: String::new(),
            state: String::new(),
            size_bytes: size.get(),
            used_bytes: None,
            in_use_by: Vec::new(),
            host_path: String::new(),
        }
    }
    fn volume(kind: Kind, view: &VolumeView) -> Self {
        let spec = &view.volume.spec;
        Self {
            kind,
            name: spec.name.to_string(),
            role: spec.role.to_string(),
            id: spec.id.to_string(),
            state: view.volume.state.as_str().to_owned(),
            size_bytes: spec.size.get(),
            used_bytes: view.used.map(Bytes::get),
            in_use_by: view.users.iter().map(ToString::to_string).collect(),
            host_path: view.host_path.to_string(),
        }
    }
    /// What it takes of the disk's file system.
    pub(crate) fn weight(&self) -> u64 {
        match self.kind {
            Kind::Volume | Kind::Reserved | Kind::Free => self.size_bytes,
            Kind::Trash => self.used_bytes.unwrap_or(self.size_bytes),
        }
    }
}

/// One disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Berth {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) agent_id: String,
    pub(crate) hostname: String,
    pub(crate) agent_state: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) root: String,
    pub(crate) media: String,
    pub(crate) driver: String,
    pub(crate) enforced: String,
    pub(crate) size_bytes: u64,
    /// What its file system has free, as the agent last told; other things may lie there.
    pub(crate) file_system_free_bytes: u64,
    /// Why it is withheld.
    pub(crate) faulty: Option<String>,
    /// Why nothing new goes on it; empty when no reason was given.
    pub(crate) cordoned: Option<String>,
    pub(crate) cordoned_since_ms: Option<u64>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) parts: Vec<Part>,
}

impl Berth {
    pub(crate) fn new(view: &DiskView, volumes: &[VolumeView]) -> Self {
        let disk = &view.disk;
        let parts = parts(view, volumes);
        let held: u64 =
            parts.iter().filter(|p| p.kind != Kind::Trash).map(|part| part.size_bytes).sum();
        Self {
            id: disk.id.to_string(),
            name: disk.name.to_string(),
            agent_id: view.agent.to_string(),
            hostname: view.hostname.to_string(),
            agent_state: view.agent_state.as_str().to_owned(),
            kind: disk.source.to_string().split(':').next().unwrap_or_default().to_owned(),
            root: disk.root.to_string(),
            media: disk.media.as_str().to_owned(),
            driver: disk.driver.to_string(),
            enforced: disk.enforcement.as_str().to_owned(),
            // The books may hold more than a disk that shrank under them declares.
            size_bytes: disk.size.get().max(held),
            file_system_free_bytes: disk.free.get(),
            faulty: match &disk.health {
                DiskHealth::Ok => None,
                DiskHealth::Faulty(why) => Some(why.clone()),
            },
            cordoned: view.cordon.as_ref().map(|cordon| cordon.reason.clone()),
            cordoned_since_ms: view.cordon.as_ref().map(|cordon| Timestamp::ms(cordon.since)),
            labels: view.labels.clone(),
            parts,
        }
    }
    /// Is the agent there, so that what is shown is now?
    pub(crate) fn is_current(&self) -> bool {
        self.agent_state == AgentState::Registered.as_str()
    }
}

fn parts(view: &DiskView, volumes: &[VolumeView]) -> Vec<Part> {
    let mut own: Vec<&VolumeView> = volumes
        .iter()
        .filter(|v| v.volume.agent == view.agent && v.volume.spec.source == view.disk.source)
        .collect();
    own.sort_by_key(|v| (v.volume.spec.role.clone(), v.volume.spec.name.clone(), v.volume.spec.id));
    let (mut reserved, mut free) = (BTreeMap::<String, u64>::new(), 0_u64);
    for resource in view.total.iter().filter(|r| r.persistence().is_none()) {
        match resource.stack.owner() {
            Some(owner) => *reserved.entry(owner.to_string()).or_default() += resource.size().get(),
            None => free += resource.size().get(),
        }
    }
    let placed = own.iter().filter(|v| v.volume.state.holds_space());
    let mut parts: Vec<Part> = placed.map(|v| Part::volume(Kind::Volume, v)).collect();
    parts.extend(
        reserved.into_iter().map(|(role, b)| Part::plain(Kind::Reserved, role, Bytes::new(b))),
    );
    let trashed = own.iter().filter(|v| v.volume.state == VolumeState::Trashed);
    parts.extend(trashed.map(|v| Part::volume(Kind::Trash, v)));
    if free > 0 {
        parts.push(Part::plain(Kind::Free, String::new(), Bytes::new(free)));
    }
    parts
}
