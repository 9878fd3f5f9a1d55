//! Giving back what a pod holds that is being deleted, and what is left of places where nothing came to be.
//!
//! It does not end tasks; it begins when none is left. Invariants: volumes are destroyed only when that was
//! asked for; a pod is released with its volumes only when the master has said of each that it is gone.

use super::ends::Want;
use super::launch::is_volume_of;
use super::offers::Group;
use super::{Given, Pending, Refused, Releasing, Scheduler};
use crate::evaluate::{place_of, volumes_in};
use crate::record::{Phase, Place, PodKey, Record, Removal};
use berth_model::error::ErrorCode;
use berth_model::framework::{Call, Filters, Terms};
use berth_model::id::VolumeName;
use berth_model::operation::{Action, OfferOperation, OperationState};
use berth_model::reservation::Stack;
use berth_model::resources::{
    DiskSource, Mount, MountMode, Name, Persistence, Resource, Resources,
};
use berth_model::units::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// After this long without a trace, nothing is taken to be left.
const EMPTY_AFTER: Duration = Duration::from_secs(30);
/// Between two attempts to give back what was refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

impl Scheduler {
    /// Gives back what pods hold that are being deleted, and what is left of places where nothing came to be.
    pub(super) fn release(&mut self, group: &Group) -> bool {
        for key in self.keys_of(&group.role) {
            let Some(service) = self.state.services.get(&key.service) else { continue };
            let deleting = self.want(&key) == Some(Want::Release);
            let with_volumes = service.phase == Phase::Deleting { volumes: true };
            let Some(pod) = service.pods.get(&key.pod) else { continue };
            let current = pod.place.as_ref().map(|place| place.number);
            let here = pod.place.as_ref().is_some_and(|place| place.agent == group.agent);
            let next = pod.next_place;
            let mine = group.resources.filtered(|resource| {
                let top = resource.stack.top().filter(|top| top.principal == self.config.principal);
                let Some((name, instance, number)) = top.and_then(place_of) else { return false };
                // A number is used again when nothing was made under it, perhaps elsewhere.
                let stale = (number < next && current != Some(number))
                    || (current == Some(number) && !here);
                name == key.service && instance == key.instance() && (deleting || stale)
            });
            let mut plain = mine.filtered(|resource| resource.persistence().is_none());
            let mut doomed = if deleting && with_volumes { mine.volumes() } else { Vec::new() };
            if deleting && with_volumes {
                doomed.extend(self.unmarked_volumes(group, &key));
            }
            // What was refused lately is still here, though nothing is done about it now.
            let seen = !plain.is_empty() || !doomed.is_empty();
            doomed.retain(|volume| !self.is_refused(&key, &given(volume)));
            if self.is_refused(&key, &Given::Reserved) {
                plain = Resources::new();
            }
            if !plain.is_empty() || !doomed.is_empty() {
                let complete = deleting
                    && here
                    && doomed.is_empty()
                    && self.is_last_release(&key, &plain, with_volumes);
                if deleting && here {
                    self.remember_release(&key, &plain, &doomed);
                }
                self.give_back(group, &key, plain, doomed, complete);
                return true;
            }
            if deleting && here && !seen && self.seen_empty(group, &key, with_volumes) {
                return true;
            }
        }
        false
    }

    /// The pod's volumes on disk that an operator had reserved to the role: their names say whose they are.
    fn unmarked_volumes(&self, group: &Group, key: &PodKey) -> Vec<Resource> {
        // No place has this number, so that nothing is marked with it.
        let level = self.level(&group.role, key, 0);
        let found = volumes_in(&group.resources, &group.role, &level).into_iter();
        found.filter(|(name, _)| is_volume_of(name, key)).map(|(_, volume)| volume).collect()
    }

    /// True when giving back `plain` leaves nothing but volumes that are to stay.
    fn is_last_release(&self, key: &PodKey, plain: &Resources, with_volumes: bool) -> bool {
        let Some(document) = self.pod_document(key) else { return false };
        let Some(place) = self.state.pod(key).and_then(|pod| pod.place.as_ref()) else {
            return false;
        };
        let enough = plain.total(&Name::Cpus) >= document.cpu;
        match place.owed_mib {
            _ if !with_volumes => enough,
            0 => enough && place.is_bare(),
            owed => place.is_bare() && disk_mib(plain) >= owed,
        }
    }

    /// Nothing of the pod is offered where it lived. True when the offer is used up.
    fn seen_empty(&mut self, group: &Group, key: &PodKey, with_volumes: bool) -> bool {
        let since = *self.soft.empty_since.entry(key.clone()).or_insert(self.now);
        if self.now.since(since) < EMPTY_AFTER {
            return false;
        }
        let Some(place) = self.state.pod(key).and_then(|pod| pod.place.clone()) else {
            return false;
        };
        if with_volumes && !place.is_bare() {
            return self.ask_for_volumes(group, key, &place);
        }
        // What a cordoned or faulty disk has got back is not offered.
        if !with_volumes || place.owed_mib == 0 {
            self.released(key.clone());
        }
        false
    }

