//! What becomes of offers: launch, release, which is next door, or decline.
//!
//! Invariant: an offer is used or declined in the step that brings it; none is held.

use super::ends::{Want, next_task};
use super::launch::{Naming, task_id, task_info, volume_names};
use super::{Creating, Link, Pending, Scheduler};
use crate::document::Service;
use crate::evaluate::{Fit, Volumes, evaluate, volumes_in};
use crate::record::{Place, PodKey, Record, Run, Verdict};
use berth_model::framework::{Call, Filters, Terms};
use berth_model::id::{AgentId, OfferId, OperationId};
use berth_model::offer::Offer;
use berth_model::operation::{Action, OfferOperation};
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::task::{TaskInfo, TaskState};
use std::collections::BTreeMap;
use std::time::Duration;

/// For what nobody wants; whatever grows is offered in spite of it, and wanting again forgets it.
const REFUSE_LONG: Duration = Duration::from_mins(10);

/// All offers of one agent for one role that came together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) ids: Vec<OfferId>,
    pub(super) role: Role,
    pub(super) agent: AgentId,
    hostname: String,
    pub(super) resources: Resources,
}

/// What a launch consists of, before it has ids.
#[derive(Debug)]
struct Launch {
    key: PodKey,
    place: Place,
    run: Run,
    fit: Fit,
    info: TaskInfo,
}

impl Scheduler {
    pub(super) fn take_offers(&mut self, offers: Vec<Offer>) {
        if self.soft.link != Link::Up {
            return;
        }
        for group in groups(offers) {
            self.soft.unreachable.remove(&group.agent);
            self.presume_ended(&group);
            if !self.release(&group) && !self.launch(&group) {
                let filters = Filters { refuse: REFUSE_LONG };
                self.call(Call::Decline { offers: group.ids, filters });
            }
        }
    }

    /// A run the master does not know, while its volumes are offered: it cannot be using them.
    fn presume_ended(&mut self, group: &Group) {
        for key in self.keys_of(&group.role) {
            let Some((place, run)) =
                self.placed_run(&key).filter(|(place, _)| place.agent == group.agent)
            else {
                continue;
            };
            let status = self.soft.statuses.get(&run.number);
            let unknown = status.is_some_and(|status| status.state == TaskState::Unknown);
            let level = self.level(&group.role, &key, place.number);
            let free = volumes_in(&group.resources, &group.role, &level);
            let all = place.volumes.values().all(|volume| free.contains_key(&volume.name));
            if unknown && all && !place.volumes.is_empty() {
                let message =
                    "the master does not know the task, and its volumes are free".to_owned();
                self.end(&key, &run, Verdict::Unknown, message);
            }
        }
    }

    fn placed_run(&self, key: &PodKey) -> Option<(Place, Run)> {
        let pod = self.state.pod(key)?;
        Some((pod.place.clone()?, pod.run.clone()?))
    }

    pub(super) fn keys_of(&self, role: &Role) -> Vec<PodKey> {
        let of_role = |key: &PodKey| {
            self.state
                .services
                .get(&key.service)
                .is_some_and(|service| service.document.role == *role)
        };
        self.state.keys().into_iter().filter(of_role).collect()
    }

    /// Launches one pod that fits: those whose place this is come first.
    fn launch(&mut self, group: &Group) -> bool {
        let mut wanting: Vec<(bool, PodKey)> = Vec::new();
        for key in self.keys_of(&group.role) {
            if self.want(&key) != Some(Want::Launch) {
                continue;
            }
            let place = self.state.pod(&key).and_then(|pod| pod.place.as_ref());
            match place {
                Some(place) if place.agent == group.agent => wanting.push((false, key)),
                Some(_) => {},
                None => wanting.push((true, key)),
            }
        }
        wanting.sort();
        for (_, key) in wanting {
            match self.prepare(group, &key) {
                Ok(Some(launch)) => {
                    self.send_launch(group, launch);
                    return true;
                },
                Ok(None) => {},
                Err(reasons) => {
                    let refusals = self.soft.refusals.entry(key).or_default();
                    refusals.insert(group.hostname.clone(), reasons.join(", "));
                },
            }
        }
        false
    }

