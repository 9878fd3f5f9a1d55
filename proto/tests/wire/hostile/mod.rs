//! Malformed calls: each is refused with its code, the whole path of the field, and a remedy.

mod declarations;
mod orphans;
mod resources;
mod roles;
mod transactions;

use berth_model::audit::Said;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{Call, Filters, Terms};
use berth_model::id::OperationId;
use berth_model::link::{Envelope, FromAgent};
use berth_model::operator::{DiskChoice, Request};
use berth_proto::convert::{Wire, from_wire, id_from_wire, role_from_wire};
use berth_proto::v1;
use v1::offer_operation::{Action, Create, Launch, Reserve};
use v1::resource::Value;
use v1::scheduler_call::{Accept, Body, Decline, Revive, Subscribe};
use v1::submit_request as submit;

const ID: &str = "000102030405060708090a0b0c0d0e0f";

fn reservation() -> v1::Reservation {
    v1::Reservation {
        role: "storage".to_owned(),
        kind: v1::ReservationKind::Dynamic as i32,
        principal: None,
        labels: Vec::new(),
    }
}

fn disk() -> v1::Resource {
    v1::Resource {
        name: "disk".to_owned(),
        value: Some(Value::ScalarMilli(1_024_000)),
        reservations: vec![reservation()],
        ..v1::Resource::default()
    }
}

fn volume() -> v1::Resource {
    v1::Resource {
        disk: Some(v1::DiskInfo {
            source: None,
            persistence: Some(v1::Persistence { name: "data".to_owned(), principal: None }),
            mount: Some(v1::Mount {
                container_path: "data".to_owned(),
                mode: v1::MountMode::ReadWrite as i32,
            }),
        }),
        ..disk()
    }
}

fn task() -> v1::TaskInfo {
    v1::TaskInfo {
        task_id: "db".to_owned(),
        agent_id: ID.to_owned(),
        resources: vec![volume()],
        command: Some(v1::Command {
            program: Some(v1::Program {
                program: Some(v1::program::Program::Shell("true".to_owned())),
            }),
            ..v1::Command::default()
        }),
        ..v1::TaskInfo::default()
    }
}

fn operation(action: Action) -> v1::OfferOperation {
    v1::OfferOperation { operation_id: ID.to_owned(), action: Some(action) }
}

fn accept(operations: Vec<v1::OfferOperation>) -> v1::SchedulerCall {
    let accept = Accept {
        offer_ids: vec!["e1-O1".to_owned()],
        operations,
        filters: None,
        mode: 0,
        if_seq: None,
    };
    v1::SchedulerCall { call: 1, body: Some(Body::Accept(accept)) }
}

fn reserve(change: impl FnOnce(&mut v1::Resource)) -> v1::SchedulerCall {
    let mut resource = disk();
    change(&mut resource);
    accept(vec![operation(Action::Reserve(Reserve { resources: vec![resource] }))])
}

fn create(change: impl FnOnce(&mut v1::Resource)) -> v1::SchedulerCall {
    let mut resource = volume();
    change(&mut resource);
    accept(vec![operation(Action::Create(Create { volumes: vec![resource] }))])
}

fn launch(change: impl FnOnce(&mut v1::TaskInfo)) -> v1::SchedulerCall {
    let mut second = task();
    change(&mut second);
    accept(vec![operation(Action::Launch(Launch { tasks: vec![task(), second] }))])
}

fn submit(request: submit::Request) -> v1::SubmitRequest {
    v1::SubmitRequest { operation_id: ID.to_owned(), request: Some(request), ..Default::default() }
}

fn create_volume(change: impl FnOnce(&mut submit::CreateVolume)) -> v1::SubmitRequest {
    let mut message = submit::CreateVolume {
        name: "data".to_owned(),
        role: "storage".to_owned(),
        size_bytes: 1 << 30,
        container_path: "data".to_owned(),
        ..submit::CreateVolume::default()
    };
    change(&mut message);
    submit(submit::Request::CreateVolume(message))
}

