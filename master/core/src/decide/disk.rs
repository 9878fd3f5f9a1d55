//! What operators say of disks: cordons and labels, profiles, and which resources a cordon holds back.
//!
//! A cordon is about what is new: free disk and reserved disk without a volume are not offered and not reserved, and no
//! volume is made from them. Volumes that lie on the disk, or in its trash, stay what they are: offered to their role,
//! usable, restorable. A cordon never stands between an owner and the data.

use super::order::Asked;
use super::rescind::rescind;
use crate::event::Event;
use crate::state::{Agent, State, VolumeEntry, Withheld, labels};
use berth_model::agent::{Disk, DiskHealth};
use berth_model::disk::{Cordon, DiskProfile, DiskRecord, DiskRequest, ProfileRequest};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, DiskId, ProfileName};
use berth_model::operation::OperationState;
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::resources::DiskSource;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The most disks that a refusal names.
const NAMED_MAX: usize = 8;

/// Offers of the agent that hold what these disks hold back are void.
pub(crate) fn rescind_withheld(state: &State, agent: &Agent, withheld: &Withheld) -> Vec<Event> {
    if withheld.is_empty() {
        return Vec::new();
    }
    let offers = agent.offers.iter().filter_map(|id| state.offers.get(id));
    let void = offers.filter(|offer| withheld.strip(&offer.resources) != offer.resources);
    void.flat_map(rescind).collect()
}

/// Refuses a disk on which nothing can be made.
pub(crate) fn check_health(agent: &Agent, source: &DiskSource) -> Result<(), Rejection> {
    let disk = agent.info.disks.iter().find(|disk| disk.source == *source);
    match disk.map(|disk| &disk.health) {
        Some(DiskHealth::Faulty(why)) => Err(Rejection::new(
            ErrorCode::DiskFaulty,
            format!("disk {source} of agent {} is faulty: {why}", agent.info.id),
        )
        .remedy("choose another disk")),
        Some(DiskHealth::Ok) | None => Ok(()),
    }
}

/// Refuses an encrypted volume on a disk that encrypts nothing, as far as the agent has said so.
pub(crate) fn check_encrypts(
    agent: &Agent,
    source: &DiskSource,
    wanted: bool,
) -> Result<(), Rejection> {
    let disk = agent.info.disks.iter().find(|disk| wanted && disk.source == *source);
    let Some(why) = disk.and_then(|disk| disk.no_encryption.as_ref()) else { return Ok(()) };
    let text = format!(
        "disk {source} of agent {} ({}) can have no encrypted volumes: {why}",
        agent.info.id, agent.info.hostname
    );
    Err(Rejection::new(ErrorCode::Unsupported, text)
        .remedy(
            "use a disk with driver image:ext4 or image; `berth disk show` says which can encrypt",
        )
        .field("disk"))
}

/// Refuses snapshots of a volume whose driver keeps none on its disk, as far as the agent has said so.
pub(crate) fn check_keeps_snapshots(state: &State, entry: &VolumeEntry) -> Result<(), Rejection> {
    let (volume, spec) = (&entry.volume, &entry.volume.spec);
    if spec.encrypted {
        let text = format!(
            "volume {} ({}) can have no snapshots: it is encrypted, and a copy would end with its key",
            spec.name, spec.id
        );
        return Err(Rejection::new(ErrorCode::Unsupported, text)
            .remedy("copy the data to another volume where they have to be kept")
            .field("volume"));
    }
    let disks = state.agents.get(&volume.agent).map(|agent| &agent.info.disks);
    let disk = disks.into_iter().flatten().find(|disk| disk.source == spec.source);
    let (Some(disk), Some(observed)) = (disk, &entry.observed) else { return Ok(()) };
    let Some(why) = disk.no_snapshots.get(&observed.driver) else { return Ok(()) };
    let text = format!(
        "volume {} ({}) can have no snapshots: it was made by driver {} on disk {} of agent {}, and {why}",
        spec.name, spec.id, observed.driver, spec.source, volume.agent
    );
    Err(Rejection::new(ErrorCode::Unsupported, text)
        .remedy("use a disk that keeps them for volumes that need snapshots; `berth disk show` says which do")
        .field("volume"))
}

