//! Seeded chance. Every purpose has a generator of its own, so that one more draw somewhere does not change everything
//! elsewhere. Invariant: equal seeds and purposes give equal sequences.

use berth_ledger::disk::sim::Rng;
use berth_model::id::{derive, fingerprint};

/// A generator for one purpose.
#[derive(Debug, Clone)]
pub struct Dice(Rng);

impl Dice {
    /// The generator of a seed for a purpose, such as `network` or `agent 2 disk`.
    #[must_use]
    pub fn new(seed: u64, purpose: &str) -> Self {
        let bits = derive(u128::from(seed), fingerprint(purpose.as_bytes()));
        Self(Rng::new(fingerprint(&bits.to_le_bytes())))
    }
    /// 64 random bits.
    pub fn draw(&mut self) -> u64 {
        self.0.draw()
    }
    /// An identifier's 128 bits.
    pub fn id(&mut self) -> u128 {
        (u128::from(self.0.draw()) << 64) | u128::from(self.0.draw())
    }
    /// A number from `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.draw() % (high - low + 1)
    }
    /// An index below `count`, which is not 0.
    pub fn below(&mut self, count: usize) -> usize {
        self.0.up_to(count - 1)
    }
    /// True in `per_mille` of 1,000 draws.
    pub fn chance(&mut self, per_mille: u16) -> bool {
        self.0.chance(per_mille)
    }
    /// True half the time.
    pub fn flip(&mut self) -> bool {
        self.0.flip()
    }
    /// One of several; nothing of none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.below(of.len())) }
    }
    /// The generator itself, for the simulated disk.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.0
    }
}
