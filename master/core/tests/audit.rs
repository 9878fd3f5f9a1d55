//! The audit log: what is written of an operation and when, that the chain shows every change, and how it is kept short.

mod stage;

use berth_master_core::audit::{Verifier, beginning, entry_hash};
use berth_master_core::{Config, Input, query};
use berth_model::audit::{
    AuditChange, AuditEntry, AuditFilter, AuditHash, AuditHead, AuditKey, AuditRecord, Phase, Said,
    Who,
};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, FrameworkId, OperationId, VolumeId};
use berth_model::operation::{Action, OperationKind};
use berth_model::operator::{Property, Request, VolumeChoice};
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::reservation::Reservation;
use berth_model::resources::Resource;
use berth_model::units::Timestamp;
use berth_model::volume::VolumeState;
use proptest::prelude::*;
use stage::{Stage, cluster, create_request, framework_info, op, report, reserved, session};
use std::sync::Arc;
use std::time::Duration;

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";

fn audited() -> Stage {
    Stage::with(|config| config.audit_refusals = 100)
}

fn entries(stage: &Stage) -> Vec<AuditEntry> {
    let entry = |record: &RegistryRecord| match record {
        RegistryRecord::Audit(AuditRecord::Entry(entry)) => Some(AuditEntry::clone(entry)),
        _ => None,
    };
    stage.registry.values().filter_map(entry).collect()
}

fn head(stage: &Stage) -> AuditHead {
    query::audit(stage.master.state()).head
}

/// What is stored fits together, from its beginning to its head.
fn checked(stage: &Stage) -> Result<u64, (u64, String)> {
    let head = head(stage);
    let mut verifier = Verifier::behind(head.trimmed, head.anchor);
    entries(stage).iter().for_each(|entry| verifier.take(Ok(entry)));
    verifier.end(&head);
    verifier.broken().cloned().map_or(Ok(verifier.checked()), Err)
}

fn said(stage: &mut Stage, id: u128, request: Request, reason: &str) {
    stage.put(Input::Operator {
        reply: 1,
        operation: op(id),
        fingerprint: 1,
        request,
        said: Said {
            who: Who::Claimed(Arc::from("alice@desk")),
            reason: Some(Arc::from(reason)),
            in_earnest: false,
        },
    });
}

fn change(object: String, what: &str, before: Option<&str>, after: Option<&str>) -> AuditChange {
    let text = |text: Option<&str>| text.map(str::to_owned);
    AuditChange { object, what: what.to_owned(), before: text(before), after: text(after) }
}

#[test]
fn an_operation_has_an_entry_when_it_begins_and_one_when_it_ends() {
    let mut stage = audited();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 512);
    let known = entries(&stage).len();
    said(&mut stage, 70, Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) }, "ticket 7");
    let at = stage.now;
    stage.now = at.after(Duration::from_secs(3));
    stage.reports(1, session(1), report(&spec, VolumeState::Trashed));
    let found = entries(&stage);
    let object = format!("volume {}", spec.id);
    let begin = AuditEntry {
        seq: known as u64 + 1,
        at,
        phase: Phase::Accepted,
        operation: Some(op(70)),
        kind: Some(OperationKind::Destroy),
        who: Who::Claimed(Arc::from("alice@desk")),
        reason: Some(Arc::from("ticket 7")),
        object: found[known].object.clone(),
        agent: Some(AgentId::from_u128(1)),
        volumes: vec![spec.id],
        changes: vec![change(object.clone(), "state", Some("READY"), Some("TOMBSTONED"))],
        error: None,
        notes: Vec::new(),
        hash: found[known].hash,
    };
    let end = AuditEntry {
        seq: begin.seq + 1,
        at: stage.now,
        phase: Phase::Done,
        changes: vec![change(object, "state", Some("TOMBSTONED"), Some("TRASHED"))],
        hash: found[known + 1].hash,
        ..begin.clone()
    };
    assert_eq!(found[known..], [begin, end]);
    assert_eq!(checked(&stage), Ok(known as u64 + 2));
    // The same request again, and the same report: nothing begins or ends.
    said(&mut stage, 70, Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) }, "ticket 7");
    stage.reports(1, session(1), report(&spec, VolumeState::Trashed));
    assert_eq!(entries(&stage).len(), known + 2);
}

