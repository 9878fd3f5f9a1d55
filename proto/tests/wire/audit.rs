//! Arbitrary parts of the audit log, and what is refused of them.

use crate::nouns::*;
use berth_model::audit::{
    AuditChange, AuditCheck, AuditEntry, AuditFilter, AuditHash, AuditHead, AuditMark, AuditRecord,
    AuditView, Phase, Said, Who,
};
use berth_model::operation::OperationKind;
use berth_model::record::RegistryRecord;
use berth_proto::convert::{AuditRequest, VerifyRequest, from_wire};
use berth_proto::v1;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;

fn name() -> BoxedStrategy<Arc<str>> {
    "[a-z]{1,9}@[a-z]{1,9}".prop_map(Arc::from).boxed()
}
fn hash() -> BoxedStrategy<AuditHash> {
    any::<[u8; 32]>().prop_map(AuditHash).boxed()
}
fn who() -> BoxedStrategy<Who> {
    prop_oneof![
        Just(Who::Unknown),
        Just(Who::Berth),
        name().prop_map(Who::Claimed),
        (framework(), arc(), principal()).prop_map(|(id, name, principal)| Who::Framework {
            id,
            name,
            principal
        }),
    ]
    .boxed()
}

/// Of a record: any caller.
pub fn said() -> BoxedStrategy<Said> {
    (who(), of(name())).prop_map(|(who, reason)| Said { who, reason, in_earnest: false }).boxed()
}
/// Of a call: an operator.
pub fn claim() -> BoxedStrategy<Said> {
    let who = prop_oneof![Just(Who::Unknown), name().prop_map(Who::Claimed)];
    (who, of(name()), any::<bool>())
        .prop_map(|(who, reason, in_earnest)| Said { who, reason, in_earnest })
        .boxed()
}

fn change() -> BoxedStrategy<AuditChange> {
    (text(), text(), of(text()), of(text()))
        .prop_map(|(object, what, before, after)| AuditChange { object, what, before, after })
        .boxed()
}

fn kind() -> BoxedStrategy<OperationKind> {
    select(OperationKind::ALL.to_vec()).boxed()
}

pub fn entry() -> BoxedStrategy<AuditEntry> {
    (
        (any::<u64>(), time(), select(Phase::ALL.to_vec()), of(operation_id()), of(kind())),
        (who(), of(name()), text(), of(agent()), vec(volume_id(), 0..3)),
        (vec(change(), 0..3), of(rejection()), vec(text(), 0..3), hash()),
    )
        .prop_map(
            |(
                (seq, at, phase, operation, kind),
                (who, reason, object, agent, volumes),
                (changes, error, notes, hash),
            )| AuditEntry {
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
            },
        )
        .boxed()
}

fn head() -> BoxedStrategy<AuditHead> {
    (any::<u64>(), hash(), any::<u64>(), hash())
        .prop_map(|(seq, hash, trimmed, anchor)| AuditHead { seq, hash, trimmed, anchor })
        .boxed()
}

pub fn record() -> BoxedStrategy<RegistryRecord> {
    let mark =
        (any::<u64>(), hash(), time()).prop_map(|(seq, hash, at)| AuditMark { seq, hash, at });
    prop_oneof![
        head().prop_map(AuditRecord::Head),
        mark.prop_map(AuditRecord::Mark),
        entry().prop_map(|entry| AuditRecord::Entry(Arc::new(entry))),
    ]
    .prop_map(RegistryRecord::Audit)
    .boxed()
}

pub fn list_request() -> BoxedStrategy<AuditRequest> {
    let filter =
        (
            (of(time()), of(time()), of(kind()), of(select(Phase::ALL.to_vec()))),
            (of(operation_id()), of(filled()), of(filled())),
        )
            .prop_map(|((since, until, kind, phase), (operation, volume, who))| {
                AuditFilter { since, until, kind, phase, operation, volume, who }
            });
    (of(any::<u64>()), any::<u32>(), filter)
        .prop_map(|(before, limit, filter)| AuditRequest { before, limit, filter })
        .boxed()
}

pub fn verify_request() -> BoxedStrategy<VerifyRequest> {
    (any::<u64>(), any::<u64>(), of((any::<u64>(), hash())))
        .prop_map(|(from, to, behind)| VerifyRequest { from, to, behind })
        .boxed()
}

pub fn check() -> BoxedStrategy<(AuditCheck, bool)> {
    let log = (head(), of(text())).prop_map(|(head, fault)| AuditView { head, fault });
    ((any::<u64>(), any::<u64>(), hash(), of((any::<u64>(), text())), log), any::<bool>())
        .prop_map(|((checked, last, hash, broken, log), more)| {
            (AuditCheck { checked, last, hash, broken, log }, more)
        })
        .boxed()
}

#[test]
fn malformed_parts_are_named() {
    let entry = v1::AuditEntry { phase: 1, hash: vec![0; 31], ..v1::AuditEntry::default() };
    let error = from_wire::<AuditEntry>(entry).unwrap_err();
    assert_eq!((error.field.as_str(), error.message.as_str()), ("hash", "31 bytes are no hash"));
    let request = v1::VerifyAuditRequest { behind_seq: Some(1), ..Default::default() };
    assert_eq!(from_wire::<VerifyRequest>(request).unwrap_err().field, "behind_hash");
    let request = v1::ListAuditRequest { kind: 9_999, ..Default::default() };
    assert_eq!(from_wire::<AuditRequest>(request).unwrap_err().field, "kind");
    let request = v1::ListAuditRequest { who: Some(String::new()), ..Default::default() };
    assert_eq!(from_wire::<AuditRequest>(request).unwrap_err().field, "who");
}