/// Refuses a disk on which nothing new is to go.
pub(crate) fn check_cordon(
    state: &State,
    agent: &Agent,
    source: &DiskSource,
) -> Result<(), Rejection> {
    let mut disks = agent.info.disks.iter().filter(|disk| disk.source == *source);
    let found = disks.find_map(|disk| Some((disk, state.cordon(disk.id)?)));
    let Some((disk, cordon)) = found else { return Ok(()) };
    let (info, why) = (&agent.info, why(cordon));
    Err(Rejection::new(
        ErrorCode::DiskCordoned,
        format!(
            "disk {} ({source}) of agent {} ({}) is cordoned{why}",
            disk.name, info.id, info.hostname
        ),
    )
    .remedy(format!("choose another disk, or end it with `berth disk uncordon {}`", disk.id))
    .field("disk"))
}

/// Refuses a disk that is withheld, for whatever reason.
pub(crate) fn check_disk(
    state: &State,
    agent: &Agent,
    source: &DiskSource,
) -> Result<(), Rejection> {
    check_health(agent, source)?;
    check_cordon(state, agent, source)
}

fn why(cordon: &Cordon) -> String {
    if cordon.reason.is_empty() { String::new() } else { format!(": {}", cordon.reason) }
}

/// CORDON, UNCORDON and LABEL: done when the registry is synced, whether the agent is there or not.
pub(crate) fn change(
    state: &State,
    asked: Asked<'_>,
    request: &DiskRequest,
) -> Result<Vec<Event>, Rejection> {
    let id = request.disk();
    let (mut record, place) = subject(state, id)?;
    let before = record.clone();
    let mut words = format!("disk {place}");
    match request {
        DiskRequest::Cordon { reason, .. } => {
            let since = record.cordon.as_ref().map_or(asked.now, |cordon| cordon.since);
            let cordon = Cordon { reason: reason.clone(), since };
            words.push_str(&why(&cordon));
            record.cordon = Some(cordon);
        },
        DiskRequest::Uncordon { reason, .. } => {
            super::disk_order::refuse_uncordon(state, record.agent, id)?;
            let cordon = Cordon { reason: reason.clone(), since: asked.now };
            words.push_str(&why(&cordon));
            record.cordon = None;
        },
        DiskRequest::Label { set, remove, .. } => {
            record.labels.retain(|key, _| !remove.contains(key));
            record.labels.extend(set.clone());
            berth_model::disk::check_labels(&record.labels).map_err(|e| {
                Rejection::new(ErrorCode::InvalidArgument, format!("label disk {place}: {e}"))
                    .remedy("remove labels that nobody needs")
                    .field("set")
            })?;
            let changes = set.iter().map(|(key, value)| format!("{key}={value}"));
            let changes: Vec<String> =
                changes.chain(remove.iter().map(|key| format!("{key}-"))).collect();
            words.push_str(&format!(": {}", changes.join(" ")));
        },
    }
    let done = asked.record(Some(record.agent), Vec::new(), words, OperationState::Done);
    let mut events = Vec::new();
    if record.cordon.is_some() && before.cordon.is_none() {
        events.extend(cordoned_offers(state, id));
    }
    if record != before {
        events.push(if record.is_empty() {
            Event::Delete(RegistryKey::Disk(id))
        } else {
            Event::Put(RegistryRecord::Disk(Arc::new(record)))
        });
    }
    events.push(done.into());
    Ok(events)
}

/// What is known of the disk, and where it is, in words.
fn subject(state: &State, id: DiskId) -> Result<(DiskRecord, String), Rejection> {
    let known = state.disks.get(&id);
    let found = state.agents.values().find_map(|agent| {
        let disk = agent.info.disks.iter().find(|disk| disk.id == id)?;
        Some((agent.info.id, format!("{}:{} ({id})", agent.info.hostname, disk.name)))
    });
    let (agent, place) = match (found, known) {
        (Some(found), _) => found,
        // No agent declares it any more; what was said of it can still be changed.
        (None, Some(record)) => (record.agent, id.to_string()),
        (None, None) => {
            return Err(Rejection::new(ErrorCode::UnknownDisk, format!("no disk {id}"))
                .remedy("list the disks with `berth disk list`")
                .field("disk_id"));
        },
    };
    let record =
        known.map_or_else(|| DiskRecord::new(id, agent), |record| DiskRecord::clone(record));
    Ok((DiskRecord { agent, ..record }, place))
}

