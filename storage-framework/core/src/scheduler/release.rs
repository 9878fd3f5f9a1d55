//! Giving back what a pod holds that is being deleted, and what is left of places where nothing came to be.
//!
//! It does not end tasks; it begins when none is left. Invariant: volumes are destroyed only when that was asked for.

use super::ends::Want;
use super::launch::is_volume_of;
use super::offers::Group;
use super::{Pending, Scheduler};
use crate::evaluate::{place_of, volumes_in};
use crate::record::{Phase, PodKey, Record};
use berth_model::framework::{Call, Filters};
use berth_model::operation::{Action, OfferOperation};
use berth_model::resources::{Name, Resource, Resources};
use berth_model::units::Scalar;
use std::time::Duration;

/// After this long without a trace, nothing is taken to be left.
const EMPTY_AFTER: Duration = Duration::from_secs(30);

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
            let plain = mine.filtered(|resource| resource.persistence().is_none());
            let mut doomed = if deleting && with_volumes { mine.volumes() } else { Vec::new() };
            if deleting && with_volumes {
                doomed.extend(self.unmarked_volumes(group, &key));
            }
            if !plain.is_empty() || !doomed.is_empty() {
                let complete = deleting
                    && here
                    && doomed.is_empty()
                    && self.is_last_release(&key, &plain, with_volumes);
                self.give_back(group, &key, plain, doomed, complete);
                return true;
            }
            if deleting && here {
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
            self.soft.empty_since.remove(key);
            self.record(Record::Released { key: key.clone() });
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
        if !doomed.is_empty() {
            operations
                .push(OfferOperation { id: self.operation_id(), action: Action::Destroy(doomed) });
        }
        if !plain.is_empty() {
            operations
                .push(OfferOperation { id: self.operation_id(), action: Action::Unreserve(plain) });
        }
        self.soft.empty_since.remove(key);
        let filters = Filters { refuse: Duration::ZERO };
        let number = self.call(Call::Accept { offers: group.ids.clone(), operations, filters });
        self.soft.pending.insert(number, Pending::Release { key: key.clone(), complete });
    }
}
