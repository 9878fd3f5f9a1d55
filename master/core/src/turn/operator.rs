//! What operators call for.

use super::Turn;
use crate::audit::refusal::Refused;
use crate::audit::words;
use crate::boundary::Output;
use crate::decide::kill::{kill, teardown};
use crate::decide::order::{Asked, Order, Source, answered_before};
use crate::decide::room::{Wish, create_volume};
use crate::decide::{
    access, destroy, disk, disk_order, export, group, orphan, plan, protect, quota, reserve,
    resize, schedule, snapshot, trash, weight,
};
use crate::event::Event;
use crate::state::{Kill, State, VolumeEntry};
use berth_model::audit::Said;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{FrameworkId, OperationId, TaskId, VolumeId};
use berth_model::operation::OperationState;
use berth_model::operator::{Property, Request, VolumeChoice};
use berth_model::orphan::OrphanChoice;
use berth_model::snapshot::Origin;
use berth_model::task::TaskKey;
use berth_model::units::Timestamp;
use std::sync::Arc;
use std::time::Duration;

impl Turn<'_> {
    /// A request comes to nothing.
    pub(super) fn refused(
        &mut self,
        operation: OperationId,
        request: &Request,
        said: &Said,
        error: Rejection,
    ) {
        let kind = request.kind();
        let meant = words::volume(request).and_then(|choice| choose(self.state, &choice).ok());
        let object = words::object(request, meant.map(|entry| &entry.volume.spec));
        let volumes: Vec<VolumeId> = meant.iter().map(|entry| entry.volume.spec.id).collect();
        let said = with_own_reason(said, request);
        self.audit.refused(Refused { operation, kind, said, object, volumes, error });
    }

    pub(super) fn operator(
        &mut self,
        reply: u64,
        (operation, fingerprint): (OperationId, u64),
        request: &Request,
        said: &Said,
    ) {
        let said = &with_own_reason(said, request);
        let result = match answered_before(self.state, operation, fingerprint) {
            Ok(Some(_)) => Ok(Vec::new()),
            Err(rejection) => Err(rejection),
            Ok(None) => {
                let asked = Asked {
                    id: operation,
                    kind: request.kind(),
                    fingerprint,
                    framework: None,
                    said: Some(said),
                    now: self.now,
                };
                decide(self.state, asked, request)
            },
        };
        // The answer comes before the news of the operation, so that a caller can tell them apart.
        match result {
            Ok(events) => {
                self.say(Output::Reply { reply, result: Ok(operation) });
                self.apply_all(events);
            },
            Err(rejection) => {
                self.refused(operation, request, said, rejection.clone());
                self.say(Output::Reply { reply, result: Err(rejection) });
            },
        }
        if let Request::Teardown { framework } = request
            && let Some(session) = self.state.frameworks.get(framework).and_then(|f| f.session)
        {
            self.close_if_removed(framework, session);
        }
    }
}

fn with_own_reason(said: &Said, request: &Request) -> Said {
    let own_reason = words::own_reason(request).map(Arc::from);
    Said { reason: said.reason.clone().or(own_reason), in_earnest: false, ..said.clone() }
}

/// Would this request be accepted now, and what would it do? Nothing changes and nothing is recorded.
pub(crate) fn check(
    state: &State,
    now: Timestamp,
    request: &Request,
) -> Result<Vec<String>, Rejection> {
    let id = OperationId::from_u128(0);
    let asked =
        Asked { id, kind: request.kind(), fingerprint: 0, framework: None, said: None, now };
    let events = decide(state, asked, request)?;
    Ok(plan::plan(state, now, request, &events))
}

