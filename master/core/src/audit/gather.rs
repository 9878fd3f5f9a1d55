//! Gathers what a step did, and turns it into entries when the step ends.
//!
//! Every operation that begins or ends goes through its record, so none can be forgotten: the entries belong to the same batch
//! as the records they tell of. Before and after are those of the whole step; where several operations of one step
//! change one object, each shows the same change.

use super::certificate::Certificate;
use super::chain::{beginning, entry_hash};
use crate::event::Event;
use crate::state::State;
use berth_model::audit::{
    AuditChange, AuditEntry, AuditHash, AuditHead, AuditKey, AuditMark, AuditRecord, Phase, Said,
    Who,
};
use berth_model::error::Rejection;
use berth_model::id::{AgentId, OperationId, VolumeId};
use berth_model::operation::{OperationKind, OperationRecord, OperationState};
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::units::{Timestamp, format_duration};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a step has done so far.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// What records were when the step first changed them.
    before: BTreeMap<RegistryKey, Option<RegistryRecord>>,
    news: Vec<News>,
}

#[derive(Debug)]
enum News {
    Operation(Arc<OperationRecord>),
    Refused(Box<Refused>),
    Certified(Arc<Certificate>),
    Opened,
}

/// A request that was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) operation: OperationId,
    pub(crate) kind: OperationKind,
    pub(crate) said: Said,
    pub(crate) object: String,
    pub(crate) error: Rejection,
}

impl Gathered {
    /// A record is about to be stored.
    pub(crate) fn put(&mut self, state: &State, record: &RegistryRecord) {
        if let RegistryRecord::Operation(record) = record {
            let known = state.operations.get(&record.id).map(|known| known.state.is_final());
            let begins_or_ends = match known {
                None => true,
                Some(ended) => !ended && record.state.is_final(),
            };
            if begins_or_ends {
                self.news.push(News::Operation(Arc::clone(record)));
            }
            return;
        }
        self.touch(state, record.key());
    }
    /// A record is about to be removed.
    pub(crate) fn delete(&mut self, state: &State, key: &RegistryKey) {
        self.touch(state, key.clone());
    }
    pub(crate) fn refused(&mut self, refused: Refused) {
        self.news.push(News::Refused(Box::new(refused)));
    }
    /// A volume was wiped.
    pub(crate) fn certified(&mut self, certificate: &Arc<Certificate>) {
        self.news.push(News::Certified(Arc::clone(certificate)));
    }
    /// A term begins.
    pub(crate) fn opened(&mut self) {
        self.news.push(News::Opened);
    }

    fn touch(&mut self, state: &State, key: RegistryKey) {
        let known = match &key {
            RegistryKey::Volume(_)
            | RegistryKey::Snapshot(_)
            | RegistryKey::Disk(_)
            | RegistryKey::Profile(_)
            | RegistryKey::Reservation(_)
            | RegistryKey::Schedule(_) => record(state, &key),
            RegistryKey::Meta
            | RegistryKey::Agent(_)
            | RegistryKey::AgentSeq(_)
            | RegistryKey::Framework(_)
            | RegistryKey::Operation(_)
            | RegistryKey::Audit(_) => return,
        };
        self.before.entry(key).or_insert(known);
    }

    /// The entries of the step, and what they do to the ends of the log.
    pub(crate) fn into_events(self, state: &State, now: Timestamp) -> Vec<Event> {
        let Self { before, news } = self;
        if news.is_empty() {
            return Vec::new();
        }
        let mut drafts = Vec::new();
        let mut refusals = state.audit.refusals.clone();
        for one in news {
            match one {
                News::Operation(record) => drafts.push(of_operation(state, &before, &record, now)),
                News::Refused(refused) => {
                    if let Some(left_out) = refusals.take(state.config.audit_refusals, now) {
                        drafts.push(of_refusal(*refused, left_out, now));
                    }
                },
                News::Certified(certificate) => drafts.push(certificate.entry(now)),
                News::Opened => drafts.push(of_term(state, now)),
            }
        }
        let mut events = append(state, drafts, now);
        if refusals != state.audit.refusals {
            events.push(Event::Refusals(refusals));
        }
        events
    }
}

