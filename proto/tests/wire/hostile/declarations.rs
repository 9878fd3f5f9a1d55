//! Malformed calls, messages and records about disks that are added and removed.

use super::{ID, Refusals, submit};
use berth_model::audit::Said;
use berth_model::declaration::{DiskOrder, LedgerDiskOrder};
use berth_model::id::OperationId;
use berth_model::operator::Request as Submitted;
use berth_proto::convert::from_wire;
use berth_proto::{ledger_wire, v1};
use v1::submit_request::{AddDisk, Request};

#[test]
fn malformed_declarations_are_refused() {
    let mut cases = Refusals(Vec::new());
    let disk = |kind: v1::DiskKind, root: &str| v1::DiskDeclaration {
        source: Some(v1::DiskSource { kind: kind as i32, root: root.to_owned() }),
        name: "d1".to_owned(),
        ..v1::DiskDeclaration::default()
    };
    let add = |disk| submit(Request::AddDisk(AddDisk { agent_id: ID.to_owned(), disk }));
    for root in ["srv/d1", "/srv/../etc", "/srv/./d1", "/srv//d1", "/srv/d1/", "/"] {
        let refused =
            from_wire::<(OperationId, Submitted, Said)>(add(Some(disk(v1::DiskKind::Path, root))));
        let refused = refused.unwrap_err();
        assert_eq!(
            (refused.field.as_str(), refused.message),
            ("add_disk.disk.source.root", format!("{root:?} is no plain absolute path"))
        );
    }
    cases.submit(
        "add_disk.disk.source | INVALID_ARGUMENT | the ROOT disk is always there | \
         declare a PATH, MOUNT or BLOCK disk",
        add(Some(disk(v1::DiskKind::Root, ""))),
    );
    cases.submit(
        "add_disk.disk.driver | INVALID_ARGUMENT | disk MOUNT:/srv/d1 has no choice of drivers | \
         leave it empty: its one volume is all of it",
        add(Some(v1::DiskDeclaration {
            driver: "btrfs".to_owned(),
            ..disk(v1::DiskKind::Mount, "/srv/d1")
        })),
    );
    let driven = |driver: String| {
        add(Some(v1::DiskDeclaration { driver, ..disk(v1::DiskKind::Path, "/srv/d1") }))
    };
    cases.submit(
        "add_disk.disk.driver | INVALID_ARGUMENT | a text of 34603008 bytes is no driver's name | \
         leave it empty, or name one, such as image:xfs",
        driven("x".repeat(33 << 20)),
    );
    cases.submit(
        "add_disk.disk.driver | INVALID_ARGUMENT | a text of 10 bytes is no driver's name | \
         leave it empty, or name one, such as image:xfs",
        driven("image:\u{1b}[1A".to_owned()),
    );
    cases.submit(
        "add_disk.disk.source.root | INVALID_ARGUMENT | the path has 5001 bytes | \
         Linux opens at most 4095",
        add(Some(disk(v1::DiskKind::Path, &format!("/{}", "x".repeat(5_000))))),
    );
    cases.submit(
        "add_disk.disk.size_bytes | INVALID_RESOURCES | 1 bytes is not a whole number of MiB | \
         give whole MiB: a multiple of 1048576 bytes",
        add(Some(v1::DiskDeclaration {
            size_bytes: Some(1),
            ..disk(v1::DiskKind::Path, "/srv/d1")
        })),
    );
    cases.submit(
        "add_disk.disk | INVALID_ARGUMENT | a required field is missing | set the field",
        add(None),
    );
    cases.read::<DiskOrder>(
        " | INVALID_ARGUMENT | the order says not what to do | set one of add and remove",
        v1::DiskOrder { order: None },
    );
    cases.read::<LedgerDiskOrder>(
        "error | INVALID_ARGUMENT | an order that has not failed carries an error | \
         restore the ledger from a backup",
        ledger_wire::v1::DiskOrder {
            operation_id: ID.to_owned(),
            state: ledger_wire::v1::DiskOrderState::Done as i32,
            error: Some(v1::ErrorDetail::default()),
            ..ledger_wire::v1::DiskOrder::default()
        },
    );
    cases.check();
}
