//! DESTROY: a tombstone at the master, then at the agent, then the trash.

use super::order::{Conversion, Order, Source};
use super::orphan::looked_for;
use super::protect::check_unprotected;
use super::rescind;
use super::snapshot::check_none_held;
use crate::event::Event;
use crate::state::{State, VolumeEntry, sum_of};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{VolumeId, VolumeName};
use berth_model::link::ToAgent;
use berth_model::operation::OperationState;
use berth_model::record::RegistryKey;
use berth_model::resources::{Resource, Resources};
use berth_model::role::Role;
use berth_model::snapshot::Origin;
use berth_model::task::TaskKey;
use berth_model::volume::{Volume, VolumeState};

/// Destroys volumes that were offered, each named by its resource.
pub(crate) fn destroy_offered(
    order: &Order<'_>,
    wanted: &[Resource],
) -> Result<Conversion, Rejection> {
    let mut consumed = Resources::new();
    let mut found: Vec<&VolumeEntry> = Vec::new();
    for resource in wanted {
        let resource = Resource { allocation_role: None, ..resource.clone() };
        let entry = resource
            .persistence()
            .zip(resource.stack.owner())
            .map(|(p, role)| meant(order, role, &p.name))
            .transpose()?
            .flatten()
            .ok_or_else(|| unknown(&resource.to_string()))?;
        // What failed is nowhere, so nobody is offered it: its record ends without.
        if entry.volume.state != VolumeState::Failed {
            consumed.add(&resource).map_err(|e| unknown(&e.to_string()))?;
        }
        found.push(entry);
    }
    if found.is_empty() {
        return Err(
            Rejection::new(ErrorCode::InvalidResources, "DESTROY names no volume").field("volumes")
        );
    }
    let Source::Accepted { running, .. } = order.source else {
        return Err(Rejection::new(
            ErrorCode::Internal,
            "DESTROY of offered volumes without offers",
        ));
    };
    for entry in &found {
        check_unused(order.state, entry)?;
        let is_offered = running.contains(&sum_of(&entry.resource()));
        if !is_offered && entry.volume.state != VolumeState::Failed {
            return Err(not_held(order, running, entry));
        }
    }
    let events = destroy(order, &found)?;
    Ok(Conversion { consumed, produced: Resources::new(), events })
}

/// Destroys one volume wherever it is.
pub(crate) fn destroy(order: &Order<'_>, found: &[&VolumeEntry]) -> Result<Vec<Event>, Rejection> {
    order.state.refuse_in_safe_mode("DESTROY")?;
    let agent = order.agent.info.id;
    let (mut events, mut messages, mut waits) = (Vec::new(), Vec::new(), false);
    for entry in found {
        check_unprotected(&entry.volume, order.asked.kind)?;
        check_unused(order.state, entry)?;
        check_none_held(order.state, entry.volume.spec.id)?;
        let volume = &entry.volume;
        if let Some(under_way) = under_way(volume).or_else(|| looked_for(order.state, volume)) {
            return Err(under_way);
        }
        let (id, generation) = (volume.spec.id, volume.spec.generation);
        if is_only_a_record(entry)? {
            events.push(Event::Delete(RegistryKey::Volume(id)));
            // The agent forgets it in the life it knows.
            let generation = entry.observed.as_ref().map_or(generation, |seen| seen.generation);
            messages.push(Event::tell(agent, ToAgent::ForgetVolume { volume: id, generation }));
            continue;
        }
        waits = true;
        if volume.state == VolumeState::Ready {
            events.extend(rescind::holding(order.state, order.agent, &sum_of(&entry.resource())));
        }
        events.push(tombstone(order, volume).into());
        let operation = order.asked.id;
        let message = ToAgent::DestroyVolume { volume: id, generation, operation };
        messages.push(Event::tell(agent, message));
    }
    let ids: Vec<VolumeId> = found.iter().map(|e| e.volume.spec.id).collect();
    let names: Vec<String> = found
        .iter()
        .map(|e| format!("volume {} of role {}", e.volume.spec.name, e.volume.spec.role))
        .collect();
    let state = if waits { OperationState::Accepted } else { OperationState::Done };
    events.push(order.asked.record(Some(agent), ids, names.join(", "), state).into());
    events.extend(messages);
    Ok(events)
}

fn tombstone(order: &Order<'_>, volume: &Volume) -> Volume {
    Volume {
        state: VolumeState::Tombstoned,
        operation: order.asked.id,
        changed: order.asked.now,
        ..volume.clone()
    }
}

/// True when nothing lies on the disk, so that only the record has to go.
fn is_only_a_record(entry: &VolumeEntry) -> Result<bool, Rejection> {
    let volume = &entry.volume;
    let (name, id) = (&volume.spec.name, volume.spec.id);
    let refused = |text: String| Rejection::new(ErrorCode::VolumeNotReady, text);
    match volume.state {
        // A tombstone at the agent keeps the data of a lost volume, should it come back, from living again.
        VolumeState::Ready | VolumeState::Lost => Ok(false),
        VolumeState::Failed | VolumeState::Gone => Ok(true),
        VolumeState::Creating => {
            Err(refused(format!("volume {name} ({id}) is still being made by operation {}", volume.operation))
                .remedy(still_made(volume)))
        },
        VolumeState::Tombstoned => {
            Err(refused(format!("volume {name} ({id}) is being destroyed by operation {}", volume.operation))
                .remedy("wait for that operation"))
        },
        VolumeState::Trashed => {
            Err(refused(format!("volume {name} ({id}) is in the trash already"))
                .remedy("restore it, or purge it with `berth volume trash purge`"))
        },
        VolumeState::Quarantined if has_nothing(entry) => Ok(true),
        VolumeState::Quarantined => {
            Err(refused(format!("volume {name} ({id}) is quarantined: its data is never deleted"))
                .remedy("look at its path on the agent, move the data away by hand, restart the agent, then delete the record"))
        },
    }
}

