//! Malformed calls, messages and records about orphans.

use super::{ID, Refusals, submit};
use berth_model::link::FromAgent;
use berth_model::orphan::{LedgerOrphan, Orphan};
use berth_proto::{ledger_wire, v1};
use v1::orphan_choice::{Choice, Data};
use v1::submit_request::{AdoptOrphan, PurgeOrphan, Request};

#[test]
fn malformed_orphans_are_refused() {
    let mut cases = Refusals(Vec::new());
    cases.submit(
        "adopt_orphan.orphan | INVALID_ARGUMENT | a required field is missing | set the field",
        submit(Request::AdoptOrphan(AdoptOrphan { orphan: None })),
    );
    let purge = |choice| {
        let orphan = Some(v1::OrphanChoice { choice });
        submit(Request::PurgeOrphan(PurgeOrphan { orphan }))
    };
    cases.submit(
        "purge_orphan.orphan | INVALID_ARGUMENT | no orphan is named | set one of data and record",
        purge(None),
    );
    cases.submit(
        "purge_orphan.orphan.data.agent_id | INVALID_ID | agent id \"x\" is not 32 hexadecimal digits | \
         give the id as Berth prints it",
        purge(Some(Choice::Data(Data { agent_id: "x".to_owned(), path: "/a".to_owned() }))),
    );
    cases.read::<Orphan>(
        "place | INVALID_ARGUMENT | no place of an orphan is given | \
         use one of ORPHAN_PLACE_LIVE, ORPHAN_PLACE_TRASH",
        v1::Orphan { path: "/a".to_owned(), ..v1::Orphan::default() },
    );
    cases.read::<FromAgent>(
        "orphan_purged.error.code | INVALID_ARGUMENT | \"WHAT\" is not a known error code | \
         use a code of docs/errors.md",
        v1::FromAgent {
            body: Some(v1::from_agent::Body::OrphanPurged(v1::from_agent::OrphanPurged {
                ledger_seq: 1,
                operation_id: ID.to_owned(),
                error: Some(v1::ErrorDetail {
                    code: "WHAT".to_owned(),
                    ..v1::ErrorDetail::default()
                }),
            })),
        },
    );
    cases.read::<LedgerOrphan>(
        "error | INVALID_ARGUMENT | a deletion that has not failed carries an error | \
         restore the ledger from a backup",
        ledger_wire::v1::Orphan {
            operation_id: ID.to_owned(),
            state: ledger_wire::v1::OrphanState::Gone as i32,
            error: Some(v1::ErrorDetail::default()),
            ..ledger_wire::v1::Orphan::default()
        },
    );
    cases.read::<LedgerOrphan>(
        "order | INVALID_ARGUMENT | a required field is missing | set the field",
        ledger_wire::v1::Orphan {
            operation_id: ID.to_owned(),
            state: ledger_wire::v1::OrphanState::Purging as i32,
            ..ledger_wire::v1::Orphan::default()
        },
    );
    cases.check();
}