#[test]
fn what_is_done_at_once_has_one_entry_and_a_trial_has_none() {
    let mut stage = audited();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 512);
    let known = entries(&stage).len();
    let protect = Request::Property {
        volume: VolumeChoice::Id(spec.id),
        property: Property::Protected(true),
    };
    stage.master.check(stage.now, &protect).unwrap();
    assert_eq!(entries(&stage).len(), known);
    said(&mut stage, 71, protect, "audit");
    let found = entries(&stage);
    assert_eq!(found.len(), known + 1);
    let last = found.last().unwrap();
    assert_eq!((last.phase, last.kind), (Phase::Done, Some(OperationKind::Protect)));
    let object = format!("volume {}", spec.id);
    assert_eq!(last.changes, [change(object, "protected", Some("false"), Some("true"))]);
}

#[test]
fn refusals_are_written_at_a_bounded_rate_and_say_how_many_were_not() {
    let mut stage = audited();
    let gone = Request::PurgeVolume { volume: VolumeId::from_u128(9), wipe: None };
    for n in 0..300 {
        said(&mut stage, 1_000 + n, gone.clone(), "cleanup");
    }
    let refused: Vec<AuditEntry> =
        entries(&stage).into_iter().filter(|e| e.phase == Phase::Refused).collect();
    assert_eq!(refused.len(), 100);
    let first = &refused[0];
    assert_eq!(first.error.as_ref().map(|e| e.code), Some(ErrorCode::UnknownVolume));
    assert_eq!(first.object, format!("volume {}", VolumeId::from_u128(9)));
    assert_eq!((first.operation, first.reason.as_deref()), (Some(op(1_000)), Some("cleanup")));
    stage.now = stage.now.after(Duration::from_secs(10));
    said(&mut stage, 2_000, gone, "cleanup");
    let last = entries(&stage).pop().unwrap();
    assert_eq!(last.notes, ["200 refusals before this one were not written"]);
    checked(&stage).unwrap();
}

#[test]
fn what_is_refused_before_it_was_confirmed_is_a_refusal() {
    let mut stage = audited();
    let request = Request::PurgeVolume { volume: VolumeId::from_u128(9), wipe: None };
    let error = stage.master.check(stage.now, &request).unwrap_err();
    let said = Said { who: Who::Claimed(Arc::from("a@b")), reason: None, in_earnest: true };
    let (operation, error_said) = (op(5), error.clone());
    let step = stage.put(Input::Refused { operation, request, said, error });
    assert_eq!((step.outputs.len(), step.writes.len()), (0, 0));
    let last = entries(&stage).pop().unwrap();
    let found = (last.phase, last.operation, last.error, last.who);
    let who = Who::Claimed(Arc::from("a@b"));
    assert_eq!(found, (Phase::Refused, Some(op(5)), Some(error_said), who));
}

#[test]
fn a_refused_request_is_found_under_the_volume_it_was_about() {
    let mut stage = audited();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 512);
    let by_id = VolumeChoice::Id(spec.id);
    let by_name = VolumeChoice::Named { role: None, name: spec.name.clone() };
    let huge = "1000GiB".parse().unwrap();
    for (n, request) in [
        Request::ResizeVolume { volume: by_id, size: huge },
        Request::ResizeVolume { volume: by_name, size: huge },
        Request::RestoreVolume { volume: spec.id },
        Request::PurgeVolume { volume: spec.id, wipe: None },
    ]
    .into_iter()
    .enumerate()
    {
        said(&mut stage, 100 + n as u128, request, "why");
        let last = entries(&stage).pop().unwrap();
        assert_eq!((last.phase, &last.volumes), (Phase::Refused, &vec![spec.id]), "{last:?}");
        for text in ["data", "storage/data", &spec.id.to_string(), &spec.id.to_string()[..8]] {
            let filter = AuditFilter { volume: Some(text.to_owned()), ..AuditFilter::default() };
            assert!(filter.takes(&last), "{text}: {last:?}");
        }
    }
}