/// What the books have under a key, of what entries show.
fn record(state: &State, key: &RegistryKey) -> Option<RegistryRecord> {
    match key {
        RegistryKey::Volume(id) => {
            state.volumes.get(id).map(|v| RegistryRecord::Volume(Arc::clone(&v.volume)))
        },
        RegistryKey::Snapshot(id) => {
            state.snapshots.get(id).map(|s| RegistryRecord::Snapshot(Arc::clone(&s.snapshot)))
        },
        RegistryKey::Disk(id) => state.disks.get(id).cloned().map(RegistryRecord::Disk),
        RegistryKey::Profile(name) => {
            state.profiles.get(name).cloned().map(RegistryRecord::Profile)
        },
        RegistryKey::Reservation(id) => {
            state.rows.get(id).cloned().map(RegistryRecord::Reservation)
        },
        RegistryKey::Schedule(id) => state.schedules.get(id).cloned().map(RegistryRecord::Schedule),
        RegistryKey::Meta
        | RegistryKey::Agent(_)
        | RegistryKey::AgentSeq(_)
        | RegistryKey::Framework(_)
        | RegistryKey::Operation(_)
        | RegistryKey::Audit(_) => None,
    }
}

/// An entry without number and hash.
pub(super) fn draft(phase: Phase, who: Who, now: Timestamp) -> AuditEntry {
    AuditEntry {
        seq: 0,
        at: now,
        phase,
        operation: None,
        kind: None,
        who,
        reason: None,
        object: String::new(),
        agent: None,
        volumes: Vec::new(),
        changes: Vec::new(),
        error: None,
        notes: Vec::new(),
        hash: AuditHash::default(),
    }
}

fn of_operation(
    state: &State,
    before: &BTreeMap<RegistryKey, Option<RegistryRecord>>,
    record: &OperationRecord,
    now: Timestamp,
) -> AuditEntry {
    let (phase, error) = match &record.state {
        OperationState::Accepted => (Phase::Accepted, None),
        OperationState::Done => (Phase::Done, None),
        OperationState::Failed(error) => (Phase::Failed, Some(error.clone())),
    };
    let who = match &record.framework {
        Some(id) => {
            let known = state.frameworks.get(id).map(|framework| &framework.record.info);
            Who::Framework {
                id: id.clone(),
                name: known.map(|info| Arc::clone(&info.name)).unwrap_or_default(),
                principal: known.and_then(|info| info.principal.clone()),
            }
        },
        None => record.said.who.clone(),
    };
    AuditEntry {
        operation: Some(record.id),
        kind: Some(record.kind),
        reason: record.said.reason.clone(),
        object: record.object.clone(),
        agent: record.agent,
        volumes: record.volumes.clone(),
        changes: changes(state, before, record),
        error,
        notes: record.notes.clone(),
        ..draft(phase, who, now)
    }
}

fn of_refusal(refused: Refused, left_out: u64, now: Timestamp) -> AuditEntry {
    let Refused { operation, kind, said, object, error } = refused;
    let notes = match left_out {
        0 => Vec::new(),
        count => vec![format!("{count} refusals before this one were not written")],
    };
    AuditEntry {
        operation: Some(operation),
        kind: Some(kind),
        reason: said.reason,
        object,
        error: Some(error),
        notes,
        ..draft(Phase::Refused, said.who, now)
    }
}

fn of_term(state: &State, now: Timestamp) -> AuditEntry {
    let object =
        format!("epoch {}, registry at revision {}", state.config.epoch, state.config.revision);
    let fault = state.audit.fault.iter().map(|fault| format!("the log is damaged: {fault}"));
    AuditEntry { object, notes: fault.collect(), ..draft(Phase::Opened, Who::Berth, now) }
}

