//! Disks and profiles.

use super::{cut, short};
use crate::map::{Berth, Kind, Part};
use crate::output::{Cell, Row};
use berth_model::agent::Disk;
use berth_model::disk::DiskProfile;
use berth_model::id::AgentId;
use berth_model::units::{Bytes, Timestamp};
use berth_model::view::{AgentState, DiskView, VolumeView};
use serde::Serialize;
use std::collections::BTreeMap;

use super::agent::DiskRow as Told;

/// A disk of an agent, with what operators said of it.
#[derive(Debug, Serialize)]
pub(crate) struct DiskRow {
    #[serde(flatten)]
    pub(crate) told: Told,
    pub(crate) agent_state: String,
    /// OK, FAULTY, CORDONED, or UNKNOWN while the agent is away.
    pub(crate) state: String,
    /// Why it is not OK.
    pub(crate) evidence: String,
    pub(crate) cordoned: bool,
    pub(crate) cordon_reason: Option<String>,
    pub(crate) cordoned_since_ms: Option<u64>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) profiles: Vec<String>,
}

impl DiskRow {
    pub(crate) fn new(view: &DiskView) -> Self {
        let (state, evidence) = health(view);
        Self {
            told: Told::new(&view.disk, view.agent, &view.hostname),
            agent_state: view.agent_state.as_str().to_owned(),
            state: state.to_owned(),
            evidence,
            cordoned: view.cordon.is_some(),
            cordon_reason: view.cordon.as_ref().map(|cordon| cordon.reason.clone()),
            cordoned_since_ms: view.cordon.as_ref().map(|cordon| Timestamp::ms(cordon.since)),
            labels: view.labels.clone(),
            profiles: view.profiles.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The state of a disk and the evidence for it.
fn health(view: &DiskView) -> (&'static str, String) {
    let fault = match &view.disk.health {
        berth_model::agent::DiskHealth::Ok => None,
        berth_model::agent::DiskHealth::Faulty(why) => Some(why.clone()),
    };
    let cordon = view.cordon.as_ref().map(|cordon| match cordon.reason.as_str() {
        "" => "cordoned without a reason".to_owned(),
        reason => format!("cordoned: {reason}"),
    });
    let away = (view.agent_state != AgentState::Registered).then(|| {
        format!("its agent is {}, so nothing is known of it now", view.agent_state.as_str())
    });
    let state = match (&fault, &away, &cordon) {
        (Some(_), _, _) => "FAULTY",
        (None, Some(_), _) => "UNKNOWN",
        (None, None, Some(_)) => "CORDONED",
        (None, None, None) => "OK",
    };
    let all: Vec<String> = [fault, away, cordon].into_iter().flatten().collect();
    (state, all.join("; "))
}

/// `k=v,k=v`.
fn pairs(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn state_cell(state: &str, text: String) -> Cell {
    match state {
        "OK" => Cell::Good(text),
        "CORDONED" | "UNKNOWN" => Cell::Pending(text),
        _ => Cell::Bad(text),
    }
}

impl Row for DiskRow {
    const COLUMNS: &'static [&'static str] = &[
        "DISK",
        "NAME",
        "HOST",
        "TYPE",
        "MEDIA",
        "DRIVER",
        "ENFORCED",
        "SIZE",
        "FREE",
        "HEALTH",
        "ROOT",
        "LABELS",
        "PROFILES",
        "WHY THIS DRIVER",
    ];
    const NARROW: usize = 10;
    fn cells(&self) -> Vec<Cell> {
        let told = &self.told;
        let health = match self.state.as_str() {
            "OK" => "ok".to_owned(),
            "UNKNOWN" => format!("unknown: agent {}", self.agent_state),
            "CORDONED" => match self.cordon_reason.as_deref() {
                Some("") | None => "cordoned".to_owned(),
                Some(reason) => format!("cordoned: {reason}"),
            },
            _faulty => told.health.clone(),
        };
        vec![
            Cell::text(short(&told.id)),
            Cell::text(&told.name),
            Cell::text(&told.hostname),
            Cell::text(&told.kind),
            Cell::text(&told.media),
            Cell::text(&told.driver),
            Cell::text(&told.enforced),
            Cell::text(Bytes::new(told.size_bytes)),
            Cell::text(Bytes::new(told.free_bytes)),
            state_cell(&self.state, cut(&health, 48)),
            Cell::text(&told.root),
            Cell::text(pairs(&self.labels)),
            Cell::text(self.profiles.join(",")),
            Cell::text(&told.driver_reason),
        ]
    }
    fn name(&self) -> String {
        self.told.id.clone()
    }
}

/// Everything known of one disk.
#[derive(Debug, Serialize)]
pub(crate) struct DiskDetail {
    #[serde(flatten)]
    disk: DiskRow,
    /// What the cluster may take of it: volumes, reserved, and the rest.
    in_volumes_bytes: u64,
    unreserved_bytes: u64,
    reserved: Vec<Reserved>,
    volumes: Vec<Lying>,
    trash: Vec<Lying>,
    other_profiles: Vec<Missed>,
}

/// Reserved to a role, without a volume.
#[derive(Debug, Serialize)]
struct Reserved {
    role: String,
    size_bytes: u64,
}

/// A volume on the disk.
#[derive(Debug, Serialize)]
struct Lying {
    name: String,
    role: String,
    id: String,
    state: String,
    size_bytes: u64,
    used_bytes: Option<u64>,
    in_use_by: Vec<String>,
    host_path: String,
}

/// A profile that the disk does not satisfy.
#[derive(Debug, Serialize)]
struct Missed {
    profile: String,
    why: Vec<String>,
}

impl DiskDetail {
    pub(crate) fn new(view: &DiskView, volumes: &[VolumeView], profiles: &[DiskProfile]) -> Self {
        let berth = Berth::new(view, volumes);
        let of = |kind: Kind| berth.parts.iter().filter(move |part| part.kind == kind);
        let sum = |kind: Kind| of(kind).map(|part| part.size_bytes).sum();
        let lying = |part: &Part| Lying {
            name: part.name.clone(),
            role: part.role.clone(),
            id: part.id.clone(),
            state: part.state.clone(),
            size_bytes: part.size_bytes,
            used_bytes: part.used_bytes,
            in_use_by: part.in_use_by.clone(),
            host_path: part.host_path.clone(),
        };
        let missed = profiles.iter().filter_map(|profile| {
            let why = profile.misses(&view.disk, &view.labels);
            (!why.is_empty()).then(|| Missed { profile: profile.name.to_string(), why })
        });
        let reserved =
            |part: &Part| Reserved { role: part.role.clone(), size_bytes: part.size_bytes };
        Self {
            in_volumes_bytes: sum(Kind::Volume),
            unreserved_bytes: sum(Kind::Free),
            reserved: of(Kind::Reserved).map(reserved).collect(),
            volumes: of(Kind::Volume).map(lying).collect(),
            trash: of(Kind::Trash).map(lying).collect(),
            other_profiles: missed.collect(),
            disk: DiskRow::new(view),
        }
    }
}

impl Row for DiskDetail {
    const COLUMNS: &'static [&'static str] = DiskRow::COLUMNS;
    const NARROW: usize = DiskRow::NARROW;
    fn cells(&self) -> Vec<Cell> {
        self.disk.cells()
    }
    fn name(&self) -> String {
        self.disk.name()
    }
}

/// The health of a disk.
#[derive(Debug, Serialize)]
pub(crate) struct HealthRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) agent_id: String,
    pub(crate) hostname: String,
    pub(crate) state: String,
    pub(crate) evidence: String,
}

