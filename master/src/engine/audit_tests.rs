//! What is answered of the audit log: bounded, whatever clients wrote and whatever they ask for.

use super::audit;
use super::handle::Handle;
use super::tests::{agent, start};
use crate::registry::{MemoryStore, Store};
use berth_master_core::audit::{beginning, entry_hash};
use berth_model::audit::{AuditEntry, AuditHead, AuditRecord, Phase, Said, Who};
use berth_model::error::ErrorCode;
use berth_model::id::{ClusterId, OperationId};
use berth_model::operator::Request;
use berth_model::record::{RegistryRecord, RegistryWrite};
use berth_model::units::Timestamp;
use berth_proto::convert::{AuditRequest, VerifyRequest};
use std::sync::Arc;

const CLUSTER: ClusterId = ClusterId::from_u128(1);

fn of(before: Option<u64>) -> AuditRequest {
    AuditRequest { before, limit: 1_000, ..AuditRequest::default() }
}

/// Has so many requests refused for volumes whose names are as long as a client may send them.
async fn refuse(handle: &Handle, count: u128) {
    for n in 0..count {
        let path = Arc::from("x".repeat(120 << 10));
        let orphan = berth_model::orphan::OrphanChoice::Data { agent: agent(), path };
        let request = Request::PurgeOrphan { orphan };
        let said = Said::default();
        let refused = handle.submit(OperationId::from_u128(n), 1, request, said).await;
        assert_eq!(refused.unwrap_err().code, ErrorCode::UnknownAgent);
    }
}

#[tokio::test]
async fn an_audit_that_goes_on_behind_the_end_is_refused() {
    let (handle, _running) = start(MemoryStore::default());
    for seq in [u64::MAX, u64::MAX - 1, 5] {
        let message = berth_proto::v1::VerifyAuditRequest {
            from_seq: 0,
            to_seq: 0,
            behind_seq: Some(seq),
            behind_hash: Some(vec![7; 32]),
        };
        let wanted = berth_proto::convert::from_wire(message).unwrap();
        let refused = audit::verify(&handle, wanted).await.unwrap_err();
        assert_eq!((refused.code, &*refused.field), (ErrorCode::InvalidArgument, "behind_seq"));
    }
    let (check, unfinished) = audit::verify(&handle, VerifyRequest::default()).await.unwrap();
    assert_eq!((check.last, check.broken, unfinished), (1, None, false));
}

#[tokio::test]
async fn long_refusals_are_shortened_and_their_list_fits_into_a_message() {
    use prost::Message as _;
    let (handle, _running) = start(MemoryStore::default());
    refuse(&handle, 300).await;
    let listed = audit::list(&handle, of(None)).await.unwrap();
    assert_eq!((listed.entries.len(), listed.next), (101, None), "the beginning and a burst");
    let message = berth_proto::v1::ListAuditReply {
        entries: berth_proto::convert::list_to_wire(&listed.entries),
        ..Default::default()
    };
    assert!(message.encoded_len() < 101 * 20_000, "{} bytes", message.encoded_len());
}

#[tokio::test]
async fn answers_of_the_audit_log_are_bounded_in_bytes() {
    // As an older release could write them.
    let mut store = MemoryStore::default();
    let (count, size) = (40_u64, 1 << 20);
    let anchor = beginning(CLUSTER);
    let mut hash = anchor;
    let entry = AuditEntry {
        seq: 0,
        at: Timestamp::from_ms(1),
        phase: Phase::Done,
        operation: None,
        kind: None,
        who: Who::Unknown,
        reason: None,
        object: String::new(),
        agent: None,
        volumes: Vec::new(),
        changes: Vec::new(),
        error: None,
        notes: Vec::new(),
        hash,
    };
    let mut writes = Vec::new();
    for seq in 1..=count {
        let mut entry = AuditEntry { seq, object: "x".repeat(size), ..entry.clone() };
        entry.hash = entry_hash(&hash, &entry);
        hash = entry.hash;
        writes.push(RegistryWrite::Put(RegistryRecord::Audit(AuditRecord::Entry(Arc::new(entry)))));
    }
    let head = AuditHead { seq: count, hash, trimmed: 0, anchor };
    writes.push(RegistryWrite::Put(RegistryRecord::Audit(AuditRecord::Head(head))));
    let meta = RegistryRecord::Meta { cluster: CLUSTER, epoch: 1, next_framework: 1 };
    writes.push(RegistryWrite::Put(meta));
    store.commit(0, &crate::registry::encode(&writes)).unwrap();
    let (handle, _running) = start(store);
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let listed = audit::list(&handle, of(before)).await.unwrap();
        let bytes: usize = listed.entries.iter().map(|entry| entry.object.len()).sum();
        assert!(bytes <= 9 * size && !listed.entries.is_empty(), "{bytes} bytes");
        seen.extend(listed.entries.iter().map(|entry| entry.seq));
        before = listed.next;
        if before.is_none() {
            break;
        }
    }
    // The start wrote one more.
    assert_eq!(seen, (1..=count + 1).rev().collect::<Vec<_>>());
    let (check, unfinished) = audit::verify(&handle, VerifyRequest::default()).await.unwrap();
    assert_eq!((check.checked, check.broken, unfinished), (count + 1, None, false));
}
