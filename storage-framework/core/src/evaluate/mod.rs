//! Does an offer hold what a pod needs, and if so, which part of it is used how?
//!
//! It knows offers and needs, no services and no history. Invariants: what is used is part of the offer after the
//! reservations it asks for; what belongs to another service of the role is never touched; volumes that exist are
//! only used, never made anew.

mod take;

use crate::document::DiskKind;
use berth_model::id::VolumeName;
use berth_model::reservation::{Reservation, Stack};
use berth_model::resources::{Mount, MountMode, Name, Persistence, Resource, Resources, Value};
use berth_model::role::Role;
use berth_model::units::{Bytes, Scalar};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The label that names the service of a reservation.
pub const LABEL_SERVICE: &str = "service";
/// The label that names the pod instance of a reservation.
pub const LABEL_POD: &str = "pod";
/// The label that counts the places of the pod.
pub const LABEL_PLACE: &str = "place";

/// A port that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortWish {
    /// Any, this one first.
    Near(u64),
    /// This one.
    Exactly(u64),
}

/// A volume that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeWish {
    /// In the cluster.
    pub name: VolumeName,
    /// How large, at least: on a MOUNT disk it gets all of it.
    pub size: Bytes,
    /// On which kind of disk; without one on any that can be divided.
    pub disk: Option<DiskKind>,
    /// Where it is mounted.
    pub path: String,
}

/// May volumes be made?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volumes {
    /// They must all be in the offer.
    Present,
    /// Those that are not in the offer are created.
    Create,
}

/// What a pod needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Whose resources.
    pub role: Role,
    /// The level that marks the pod's own reservations.
    pub level: Reservation,
    /// Processors.
    pub cpu: Scalar,
    /// Memory.
    pub memory: Bytes,
    /// By name.
    pub ports: BTreeMap<String, PortWish>,
    /// In order.
    pub volumes: Vec<VolumeWish>,
}

/// How an offer is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// To be reserved first.
    pub reserve: Resources,
    /// To be created then.
    pub create: Vec<Resource>,
    /// What the task uses, volumes included.
    pub used: Resources,
    /// The numbers behind the ports.
    pub ports: BTreeMap<String, u64>,
}

/// Is this reservation marked as one of the pod's places?
#[must_use]
pub fn place_of(level: &Reservation) -> Option<(&str, &str, u64)> {
    let label = |key: &str| level.labels().iter().find(|(k, _)| &**k == key).map(|(_, v)| &**v);
    Some((label(LABEL_SERVICE)?, label(LABEL_POD)?, label(LABEL_PLACE)?.parse().ok()?))
}

/// The volumes in `offered` that may be the pod's, by name: those that carry `level` on top, and those its principal
/// made on disk that an operator had reserved to the role, of which only the name says whose they are.
#[must_use]
pub fn volumes_in(
    offered: &Resources,
    role: &Role,
    level: &Reservation,
) -> BTreeMap<VolumeName, Resource> {
    let usable = |volume: &Resource| match class(&volume.stack, role, level) {
        Some(Class::Own) => true,
        Some(Class::Role) => {
            volume.persistence().is_some_and(|held| held.principal == level.principal)
        },
        Some(Class::Free) | None => false,
    };
    let volumes = offered.volumes().into_iter().filter(usable);
    volumes.filter_map(|v| Some((v.persistence()?.name.clone(), v))).collect()
}

/// Checks an offer.
///
/// # Errors
/// Every reason why it does not fit, for people.
pub fn evaluate(need: &Need, offered: &Resources, volumes: Volumes) -> Result<Fit, Vec<String>> {
    let mut left = take::Left::new(offered, &need.role, &need.level);
    let mut fit = Fit::default();
    let mut reasons = Vec::new();
    take_volumes(need, volumes, offered, &mut left, &mut fit, &mut reasons);
    let memory = need.memory.to_scalar();
    for (name, amount) in [(Name::Cpus, Some(need.cpu)), (Name::Mem, memory.ok())] {
        let Some(amount) = amount else { continue };
        let unit = if name == Name::Mem { " MiB" } else { "" };
        match left.scalar(&name, amount) {
            Ok(pieces) => add(&mut fit, pieces),
            Err(there) => {
                reasons.push(format!("{name}: {amount}{unit} wanted, {there}{unit} offered"));
            },
        }
    }
    take_ports(need, &mut left, &mut fit, &mut reasons);
    if reasons.is_empty() { Ok(fit) } else { Err(reasons) }
}