#[test]
fn frameworks_and_berth_itself_are_named() {
    let mut stage = audited();
    stage.register(1, MACHINE);
    let (framework, step) = stage.subscribe(5, framework_info("db", &["storage"]));
    let offer = stage::offered(&step).pop().expect("an offer");
    stage.accept(&framework, 5, &[&offer], vec![Action::Reserve(reserved("disk:64", "storage"))]);
    let last = entries(&stage).pop().unwrap();
    let info = framework_info("db", &["storage"]);
    let who = Who::Framework { id: framework, name: info.name, principal: info.principal };
    assert_eq!((last.kind, last.phase, last.who), (Some(OperationKind::Reserve), Phase::Done, who));
    let first = entries(&stage).remove(0);
    assert_eq!((first.phase, first.who), (Phase::Opened, Who::Berth));
    assert_eq!(first.object, "epoch 1, registry at revision 0");
}

#[test]
fn a_log_that_is_long_enough_loses_its_oldest_segment_and_can_still_be_checked() {
    let mut stage = Stage::with(|config| {
        config.audit_refusals = u64::MAX;
        config.audit_entries = 20;
        config.audit_segment = 8;
    });
    let gone = Request::PurgeVolume { volume: VolumeId::from_u128(9), wipe: None };
    for n in 0..200 {
        said(&mut stage, 1_000 + n, gone.clone(), "x");
        let count = checked(&stage).unwrap();
        assert!(count <= 20 + 8 + 1, "{count} entries are kept");
        assert!(n < 20 || count >= 20, "{count} entries are kept");
    }
    let head = head(&stage);
    assert!(head.trimmed > 100, "{head:?}");
    let trimmed = entries(&stage).into_iter().rfind(|e| e.phase == Phase::Trimmed).unwrap();
    assert!(trimmed.object.contains(&head.anchor.to_string()), "{}", trimmed.object);
    let marks =
        stage.registry.keys().filter(|k| matches!(k, RegistryKey::Audit(AuditKey::Mark(_))));
    assert!(marks.count() <= 4);
}

#[test]
fn old_segments_go_however_short_the_log_is() {
    let mut stage = Stage::with(|config| {
        config.audit_refusals = 100;
        config.audit_segment = 4;
        config.audit_age = Some(Duration::from_secs(3_600));
    });
    let gone = Request::PurgeVolume { volume: VolumeId::from_u128(9), wipe: None };
    for n in 0..6 {
        said(&mut stage, n, gone.clone(), "x");
    }
    assert_eq!(head(&stage).trimmed, 0);
    stage.now = stage.now.after(Duration::from_secs(3_600));
    said(&mut stage, 10, gone, "x");
    assert_eq!(head(&stage).trimmed, 4);
    checked(&stage).unwrap();
}

/// A reservation with a row of its own.
fn labelled(n: usize) -> Resource {
    let label = (Arc::from("n"), Arc::from(n.to_string()));
    let level = Reservation::dynamic(stage::role("storage")).with_labels(vec![label]);
    stage::res("disk:1").iter().next().expect("one").push(level).expect("it is plain")
}

