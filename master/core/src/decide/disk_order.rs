//! Disks that are added to an agent while it runs, and removed from it.
//!
//! The master sees no disk, so it refuses what the books speak against and passes the rest on; the agent decides, and the
//! order waits in the operation's record until the agent has said how it ended. Invariant: a disk is removed only while it
//! is cordoned and nothing on it is reserved, used, or a volume's, and it stays cordoned until that has ended.

use super::admit;
use super::disk::rescind_withheld;
use super::order::{Asked, ended};
use crate::event::Event;
use crate::state::{Agent, State, Withheld};
use berth_model::agent::AgentInfo;
use berth_model::declaration::{DiskDeclaration, DiskOrder};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, DiskId, OperationId};
use berth_model::link::ToAgent;
use berth_model::operation::{OperationRecord, OperationState};
use berth_model::operator::Request;
use berth_model::record::RegistryKey;
use berth_model::resources::{DiskSource, Name, Resources};
use berth_model::snapshot::SnapshotState;
use berth_model::units::Timestamp;
use berth_model::volume::VolumeState;

/// What the request asks of which agent, once the books do not speak against it; nothing for other requests.
pub(crate) fn order_of<'a>(
    state: &'a State,
    request: &Request,
) -> Option<Result<(&'a Agent, DiskOrder), Rejection>> {
    match request {
        Request::AddDisk { agent, disk } => Some(add(state, *agent, disk)),
        Request::RemoveDisk { disk } => Some(remove(state, *disk)),
        _other => None,
    }
}

fn add<'a>(
    state: &'a State,
    agent: AgentId,
    wanted: &DiskDeclaration,
) -> Result<(&'a Agent, DiskOrder), Rejection> {
    state.refuse_in_safe_mode("ADD_DISK")?;
    let agent = state.connected_agent(agent)?;
    let (id, host) = (agent.info.id, &agent.info.hostname);
    let exists =
        |text: String| Rejection::new(ErrorCode::DiskExists, text).remedy("see `berth disk list`");
    for disk in &agent.info.disks {
        if disk.source == wanted.source {
            let text =
                format!("{} is disk {} of agent {id} ({host}) already", disk.source, disk.name);
            return Err(exists(text).field("disk.source"));
        }
        if disk.name == wanted.name {
            let text = format!("disk {} of agent {id} ({host}) lies at {}", disk.name, disk.root);
            return Err(exists(text).field("disk.name"));
        }
    }
    let order = DiskOrder::Add(wanted.clone());
    refuse_pending(state, agent, &order)?;
    Ok((agent, order))
}

fn remove(state: &State, id: DiskId) -> Result<(&Agent, DiskOrder), Rejection> {
    state.refuse_in_safe_mode("REMOVE_DISK")?;
    let has = |agent: &&Agent| agent.info.disks.iter().any(|disk| disk.id == id);
    let found = state.agents.values().find(has).ok_or_else(|| {
        Rejection::new(ErrorCode::UnknownDisk, format!("no agent has disk {id}"))
            .remedy("list the disks with `berth disk list`")
            .field("disk_id")
    })?;
    let agent = state.connected_agent(found.info.id)?;
    let disk = agent.info.disks.iter().find(|disk| disk.id == id).expect("it was found by it");
    let source = &disk.source;
    let place = format!("disk {}:{} ({id})", agent.info.hostname, disk.name);
    if !disk.added {
        let text = format!("{place} is in its agent's configuration, not added to it");
        return Err(Rejection::new(ErrorCode::Unsupported, text).remedy(
            "remove it from the agent's file or flags, and restart the agent: tasks and volumes go on meanwhile",
        ));
    }
    let order = DiskOrder::Remove { disk: id, source: source.clone() };
    refuse_pending(state, agent, &order)?;
    let in_use = |what: String, remedy: &str| {
        let text = format!("remove {place}: {what}");
        Err(Rejection::new(ErrorCode::ResourcesInUse, text).remedy(remedy))
    };
    if state.cordon(id).is_none() {
        return in_use(
            "it is not cordoned".to_owned(),
            "cordon it first (berth disk cordon), so that nothing new goes on it meanwhile",
        );
    }
    let volumes = agent.volumes.iter().filter_map(|id| state.volumes.get(id));
    let there = |state| !matches!(state, VolumeState::Failed | VolumeState::Gone);
    let mut on_it = volumes.filter(|entry| entry.volume.spec.source == *source);
    if let Some(entry) = on_it.find(|entry| there(entry.volume.state)) {
        let spec = &entry.volume.spec;
        return in_use(
            format!("volume {} ({}) is on it, {}", spec.name, spec.id, entry.volume.state),
            "delete and purge what is on it first",
        );
    }
    let snapshots = agent.snapshots.iter().filter_map(|id| state.snapshots.get(id));
    let kept = |state| !matches!(state, SnapshotState::Failed | SnapshotState::Gone);
    let mut on_it = snapshots.filter(|entry| entry.snapshot.spec.of.source == *source);
    if let Some(entry) = on_it.find(|entry| kept(entry.snapshot.state)) {
        return in_use(
            format!("{} is on it, {}", entry.label(), entry.snapshot.state),
            "delete the snapshots on it first; end the hold of one that is held",
        );
    }
    let mut rows = state.rows.values().filter(|row| row.agent == agent.info.id);
    let of_it = |row: &Resources| !of_disk(row, source).is_empty();
    if let Some(row) = rows.find(|row| of_it(&crate::state::sum_of(&row.resource))) {
        return in_use(
            format!("reservation {} holds {}", row.id, row.resource),
            "release it first (berth reservation release)",
        );
    }
    let used = of_disk(&agent.books.used, source);
    if !used.is_empty() {
        return in_use(format!("tasks use {used}"), "end them first");
    }
    Ok((agent, order))
}