    fn prepare(&self, group: &Group, key: &PodKey) -> Result<Option<Launch>, Vec<String>> {
        let Some(service) = self.state.services.get(&key.service) else { return Ok(None) };
        let document: &Service = &service.document;
        let (Some(pod), Some(state)) = (document.pod(&key.pod), service.pods.get(&key.pod)) else {
            return Ok(None);
        };
        let Some(task) = next_task(pod, state) else { return Ok(None) };
        let mut place = state.place.clone().unwrap_or_else(|| Place {
            number: state.next_place,
            agent: group.agent,
            hostname: group.hostname.clone(),
            ports: BTreeMap::new(),
            volumes: volume_names(pod, key, state.next_place),
            attempts: 0,
            confirmed: false,
            owed_mib: 0,
        });
        let volumes = if place.confirmed { Volumes::Present } else { Volumes::Create };
        let need = self.need(&document.role, pod, key, &place);
        let fit = evaluate(&need, &group.resources, volumes)?;
        place.hostname.clone_from(&group.hostname);
        place.ports.clone_from(&fit.ports);
        place.confirmed |= fit.create.is_empty();
        place.attempts = place.attempts.saturating_add(u32::from(!fit.create.is_empty()));
        let number = self.state.runs + 1;
        let id = task_id(key, &task.name, number);
        let run = Run {
            number,
            task: task.name.clone(),
            id: id.clone(),
            at: self.now,
            started: false,
            stop: None,
            config: pod.fingerprint(),
        };
        let naming = Naming { service: document, pod, key, place: &place };
        let info = task_info(&naming, task, id, fit.clone());
        Ok(Some(Launch { key: key.clone(), place, run, fit, info }))
    }

    fn send_launch(&mut self, group: &Group, launch: Launch) {
        let Launch { key, place, run, fit, info } = launch;
        let mut actions = Vec::new();
        if !fit.reserve.is_empty() {
            actions.push(Action::Reserve(fit.reserve));
        }
        actions.extend(fit.create.into_iter().map(|volume| Action::Create(vec![volume])));
        actions.push(Action::Launch(vec![info]));
        let mut operations = Vec::new();
        for action in actions {
            let id = self.operation_id();
            self.remember_create(id, &action, &key, &place);
            operations.push(OfferOperation { id, action });
        }
        let pending = Pending::Launch { key: key.clone(), run: run.number, place: place.number };
        self.soft.refusals.remove(&key);
        self.record(Record::Launching { key, place, run });
        let others = self.wanted_roles().contains(&group.role);
        let filters = Filters { refuse: if others { Duration::ZERO } else { REFUSE_LONG } };
        let (offers, terms) = (group.ids.clone(), Terms::default());
        let call = self.call(Call::Accept { offers, operations, filters, terms });
        self.soft.pending.insert(call, pending);
    }

    fn remember_create(&mut self, id: OperationId, action: &Action, key: &PodKey, place: &Place) {
        let Action::Create(volumes) = action else { return };
        let name = volumes.first().and_then(|volume| volume.persistence()).map(|p| &p.name);
        let found = place.volumes.iter().find(|(_, placed)| Some(&placed.name) == name);
        if let Some((volume, _)) = found {
            let creating = Creating {
                key: key.clone(),
                place: place.number,
                volume: volume.clone(),
                accepted: false,
            };
            self.soft.creating.insert(id, creating);
        }
    }
}

/// Offers that came together, by agent and role.
fn groups(offers: Vec<Offer>) -> Vec<Group> {
    let mut groups: BTreeMap<(AgentId, Role), Group> = BTreeMap::new();
    for offer in offers {
        let group = groups.entry((offer.agent, offer.role.clone())).or_insert_with(|| Group {
            ids: Vec::new(),
            role: offer.role.clone(),
            agent: offer.agent,
            hostname: offer.hostname.to_string(),
            resources: Resources::new(),
        });
        // A sum that does not fit cannot come from one agent; the ids are still declined together.
        if group.resources.add_all(&offer.resources).is_ok() || group.ids.is_empty() {
            group.ids.push(offer.id);
        }
    }
    groups.into_values().collect()
}
