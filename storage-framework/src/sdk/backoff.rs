//! Growing pauses between attempts to connect, spread by a seeded generator.

use berth_model::id::derive;
use std::time::Duration;

/// The state of a series of attempts.
#[derive(Clone, Debug)]
pub struct Backoff {
    start: Duration,
    max: Duration,
    failures: u32,
    seed: u128,
    draws: u64,
}

impl Backoff {
    /// Pauses from `start` to `max`; different seeds give different pauses.
    #[must_use]
    pub const fn new(start: Duration, max: Duration, seed: u128) -> Self {
        Self { start, max, failures: 0, seed, draws: 0 }
    }

    /// The attempt succeeded: the next pause is short again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause before the next attempt: between half and all of a doubled step.
    pub fn pause(&mut self) -> Duration {
        let step = self.start.saturating_mul(1_u32 << self.failures.min(16)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        self.draws += 1;
        let half = step / 2;
        let range = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let draw = derive(self.seed, self.draws) % u128::from(range);
        half + Duration::from_millis(u64::try_from(draw).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_start_again() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(1_000), 7);
        for step in [100, 200, 400, 800, 1_000, 1_000] {
            let pause = backoff.pause();
            assert!(ms(step / 2) <= pause && pause <= ms(step), "{pause:?} of {step}");
        }
        backoff.reset();
        assert!(backoff.pause() <= ms(100));
        let all = |seed| {
            let mut backoff = Backoff::new(ms(1_000), ms(60_000), seed);
            (0..8).map(|_| backoff.pause()).collect::<Vec<_>>()
        };
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
    }
}
