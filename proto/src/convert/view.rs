//! The rows the master shows, and the changes it tells watchers.

use super::field::{self, Choice, choice};
use super::resource::{sum, sum_to_wire};
use super::{At, Wire};
use crate::v1;
use crate::v1::change;
use berth_model::error::Rejection;
use berth_model::id::ProfileName;
use berth_model::record::ReservationRow;
use berth_model::units::{Bytes, Scalar, Timestamp};
use berth_model::view::{
    AgentState, AgentView, Change, ClusterView, DiskView, FrameworkView, ReservationView, TaskView,
    VolumeView,
};
use berth_model::volume::{Enforcement, VolumeState};
use std::sync::Arc;

choice!(AgentState, v1::AgentState, "agent state", [Registered, Recovering, Unreachable]);

impl Wire for ClusterView {
    type Message = v1::ClusterView;

    fn to_wire(&self) -> v1::ClusterView {
        let Self {
            cluster,
            epoch,
            revision,
            version,
            safe_mode,
            agents_registered,
            agents_total,
            frameworks_connected,
        } = self;
        v1::ClusterView {
            cluster_id: cluster.to_string(),
            epoch: *epoch,
            revision: *revision,
            version: version.to_string(),
            safe_mode: safe_mode.clone(),
            agents_registered: *agents_registered,
            agents_total: *agents_total,
            frameworks_connected: *frameworks_connected,
        }
    }

    fn from_wire(message: v1::ClusterView, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::ClusterView {
            cluster_id,
            epoch,
            revision,
            version,
            safe_mode,
            agents_registered,
            agents_total,
            frameworks_connected,
        } = message;
        Ok(Self {
            cluster: field::id(&cluster_id, &at.field("cluster_id"))?,
            epoch,
            revision,
            version: Arc::from(version),
            safe_mode,
            agents_registered,
            agents_total,
            frameworks_connected,
        })
    }
}

impl Wire for AgentView {
    type Message = v1::AgentView;

    fn to_wire(&self) -> v1::AgentView {
        let Self { info, state, total, used, offered, last_seen } = self;
        v1::AgentView {
            info: Some(info.to_wire()),
            state: state.number(),
            total: sum_to_wire(total),
            used: sum_to_wire(used),
            offered: sum_to_wire(offered),
            last_seen_ms: last_seen.map(Timestamp::ms),
        }
    }

    fn from_wire(message: v1::AgentView, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::AgentView { info, state, total, used, offered, last_seen_ms } = message;
        Ok(Self {
            info: field::required(info, &at.field("info"))?,
            state: AgentState::read(state, &at.field("state"))?,
            total: sum(total, &at.field("total"))?,
            used: sum(used, &at.field("used"))?,
            offered: sum(offered, &at.field("offered"))?,
            last_seen: field::point(last_seen_ms),
        })
    }
}

impl Wire for DiskView {
    type Message = v1::DiskView;

    fn to_wire(&self) -> v1::DiskView {
        let Self { disk, agent, hostname, agent_state, cordon, labels, profiles, total } = self;
        v1::DiskView {
            disk: Some(disk.to_wire()),
            agent_id: agent.to_string(),
            hostname: hostname.to_string(),
            agent_state: agent_state.number(),
            cordon: cordon.as_ref().map(Wire::to_wire),
            labels: labels.clone(),
            profiles: field::id_texts(profiles),
            total: sum_to_wire(total),
        }
    }

    fn from_wire(message: v1::DiskView, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::DiskView { disk, agent_id, hostname, agent_state, cordon, labels, profiles, total } =
            message;
        let profiles: Vec<ProfileName> = field::ids(&profiles, &at.field("profiles"))?;
        Ok(Self {
            disk: field::required(disk, &at.field("disk"))?,
            agent: field::id(&agent_id, &at.field("agent_id"))?,
            hostname: Arc::from(hostname),
            agent_state: AgentState::read(agent_state, &at.field("agent_state"))?,
            cordon: field::optional(cordon, &at.field("cordon"))?,
            labels: field::map(labels, &at.field("labels"))?,
            profiles,
            total: sum(total, &at.field("total"))?,
        })
    }
}

impl Wire for ReservationRow {
    type Message = v1::ReservationRow;

    fn to_wire(&self) -> v1::ReservationRow {
        let Self { id, agent, resource, created } = self;
        v1::ReservationRow {
            reservation_id: id.to_string(),
            agent_id: agent.to_string(),
            resource: Some(resource.to_wire()),
            created_ms: created.ms(),
        }
    }

    fn from_wire(message: v1::ReservationRow, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::ReservationRow { reservation_id, agent_id, resource, created_ms } = message;
        Ok(Self {
            id: field::id(&reservation_id, &at.field("reservation_id"))?,
            agent: field::id(&agent_id, &at.field("agent_id"))?,
            resource: field::required(resource, &at.field("resource"))?,
            created: Timestamp::from_ms(created_ms),
        })
    }
}

impl Wire for ReservationView {
    type Message = v1::ReservationView;

    fn to_wire(&self) -> v1::ReservationView {
        let Self { row, in_volumes, in_tasks } = self;
        v1::ReservationView {
            row: Some(row.to_wire()),
            in_volumes_milli: in_volumes.milli(),
            in_tasks_milli: in_tasks.milli(),
        }
    }

    fn from_wire(message: v1::ReservationView, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::ReservationView { row, in_volumes_milli, in_tasks_milli } = message;
        Ok(Self {
            row: field::required(row, &at.field("row"))?,
            in_volumes: Scalar::from_milli(in_volumes_milli),
            in_tasks: Scalar::from_milli(in_tasks_milli),
        })
    }
}

