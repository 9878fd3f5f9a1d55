//! Finds room for a volume that an operator asks for, and reserves what is missing of it until the volume is there.

use super::away::away;
use super::create::{NewVolume, accepted, free_name};
use super::disk::{self, check_disk};
use super::import;
use super::missing::{check_limits, reserve_missing};
use super::order::{Asked, Order, Source};
use super::sharing::check_source;
use crate::event::Event;
use crate::state::{Agent, RowKey, State, labels, sum_of};
use berth_model::access::Access;
use berth_model::agent::Disk;
use berth_model::disk::DiskProfile;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, Principal, VolumeName};
use berth_model::operator::DiskChoice;
use berth_model::reservation::{Reservation, Stack};
use berth_model::resources::{DiskSource, Name, Resource};
use berth_model::role::Role;
use berth_model::snapshot::Origin;
use berth_model::units::{Bytes, Scalar};
use berth_model::volume::Volume;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Shorter beginnings of an id say too little.
const ID_PREFIX_MIN: usize = 4;

/// A volume as an operator asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) name: &'a VolumeName,
    pub(crate) role: &'a Role,
    pub(crate) principal: Option<&'a Principal>,
    pub(crate) size: Bytes,
    pub(crate) agent: Option<AgentId>,
    pub(crate) disk: &'a DiskChoice,
    pub(crate) container_path: &'a Arc<str>,
    /// What it is made from.
    pub(crate) origin: Option<&'a Origin>,
    pub(crate) access: Access,
    pub(crate) shared: bool,
    pub(crate) encrypted: bool,
}

/// A place for the volume: the reservation it is cut from, on one disk of one agent.
#[derive(Debug)]
struct Room<'a> {
    agent: &'a Agent,
    source: DiskSource,
    stack: Stack,
    /// What the volume takes: what was asked, or the whole of a disk that cannot be divided.
    size: Bytes,
    /// What the role can get on that disk, through this reservation.
    free: Bytes,
    /// Whether the reservation holds enough already.
    reserved: bool,
}

/// Reserves what is missing and creates the volume.
pub(crate) fn create_volume(
    state: &State,
    wish: &Wish<'_>,
    asked: Asked<'_>,
) -> Result<Vec<Event>, Rejection> {
    check_wish(wish)?;
    let mut events = free_name(state, wish.role, wish.name)?;
    let room = find(state, wish)?;
    let order = Order { state, agent: room.agent, source: Source::Agent, asked };
    let new = NewVolume {
        name: wish.name.clone(),
        role: wish.role.clone(),
        principal: wish.principal.cloned(),
        source: room.source.clone(),
        size: room.size,
        container_path: Arc::clone(wish.container_path),
        access: wish.access,
        shared: wish.shared,
        encrypted: wish.encrypted,
    };
    let volume = new.into_volume(&order, 0, room.stack)?;
    let plain = volume.plain_resource().map_err(|e| bad_size(e.to_string()))?;
    let missing = reserve_missing(&order, &plain)?;
    check_limits(&order, wish.role, &missing)?;
    events.extend(missing.events);
    let origin = wish.origin.cloned().map(Box::new);
    let volume = Volume { reserved_from: missing.from, origin, ..volume };
    events.extend(accepted(&order, vec![volume]));
    Ok(events)
}

pub(super) fn bad_size(message: String) -> Rejection {
    Rejection::new(ErrorCode::InvalidArgument, message)
        .remedy("give a whole number of MiB above zero, such as 10GiB")
        .field("size")
}

fn check_wish(wish: &Wish<'_>) -> Result<(), Rejection> {
    wish.size.to_scalar().map_err(|e| bad_size(format!("volume {}: size: {e}", wish.name)))?;
    if wish.role.is_star() {
        return Err(Rejection::new(
            ErrorCode::InvalidRole,
            format!("volume {} is asked for role *, to which nothing can be reserved", wish.name),
        )
        .remedy("name a role such as storage/mysql")
        .field("role"));
    }
    import::check_agent(wish)
}