    /// Volumes that are not offered may be gone, or out of reach: the master says which when it refuses a DESTROY.
    fn ask_for_volumes(&mut self, group: &Group, key: &PodKey, place: &Place) -> bool {
        let level = self.level(&group.role, key, place.number);
        let Some(document) = self.pod_document(key) else { return false };
        let wanted = document.volumes.iter().filter_map(|volume| {
            let placed = place.volumes.get(&volume.name)?;
            let given = Given::Volume(placed.name.clone());
            let asked = self.soft.releasing.values().any(|r| r.key == *key && r.given == given);
            if placed.removal == Removal::Gone || asked || self.is_refused(key, &given) {
                return None;
            }
            let held =
                Persistence { name: placed.name.clone(), principal: level.principal.clone() };
            let mount =
                Mount { container_path: Arc::from(&*volume.path), mode: MountMode::ReadWrite };
            let stack = Stack::new(vec![level.clone()]).ok()?;
            let disk = Resource::disk(DiskSource::Root, volume.size.to_scalar().ok()?);
            Some(disk.with_stack(stack).with_volume(held, mount))
        });
        let wanted: Vec<Resource> = wanted.collect();
        let any = !wanted.is_empty();
        if any {
            self.give_back(group, key, Resources::new(), wanted, false);
        }
        any
    }

    pub(super) fn released(&mut self, key: PodKey) {
        self.soft.empty_since.remove(&key);
        self.soft.release_errors.remove(&key);
        self.soft.release_refused.remove(&key);
        self.record(Record::Released { key });
    }

    fn is_refused(&self, key: &PodKey, given: &Given) -> bool {
        let refused = self.soft.release_refused.get(key).and_then(|refused| refused.get(given));
        refused.is_some_and(|refused| refused.until > self.now)
    }

    /// A DESTROY or UNRESERVE has ended.
    pub(super) fn release_ended(&mut self, ended: Releasing, state: OperationState) {
        let Releasing { key, given, last } = ended;
        let gone = match &state {
            OperationState::Accepted => return,
            OperationState::Done => true,
            // No volume of the role has this name on that machine.
            OperationState::Failed(why) => why.code == ErrorCode::UnknownVolume,
        };
        match (state, &given) {
            (OperationState::Failed(why), _) if !gone => {
                let until = self.now.after(REFUSED_PAUSE);
                let refused = Refused { why: format!("{}: {why}", why.code), until };
                self.soft.release_refused.entry(key).or_default().insert(given, refused);
                return;
            },
            (_, Given::Volume(name)) => {
                if let Some((place, volume)) = self.placed_volume(&key, name) {
                    self.record(Record::VolumeGone { key: key.clone(), place, volume });
                }
            },
            (_, Given::Reserved) => {},
        }
        if let Some(refused) = self.soft.release_refused.get_mut(&key) {
            refused.remove(&given);
        }
        if last && self.is_releasing(&key) {
            self.released(key);
        }
    }

    /// The place's number and the volume's name in the document.
    fn placed_volume(&self, key: &PodKey, name: &VolumeName) -> Option<(u64, String)> {
        let place = self.state.pod(key)?.place.as_ref()?;
        let (volume, _) = place.volumes.iter().find(|(_, placed)| placed.name == *name)?;
        Some((place.number, volume.clone()))
    }

    /// What is about to be given back of the pod's place is written down first: after a crash nobody could tell
    /// disk that was given back from disk that is not offered.
    fn remember_release(&mut self, key: &PodKey, plain: &Resources, doomed: &[Resource]) {
        let Some(place) = self.state.pod(key).and_then(|pod| pod.place.as_ref()) else { return };
        let (place, due) = (place.number, place.due_mib());
        let mib = disk_mib(plain);
        if due > 0 && mib > 0 {
            self.record(Record::DiskReturned { key: key.clone(), place, mib });
        }
        for resource in doomed {
            let Some(name) = resource.persistence().map(|held| &held.name) else { continue };
            let Some((place, volume)) = self.placed_volume(key, name) else { continue };
            let own = resource.stack.top().and_then(place_of).is_some();
            let mib = if own { disk_mib(&sum_of(resource)) } else { 0 };
            self.record(Record::Destroying { key: key.clone(), place, volume, mib });
        }
    }

    fn give_back(
        &mut self,
        group: &Group,
        key: &PodKey,
        plain: Resources,
        doomed: Vec<Resource>,
        last: bool,
    ) {
        let mut operations = Vec::new();
        // One by one, so that one that is refused keeps no other.
        for volume in doomed {
            let given = given(&volume);
            operations.push(self.giving(key, given, false, Action::Destroy(vec![volume])));
        }
        if !plain.is_empty() {
            operations.push(self.giving(key, Given::Reserved, last, Action::Unreserve(plain)));
        }
        self.soft.empty_since.remove(key);
        let filters = Filters { refuse: Duration::ZERO };
        let ids = operations.iter().map(|operation| operation.id).collect();
        let (offers, terms) = (group.ids.clone(), Terms::default());
        let number = self.call(Call::Accept { offers, operations, filters, terms });
        let pending = Pending::Release { key: key.clone(), operations: ids };
        self.soft.pending.insert(number, pending);
    }

    fn giving(&mut self, key: &PodKey, given: Given, last: bool, action: Action) -> OfferOperation {
        let id = self.operation_id();
        self.soft.releasing.insert(id, Releasing { key: key.clone(), given, last });
        OfferOperation { id, action }
    }
}

fn given(volume: &Resource) -> Given {
    volume.persistence().map_or(Given::Reserved, |held| Given::Volume(held.name.clone()))
}

fn sum_of(resource: &Resource) -> Resources {
    Resources::from_list([resource.clone()]).expect("one resource is its own sum")
}

/// The disk in a sum, in whole MiB.
fn disk_mib(resources: &Resources) -> u64 {
    Bytes::from_scalar(resources.total(&Name::Disk)).whole_mib().unwrap_or_default()
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume(name) => write!(f, "volume {name}"),
            Self::Reserved => f.write_str("what is reserved"),
        }
    }
}