impl Wire for VolumeView {
    type Message = v1::VolumeView;

    fn to_wire(&self) -> v1::VolumeView {
        let Self {
            volume,
            hostname,
            disk,
            host_path,
            driver,
            enforcement,
            used,
            users,
            offer,
            observed,
            usage,
            unavailable,
        } = self;
        v1::VolumeView {
            volume: Some(volume.to_wire()),
            hostname: hostname.to_string(),
            disk: disk.to_string(),
            host_path: host_path.to_string(),
            driver: driver.to_string(),
            enforcement: enforcement.number(),
            used_bytes: used.map(Bytes::get),
            users: field::messages(users),
            offer_id: offer.as_ref().map(ToString::to_string),
            observed: observed.map(Choice::number),
            usage: usage.as_ref().map(Wire::to_wire),
            unavailable: unavailable.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(message: v1::VolumeView, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::VolumeView {
            volume,
            hostname,
            disk,
            host_path,
            driver,
            enforcement,
            used_bytes,
            users,
            offer_id,
            observed,
            usage,
            unavailable,
        } = message;
        let observed_at = at.field("observed");
        Ok(Self {
            volume: field::required(volume, &at.field("volume"))?,
            hostname: Arc::from(hostname),
            disk: Arc::from(disk),
            host_path: Arc::from(host_path),
            driver: Arc::from(driver),
            enforcement: Enforcement::read(enforcement, &at.field("enforcement"))?,
            used: used_bytes.map(Bytes::new),
            users: field::list(users, &at.field("users"))?,
            offer: field::optional_id(offer_id.as_deref(), &at.field("offer_id"))?,
            observed: observed.map(|n| VolumeState::read(n, &observed_at)).transpose()?,
            usage: field::optional(usage, &at.field("usage"))?,
            unavailable: field::optional(unavailable, &at.field("unavailable"))?,
        })
    }
}

impl Wire for FrameworkView {
    type Message = v1::FrameworkView;

    fn to_wire(&self) -> v1::FrameworkView {
        let Self { id, info, connected, registered, removed, tasks, offers, used } = self;
        v1::FrameworkView {
            framework_id: id.to_string(),
            info: Some(info.to_wire()),
            connected: *connected,
            registered_ms: registered.ms(),
            removed_ms: removed.map(Timestamp::ms),
            tasks: *tasks,
            offers: *offers,
            used: sum_to_wire(used),
        }
    }

    fn from_wire(message: v1::FrameworkView, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::FrameworkView {
            framework_id,
            info,
            connected,
            registered_ms,
            removed_ms,
            tasks,
            offers,
            used,
        } = message;
        Ok(Self {
            id: field::id(&framework_id, &at.field("framework_id"))?,
            info: field::required(info, &at.field("info"))?,
            connected,
            registered: Timestamp::from_ms(registered_ms),
            removed: field::point(removed_ms),
            tasks,
            offers,
            used: sum(used, &at.field("used"))?,
        })
    }
}

impl Wire for TaskView {
    type Message = v1::TaskView;

    fn to_wire(&self) -> v1::TaskView {
        let Self { status, name, resources, hostname, labels } = self;
        v1::TaskView {
            status: Some(status.to_wire()),
            name: name.clone(),
            resources: sum_to_wire(resources),
            hostname: hostname.to_string(),
            labels: labels.clone(),
        }
    }

    fn from_wire(message: v1::TaskView, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::TaskView { status, name, resources, hostname, labels } = message;
        Ok(Self {
            status: field::required(status, &at.field("status"))?,
            name,
            resources: sum(resources, &at.field("resources"))?,
            hostname: Arc::from(hostname),
            labels,
        })
    }
}

impl Wire for Change {
    type Message = v1::Change;

    fn to_wire(&self) -> v1::Change {
        let change = match self {
            Self::Operation(record) => change::Change::Operation(record.to_wire()),
            Self::Volume(volume) => change::Change::Volume(volume.to_wire()),
            Self::Task(status) => change::Change::Task(status.to_wire()),
            Self::Agent { agent, state } => change::Change::Agent(change::Agent {
                agent_id: agent.to_string(),
                state: state.number(),
            }),
            Self::Framework { framework, connected } => {
                change::Change::Framework(change::Framework {
                    framework_id: framework.to_string(),
                    connected: *connected,
                })
            },
            Self::Snapshot(snapshot) => change::Change::Snapshot(snapshot.to_wire()),
        };
        v1::Change { change: Some(change) }
    }

    fn from_wire(message: v1::Change, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Change { change } = message;
        match change.ok_or_else(|| at.field("change").missing())? {
            change::Change::Operation(record) => {
                Wire::from_wire(record, &at.field("operation")).map(Self::Operation)
            },
            change::Change::Volume(volume) => {
                Wire::from_wire(volume, &at.field("volume")).map(Self::Volume)
            },
            change::Change::Task(status) => {
                Wire::from_wire(status, &at.field("task")).map(Self::Task)
            },
            change::Change::Agent(change::Agent { agent_id, state }) => {
                let at = at.field("agent");
                Ok(Self::Agent {
                    agent: field::id(&agent_id, &at.field("agent_id"))?,
                    state: AgentState::read(state, &at.field("state"))?,
                })
            },
            change::Change::Framework(change::Framework { framework_id, connected }) => {
                let at = at.field("framework");
                let framework = field::id(&framework_id, &at.field("framework_id"))?;
                Ok(Self::Framework { framework, connected })
            },
            change::Change::Snapshot(snapshot) => {
                Wire::from_wire(snapshot, &at.field("snapshot")).map(Self::Snapshot)
            },
        }
    }
}
