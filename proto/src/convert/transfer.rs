//! Data that comes into volumes from outside.

use super::field;
use super::{At, Wire, access};
use crate::v1::{
    self, envelope as to, from_agent as from, submit_request as submit, survey as found,
};
use berth_model::error::Rejection;
use berth_model::id::{SnapshotId, TransferId, VolumeId};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::operator::{DiskChoice, Request, VolumeChoice};
use berth_model::transfer::{
    Import, OpenBy, OwnerCount, Progress, Survey, TransferOrder, TransferWish, check_directory,
};
use berth_model::units::Bytes;
use std::sync::Arc;

/// A path that an import may be asked for.
pub(super) fn directory(path: String, at: &At<'_>) -> Result<Arc<str>, Rejection> {
    let named = |refused: Rejection| at.field("path").invalid(refused.message, &refused.remedy);
    check_directory(&path).map_err(named)?;
    Ok(Arc::from(path))
}

/// The request for a new volume, with or without content.
pub(super) fn created(volume: submit::CreateVolume, import: Option<&Import>) -> submit::Request {
    let from = match import {
        None => return submit::Request::CreateVolume(volume),
        Some(Import::Directory { path }) => {
            let path = path.to_string();
            submit::import_volume::From::Directory(submit::import_volume::Directory { path })
        },
        Some(Import::Stream) => {
            submit::import_volume::From::Stream(submit::import_volume::Stream {})
        },
    };
    let (volume, from) = (Some(volume), Some(from));
    submit::Request::ImportVolume(submit::ImportVolume { volume, from })
}

/// The volume that is wanted, and what with.
pub(super) fn import(
    message: submit::ImportVolume,
    at: &At<'_>,
) -> Result<(submit::CreateVolume, Import), Rejection> {
    let submit::ImportVolume { volume, from } = message;
    let volume = volume.ok_or_else(|| at.field("volume").missing())?;
    let import = match from.ok_or_else(|| at.field("from").missing())? {
        submit::import_volume::From::Directory(submit::import_volume::Directory { path }) => {
            Import::Directory { path: directory(path, &at.field("directory"))? }
        },
        submit::import_volume::From::Stream(submit::import_volume::Stream {}) => Import::Stream,
    };
    Ok((volume, import))
}

/// The request for an export.
pub(super) fn export_to_wire(
    volume: &VolumeChoice,
    snapshot: Option<SnapshotId>,
) -> submit::Request {
    let (volume, snapshot_id) = (Some(volume.to_wire()), snapshot.map(|id| id.to_string()));
    submit::Request::ExportVolume(submit::ExportVolume { volume, snapshot_id })
}

/// What is to be exported.
pub(super) fn export(message: submit::ExportVolume, at: &At<'_>) -> Result<Request, Rejection> {
    let submit::ExportVolume { volume, snapshot_id } = message;
    Ok(Request::ExportVolume {
        volume: field::required(volume, &at.field("volume"))?,
        snapshot: field::optional_id(snapshot_id.as_deref(), &at.field("snapshot_id"))?,
    })
}

/// A request for a new volume.
pub(super) fn create_volume(
    message: submit::CreateVolume,
    import: Option<Import>,
    at: &At<'_>,
) -> Result<Request, Rejection> {
    let submit::CreateVolume {
        name,
        role,
        principal,
        size_bytes,
        agent_id,
        disk,
        container_path,
        access,
        shared,
        encrypted,
    } = message;
    Ok(Request::CreateVolume {
        name: field::id(&name, &at.field("name"))?,
        role: field::owner(&role, &at.field("role"))?,
        principal: field::optional_id(principal.as_deref(), &at.field("principal"))?,
        size: field::volume_size(size_bytes, &at.field("size_bytes"))?,
        agent: field::optional_id(agent_id.as_deref(), &at.field("agent_id"))?,
        disk: field::optional(disk, &at.field("disk"))?.unwrap_or(DiskChoice::Any),
        container_path: field::container_path(container_path, &at.field("container_path"))?,
        access: access::or_default(access, &at.field("access"))?,
        shared,
        encrypted,
        import,
    })
}

pub(super) fn progress_to_wire(volumes: &[(VolumeId, Progress)]) -> from::Body {
    let of = |(volume, progress): &(VolumeId, Progress)| {
        let Progress { bytes, bytes_total, entries, entries_total } = *progress;
        from::progress::Of {
            volume_id: volume.to_string(),
            bytes: bytes.get(),
            bytes_total: bytes_total.get(),
            entries,
            entries_total,
        }
    };
    from::Body::Progress(from::Progress { volumes: volumes.iter().map(of).collect() })
}

pub(super) fn progress(message: from::Progress, at: &At<'_>) -> Result<FromAgent, Rejection> {
    let from::Progress { volumes } = message;
    let at = at.field("volumes");
    let of = volumes.into_iter().enumerate().map(|(index, of)| {
        let from::progress::Of { volume_id, bytes, bytes_total, entries, entries_total } = of;
        let (bytes, bytes_total) = (Bytes::new(bytes), Bytes::new(bytes_total));
        let progress = Progress { bytes, bytes_total, entries, entries_total };
        Ok((field::id(&volume_id, &at.index(index).field("volume_id"))?, progress))
    });
    of.collect::<Result<Vec<_>, Rejection>>().map(FromAgent::Progress)
}

