//! What an ACCEPT would do, worked out before anything is done.

use super::Volume;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, VolumeName};
use berth_model::operation::{Action, OfferOperation, OperationKind};
use berth_model::resources::{Resource, Resources, Shortfall};
use berth_model::task::TaskInfo;
use std::collections::BTreeMap;

/// What an ACCEPT does, as far as it has been looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) left: Resources,
    pub(super) creates: Vec<(VolumeName, Resource, OperationId)>,
    pub(super) launches: Vec<TaskInfo>,
    pub(super) destroys: Vec<(VolumeName, OperationId)>,
    /// Disk of destroyed volumes.
    pub(super) freed: Resources,
    pub(super) unreserves: Vec<OperationId>,
    /// Operations that fail by themselves, without the others.
    pub(super) refused: Vec<(OperationId, OperationKind, Rejection)>,
}

impl Plan {
    pub(super) fn take(
        &mut self,
        operation: &OfferOperation,
        volumes: &BTreeMap<VolumeName, Volume>,
        refusal: &mut Option<Rejection>,
    ) -> Result<(), Rejection> {
        match &operation.action {
            Action::Reserve(wanted) => {
                for resource in wanted.iter() {
                    self.swap(&resource.pop().unwrap(), Some(&resource))?;
                }
            },
            Action::Create(wanted) => {
                for volume in wanted {
                    let name = volume.persistence().unwrap().name.clone();
                    if volumes.contains_key(&name) {
                        return Err(Rejection::new(
                            ErrorCode::VolumeExists,
                            format!("{name} exists"),
                        ));
                    }
                    self.swap(&volume.strip_volume(), Some(volume))?;
                    self.creates.push((name, volume.clone(), operation.id));
                }
            },
            Action::Launch(tasks) => {
                for task in tasks {
                    self.left.checked_sub(&task.resources).map_err(short)?;
                    self.launches.push(task.clone());
                }
            },
            Action::Destroy(wanted) => {
                let [volume] = wanted.as_slice() else { panic!("one reason for several volumes") };
                if let Some(why) = refusal.take() {
                    self.refused.push((operation.id, OperationKind::Destroy, why));
                    return Ok(());
                }
                let name = volume.persistence().unwrap().name.clone();
                let Some(known) = volumes.get(&name) else {
                    let why = Rejection::new(ErrorCode::UnknownVolume, format!("no {name}"));
                    self.refused.push((operation.id, OperationKind::Destroy, why));
                    return Ok(());
                };
                if known.hidden {
                    let why = Rejection::new(ErrorCode::VolumeNotReady, format!("{name} is LOST"));
                    self.refused.push((operation.id, OperationKind::Destroy, why));
                    return Ok(());
                }
                self.left
                    .checked_sub(&Resources::from_list([volume.clone()]).unwrap())
                    .map_err(short)?;
                // Offered again only afterwards.
                self.freed.add(&volume.strip_volume()).unwrap();
                self.destroys.push((name, operation.id));
            },
            Action::Unreserve(wanted) => {
                for resource in wanted.iter() {
                    self.swap(&resource, resource.pop().as_ref())?;
                }
                self.unreserves.push(operation.id);
            },
            Action::Grow { .. } | Action::Shrink { .. } => {
                panic!("the service scheduler resizes nothing: {operation:?}");
            },
        }
        Ok(())
    }

    fn swap(&mut self, from: &Resource, to: Option<&Resource>) -> Result<(), Rejection> {
        self.left.checked_sub(&Resources::from_list([from.clone()]).unwrap()).map_err(short)?;
        self.left.add(to.unwrap()).unwrap();
        Ok(())
    }
}

fn short(shortfall: Shortfall) -> Rejection {
    Rejection::new(ErrorCode::InsufficientResources, shortfall.to_string())
}