fn find<'a>(state: &'a State, wish: &Wish<'_>) -> Result<Room<'a>, Rejection> {
    let agents: Vec<&Agent> = match wish.agent {
        Some(id) => vec![state.usable_agent(id)?],
        None => state
            .agents
            .values()
            .filter(|a| a.session().is_some() && state.withheld_because(a).is_none())
            .collect(),
    };
    if agents.is_empty() {
        return Err(Rejection::new(
            ErrorCode::AgentUnreachable,
            format!("volume {}: no agent is registered", wish.name),
        )
        .remedy("start an agent, or wait until one has come back"));
    }
    let profile = match wish.disk {
        DiskChoice::Profile(name) => Some(disk::profile(state, name)?),
        DiskChoice::Any | DiskChoice::Id(_) | DiskChoice::Named(_) | DiskChoice::Source(_) => None,
    };
    let (mut rooms, mut disks, mut left_out) = (Vec::new(), 0_usize, None);
    for agent in &agents {
        for source in chosen(state, agent, wish.disk, profile) {
            disks += 1;
            let takes = import::takes(wish, &source)
                .and_then(|()| check_source(wish, &source))
                .and_then(|()| check_disk(state, agent, &source))
                .and_then(|()| disk::check_encrypts(agent, &source, wish.encrypted));
            match takes {
                Ok(()) => rooms.extend(rooms_on(agent, &source, wish)),
                Err(rejection) => left_out = Some(rejection),
            }
        }
    }
    if disks == 0 {
        away(state, wish)?;
        let none = no_disk(state, wish);
        return Err(match profile {
            Some(profile) => disk::no_match(state, &none, profile, &agents, wish.agent),
            None => Rejection::new(ErrorCode::UnknownDisk, none)
                .remedy("see berth disk list")
                .field("disk"),
        });
    }
    // A whole disk, and then the smallest, only where no other has room; a new reservation only where none has room;
    // other disks before ROOT; then the emptiest.
    let order = |room: &Room<'_>| {
        let root = room.source == DiskSource::Root;
        let whole = (!room.source.is_divisible()).then_some(room.size);
        (whole, !room.reserved, root, Reverse(room.free), room.agent.info.id)
    };
    let mut fitting: Vec<usize> =
        (0..rooms.len()).filter(|i| rooms[*i].free >= wish.size).collect();
    fitting.sort_by_key(|i| order(&rooms[*i]));
    match fitting.first() {
        Some(index) => Ok(rooms.swap_remove(*index)),
        None => Err(no_room(wish, &rooms, left_out)),
    }
}

fn no_disk(state: &State, wish: &Wish<'_>) -> String {
    let word = match wish.disk {
        DiskChoice::Any => String::new(),
        DiskChoice::Id(id) => format!(" {id}"),
        DiskChoice::Named(name) => format!(" {name}"),
        DiskChoice::Source(source) => format!(" {source}"),
        DiskChoice::Profile(profile) => format!(" of profile {profile}"),
    };
    match wish.agent.and_then(|id| state.agents.get(&id)) {
        Some(agent) => format!("no disk{word} on agent {}", agent.info.hostname),
        None => format!("no disk{word} on any agent"),
    }
}

fn no_room(wish: &Wish<'_>, rooms: &[Room<'_>], left_out: Option<Rejection>) -> Rejection {
    let Some(best) = rooms.iter().max_by_key(|room| room.free) else {
        return left_out.unwrap_or_else(|| {
            Rejection::new(
                ErrorCode::InsufficientResources,
                format!("volume {}: no disk", wish.name),
            )
        });
    };
    let missing = Bytes::new(wish.size.get().saturating_sub(best.free.get()));
    // Which volume is meant is said in front of it.
    let of = format!("volume {}: ", wish.name);
    let left_out = left_out.map_or_else(String::new, |why| {
        format!("; left out: {}", why.message.strip_prefix(&of).unwrap_or(&why.message))
    });
    Rejection::new(
        ErrorCode::InsufficientResources,
        format!(
            "volume {} of {} for role {} fits nowhere: the most room is on agent {} ({}), disk {}: {} free, {} missing{left_out}",
            wish.name,
            wish.size,
            wish.role,
            best.agent.info.id,
            best.agent.info.hostname,
            best.source,
            best.free,
            missing
        ),
    )
    .remedy("ask for less, delete a volume, or release reservations of other roles")
    .field("size")
}

/// The disks of the agent that the choice means.
pub(super) fn chosen(
    state: &State,
    agent: &Agent,
    choice: &DiskChoice,
    profile: Option<&DiskProfile>,
) -> BTreeSet<DiskSource> {
    let declared = agent.info.declared.entries().map(|entry| entry.resource);
    let sources: BTreeSet<DiskSource> = declared
        .filter(|resource| resource.name == Name::Disk)
        .map(|resource| resource.disk_source())
        .collect();
    let is_meant = |source: &DiskSource| {
        let mut disks = agent.info.disks.iter().filter(|disk| disk.source == *source);
        match choice {
            DiskChoice::Any => true,
            DiskChoice::Source(wanted) => wanted == source,
            DiskChoice::Id(id) => disks.any(|disk| disk.id == *id),
            DiskChoice::Named(word) => disks.any(|disk| is_called(disk, word)),
            DiskChoice::Profile(_) => disks.any(|disk| {
                let labels = labels(state, disk.id);
                profile.is_some_and(|profile| profile.misses(disk, labels).is_empty())
            }),
        }
    };
    sources.into_iter().filter(is_meant).collect()
}