impl HealthRow {
    pub(crate) fn new(view: &DiskView) -> Self {
        let (state, evidence) = health(view);
        Self {
            id: view.disk.id.to_string(),
            name: view.disk.name.to_string(),
            agent_id: view.agent.to_string(),
            hostname: view.hostname.to_string(),
            state: state.to_owned(),
            evidence,
        }
    }
}

impl Row for HealthRow {
    const COLUMNS: &'static [&'static str] = &["DISK", "NAME", "HOST", "STATE", "EVIDENCE"];
    const NARROW: usize = 5;
    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(short(&self.id)),
            Cell::text(&self.name),
            Cell::text(&self.hostname),
            state_cell(&self.state, self.state.clone()),
            Cell::text(if self.evidence.is_empty() { "-" } else { &self.evidence }),
        ]
    }
    fn name(&self) -> String {
        self.id.clone()
    }
}

/// A profile.
#[derive(Debug, Serialize)]
pub(crate) struct ProfileRow {
    pub(crate) name: String,
    /// Empty: any.
    pub(crate) media: Vec<String>,
    pub(crate) size_min_bytes: Option<u64>,
    pub(crate) size_max_bytes: Option<u64>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) health: String,
    /// The disks that satisfy it.
    pub(crate) disks: Vec<String>,
}

impl ProfileRow {
    pub(crate) fn new(profile: &DiskProfile, disks: &[DiskView]) -> Self {
        let satisfying = disks.iter().filter(|d| profile.misses(&d.disk, &d.labels).is_empty());
        Self {
            name: profile.name.to_string(),
            media: profile.media.iter().map(|media| media.as_str().to_owned()).collect(),
            size_min_bytes: profile.size_min.map(Bytes::get),
            size_max_bytes: profile.size_max.map(Bytes::get),
            labels: profile.labels.clone(),
            health: profile.health.as_str().to_owned(),
            disks: satisfying.map(|d| format!("{}:{}", d.hostname, d.disk.name)).collect(),
        }
    }
}

