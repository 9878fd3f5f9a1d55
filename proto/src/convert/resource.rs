//! Resources, their reservation stacks and disk facets, and sums of them.

use super::field::{self, Choice, choice};
use super::{At, Wire};
use crate::v1;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::reservation::{Label, Reservation, ReservationKind, Stack};
use berth_model::resources::{
    DiskInfo, DiskSource, Entry, Mount, MountMode, Name, Persistence, Range, Ranges, Resource,
    ResourceError, Resources, Value,
};
use berth_model::units::Scalar;
use std::collections::BTreeSet;
use std::sync::Arc;

choice!(ReservationKind, v1::ReservationKind, "reservation kind", [Static, Dynamic]);
choice!(MountMode, v1::MountMode, "mount mode", [ReadWrite, ReadOnly]);

/// The kinds of a disk without its root.
#[derive(Clone, Copy)]
enum DiskKind {
    Root,
    Path,
    Mount,
    Block,
}
choice!(DiskKind, v1::DiskKind, "disk kind", [Root, Path, Mount, Block]);

impl Wire for DiskSource {
    type Message = v1::DiskSource;

    fn to_wire(&self) -> v1::DiskSource {
        let (kind, root) = match self {
            Self::Root => (DiskKind::Root, ""),
            Self::Path(root) => (DiskKind::Path, &**root),
            Self::Mount(root) => (DiskKind::Mount, &**root),
            Self::Block(device) => (DiskKind::Block, &**device),
        };
        v1::DiskSource { kind: kind.number(), root: root.to_owned() }
    }

    fn from_wire(message: v1::DiskSource, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::DiskSource { kind, root } = message;
        let root_at = at.field("root");
        match DiskKind::read(kind, &at.field("kind"))? {
            DiskKind::Root if root.is_empty() => Ok(Self::Root),
            DiskKind::Root => Err(root_at.invalid(
                format!("the ROOT disk is given the directory {root:?}"),
                "leave it empty, or use the kind PATH",
            )),
            DiskKind::Path => Ok(Self::Path(Arc::from(field::filled(root, &root_at)?))),
            DiskKind::Mount => Ok(Self::Mount(Arc::from(field::filled(root, &root_at)?))),
            DiskKind::Block => Ok(Self::Block(Arc::from(field::filled(root, &root_at)?))),
        }
    }
}

impl Wire for Mount {
    type Message = v1::Mount;

    fn to_wire(&self) -> v1::Mount {
        let Self { container_path, mode } = self;
        v1::Mount { container_path: container_path.to_string(), mode: mode.number() }
    }

    fn from_wire(message: v1::Mount, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Mount { container_path, mode } = message;
        Ok(Self {
            container_path: field::container_path(container_path, &at.field("container_path"))?,
            mode: MountMode::read(mode, &at.field("mode"))?,
        })
    }
}

impl Wire for Persistence {
    type Message = v1::Persistence;

    fn to_wire(&self) -> v1::Persistence {
        let Self { name, principal } = self;
        v1::Persistence {
            name: name.to_string(),
            principal: principal.as_ref().map(ToString::to_string),
        }
    }

    fn from_wire(message: v1::Persistence, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Persistence { name, principal } = message;
        Ok(Self {
            name: field::id(&name, &at.field("name"))?,
            principal: field::optional_id(principal.as_deref(), &at.field("principal"))?,
        })
    }
}

impl Wire for DiskInfo {
    type Message = v1::DiskInfo;

