//! Registry and ledger records: what is stored is read back, and damage that checksums cannot see is
//! named.

use crate::nouns;
use crate::records::{ledger_record, registry_record, request};
use berth_model::audit::Said;
use berth_model::id::{ClusterId, OperationId, VolumeId};
use berth_model::record::{LedgerRecord, RegistryKey, RegistryRecord};
use berth_proto::{DecodeError, convert, fingerprint, ledger, registry};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn registry_records_are_read_back(record in registry_record()) {
        let (key, value) = registry::encode(&record);
        prop_assert_eq!(&key, &registry::encode_key(&record.key()));
        prop_assert_eq!(registry::decode_key(&key).unwrap(), record.key());
        let back = registry::decode(&key, &value).unwrap();
        prop_assert_eq!(&back, &record);
        prop_assert_eq!(registry::encode(&back), (key, value));
    }

    #[test]
    fn a_record_under_another_key_is_an_error(a in registry_record(), b in registry_record()) {
        prop_assume!(a.key() != b.key());
        let (key, _) = registry::encode(&a);
        let (_, value) = registry::encode(&b);
        let error = registry::decode(&key, &value).unwrap_err();
        prop_assert_eq!(error.key.as_bytes(), &key[..]);
    }

    #[test]
    fn ledger_records_and_snapshots_are_read_back(records in vec(ledger_record(), 0..5)) {
        for record in &records {
            prop_assert_eq!(&ledger::decode(&ledger::encode(record)).unwrap(), record);
        }
        let snapshot = ledger::encode_snapshot(&records);
        prop_assert_eq!(ledger::decode_snapshot(&snapshot).unwrap(), records);
    }

    #[test]
    fn a_cut_off_snapshot_is_an_error_unless_cut_between_records(
        records in vec(ledger_record(), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = ledger::encode_snapshot(&records);
        let part = &whole[..cut.index(whole.len())];
        let ends: Vec<usize> =
            (0..records.len()).map(|n| ledger::encode_snapshot(&records[..n]).len()).collect();
        match ends.iter().position(|end| *end == part.len()) {
            Some(n) => prop_assert_eq!(&ledger::decode_snapshot(part).unwrap(), &records[..n]),
            None => {
                let error = ledger::decode_snapshot(part).unwrap_err();
                prop_assert!(error.key.starts_with("ledger snapshot"), "{}", error);
            },
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(key in vec(any::<u8>(), 0..40), value in vec(any::<u8>(), 0..80)) {
        prop_assert!(registry::decode(&key, &value).is_err());
        drop(ledger::decode(&value));
        drop(ledger::decode_snapshot(&value));
    }

    #[test]
    fn fingerprints_leave_the_operation_id_out_and_take_the_rest_in(
        a in request(),
        b in request(),
        ids in any::<(u128, u128)>(),
    ) {
        let fingerprint_of = |id: u128, request| {
            let pair = (OperationId::from_u128(id), request, Said::default());
            let mut message = convert::to_wire(&pair);
            message.operation_id.clear();
            fingerprint(&message)
        };
        let equal = a == b;
        prop_assert_eq!(fingerprint_of(ids.0, a.clone()), fingerprint::request(&a));
        prop_assert_eq!(
            fingerprint_of(ids.0, a) == fingerprint_of(ids.1, b),
            equal
        );
    }

    #[test]
    fn an_action_has_one_fingerprint(volumes in vec(nouns::resource(), 1..3)) {
        use berth_model::operation::Action;
        let create = fingerprint::action(&Action::Create(volumes.clone()));
        prop_assert_eq!(create, fingerprint::action(&Action::Create(volumes.clone())));
        prop_assert_ne!(create, fingerprint::action(&Action::Destroy(volumes)));
    }
}

fn error(key: &str, reason: &str) -> DecodeError {
    DecodeError { key: key.to_owned(), reason: reason.to_owned() }
}

#[test]
fn damaged_registry_records_are_named() {
    let meta =
        RegistryRecord::Meta { cluster: ClusterId::from_u128(1), epoch: 3, next_framework: 4 };
    let (key, value) = registry::encode(&meta);
    assert_eq!(key, b"meta");
    let check = |key: &[u8], value: &[u8], want: DecodeError| {
        assert_eq!(registry::decode(key, value).unwrap_err(), want);
    };
    check(b"meta", b"", error("meta", "it is empty"));
    let mut other = value.clone();
    other[0] = 2;
    check(b"meta", &other, error("meta", "it has format version 2, this release reads version 1"));
    check(b"meta", &[1], error("meta", "field record: a required field is missing"));
    check(
        b"volume/00000000000000000000000000000001",
        &[1],
        error(
            "volume/00000000000000000000000000000001",
            "field record: a required field is missing",
        ),
    );
    check(b"meta/1", &value, error("meta/1", "the key is not written as Berth writes it"));
    check(b"metadata", &value, error("metadata", "no kind of record is called \"metadata\""));
    check(
        b"volume/00000000-0000-0000-0000-000000000001",
        &value,
        error(
            "volume/00000000-0000-0000-0000-000000000001",
            "the key is not written as Berth writes it",
        ),
    );
    check(b"volume/x", &value, error("volume/x", "volume id \"x\" is not 32 hexadecimal digits"));
    check(
        &[0xff],
        &value,
        error("\u{fffd}", "the key is not text: invalid utf-8 sequence of 1 bytes from index 0"),
    );

    let position = |agent| RegistryRecord::AgentSeq { agent, ledger_seq: 1 };
    let agent = berth_model::id::AgentId::from_u128;
    let (first, _) = registry::encode(&position(agent(1)));
    let (_, second) = registry::encode(&position(agent(2)));
    check(
        &first,
        &second,
        error(
            "agent-seq/00000000000000000000000000000001",
            "the record under it belongs under \"agent-seq/00000000000000000000000000000002\"",
        ),
    );
    let text = error("meta", "it is empty").to_string();
    assert_eq!(text, "stored record \"meta\" cannot be read: it is empty");
}

#[test]
fn keys_of_a_kind_lie_together_and_in_the_order_of_their_ids() {
    let volume = |n| registry::encode_key(&RegistryKey::Volume(VolumeId::from_u128(n)));
    assert_eq!(volume(10), b"volume/0000000000000000000000000000000a");
    assert!(volume(9) < volume(10) && volume(10) < volume(u128::MAX));
}

#[test]
fn damaged_ledger_records_are_named() {
    assert_eq!(ledger::decode(b"").unwrap_err(), error("ledger record", "it is empty"));
    assert_eq!(
        ledger::decode(&[1]).unwrap_err(),
        error("ledger record", "field record: a required field is missing")
    );
    assert_eq!(
        ledger::decode(&[7, 1]).unwrap_err(),
        error("ledger record", "it has format version 7, this release reads version 1")
    );
    assert_eq!(ledger::decode_snapshot(&[]).unwrap_err(), error("ledger snapshot", "it is empty"));
    let good = LedgerRecord::VolumeForgotten(VolumeId::from_u128(1));
    let mut snapshot = ledger::encode_snapshot(&[good]);
    snapshot.push(0);
    assert_eq!(
        ledger::decode_snapshot(&snapshot).unwrap_err(),
        error("ledger snapshot record 1", "field record: a required field is missing")
    );
}