pub(super) fn order_to_wire(transfer: TransferId, order: &TransferOrder) -> to::Message {
    let order = match order {
        TransferOrder::Survey { path, size } => to::transfer::Order::Survey(to::transfer::Survey {
            path: path.to_string(),
            size_bytes: size.get(),
        }),
        TransferOrder::Export { volume, snapshot } => {
            to::transfer::Order::Export(to::transfer::Export {
                volume: Some(volume.to_wire()),
                snapshot: snapshot.as_deref().map(Wire::to_wire),
            })
        },
    };
    let transfer_id = transfer.to_string();
    to::Message::Transfer(to::Transfer { transfer_id, order: Some(order) })
}

pub(super) fn order(message: to::Transfer, at: &At<'_>) -> Result<ToAgent, Rejection> {
    let to::Transfer { transfer_id, order } = message;
    let order = match order.ok_or_else(|| at.field("order").missing())? {
        to::transfer::Order::Survey(to::transfer::Survey { path, size_bytes }) => {
            let at = at.field("survey");
            TransferOrder::Survey {
                path: directory(path, &at)?,
                size: field::volume_size(size_bytes, &at.field("size_bytes"))?,
            }
        },
        to::transfer::Order::Export(to::transfer::Export { volume, snapshot }) => {
            let at = at.field("export");
            TransferOrder::Export {
                volume: Box::new(field::required(volume, &at.field("volume"))?),
                snapshot: field::optional(snapshot, &at.field("snapshot"))?.map(Box::new),
            }
        },
    };
    Ok(ToAgent::Transfer { transfer: field::id(&transfer_id, &at.field("transfer_id"))?, order })
}

/// What `SurveyDirectory` asks for.
///
/// # Errors
/// A field is malformed.
pub fn survey_wish(message: v1::SurveyDirectoryRequest) -> Result<TransferWish, Rejection> {
    let v1::SurveyDirectoryRequest { agent_id, path, size_bytes } = message;
    let at = At::ROOT;
    Ok(TransferWish::Survey {
        agent: field::id(&agent_id, &at.field("agent_id"))?,
        path: directory(path, &at)?,
        size: field::volume_size(size_bytes, &at.field("size_bytes"))?,
    })
}

impl Wire for OwnerCount {
    type Message = found::Owner;

    fn to_wire(&self) -> found::Owner {
        let Self { uid, gid, entries } = *self;
        found::Owner { uid, gid, entries }
    }

    fn from_wire(message: found::Owner, _at: &At<'_>) -> Result<Self, Rejection> {
        let found::Owner { uid, gid, entries } = message;
        Ok(Self { uid, gid, entries })
    }
}

impl Wire for OpenBy {
    type Message = found::OpenBy;

    fn to_wire(&self) -> found::OpenBy {
        let Self { pid, command, path, writes } = self;
        let (command, path) = (command.clone(), path.clone());
        found::OpenBy { pid: *pid, command, path, writes: *writes }
    }

    fn from_wire(message: found::OpenBy, _at: &At<'_>) -> Result<Self, Rejection> {
        let found::OpenBy { pid, command, path, writes } = message;
        Ok(Self { pid, command, path, writes })
    }
}

impl Wire for Survey {
    type Message = v1::Survey;

    fn to_wire(&self) -> v1::Survey {
        let Self {
            path,
            bytes,
            length,
            files,
            directories,
            links,
            pipes,
            sockets,
            devices,
            hard_links,
            sparse,
            attributes,
            acls,
            owners,
            mounts,
            open_by,
            size,
            refusals,
        } = self;
        v1::Survey {
            path: path.to_string(),
            bytes: bytes.get(),
            length_bytes: length.get(),
            files: *files,
            directories: *directories,
            links: *links,
            pipes: *pipes,
            sockets: *sockets,
            devices: *devices,
            hard_links: *hard_links,
            sparse: *sparse,
            attributes: *attributes,
            acls: *acls,
            owners: field::messages(owners),
            mounts: mounts.clone(),
            open_by: field::messages(open_by),
            size_bytes: size.get(),
            refusals: field::messages(refusals),
        }
    }

    fn from_wire(message: v1::Survey, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Survey {
            path,
            bytes,
            length_bytes,
            files,
            directories,
            links,
            pipes,
            sockets,
            devices,
            hard_links,
            sparse,
            attributes,
            acls,
            owners,
            mounts,
            open_by,
            size_bytes,
            refusals,
        } = message;
        Ok(Self {
            path: path.into(),
            bytes: Bytes::new(bytes),
            length: Bytes::new(length_bytes),
            files,
            directories,
            links,
            pipes,
            sockets,
            devices,
            hard_links,
            sparse,
            attributes,
            acls,
            owners: field::list(owners, &at.field("owners"))?,
            mounts,
            open_by: field::list(open_by, &at.field("open_by"))?,
            size: Bytes::new(size_bytes),
            refusals: field::list(refusals, &at.field("refusals"))?,
        })
    }
}