#[test]
fn an_operation_shows_the_rows_that_it_wrote_itself() {
    const COUNT: usize = 2_000;
    let mut stage = audited();
    stage.register(1, "cpus:2;mem:2048;disk:4000");
    let (framework, step) = stage.subscribe(5, framework_info("db", &["storage"]));
    let offer = stage::offered(&step).pop().expect("an offer");
    let one = |n: usize| Action::Reserve(stage::sum([labelled(n)]));
    stage.accept(&framework, 5, &[&offer], (0..COUNT).map(one).collect());
    let reserved: Vec<AuditEntry> =
        entries(&stage).into_iter().filter(|e| e.kind == Some(OperationKind::Reserve)).collect();
    assert_eq!(reserved.len(), COUNT);
    let changes: usize = reserved.iter().map(|entry| entry.changes.len()).sum();
    assert_eq!(changes, COUNT, "one row each");
    assert!(reserved[7].changes[0].after.as_ref().unwrap().contains("n=7"), "{:?}", reserved[7]);
}

#[test]
fn operations_of_a_framework_that_fail_at_once_are_written_at_a_bounded_rate() {
    let mut stage = audited();
    stage.register(1, MACHINE);
    let (framework, step) = stage.subscribe(5, framework_info("db", &["storage"]));
    let offer = stage::offered(&step).pop().expect("an offer");
    let too_much = || Action::Reserve(reserved("disk:999999", "storage"));
    stage.accept(&framework, 5, &[&offer], (0..300).map(|_| too_much()).collect());
    let failed = |stage: &Stage| -> Vec<AuditEntry> {
        entries(stage).into_iter().filter(|e| e.phase == Phase::Failed).collect()
    };
    assert_eq!(failed(&stage).len(), 100);
    // An operator's refusal has its own share.
    let gone = Request::PurgeVolume { volume: VolumeId::from_u128(9), wipe: None };
    said(&mut stage, 1_000, gone, "cleanup");
    assert_eq!(entries(&stage).pop().unwrap().phase, Phase::Refused);
    stage.now = stage.now.after(Duration::from_secs(10));
    stage.put(Input::Tick);
    let offer = stage.offers().pop().expect("an offer");
    stage.accept(&framework, 5, &[&offer], vec![too_much()]);
    let last = failed(&stage).pop().unwrap();
    assert_eq!(last.notes[0], "200 refusals before this one were not written");
    checked(&stage).unwrap();
}

#[test]
fn an_entry_has_a_bounded_size_and_says_what_is_left_out() {
    let mut stage = audited();
    stage.register(1, "cpus:2;mem:2048;disk:4000");
    let (framework, step) = stage.subscribe(5, framework_info("db", &["storage"]));
    let offer = stage::offered(&step).pop().expect("an offer");
    let rows = stage::sum((0..300).map(labelled));
    stage.accept(&framework, 5, &[&offer], vec![Action::Reserve(rows)]);
    let last = entries(&stage).pop().unwrap();
    assert_eq!((last.kind, last.changes.len()), (Some(OperationKind::Reserve), 100));
    assert_eq!(last.notes, ["200 more objects changed"]);
    assert!(last.object.len() <= 4_096 && last.object.ends_with(" bytes more)"), "{}", last.object);
}

/// A registry with some history, and the last number of its log.
fn with_history() -> (Stage, u64) {
    let mut stage = audited();
    stage.register(1, MACHINE);
    for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
        said(&mut stage, n as u128, create_request(name, "storage", 64), "setup");
    }
    let last = head(&stage).seq;
    (stage, last)
}

fn config(stage: &Stage) -> Config {
    Config::new(cluster(), stage.epoch + 1, 0)
}

