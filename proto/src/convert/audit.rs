//! The audit log: entries, its ends, and what is asked of it.

use super::field::{self, Choice, choice};
use super::{At, Wire};
use crate::v1;
use crate::v1::caller;
use berth_model::audit::{
    AuditChange, AuditCheck, AuditEntry, AuditFilter, AuditHash, AuditHead, AuditMark, AuditView,
    Phase, Said, Who, check_name,
};
use berth_model::disk::check_reason;
use berth_model::error::Rejection;
use berth_model::operation::OperationKind;
use berth_model::units::Timestamp;
use std::sync::Arc;

choice!(Phase, v1::AuditPhase, "audit phase", [Accepted, Done, Failed, Refused, Opened, Trimmed]);

fn hash(bytes: Vec<u8>, at: &At<'_>) -> Result<AuditHash, Rejection> {
    <[u8; 32]>::try_from(bytes).map(AuditHash).map_err(|bytes| {
        at.invalid(format!("{} bytes are no hash", bytes.len()), "give the 32 bytes of SHA-256")
    })
}

pub(super) fn who_to_wire(who: &Who) -> Option<v1::Caller> {
    let caller = match who {
        Who::Unknown => return None,
        Who::Claimed(name) => caller::Caller::Claimed(name.to_string()),
        Who::Framework { id, name, principal } => caller::Caller::Framework(caller::Framework {
            framework_id: id.to_string(),
            name: name.to_string(),
            principal: principal.as_ref().map(ToString::to_string),
        }),
        Who::Berth => caller::Caller::Berth(true),
    };
    Some(v1::Caller { caller: Some(caller) })
}

pub(super) fn who(message: Option<v1::Caller>, at: &At<'_>) -> Result<Who, Rejection> {
    match message.and_then(|v1::Caller { caller }| caller) {
        None => Ok(Who::Unknown),
        Some(caller::Caller::Claimed(name)) => claimed(name, &at.field("claimed")),
        Some(caller::Caller::Framework(caller::Framework { framework_id, name, principal })) => {
            let at = at.field("framework");
            Ok(Who::Framework {
                id: field::id(&framework_id, &at.field("framework_id"))?,
                name: field::arc(name, &at.field("name"))?,
                principal: field::optional_id(principal.as_deref(), &at.field("principal"))?,
            })
        },
        Some(caller::Caller::Berth(true)) => Ok(Who::Berth),
        Some(caller::Caller::Berth(false)) => {
            Err(at.field("berth").invalid("it is false", "leave it out"))
        },
    }
}

fn claimed(name: String, at: &At<'_>) -> Result<Who, Rejection> {
    check_name(&name).map_err(|e| at.invalid(e, "write user@host, or leave it out"))?;
    Ok(Who::Claimed(Arc::from(name)))
}

pub(super) fn reason(text: Option<String>, at: &At<'_>) -> Result<Option<Arc<str>>, Rejection> {
    let checked = |text: String| {
        check_reason(&text).map_err(|e| at.invalid(&e, "write a shorter or plainer text"))?;
        Ok(Arc::from(text))
    };
    text.filter(|text| !text.is_empty()).map(checked).transpose()
}

/// What an operator says of himself: a name is a claim.
pub(super) fn said(
    claimed_by: Option<String>,
    why: Option<String>,
    at: &At<'_>,
) -> Result<Said, Rejection> {
    let who = match claimed_by {
        None => Who::Unknown,
        Some(name) => claimed(name, &at.field("claimed_by"))?,
    };
    Ok(Said { who, reason: reason(why, &at.field("reason"))?, in_earnest: false })
}

impl Wire for AuditChange {
    type Message = v1::AuditChange;

    fn to_wire(&self) -> v1::AuditChange {
        let Self { object, what, before, after } = self.clone();
        v1::AuditChange { object, what, before, after }
    }

    fn from_wire(message: v1::AuditChange, _: &At<'_>) -> Result<Self, Rejection> {
        let v1::AuditChange { object, what, before, after } = message;
        Ok(Self { object, what, before, after })
    }
}