fn add(fit: &mut Fit, pieces: Vec<take::Piece>) {
    for piece in pieces {
        let sums =
            if piece.reserve { vec![&mut fit.reserve, &mut fit.used] } else { vec![&mut fit.used] };
        for sum in sums {
            sum.add(&piece.resource).expect("parts of an offer sum up to no more than the offer");
        }
    }
}

fn take_volumes(
    need: &Need,
    volumes: Volumes,
    offered: &Resources,
    left: &mut take::Left<'_>,
    fit: &mut Fit,
    reasons: &mut Vec<String>,
) {
    let present = volumes_in(offered, &need.role, &need.level);
    for wish in &need.volumes {
        let mount =
            Mount { container_path: Arc::from(wish.path.as_str()), mode: MountMode::ReadWrite };
        if let Some(found) = present.get(&wish.name) {
            let mut volume = found.clone();
            volume.disk.iter_mut().for_each(|disk| disk.mount = Some(mount.clone()));
            fit.used.add(&volume).expect("one volume of a name");
            continue;
        }
        if volumes == Volumes::Present {
            reasons.push(format!("volume {}: not offered", wish.name));
            continue;
        }
        match left.disk(wish.size, wish.disk) {
            Ok(piece) => {
                let persistence = Persistence {
                    name: wish.name.clone(),
                    principal: need.level.principal.clone(),
                };
                let volume = piece.resource.clone().with_volume(persistence, mount);
                if piece.reserve {
                    fit.reserve
                        .add(&piece.resource)
                        .expect("parts of an offer sum up to no more than the offer");
                }
                fit.used.add(&volume).expect("one volume of a name");
                fit.create.push(volume);
            },
            Err(largest) => {
                let kind = wish.disk.map(|kind| format!("{kind} ")).unwrap_or_default();
                reasons.push(format!(
                    "disk: {} wanted on one {kind}disk for volume {}, at most {} offered",
                    wish.size,
                    wish.name,
                    Bytes::from_scalar(largest)
                ));
            },
        }
    }
}

fn take_ports(need: &Need, left: &mut take::Left<'_>, fit: &mut Fit, reasons: &mut Vec<String>) {
    let exact = |wish: &PortWish| matches!(wish, PortWish::Exactly(_));
    let (first, then): (Vec<_>, Vec<_>) = need.ports.iter().partition(|(_, wish)| exact(wish));
    for (name, wish) in first.into_iter().chain(then) {
        let found = match wish {
            PortWish::Exactly(number) => left.port(*number).map(|piece| (*number, piece)),
            PortWish::Near(number) => left.port_near(*number),
        };
        match (found, wish) {
            (Some((number, piece)), _) => {
                fit.ports.insert(name.clone(), number);
                add(fit, vec![piece]);
            },
            (None, PortWish::Exactly(number)) => {
                reasons.push(format!("port {name}: {number} not offered"));
            },
            (None, PortWish::Near(_)) => reasons.push(format!("port {name}: none offered")),
        }
    }
}

/// What `stack` is to a pod of `role` whose own reservations carry `level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// Its own reservation.
    Own,
    /// Reserved to the role by an operator, for nobody in particular.
    Role,
    /// Free to be reserved.
    Free,
}

fn class(stack: &Stack, role: &Role, level: &Reservation) -> Option<Class> {
    match stack.top() {
        None => Some(Class::Free),
        Some(top) if top == level => Some(Class::Own),
        Some(top) if top.role == *role => top.labels().is_empty().then_some(Class::Role),
        Some(top) => role.is_below(&top.role).then_some(Class::Free),
    }
}

fn is_plain(resource: &Resource) -> bool {
    resource.persistence().is_none()
        && !resource.shared
        && !resource.revocable
        && resource.provider.is_none()
        && !matches!(resource.value, Value::Set(_))
}

#[cfg(test)]
mod tests;