impl Row for ProfileRow {
    const COLUMNS: &'static [&'static str] =
        &["PROFILE", "MEDIA", "AT LEAST", "AT MOST", "LABELS", "HEALTH", "DISKS", "SATISFIED BY"];
    const NARROW: usize = 7;
    fn cells(&self) -> Vec<Cell> {
        let media = if self.media.is_empty() { "any".to_owned() } else { self.media.join(",") };
        let labels = if self.labels.is_empty() { "-".to_owned() } else { pairs(&self.labels) };
        vec![
            Cell::text(&self.name),
            Cell::Text(media),
            Cell::maybe(self.size_min_bytes.map(Bytes::new)),
            Cell::maybe(self.size_max_bytes.map(Bytes::new)),
            Cell::Text(labels),
            Cell::text(&self.health),
            Cell::text(self.disks.len()),
            Cell::text(self.disks.join(",")),
        ]
    }
    fn name(&self) -> String {
        self.name.clone()
    }
}

/// One disk against one profile.
#[derive(Debug, Serialize)]
pub(crate) struct MatchRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) agent_id: String,
    pub(crate) hostname: String,
    pub(crate) matches: bool,
    /// Why not, or what keeps volumes off although it does.
    pub(crate) why: Vec<String>,
}

impl MatchRow {
    pub(crate) fn new(profile: &DiskProfile, view: &DiskView) -> Self {
        let agent: AgentId = view.agent;
        let disk: &Disk = &view.disk;
        let mut why = profile.misses(disk, &view.labels);
        let matches = why.is_empty();
        if matches {
            let (state, evidence) = health(view);
            why.extend((state != "OK").then(|| format!("gets no new volume: {evidence}")));
        }
        Self {
            id: disk.id.to_string(),
            name: disk.name.to_string(),
            agent_id: agent.to_string(),
            hostname: view.hostname.to_string(),
            matches,
            why,
        }
    }
}

impl Row for MatchRow {
    const COLUMNS: &'static [&'static str] = &["DISK", "NAME", "HOST", "MATCHES", "WHY NOT"];
    const NARROW: usize = 5;
    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(short(&self.id)),
            Cell::text(&self.name),
            Cell::text(&self.hostname),
            if self.matches { Cell::Good("yes".to_owned()) } else { Cell::text("no") },
            Cell::text(if self.why.is_empty() { "-".to_owned() } else { self.why.join("; ") }),
        ]
    }
    fn name(&self) -> String {
        self.id.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::agent::{DiskHealth, Media};
    use berth_model::disk::Cordon;
    use berth_model::id::DiskId;
    use berth_model::resources::{DiskSource, Resources};
    use berth_model::volume::Enforcement;
    use std::sync::Arc;

    #[test]
    fn a_fault_outweighs_absence_and_absence_a_cordon_and_all_are_told() {
        let view = |fault: Option<&str>, agent_state, reason: Option<&str>| DiskView {
            disk: Disk {
                id: DiskId::from_u128(1),
                name: Arc::from("d1"),
                source: DiskSource::Root,
                root: Arc::from("/srv"),
                driver: Arc::from("directory"),
                driver_reason: Arc::from(""),
                enforcement: Enforcement::None,
                size: Bytes::default(),
                free: Bytes::default(),
                health: fault.map_or(DiskHealth::Ok, |why| DiskHealth::Faulty(why.to_owned())),
                media: Media::Unknown,
                orphans: Vec::new(),
                no_snapshots: BTreeMap::new(),
                wipes: Vec::new(),
                added: false,
                no_encryption: None,
            },
            agent: AgentId::from_u128(1),
            hostname: Arc::from("host-1"),
            agent_state,
            cordon: reason
                .map(|reason| Cordon { reason: reason.to_owned(), since: Timestamp::from_ms(5) }),
            labels: BTreeMap::new(),
            profiles: Vec::new(),
            total: Resources::new(),
        };
        let (here, away) = (AgentState::Registered, AgentState::Unreachable);
        let absent = "its agent is UNREACHABLE, so nothing is known of it now";
        for (view, state, evidence) in [
            (view(None, here, None), "OK", String::new()),
            (view(None, here, Some("")), "CORDONED", "cordoned without a reason".to_owned()),
            (view(None, here, Some("noise")), "CORDONED", "cordoned: noise".to_owned()),
            (view(None, away, Some("x")), "UNKNOWN", format!("{absent}; cordoned: x")),
            (view(Some("gone"), here, None), "FAULTY", "gone".to_owned()),
            (view(Some("gone"), away, Some("x")), "FAULTY", format!("gone; {absent}; cordoned: x")),
        ] {
            let row = HealthRow::new(&view);
            assert_eq!((row.state.as_str(), row.evidence), (state, evidence));
        }
    }
}