impl Wire for AuditEntry {
    type Message = v1::AuditEntry;

    fn to_wire(&self) -> v1::AuditEntry {
        let Self {
            seq,
            at,
            phase,
            operation,
            kind,
            who,
            reason,
            object,
            agent,
            volumes,
            changes,
            error,
            notes,
            hash,
        } = self;
        v1::AuditEntry {
            seq: *seq,
            at_ms: at.ms(),
            phase: phase.number(),
            operation_id: operation.map(|id| id.to_string()),
            kind: kind.map_or(0, Choice::number),
            who: who_to_wire(who),
            reason: reason.as_ref().map(ToString::to_string),
            object: object.clone(),
            agent_id: agent.map(|id| id.to_string()),
            volume_ids: field::id_texts(volumes),
            changes: field::messages(changes),
            error: error.as_ref().map(Wire::to_wire),
            notes: notes.clone(),
            hash: hash.0.to_vec(),
        }
    }

    fn from_wire(message: v1::AuditEntry, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::AuditEntry {
            seq,
            at_ms,
            phase,
            operation_id,
            kind,
            who: caller,
            reason: why,
            object,
            agent_id,
            volume_ids,
            changes,
            error,
            notes,
            hash: bytes,
        } = message;
        Ok(Self {
            seq,
            at: Timestamp::from_ms(at_ms),
            phase: Phase::read(phase, &at.field("phase"))?,
            operation: field::optional_id(operation_id.as_deref(), &at.field("operation_id"))?,
            kind: optional_choice(kind, &at.field("kind"))?,
            who: who(caller, &at.field("who"))?,
            reason: why.map(Arc::from),
            object,
            agent: field::optional_id(agent_id.as_deref(), &at.field("agent_id"))?,
            volumes: field::ids(&volume_ids, &at.field("volume_ids"))?,
            changes: field::list(changes, &at.field("changes"))?,
            error: field::optional(error, &at.field("error"))?,
            notes,
            hash: hash(bytes, &at.field("hash"))?,
        })
    }
}

/// Zero is nothing.
fn optional_choice<T: Choice>(number: i32, at: &At<'_>) -> Result<Option<T>, Rejection> {
    if number == 0 { Ok(None) } else { T::read(number, at).map(Some) }
}

impl Wire for AuditHead {
    type Message = v1::AuditHead;

    fn to_wire(&self) -> v1::AuditHead {
        let Self { seq, hash, trimmed, anchor } = self;
        v1::AuditHead {
            seq: *seq,
            hash: hash.0.to_vec(),
            trimmed: *trimmed,
            anchor: anchor.0.to_vec(),
        }
    }

    fn from_wire(message: v1::AuditHead, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::AuditHead { seq, hash: bytes, trimmed, anchor } = message;
        let (hash, anchor) = (hash(bytes, &at.field("hash"))?, hash(anchor, &at.field("anchor"))?);
        Ok(Self { seq, hash, trimmed, anchor })
    }
}

impl Wire for AuditMark {
    type Message = v1::AuditMark;

    fn to_wire(&self) -> v1::AuditMark {
        let Self { seq, hash, at } = self;
        v1::AuditMark { seq: *seq, hash: hash.0.to_vec(), at_ms: at.ms() }
    }

    fn from_wire(message: v1::AuditMark, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::AuditMark { seq, hash: bytes, at_ms } = message;
        let hash = hash(bytes, &at.field("hash"))?;
        Ok(Self { seq, hash, at: Timestamp::from_ms(at_ms) })
    }
}

impl Wire for AuditView {
    type Message = v1::AuditView;

    fn to_wire(&self) -> v1::AuditView {
        let Self { head, fault } = self;
        v1::AuditView { head: Some(head.to_wire()), fault: fault.clone() }
    }

    fn from_wire(message: v1::AuditView, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::AuditView { head, fault } = message;
        Ok(Self { head: field::required(head, &at.field("head"))?, fault })
    }
}

/// A part of the log that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditRequest {
    /// Only entries below this number.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: u32,
    /// Which ones.
    pub filter: AuditFilter,
}

