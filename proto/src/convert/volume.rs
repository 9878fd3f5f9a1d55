//! Volumes: what is wanted, what the registry holds, what an agent reports.

use super::field::{self, Choice, choice};
use super::resource::{stack, stack_to_wire};
use super::{At, Wire, access};
use crate::v1;
use berth_model::error::Rejection;
use berth_model::units::{Bytes, Timestamp};
use berth_model::volume::{
    Enforcement, Resize, Volume, VolumeReport, VolumeSpec, VolumeState, VolumeUse,
};
use std::sync::Arc;

choice!(
    VolumeState,
    v1::VolumeState,
    "volume state",
    [Creating, Ready, Failed, Lost, Tombstoned, Trashed, Gone, Quarantined]
);
choice!(Enforcement, v1::Enforcement, "kind of size enforcement", [None, Quota, Device]);

impl Wire for VolumeSpec {
    type Message = v1::VolumeSpec;

    fn to_wire(&self) -> v1::VolumeSpec {
        let Self { id, generation, name, role, principal, source, size, access, shared, encrypted } =
            self;
        v1::VolumeSpec {
            volume_id: id.to_string(),
            generation: *generation,
            name: name.to_string(),
            role: role.to_string(),
            principal: principal.as_ref().map(ToString::to_string),
            source: Some(source.to_wire()),
            size_bytes: size.get(),
            access: access::some(access),
            shared: *shared,
            encrypted: *encrypted,
        }
    }

    fn from_wire(message: v1::VolumeSpec, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::VolumeSpec {
            volume_id,
            generation,
            name,
            role,
            principal,
            source,
            size_bytes,
            access,
            shared,
            encrypted,
        } = message;
        Ok(Self {
            id: field::id(&volume_id, &at.field("volume_id"))?,
            generation: field::generation(generation, &at.field("generation"))?,
            name: field::id(&name, &at.field("name"))?,
            role: field::owner(&role, &at.field("role"))?,
            principal: field::optional_id(principal.as_deref(), &at.field("principal"))?,
            source: field::required(source, &at.field("source"))?,
            size: field::volume_size(size_bytes, &at.field("size_bytes"))?,
            access: access::or_default(access, &at.field("access"))?,
            shared,
            encrypted,
        })
    }
}

impl Wire for Volume {
    type Message = v1::Volume;

