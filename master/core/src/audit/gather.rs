//! Gathers what a step did, and turns it into entries when the step ends.
//!
//! Every operation that begins or ends goes through its record, so none can be forgotten: the entries belong to the same batch
//! as the records they tell of. An operation shows the objects it names and, of the rows of reservations, those that its own
//! decision wrote. Before and after are those of the whole step; where several operations of one step change one object,
//! each shows the same change. Invariant: an entry has a bounded size, and a step of n operations makes O(n) of it.

use super::certificate::Certificate;
use super::chain::{beginning, entry_hash};
use super::changes::{Touched, record};
use super::purged::victims;
use super::refusal::{Refused, of_refusal, unwritten};
use super::words;
use crate::event::Event;
use crate::state::State;
use berth_model::audit::{
    AuditChange, AuditEntry, AuditHash, AuditHead, AuditKey, AuditMark, AuditRecord, Phase, Who,
};
use berth_model::error::{Rejection, shortened};
use berth_model::id::ReservationId;
use berth_model::operation::{OperationRecord, OperationState};
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a step has done so far.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// What records were when the step first changed them.
    before: BTreeMap<RegistryKey, Option<RegistryRecord>>,
    /// Counts the decisions of the step.
    decision: usize,
    /// The rows that each decision wrote.
    rows: BTreeSet<(usize, ReservationId)>,
    news: Vec<News>,
}

#[derive(Debug)]
enum News {
    /// What began or ended.
    Operation {
        record: Arc<OperationRecord>,
        /// With which decision.
        decision: usize,
        /// A framework's, without an entry of its beginning: when it fails it is no more than a refusal.
        at_once: bool,
    },
    Refused(Box<Refused>),
    Certified(Arc<Certificate>),
    Opened,
}

impl Gathered {
    /// What comes belongs to another decision than what came.
    pub(crate) fn next_decision(&mut self) {
        self.decision += 1;
    }
    /// A record is about to be stored.
    pub(crate) fn put(&mut self, state: &State, record: &RegistryRecord) {
        if let RegistryRecord::Operation(record) = record {
            let known = state.operations.get(&record.id).map(|known| known.state.is_final());
            let begins_or_ends = match known {
                None => true,
                Some(ended) => !ended && record.state.is_final(),
            };
            if begins_or_ends {
                let (record, decision) = (Arc::clone(record), self.decision);
                let at_once = known.is_none() && record.framework.is_some();
                self.news.push(News::Operation { record, decision, at_once });
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
            | RegistryKey::Schedule(_)
            | RegistryKey::Weight(_)
            | RegistryKey::Quota(_) => record(state, &key),
            RegistryKey::Meta
            | RegistryKey::Agent(_)
            | RegistryKey::AgentSeq(_)
            | RegistryKey::Framework(_)
            | RegistryKey::Operation(_)
            | RegistryKey::Transaction(..)
            | RegistryKey::Audit(_) => return,
        };
        if let RegistryKey::Reservation(id) = key {
            self.rows.insert((self.decision, id));
        }
        self.before.entry(key).or_insert(known);
    }

    /// The entries of the step, and what they do to the ends of the log.
    pub(crate) fn into_events(self, state: &State, now: Timestamp) -> Vec<Event> {
        let Self { before, decision: _, rows, news } = self;
        if news.is_empty() {
            return Vec::new();
        }
        let touched = Touched::new(state, before, rows);
        let mut drafts = Vec::new();
        let (mut refusals, mut failures) =
            (state.audit.refusals.clone(), state.audit.failures.clone());
        let burst = state.config.audit_refusals;
        for one in news {
            match one {
                News::Operation { record, decision, at_once } => {
                    let is_refusal = at_once && matches!(record.state, OperationState::Failed(_));
                    let left_out = if is_refusal { failures.take(burst, now) } else { Some(0) };
                    if let Some(left_out) = left_out {
                        let mut draft = of_operation(state, &touched, decision, &record, now);
                        draft.notes.splice(0..0, unwritten(left_out));
                        drafts.push(draft);
                    }
                },
                News::Refused(refused) => {
                    if let Some(left_out) = refusals.take(burst, now) {
                        drafts.push(of_refusal(*refused, left_out, now));
                    }
                },
                News::Certified(certificate) => drafts.push(certificate.entry(now)),
                News::Opened => drafts.push(of_term(state, now)),
            }
        }
        let mut events = append(state, drafts, now);
        if refusals != state.audit.refusals || failures != state.audit.failures {
            events.push(Event::Refusals { refusals, failures });
        }
        events
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
    touched: &Touched,
    decision: usize,
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
    let mut volumes = record.volumes.clone();
    volumes.extend(victims(state, touched, record));
    let (changes, left_out) = touched.changes(state, record, &volumes, decision);
    let more = (left_out > 0).then(|| format!("{left_out} more objects changed"));
    let notes = more.into_iter().chain(record.notes.iter().cloned()).collect();
    AuditEntry {
        operation: Some(record.id),
        kind: Some(record.kind),
        reason: record.said.reason.clone(),
        object: record.object.clone(),
        agent: record.agent,
        volumes,
        changes,
        error,
        notes,
        ..draft(phase, who, now)
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
        let text = words::trimmed(state, head.trimmed + 1, &mark);
        head = AuditHead { trimmed: mark.seq, anchor: mark.hash, ..head };
        let entry = AuditEntry { object: text, ..draft(Phase::Trimmed, Who::Berth, now) };
        add(state, &mut head, entry, &mut records);
    }
    records.push(AuditRecord::Head(head));
    let puts = records.into_iter().map(|r| Event::Put(RegistryRecord::Audit(r)));
    puts.chain(removed.into_iter().map(|key| Event::Delete(RegistryKey::Audit(key)))).collect()
}

/// The longest of the texts of an entry that say what it is about, in bytes.
const OBJECT_MAX: usize = 4 << 10;
/// The longest of its other texts.
const TEXT_MAX: usize = 1 << 10;
/// The most notes of an entry.
const NOTES_MAX: usize = 20;

/// The entry with texts that are short enough, whatever callers wrote. Volumes are all named: their number is bounded by what a
/// call may name, and who looks for one must find it.
fn bounded(entry: AuditEntry) -> AuditEntry {
    let AuditEntry { mut who, object, mut changes, error, mut notes, .. } = entry;
    let text = |text: String| shortened(text, TEXT_MAX);
    if let Who::Framework { name, .. } = &mut who
        && name.len() > TEXT_MAX
    {
        *name = Arc::from(text(name.to_string()));
    }
    for AuditChange { object: _, what: _, before, after } in &mut changes {
        *before = before.take().map(text);
        *after = after.take().map(text);
    }
    if notes.len() > NOTES_MAX {
        let left_out = notes.split_off(NOTES_MAX - 1).len();
        notes.push(format!("{left_out} more notes"));
    }
    AuditEntry {
        who,
        object: shortened(object, OBJECT_MAX),
        changes,
        error: error.map(Rejection::bounded),
        notes: notes.into_iter().map(text).collect(),
        ..entry
    }
}

fn add(state: &State, head: &mut AuditHead, draft: AuditEntry, records: &mut Vec<AuditRecord>) {
    let mut entry = AuditEntry { seq: head.seq + 1, ..bounded(draft) };
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
