//! An agent's machine: its disks, its ledger, its containers, its clock; what outlives the agent's process.

use super::agent::AgentProcess;
use super::containers::Container;
use crate::dice::Dice;
use crate::ledger::{Ledger, OldCopy};
use crate::options::Breach;
use crate::volumes::{Slot, Volumes, is_the_one};
use berth_agent_core::effect::{DiskOutcome, Place};
use berth_model::agent::{AgentInfo, Disk, DiskHealth, Media};
use berth_model::declaration::DiskOrder;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, ContainerId, DiskId, VolumeId};
use berth_model::link::Envelope;
use berth_model::orphan::{Orphan, OrphanPlace};
use berth_model::record::LedgerDisk;
use berth_model::resources::{DiskSource, Resource, parse_resources};
use berth_model::units::Bytes;
use berth_model::volume::{Enforcement, VolumeSpec};
use berth_model::wipe::{Wipe, WipeAbility};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many messages of earlier epochs are kept for mischief.
const STALE_KEPT: usize = 40;

/// What outlives an agent's process.
#[derive(Debug)]
pub struct AgentMachine {
    pub id: AgentId,
    pub info: AgentInfo,
    pub ledger: Ledger,
    pub volumes: Volumes,
    /// Disks that were made while the agent ran.
    pub made: BTreeMap<DiskSource, Disk>,
    /// Disks that are none any more.
    pub unmade: BTreeMap<DiskId, DiskSource>,
    pub containers: BTreeMap<ContainerId, Container>,
    pub process: Option<AgentProcess>,
    /// Counts processes.
    pub life: u64,
    /// Counts power losses.
    pub boot: u64,
    pub skew: u64,
    /// The newest ledger, while an older copy of it is in use.
    pub newest: Option<OldCopy>,
    /// Since when.
    pub older_since: u64,
    /// How far its ledger had got when it last said something that the registry took in.
    pub told_seq: u64,
    /// An older copy of its ledger.
    pub older: Option<OldCopy>,
    /// An older copy of its ledger was taken in: it had grown, before the master saw it, beyond what the master knew,
    /// or the registry was an older copy as well.
    pub strayed: bool,
    /// Volumes that somebody removed or changed by hand.
    pub vandalised: BTreeSet<VolumeId>,
    /// What somebody took away by hand and may put back.
    pub aside: BTreeMap<VolumeId, Slot>,
    /// What the markers of those say besides.
    pub specs: BTreeMap<VolumeId, VolumeSpec>,
    /// Volumes whose next effects find no room.
    pub full_until: u64,
    pub errors_until: u64,
    heard: Vec<Envelope>,
    pub dice: Dice,
}

impl AgentMachine {
    #[must_use]
    pub fn new(seed: u64, at: usize, breach: Option<Breach>) -> Self {
        let mut dice = Dice::new(seed, &format!("agent {at}"));
        let id = AgentId::from_u128(dice.id());
        let mut disks = vec![disk(&mut dice, "root", DiskSource::Root, dice_size(at, 6_000))];
        if dice.flip() {
            let source = DiskSource::Path(Arc::from("/srv/d1"));
            disks.push(disk(&mut dice, "d1", source, dice_size(at, 3_000)));
        }
        let mut text = "cpus:4;mem:4096;ports:[31000-31050]".to_owned();
        for one in &disks {
            let mib = one.size.whole_mib().expect("made of whole MiB");
            match &one.source {
                DiskSource::Root => text += &format!(";disk:{mib}"),
                DiskSource::Path(_) | DiskSource::Mount(_) | DiskSource::Block(_) => {},
            }
        }
        let mut declared = parse_resources(&text).expect("the text is right");
        for one in disks.iter().filter(|one| one.source != DiskSource::Root) {
            let size = one.size.to_scalar().expect("made of whole MiB");
            let resource = Resource::disk(one.source.clone(), size);
            declared.add(&resource).expect("fits");
        }
        let capacity = disks.iter().map(|one| (one.source.clone(), one.size.get())).collect();
        let info = AgentInfo {
            id,
            hostname: Arc::from(format!("host-{at}")),
            attributes: Arc::default(),
            declared,
            disks,
            limitations: Vec::new(),
            version: Arc::from("sim"),
        };
        Self {
            id,
            info,
            ledger: Ledger::new(dice.draw(), id.as_u128(), breach),
            volumes: Volumes { capacity, ..Volumes::default() },
            made: BTreeMap::new(),
            unmade: BTreeMap::new(),
            containers: BTreeMap::new(),
            process: None,
            life: 0,
            boot: 0,
            skew: 0,
            newest: None,
            older_since: 0,
            told_seq: 0,
            older: None,
            strayed: false,
            vandalised: BTreeSet::new(),
            aside: BTreeMap::new(),
            specs: BTreeMap::new(),
            full_until: 0,
            errors_until: 0,
            heard: Vec::new(),
            dice,
        }
    }