    fn to_wire(&self) -> v1::Volume {
        let Self {
            spec,
            agent,
            stack,
            container_path,
            state,
            error,
            created,
            changed,
            framework,
            operation,
            reserved_from,
            resize,
            origin,
            protected,
            access_before,
        } = self;
        v1::Volume {
            spec: Some(spec.to_wire()),
            agent_id: agent.to_string(),
            reservations: stack_to_wire(stack),
            container_path: container_path.to_string(),
            state: state.number(),
            error: error.as_ref().map(Wire::to_wire),
            created_ms: created.ms(),
            changed_ms: changed.ms(),
            framework_id: framework.as_ref().map(ToString::to_string),
            operation_id: operation.to_string(),
            reserved_from: reserved_from.as_deref().map(Wire::to_wire),
            resize: resize.as_ref().map(Wire::to_wire),
            origin: origin.as_deref().map(Wire::to_wire),
            protected: *protected,
            access_before: access_before.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(message: v1::Volume, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Volume {
            spec,
            agent_id,
            reservations,
            container_path,
            state,
            error,
            created_ms,
            changed_ms,
            framework_id,
            operation_id,
            reserved_from,
            resize,
            origin,
            protected,
            access_before,
        } = message;
        Ok(Self {
            spec: field::required(spec, &at.field("spec"))?,
            agent: field::id(&agent_id, &at.field("agent_id"))?,
            stack: stack(reservations, &at.field("reservations"))?,
            container_path: field::container_path(container_path, &at.field("container_path"))?,
            state: VolumeState::read(state, &at.field("state"))?,
            error: field::optional(error, &at.field("error"))?,
            created: Timestamp::from_ms(created_ms),
            changed: Timestamp::from_ms(changed_ms),
            framework: field::optional_id(framework_id.as_deref(), &at.field("framework_id"))?,
            operation: field::id(&operation_id, &at.field("operation_id"))?,
            reserved_from: field::optional(reserved_from, &at.field("reserved_from"))?
                .map(Box::new),
            resize: field::optional(resize, &at.field("resize"))?,
            origin: field::optional(origin, &at.field("origin"))?.map(Box::new),
            protected,
            access_before: field::optional(access_before, &at.field("access_before"))?,
        })
    }
}

impl Wire for Resize {
    type Message = v1::Resize;

    fn to_wire(&self) -> v1::Resize {
        let Self { from, to } = self;
        v1::Resize { from_bytes: from.get(), to_bytes: to.get() }
    }

    fn from_wire(message: v1::Resize, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Resize { from_bytes, to_bytes } = message;
        Ok(Self {
            from: field::volume_size(from_bytes, &at.field("from_bytes"))?,
            to: field::volume_size(to_bytes, &at.field("to_bytes"))?,
        })
    }
}

impl Wire for VolumeReport {
    type Message = v1::VolumeReport;

    fn to_wire(&self) -> v1::VolumeReport {
        let Self {
            spec,
            state,
            operation,
            error,
            host_path,
            driver,
            enforcement,
            used,
            purged,
            resizing,
            setting,
            wiped,
            refused,
            unavailable,
        } = self;
        v1::VolumeReport {
            spec: Some(spec.to_wire()),
            state: state.number(),
            operation_id: operation.as_ref().map(ToString::to_string),
            error: error.as_ref().map(Wire::to_wire),
            host_path: host_path.to_string(),
            driver: driver.to_string(),
            enforcement: enforcement.number(),
            used_bytes: used.map(Bytes::get),
            purged_volume_ids: field::id_texts(purged),
            resizing_bytes: resizing.map(Bytes::get),
            setting: setting.as_ref().map(Wire::to_wire),
            wiped: wiped.as_ref().map(Wire::to_wire),
            refused: *refused,
            unavailable: unavailable.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(message: v1::VolumeReport, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::VolumeReport {
            spec,
            state,
            operation_id,
            error,
            host_path,
            driver,
            enforcement,
            used_bytes,
            purged_volume_ids,
            resizing_bytes,
            setting,
            wiped,
            refused,
            unavailable,
        } = message;
        Ok(Self {
            spec: field::required(spec, &at.field("spec"))?,
            state: VolumeState::read(state, &at.field("state"))?,
            operation: field::optional_id(operation_id.as_deref(), &at.field("operation_id"))?,
            error: field::optional(error, &at.field("error"))?,
            host_path: Arc::from(host_path),
            driver: Arc::from(driver),
            enforcement: Enforcement::read(enforcement, &at.field("enforcement"))?,
            used: used_bytes.map(Bytes::new),
            purged: field::ids(&purged_volume_ids, &at.field("purged_volume_ids"))?,
            resizing: field::optional_volume_size(resizing_bytes, &at.field("resizing_bytes"))?,
            setting: field::optional(setting, &at.field("setting"))?,
            wiped: field::optional(wiped, &at.field("wiped"))?,
            refused,
            unavailable: field::optional(unavailable, &at.field("unavailable"))?,
        })
    }
}

impl Wire for VolumeUse {
    type Message = v1::VolumeUse;

    fn to_wire(&self) -> v1::VolumeUse {
        let Self { volume, generation, mount } = self;
        v1::VolumeUse {
            volume_id: volume.to_string(),
            generation: *generation,
            mount: Some(mount.to_wire()),
        }
    }

    fn from_wire(message: v1::VolumeUse, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::VolumeUse { volume_id, generation, mount } = message;
        Ok(Self {
            volume: field::id(&volume_id, &at.field("volume_id"))?,
            generation: field::generation(generation, &at.field("generation"))?,
            mount: field::required(mount, &at.field("mount"))?,
        })
    }
}
