//! Volumes with content from outside: what is accepted, what the agent is told, how it ends.

mod stage;

use berth_master_core::{Input, Output, query};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::TransferId;
use berth_model::link::{FromAgent, ToAgent};
use berth_model::operator::Request;
use berth_model::snapshot::Origin;
use berth_model::transfer::{Import, Progress, TransferOrder, TransferWish};
use berth_model::units::Bytes;
use berth_model::volume::{VolumeReport, VolumeSpec, VolumeState};
use stage::{
    Stage, agent_id, create_request, info, messages, mib, op, operations, report, session,
};
use std::sync::Arc;

const PATH: &str = "/srv/data";

/// With an agent.
fn stage() -> Stage {
    let mut stage = Stage::new();
    let machine = info(agent_id(1), "cpus:2;mem:2048;disk:10240");
    let registration = stage.registration(machine, session(1));
    stage.register_as(registration);
    stage
}

fn import(on: Option<u128>) -> Request {
    let mut request = create_request("data", "storage", 64);
    if let Request::CreateVolume { agent, import, .. } = &mut request {
        *agent = on.map(agent_id);
        *import = Some(Import::Directory { path: Arc::from(PATH) });
    }
    request
}

fn begun(stage: &mut Stage, n: u128) -> VolumeSpec {
    let (answer, step) = stage.operator(n, import(Some(1)));
    assert_eq!(answer, Ok(op(n)));
    let messages = messages(&step);
    let [ToAgent::DeriveVolume { spec, operation, origin }] = messages.as_slice() else {
        panic!("{messages:?}")
    };
    assert_eq!(*operation, op(n));
    assert_eq!(**origin, Origin::Directory { path: Arc::from(PATH) });
    spec.clone()
}

fn notes(stage: &Stage, n: u128) -> Vec<String> {
    let record = query::operation(stage.master.state(), op(n));
    record.expect("it is known").notes.clone()
}

#[test]
fn an_import_is_a_create_with_an_origin_and_tells_how_far_it_is() {
    let mut stage = stage();
    let spec = begun(&mut stage, 1);
    let progress = Progress { bytes: mib(3), bytes_total: mib(9), entries: 4, entries_total: 10 };
    let told = FromAgent::Progress(vec![(spec.id, progress)]);
    stage.put(Input::Agent { agent: agent_id(1), session: session(1), message: told });
    assert_eq!(notes(&stage, 1), vec!["3 MiB of 9 MiB and 4 of 10 entries are copied"]);
    let step = stage.reports(1, session(1), report(&spec, VolumeState::Ready));
    assert_eq!(operations(&step), vec![("IMPORT", "DONE", None)]);
    assert_eq!(notes(&stage, 1), Vec::<String>::new());
    assert_eq!(stage.volume("data").volume.origin, None);
}

#[test]
fn an_import_that_fails_gives_back_what_was_reserved_for_it() {
    let mut stage = stage();
    let spec = begun(&mut stage, 1);
    let error = Rejection::new(ErrorCode::ImportRefused, "it is too large");
    let told = VolumeReport { error: Some(error), ..report(&spec, VolumeState::Failed) };
    let step = stage.reports(1, session(1), told);
    assert_eq!(operations(&step), vec![("IMPORT", "FAILED", Some(ErrorCode::ImportRefused))]);
    assert!(query::reservations(stage.master.state()).is_empty());
    begun(&mut stage, 2);
}

#[test]
fn an_import_needs_its_agent() {
    let mut stage = stage();
    let refused = stage.operator(1, import(None)).0.unwrap_err();
    assert_eq!((refused.code, &*refused.field), (ErrorCode::InvalidArgument, "agent_id"));
    assert_eq!(refused.message, format!("volume data: no agent is named that has {PATH}"));
    assert!(query::volumes(stage.master.state()).is_empty());
}

#[test]
fn an_agent_is_asked_to_dial_or_the_reason_why_not_is_told() {
    let mut stage = stage();
    let transfer = TransferId::from_u128(9);
    let (path, size): (Arc<str>, Bytes) = (Arc::from(PATH), mib(8));
    let wish = |n| TransferWish::Survey { agent: agent_id(n), path: path.clone(), size };
    let step = stage.put(Input::Transfer { transfer, wish: wish(1) });
    let order = TransferOrder::Survey { path: path.clone(), size };
    assert_eq!(messages(&step), vec![ToAgent::Transfer { transfer, order }]);
    assert_eq!(step.writes, vec![]);
    let step = stage.put(Input::Transfer { transfer, wish: wish(2) });
    let [Output::TransferRefused { transfer: of, reason }] = step.outputs.as_slice() else {
        panic!("{step:?}")
    };
    assert_eq!((*of, reason.code), (transfer, ErrorCode::UnknownAgent));
}
