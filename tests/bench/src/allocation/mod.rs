//! W1 and W2, the allocator: a full cycle over every agent, and one agent that becomes free. W3 and W7 on the same cluster:
//! tasks from ACCEPT to running, and what everything takes of memory.
//!
//! Measured are the master's own decisions on a real master's state (`Trial`: who is offered what, with the shares that
//! follow), and beside them the master's whole step, with books, timers, offers and messages. No sockets, no disk; time is
//! virtual, so nothing waits. The allocator beside it is naive: quantities in hash maps, shares in floating point, everybody
//! sorted for each agent. All have to make the same offers, else there are no figures.

mod cluster;
mod cycle;
mod event;
mod launch;
mod memory;
mod naive;

pub use cycle::run as w1;
pub use event::run as w2;
pub use launch::run as w3;
pub use memory::run as w7;

fn as_f64(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::w4::Effort;

    #[global_allocator]
    static ALLOCATOR: crate::counting::Counting = crate::counting::Counting;

    #[test]
    fn a_quick_run_launches_and_acknowledges_every_task() {
        let figures = w3(Effort::QUICK).unwrap();
        for batch in [1, 100] {
            let rate = figures.get(&format!("launch_{batch}.tasks_per_s_core"));
            assert!(rate.is_some_and(|rate| rate > 100.0), "{rate:?}");
        }
        let whole = figures.get("launch_100.acknowledged_tasks_per_s_core").unwrap();
        assert!(whole < figures.get("launch_100.tasks_per_s_core").unwrap());
    }
    #[test]
    fn a_quick_run_tells_what_everything_takes() {
        let figures = w7(Effort::QUICK).unwrap();
        for (what, least, most) in [
            ("agent_bytes", 500.0, 20_000.0),
            ("agent_of_one_disk_bytes", 300.0, 10_000.0),
            ("task_bytes", 100.0, 4_000.0),
            ("volume_bytes", 100.0, 4_000.0),
            ("offer_bytes", 50.0, 4_000.0),
            ("optimistic_offer_bytes", 50.0, 4_000.0),
        ] {
            let bytes = figures.get(what).unwrap();
            assert!((least..most).contains(&bytes), "{what}: {bytes}");
        }
        assert!(figures.get("largest_deviation").unwrap() < 0.1, "{}", figures.table());
    }
    #[test]
    fn a_quick_run_finds_all_allocators_agreeing() {
        let cycles = w1(Effort::QUICK).unwrap();
        assert!(cycles.get("plain.200x20.cycle_ms_p50").is_some_and(|ms| ms > 0.0));
        let events = w2(Effort::QUICK).unwrap();
        assert!(events.get("event.200_agents.us_p50").is_some_and(|us| us > 0.0));
    }
}
