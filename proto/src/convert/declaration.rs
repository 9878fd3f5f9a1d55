//! Disks that are added to an agent that runs, and removed from it.

use super::field::{self, Choice, choice};
use super::{At, Wire};
use crate::ledger_wire;
use crate::v1::{self, disk_order, envelope as to, from_agent as from, submit_request as submit};
use berth_model::declaration::{DiskDeclaration, DiskOrder, DiskOrderState, LedgerDiskOrder};
use berth_model::error::Rejection;
use berth_model::id::{AgentId, DiskId, OperationId, check_name};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::operator::Request;
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use std::path::{Component, Path};
use std::sync::Arc;

/// The state of an order without its error.
#[derive(Clone, Copy)]
enum Stage {
    Pending,
    Done,
    Failed,
}
choice!(Stage, ledger_wire::v1::DiskOrderState, "state of a disk order", [Pending, Done, Failed]);

impl Wire for DiskDeclaration {
    type Message = v1::DiskDeclaration;

    fn to_wire(&self) -> v1::DiskDeclaration {
        let Self { source, name, driver, size } = self;
        v1::DiskDeclaration {
            source: Some(source.to_wire()),
            name: name.to_string(),
            driver: driver.to_string(),
            size_bytes: size.map(Bytes::get),
        }
    }

    fn from_wire(message: v1::DiskDeclaration, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::DiskDeclaration { source, name, driver, size_bytes } = message;
        let (source_at, name_at) = (at.field("source"), at.field("name"));
        let source = field::required(source, &source_at)?;
        match &source {
            DiskSource::Root => {
                return Err(source_at.invalid(
                    "the ROOT disk is always there",
                    "declare a PATH, MOUNT or BLOCK disk",
                ));
            },
            DiskSource::Path(root) | DiskSource::Mount(root) | DiskSource::Block(root) => {
                plain(root, &source_at.field("root"))?;
            },
        }
        if !source.is_divisible() && !driver.is_empty() {
            return Err(at.field("driver").invalid(
                format!("disk {source} has no choice of drivers"),
                "leave it empty: its one volume is all of it",
            ));
        }
        check_name("disk name", &name)
            .map_err(|error| name_at.invalid(error, "give 1 to 255 bytes without '/'"))?;
        let size_at = at.field("size_bytes");
        let size = size_bytes.map(|bytes| field::volume_size(bytes, &size_at)).transpose()?;
        Ok(Self { source, name: Arc::from(name), driver: Arc::from(driver), size })
    }
}

/// A path that says where it leads: absolute, and each part the name of an entry.
fn plain(root: &str, at: &At<'_>) -> Result<(), Rejection> {
    let path = Path::new(root);
    let mut parts = path.components();
    let is_plain = parts.next() == Some(Component::RootDir)
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && path.components().collect::<std::path::PathBuf>().as_os_str() == root
        && !root.chars().any(char::is_control)
        && root.len() > 1;
    if is_plain {
        return Ok(());
    }
    Err(at.invalid(
        format!("{root:?} is no plain absolute path"),
        "write it without \"..\", \".\", doubled or closing slashes, such as /srv/d1",
    ))
}

impl Wire for DiskOrder {
    type Message = v1::DiskOrder;

    fn to_wire(&self) -> v1::DiskOrder {
        let order = match self {
            Self::Add(disk) => disk_order::Order::Add(disk.to_wire()),
            Self::Remove { disk, source } => disk_order::Order::Remove(disk_order::Remove {
                disk_id: disk.to_string(),
                source: Some(source.to_wire()),
            }),
        };
        v1::DiskOrder { order: Some(order) }
    }

    fn from_wire(message: v1::DiskOrder, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::DiskOrder { order } = message;
        match order {
            None => Err(at.invalid("the order says not what to do", "set one of add and remove")),
            Some(disk_order::Order::Add(disk)) => {
                Wire::from_wire(disk, &at.field("add")).map(Self::Add)
            },
            Some(disk_order::Order::Remove(disk_order::Remove { disk_id, source })) => {
                let at = at.field("remove");
                Ok(Self::Remove {
                    disk: field::id(&disk_id, &at.field("disk_id"))?,
                    source: field::required(source, &at.field("source"))?,
                })
            },
        }
    }
}

impl Wire for LedgerDiskOrder {
    type Message = ledger_wire::v1::DiskOrder;

    fn to_wire(&self) -> Self::Message {
        let Self { operation, order, state } = self;
        let (stage, error) = match state {
            DiskOrderState::Pending => (Stage::Pending, None),
            DiskOrderState::Done => (Stage::Done, None),
            DiskOrderState::Failed(error) => (Stage::Failed, Some(error.to_wire())),
        };
        ledger_wire::v1::DiskOrder {
            operation_id: operation.to_string(),
            order: Some(order.to_wire()),
            state: stage.number(),
            error,
        }
    }

    fn from_wire(message: Self::Message, at: &At<'_>) -> Result<Self, Rejection> {
        let ledger_wire::v1::DiskOrder { operation_id, order, state, error } = message;
        let error_at = at.field("error");
        let state = match (Stage::read(state, &at.field("state"))?, error) {
            (Stage::Pending, None) => DiskOrderState::Pending,
            (Stage::Done, None) => DiskOrderState::Done,
            (Stage::Failed, error) => DiskOrderState::Failed(field::required(error, &error_at)?),
            (Stage::Pending | Stage::Done, Some(_)) => {
                return Err(error_at.invalid(
                    "an order that has not failed carries an error",
                    "restore the ledger from a backup",
                ));
            },
        };
        Ok(Self {
            operation: field::id(&operation_id, &at.field("operation_id"))?,
            order: field::required(order, &at.field("order"))?,
            state,
        })
    }
}

