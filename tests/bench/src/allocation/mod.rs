//! W1 and W2, the allocator: a full cycle over every agent, and one agent that becomes free.
//!
//! Measured are the master's own decisions on a real master's state (`Trial`: who is offered what, with the shares that
//! follow), and beside them the master's whole step, with books, timers, offers and messages. No sockets, no disk; time is
//! virtual, so nothing waits. The allocator beside it is naive: quantities in hash maps, shares in floating point, everybody
//! sorted for each agent. All have to make the same offers, else there are no figures.

mod cluster;
mod cycle;
mod event;
mod naive;

pub use cycle::run as w1;
pub use event::run as w2;

fn as_f64(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::w4::Effort;

    #[test]
    fn a_quick_run_finds_all_allocators_agreeing() {
        let cycles = w1(Effort::QUICK).unwrap();
        assert!(cycles.get("plain.200x20.cycle_ms_p50").is_some_and(|ms| ms > 0.0));
        let events = w2(Effort::QUICK).unwrap();
        assert!(events.get("event.200_agents.us_p50").is_some_and(|us| us > 0.0));
    }
}