#[expect(clippy::too_many_lines, reason = "one arm for each request")]
fn decide(state: &State, asked: Asked<'_>, request: &Request) -> Result<Vec<Event>, Rejection> {
    let order = |agent| -> Result<Order<'_>, Rejection> {
        let agent = state.usable_agent(agent)?;
        Ok(Order { state, agent, source: Source::Agent, asked })
    };
    // What gives resources back is also possible on an agent that has become too small for them.
    let release = |agent| -> Result<Order<'_>, Rejection> {
        let agent = state.connected_agent(agent)?;
        Ok(Order { state, agent, source: Source::Agent, asked })
    };
    match request {
        Request::Reserve { agent, resources } => {
            Ok(reserve::reserve(&order(*agent)?, resources)?.events)
        },
        Request::Unreserve { agent, resources } => {
            Ok(reserve::unreserve(&release(*agent)?, resources)?.events)
        },
        Request::Release { reservation } => {
            let (agent, free) = reserve::unused(state, *reservation)?;
            Ok(reserve::unreserve(&release(agent)?, &free)?.events)
        },
        Request::CreateVolume {
            name,
            role,
            principal,
            size,
            agent,
            disk,
            container_path,
            access,
            shared,
            encrypted,
            import,
        } => {
            let origin = import.as_ref().map(Origin::from);
            let wish = Wish {
                name,
                role,
                principal: principal.as_ref(),
                size: *size,
                agent: *agent,
                disk,
                container_path,
                origin: origin.as_ref(),
                access: *access,
                shared: *shared,
                encrypted: *encrypted,
            };
            create_volume(state, &wish, asked)
        },
        Request::DestroyVolume { volume } => {
            let entry = choose(state, volume)?;
            destroy::destroy(&release(entry.volume.agent)?, &[entry])
        },
        Request::ResizeVolume { volume, size } => {
            let entry = choose(state, volume)?;
            let agent = entry.volume.agent;
            let order = if *size > entry.volume.spec.size { order(agent) } else { release(agent) };
            resize::resize(&order?, entry, *size)
        },
        Request::RestoreVolume { volume } => {
            let entry = by_id(state, *volume)?;
            trash::restore(&order(entry.volume.agent)?, entry)
        },
        Request::PurgeVolume { volume, wipe } => {
            let entry = by_id(state, *volume)?;
            trash::purge(&release(entry.volume.agent)?, entry, *wipe)
        },
        Request::Teardown { framework } => remove(state, asked, framework),
        Request::KillTask { framework, task, grace } => {
            end_task(state, asked, framework, task, *grace)
        },
        Request::Disk(request) => disk::change(state, asked, request),
        Request::Profile(request) => disk::change_profiles(state, asked, request),
        Request::CreateSnapshot { volume, name, principal, freeze } => {
            let entry = choose(state, volume)?;
            let (name, principal, freeze) = (name.as_ref(), principal.as_ref(), freeze.as_ref());
            let wanted = snapshot::Wanted { name, principal, freeze, scheduled: None };
            snapshot::create(&release(entry.volume.agent)?, entry, wanted)
        },
        Request::CreateGroup { volumes, name, principal, freeze } => {
            let entries: Result<Vec<_>, _> = volumes.iter().map(|v| choose(state, v)).collect();
            let (name, principal, freeze) = (name.as_ref(), principal.as_ref(), freeze.as_ref());
            let wanted = snapshot::Wanted { name, principal, freeze, scheduled: None };
            group::create(state, asked, &entries?, wanted)
        },
        Request::DeleteSnapshot { snapshot } => {
            let entry = snapshot::by_id(state, *snapshot)?;
            snapshot::delete(&release(entry.snapshot.agent)?, entry)
        },
        Request::HoldSnapshot { snapshot, held } => {
            snapshot::hold(state, asked, snapshot::by_id(state, *snapshot)?, *held)
        },
        Request::RollBackVolume { volume, snapshot } => {
            let entry = choose(state, volume)?;
            let to = snapshot::by_id(state, *snapshot)?;
            snapshot::roll_back(&release(entry.volume.agent)?, entry, to)
        },
        Request::CloneVolume { snapshot, name, role, principal, container_path } => {
            let entry = snapshot::by_id(state, *snapshot)?;
            let (role, principal) = (role.as_ref(), principal.as_ref());
            let wanted = snapshot::Copied { name, role, principal, container_path };
            snapshot::clone(state, asked, entry, wanted)
        },
        Request::SetSchedule { volume, plan, principal } => {
            schedule::set(state, asked, choose(state, volume)?, plan, principal.as_ref())
        },
        Request::DeleteSchedule { volume } => {
            schedule::delete(state, asked, choose(state, volume)?)
        },
        Request::Property { volume, property } => say(state, asked, volume, property),
        Request::AdoptOrphan { orphan } => adopt_orphan(state, asked, orphan),
        Request::PurgeOrphan { orphan } => purge_orphan(state, asked, orphan),
        Request::AddDisk { .. } | Request::RemoveDisk { .. } => {
            let order = disk_order::order_of(state, request).expect("it is about a disk");
            Ok(disk_order::submit(asked, order?))
        },
        Request::ExportVolume { volume, snapshot } => {
            export::export(state, asked, choose(state, volume)?, *snapshot)
        },
        Request::SetWeight { role, weight } => Ok(weight::set(state, asked, role, *weight)),
        Request::Quota(request) => quota::change(state, asked, request),
    }
}

fn say(
    state: &State,
    asked: Asked<'_>,
    volume: &VolumeChoice,
    property: &Property,
) -> Result<Vec<Event>, Rejection> {
    let entry = choose(state, volume)?;
    match property {
        Property::Protected(protected) => protect::protect(asked, entry, *protected),
        Property::Access(change) => {
            let agent = state.connected_agent(entry.volume.agent)?;
            let order = Order { state, agent, source: Source::Agent, asked };
            access::set(&order, entry, *change)
        },
    }
}

