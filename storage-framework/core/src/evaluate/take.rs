//! Taking parts of an offer, own reservations first, then the role's, then what is free.

use super::{Class, class, is_plain};
use crate::document::DiskKind;
use berth_model::reservation::Reservation;
use berth_model::resources::{DiskSource, Name, Range, Ranges, Resource, Resources, Value};
use berth_model::role::Role;
use berth_model::units::{Bytes, Scalar};

/// A part of an offer; `resource` has the pod's level on its stack when it is to be reserved.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) resource: Resource,
    pub(super) reserve: bool,
}

/// What of an offer is not taken yet, the most suitable first.
#[derive(Debug)]
pub(super) struct Left<'a> {
    level: &'a Reservation,
    items: Vec<(Class, Resource)>,
}

impl<'a> Left<'a> {
    pub(super) fn new(offered: &Resources, role: &Role, level: &'a Reservation) -> Self {
        let mut items: Vec<(Class, Resource)> = offered
            .iter()
            .filter(is_plain)
            .filter_map(|resource| Some((class(&resource.stack, role, level)?, resource)))
            .collect();
        // The root disk is shared with sandboxes and logs, so it comes last of its class. Of disks that are only
        // given away whole the smallest that will do is taken.
        items.sort_by_key(|(class, resource)| {
            let source = resource.disk_source();
            let whole = if source.is_divisible() { None } else { resource.amount() };
            (*class, source == DiskSource::Root, whole)
        });
        Self { level, items }
    }

    fn piece(level: &Reservation, class: Class, part: Resource) -> Option<Piece> {
        match class {
            Class::Own | Class::Role => Some(Piece { resource: part, reserve: false }),
            Class::Free => Some(Piece { resource: part.push(level.clone()).ok()?, reserve: true }),
        }
    }

    /// `amount` in as many pieces as it takes, or how much there is.
    pub(super) fn scalar(&mut self, name: &Name, amount: Scalar) -> Result<Vec<Piece>, Scalar> {
        let mut missing = amount;
        let mut pieces = Vec::new();
        for (class, resource) in
            self.items.iter_mut().filter(|(_, resource)| resource.name == *name)
        {
            let Some(there) = resource.amount() else { continue };
            let part = there.min(missing);
            if !part.is_positive() {
                continue;
            }
            let taken = Resource { value: Value::Scalar(part), ..resource.clone() };
            let Some(piece) = Self::piece(self.level, *class, taken) else { continue };
            resource.value = Value::Scalar(there.saturating_sub(part));
            missing = missing.saturating_sub(part);
            pieces.push(piece);
        }
        if missing.is_positive() { Err(amount.saturating_sub(missing)) } else { Ok(pieces) }
    }

    /// `size` from one disk of the kind, or the largest amount on one; a MOUNT disk is taken whole.
    pub(super) fn disk(&mut self, size: Bytes, kind: Option<DiskKind>) -> Result<Piece, Scalar> {
        let wanted = size.to_scalar().unwrap_or_default();
        let mut largest = Scalar::ZERO;
        for (class, resource) in self.items.iter_mut().filter(|(_, resource)| {
            resource.name == Name::Disk && is_of_kind(&resource.disk_source(), kind)
        }) {
            let Some(there) = resource.amount() else { continue };
            largest = largest.max(there);
            if there < wanted || !there.is_positive() {
                continue;
            }
            let part = if resource.disk_source().is_divisible() { wanted } else { there };
            let taken = Resource { value: Value::Scalar(part), ..resource.clone() };
            let Some(piece) = Self::piece(self.level, *class, taken) else { continue };
            resource.value = Value::Scalar(there.saturating_sub(part));
            return Ok(piece);
        }
        Err(largest)
    }

    /// The port of this number.
    pub(super) fn port(&mut self, number: u64) -> Option<Piece> {
        let one = single(number)?;
        for (class, resource) in
            self.items.iter_mut().filter(|(_, resource)| resource.name == Name::Ports)
        {
            let Value::Ranges(ranges) = &resource.value else { continue };
            if !ranges.contains(&one) {
                continue;
            }
            let taken = Resource { value: Value::Ranges(one.clone()), ..resource.clone() };
            let Some(piece) = Self::piece(self.level, *class, taken) else { continue };
            resource.value = Value::Ranges(ranges.minus(&one));
            return Some(piece);
        }
        None
    }

    /// The wished port, else one of the best class whose position the wish determines, so that services on agents
    /// that share one machine rarely choose the same.
    pub(super) fn port_near(&mut self, wish: u64) -> Option<(u64, Piece)> {
        if let Some(piece) = self.port(wish) {
            return Some((wish, piece));
        }
        let ranges = self.items.iter().filter_map(|(_, resource)| match &resource.value {
            Value::Ranges(ranges) if resource.name == Name::Ports && !ranges.is_empty() => {
                Some(ranges)
            },
            Value::Ranges(_) | Value::Scalar(_) | Value::Set(_) => None,
        });
        let ranges = ranges.clone().next()?;
        let mut position = wish % ranges.count();
        let number = ranges.as_slice().iter().find_map(|range| {
            let here = (range.end - range.begin).saturating_add(1);
            let number = (position < here).then_some(range.begin.saturating_add(position));
            position = position.saturating_sub(here);
            number
        })?;
        Some((number, self.port(number)?))
    }
}

/// Without a wish a volume gets a part of a disk, never a whole one.
fn is_of_kind(source: &DiskSource, kind: Option<DiskKind>) -> bool {
    match (source, kind) {
        (DiskSource::Root, Some(DiskKind::Root) | None)
        | (DiskSource::Path(_), Some(DiskKind::Path) | None)
        | (DiskSource::Mount(_), Some(DiskKind::Mount)) => true,
        (DiskSource::Root | DiskSource::Path(_) | DiskSource::Mount(_), _) => false,
    }
}

fn single(number: u64) -> Option<Ranges> {
    Ranges::new(vec![Range { begin: number, end: number }]).ok()
}