pub(super) fn add_to_wire(agent: AgentId, disk: &DiskDeclaration) -> submit::Request {
    submit::Request::AddDisk(submit::AddDisk {
        agent_id: agent.to_string(),
        disk: Some(disk.to_wire()),
    })
}

pub(super) fn remove_to_wire(disk: DiskId) -> submit::Request {
    submit::Request::RemoveDisk(submit::RemoveDisk { disk_id: disk.to_string() })
}

pub(super) fn add(message: submit::AddDisk, at: &At<'_>) -> Result<Request, Rejection> {
    let submit::AddDisk { agent_id, disk } = message;
    let (agent, disk_at) = (field::id(&agent_id, &at.field("agent_id"))?, at.field("disk"));
    let disk: DiskDeclaration = field::required(disk, &disk_at)?;
    callable(&disk, &disk_at)?;
    Ok(Request::AddDisk { agent, disk: Box::new(disk) })
}

/// What a call may not ask for. Of what an older release let into a record, the agent says that it cannot be used.
fn callable(disk: &DiskDeclaration, at: &At<'_>) -> Result<(), Rejection> {
    let DiskDeclaration { source, name: _, driver, size: _ } = disk;
    let is_name =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-:".contains(&byte);
    if driver.len() > DRIVER_MAX || !driver.bytes().all(is_name) {
        let problem = format!("a text of {} bytes is no driver's name", driver.len());
        let remedy = "leave it empty, or name one, such as image:xfs";
        return Err(at.field("driver").invalid(problem, remedy));
    }
    match source {
        DiskSource::Path(root) | DiskSource::Mount(root) | DiskSource::Block(root)
            if root.len() > PATH_MAX =>
        {
            let problem = format!("the path has {} bytes", root.len());
            let remedy = format!("Linux opens at most {PATH_MAX}");
            Err(at.field("source").field("root").invalid(problem, &remedy))
        },
        DiskSource::Root | DiskSource::Path(_) | DiskSource::Mount(_) | DiskSource::Block(_) => {
            Ok(())
        },
    }
}

/// The longest name of a driver, in bytes.
const DRIVER_MAX: usize = 64;
/// The longest path that Linux takes, in bytes, without its final zero.
const PATH_MAX: usize = 4095;

pub(super) fn remove(message: submit::RemoveDisk, at: &At<'_>) -> Result<Request, Rejection> {
    let submit::RemoveDisk { disk_id } = message;
    let disk = field::id(&disk_id, &at.field("remove_disk").field("disk_id"))?;
    Ok(Request::RemoveDisk { disk })
}

pub(super) fn order_to_wire(operation: OperationId, order: &DiskOrder) -> to::Message {
    let (operation_id, order) = (operation.to_string(), Some(order.to_wire()));
    to::Message::OrderDisk(to::OrderDisk { operation_id, order })
}

pub(super) fn order(message: to::OrderDisk, at: &At<'_>) -> Result<ToAgent, Rejection> {
    let to::OrderDisk { operation_id, order } = message;
    Ok(ToAgent::OrderDisk {
        operation: field::id(&operation_id, &at.field("operation_id"))?,
        order: Box::new(field::required(order, &at.field("order"))?),
    })
}

pub(super) fn forget(message: to::ForgetDiskOrder, at: &At<'_>) -> Result<ToAgent, Rejection> {
    let to::ForgetDiskOrder { operation_id } = message;
    let operation = field::id(&operation_id, &at.field("operation_id"))?;
    Ok(ToAgent::ForgetDiskOrder { operation })
}

pub(super) fn attempt(message: to::TryDisk, at: &At<'_>) -> Result<ToAgent, Rejection> {
    let to::TryDisk { read, order } = message;
    Ok(ToAgent::TryDisk { read, order: Box::new(field::required(order, &at.field("order"))?) })
}

pub(super) fn ordered(message: from::DiskOrdered, at: &At<'_>) -> Result<FromAgent, Rejection> {
    let from::DiskOrdered { ledger_seq, operation_id, error } = message;
    let operation = field::id(&operation_id, &at.field("operation_id"))?;
    let error = field::optional(error, &at.field("error"))?;
    Ok(FromAgent::DiskOrdered { ledger_seq, operation, result: error.map_or(Ok(()), Err) })
}

impl Wire for LedgerDisk {
    type Message = ledger_wire::v1::Disk;

    fn to_wire(&self) -> Self::Message {
        let Self { id, name, source, filesystem } = self;
        ledger_wire::v1::Disk {
            disk_id: id.to_string(),
            name: name.to_string(),
            source: Some(source.to_wire()),
            filesystem: filesystem.to_string(),
        }
    }

    fn from_wire(message: Self::Message, at: &At<'_>) -> Result<Self, Rejection> {
        let ledger_wire::v1::Disk { disk_id, name, source, filesystem } = message;
        Ok(Self {
            id: field::id(&disk_id, &at.field("disk_id"))?,
            name: Arc::from(name),
            source: field::required(source, &at.field("source"))?,
            filesystem: Arc::from(filesystem),
        })
    }
}
