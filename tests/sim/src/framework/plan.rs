//! What a framework does with an offer. Mostly sense, sometimes not: more than there is, disk that is nobody's, a
//! volume that exists.

use super::Framework;
use crate::tally::{Fault, Tally};
use berth_model::id::{OperationId, TaskId, VolumeName};
use berth_model::offer::Offer;
use berth_model::operation::{Action, OfferOperation};
use berth_model::reservation::Reservation;
use berth_model::resources::{Mount, MountMode, Name, Persistence, Resource, Resources, Value};
use berth_model::task::{Command, Program, TaskInfo};
use berth_model::units::{Bytes, Scalar};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const MIB: i64 = 1_000;

impl Framework {
    /// Operations for an offer.
    pub(super) fn plan(&mut self, offer: &Offer, tally: &mut Tally) -> Vec<OfferOperation> {
        let volumes = offer.resources.volumes();
        let plain: Vec<Resource> =
            offer.resources.iter().filter(|r| r.persistence().is_none()).collect();
        let is_disk = |r: &&Resource| r.name == Name::Disk;
        let free = plain.iter().filter(is_disk).find(|r| r.stack.is_unreserved()).cloned();
        let own: Vec<Resource> =
            plain.iter().filter(|r| !r.stack.is_unreserved()).cloned().collect();
        let volume = self.dice.pick(&volumes).cloned();
        match (self.dice.below(100), volume, free) {
            (0..40, Some(volume), _) => self.use_volume(offer, volume),
            (40..50, Some(volume), _) => vec![self.operation(Action::Destroy(vec![volume]))],
            (50..60, Some(volume), _) => self.resize(offer, volume, &own),
            (_, _, _) if !own.is_empty() && self.dice.chance(350) => self.use_reserved(offer, &own),
            (_, _, Some(disk)) if self.dice.chance(600) => self.reserve(offer, &disk, tally),
            _ => self.launch(offer, Vec::new()),
        }
    }

    fn operation(&mut self, action: Action) -> OfferOperation {
        OfferOperation { id: OperationId::from_u128(self.dice.id()), action }
    }

    fn use_volume(&mut self, offer: &Offer, volume: Resource) -> Vec<OfferOperation> {
        if self.dice.chance(if volume.shared { 500 } else { 50 }) {
            // Twice the same volume: the second task must be refused unless it is shared.
            let mut both = self.launch(offer, vec![volume.clone()]);
            both.extend(self.launch(offer, vec![volume]));
            return both;
        }
        self.launch(offer, vec![volume])
    }

    /// By disk that may be another's or on another disk: that is refused.
    fn resize(&mut self, offer: &Offer, volume: Resource, own: &[Resource]) -> Vec<OfferOperation> {
        let disks: Vec<&Resource> = own.iter().filter(|r| r.name == Name::Disk).collect();
        let addition = self.dice.pick(&disks).map(|disk| self.part_of(disk, 800));
        let action = match addition {
            Some(addition) if self.dice.flip() => {
                Action::Grow { volume: Box::new(volume.clone()), addition: Box::new(addition) }
            },
            Some(_) | None => {
                let subtract = Bytes::from_mib(self.dice.between(1, 600));
                Action::Shrink { volume: Box::new(volume.clone()), subtract }
            },
        };
        let mut operations = vec![self.operation(action)];
        if self.dice.chance(300) {
            operations.extend(self.launch(offer, vec![volume]));
        }
        operations
    }

    fn use_reserved(&mut self, offer: &Offer, own: &[Resource]) -> Vec<OfferOperation> {
        let Some(resource) = self.dice.pick(own).cloned() else { return Vec::new() };
        let part = self.part_of(&resource, 1_500);
        if resource.name != Name::Disk || self.dice.chance(250) {
            let Ok(resources) = Resources::from_list([part]) else { return Vec::new() };
            return vec![self.operation(Action::Unreserve(resources))];
        }
        let volume = self.volume_on(part);
        let create = self.operation(Action::Create(vec![volume.clone()]));
        let mut operations = vec![create];
        if self.dice.flip() {
            operations.extend(self.launch(offer, vec![volume]));
        }
        operations
    }

