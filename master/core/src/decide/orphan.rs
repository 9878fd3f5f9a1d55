//! Data without a record and records without data: what may be had back, what may go, and what agents say of it.
//!
//! It knows orphans only as the agents last told of them, so each order names the identity that was shown and the agent
//! compares. Invariants: what has no proven identity is neither adopted nor deleted; a record of the registry is never
//! overwritten by what lies on a disk.

use super::create::{NewVolume, accepted, free_name};
use super::destroy::{destroy, under_way};
use super::disk::check_health;
use super::missing::reserve_missing;
use super::order::{Order, ended};
use super::report::Occasion;
use super::room::{Wish, stack_on};
use crate::event::Event;
use crate::state::{Agent, State, VolumeEntry};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, OperationId, VolumeId};
use berth_model::link::ToAgent;
use berth_model::operation::{OperationKind, OperationRecord, OperationState};
use berth_model::operator::DiskChoice;
use berth_model::orphan::{Orphan, OrphanOrder, OrphanPlace};
use berth_model::resources::check_container_path;
use berth_model::snapshot::Origin;
use berth_model::units::Timestamp;
use berth_model::volume::{Volume, VolumeReport, VolumeSpec, VolumeState};
use std::sync::Arc;

/// Is there a record of the volume that says where its data is?
fn is_recorded(state: &State, id: VolumeId) -> bool {
    state.volumes.get(&id).is_some_and(|entry| match entry.volume.state {
        VolumeState::Failed | VolumeState::Gone => false,
        VolumeState::Creating
        | VolumeState::Ready
        | VolumeState::Lost
        | VolumeState::Tombstoned
        | VolumeState::Trashed
        | VolumeState::Quarantined => true,
    })
}

/// An agent leaves out what its ledger has come to know only when it looks at its disks the next time. Data of a LOST
/// volume that the agent's ledger does not know is worth showing.
pub(crate) fn is_orphan(state: &State, orphan: &Orphan) -> bool {
    orphan.spec.as_ref().is_none_or(|spec| {
        let entry = state.volumes.get(&spec.id);
        let is_lost = entry.is_some_and(|entry| entry.volume.state == VolumeState::Lost);
        is_lost || !is_recorded(state, spec.id)
    })
}

/// The orphan at that path and the volume it is.
fn find<'a>(order: &Order<'a>, path: &str) -> Result<(&'a Orphan, &'a VolumeSpec), Rejection> {
    let info = &order.agent.info;
    let mut all = info.disks.iter().flat_map(|disk| &disk.orphans);
    let Some(orphan) = all.find(|orphan| *orphan.path == *path) else {
        let text = format!("agent {} ({}) tells of no orphan at {path}", info.id, info.hostname);
        return Err(Rejection::new(ErrorCode::UnknownOrphan, text)
            .remedy("list the orphans with `berth orphan list`; agents look every 30 seconds")
            .field("orphan.path"));
    };
    let Some(spec) = &orphan.spec else {
        let text = format!("{path} is no volume of agent {}: {}", info.id, orphan.evidence);
        return Err(Rejection::new(ErrorCode::OrphanUnidentified, text)
            .remedy("it is kept as it is; look at it on the agent and move it away by hand")
            .field("orphan.path"));
    };
    if let Some(entry) = order.state.volumes.get(&spec.id)
        && is_recorded(order.state, spec.id)
    {
        let text = format!(
            "{path} is volume {} ({}), which the registry has as {} on agent {}",
            spec.name, spec.id, entry.volume.state, entry.volume.agent
        );
        return Err(Rejection::new(ErrorCode::VolumeExists, text)
            .remedy(
                "forget a LOST record with `berth orphan purge VOLUME` first, or look at the volume",
            )
            .field("orphan.path"));
    }
    if let Some(going) = pending(order.state, order.agent).find(|(_, o)| o.spec.id == spec.id) {
        let text = format!("{path} is being deleted by operation {}", going.0.id);
        return Err(Rejection::new(ErrorCode::VolumeNotReady, text).remedy("wait for it"));
    }
    Ok((orphan, spec))
}

