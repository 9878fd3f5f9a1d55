//! Amounts by name, in thousandths: a vector of fixed width for the names that every cluster has, a list for the others.
//!
//! Invariant: the list is ordered by name and holds no zeros, so that equal amounts are equal values.

use super::Name;
use crate::units::Scalar;

/// Cpus, mem, disk, gpus, ports.
const KINDS: usize = 5;

/// How much of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quantities {
    first: [i64; KINDS],
    others: Vec<(Name, i64)>,
}

fn place(name: &Name) -> Option<usize> {
    match name {
        Name::Cpus => Some(0),
        Name::Mem => Some(1),
        Name::Disk => Some(2),
        Name::Gpus => Some(3),
        Name::Ports => Some(4),
        Name::Other(_) => None,
    }
}

impl Quantities {
    /// How much of this name.
    #[must_use]
    pub fn get(&self, name: &Name) -> Scalar {
        let first = place(name).and_then(|at| self.first.get(at)).copied();
        Scalar::from_milli(first.unwrap_or_else(|| self.other(name)))
    }
    /// The names of which there is some, with the amounts.
    pub fn iter(&self) -> impl Iterator<Item = (Name, Scalar)> + '_ {
        let names = [Name::Cpus, Name::Mem, Name::Disk, Name::Gpus, Name::Ports];
        let first = names.into_iter().zip(self.first).filter(|(_, amount)| *amount != 0);
        let all = first.chain(self.others.iter().cloned());
        all.map(|(name, amount)| (name, Scalar::from_milli(amount)))
    }
    /// Adds some of one name.
    pub fn put(&mut self, name: &Name, amount: i64) {
        if let Some(mine) = place(name).and_then(|at| self.first.get_mut(at)) {
            *mine = mine.saturating_add(amount);
            return;
        }
        match self.others.binary_search_by(|(own, _)| own.cmp(name)) {
            Ok(at) => {
                let (_, mine) = &mut self.others[at];
                *mine = mine.saturating_add(amount);
                if *mine == 0 {
                    self.others.remove(at);
                }
            },
            Err(_) if amount == 0 => {},
            Err(at) => self.others.insert(at, (name.clone(), amount)),
        }
    }
    /// Adds all, to the largest number at most.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.first.iter_mut().zip(other.first) {
            *mine = mine.saturating_add(theirs);
        }
        for (name, amount) in &other.others {
            self.put(name, *amount);
        }
    }
    /// Takes all away; below zero where there was less.
    pub fn subtract(&mut self, other: &Self) {
        for (mine, theirs) in self.first.iter_mut().zip(other.first) {
            *mine = mine.saturating_sub(theirs);
        }
        for (name, amount) in &other.others {
            self.put(name, amount.saturating_neg());
        }
    }
    /// Nothing of anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first == [0; KINDS] && self.others.is_empty()
    }
    /// Each amount of these beside that of `whole`.
    pub fn beside<'a>(&'a self, whole: &'a Self) -> impl Iterator<Item = (i64, i64)> {
        let others = self.others.iter().map(|(name, part)| (*part, whole.other(name)));
        self.first.into_iter().zip(whole.first).chain(others)
    }
    fn other(&self, name: &Name) -> i64 {
        let found = self.others.binary_search_by(|(own, _)| own.cmp(name));
        found.ok().and_then(|at| self.others.get(at)).map_or(0, |(_, amount)| *amount)
    }
    /// Whether any amount is off from that of `other` by more than one part in `parts` of it.
    #[must_use]
    pub fn is_far_from(&self, other: &Self, parts: i64) -> bool {
        let far = |(now, then): (i64, i64)| {
            let off = (i128::from(now) - i128::from(then)).abs();
            off * i128::from(parts) > i128::from(then).abs()
        };
        self.beside(other).any(far) || other.beside(self).any(|(then, now)| far((now, then)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_amounts_are_equal_whatever_led_there() {
        let plates = || Name::new("plates");
        let mut some = Quantities::default();
        for (name, amount) in [(Name::Cpus, 3), (plates(), 7), (Name::new("cups"), 2)] {
            some.put(&name, amount);
        }
        let mut twice = some.clone();
        twice.add(&some);
        twice.subtract(&some);
        assert_eq!(twice, some);
        twice.put(&plates(), -7);
        let mut rest = Quantities::default();
        rest.put(&Name::new("cups"), 2);
        rest.put(&Name::Cpus, 3);
        assert_eq!(twice, rest);
        twice.subtract(&rest);
        assert!(twice.is_empty() && !rest.is_empty());
    }

    #[test]
    fn far_is_measured_on_what_was() {
        let of = |cpus: i64, plates: i64| {
            let mut some = Quantities::default();
            some.put(&Name::Cpus, cpus);
            some.put(&Name::new("plates"), plates);
            some
        };
        assert!(!of(170, 0).is_far_from(&of(160, 0), 16));
        assert!(of(171, 0).is_far_from(&of(160, 0), 16));
        assert!(!of(150, 0).is_far_from(&of(160, 0), 16));
        assert!(of(160, 1).is_far_from(&of(160, 0), 16), "a name that was not there");
        assert!(of(160, 0).is_far_from(&of(160, 1), 16), "a name that is gone");
    }
}
