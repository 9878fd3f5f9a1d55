//! One agent.

use super::{Books, Kept, RowKey, Turns};
use berth_model::agent::{AgentInfo, Disk, DiskHealth};
use berth_model::id::{OfferId, ReservationId, SessionId, SnapshotId, VolumeId};
use berth_model::role::Role;
use berth_model::task::TaskKey;
use berth_model::units::Timestamp;
use berth_model::view::AgentState;
use std::collections::{BTreeMap, BTreeSet};

/// The connection to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Not back since the master started.
    Recovering,
    /// Connected and merged.
    Open(SessionId),
    /// Was connected, or did not come back in time.
    Cut,
}

/// An agent: what it declared, what became of it, who is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    /// As it last declared itself, except that `declared` stays as it was while reservations,
    /// volumes or tasks would not fit the new declaration (then `misfit` says so).
    pub(crate) info: AgentInfo,
    /// Whether one of its disks is faulty; kept, so that a look does not read them all.
    pub(crate) faulty: bool,
    pub(crate) link: Link,
    pub(crate) last_seen: Option<Timestamp>,
    /// How far its ledger had come at its last registration or result, as stored.
    pub(crate) ledger_seq: u64,
    /// The same as last heard in this term.
    pub(crate) ledger_heard: u64,
    pub(crate) books: Books,
    /// Why nothing of it is offered although it is connected.
    pub(crate) misfit: Option<String>,
    pub(crate) rows: BTreeMap<RowKey, ReservationId>,
    pub(crate) volumes: BTreeSet<VolumeId>,
    pub(crate) snapshots: BTreeSet<SnapshotId>,
    pub(crate) offers: BTreeSet<OfferId>,
    pub(crate) tasks: BTreeSet<TaskKey>,
    /// The live ones among them that the books have no room for; kept, so that a look does not read all tasks.
    pub(crate) uncharged: BTreeSet<TaskKey>,
    /// Counts changes of the books; offers remember it.
    pub(crate) seq: u64,
    /// Counts committed changes, and who took something last.
    pub(crate) commits: u64,
    pub(crate) taker: Option<Role>,
    /// The last step that changed what somebody may be shown of it.
    pub(crate) touched: u64,
    /// What is kept for a role for a while.
    pub(crate) kept: Vec<Kept>,
    pub(crate) turns: Turns,
    /// The next look is the next holder's turn.
    pub(crate) fanning: bool,
    /// When its free resources were last looked at.
    pub(crate) looked: Option<Timestamp>,
    /// When they are to be looked at again.
    pub(crate) look_due: Option<Timestamp>,
}

impl Agent {
    pub(crate) fn new(info: AgentInfo) -> Self {
        Self {
            faulty: has_faulty(&info),
            info,
            link: Link::Recovering,
            last_seen: None,
            ledger_seq: 0,
            ledger_heard: 0,
            books: Books::default(),
            misfit: None,
            rows: BTreeMap::new(),
            volumes: BTreeSet::new(),
            snapshots: BTreeSet::new(),
            offers: BTreeSet::new(),
            tasks: BTreeSet::new(),
            uncharged: BTreeSet::new(),
            seq: 0,
            commits: 0,
            taker: None,
            touched: 0,
            kept: Vec::new(),
            turns: Turns::default(),
            fanning: false,
            looked: None,
            look_due: None,
        }
    }
    /// What it declared replaces what it had declared.
    pub(crate) fn declare(&mut self, info: AgentInfo) {
        self.faulty = has_faulty(&info);
        self.info = info;
    }
    /// Its disks as it sees them now.
    pub(crate) fn see_disks(&mut self, disks: Vec<Disk>) {
        self.info.disks = disks;
        self.faulty = has_faulty(&self.info);
    }
    /// True while tasks run on it that its books have no room for: nothing may be added then.
    pub(crate) fn is_overcommitted(&self) -> bool {
        !self.uncharged.is_empty()
    }
    /// The live connection.
    pub(crate) fn session(&self) -> Option<SessionId> {
        match self.link {
            Link::Open(session) => Some(session),
            Link::Recovering | Link::Cut => None,
        }
    }
    /// As users see it.
    pub(crate) fn state(&self) -> AgentState {
        match self.link {
            Link::Recovering => AgentState::Recovering,
            Link::Open(_) => AgentState::Registered,
            Link::Cut => AgentState::Unreachable,
        }
    }
}

fn has_faulty(info: &AgentInfo) -> bool {
    info.disks.iter().any(|disk| disk.health != DiskHealth::Ok)
}