/// Numbers and chains the entries, ends segments, and removes the oldest when the log is longer than it may be.
fn append(state: &State, drafts: Vec<AuditEntry>, now: Timestamp) -> Vec<Event> {
    let anchor = beginning(state.config.cluster);
    let begun = AuditHead { seq: 0, hash: anchor, trimmed: 0, anchor };
    let known = state.audit.head.unwrap_or(begun);
    let mut head = known;
    let mut records = Vec::new();
    for draft in drafts {
        add(state, &mut head, draft, &mut records);
    }
    if head == known {
        return Vec::new();
    }
    let mut removed = Vec::new();
    if let Some(mark) = oldest_to_go(state, &head, now) {
        let entries = (head.trimmed + 1..=mark.seq).map(AuditKey::Entry);
        removed.extend(entries.chain([AuditKey::Mark(mark.seq)]));
        let text = trimmed(state, head.trimmed + 1, &mark);
        head = AuditHead { trimmed: mark.seq, anchor: mark.hash, ..head };
        let entry = AuditEntry { object: text, ..draft(Phase::Trimmed, Who::Berth, now) };
        add(state, &mut head, entry, &mut records);
    }
    records.push(AuditRecord::Head(head));
    let puts = records.into_iter().map(|r| Event::Put(RegistryRecord::Audit(r)));
    puts.chain(removed.into_iter().map(|key| Event::Delete(RegistryKey::Audit(key)))).collect()
}

fn add(state: &State, head: &mut AuditHead, draft: AuditEntry, records: &mut Vec<AuditRecord>) {
    let mut entry = AuditEntry { seq: head.seq + 1, ..draft };
    entry.hash = entry_hash(&head.hash, &entry);
    (head.seq, head.hash) = (entry.seq, entry.hash);
    if entry.seq.is_multiple_of(state.config.audit_segment.max(1)) {
        let mark = AuditMark { seq: entry.seq, hash: entry.hash, at: entry.at };
        records.push(AuditRecord::Mark(mark));
    }
    records.push(AuditRecord::Entry(Arc::new(entry)));
}

/// The oldest segment, when the rest is enough or it is too old. One at a time: a step stays small.
fn oldest_to_go(state: &State, head: &AuditHead, now: Timestamp) -> Option<AuditMark> {
    let (_, mark) = state.audit.marks.range(head.trimmed + 1..).next()?;
    let rest = head.seq.saturating_sub(mark.seq);
    let is_old = state.config.audit_age.is_some_and(|age| mark.at.after(age) <= now);
    (rest >= state.config.audit_entries || is_old).then_some(*mark)
}

fn trimmed(state: &State, from: u64, mark: &AuditMark) -> String {
    let entries = state.config.audit_entries;
    let age = state.config.audit_age.map(|age| format!(" or {}", format_duration(age)));
    let age = age.unwrap_or_default();
    format!(
        "entries {from} to {} removed (kept are {entries} entries{age}); the last of them has hash {}",
        mark.seq, mark.hash
    )
}

/// What the step changed of the objects that the operation is about.
fn changes(
    state: &State,
    before: &BTreeMap<RegistryKey, Option<RegistryRecord>>,
    operation: &OperationRecord,
) -> Vec<AuditChange> {
    let mut found = Vec::new();
    for (key, old) in before {
        let new = record(state, key);
        if !concerns(operation, old.as_ref().or(new.as_ref())) {
            continue;
        }
        let object = name_of(key);
        let (old, new) = (properties(old.as_ref()), properties(new.as_ref()));
        let names: std::collections::BTreeSet<&str> =
            old.keys().chain(new.keys()).copied().collect();
        for what in names {
            let (before, after) = (old.get(what).cloned(), new.get(what).cloned());
            if before != after {
                let (object, what) = (object.clone(), what.to_owned());
                found.push(AuditChange { object, what, before, after });
            }
        }
    }
    found
}

