//! A dominant share as an exact fraction, compared by cross-multiplication.

use crate::state::Usage;
use berth_model::resources::Name;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The largest part of any resource of the cluster that somebody has; equals take turns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    part: i64,
    whole: i64,
    served: u64,
}

impl Share {
    pub(super) fn of(usage: Option<&Usage>, cluster: &BTreeMap<Name, i64>) -> Self {
        let nothing = Self { part: 0, whole: 1, served: 0 };
        let Some(usage) = usage else { return nothing };
        let fractions = usage.allocated.iter().filter_map(|(name, part)| {
            let whole = cluster.get(name).copied().filter(|whole| *whole > 0)?;
            Some(Self { part: *part, whole, served: 0 })
        });
        let dominant = fractions.max_by(Self::compare_parts).unwrap_or(nothing);
        Self { served: usage.served, ..dominant }
    }
    fn compare_parts(&self, other: &Self) -> Ordering {
        let left = i128::from(self.part) * i128::from(other.whole);
        left.cmp(&(i128::from(other.part) * i128::from(self.whole)))
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        self.compare_parts(other).then(self.served.cmp(&other.served))
    }
}
impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Share {}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(parts: &[(Name, i64)], served: u64) -> Usage {
        Usage { allocated: parts.iter().cloned().collect(), served, ..Usage::default() }
    }

    #[test]
    fn shares_compare_by_their_dominant_resource_then_by_turns() {
        let cluster = BTreeMap::from([(Name::Cpus, 9_000), (Name::Mem, 18_000)]);
        let of = |u: &Usage| Share::of(Some(u), &cluster);
        let third = usage(&[(Name::Cpus, 3_000), (Name::Mem, 1_000)], 0);
        let also_third = usage(&[(Name::Cpus, 1), (Name::Mem, 6_000)], 0);
        let two_thirds = usage(&[(Name::Mem, 12_000)], 0);
        let unknown = usage(&[(Name::Gpus, 12_000)], 0);
        assert_eq!(of(&third).cmp(&of(&also_third)), Ordering::Equal);
        assert_eq!(of(&third).cmp(&of(&two_thirds)), Ordering::Less);
        assert_eq!(of(&unknown).cmp(&Share::of(None, &cluster)), Ordering::Equal);
        assert_eq!(of(&usage(&[], 1)).cmp(&of(&usage(&[], 2))), Ordering::Less);
    }
}
