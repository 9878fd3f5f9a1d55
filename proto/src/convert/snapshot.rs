//! Snapshots: what is wanted, what the registry holds, what an agent reports.

use super::field::{self, Choice, choice};
use super::transfer;
use super::{At, Wire};
use crate::v1;
use crate::v1::{envelope as to, origin, submit_request as submit};
use berth_model::error::Rejection;
use berth_model::id::{Principal, SnapshotName};
use berth_model::link::ToAgent;
use berth_model::operator::{Request, VolumeChoice};
use berth_model::snapshot::{
    Consistency, Freeze, Group, Origin, Snapshot, SnapshotReport, SnapshotSpec, SnapshotState,
};
use berth_model::units::Timestamp;
use berth_model::view::SnapshotView;
use std::sync::Arc;

choice!(
    SnapshotState,
    v1::SnapshotState,
    "snapshot state",
    [Creating, Ready, Failed, Lost, Deleting, Gone, Quarantined]
);

choice!(Consistency, v1::Consistency, "consistency", [Unused, Program, Frozen]);

impl Wire for Group {
    type Message = v1::SnapshotGroup;

    fn to_wire(&self) -> v1::SnapshotGroup {
        let Self { id, consistency } = self;
        v1::SnapshotGroup { group_id: id.to_string(), consistency: consistency.map(Choice::number) }
    }

    fn from_wire(message: v1::SnapshotGroup, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::SnapshotGroup { group_id, consistency } = message;
        let consistency_at = at.field("consistency");
        let consistency = consistency.map(|by| Consistency::read(by, &consistency_at));
        Ok(Self {
            id: field::id(&group_id, &at.field("group_id"))?,
            consistency: consistency.transpose()?,
        })
    }
}

impl Wire for SnapshotSpec {
    type Message = v1::SnapshotSpec;

    fn to_wire(&self) -> v1::SnapshotSpec {
        let Self { id, name, of } = self;
        v1::SnapshotSpec {
            snapshot_id: id.to_string(),
            name: name.to_string(),
            of: Some(of.to_wire()),
        }
    }

    fn from_wire(message: v1::SnapshotSpec, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::SnapshotSpec { snapshot_id, name, of } = message;
        Ok(Self {
            id: field::id(&snapshot_id, &at.field("snapshot_id"))?,
            name: field::id(&name, &at.field("name"))?,
            of: field::required(of, &at.field("of"))?,
        })
    }
}

impl Wire for Freeze {
    type Message = v1::Freeze;

    fn to_wire(&self) -> v1::Freeze {
        let Self { program, timeout } = self;
        v1::Freeze { program: Some(program.to_wire()), timeout_ms: field::millis(*timeout) }
    }

    fn from_wire(message: v1::Freeze, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Freeze { program, timeout_ms } = message;
        Ok(Self {
            program: field::required(program, &at.field("program"))?,
            timeout: field::span(timeout_ms, &at.field("timeout_ms"))?,
        })
    }
}

impl Wire for Snapshot {
    type Message = v1::Snapshot;

