//! What operators order about the disks of agents that run.

use crate::dice::Dice;
use berth_model::agent::AgentInfo;
use berth_model::declaration::DiskDeclaration;
use berth_model::disk::DiskRequest;
use berth_model::id::{AgentId, DiskId, VolumeId};
use berth_model::operator::Request;
use berth_model::resources::DiskSource;
use berth_model::wipe::Wipe;
use std::sync::Arc;

/// The disks that were added while the agent ran.
pub fn added(info: &AgentInfo) -> impl Iterator<Item = DiskId> {
    info.disks.iter().filter(|disk| disk.added).map(|disk| disk.id)
}

/// One more disk, or one less: what was added is cordoned first.
pub fn order(
    dice: &mut Dice,
    agent: AgentId,
    added: &[DiskId],
    cordoned: &[DiskId],
) -> Option<Request> {
    let number = dice.below(2);
    if dice.flip() {
        let disk = dice.pick(added).copied()?;
        return Some(if cordoned.contains(&disk) {
            Request::RemoveDisk { disk }
        } else {
            let reason = "to be removed".to_owned();
            Request::Disk(DiskRequest::Cordon { disk, reason })
        });
    }
    let disk = DiskDeclaration {
        source: DiskSource::Path(Arc::from(format!("/srv/x{number}"))),
        name: Arc::from(format!("x{number}")),
        driver: Arc::from(""),
        size: None,
    };
    Some(Request::AddDisk { agent, disk: Box::new(disk) })
}

/// A purge, wiped or not.
pub fn purge(dice: &mut Dice, volume: VolumeId) -> Request {
    let ways = [None, Some(Wipe::None), Some(Wipe::Zero), Some(Wipe::Shred)];
    let wipe = dice.pick(&ways).copied().flatten();
    Request::PurgeVolume { volume, wipe }
}
