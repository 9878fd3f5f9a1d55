//! A tiny seeded generator, so that a simulated disk behaves the same for the same seed everywhere.
//!
//! It is for choosing faults and knows nothing of security. Invariant: equal seeds give equal sequences.

/// splitmix64.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `0..=max`.
    pub fn up_to(&mut self, max: usize) -> usize {
        let span = max as u64;
        let drawn = if span == u64::MAX { self.draw() } else { self.draw() % (span + 1) };
        usize::try_from(drawn).expect("not above max, which is a usize")
    }

    pub const fn flip(&mut self) -> bool {
        self.draw() & 1 == 1
    }

    /// True in `per_mille` of 1,000 draws.
    pub const fn chance(&mut self, per_mille: u16) -> bool {
        self.draw() % 1_000 < per_mille as u64
    }
}
