//! Random numbers that are the same in every run: SplitMix64.

/// A source of numbers.
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    /// The source of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    /// Below `count`, each alike.
    pub fn below(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        usize::try_from(self.next() % count).unwrap_or(0)
    }
    /// Exponentially distributed, with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        let bits = u32::try_from(self.next() >> 32).unwrap_or(0);
        let unit = (f64::from(bits) + 1.0) / (f64::from(u32::MAX) + 1.0);
        -unit.ln() * mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_as_they_say() {
        let mut draws = Draws::new(7);
        let mean = (0..10_000).map(|_| draws.exponential(20.0)).sum::<f64>() / 10_000.0;
        assert!((19.0..21.0).contains(&mean), "{mean}");
        let mut counts = [0; 4];
        (0..4_000).for_each(|_| counts[draws.below(4)] += 1);
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
    }
}