fn concerns(operation: &OperationRecord, touched: Option<&RegistryRecord>) -> bool {
    let of = |volume: &VolumeId| operation.volumes.contains(volume);
    let on = |agent: AgentId| operation.agent == Some(agent);
    match touched {
        Some(RegistryRecord::Volume(volume)) => of(&volume.spec.id),
        Some(RegistryRecord::Snapshot(snapshot)) => of(&snapshot.spec.of.id),
        Some(RegistryRecord::Schedule(schedule)) => of(&schedule.volume),
        Some(RegistryRecord::Reservation(row)) => on(row.agent),
        Some(RegistryRecord::Disk(disk)) => {
            let about_disks =
                [OperationKind::Cordon, OperationKind::Uncordon, OperationKind::Label];
            about_disks.contains(&operation.kind) && on(disk.agent)
        },
        Some(RegistryRecord::Profile(_)) => {
            [OperationKind::CreateProfile, OperationKind::DeleteProfile].contains(&operation.kind)
        },
        Some(
            RegistryRecord::Meta { .. }
            | RegistryRecord::Agent(_)
            | RegistryRecord::AgentSeq { .. }
            | RegistryRecord::Framework(_)
            | RegistryRecord::Operation(_)
            | RegistryRecord::Audit(_),
        )
        | None => false,
    }
}

fn name_of(key: &RegistryKey) -> String {
    match key {
        RegistryKey::Volume(id) => format!("volume {id}"),
        RegistryKey::Snapshot(id) => format!("snapshot {id}"),
        RegistryKey::Disk(id) => format!("disk {id}"),
        RegistryKey::Profile(name) => format!("profile {name}"),
        RegistryKey::Reservation(id) => format!("reservation {id}"),
        RegistryKey::Schedule(id) => format!("schedule of volume {id}"),
        RegistryKey::Meta
        | RegistryKey::Agent(_)
        | RegistryKey::AgentSeq(_)
        | RegistryKey::Framework(_)
        | RegistryKey::Operation(_)
        | RegistryKey::Audit(_) => String::new(),
    }
}

/// What of a record an auditor wants to see, in words.
fn properties(record: Option<&RegistryRecord>) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    match record {
        Some(RegistryRecord::Volume(volume)) => {
            found.insert("state", volume.state.to_string());
            found.insert("size", volume.spec.size.to_string());
            found.insert("access", volume.spec.access.to_string());
            found.insert("protected", volume.protected.to_string());
            found.insert("generation", volume.spec.generation.to_string());
        },
        Some(RegistryRecord::Snapshot(snapshot)) => {
            found.insert("state", snapshot.state.to_string());
            found.insert("held", snapshot.held.to_string());
            if let Some(group) = &snapshot.group {
                found.insert("group", group.id.to_string());
                let by = group.consistency.map(|by| by.to_string()).unwrap_or_default();
                found.insert("consistency", by);
            }
        },
        Some(RegistryRecord::Disk(disk)) => {
            found.insert("cordoned", disk.cordon.is_some().to_string());
            let labels: Vec<String> = disk.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            found.insert("labels", labels.join(","));
        },
        Some(RegistryRecord::Profile(profile)) => {
            found.insert("profile", profile.name.to_string());
        },
        Some(RegistryRecord::Reservation(row)) => {
            found.insert("resources", row.resource.to_string());
        },
        Some(RegistryRecord::Schedule(schedule)) => {
            let (every, keep) = (format_duration(schedule.plan.every), schedule.plan.keep);
            let text = format!(
                "every {every}, keep last {} hourly {} daily {} weekly {}",
                keep.last, keep.hourly, keep.daily, keep.weekly
            );
            found.insert("plan", text);
        },
        Some(
            RegistryRecord::Meta { .. }
            | RegistryRecord::Agent(_)
            | RegistryRecord::AgentSeq { .. }
            | RegistryRecord::Framework(_)
            | RegistryRecord::Operation(_)
            | RegistryRecord::Audit(_),
        )
        | None => {},
    }
    found
}