    fn to_wire(&self) -> v1::DiskInfo {
        let Self { source, persistence, mount } = self;
        v1::DiskInfo {
            source: Some(source.to_wire()),
            persistence: persistence.as_ref().map(Wire::to_wire),
            mount: mount.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(message: v1::DiskInfo, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::DiskInfo { source, persistence, mount } = message;
        let persistence = field::optional(persistence, &at.field("persistence"))?;
        let mount_at = at.field("mount");
        if persistence.is_some() && mount.is_none() {
            return Err(mount_at.invalid(
                "a persistent volume has no mount",
                "say at which container path it is mounted",
            ));
        }
        Ok(Self {
            source: field::optional(source, &at.field("source"))?.unwrap_or_default(),
            persistence,
            mount: field::optional(mount, &mount_at)?,
        })
    }
}

impl Wire for Reservation {
    type Message = v1::Reservation;

    fn to_wire(&self) -> v1::Reservation {
        // The labels are private and read below.
        let Self { role, kind, principal, .. } = self;
        let label =
            |(key, value): &Label| v1::Label { key: key.to_string(), value: value.to_string() };
        v1::Reservation {
            role: role.to_string(),
            kind: kind.number(),
            principal: principal.as_ref().map(ToString::to_string),
            labels: self.labels().iter().map(label).collect(),
        }
    }

    fn from_wire(message: v1::Reservation, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Reservation { role, kind, principal, labels } = message;
        let role = field::owner(&role, &at.field("role"))?;
        let plain = match ReservationKind::read(kind, &at.field("kind"))? {
            ReservationKind::Static => Self::fixed(role),
            ReservationKind::Dynamic => Self::dynamic(role),
        };
        let labels_at = at.field("labels");
        field::count(labels.len(), &labels_at)?;
        let labels = labels
            .into_iter()
            .enumerate()
            .map(|(index, v1::Label { key, value })| {
                let at = labels_at.index(index);
                let key = field::filled(key, &at.field("key"))?;
                Ok((Arc::from(key), field::arc(value, &at.field("value"))?))
            })
            .collect::<Result<Vec<Label>, Rejection>>()?;
        let principal = field::optional_id(principal.as_deref(), &at.field("principal"))?;
        Ok(plain.with_principal(principal).with_labels(labels))
    }
}

pub(super) fn stack_to_wire(stack: &Stack) -> Vec<v1::Reservation> {
    field::messages(stack.levels())
}

pub(super) fn stack(levels: Vec<v1::Reservation>, at: &At<'_>) -> Result<Stack, Rejection> {
    field::count(levels.len(), at)?;
    Stack::new(field::list(levels, at)?).map_err(|e| {
        at.refuse(
            ErrorCode::InvalidResources,
            e,
            "give the levels from the outermost role down, at most the first of them static",
        )
    })
}

fn value_to_wire(value: &Value) -> v1::resource::Value {
    match value {
        Value::Scalar(amount) => v1::resource::Value::ScalarMilli(amount.milli()),
        Value::Ranges(ranges) => v1::resource::Value::Ranges(v1::Ranges {
            ranges: ranges
                .as_slice()
                .iter()
                .map(|Range { begin, end }| v1::Range { begin: *begin, end: *end })
                .collect(),
        }),
        Value::Set(items) => v1::resource::Value::Set(v1::Set {
            items: items.iter().map(|i| i.to_string()).collect(),
        }),
    }
}

fn value(wire: v1::resource::Value, name: &Name, at: &At<'_>) -> Result<Value, Rejection> {
    let refuse = |at: &At<'_>, problem: String, remedy: &str| {
        Err(at.refuse(ErrorCode::InvalidResources, problem, remedy))
    };
    match wire {
        v1::resource::Value::ScalarMilli(milli) => {
            let at = at.field("scalar_milli");
            let is_size = matches!(name, Name::Mem | Name::Disk);
            let amount = Scalar::from_milli(milli);
            if !amount.is_positive() {
                return refuse(&at, format!("{name} is {amount}"), "give an amount above zero");
            }
            if is_size && milli % 1_000 != 0 {
                let problem = format!("{name} of {amount} MiB is not a whole number of MiB");
                return refuse(&at, problem, "give whole MiB: a multiple of 1000");
            }
            Ok(Value::Scalar(amount))
        },
        v1::resource::Value::Ranges(v1::Ranges { ranges }) => {
            let at = at.field("ranges.ranges");
            field::count(ranges.len(), &at)?;
            let ranges =
                ranges.into_iter().map(|v1::Range { begin, end }| Range { begin, end }).collect();
            match Ranges::new(ranges) {
                Ok(ranges) => Ok(Value::Ranges(ranges)),
                Err(e) => refuse(&at, e.to_string(), "give each number once, begin before end"),
            }
        },
        v1::resource::Value::Set(v1::Set { items }) => {
            let at = at.field("set.items");
            field::count(items.len(), &at)?;
            let mut set = BTreeSet::new();
            for (index, item) in items.into_iter().enumerate() {
                let at = at.index(index);
                let item: Arc<str> = Arc::from(field::filled(item, &at)?);
                if !set.insert(Arc::clone(&item)) {
                    let problem = format!("{item:?} is given twice");
                    return refuse(&at, problem, "give each item once");
                }
            }
            Ok(Value::Set(set))
        },
    }
}

/// The field of a resource that `error` is about.
fn culprit(error: &ResourceError) -> Option<&'static str> {
    match error {
        ResourceError::NoName => Some("name"),
        ResourceError::NotPositive { .. } => Some("scalar_milli"),
        ResourceError::NothingIn { .. } | ResourceError::Kind { .. } => Some("value"),
        ResourceError::DiskOnOther { .. } => Some("disk"),
        ResourceError::MountWithoutVolume => Some("disk.mount"),
        ResourceError::SharedNotVolume { .. } => Some("shared"),
        ResourceError::Revocable { .. } => Some("revocable"),
        ResourceError::Overflow { .. }
        | ResourceError::Ranges { .. }
        | ResourceError::Item { .. } => None,
    }
}

