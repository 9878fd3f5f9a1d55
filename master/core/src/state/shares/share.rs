//! A dominant share divided by a weight, as an exact fraction.
//!
//! The quotient in front decides nearly every comparison; where two are equal, the fractions are multiplied crosswise, so
//! that the order is exact.

use berth_model::resources::Quantities;
use std::cmp::Ordering;
use std::num::NonZeroU64;

/// Everybody's weight who was given none, in thousandths.
pub(crate) const WEIGHT_ONE: NonZeroU64 = NonZeroU64::new(1_000).expect("a thousand is not zero");

/// The largest part of any resource of the cluster that somebody has, by its weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// Of `part` shifted by 64 bits and `whole`, rounded down, saturated.
    quotient: u64,
    part: u64,
    /// What the cluster has times the weight; never zero.
    whole: u128,
}

impl Default for Share {
    fn default() -> Self {
        Self { quotient: 0, part: 0, whole: 1 }
    }
}

impl Share {
    /// Of what the cluster has nothing, nobody has a share.
    pub(crate) fn of(allocated: &Quantities, cluster: &Quantities, weight: NonZeroU64) -> Self {
        let mut dominant: Option<(u64, u64)> = None;
        for (part, whole) in allocated.beside(cluster) {
            let (Ok(part), Ok(whole)) = (u64::try_from(part), u64::try_from(whole)) else {
                continue;
            };
            let more =
                |(p, w)| u128::from(part) * u128::from(w) > u128::from(p) * u128::from(whole);
            if whole > 0 && part > 0 && dominant.is_none_or(more) {
                dominant = Some((part, whole));
            }
        }
        let Some((part, whole)) = dominant else { return Self::default() };
        let whole = u128::from(whole) * u128::from(weight.get());
        let quotient = (u128::from(part) << 64) / whole;
        Self { quotient: u64::try_from(quotient).unwrap_or(u64::MAX), part, whole }
    }
}

/// The product, its upper 128 bits first.
fn product(part: u64, whole: u128) -> (u128, u64) {
    let (part, low_mask) = (u128::from(part), u128::from(u64::MAX));
    let low = part * (whole & low_mask);
    let high = part * (whole >> 64) + (low >> 64);
    (high, u64::try_from(low & low_mask).expect("64 bits are left"))
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        if (self.part, self.whole) == (other.part, other.whole) {
            return Ordering::Equal;
        }
        self.quotient
            .cmp(&other.quotient)
            .then_with(|| product(self.part, other.whole).cmp(&product(other.part, self.whole)))
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
    use berth_model::resources::Name;

    fn amounts(parts: &[(Name, i64)]) -> Quantities {
        let mut sum = Quantities::default();
        parts.iter().for_each(|(name, amount)| sum.put(name, *amount));
        sum
    }
    fn weight(milli: u64) -> NonZeroU64 {
        NonZeroU64::new(milli).unwrap()
    }

    #[test]
    fn shares_compare_by_their_dominant_resource() {
        let cluster = amounts(&[(Name::Cpus, 9_000), (Name::Mem, 18_000)]);
        let of = |parts: &[(Name, i64)]| Share::of(&amounts(parts), &cluster, WEIGHT_ONE);
        let third = of(&[(Name::Cpus, 3_000), (Name::Mem, 1_000)]);
        assert_eq!(third, of(&[(Name::Cpus, 1), (Name::Mem, 6_000)]));
        assert!(third < of(&[(Name::Mem, 12_000)]));
        assert_eq!(of(&[(Name::Gpus, 12_000)]), Share::default(), "the cluster has none");
        assert!(of(&[(Name::Mem, 1)]) > Share::default());
    }

    #[test]
    fn a_weight_divides_and_no_difference_is_too_small() {
        let large = i64::MAX;
        let cluster = amounts(&[(Name::Mem, large)]);
        let of = |part, milli| Share::of(&amounts(&[(Name::Mem, part)]), &cluster, weight(milli));
        assert_eq!(of(6, 3_000), of(2, 1_000));
        assert!(of(large, 1_000) > of(large - 1, 1_000), "their quotients may be equal");
        assert!(of(large - 1, u64::MAX) < of(large, u64::MAX));
        assert!(of(3, 2_000) < of(2, 1_000) && of(3, 1_000) > of(2, 1_000));
        assert!(of(large, 1) > of(large - 1, 1), "beyond what the quotient can hold");
        // The same fraction with other numbers.
        let half =
            Share::of(&amounts(&[(Name::Cpus, 1)]), &amounts(&[(Name::Cpus, 2)]), WEIGHT_ONE);
        let also = Share::of(&amounts(&[(Name::Mem, 3)]), &amounts(&[(Name::Mem, 6)]), WEIGHT_ONE);
        assert_eq!(half, also);
    }
}
