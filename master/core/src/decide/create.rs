//! CREATE: reserved disk becomes a volume. Accepted here; done when the agent has it durably.

use super::disk::check_disk;
use super::order::{Conversion, Order};
use super::reserve::unmarked;
use super::sharing;
use crate::event::Event;
use crate::state::State;
use berth_model::access::Access;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{Principal, VolumeId, VolumeName, derive};
use berth_model::link::ToAgent;
use berth_model::operation::OperationState;
use berth_model::record::RegistryKey;
use berth_model::resources::{DiskSource, MountMode, Resource, Resources, check_container_path};
use berth_model::role::Role;
use berth_model::units::Bytes;
use berth_model::volume::{Volume, VolumeSpec, VolumeState};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Turns reserved disk into volumes.
pub(crate) fn create(order: &Order<'_>, wanted: &[Resource]) -> Result<Conversion, Rejection> {
    if wanted.is_empty() {
        return Err(invalid("CREATE names no volume".to_owned()));
    }
    let (mut consumed, mut produced) = (Resources::new(), Resources::new());
    let (mut volumes, mut names) = (Vec::new(), BTreeSet::new());
    for (index, resource) in (0_u64..).zip(wanted) {
        let resource = Resource { allocation_role: None, ..resource.clone() };
        let volume = volume_of(order, index, &resource)?;
        if !names.insert((volume.spec.role.clone(), volume.spec.name.clone())) {
            return Err(Rejection::new(
                ErrorCode::VolumeExists,
                format!(
                    "CREATE names volume {} of role {} twice",
                    volume.spec.name, volume.spec.role
                ),
            )
            .remedy("give each volume a name of its own")
            .field("volumes"));
        }
        consumed.add(&resource.strip_volume()).map_err(|e| invalid(e.to_string()))?;
        produced.add(&resource).map_err(|e| invalid(e.to_string()))?;
        volumes.push(volume);
    }
    let mut events = Vec::new();
    for volume in &volumes {
        events.extend(free_name(order.state, &volume.spec.role, &volume.spec.name)?);
    }
    events.extend(order.secure(&consumed)?);
    events.extend(accepted(order, volumes));
    Ok(Conversion { consumed, produced: unmarked(&produced)?, events })
}

/// The events of volumes that are to be made: intent, operation, message.
pub(crate) fn accepted(order: &Order<'_>, volumes: Vec<Volume>) -> Vec<Event> {
    let agent = order.agent.info.id;
    let ids: Vec<VolumeId> = volumes.iter().map(|v| v.spec.id).collect();
    let names: Vec<String> =
        volumes.iter().map(|v| format!("volume {} of role {}", v.spec.name, v.spec.role)).collect();
    let mut events = Vec::new();
    let mut messages = Vec::new();
    for volume in volumes {
        messages.push(Event::tell(agent, ensure(&volume)));
        events.push(volume.into());
    }
    let record = order.asked.record(Some(agent), ids, names.join(", "), OperationState::Accepted);
    events.push(record.into());
    events.extend(messages);
    events
}

/// The message that has an agent make the volume, or take it out of the trash.
pub(crate) fn ensure(volume: &Volume) -> ToAgent {
    if let Some(origin) = &volume.origin {
        let (spec, operation) = (volume.spec.clone(), volume.operation);
        return ToAgent::DeriveVolume { spec, operation, origin: origin.clone() };
    }
    ToAgent::EnsureVolume {
        spec: volume.spec.clone(),
        operation: volume.operation,
        restore: volume.spec.generation > 1,
    }
}

fn invalid(message: String) -> Rejection {
    Rejection::new(ErrorCode::InvalidResources, message).field("volumes")
}

