//! Model to wire to model, for every noun.

use crate::{audit, disks, explain, nouns, records, roles, tasks, transfers, views};
use berth_proto::convert::{Wire, from_wire, to_wire};
use proptest::prelude::*;
use prost::Message;
use std::fmt::Debug;

/// What is written is read back whole. The second writing must have the same bytes, which also covers
/// what the algebra's equality leaves out (mounts, principals).
fn check<T: Wire + PartialEq + Debug>(value: &T) {
    let bytes = to_wire(value).encode_to_vec();
    let message = T::Message::decode(&*bytes).unwrap();
    let back: T = from_wire(message).unwrap_or_else(|e| panic!("{e:?} for {value:#?}"));
    assert_eq!(&back, value);
    assert_eq!(to_wire(&back).encode_to_vec(), bytes);
}

macro_rules! round_trips {
    ($($test:ident: $strategy:expr;)+) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(128))]
            $(
                #[test]
                fn $test(value in $strategy) {
                    check(&value);
                }
            )+
        }
    };
}

round_trips! {
    rejections: nouns::rejection();
    resources: nouns::resource();
    disk_sources: nouns::source();
    volume_specs: nouns::spec();
    volumes: nouns::volume();
    volume_reports: nouns::volume_report();
    volume_uses: nouns::volume_use();
    snapshots: nouns::snapshot();
    snapshot_reports: nouns::snapshot_report();
    snapshot_views: views::snapshot_view();
    surveys: transfers::survey();
    schedules: nouns::schedule();
    schedule_views: views::schedule_view();
    quotas: roles::quota();
    quota_views: roles::quota_view();
    explanations: explain::explanation();
    task_infos: tasks::task_info();
    task_statuses: tasks::task_status();
    task_keys: tasks::task_key();
    disks: tasks::disk();
    agent_infos: tasks::agent_info();
    offers: records::offer();
    offer_operations: records::offer_operation();
    operation_records: records::operation_record();
    framework_infos: records::framework_info();
    calls: records::call();
    events: records::event();
    cell_events: records::cell_event();
    messages_from_agents: records::from_agent();
    envelopes: records::envelope();
    requests: (nouns::operation_id(), records::request(), audit::claim());
    audit_entries: audit::entry();
    audit_requests: audit::list_request();
    audit_checks_wanted: audit::verify_request();
    audit_checks: audit::check();
    log_requests: records::log_request();
    reservation_rows: records::row();
    ledger_records: records::ledger_record();
    cluster_views: views::cluster_view();
    agent_views: views::agent_view();
    disk_views: disks::disk_view();
    disk_profiles: disks::disk_profile();
    reservation_views: views::reservation_view();
    volume_views: views::volume_view();
    framework_views: views::framework_view();
    task_views: views::task_view();
    role_views: views::role_view();
    changes: views::change();
}
