//! Giving back what a pod holds that is being deleted, and what is left of places where nothing came to be.
//!
//! It does not end tasks; it begins when none is left. Invariant: volumes are destroyed only when that was asked for.

use super::ends::Want;
use super::launch::is_volume_of;
use super::offers::Group;
use super::{Given, Pending, Refused, Releasing, Scheduler};
use crate::evaluate::{place_of, volumes_in};
use crate::record::{Phase, PodKey, Record};
use berth_model::error::ErrorCode;
use berth_model::framework::{Call, Filters};
use berth_model::operation::{Action, OfferOperation, OperationState};
use berth_model::resources::{Name, Resource, Resources};
use berth_model::units::Scalar;
use std::fmt;
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
                self.give_back(group, &key, plain, doomed, complete);
                return true;
            }
            if deleting && here && !seen {
                self.seen_empty(&key);
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
        let disk = document.volumes.iter().filter_map(|volume| volume.size.to_scalar().ok());
        let needed = disk.fold(Scalar::ZERO, |sum, size| sum.checked_add(size).unwrap_or(sum));
        plain.total(&Name::Cpus) >= document.cpu
            && (!with_volumes || plain.total(&Name::Disk) >= needed)
            || (with_volumes && needed.is_positive() && plain.total(&Name::Disk) >= needed)
    }

    fn seen_empty(&mut self, key: &PodKey) {
        let since = *self.soft.empty_since.entry(key.clone()).or_insert(self.now);
        if self.now.since(since) >= EMPTY_AFTER {
            self.released(key.clone());
        }
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
        let Releasing { key, given } = ended;
        match state {
            OperationState::Accepted => {},
            OperationState::Done => {
                if let Some(refused) = self.soft.release_refused.get_mut(&key) {
                    refused.remove(&given);
                }
            },
            // The call as a whole came too late; the next offer will do.
            OperationState::Failed(why) if why.code == ErrorCode::StaleOffer => {},
            OperationState::Failed(why) => {
                let until = self.now.after(REFUSED_PAUSE);
                let refused = Refused { why: format!("{}: {why}", why.code), until };
                self.soft.release_refused.entry(key).or_default().insert(given, refused);
            },
        }
    }

    fn give_back(
        &mut self,
        group: &Group,
        key: &PodKey,
        plain: Resources,
        doomed: Vec<Resource>,
        complete: bool,
    ) {
        let mut operations = Vec::new();
        // One by one, so that one that is refused keeps no other.
        for volume in doomed {
            let given = given(&volume);
            operations.push(self.giving(key, given, Action::Destroy(vec![volume])));
        }
        if !plain.is_empty() {
            operations.push(self.giving(key, Given::Reserved, Action::Unreserve(plain)));
        }
        self.soft.empty_since.remove(key);
        let filters = Filters { refuse: Duration::ZERO };
        let number = self.call(Call::Accept { offers: group.ids.clone(), operations, filters });
        self.soft.pending.insert(number, Pending::Release { key: key.clone(), complete });
    }

    fn giving(&mut self, key: &PodKey, given: Given, action: Action) -> OfferOperation {
        let id = self.operation_id();
        self.soft.releasing.insert(id, Releasing { key: key.clone(), given });
        OfferOperation { id, action }
    }
}

fn given(volume: &Resource) -> Given {
    volume.persistence().map_or(Given::Reserved, |held| Given::Volume(held.name.clone()))
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume(name) => write!(f, "volume {name}"),
            Self::Reserved => f.write_str("what is reserved"),
        }
    }
}