impl Wire for AuditRequest {
    type Message = v1::ListAuditRequest;

    fn to_wire(&self) -> v1::ListAuditRequest {
        let Self { before, limit, filter } = self;
        let AuditFilter { since, until, kind, phase, operation, volume, who } = filter;
        v1::ListAuditRequest {
            before_seq: *before,
            limit: *limit,
            since_ms: since.map(Timestamp::ms),
            until_ms: until.map(Timestamp::ms),
            kind: kind.map_or(0, OperationKind::number),
            phase: phase.map_or(0, Phase::number),
            operation_id: operation.map(|id| id.to_string()),
            volume: volume.clone(),
            who: who.clone(),
        }
    }

    fn from_wire(message: v1::ListAuditRequest, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::ListAuditRequest {
            before_seq,
            limit,
            since_ms,
            until_ms,
            kind,
            phase,
            operation_id,
            volume,
            who,
        } = message;
        let text = |text: Option<String>, name| {
            text.map(|text| field::filled(text, &at.field(name))).transpose()
        };
        Ok(Self {
            before: before_seq,
            limit,
            filter: AuditFilter {
                since: field::point(since_ms),
                until: field::point(until_ms),
                kind: optional_choice(kind, &at.field("kind"))?,
                phase: optional_choice(phase, &at.field("phase"))?,
                operation: field::optional_id(operation_id.as_deref(), &at.field("operation_id"))?,
                volume: text(volume, "volume")?,
                who: text(who, "who")?,
            },
        })
    }
}

/// A part of the log that is to be checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyRequest {
    /// The first entry; zero: the first that is there.
    pub from: u64,
    /// The last; zero: the last that is there.
    pub to: u64,
    /// Where an earlier answer stopped.
    pub behind: Option<(u64, AuditHash)>,
}

impl Wire for VerifyRequest {
    type Message = v1::VerifyAuditRequest;

    fn to_wire(&self) -> v1::VerifyAuditRequest {
        let Self { from, to, behind } = self;
        v1::VerifyAuditRequest {
            from_seq: *from,
            to_seq: *to,
            behind_seq: behind.map(|(seq, _)| seq),
            behind_hash: behind.map(|(_, hash)| hash.0.to_vec()),
        }
    }

    fn from_wire(message: v1::VerifyAuditRequest, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::VerifyAuditRequest { from_seq, to_seq, behind_seq, behind_hash } = message;
        let hash_at = at.field("behind_hash");
        let behind = match (behind_seq, behind_hash) {
            (None, None) => None,
            (Some(seq), Some(bytes)) => Some((seq, hash(bytes, &hash_at)?)),
            (Some(_), None) => return Err(hash_at.missing()),
            (None, Some(_)) => return Err(at.field("behind_seq").missing()),
        };
        Ok(Self { from: from_seq, to: to_seq, behind })
    }
}

/// A check, and whether there is more to check.
impl Wire for (AuditCheck, bool) {
    type Message = v1::VerifyAuditReply;

    fn to_wire(&self) -> v1::VerifyAuditReply {
        let (AuditCheck { checked, last, hash, broken, log }, unfinished) = self;
        v1::VerifyAuditReply {
            checked: *checked,
            last_seq: *last,
            last_hash: hash.0.to_vec(),
            broken_seq: broken.as_ref().map(|(seq, _)| *seq),
            broken: broken.as_ref().map(|(_, why)| why.clone()),
            unfinished: *unfinished,
            log: Some(log.to_wire()),
        }
    }

    fn from_wire(message: v1::VerifyAuditReply, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::VerifyAuditReply {
            checked,
            last_seq,
            last_hash,
            broken_seq,
            broken,
            unfinished,
            log,
        } = message;
        let check = AuditCheck {
            checked,
            last: last_seq,
            hash: hash(last_hash, &at.field("last_hash"))?,
            broken: broken_seq.zip(broken),
            log: field::required(log, &at.field("log"))?,
        };
        Ok((check, unfinished))
    }
}