struct Refusals(Vec<(&'static str, Rejection)>);

impl Refusals {
    /// `line`: field | code | message | remedy.
    fn read<T: Wire + std::fmt::Debug>(&mut self, line: &'static str, message: T::Message) {
        self.0.push((line, from_wire::<T>(message).unwrap_err()));
    }
    fn call(&mut self, line: &'static str, message: v1::SchedulerCall) {
        self.read::<(u64, Call)>(line, message);
    }
    fn submit(&mut self, line: &'static str, message: v1::SubmitRequest) {
        self.read::<(OperationId, Request, Said)>(line, message);
    }
    fn check(self) {
        let lines = |list: Vec<String>| list.join("\n");
        let found = self.0.iter().map(|(_, found)| {
            let Rejection { code, message, remedy, field } = found;
            format!("{field} | {code} | {message} | {remedy}")
        });
        let wanted = self.0.iter().map(|(wanted, _)| (*wanted).to_owned());
        assert_eq!(lines(found.collect()), lines(wanted.collect()));
    }
}

#[test]
fn the_messages_the_cases_are_made_of_are_accepted() {
    let (number, call) = from_wire::<(u64, Call)>(launch(|_| {})).unwrap();
    let Call::Accept { offers, operations, filters, terms } = call else { panic!("not an accept") };
    assert_eq!(terms, Terms::default());
    assert_eq!((number, offers.len(), operations.len()), (1, 1, 1));
    assert_eq!(filters, Filters::default());
    for call in [reserve(|_| {}), create(|_| {})] {
        from_wire::<(u64, Call)>(call).unwrap();
    }
    let (_, request, _) = from_wire::<(OperationId, Request, Said)>(create_volume(|_| {})).unwrap();
    let Request::CreateVolume { disk, agent, .. } = request else { panic!("not a create") };
    assert_eq!((disk, agent), (DiskChoice::Any, None));
}

#[test]
fn malformed_frames_of_calls_are_refused() {
    let mut cases = Refusals(Vec::new());
    cases.call(
        "body | INVALID_ARGUMENT | the call says not what to do | set one of its bodies",
        v1::SchedulerCall { call: 1, body: None },
    );
    cases.call(
        "accept.operations[0].action | INVALID_ARGUMENT | the operation says not what to do | \
         set one of reserve, unreserve, create, destroy and launch",
        accept(vec![v1::OfferOperation { operation_id: ID.to_owned(), action: None }]),
    );
    cases.call(
        "accept.operations[0].operation_id | INVALID_ID | operation id \"1\" is not 32 hexadecimal \
         digits | give the id as Berth prints it",
        accept(vec![v1::OfferOperation {
            operation_id: "1".to_owned(),
            ..operation(Action::Create(Create { volumes: vec![volume()] }))
        }]),
    );
    let decline = |offer_ids: &[&str]| v1::SchedulerCall {
        call: 1,
        body: Some(Body::Decline(Decline {
            offer_ids: offer_ids.iter().map(|id| (*id).to_owned()).collect(),
            filters: None,
        })),
    };
    cases.call(
        "decline.offer_ids[1] | INVALID_ID | offer id \"O17\" is not of the form e<epoch>-O<number> | \
         give the id as Berth prints it",
        decline(&["e1-O1", "O17"]),
    );
    cases.call(
        "decline.offer_ids | INVALID_ARGUMENT | no offer is named | give at least one offer id",
        decline(&[]),
    );
    cases.call(
        "decline.offer_ids | INVALID_ARGUMENT | the list has 10001 elements | \
         give at most 10000 in one call",
        decline(&["e1-O1"; 10_001]),
    );
    let revive = |roles: &[&str]| v1::SchedulerCall {
        call: 1,
        body: Some(Body::Revive(Revive { roles: roles.iter().map(|r| (*r).to_owned()).collect() })),
    };
    cases.call(
        "revive.roles[1] | INVALID_ROLE | role \"a\" is given twice | give each role once",
        revive(&["a", "a"]),
    );
    cases.call(
        "revive.roles[0] | INVALID_ROLE | role \"a/../b\" has the part \"..\", which is not allowed | \
         give a path such as storage/mysql",
        revive(&["a/../b"]),
    );
    cases.call(
        "subscribe.info | INVALID_ARGUMENT | a required field is missing | set the field",
        v1::SchedulerCall { call: 1, body: Some(Body::Subscribe(Subscribe::default())) },
    );
    cases.call(
        "subscribe.framework_id | INVALID_ID | framework id is empty | give 1 to 255 bytes",
        v1::SchedulerCall {
            call: 1,
            body: Some(Body::Subscribe(Subscribe {
                info: Some(v1::FrameworkInfo::default()),
                framework_id: Some(String::new()),
                suppressed_roles: Vec::new(),
            })),
        },
    );
    cases.submit(
        "operation_id | INVALID_ID | operation id \"\" is not 32 hexadecimal digits | \
         give the id as Berth prints it",
        v1::SubmitRequest::default(),
    );
    cases.submit(
        "request | INVALID_ARGUMENT | the call says not what to do | set one of its requests",
        v1::SubmitRequest { operation_id: ID.to_owned(), ..Default::default() },
    );
    cases.check();
}

#[test]
fn malformed_callers_are_refused() {
    let mut cases = Refusals(Vec::new());
    let said = |claimed_by: &str, reason: &str| v1::SubmitRequest {
        claimed_by: Some(claimed_by.to_owned()),
        reason: Some(reason.to_owned()),
        ..create_volume(|_| {})
    };
    cases.submit(
        "claimed_by | INVALID_ARGUMENT | the name of the caller is empty, longer than 255 bytes, or holds control \
         characters | write user@host, or leave it out",
        said("a\nb", ""),
    );
    cases.submit(
        "reason | INVALID_ARGUMENT | the reason is longer than 1000 bytes or holds control characters | write a \
         shorter or plainer text",
        said("a@b", "\u{7}"),
    );
    cases.check();
}

#[test]
fn malformed_tasks_are_refused() {
    let mut cases = Refusals(Vec::new());
    let mut change = |line, change: fn(&mut v1::TaskInfo)| cases.call(line, launch(change));
    change(
        "accept.operations[0].launch.tasks[1].task_id | INVALID_ID | task id is empty | \
         give 1 to 255 bytes",
        |t| t.task_id.clear(),
    );
    change(
        "accept.operations[0].launch.tasks[1].task_id | INVALID_ID | \
         task id has 256 bytes | at most 255 are allowed",
        |t| t.task_id = "x".repeat(256),
    );
    change(
        "accept.operations[0].launch.tasks[1].agent_id | INVALID_ID | \
         agent id \"a-1\" is not 32 hexadecimal digits | give the id as Berth prints it",
        |t| t.agent_id = "a-1".to_owned(),
    );
    change(
        "accept.operations[0].launch.tasks[1].command | INVALID_ARGUMENT | \
         a required field is missing | set the field",
        |t| t.command = None,
    );
    change(
        "accept.operations[0].launch.tasks[1].command.program | INVALID_ARGUMENT | \
         nothing to run is given | set one of shell and exec",
        |t| t.command.as_mut().unwrap().program = Some(v1::Program { program: None }),
    );
    change(
        "accept.operations[0].launch.tasks[1].command.program.exec.arguments | INVALID_ARGUMENT | \
         no program is given | give it as the first argument",
        |t| {
            let program = v1::program::Program::Exec(v1::Exec { arguments: Vec::new() });
            t.command.as_mut().unwrap().program = Some(v1::Program { program: Some(program) });
        },
    );
    change(
        "accept.operations[0].launch.tasks[1].command.program.shell | INVALID_ARGUMENT | \
         the text has 131072 bytes | give at most 131071",
        |t| {
            let program = v1::program::Program::Shell("x".repeat(131_072));
            t.command.as_mut().unwrap().program = Some(v1::Program { program: Some(program) });
        },
    );
    change(
        "accept.operations[0].launch.tasks[1].command.env[\"A=B\"] | INVALID_ARGUMENT | \
         the variable \"A=B\" holds an equals sign | give name and value apart",
        |t| {
            let env = [("A=B".to_owned(), String::new())];
            t.command.as_mut().unwrap().env.extend(env);
        },
    );
    change(
        "accept.operations[0].launch.tasks[1].health.failures | INVALID_ARGUMENT | zero failures are \
         allowed, so the check could never count as passed | give at least 1",
        |t| t.health = Some(v1::Check::default()),
    );
    change(
        "accept.operations[0].launch.tasks[1].readiness.every_ms | INVALID_ARGUMENT | \
         the time is zero | give at least one millisecond",
        |t| {
            let program = t.command.as_ref().unwrap().program.clone();
            t.readiness = Some(v1::Check { program, failures: 1, ..v1::Check::default() });
        },
    );
    change(
        "accept.operations[0].launch.tasks[1].labels[\"\"] | INVALID_ARGUMENT | a key is empty | \
         give every entry a key",
        |t| t.labels.extend([(String::new(), String::new())]),
    );
    change(
        "accept.operations[0].launch.tasks[1].resources[0].disk.mount.mode | INVALID_ARGUMENT | \
         7 is not the number of a mount mode | use one of MOUNT_MODE_READ_WRITE, MOUNT_MODE_READ_ONLY",
        |t| {
            let disk = t.resources[0].disk.as_mut().unwrap();
            disk.mount.as_mut().unwrap().mode = 7;
        },
    );
    cases.check();
}

#[test]
fn malformed_messages_of_berths_own_parts_are_refused() {
    let mut cases = Refusals(Vec::new());
    cases.read::<FromAgent>(
        "body | INVALID_ARGUMENT | a required field is missing | set the field",
        v1::FromAgent { body: None },
    );
    cases.read::<Envelope>(
        "cluster_id | INVALID_ID | cluster id \"\" is not 32 hexadecimal digits | \
         give the id as Berth prints it",
        v1::Envelope::default(),
    );
    let spec = v1::VolumeSpec {
        volume_id: ID.to_owned(),
        generation: 0,
        name: "data".to_owned(),
        ..v1::VolumeSpec::default()
    };
    cases.read::<Envelope>(
        "ensure_volume.spec.generation | INVALID_ARGUMENT | generation 0 does not exist | \
         generations count from 1",
        v1::Envelope {
            cluster_id: ID.to_owned(),
            message: Some(v1::envelope::Message::EnsureVolume(v1::envelope::EnsureVolume {
                spec: Some(spec),
                operation_id: ID.to_owned(),
                restore: false,
            })),
            ..v1::Envelope::default()
        },
    );
    for (line, access) in [
        (
            "set_volume_access.access.owner | INVALID_ARGUMENT | an id is a number from 0 to \
             4294967294 | give a user and a group that exist",
            v1::VolumeAccess {
                owner: Some(v1::volume_access::Owner { uid: 1, gid: u32::MAX }),
                mode: None,
            },
        ),
        (
            "set_volume_access.access.mode | INVALID_ARGUMENT | a mode is three or four octal \
             digits, such as 0750 | leave out what are no permissions",
            v1::VolumeAccess { owner: None, mode: Some(0o10_000) },
        ),
    ] {
        let volume =
            v1::VolumeChoice { choice: Some(v1::volume_choice::Choice::VolumeId(ID.to_owned())) };
        let set = submit::SetVolumeAccess { volume: Some(volume), access: Some(access) };
        cases.submit(line, submit(submit::Request::SetVolumeAccess(set)));
    }
    cases.read::<berth_model::operation::OperationRecord>(
        "error | INVALID_ARGUMENT | a required field is missing | set the field",
        v1::OperationRecord {
            operation_id: ID.to_owned(),
            state: v1::OperationState::Failed as i32,
            ..v1::OperationRecord::default()
        },
    );
    cases.read::<berth_model::operation::OperationRecord>(
        "error | INVALID_ARGUMENT | an operation that has not failed carries an error | \
         remove it, or set the state to OPERATION_STATE_FAILED",
        v1::OperationRecord {
            state: v1::OperationState::Done as i32,
            error: Some(v1::ErrorDetail::default()),
            ..v1::OperationRecord::default()
        },
    );
    cases.read::<Rejection>(
        "code | INVALID_ARGUMENT | \"WHAT\" is not a known error code | use a code of docs/errors.md",
        v1::ErrorDetail { code: "WHAT".to_owned(), ..v1::ErrorDetail::default() },
    );
    cases.check();
}

#[test]
fn single_fields_of_reading_calls_are_checked_by_name() {
    assert_eq!(id_from_wire::<OperationId>(ID, "operation_id").unwrap().to_string(), ID);
    assert_eq!(
        id_from_wire::<OperationId>("x", "operation_id").unwrap_err(),
        Rejection::new(ErrorCode::InvalidId, "operation id \"x\" is not 32 hexadecimal digits")
            .remedy("give the id as Berth prints it")
            .field("operation_id")
    );
    assert_eq!(
        role_from_wire("", "role").unwrap_err(),
        Rejection::new(ErrorCode::InvalidRole, "role is empty")
            .remedy("give a path such as storage/mysql")
            .field("role")
    );
}

#[test]
fn schedules_that_cannot_be_are_refused() {
    let set = |change: &dyn Fn(&mut submit::SetSchedule)| {
        let keep = Some(v1::Keep { last: 1, ..v1::Keep::default() });
        let plan = v1::SchedulePlan { every_ms: 60_000, keep, freeze: None };
        let named = v1::volume_choice::Choice::VolumeId(ID.to_owned());
        let mut message = submit::SetSchedule {
            volume: Some(v1::VolumeChoice { choice: Some(named) }),
            plan: Some(plan),
            principal: None,
        };
        change(&mut message);
        submit(submit::Request::SetSchedule(message))
    };
    let with = |change: &dyn Fn(&mut v1::SchedulePlan)| {
        set(&|message| change(message.plan.as_mut().unwrap()))
    };
    from_wire::<(OperationId, Request, Said)>(set(&|_| {})).unwrap();
    let mut cases = Refusals(Vec::new());
    cases.submit(
        "set_schedule.plan | INVALID_ARGUMENT | a required field is missing | set the field",
        set(&|message| message.plan = None),
    );
    cases.submit(
        "set_schedule.volume | INVALID_ARGUMENT | no volume is named | set one of volume_id and named",
        set(&|message| message.volume = Some(v1::VolumeChoice { choice: None })),
    );
    cases.submit(
        "set_schedule.plan.every_ms | INVALID_ARGUMENT | every 9999ms is outside of 10s to 366d | \
         choose another time between two snapshots",
        with(&|plan| plan.every_ms = 9_999),
    );
    cases.submit(
        "set_schedule.plan.every_ms | INVALID_ARGUMENT | the time is zero | \
         give at least one millisecond",
        with(&|plan| plan.every_ms = 0),
    );
    cases.submit(
        "set_schedule.plan.keep | INVALID_ARGUMENT | no rule keeps anything | \
         say how many of the newest are kept, or of how many hours, days or weeks",
        with(&|plan| plan.keep = Some(v1::Keep::default())),
    );
    cases.submit(
        "set_schedule.plan.keep | INVALID_ARGUMENT | a rule keeps 1001, more than 1000 | keep fewer",
        with(&|plan| plan.keep = Some(v1::Keep { daily: 1_001, ..v1::Keep::default() })),
    );
    cases.check();
}