fn of_disk(resources: &Resources, source: &DiskSource) -> Resources {
    resources.filtered(|resource| resource.name == Name::Disk && resource.disk_source() == *source)
}

fn refuse_pending(state: &State, agent: &Agent, wanted: &DiskOrder) -> Result<(), Rejection> {
    match pending(state, agent).find(|(_, order)| order.collides(wanted)) {
        Some((record, order)) => {
            let text = format!("operation {} is to {order}", record.id);
            Err(Rejection::new(ErrorCode::ResourcesInUse, text).remedy("wait for it"))
        },
        None => Ok(()),
    }
}

/// Orders for the agent that have not ended.
fn pending<'a>(
    state: &'a State,
    agent: &Agent,
) -> impl Iterator<Item = (&'a OperationRecord, &'a DiskOrder)> {
    let id = agent.info.id;
    let all = state.operations.values().filter(move |record| record.agent == Some(id));
    all.filter(|record| !record.state.is_final())
        .filter_map(|record| Some((&**record, record.disk.as_deref()?)))
}

/// ADD_DISK and REMOVE_DISK: done once the agent has done it.
pub(crate) fn submit(asked: Asked<'_>, (agent, order): (&Agent, DiskOrder)) -> Vec<Event> {
    let (id, operation) = (agent.info.id, asked.id);
    let object = match &order {
        DiskOrder::Add(disk) => format!("{}:{} ({})", agent.info.hostname, disk.name, disk.source),
        DiskOrder::Remove { disk, source } => {
            format!("{}: disk {disk} ({source})", agent.info.hostname)
        },
    };
    let record = asked.record(Some(id), Vec::new(), object, OperationState::Accepted);
    let record = OperationRecord { disk: Some(Box::new(order.clone())), ..record };
    let message = ToAgent::OrderDisk { operation, order: Box::new(order) };
    vec![record.into(), Event::tell(id, message)]
}

/// Refuses to end the cordon of a disk that is being removed.
pub(crate) fn refuse_uncordon(state: &State, agent: AgentId, id: DiskId) -> Result<(), Rejection> {
    let Some(agent) = state.agents.get(&agent) else { return Ok(()) };
    let is_it = |order: &DiskOrder| matches!(order, DiskOrder::Remove { disk, .. } if *disk == id);
    match pending(state, agent).find(|(_, order)| is_it(order)) {
        Some((record, _order)) => {
            let text = format!("disk {id} is being removed by operation {}", record.id);
            Err(Rejection::new(ErrorCode::ResourcesInUse, text).remedy("wait for it"))
        },
        None => Ok(()),
    }
}

/// The agent declares something else than before: as at a registration, but its offers and tasks go on.
pub(crate) fn declared(state: &State, agent: AgentId, info: &AgentInfo) -> Vec<Event> {
    let Some(known) = state.agents.get(&agent).filter(|_| info.id == agent) else {
        return Vec::new();
    };
    let mut events = rescind_withheld(state, known, &Withheld::of(state, &info.disks));
    events.extend(admit::declare(Some(known), info));
    events
}

/// The agent says how an order ended.
pub(crate) fn ordered(
    state: &State,
    agent: AgentId,
    operation: OperationId,
    result: Result<(), Rejection>,
    now: Timestamp,
) -> Vec<Event> {
    let record = state.operations.get(&operation).filter(|record| record.agent == Some(agent));
    let order = record.and_then(|record| record.disk.as_deref());
    let mut events = Vec::new();
    if let Some(order) = order {
        if let (DiskOrder::Remove { disk, .. }, Ok(())) = (order, &result)
            && state.disks.contains_key(disk)
        {
            events.push(Event::Delete(RegistryKey::Disk(*disk)));
        }
        events.extend(ended(state, operation, result, Vec::new(), now));
    }
    events.push(Event::tell(agent, ToAgent::ForgetDiskOrder { operation }));
    events
}

/// Orders that the agent may not have heard of, given again when it comes back.
pub(crate) fn repeat(state: &State, agent: &Agent) -> Vec<Event> {
    if state.safe_mode.is_some() {
        return Vec::new();
    }
    let tell = |(record, order): (&OperationRecord, &DiskOrder)| {
        let (operation, order) = (record.id, Box::new(order.clone()));
        Event::tell(agent.info.id, ToAgent::OrderDisk { operation, order })
    };
    pending(state, agent).map(tell).collect()
}