#[test]
fn a_damaged_log_is_said_at_the_start_and_gone_on_from() {
    let key = |seq| RegistryKey::Audit(AuditKey::Entry(seq));
    type Damage = fn(&mut Stage, u64);
    let damages: [(&str, Damage); 5] = [
        ("its hash does not follow", |stage, last| {
            let Some(RegistryRecord::Audit(AuditRecord::Entry(entry))) =
                stage.registry.get_mut(&RegistryKey::Audit(AuditKey::Entry(last)))
            else {
                panic!("no entry")
            };
            Arc::make_mut(entry).who = Who::Claimed(Arc::from("mallory@desk"));
        }),
        ("it is missing", |stage, last| {
            stage.registry.remove(&RegistryKey::Audit(AuditKey::Entry(last)));
        }),
        ("it is missing", |stage, last| {
            stage.registry.remove(&RegistryKey::Audit(AuditKey::Entry(last - 1)));
        }),
        ("its head is missing", |stage, _| {
            stage.registry.remove(&RegistryKey::Audit(AuditKey::Head));
        }),
        ("its head is at entry", |stage, last| {
            let Some(RegistryRecord::Audit(AuditRecord::Head(head))) =
                stage.registry.get_mut(&RegistryKey::Audit(AuditKey::Head))
            else {
                panic!("no head")
            };
            head.seq = last - 1;
        }),
    ];
    for (wanted, damage) in damages {
        let (mut stage, last) = with_history();
        damage(&mut stage, last);
        let left = entries(&stage);
        let config = config(&stage);
        stage.restart_with(config);
        let fault = query::audit(stage.master.state()).fault.expect("a fault");
        assert!(fault.contains(wanted), "{wanted}: {fault}");
        // What is there stays as it is, and what comes is behind it.
        let now = entries(&stage);
        assert_eq!(now[..left.len()], left, "{wanted}");
        let opened = now.last().unwrap();
        assert_eq!((opened.phase, opened.seq), (Phase::Opened, head(&stage).seq));
        assert!(opened.notes[0].contains("the log is damaged"), "{:?}", opened.notes);
        assert!(stage.registry.contains_key(&key(opened.seq)));
    }
}

#[test]
fn a_whole_log_is_gone_on_from_also_by_a_copy() {
    let (mut stage, last) = with_history();
    let copy = stage.registry.clone();
    for _ in 0..2 {
        let config = config(&stage);
        stage.restart_with(config);
        assert_eq!(query::audit(stage.master.state()).fault, None);
        stage.epoch += 1;
    }
    assert_eq!(checked(&stage), Ok(last + 2));
    // A registry that was put back from a copy goes on where the copy ended.
    stage.registry = copy;
    let config = config(&stage);
    stage.restart_with(config);
    assert_eq!(query::audit(stage.master.state()).fault, None);
    assert_eq!(checked(&stage), Ok(last + 1));
}

#[test]
fn entries_that_nobody_can_read_are_not_written_over() {
    let (mut stage, last) = with_history();
    stage.registry.retain(|key, _| !matches!(key, RegistryKey::Audit(_)));
    let mut config = config(&stage);
    config.audit_last = last;
    config.audit_fault = Some("entry 4 cannot be read".to_owned());
    stage.restart_with(config);
    assert_eq!(entries(&stage)[0].seq, last + 1);
    let fault = query::audit(stage.master.state()).fault.unwrap();
    assert_eq!(fault, "entry 4 cannot be read; its head is missing");
}

fn entry() -> impl Strategy<Value = AuditEntry> {
    let text = || "[a-z]{0,3}".prop_map(Arc::<str>::from);
    let who = prop_oneof![
        Just(Who::Unknown),
        Just(Who::Berth),
        text().prop_map(Who::Claimed),
        (text(), any::<bool>()).prop_map(|(name, named)| Who::Framework {
            id: FrameworkId::new("f-1").expect("an id"),
            name,
            principal: named.then(|| stage::principal("p")),
        }),
    ];
    let one = || "[a-z]{0,2}".prop_map(String::from);
    let change = (one(), one(), proptest::option::of(one()), proptest::option::of(one()))
        .prop_map(|(object, what, before, after)| AuditChange { object, what, before, after });
    (
        (0_u64..9, 0_usize..6, proptest::option::of(0_u128..3), proptest::option::of(0_usize..28)),
        (who, proptest::option::of(text()), one(), proptest::option::of(0_u128..3)),
        proptest::collection::vec(0_u128..3, 0..3),
        proptest::collection::vec(change, 0..3),
        proptest::option::of((one(), one())),
        proptest::collection::vec(one(), 0..3),
    )
        .prop_map(
            |(
                (at, phase, operation, kind),
                (who, reason, object, agent),
                volumes,
                changes,
                error,
                notes,
            )| {
                AuditEntry {
                    seq: 0,
                    at: Timestamp::from_ms(at),
                    phase: Phase::ALL[phase],
                    operation: operation.map(OperationId::from_u128),
                    kind: kind.map(|kind| OperationKind::ALL[kind]),
                    who,
                    reason,
                    object,
                    agent: agent.map(AgentId::from_u128),
                    volumes: volumes.into_iter().map(VolumeId::from_u128).collect(),
                    changes,
                    error: error.map(|(message, remedy)| {
                        Rejection::new(ErrorCode::Internal, message).remedy(remedy)
                    }),
                    notes,
                    hash: AuditHash::default(),
                }
            },
        )
}