fn refuse(error: &ResourceError, at: &At<'_>) -> Rejection {
    let remedy = "give the resource once, with the whole amount";
    match culprit(error) {
        Some(name) => at.field(name).refuse(ErrorCode::InvalidResources, error, remedy),
        None => at.refuse(ErrorCode::InvalidResources, error, remedy),
    }
}

fn entry_to_wire(resource: &Resource, copies: u64) -> v1::Resource {
    let Resource { name, value, stack, disk, shared, revocable, provider, allocation_role } =
        resource;
    v1::Resource {
        name: name.as_str().to_owned(),
        value: Some(value_to_wire(value)),
        reservations: stack_to_wire(stack),
        disk: disk.as_ref().map(Wire::to_wire),
        shared: *shared,
        revocable: *revocable,
        provider: provider.as_ref().map(ToString::to_string),
        allocation_role: allocation_role.as_ref().map(ToString::to_string),
        copies: (copies > 1).then(|| u32::try_from(copies).unwrap_or(u32::MAX)),
    }
}

fn entry(message: v1::Resource, at: &At<'_>) -> Result<Entry, Rejection> {
    let v1::Resource {
        name,
        value: wire_value,
        reservations,
        disk,
        shared,
        revocable,
        provider,
        allocation_role,
        copies,
    } = message;
    let name_at = at.field("name");
    if name.is_empty() {
        return Err(refuse(&ResourceError::NoName, at));
    }
    let name = Name::new(&field::text(name, &name_at)?);
    let wire_value = wire_value.ok_or_else(|| {
        at.field("value")
            .invalid(format!("{name} has no amount"), "set one of scalar_milli, ranges and set")
    })?;
    let provider_at = at.field("provider");
    let role_at = at.field("allocation_role");
    let resource = Resource {
        value: value(wire_value, &name, at)?,
        name,
        stack: stack(reservations, &at.field("reservations"))?,
        disk: field::optional(disk, &at.field("disk"))?,
        shared,
        revocable,
        provider: provider.map(|p| field::filled(p, &provider_at)).transpose()?.map(Arc::from),
        allocation_role: allocation_role.map(|r| field::role(&r, &role_at)).transpose()?,
    };
    resource.validate().map_err(|e| refuse(&e, at))?;
    let copies = match copies {
        None | Some(1) => 1,
        Some(copies) if !resource.is_divisible() && (2..=10_000).contains(&copies) => copies,
        Some(copies) => {
            return Err(at.field("copies").refuse(
                ErrorCode::InvalidResources,
                format!("{} cannot occur {copies} times", resource.name),
                "leave it out; only volumes and whole disks are counted, up to 10000",
            ));
        },
    };
    Ok(Entry { resource, copies: u64::from(copies) })
}

impl Wire for Resource {
    type Message = v1::Resource;

    fn to_wire(&self) -> v1::Resource {
        entry_to_wire(self, 1)
    }

    fn from_wire(message: v1::Resource, at: &At<'_>) -> Result<Self, Rejection> {
        let Entry { resource, copies } = entry(message, at)?;
        if copies != 1 {
            return Err(at.field("copies").refuse(
                ErrorCode::InvalidResources,
                "one resource is expected here",
                "leave the number of copies out",
            ));
        }
        Ok(resource)
    }
}

pub(super) fn sum_to_wire(sum: &Resources) -> Vec<v1::Resource> {
    sum.entries().map(|Entry { resource, copies }| entry_to_wire(&resource, copies)).collect()
}

/// A sum of any length.
pub(super) fn sum(list: Vec<v1::Resource>, at: &At<'_>) -> Result<Resources, Rejection> {
    let mut sum = Resources::new();
    for (index, message) in list.into_iter().enumerate() {
        let at = at.index(index);
        let Entry { resource, copies } = entry(message, &at)?;
        for _ in 0..copies {
            sum.add(&resource).map_err(|e| refuse(&e, &at))?;
        }
    }
    Ok(sum)
}

/// A sum that a client's call names: not empty, and of limited length.
pub(super) fn called_sum(list: Vec<v1::Resource>, at: &At<'_>) -> Result<Resources, Rejection> {
    some(list.len(), at)?;
    sum(list, at)
}

/// Refuses an empty or overlong list of resources in a call.
pub(super) fn some(length: usize, at: &At<'_>) -> Result<(), Rejection> {
    if length == 0 {
        return Err(at.refuse(
            ErrorCode::InvalidResources,
            "no resource is given",
            "give at least one",
        ));
    }
    field::count(length, at)
}
