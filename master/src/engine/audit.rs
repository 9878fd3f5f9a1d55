//! Reads the audit log: its end at a start, and parts of it for those who ask.
//!
//! It decides nothing about the chain: `berth-master-core` checks it. What cannot be read is said and stops nobody. Every answer is
//! bounded, and a long question is asked in parts.

use super::Handle;
use crate::registry::{PART_MAX, Record};
use berth_master_core::audit::Verifier;
use berth_master_core::query;
use berth_model::audit::{AuditCheck, AuditEntry, AuditKey, AuditRecord, AuditView};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_proto::convert::{AuditRequest, VerifyRequest};
use berth_proto::registry;
use std::sync::Arc;

/// How many entries are read at once.
const PAGE: u64 = 1_000;
/// How many entries one call looks at.
const CALL: u64 = 20_000;
/// How many entries one call answers at most.
const ANSWER: usize = 1_000;
/// From how many stored bytes on an answer has no more entries. What a client takes is several times as much.
const ANSWER_BYTES: usize = 8 << 20;

/// The end of the log as a start finds it.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) entries: Vec<RegistryRecord>,
    pub(super) last: u64,
    pub(super) fault: Option<String>,
}

/// Reads what was loaded; what is not to be read is left out and said.
pub(super) fn tail(log: &[Record], fault: Option<String>) -> Tail {
    let mut tail = Tail { fault, ..Tail::default() };
    for (key, value) in log {
        if let Ok(RegistryKey::Audit(AuditKey::Entry(seq))) = registry::decode_key(key) {
            tail.last = tail.last.max(seq);
        }
        match registry::decode(key, value) {
            Ok(record) => tail.entries.push(record),
            Err(error) => drop(tail.fault.get_or_insert(error.to_string())),
        }
    }
    tail
}

fn key(seq: u64) -> Vec<u8> {
    registry::encode_key(&RegistryKey::Audit(AuditKey::Entry(seq)))
}

/// An entry, or under which number something lies that is none.
type Found = Result<Arc<AuditEntry>, (Option<u64>, String)>;

fn entry((key, value): &Record) -> Found {
    let seq = match registry::decode_key(key) {
        Ok(RegistryKey::Audit(AuditKey::Entry(seq))) => Some(seq),
        Ok(_) | Err(_) => None,
    };
    match registry::decode(key, value) {
        Ok(RegistryRecord::Audit(AuditRecord::Entry(entry))) => Ok(entry),
        Ok(_) => Err((seq, "it is no entry".to_owned())),
        Err(error) => Err((seq, error.to_string())),
    }
}

/// A part of the log, newest first.
#[derive(Debug)]
pub struct Listed {
    /// The entries.
    pub entries: Vec<Arc<AuditEntry>>,
    /// Where to ask on.
    pub next: Option<u64>,
    /// The log.
    pub log: AuditView,
}

/// Lists a bounded part of the log. Entries that cannot be read are left out; a check names them.
///
/// # Errors
/// The log cannot be read, or the engine has ended.
pub async fn list(handle: &Handle, wanted: AuditRequest) -> Result<Listed, Rejection> {
    let log = handle.query(|reading| query::audit(reading.state)).await?;
    let AuditRequest { before, limit, filter } = wanted;
    let limit = usize::try_from(limit).unwrap_or(ANSWER).clamp(1, ANSWER);
    let mut top = before.unwrap_or(u64::MAX).min(log.head.seq + 1);
    let (mut entries, mut looked_at, mut bytes) = (Vec::new(), 0, 0);
    let mut page = PAGE;
    while top > log.head.trimmed + 1 {
        if entries.len() >= limit || looked_at >= CALL || bytes >= ANSWER_BYTES {
            return Ok(Listed { entries, next: Some(top), log });
        }
        let first = top.saturating_sub(page).max(log.head.trimmed + 1);
        let count = usize::try_from(top - first).unwrap_or(usize::MAX);
        let part = handle.read_log(key(first), count).await?;
        if count > 1 && is_cut(&part) {
            // What is newest in it is missing.
            page = page.min(top - first) / 2;
            continue;
        }
        looked_at += top - first;
        let found = part.iter().rev().filter_map(|record| Some((entry(record).ok()?, record)));
        // Behind a gap a part reaches further than asked for.
        for (entry, (_, value)) in found.filter(|(e, _)| e.seq < top && filter.takes(e)) {
            if entries.len() >= limit || bytes >= ANSWER_BYTES {
                return Ok(Listed { entries, next: Some(entry.seq + 1), log });
            }
            bytes += value.len();
            entries.push(entry);
        }
        top = first;
    }
    Ok(Listed { entries, next: None, log })
}