/// Deletions of orphans on the agent that have not ended.
fn pending<'a>(
    state: &'a State,
    agent: &Agent,
) -> impl Iterator<Item = (&'a OperationRecord, &'a OrphanOrder)> {
    let id = agent.info.id;
    let all = state.operations.values().filter(move |record| record.agent == Some(id));
    all.filter(|record| !record.state.is_final())
        .filter_map(|record| Some((&**record, record.orphan.as_deref()?)))
}

/// Makes a directory that carries a volume's identity that volume again, with a reservation for it.
pub(crate) fn adopt(order: &Order<'_>, path: &str) -> Result<Vec<Event>, Rejection> {
    let (orphan, spec) = find(order, path)?;
    if orphan.place == OrphanPlace::Trash {
        let text =
            format!("{path} lies in the trash of its disk: volume {} was deleted", spec.name);
        return Err(Rejection::new(ErrorCode::Unsupported, text)
            .remedy("delete it with `berth orphan purge`, or copy what you need by hand")
            .field("orphan.path"));
    }
    let mut events = free_name(order.state, &spec.role, &spec.name)?;
    // A cordon is no reason to refuse: the data lies there already.
    check_health(order.agent, &spec.source)?;
    // Not every name can be a path; a task's own mount says where it wants it anyhow.
    let name = Some(spec.name.as_str()).filter(|name| check_container_path(name).is_ok());
    let container_path: Arc<str> = Arc::from(name.unwrap_or("data"));
    let wish = Wish {
        name: &spec.name,
        role: &spec.role,
        principal: spec.principal.as_ref(),
        size: spec.size,
        agent: Some(order.agent.info.id),
        disk: &DiskChoice::Any,
        container_path: &container_path,
        origin: None,
        access: spec.access,
        shared: spec.shared,
        encrypted: spec.encrypted,
    };
    let stack = stack_on(order.agent, &spec.source, &wish)?;
    let new = NewVolume {
        name: spec.name.clone(),
        role: spec.role.clone(),
        principal: spec.principal.clone(),
        source: spec.source.clone(),
        size: spec.size,
        container_path: Arc::clone(&container_path),
        access: spec.access,
        shared: spec.shared,
        encrypted: spec.encrypted,
    };
    let volume = Volume { spec: spec.clone(), ..new.into_volume(order, 0, stack)? };
    let plain = volume.plain_resource().map_err(|e| {
        Rejection::new(ErrorCode::OrphanUnidentified, format!("the marker of {path}: {e}"))
    })?;
    let missing = reserve_missing(order, &plain)?;
    events.extend(missing.events);
    let origin = Some(Box::new(Origin::Orphan));
    events.extend(accepted(order, vec![Volume { reserved_from: missing.from, origin, ..volume }]));
    Ok(events)
}

/// Deletes a directory that carries a volume's identity for good.
pub(crate) fn purge(order: &Order<'_>, path: &str) -> Result<Vec<Event>, Rejection> {
    order.state.refuse_in_safe_mode("PURGE_ORPHAN")?;
    let (orphan, spec) = find(order, path)?;
    let (agent, operation) = (order.agent.info.id, order.asked.id);
    let wanted = OrphanOrder { spec: spec.clone(), place: orphan.place };
    let object = format!("{path}: volume {} of role {}", spec.name, spec.role);
    let record = order.asked.record(Some(agent), Vec::new(), object, OperationState::Accepted);
    let record = OperationRecord { orphan: Some(Box::new(wanted.clone())), ..record };
    let message = ToAgent::PurgeOrphan { operation, order: Box::new(wanted) };
    Ok(vec![record.into(), Event::tell(agent, message)])
}

fn check_lost(entry: &VolumeEntry) -> Result<(), Rejection> {
    let volume = &entry.volume;
    if volume.state == VolumeState::Lost {
        return Ok(());
    }
    let (name, id) = (&volume.spec.name, volume.spec.id);
    let text = format!("volume {name} ({id}) is {}, no record without data", volume.state);
    Err(Rejection::new(ErrorCode::VolumeNotReady, text)
        .remedy("delete a volume that is there with `berth volume delete`")
        .field("orphan.record"))
}