fn volume_of(order: &Order<'_>, index: u64, resource: &Resource) -> Result<Volume, Rejection> {
    resource.validate().map_err(|e| invalid(e.to_string()))?;
    let Some(persistence) = resource.persistence() else {
        return Err(invalid(format!("CREATE names {resource}, which has no volume name"))
            .remedy("give the disk a persistence with the volume's name"));
    };
    let name = &persistence.name;
    if resource.provider.is_some() {
        return Err(Rejection::new(
            ErrorCode::Unsupported,
            format!("volume {name} is of a provider, which this release does not make"),
        )
        .field("volumes"));
    }
    if resource.shared {
        sharing::check_creator(order, name)?;
    }
    let Some(role) = resource.stack.owner() else {
        return Err(Rejection::new(
            ErrorCode::NotReserved,
            format!("volume {name} is on unreserved disk"),
        )
        .remedy("reserve the disk first, then create the volume from the reserved disk")
        .field("volumes"));
    };
    let mount = resource.disk.as_ref().and_then(|disk| disk.mount.as_ref());
    let Some(mount) = mount else {
        return Err(bad_path(format!("volume {name} has no container path")));
    };
    if mount.mode == MountMode::ReadOnly {
        return Err(bad_path(format!("volume {name} is created read-only"))
            .remedy("create it read-write; a task may mount it read-only"));
    }
    let principal = owner_of(order, name, persistence.principal.as_ref())?;
    check_disk(order.state, order.agent, &resource.disk_source())?;
    let amount = resource.amount().unwrap_or_default();
    let new = NewVolume {
        name: name.clone(),
        role: role.clone(),
        principal,
        source: resource.disk_source(),
        size: Bytes::from_scalar(amount),
        container_path: Arc::clone(&mount.container_path),
        access: Access::default(),
        shared: resource.shared,
        encrypted: false,
    };
    if new.size.to_scalar().ok() != Some(amount) {
        return Err(invalid(format!("volume {name} has {amount} MiB: give whole MiB")));
    }
    new.into_volume(order, index, resource.stack.clone())
}

/// What a volume is to be.
#[derive(Clone, Debug)]
pub(crate) struct NewVolume {
    pub(crate) name: VolumeName,
    pub(crate) role: Role,
    pub(crate) principal: Option<Principal>,
    pub(crate) source: DiskSource,
    pub(crate) size: Bytes,
    pub(crate) container_path: Arc<str>,
    pub(crate) access: Access,
    pub(crate) shared: bool,
    pub(crate) encrypted: bool,
}

impl NewVolume {
    /// The record with which its life begins.
    pub(crate) fn into_volume(
        self,
        order: &Order<'_>,
        index: u64,
        stack: berth_model::reservation::Stack,
    ) -> Result<Volume, Rejection> {
        check_container_path(&self.container_path)
            .map_err(|e| bad_path(format!("volume {}: {e}", self.name)))?;
        if self.shared {
            sharing::check_disk(&self.name, &self.source)?;
        }
        let asked = order.asked;
        Ok(Volume {
            spec: VolumeSpec {
                id: VolumeId::from_u128(derive(asked.id.as_u128(), index)),
                generation: 1,
                name: self.name,
                role: self.role,
                principal: self.principal,
                source: self.source,
                size: self.size,
                access: self.access,
                shared: self.shared,
                encrypted: self.encrypted,
            },
            agent: order.agent.info.id,
            stack,
            container_path: self.container_path,
            state: VolumeState::Creating,
            error: None,
            created: asked.now,
            changed: asked.now,
            framework: asked.framework.cloned(),
            operation: asked.id,
            reserved_from: None,
            resize: None,
            origin: None,
            protected: false,
            access_before: None,
        })
    }
}

fn bad_path(message: String) -> Rejection {
    Rejection::new(ErrorCode::InvalidPath, message)
        .remedy("give a path such as data, or /var/lib/mysql")
        .field("container_path")
}

fn owner_of(
    order: &Order<'_>,
    name: &VolumeName,
    given: Option<&Principal>,
) -> Result<Option<Principal>, Rejection> {
    match (order.principal(), given) {
        (Some(own), Some(given)) if own != given => Err(invalid(format!(
            "volume {name} is created in the name of {given} by a framework of {own}"
        ))
        .remedy("leave the volume's principal out, or give the framework's own")),
        (own, given) => Ok(given.or(own).cloned()),
    }
}

/// Refuses a name that is taken. A FAILED volume lies nowhere, so a new attempt takes its place.
pub(crate) fn free_name(
    state: &State,
    role: &Role,
    name: &VolumeName,
) -> Result<Vec<Event>, Rejection> {
    let mut events = Vec::new();
    for entry in state.holders(role, name) {
        let holder = &entry.volume;
        if holder.state == VolumeState::Failed {
            events.push(Event::Delete(RegistryKey::Volume(holder.spec.id)));
            continue;
        }
        let host = state.agents.get(&holder.agent).map_or("unknown", |a| &*a.info.hostname);
        return Err(Rejection::new(
            ErrorCode::VolumeExists,
            format!(
                "volume {name} of role {role} exists: {} ({}) on agent {} ({host})",
                holder.spec.id, holder.state, holder.agent
            ),
        )
        .remedy("choose another name, or delete that volume first")
        .field("name"));
    }
    Ok(events)
}