/// Is it so long that more may follow?
fn is_cut(part: &[Record]) -> bool {
    part.iter().map(|(_, value)| value.len()).sum::<usize>() >= PART_MAX
}

fn shortened() -> Rejection {
    let text = "the audit log's oldest entries were removed while they were checked";
    Rejection::new(ErrorCode::Unavailable, text).remedy("check it again")
}

/// Checks a bounded part of the log. Also answers whether there is more to check.
///
/// # Errors
/// The log cannot be read, the range is not there, or the engine has ended.
pub async fn verify(
    handle: &Handle,
    wanted: VerifyRequest,
) -> Result<(AuditCheck, bool), Rejection> {
    // An entry may be read only when it is synced, as this answer is: the head is not ahead of the log then.
    let log = handle.query(|reading| query::audit(reading.state)).await?;
    let head = log.head;
    let first = wanted.from.max(head.trimmed + 1);
    let last = if wanted.to == 0 { head.seq } else { wanted.to };
    if last > head.seq || first > last + 1 || (wanted.from > 0 && wanted.from < first) {
        let first = if wanted.from == 0 { first } else { wanted.from };
        let text = format!(
            "entries {first} to {last} are not all there: the log has {} to {}",
            head.trimmed + 1,
            head.seq
        );
        return Err(Rejection::new(ErrorCode::InvalidArgument, text)
            .field(if last > head.seq { "to" } else { "from" })
            .remedy("leave --from and --to out, or name entries that are there"));
    }
    if let Some((seq, _)) = wanted.behind.filter(|(seq, _)| *seq > head.seq) {
        let text =
            format!("an earlier part cannot have ended at entry {seq}: the last is {}", head.seq);
        return Err(Rejection::new(ErrorCode::InvalidArgument, text)
            .field("behind_seq")
            .remedy("give the entry and the hash that the earlier answer ended with"));
    }
    if wanted.behind.is_some_and(|(seq, _)| seq < head.trimmed) {
        return Err(shortened());
    }
    let (mut verifier, mut next) = match wanted.behind {
        Some((seq, hash)) => (Verifier::behind(seq, hash), seq + 1),
        None if first == head.trimmed + 1 => (Verifier::behind(head.trimmed, head.anchor), first),
        None => {
            let before = handle.read_log(key(first - 1), 1).await?;
            match before.first().map(entry) {
                Some(Ok(entry)) if entry.seq == first - 1 => {
                    (Verifier::behind(entry.seq, entry.hash), first)
                },
                Some(_) | None => {
                    let check = AuditCheck {
                        checked: 0,
                        last: first - 1,
                        hash: head.anchor,
                        broken: Some((first - 1, "it is missing or cannot be read".to_owned())),
                        log,
                    };
                    return Ok((check, false));
                },
            }
        },
    };
    let mut looked_at = 0;
    while next <= last && verifier.broken().is_none() && looked_at < CALL {
        let count = PAGE.min(last - next + 1);
        let part = handle.read_log(key(next), usize::try_from(count).unwrap_or(usize::MAX)).await?;
        for record in &part {
            match entry(record) {
                Ok(entry) if entry.seq > last => {},
                Ok(entry) => verifier.take(Ok(&entry)),
                Err((seq, why)) if seq == Some(verifier.last().0 + 1) => verifier.take(Err(why)),
                Err((_, why)) => verifier.take(Err(format!("it is missing; behind it: {why}"))),
            }
        }
        let Some((end, _)) = part.last() else { break };
        let reached = match registry::decode_key(end) {
            Ok(RegistryKey::Audit(AuditKey::Entry(seq))) if is_cut(&part) => {
                (seq + 1).clamp(next + 1, next + count)
            },
            Ok(_) | Err(_) => next + count,
        };
        looked_at += reached - next;
        next = reached;
    }
    let unfinished = next <= last && looked_at >= CALL && verifier.broken().is_none();
    if !unfinished && last == head.seq {
        verifier.end(&head);
    } else if !unfinished && verifier.last().0 < last && verifier.broken().is_none() {
        verifier.take(Err("it is missing".to_owned()));
    }
    let (at, hash) = verifier.last();
    let broken = verifier.broken().cloned();
    if let Some((seq, _)) = &broken {
        let now = handle.query(|reading| query::audit(reading.state)).await?;
        if *seq <= now.head.trimmed {
            return Err(shortened());
        }
    }
    Ok((AuditCheck { checked: verifier.checked(), last: at, hash, broken, log }, unfinished))
}
