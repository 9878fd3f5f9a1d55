//! Malformed COMMITs.

use super::{ID, Refusals, operation};
use berth_model::transaction::PLACEMENTS_MAX;
use berth_proto::v1;
use v1::offer_operation::{Action, Launch};
use v1::scheduler_call::{Body, Commit};

fn commit(change: impl FnOnce(&mut Commit)) -> v1::SchedulerCall {
    let launch = operation(Action::Launch(Launch { tasks: Vec::new() }));
    let placement = v1::Placement {
        agent_id: ID.to_owned(),
        epoch: 1,
        if_seq: None,
        role: None,
        operations: vec![launch],
    };
    let mut commit = Commit { txn_id: ID.to_owned(), placements: vec![placement], mode: 0 };
    change(&mut commit);
    v1::SchedulerCall { call: 1, body: Some(Body::Commit(commit)) }
}

#[test]
fn malformed_transactions_are_refused() {
    let mut cases = Refusals(Vec::new());
    cases.call(
        "commit.txn_id | INVALID_ID | transaction id \"x\" is not 32 hexadecimal digits | give the id as Berth prints it",
        commit(|c| c.txn_id = "x".to_owned()),
    );
    cases.call(
        "commit.placements | INVALID_ARGUMENT | the list has 1001 elements | give at most 1000",
        commit(|c| c.placements = vec![c.placements[0].clone(); PLACEMENTS_MAX + 1]),
    );
    cases.call(
        "commit.mode | INVALID_ARGUMENT | 7 is not the number of a mode of an ACCEPT | use one of ACCEPT_MODE_INCREMENTAL, ACCEPT_MODE_ALL_OR_NOTHING",
        commit(|c| {
            c.mode = 7;
            c.placements[0].operations.clear();
        }),
    );
    cases.call(
        "commit.placements[0].agent_id | INVALID_ID | agent id \"\" is not 32 hexadecimal digits | give the id as Berth prints it",
        commit(|c| {
            c.placements[0].agent_id.clear();
        }),
    );
    cases.call(
        "commit.placements[0].role | INVALID_ROLE | role is empty | give a path such as storage/mysql",
        commit(|c| c.placements[0].role = Some(String::new())),
    );
    cases.call(
        "commit.placements[0].operations[0].action | INVALID_ARGUMENT | the operation says not what to do | set one of reserve, unreserve, create, destroy and launch",
        commit(|c| c.placements[0].operations[0].action = None),
    );
    cases.check();
}