/// Has the agent look whether the data of a LOST volume has come back.
pub(crate) fn look_again(order: &Order<'_>, entry: &VolumeEntry) -> Result<Vec<Event>, Rejection> {
    check_lost(entry)?;
    if let Some(under_way) =
        under_way(&entry.volume).or_else(|| looked_for(order.state, &entry.volume))
    {
        return Err(under_way);
    }
    let spec = &entry.volume.spec;
    if entry.observed.is_none() {
        let text = format!(
            "agent {} does not know volume {} ({}) any more",
            order.agent.info.id, spec.name, spec.id
        );
        return Err(Rejection::new(ErrorCode::VolumeLost, text).remedy(
            "forget the record with `berth orphan purge`, then adopt its data by its path",
        ));
    }
    let (agent, operation) = (order.agent.info.id, order.asked.id);
    let volume = Volume { operation, ..Volume::clone(&entry.volume) };
    let object = format!("volume {} of role {}", spec.name, spec.role);
    let record = order.asked.record(Some(agent), vec![spec.id], object, OperationState::Accepted);
    Ok(vec![volume.into(), record.into(), Event::tell(agent, verify(&entry.volume, operation))])
}

fn verify(volume: &Volume, operation: OperationId) -> ToAgent {
    let VolumeSpec { id, generation, .. } = volume.spec;
    ToAgent::VerifyVolume { volume: id, generation, operation }
}

/// Forgets the record of a LOST volume. Should its data be back meanwhile, it goes to the trash and not out of existence.
pub(crate) fn forget(order: &Order<'_>, entry: &VolumeEntry) -> Result<Vec<Event>, Rejection> {
    check_lost(entry)?;
    destroy(order, &[entry])
}

/// Why nothing else can be done to a LOST volume whose data is being looked for.
pub(crate) fn looked_for(state: &State, volume: &Volume) -> Option<Rejection> {
    looking(state, volume)?;
    let (name, id) = (&volume.spec.name, volume.spec.id);
    let text =
        format!("the data of volume {name} ({id}) is looked for by operation {}", volume.operation);
    Some(Rejection::new(ErrorCode::VolumeNotReady, text).remedy("wait for that operation"))
}

fn looking<'a>(state: &'a State, volume: &Volume) -> Option<&'a OperationRecord> {
    let record = state.operations.get(&volume.operation)?;
    let is_own = volume.state == VolumeState::Lost
        && record.kind == OperationKind::AdoptOrphan
        && !record.state.is_final();
    is_own.then_some(&**record)
}

/// What a report that changes nothing means for an operation that looks for the volume's data.
pub(crate) fn still_lost(
    state: &State,
    volume: &Volume,
    report: Option<&VolumeReport>,
    occasion: Occasion,
    now: Timestamp,
) -> Vec<Event> {
    let Some(record) = looking(state, volume) else { return Vec::new() };
    let answer = report.filter(|report| report.operation == Some(record.id));
    let why = match (report, answer.and_then(|report| report.error.clone())) {
        (_, Some(error)) => error,
        (None, None) => {
            let text =
                format!("agent {} does not know volume {} any more", volume.agent, volume.spec.id);
            Rejection::new(ErrorCode::VolumeLost, text)
        },
        (Some(_), None) if occasion == Occasion::Registration => {
            return vec![Event::tell(volume.agent, verify(volume, record.id))];
        },
        (Some(_), None) => return Vec::new(),
    };
    ended(state, record.id, Err(why), Vec::new(), now).into_iter().collect()
}

/// The agent says how a deletion ended.
pub(crate) fn purged(
    state: &State,
    agent: AgentId,
    operation: OperationId,
    result: Result<(), Rejection>,
    now: Timestamp,
) -> Vec<Event> {
    let record = state.operations.get(&operation);
    let mut events = Vec::new();
    if record.is_some_and(|record| record.agent == Some(agent) && record.orphan.is_some()) {
        events.extend(ended(state, operation, result, Vec::new(), now));
    }
    events.push(Event::tell(agent, ToAgent::ForgetOrphan { operation }));
    events
}

/// Deletions that the agent may not have heard of, asked for again when it comes back.
pub(crate) fn repeat(state: &State, agent: &Agent) -> Vec<Event> {
    if state.safe_mode.is_some() {
        return Vec::new();
    }
    let tell = |(record, order): (&OperationRecord, &OrphanOrder)| {
        let (operation, order) = (record.id, Box::new(order.clone()));
        Event::tell(agent.info.id, ToAgent::PurgeOrphan { operation, order })
    };
    pending(state, agent).map(tell).collect()
}