    fn to_wire(&self) -> v1::Snapshot {
        let Self {
            spec,
            agent,
            state,
            held,
            freeze,
            error,
            principal,
            created,
            changed,
            operation,
            scheduled,
            group,
        } = self;
        v1::Snapshot {
            spec: Some(spec.to_wire()),
            agent_id: agent.to_string(),
            state: state.number(),
            held: *held,
            freeze: freeze.as_ref().map(Wire::to_wire),
            error: error.as_ref().map(Wire::to_wire),
            principal: principal.as_ref().map(ToString::to_string),
            created_ms: created.ms(),
            changed_ms: changed.ms(),
            operation_id: operation.to_string(),
            scheduled_ms: scheduled.map(Timestamp::ms),
            group: group.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(message: v1::Snapshot, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Snapshot {
            spec,
            agent_id,
            state,
            held,
            freeze,
            error,
            principal,
            created_ms,
            changed_ms,
            operation_id,
            scheduled_ms,
            group,
        } = message;
        Ok(Self {
            spec: field::required(spec, &at.field("spec"))?,
            agent: field::id(&agent_id, &at.field("agent_id"))?,
            state: SnapshotState::read(state, &at.field("state"))?,
            held,
            freeze: field::optional(freeze, &at.field("freeze"))?,
            error: field::optional(error, &at.field("error"))?,
            principal: field::optional_id(principal.as_deref(), &at.field("principal"))?,
            created: Timestamp::from_ms(created_ms),
            changed: Timestamp::from_ms(changed_ms),
            operation: field::id(&operation_id, &at.field("operation_id"))?,
            scheduled: field::point(scheduled_ms),
            group: field::optional(group, &at.field("group"))?,
        })
    }
}

impl Wire for SnapshotReport {
    type Message = v1::SnapshotReport;

    fn to_wire(&self) -> v1::SnapshotReport {
        let Self { spec, state, operation, error, host_path, group } = self;
        v1::SnapshotReport {
            spec: Some(spec.to_wire()),
            state: state.number(),
            operation_id: operation.as_ref().map(ToString::to_string),
            error: error.as_ref().map(Wire::to_wire),
            host_path: host_path.to_string(),
            group: group.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(message: v1::SnapshotReport, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::SnapshotReport { spec, state, operation_id, error, host_path, group } = message;
        Ok(Self {
            spec: field::required(spec, &at.field("spec"))?,
            state: SnapshotState::read(state, &at.field("state"))?,
            operation: field::optional_id(operation_id.as_deref(), &at.field("operation_id"))?,
            error: field::optional(error, &at.field("error"))?,
            host_path: Arc::from(host_path),
            group: field::optional(group, &at.field("group"))?,
        })
    }
}

impl Wire for Origin {
    type Message = v1::Origin;

    fn to_wire(&self) -> v1::Origin {
        let origin = match self {
            Self::Clone { snapshot } => {
                origin::Origin::Clone(origin::Clone { snapshot: Some(snapshot.to_wire()) })
            },
            Self::RollBack { snapshot, safety } => origin::Origin::RollBack(origin::RollBack {
                snapshot: Some(snapshot.to_wire()),
                safety: Some(safety.to_wire()),
            }),
            Self::Orphan => origin::Origin::Orphan(origin::Orphan {}),
            Self::Directory { path } => {
                origin::Origin::Directory(origin::Directory { path: path.to_string() })
            },
            Self::Stream => origin::Origin::Stream(origin::Stream {}),
        };
        v1::Origin { origin: Some(origin) }
    }

    fn from_wire(message: v1::Origin, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Origin { origin } = message;
        match origin.ok_or_else(|| at.field("origin").missing())? {
            origin::Origin::Clone(origin::Clone { snapshot }) => {
                let at = at.field("clone");
                Ok(Self::Clone { snapshot: field::required(snapshot, &at.field("snapshot"))? })
            },
            origin::Origin::RollBack(origin::RollBack { snapshot, safety }) => {
                let at = at.field("roll_back");
                Ok(Self::RollBack {
                    snapshot: field::required(snapshot, &at.field("snapshot"))?,
                    safety: field::required(safety, &at.field("safety"))?,
                })
            },
            origin::Origin::Orphan(origin::Orphan {}) => Ok(Self::Orphan),
            origin::Origin::Directory(origin::Directory { path }) => {
                Ok(Self::Directory { path: transfer::directory(path, &at.field("directory"))? })
            },
            origin::Origin::Stream(origin::Stream {}) => Ok(Self::Stream),
        }
    }
}

impl Wire for SnapshotView {
    type Message = v1::SnapshotView;

    fn to_wire(&self) -> v1::SnapshotView {
        let Self { snapshot, hostname, disk, host_path, observed } = self;
        v1::SnapshotView {
            snapshot: Some(snapshot.to_wire()),
            hostname: hostname.to_string(),
            disk: disk.to_string(),
            host_path: host_path.to_string(),
            observed: observed.map(Choice::number),
        }
    }

    fn from_wire(message: v1::SnapshotView, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::SnapshotView { snapshot, hostname, disk, host_path, observed } = message;
        let observed_at = at.field("observed");
        Ok(Self {
            snapshot: field::required(snapshot, &at.field("snapshot"))?,
            hostname: Arc::from(hostname),
            disk: Arc::from(disk),
            host_path: Arc::from(host_path),
            observed: observed.map(|state| SnapshotState::read(state, &observed_at)).transpose()?,
        })
    }
}

pub(super) fn create(message: submit::CreateSnapshot, at: &At<'_>) -> Result<Request, Rejection> {
    let submit::CreateSnapshot { volume, name, principal, freeze } = message;
    Ok(Request::CreateSnapshot {
        volume: field::required(volume, &at.field("volume"))?,
        name: field::optional_id(name.as_deref(), &at.field("name"))?,
        principal: field::optional_id(principal.as_deref(), &at.field("principal"))?,
        freeze: field::optional(freeze, &at.field("freeze"))?,
    })
}

pub(super) fn create_group(
    message: submit::CreateGroup,
    at: &At<'_>,
) -> Result<Request, Rejection> {
    let submit::CreateGroup { volumes, name, principal, freeze } = message;
    Ok(Request::CreateGroup {
        volumes: field::list(volumes, &at.field("volumes"))?,
        name: field::optional_id(name.as_deref(), &at.field("name"))?,
        principal: field::optional_id(principal.as_deref(), &at.field("principal"))?,
        freeze: field::optional(freeze, &at.field("freeze"))?,
    })
}

pub(super) fn create_group_to_wire(
    volumes: &[VolumeChoice],
    name: Option<&SnapshotName>,
    principal: Option<&Principal>,
    freeze: &Option<Freeze>,
) -> submit::Request {
    submit::Request::CreateGroup(submit::CreateGroup {
        volumes: field::messages(volumes),
        name: name.map(ToString::to_string),
        principal: principal.map(ToString::to_string),
        freeze: freeze.as_ref().map(Wire::to_wire),
    })
}

pub(super) fn ensure_group(message: to::EnsureGroup, at: &At<'_>) -> Result<ToAgent, Rejection> {
    let to::EnsureGroup { group_id, members, operation_id, freeze } = message;
    let at_members = at.field("members");
    if members.is_empty() {
        return Err(at_members.missing());
    }
    Ok(ToAgent::EnsureGroup {
        group: field::id(&group_id, &at.field("group_id"))?,
        members: field::list(members, &at_members)?,
        operation: field::id(&operation_id, &at.field("operation_id"))?,
        freeze: field::optional(freeze, &at.field("freeze"))?,
    })
}

pub(super) fn create_to_wire(
    volume: &VolumeChoice,
    name: Option<&SnapshotName>,
    principal: Option<&Principal>,
    freeze: Option<v1::Freeze>,
) -> submit::Request {
    submit::Request::CreateSnapshot(submit::CreateSnapshot {
        volume: Some(volume.to_wire()),
        name: name.map(ToString::to_string),
        principal: principal.map(ToString::to_string),
        freeze,
    })
}

pub(super) fn clone_volume(
    message: submit::CloneVolume,
    at: &At<'_>,
) -> Result<Request, Rejection> {
    let submit::CloneVolume { snapshot_id, name, role, principal, container_path } = message;
    let role_at = at.field("role");
    Ok(Request::CloneVolume {
        snapshot: field::id(&snapshot_id, &at.field("snapshot_id"))?,
        name: field::id(&name, &at.field("name"))?,
        role: role.map(|role| field::owner(&role, &role_at)).transpose()?,
        principal: field::optional_id(principal.as_deref(), &at.field("principal"))?,
        container_path: field::container_path(container_path, &at.field("container_path"))?,
    })
}