/// By its name, its root directory, or the beginning of its id.
fn is_called(disk: &Disk, word: &str) -> bool {
    let root = if word.len() > 1 { word.trim_end_matches('/') } else { word };
    let begins = word.len() >= ID_PREFIX_MIN && disk.id.to_string().starts_with(word);
    *disk.name == *word || *disk.root == *root || begins
}

/// The reservations of the role that exist on the disk, and those that could be made.
fn rooms_on<'a>(agent: &'a Agent, source: &DiskSource, wish: &Wish<'_>) -> Vec<Room<'a>> {
    let mut stacks: BTreeSet<Stack> = BTreeSet::new();
    let first = RowKey {
        name: Name::Disk,
        source: source.clone(),
        owner: wish.role.clone(),
        stack: Stack::unreserved(),
    };
    let rows = agent.rows.range(first.clone()..).map(|(key, _)| key);
    let own = rows.take_while(|key| {
        key.name == first.name && key.source == first.source && key.owner == first.owner
    });
    stacks.extend(own.map(|key| key.stack.clone()));
    let level = Reservation::dynamic(wish.role.clone()).with_principal(wish.principal.cloned());
    stacks.extend(Stack::unreserved().push(level.clone()));
    for declared in agent.info.declared.entries().map(|entry| entry.resource) {
        if declared.name != Name::Disk || declared.disk_source() != *source {
            continue;
        }
        match declared.stack.owner() {
            Some(owner) if owner == wish.role => drop(stacks.insert(declared.stack.clone())),
            Some(owner) if wish.role.is_below(owner) => {
                stacks.extend(declared.stack.push(level.clone()));
            },
            Some(_) | None => {},
        }
    }
    let all = largest(agent, source);
    let taken = if source.is_divisible() { wish.size } else { wish.size.max(all) };
    let Ok(size) = taken.to_scalar() else { return Vec::new() };
    stacks
        .into_iter()
        .map(|stack| {
            let disk = Resource::disk(source.clone(), size).with_stack(stack.clone());
            let reserved = free(agent, &disk, all);
            let below = disk.pop().map_or(Bytes::default(), |below| free(agent, &below, all));
            let both = reserved.checked_add(below).unwrap_or(reserved);
            Room {
                agent,
                source: source.clone(),
                stack,
                size: taken,
                free: both,
                reserved: reserved >= wish.size,
            }
        })
        .collect()
}

/// The reservation from which a volume is cut that lies on this disk already: one that has room, or one that can be made.
pub(crate) fn stack_on(
    agent: &Agent,
    source: &DiskSource,
    wish: &Wish<'_>,
) -> Result<Stack, Rejection> {
    let mut rooms = rooms_on(agent, source, wish);
    let fitting = (0..rooms.len()).filter(|i| rooms[*i].free >= wish.size);
    match fitting.min_by_key(|i| !rooms[*i].reserved) {
        Some(index) => Ok(rooms.swap_remove(index).stack),
        None => Err(no_room(wish, &rooms, None)),
    }
}

/// What the agent declares of a disk: no pool holds more.
fn largest(agent: &Agent, source: &DiskSource) -> Bytes {
    let of_disk =
        agent.info.declared.filtered(|r| r.name == Name::Disk && r.disk_source() == *source);
    Bytes::from_scalar(of_disk.total(&Name::Disk))
}

/// How much of this kind of disk no task and no volume has, at most `limit`.
pub(super) fn free(agent: &Agent, disk: &Resource, limit: Bytes) -> Bytes {
    let Ok(amount) = limit.to_scalar() else { return Bytes::new(0) };
    let wanted = sum_of(&sized(disk, amount));
    let books = &agent.books;
    let pools = [&books.available, &books.offered].into_iter().filter(|pool| !pool.is_empty());
    pools.fold(Bytes::default(), |sum, pool| {
        let missing = pool.missing(&wanted).total(&Name::Disk);
        let part = Bytes::from_scalar(amount.saturating_sub(missing));
        sum.checked_add(part).unwrap_or(sum)
    })
}

pub(super) fn sized(disk: &Resource, amount: Scalar) -> Resource {
    Resource { value: berth_model::resources::Value::Scalar(amount), ..disk.clone() }
}
