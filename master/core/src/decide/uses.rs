//! Which volumes a task uses, and where they are mounted: each at a place of its own.

use super::order::Order;
use crate::state::{State, VolumeEntry};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::resources::{Mount, Resource, check_container_path};
use berth_model::task::TaskInfo;
use berth_model::volume::{VolumeState, VolumeUse};
use std::sync::Arc;

/// The volume that a task's resource means, and where it is mounted.
pub(super) fn find_volume<'a>(
    order: &Order<'a>,
    task: &TaskInfo,
    resource: &Resource,
) -> Result<(&'a VolumeEntry, Mount), Rejection> {
    let unknown = || {
        Rejection::new(
            ErrorCode::UnknownVolume,
            format!("task {} uses {resource}, which is no volume of this agent", task.id),
        )
        .remedy("name the volume as it was offered")
        .field("resources")
    };
    let state: &'a State = order.state;
    let entry = resource
        .persistence()
        .zip(resource.stack.owner())
        .and_then(|(p, role)| state.volume_on(order.agent.info.id, role, &p.name))
        .ok_or_else(unknown)?;
    let volume = &entry.volume;
    match volume.state {
        VolumeState::Ready | VolumeState::Creating if entry.is_shared() => {},
        VolumeState::Ready | VolumeState::Creating => super::destroy::check_unused(state, entry)?,
        VolumeState::Failed
        | VolumeState::Lost
        | VolumeState::Tombstoned
        | VolumeState::Trashed
        | VolumeState::Gone
        | VolumeState::Quarantined => {
            let (id, name) = (&task.id, &volume.spec.name);
            let text = format!("task {id} uses volume {name}, which is {}", volume.state);
            return Err(
                Rejection::new(ErrorCode::VolumeNotReady, text).remedy("wait for another offer")
            );
        },
    }
    let given = task_mount(task, resource);
    let mount = given.unwrap_or_else(|| Mount {
        container_path: Arc::clone(&volume.container_path),
        mode: berth_model::resources::MountMode::ReadWrite,
    });
    Ok((entry, mount))
}

fn task_mount(task: &TaskInfo, resource: &Resource) -> Option<Mount> {
    let same = |r: &Resource| {
        r.persistence().map(|p| &p.name) == resource.persistence().map(|p| &p.name)
            && r.stack == resource.stack
    };
    let volume = task.resources.volumes().into_iter().find(same)?;
    volume.disk.and_then(|disk| disk.mount)
}

pub(super) fn uses_of(
    task: &TaskInfo,
    found: &[(&VolumeEntry, Mount)],
) -> Result<Vec<VolumeUse>, Rejection> {
    let bad = |message: String| {
        Rejection::new(ErrorCode::InvalidPath, format!("task {}: {message}", task.id))
            .remedy("give each volume a container path of its own, not inside another's")
            .field("resources")
    };
    let mut uses: Vec<VolumeUse> = Vec::new();
    for (entry, mount) in found {
        check_container_path(&mount.container_path).map_err(|e| bad(e.to_string()))?;
        if let Some(other) = uses.iter().find(|u| overlap(&u.mount, mount)) {
            return Err(bad(format!(
                "volume {} would be mounted at {}, over the volume at {}",
                entry.volume.spec.name, mount.container_path, other.mount.container_path
            )));
        }
        let spec = &entry.volume.spec;
        uses.push(VolumeUse { volume: spec.id, generation: spec.generation, mount: mount.clone() });
    }
    Ok(uses)
}

/// True when one path is the other or lies inside it.
fn overlap(a: &Mount, b: &Mount) -> bool {
    let inside = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    inside(&a.container_path, &b.container_path) || inside(&b.container_path, &a.container_path)
}

/// What its agent cannot use now would wait, and shut everything else out.
pub(crate) fn check_available(entry: &VolumeEntry) -> Result<(), Rejection> {
    match entry.observed.as_ref().and_then(|seen| seen.unavailable.as_ref()) {
        Some(why) => Err(Rejection {
            code: ErrorCode::VolumeUnavailable,
            message: format!(
                "volume {} cannot be used now: {}",
                entry.volume.spec.name, why.message
            ),
            ..why.clone()
        }),
        None => Ok(()),
    }
}