    /// What the agent declares when it starts: as configured, and what its ledger says was added.
    #[must_use]
    pub fn declaration(&self) -> AgentInfo {
        let mut info = AgentInfo { disks: self.disks(), ..self.info.clone() };
        for disk in info.disks.iter().filter(|disk| self.made.contains_key(&disk.source)) {
            let size = disk.size.to_scalar().expect("made of whole MiB");
            info.declared.add(&Resource::disk(disk.source.clone(), size)).expect("fits");
        }
        info
    }

    /// Makes or unmakes a disk; synced at once. Nothing may be lost by it.
    pub fn order(&mut self, order: &DiskOrder) -> Result<DiskOutcome, String> {
        let source = order.source();
        match order {
            DiskOrder::Add(wanted) => {
                if self.dice.chance(100) {
                    let text = "there is no such directory";
                    let error = Rejection::new(ErrorCode::DiskFaulty, text);
                    return Ok(DiskOutcome::Failed(error));
                }
                let made = self.made.entry(source.clone());
                let made = made
                    .or_insert_with(|| disk(&mut self.dice, &wanted.name, source.clone(), 2_000));
                self.volumes.capacity.insert(source.clone(), made.size.get());
                Ok(DiskOutcome::Added {
                    disk: Box::new(made.clone()),
                    remembered: LedgerDisk {
                        id: made.id,
                        name: Arc::clone(&made.name),
                        source: source.clone(),
                        filesystem: Arc::from(""),
                    },
                })
            },
            DiskOrder::Remove { disk, .. } => {
                let mut all = self.volumes.seen.iter().chain(&self.volumes.durable);
                if let Some((id, _slot)) = all.find(|(_, slot)| slot.source == *source) {
                    return Err(format!("disk {source} is removed with volume {id} on it"));
                }
                self.made.remove(source);
                self.unmade.insert(*disk, source.clone());
                Ok(DiskOutcome::Removed)
            },
        }
    }

    /// The disks, with the volumes on them that the ledger as it was decided does not know.
    #[must_use]
    pub fn disks(&self) -> Vec<Disk> {
        let mut disks = self.info.disks.clone();
        let fold = self.process.as_ref().map_or(&self.ledger.durable, |process| &process.decided);
        let known = &fold.volumes;
        let added = fold.declared.iter().filter_map(|source| self.made.get(source));
        disks.extend(added.cloned());
        for (id, slot) in &self.volumes.seen {
            let spec = self.specs.get(id).filter(|spec| is_the_one(slot, self.id, spec.generation));
            let disk = disks.iter_mut().find(|disk| disk.source == slot.source);
            if let (Some(spec), Some(disk), false) = (spec, disk, known.contains_key(id)) {
                disk.orphans.push(Orphan {
                    path: Arc::from(format!("/{id}")),
                    place: match slot.place {
                        Place::Live => OrphanPlace::Live,
                        Place::Trash => OrphanPlace::Trash,
                    },
                    spec: Some(VolumeSpec { size: Bytes::new(slot.bytes), ..spec.clone() }),
                    evidence: Arc::from(""),
                    used: None,
                    modified: None,
                });
            }
        }
        disks
    }

    /// Keeps what the master said, so that it can come back at the wrong time.
    pub fn remember_envelope(&mut self, envelope: &Envelope) {
        if self.heard.len() == STALE_KEPT {
            self.heard.remove(0);
        }
        self.heard.push(envelope.clone());
    }

    /// A message of an epoch below the one that this agent has stored.
    pub fn stale_envelope(&mut self) -> Option<Envelope> {
        let epoch = self.ledger.durable.epoch;
        let stale: Vec<&Envelope> = self.heard.iter().filter(|e| e.epoch < epoch).collect();
        let at = (!stale.is_empty()).then(|| self.dice.below(stale.len()))?;
        stale.get(at).map(|envelope| (*envelope).clone())
    }
}

fn dice_size(at: usize, mib: u64) -> u64 {
    mib + 500 * (at as u64 % 3)
}

fn disk(dice: &mut Dice, name: &str, source: DiskSource, mib: u64) -> Disk {
    Disk {
        id: DiskId::from_u128(dice.id()),
        name: Arc::from(name),
        source,
        root: Arc::from(name),
        driver: Arc::from("modelled"),
        driver_reason: Arc::from("simulation"),
        enforcement: Enforcement::None,
        size: Bytes::from_mib(mib),
        free: Bytes::from_mib(mib),
        health: DiskHealth::Ok,
        media: Media::Unknown,
        orphans: Vec::new(),
        no_snapshots: BTreeMap::new(),
        wipes: [Wipe::Zero, Wipe::Shred]
            .into_iter()
            .map(|method| WipeAbility { driver: Arc::from("modelled"), method, refused: None })
            .collect(),
        added: false,
        no_encryption: None,
    }
}