fn still_made(volume: &Volume) -> &'static str {
    if volume.origin.as_deref().is_some_and(Origin::is_import) {
        "wait for that operation, then delete the volume; an import ends sooner when its directory is taken out of \
         import_from of the agent's settings and the agent is restarted"
    } else {
        "wait for that operation, then delete the volume"
    }
}

/// True when the agent says that no data of it is where it was, or says nothing of it.
fn has_nothing(entry: &VolumeEntry) -> bool {
    entry.observed.as_ref().is_none_or(|observed| match observed.state {
        VolumeState::Failed | VolumeState::Lost | VolumeState::Gone => true,
        VolumeState::Creating
        | VolumeState::Ready
        | VolumeState::Tombstoned
        | VolumeState::Trashed
        | VolumeState::Quarantined => false,
    })
}

/// Refuses a volume that a task uses.
pub(crate) fn check_unused(state: &State, entry: &VolumeEntry) -> Result<(), Rejection> {
    let mut users = entry.users.union(&entry.waiting);
    let Some(user) = users.next() else { return Ok(()) };
    let others = match users.count() {
        0 => String::new(),
        1 => " and 1 other task".to_owned(),
        more => format!(" and {more} other tasks"),
    };
    Err(Rejection::new(
        ErrorCode::VolumeInUse,
        format!(
            "volume {} ({}) is used by task {} of framework {}{others}",
            entry.volume.spec.name, entry.volume.spec.id, user.task, user.framework
        ),
    )
    .remedy(end_of(state, user))
    .field("volume"))
}

/// Why nothing else can be done to a volume whose size or access changes.
pub(crate) fn under_way(volume: &Volume) -> Option<Rejection> {
    let (name, id) = (&volume.spec.name, volume.spec.id);
    let what = match (volume.resize, volume.access_before) {
        (Some(resize), _) => format!("resized from {} to {}", resize.from, resize.to),
        (None, Some(_)) => format!("given {}", volume.spec.access),
        (None, None) => return None,
    };
    let text = format!("volume {name} ({id}) is being {what} by operation {}", volume.operation);
    Some(Rejection::new(ErrorCode::VolumeNotReady, text).remedy("wait for that operation"))
}

/// How the task ends for good: its framework would start it again.
fn end_of(state: &State, user: &TaskKey) -> String {
    let framework = state.frameworks.get(&user.framework);
    let is_service = framework.is_some_and(|known| *known.record.info.name == *SERVICES);
    let labels = state.tasks.get(user).filter(|_| is_service).map(|task| &task.labels);
    match labels.and_then(|labels| labels.get(LABEL_SERVICE)) {
        Some(service) => {
            format!("stop what uses it first: berth service delete {service} keeps the volume")
        },
        None => "end the task for good through its framework (berth service delete for a service)"
            .to_owned(),
    }
}

/// The name of the service scheduler's framework, and its label on tasks; both only help to word a remedy.
const SERVICES: &str = "berth-services";
const LABEL_SERVICE: &str = "service";

/// The volume of the agent that a resource means. Frameworks take UNKNOWN_VOLUME for the word that nothing is left, so that
/// it is not said of a quarantined one.
fn meant<'a>(
    order: &Order<'a>,
    role: &Role,
    name: &VolumeName,
) -> Result<Option<&'a VolumeEntry>, Rejection> {
    let agent = order.agent.info.id;
    let found = order.state.volume_on(agent, role, name);
    let quarantined = order.state.holders(role, name).find(|held| held.volume.agent == agent);
    match (found, quarantined) {
        (None, Some(entry)) => Err(not_offered(entry)),
        (found, _) => Ok(found),
    }
}

pub(crate) fn unknown(what: &str) -> Rejection {
    Rejection::new(ErrorCode::UnknownVolume, format!("no such volume on this agent: {what}"))
        .remedy("name the volume as it was offered")
        .field("volumes")
}

/// The volume is not among what the operation may draw from.
pub(super) fn not_held(order: &Order<'_>, running: &Resources, entry: &VolumeEntry) -> Rejection {
    match order.source {
        Source::Accepted { cell: true, .. } => order.short("", running, &sum_of(&entry.resource())),
        Source::Accepted { cell: false, .. } | Source::Agent => not_offered(entry),
    }
}

fn not_offered(entry: &VolumeEntry) -> Rejection {
    let spec = &entry.volume.spec;
    Rejection::new(
        ErrorCode::VolumeNotReady,
        format!(
            "volume {} of role {} is {} and not in the accepted offers",
            spec.name, spec.role, entry.volume.state
        ),
    )
    .remedy(format!(
        "accept the offer that holds it: it is offered while it is READY, in no use and its disk is sound (berth volume show {}, berth disk health)",
        spec.name
    ))
    .field("volumes")
}