fn adopt_orphan(
    state: &State,
    asked: Asked<'_>,
    choice: &OrphanChoice,
) -> Result<Vec<Event>, Rejection> {
    match choice {
        OrphanChoice::Data { agent, path } => {
            let agent = state.usable_agent(*agent)?;
            orphan::adopt(&Order { state, agent, source: Source::Agent, asked }, path)
        },
        OrphanChoice::Record(volume) => {
            let entry = choose(state, volume)?;
            let agent = state.connected_agent(entry.volume.agent)?;
            orphan::look_again(&Order { state, agent, source: Source::Agent, asked }, entry)
        },
    }
}

fn purge_orphan(
    state: &State,
    asked: Asked<'_>,
    choice: &OrphanChoice,
) -> Result<Vec<Event>, Rejection> {
    match choice {
        OrphanChoice::Data { agent, path } => {
            let agent = state.connected_agent(*agent)?;
            orphan::purge(&Order { state, agent, source: Source::Agent, asked }, path)
        },
        OrphanChoice::Record(volume) => {
            let entry = choose(state, volume)?;
            let agent = state.connected_agent(entry.volume.agent)?;
            orphan::forget(&Order { state, agent, source: Source::Agent, asked }, entry)
        },
    }
}

fn by_id(state: &State, id: VolumeId) -> Result<&VolumeEntry, Rejection> {
    state.volumes.get(&id).ok_or_else(|| unknown_volume(&id.to_string()))
}

fn unknown_volume(what: &str) -> Rejection {
    Rejection::new(ErrorCode::UnknownVolume, format!("no volume {what}"))
        .remedy("list the volumes with `berth volume list`")
        .field("volume")
}

fn choose<'a>(state: &'a State, choice: &VolumeChoice) -> Result<&'a VolumeEntry, Rejection> {
    let (role, name) = match choice {
        VolumeChoice::Id(id) => return by_id(state, *id),
        VolumeChoice::Named { role: Some(role), name } => {
            let mut found = state.holders(role, name);
            return match (found.next(), found.next()) {
                (Some(entry), None) => Ok(entry),
                (Some(one), Some(other)) => Err(Rejection::new(
                    ErrorCode::AmbiguousId,
                    format!(
                        "volume name {name} of role {role} is borne by {} and {}",
                        one.volume.spec.id, other.volume.spec.id
                    ),
                )
                .remedy("name the volume by its id; one of the two is QUARANTINED")
                .field("volume")),
                (None, _) => Err(unknown_volume(&format!("{name} of role {role}"))),
            };
        },
        VolumeChoice::Named { role, name } => (role, name),
    };
    debug_assert!(role.is_none(), "a named role was looked up above");
    let mut found = state.names.iter().filter(|(_, n, _)| n == name);
    let (first, second) = (found.next(), found.next());
    match (first, second) {
        (Some((_, _, id)), None) => by_id(state, *id),
        (Some((a, _, _)), Some((b, _, _))) => Err(Rejection::new(
            ErrorCode::AmbiguousId,
            format!("volume name {name} is used in roles {a} and {b}"),
        )
        .remedy("name the role, or the volume's id")
        .field("volume")),
        (None, _) => Err(unknown_volume(name.as_str())),
    }
}

fn remove(
    state: &State,
    asked: Asked<'_>,
    framework: &FrameworkId,
) -> Result<Vec<Event>, Rejection> {
    state.refuse_in_safe_mode("TEARDOWN")?;
    let known = state.frameworks.get(framework).ok_or_else(|| unknown_framework(framework))?;
    if known.record.removed.is_some() {
        return Err(Rejection::new(
            ErrorCode::FrameworkRemoved,
            format!("framework {framework} was removed already"),
        )
        .field("framework"));
    }
    let object = format!("framework {framework} ({})", known.record.info.name);
    let record = asked.record(None, Vec::new(), object, OperationState::Done);
    let mut events = teardown(state, framework, asked.now);
    events.push(record.into());
    Ok(events)
}

fn unknown_framework(framework: &FrameworkId) -> Rejection {
    Rejection::new(ErrorCode::UnknownFramework, format!("no framework {framework}"))
        .remedy("list the frameworks with `berth framework list`")
        .field("framework")
}

fn end_task(
    state: &State,
    asked: Asked<'_>,
    framework: &FrameworkId,
    task: &TaskId,
    grace: Option<Duration>,
) -> Result<Vec<Event>, Rejection> {
    let key = TaskKey { framework: framework.clone(), task: task.clone() };
    let known = state.tasks.get(&key).filter(|known| !known.ended()).ok_or_else(|| {
        Rejection::new(ErrorCode::UnknownTask, format!("no live task {key}"))
            .remedy("list the tasks with `berth task list`")
            .field("task")
    })?;
    let object = format!("task {key}");
    let record = asked.record(Some(known.agent), Vec::new(), object, OperationState::Done);
    let mut events = kill(state, &key, Kill { grace }, asked.now);
    events.push(record.into());
    Ok(events)
}
