//! An operator who asks for random things, repeats a request under the same id until it is answered, and errs.
//!
//! For what exists it looks at what can be seen (`sight`). Invariant: an id names one request, unless this is
//! a deliberate misuse.

use crate::dice::Dice;
use crate::disks;
use crate::roles;
use crate::sight::Sight;
use crate::tally::{Fault, Tally};
use berth_model::access::{Access, Mode, Owner};
use berth_model::disk::DiskRequest;
use berth_model::id::{AgentId, OperationId, ReservationId, SnapshotId, VolumeId, VolumeName};
use berth_model::operation::OperationRecord;
use berth_model::operator::{DiskChoice, Property, Request, VolumeChoice};
use berth_model::orphan::OrphanChoice;
use berth_model::quota::QuotaRequest;
use berth_model::reservation::Reservation;
use berth_model::resources::{DiskSource, Resource, Resources};
use berth_model::role::Role;
use berth_model::schedule::{Keep, SchedulePlan};
use berth_model::transfer::Import;
use berth_model::units::{Bytes, Scalar};
use berth_model::volume::{Volume, VolumeState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// One operator.
#[derive(Debug)]
pub struct Operator {
    pub conn: Option<u64>,
    pub calm: bool,
    replies: u64,
    /// By the number of the call.
    pub unanswered: BTreeMap<u64, (OperationId, Request)>,
    again: Vec<(OperationId, Request)>,
    latest: Option<(OperationId, Request)>,
    /// What it asked last for a group of snapshots of.
    grouped: Vec<VolumeId>,
    dice: Dice,
}

impl Operator {
    #[must_use]
    pub fn new(seed: u64, at: usize) -> Self {
        Self {
            conn: None,
            calm: false,
            replies: 0,
            unanswered: BTreeMap::new(),
            again: Vec::new(),
            latest: None,
            grouped: Vec::new(),
            dice: Dice::new(seed, &format!("operator {at}")),
        }
    }
    /// How long until it wants something again.
    pub fn pause(&mut self) -> u64 {
        self.dice.between(300, 5_000)
    }
    /// The connection is over: what was not answered is asked again.
    pub fn lost_master(&mut self) {
        self.conn = None;
        self.again.extend(std::mem::take(&mut self.unanswered).into_values());
    }
    /// The number of a call.
    pub fn number(&mut self, id: OperationId, request: &Request) -> u64 {
        self.replies += 1;
        self.unanswered.insert(self.replies, (id, request.clone()));
        self.replies
    }
    /// An operation ended.
    pub fn ended(&mut self, record: &OperationRecord) {
        self.again.retain(|(id, _)| *id != record.id);
    }

    /// What it asks for now, under which id.
    pub fn act(&mut self, sight: &Sight, tally: &mut Tally) -> Option<(OperationId, Request)> {
        if let Some(again) = self.again.pop() {
            tally.fault(Fault::Retry);
            return Some(again);
        }
        if self.calm {
            // What was cordoned is given back, so that everything can be placed in the end.
            if let Some(role) = sight.quotas.first().cloned() {
                // Nothing is to be refused for ever.
                let request = Request::Quota(QuotaRequest::Unset { role });
                return Some((OperationId::from_u128(self.dice.id()), request));
            }
            let disk = *sight.cordoned.first()?;
            let request = DiskRequest::Uncordon { disk, reason: String::new() };
            return Some((OperationId::from_u128(self.dice.id()), Request::Disk(request)));
        }
        if let Some((id, request)) = self.latest.clone().filter(|_| self.dice.chance(80)) {
            if self.dice.flip() {
                tally.fault(Fault::Retry);
                return Some((id, request));
            }
            tally.fault(Fault::IdReused);
            let other = self.wish(sight)?;
            return (other != request).then_some((id, other));
        }
        let grouped = std::mem::take(&mut self.grouped);
        let request =
            if let Some(id) = self.dice.pick(&grouped).copied().filter(|_| self.dice.flip()) {
                // One of the volumes goes before all of the group are taken, perhaps.
                Request::DestroyVolume { volume: VolumeChoice::Id(id) }
            } else if self.dice.chance(70) {
                tally.fault(Fault::BadInput);
                self.mistake(sight)?
            } else {
                self.wish(sight)?
            };
        let id = OperationId::from_u128(self.dice.id());
        self.latest = Some((id, request.clone()));
        Some((id, request))
    }

    fn role(&mut self) -> Role {
        let roles = ["stores", "stores/db", "web", "ops"];
        Role::new(roles[self.dice.below(roles.len())]).expect("a good role")
    }
    fn name(&mut self) -> VolumeName {
        VolumeName::new(&format!("data-{}", self.dice.below(8))).expect("a good name")
    }
    fn disk(&mut self, agent: AgentId, mib: i64) -> Option<(AgentId, Resources)> {
        let size = Scalar::from_milli(mib * 1_000);
        let source = if self.dice.chance(300) {
            DiskSource::Path(Arc::from("/srv/d1"))
        } else {
            DiskSource::Root
        };
        let role = self.role();
        let reserved = Resource::disk(source, size).push(Reservation::dynamic(role)).ok()?;
        Some((agent, Resources::from_list([reserved]).ok()?))
    }

    fn wish(&mut self, sight: &Sight) -> Option<Request> {
        let agent = *self.dice.pick(&sight.agents)?;
        let volume = self.dice.pick(&sight.volumes).cloned();
        match self.dice.below(100) {
            0..12 => {
                let mib = i64::try_from(self.dice.between(1, 900)).expect("small");
                let (agent, resources) = self.disk(agent, mib)?;
                Some(Request::Reserve { agent, resources })
            },
            12 => Some(roles::wish(&mut self.dice, sight)),
            13..20 => {
                let row = self.dice.pick(&sight.rows)?.clone();
                if self.dice.flip() {
                    return Some(Request::Release { reservation: row.id });
                }
                let mut part = row.resource;
                let whole = part.amount().map_or(0, Scalar::milli) / 2_000;
                if whole > 0 {
                    let half = Scalar::from_milli(whole * 1_000);
                    part.value = berth_model::resources::Value::Scalar(half);
                }
                let resources = Resources::from_list([part]).ok()?;
                Some(Request::Unreserve { agent: row.agent, resources })
            },
            20..42 => Some(self.create(agent)),
            42..48 => {
                let size = Bytes::from_mib(self.dice.between(5, 2_000));
                Some(Request::ResizeVolume { volume: VolumeChoice::Id(volume?.spec.id), size })
            },
            48..50 => Some(self.schedule(volume?.spec.id)),
            50..55 => Some(self.group(sight, &volume?)),
            55..57 => Some(Request::CreateSnapshot {
                volume: VolumeChoice::Id(volume?.spec.id),
                name: None,
                principal: None,
                freeze: None,
            }),
            57..61 => {
                let snapshot = self.dice.pick(&sight.snapshots)?.spec.id;
                Some(match self.dice.below(4) {
                    0 => Request::HoldSnapshot { snapshot, held: true },
                    1 => Request::HoldSnapshot { snapshot, held: false },
                    _ => Request::DeleteSnapshot { snapshot },
                })
            },
            61..68 => {
                let snapshot = &self.dice.pick(&sight.snapshots)?.spec;
                let volume = VolumeChoice::Id(snapshot.of.id);
                Some(Request::RollBackVolume { volume, snapshot: snapshot.id })
            },
            68..71 => {
                let snapshot = self.dice.pick(&sight.snapshots)?.spec.id;
                Some(self.copy(snapshot))
            },
            71..84 => match self.dice.pick(&sight.orphans).cloned() {
                Some(orphan) if self.dice.flip() => Some(self.reclaim(orphan)),
                Some(_) | None => self.destroy(volume),
            },
            84..90 => {
                let trashed = sight.volumes.iter().filter(|v| v.state == VolumeState::Trashed);
                let ids: Vec<VolumeId> = trashed.map(|v| v.spec.id).collect();
                self.dice.pick(&ids).map(|id| Request::RestoreVolume { volume: *id })
            },
            90..94 => Some(disks::purge(&mut self.dice, volume?.spec.id)),
            94..97 => self.mark(sight).map(Request::Disk),
            97 => {
                let volume = VolumeChoice::Id(volume?.spec.id);
                let property = match self.dice.below(3) {
                    0 => Property::Access(self.access()),
                    _ => Property::Protected(self.dice.flip()),
                };
                Some(Request::Property { volume, property })
            },
            98 => disks::order(&mut self.dice, agent, &sight.added, &sight.cordoned),
            _ => {
                let framework = self.dice.pick(&sight.frameworks)?.clone();
                self.dice.chance(200).then_some(Request::Teardown { framework })
            },
        }
    }

    /// Snapshots of some volumes of one agent at one moment, most often.
    fn group(&mut self, sight: &Sight, first: &Volume) -> Request {
        let mut volumes = vec![first.spec.id];
        let apart = self.dice.chance(50);
        for other in &sight.volumes {
            let fits = other.state == VolumeState::Ready && (other.agent == first.agent || apart);
            if fits && other.spec.id != first.spec.id && volumes.len() < 4 && self.dice.flip() {
                volumes.push(other.spec.id);
            }
        }
        self.grouped.clone_from(&volumes);
        let volumes = volumes.into_iter().map(VolumeChoice::Id).collect();
        Request::CreateGroup { volumes, name: None, principal: None, freeze: None }
    }

    /// Snapshots by the clock, as fast as they may be, or none any more.
    fn schedule(&mut self, volume: VolumeId) -> Request {
        let volume = VolumeChoice::Id(volume);
        if self.dice.chance(150) {
            return Request::DeleteSchedule { volume };
        }
        let count = |n: u64| u32::try_from(n).expect("small");
        let keep = Keep { last: count(self.dice.between(1, 3)), ..Keep::default() };
        let every = Duration::from_secs(self.dice.between(10, 40));
        let plan = SchedulePlan { every, keep, freeze: None };
        Request::SetSchedule { volume, plan, principal: None }
    }

    /// Says something of a disk; cordons end about as often as they begin.
    fn mark(&mut self, sight: &Sight) -> Option<DiskRequest> {
        let reason = "a drill".to_owned();
        if let Some(disk) = self.dice.pick(&sight.cordoned).copied().filter(|_| self.dice.flip()) {
            return Some(DiskRequest::Uncordon { disk, reason });
        }
        let disk = *self.dice.pick(&sight.disks)?;
        if self.dice.chance(700) {
            return Some(DiskRequest::Cordon { disk, reason });
        }
        let key = format!("k{}", self.dice.below(3));
        let (mut set, mut remove) = (BTreeMap::new(), BTreeSet::new());
        match self.dice.flip() {
            true => drop(set.insert(key, "v".to_owned())),
            false => drop(remove.insert(key)),
        }
        Some(DiskRequest::Label { disk, set, remove })
    }

    fn create(&mut self, agent: AgentId) -> Request {
        let length = usize::try_from(self.dice.between(1, 40)).unwrap_or(1);
        let path = format!("/{:d<length$}", "d");
        let import = match self.dice.below(8) {
            0 | 1 => Some(Import::Directory { path: path.into() }),
            2 => Some(Import::Stream),
            _empty => None,
        };
        let named = matches!(import, Some(Import::Directory { .. })) || self.dice.flip();
        Request::CreateVolume {
            name: self.name(),
            role: self.role(),
            principal: None,
            size: Bytes::from_mib(self.dice.between(10, 1_500)),
            agent: named.then_some(agent),
            disk: DiskChoice::Any,
            container_path: Arc::from("data"),
            access: self.access(),
            encrypted: self.dice.below(8) == 0,
            import,
            shared: self.dice.below(3) == 0,
        }
    }

    fn copy(&mut self, snapshot: SnapshotId) -> Request {
        Request::CloneVolume {
            snapshot,
            name: self.name(),
            role: self.dice.flip().then(|| self.role()),
            principal: None,
            container_path: Arc::from("data"),
        }
    }

    /// Mostly nothing.
    fn access(&mut self) -> Access {
        let mode = match self.dice.below(6) {
            0 => Mode::new(0o750).ok(),
            1 => Mode::new(0o2770).ok(),
            _ => None,
        };
        let user = u32::try_from(self.dice.below(3)).unwrap_or_default();
        let owner = Owner::new(user, user).ok().filter(|_| self.dice.below(6) == 0);
        Access { owner, mode }
    }

    fn destroy(&mut self, volume: Option<Volume>) -> Option<Request> {
        if let Some(lost) = volume.as_ref().filter(|v| v.state == VolumeState::Lost) {
            let orphan = OrphanChoice::Record(VolumeChoice::Id(lost.spec.id));
            return Some(self.reclaim(orphan));
        }
        let volume = if self.dice.flip() {
            VolumeChoice::Id(volume?.spec.id)
        } else {
            let role = self.dice.flip().then(|| self.role());
            VolumeChoice::Named { role, name: self.name() }
        };
        Some(Request::DestroyVolume { volume })
    }

    /// An orphan is had back or purged.
    fn reclaim(&mut self, orphan: OrphanChoice) -> Request {
        if self.dice.flip() {
            Request::AdoptOrphan { orphan }
        } else {
            Request::PurgeOrphan { orphan }
        }
    }

    fn mistake(&mut self, sight: &Sight) -> Option<Request> {
        let agent = *self.dice.pick(&sight.agents)?;
        let nowhere = AgentId::from_u128(self.dice.id());
        Some(match self.dice.below(5) {
            0 => {
                let (agent, resources) = self.disk(agent, 900_000)?;
                Request::Reserve { agent, resources }
            },
            1 => {
                let (agent, resources) = self.disk(nowhere, 10)?;
                Request::Reserve { agent, resources }
            },
            2 => Request::DestroyVolume {
                volume: VolumeChoice::Id(VolumeId::from_u128(self.dice.id())),
            },
            3 => Request::Release { reservation: ReservationId::from_u128(self.dice.id()) },
            _ => Request::CreateVolume {
                name: self.name(),
                role: Role::star(),
                principal: None,
                size: Bytes::from_mib(10),
                agent: Some(agent),
                disk: DiskChoice::Any,
                container_path: Arc::from("../escape"),
                access: Access::default(),
                encrypted: false,
                import: None,
                shared: false,
            },
        })
    }
}