fn chain(drafts: Vec<AuditEntry>) -> (Vec<AuditEntry>, AuditHead) {
    let anchor = beginning(cluster());
    let mut hash = anchor;
    let mut log = Vec::new();
    for (seq, draft) in (1..).zip(drafts) {
        let mut entry = AuditEntry { seq, ..draft };
        hash = entry_hash(&hash, &entry);
        entry.hash = hash;
        log.push(entry);
    }
    let head = AuditHead { seq: log.len() as u64, hash, trimmed: 0, anchor };
    (log, head)
}

fn broken_at(log: &[AuditEntry], head: &AuditHead) -> Option<u64> {
    let mut verifier = Verifier::behind(0, head.anchor);
    log.iter().for_each(|entry| verifier.take(Ok(entry)));
    verifier.end(head);
    verifier.broken().map(|(seq, _)| *seq)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_change_deletion_and_swap_is_found_at_its_place(
        drafts in proptest::collection::vec(entry(), 2..8),
        other in entry(),
        at in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
    ) {
        let (log, head) = chain(drafts);
        prop_assert_eq!(broken_at(&log, &head), None);
        let (at, to) = (at.index(log.len()), to.index(log.len()));
        let wanted = Some(at as u64 + 1);

        // Other content under the old hash, and other content under a hash of its own.
        let changed = AuditEntry { seq: log[at].seq, hash: log[at].hash, ..other };
        if changed != log[at] {
            let mut tampered = log.clone();
            tampered[at] = changed.clone();
            prop_assert_eq!(broken_at(&tampered, &head), wanted);
            let before = at.checked_sub(1).map_or(head.anchor, |n| log[n].hash);
            tampered[at].hash = entry_hash(&before, &changed);
            let later = if at + 1 == log.len() { wanted } else { Some(at as u64 + 2) };
            prop_assert_eq!(broken_at(&tampered, &head), later);
        }

        let mut shorter = log.clone();
        shorter.remove(at);
        prop_assert_eq!(broken_at(&shorter, &head), wanted);

        if at != to {
            let mut swapped = log.clone();
            swapped.swap(at, to);
            prop_assert_eq!(broken_at(&swapped, &head), Some(at.min(to) as u64 + 1));
            // Also with the numbers of their places.
            swapped[at].seq = at as u64 + 1;
            swapped[to].seq = to as u64 + 1;
            prop_assert_eq!(broken_at(&swapped, &head), Some(at.min(to) as u64 + 1));
        }

        let mut doubled = log.clone();
        doubled.insert(at, log[at].clone());
        prop_assert_eq!(broken_at(&doubled, &head), Some(at as u64 + 2));
    }

    #[test]
    fn different_entries_have_different_hashes(a in entry(), b in entry()) {
        let hash = |entry: &AuditEntry| entry_hash(&AuditHash::default(), entry);
        prop_assert_eq!(a == b, hash(&a) == hash(&b));
    }
}