/// The offers that a cordon of this disk ends.
fn cordoned_offers(state: &State, id: DiskId) -> Vec<Event> {
    let mut events = Vec::new();
    for agent in state.agents.values() {
        let disks = agent.info.disks.iter().filter(|disk| disk.id == id);
        let cordoned: BTreeSet<DiskSource> = disks.map(|disk| disk.source.clone()).collect();
        let withheld = Withheld::by_cordon(cordoned);
        events.extend(rescind_withheld(state, agent, &withheld));
    }
    events
}

/// The profile of this name.
pub(crate) fn profile<'a>(
    state: &'a State,
    name: &ProfileName,
) -> Result<&'a DiskProfile, Rejection> {
    state.profiles.get(name).map(|profile| &**profile).ok_or_else(|| {
        Rejection::new(ErrorCode::UnknownProfile, format!("no profile {name}"))
            .remedy("list the profiles with `berth profile list`")
            .field("profile")
    })
}

/// Creates or deletes a profile: done when the registry is synced.
pub(crate) fn change_profiles(
    state: &State,
    asked: Asked<'_>,
    request: &ProfileRequest,
) -> Result<Vec<Event>, Rejection> {
    let (event, name) = match request {
        ProfileRequest::Create(wanted) => {
            if state.profiles.contains_key(&wanted.name) {
                return Err(Rejection::new(
                    ErrorCode::ProfileExists,
                    format!("profile {} exists", wanted.name),
                )
                .remedy("choose another name, or delete that profile first")
                .field("profile.name"));
            }
            let record = RegistryRecord::Profile(Arc::new(wanted.clone()));
            (Event::Put(record), &wanted.name)
        },
        ProfileRequest::Delete(name) => {
            profile(state, name)?;
            super::quota::check_profile_unused(state, name)?;
            (Event::Delete(RegistryKey::Profile(name.clone())), name)
        },
    };
    let object = format!("profile {name}");
    let done = asked.record(None, Vec::new(), object, OperationState::Done);
    Ok(vec![event, done.into()])
}

/// That no disk of these agents satisfies the profile, and why not, disk by disk.
pub(crate) fn no_match(
    state: &State,
    none: &str,
    profile: &DiskProfile,
    agents: &[&Agent],
    only: Option<AgentId>,
) -> Rejection {
    let satisfies = |disk: &&Disk| profile.misses(disk, labels(state, disk.id)).is_empty();
    let ids: BTreeSet<AgentId> = agents.iter().map(|agent| agent.info.id).collect();
    let others = state.agents.values().filter(|agent| !ids.contains(&agent.info.id));
    let mut away = others.filter(|_| only.is_none()).filter_map(|agent| {
        let disk = agent.info.disks.iter().find(satisfies)?;
        Some((agent, disk))
    });
    if let Some((agent, disk)) = away.next() {
        let (host, name) = (&agent.info.hostname, &disk.name);
        let why = match state.withheld_because(agent).filter(|_| agent.session().is_some()) {
            Some(why) => format!("agent {host} is withheld: {why}"),
            None => format!("agent {host} is {}", agent.state().as_str()),
        };
        return Rejection::new(
            ErrorCode::AgentUnreachable,
            format!("{none} that can be used now: {host}:{name} satisfies it, but {why}"),
        )
        .remedy("bring that agent back, or wait until it is")
        .field("disk");
    }
    // It may be satisfied by a disk that cannot be divided, or that declares nothing.
    let here = agents.iter().flat_map(|agent| &agent.info.disks).find(satisfies);
    let why = match here {
        Some(disk) => format!("disk {} satisfies it and declares nothing to take", disk.name),
        None => mismatches(state, profile, agents),
    };
    Rejection::new(ErrorCode::UnknownDisk, format!("{none}: {why}"))
        .remedy(format!("see `berth profile match {}`", profile.name))
        .field("disk")
}

fn mismatches(state: &State, profile: &DiskProfile, agents: &[&Agent]) -> String {
    let disks = agents.iter().flat_map(|agent| agent.info.disks.iter().map(move |d| (agent, d)));
    let mut all = disks.map(|(agent, disk)| {
        let misses = profile.misses(disk, labels(state, disk.id));
        format!("{}:{}: {}", agent.info.hostname, disk.name, misses.join(", "))
    });
    let mut text = all.by_ref().take(NAMED_MAX).collect::<Vec<_>>().join("; ");
    let more = all.count();
    if more > 0 {
        text.push_str(&format!("; and {more} more disks"));
    }
    if text.is_empty() { "there are no disks".to_owned() } else { text }
}