    fn reserve(
        &mut self,
        offer: &Offer,
        disk: &Resource,
        tally: &mut Tally,
    ) -> Vec<OfferOperation> {
        let mut part = self.part_of(disk, 1_200);
        match self.dice.below(25) {
            0 => {
                tally.fault(Fault::BadInput);
                part.value = Value::Scalar(Scalar::from_milli(90_000 * MIB));
            },
            1 => {
                tally.fault(Fault::BadInput);
                let volume = self.volume_on(part);
                return vec![self.operation(Action::Create(vec![volume]))];
            },
            _ => {},
        }
        let level = Reservation::dynamic(self.role.clone()).with_principal(self.principal.clone());
        let Ok(reserved) = part.push(level) else { return Vec::new() };
        let Ok(resources) = Resources::from_list([reserved.clone()]) else { return Vec::new() };
        let mut operations = vec![self.operation(Action::Reserve(resources))];
        if self.dice.chance(800) {
            let volume = self.volume_on(reserved);
            operations.push(self.operation(Action::Create(vec![volume.clone()])));
            if self.dice.chance(600) {
                operations.extend(self.launch(offer, vec![volume]));
            }
        }
        operations
    }

    fn volume_on(&mut self, plain: Resource) -> Resource {
        self.named += 1;
        let number = if self.dice.chance(50) { 1 } else { self.named };
        let name = VolumeName::new(&format!("{}-v{number}", self.name)).expect("a good name");
        let persistence = Persistence { name, principal: self.principal.clone() };
        let mount = Mount { container_path: Arc::from("data"), mode: MountMode::ReadWrite };
        // Of somebody who does not understand it, it is refused.
        let shared = self.dice.chance(if self.shares { 350 } else { 30 });
        Resource { shared, ..plain.with_volume(persistence, mount) }
    }

    /// A part of a scalar: whole units of disk and memory.
    fn part_of(&mut self, resource: &Resource, most: i64) -> Resource {
        let mut part = resource.clone();
        let whole = resource.amount().map_or(0, Scalar::milli) / MIB;
        if whole > 1 {
            let most = u64::try_from(whole.min(most)).expect("positive");
            let taken = i64::try_from(self.dice.between(1, most)).expect("small");
            part.value = Value::Scalar(Scalar::from_milli(taken * MIB));
        }
        part
    }

    /// A task that needs all processors and memory that are nobody's.
    pub(super) fn launch_all(&mut self, offer: &Offer) -> Vec<OfferOperation> {
        let wanted =
            |r: &Resource| matches!(r.name, Name::Cpus | Name::Mem) && r.stack.is_unreserved();
        self.start(offer, offer.resources.iter().filter(wanted).collect())
    }

    pub(super) fn launch(&mut self, offer: &Offer, mut used: Vec<Resource>) -> Vec<OfferOperation> {
        for (name, low, high) in [(Name::Cpus, 50, 1_600), (Name::Mem, 16_000, 1_200_000)] {
            let mut there = offer.resources.iter().filter(|r| r.name == name);
            let Some(resource) = there.next() else { continue };
            let most = resource.amount().map_or(0, Scalar::milli);
            let wanted = i64::try_from(self.dice.between(low, high)).expect("small").min(most);
            let mut part = resource;
            part.value = Value::Scalar(Scalar::from_milli(wanted));
            used.push(part);
        }
        self.start(offer, used)
    }

    fn start(&mut self, offer: &Offer, used: Vec<Resource>) -> Vec<OfferOperation> {
        let Ok(resources) = Resources::from_list(used) else { return Vec::new() };
        let id = TaskId::new(&format!("t-{:016x}", self.dice.draw())).expect("a good name");
        let task = TaskInfo {
            name: id.to_string(),
            id,
            agent: offer.agent,
            resources,
            command: Command {
                program: Program::Shell("serve".to_owned()),
                env: BTreeMap::new(),
                user: None,
            },
            health: None,
            readiness: None,
            kill_grace: Duration::from_secs(self.dice.between(0, 5)),
            labels: BTreeMap::new(),
        };
        vec![self.operation(Action::Launch(vec![task]))]
    }
}
