//! Deleting gently: whoever deletes very many files pauses in between for as long as it worked.
//!
//! A file system writes what was deleted in the transactions that everybody's syncs wait for. The faster files go, the
//! longer these are; at full speed a sync of some bytes can take seconds. A lower priority would be worse than none: a
//! deleter that is kept waiting in the middle of a transaction keeps everybody waiting. What takes so long can be called off, and
//! whoever deletes asks for that. Invariant: outside of [`gently`] nothing pauses, and nothing is called off.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Worked so long, it is time to pause.
const STRETCH: Duration = Duration::from_millis(5);
/// A longer pause would not make anybody else faster.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How this thread deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// As fast as it can.
    Full,
    /// Gently; nothing was deleted yet, so what took time until now was something else.
    Gentle,
    /// Gently, and without a pause since then.
    Since(Instant),
}

thread_local! {
    static PACE: Cell<Pace> = const { Cell::new(Pace::Full) };
    static CALLED_OFF: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Does the work; whatever it deletes on this thread is deleted with pauses, and only until it is called off.
pub fn gently<T>(called_off: &Arc<AtomicBool>, work: impl FnOnce() -> T) -> T {
    /// Also when the work panics.
    struct End(Pace, Option<Arc<AtomicBool>>);
    impl Drop for End {
        fn drop(&mut self) {
            PACE.set(self.0);
            CALLED_OFF.set(self.1.take());
        }
    }
    let before = CALLED_OFF.replace(Some(Arc::clone(called_off)));
    let _end = End(PACE.replace(Pace::Gentle), before);
    work()
}

/// Is what this thread deletes to be left where it is?
pub fn is_called_off() -> bool {
    CALLED_OFF.with_borrow(|flag| flag.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)))
}

/// Something was deleted: pauses when it is time to.
pub fn deleted() {
    let worked = match PACE.get() {
        Pace::Full => return,
        Pace::Gentle => Duration::ZERO,
        Pace::Since(since) => since.elapsed(),
    };
    if worked < STRETCH {
        if PACE.get() == Pace::Gentle {
            PACE.set(Pace::Since(Instant::now()));
        }
        return;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the pause is what is wanted; nothing is waited for"
    )]
    std::thread::sleep(worked.min(PAUSE_MAX));
    PACE.set(Pace::Since(Instant::now()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deletes for so long; how much of it was spent in pauses, in percent.
    fn paused(work: impl Fn()) -> u128 {
        let (start, mut pauses) = (Instant::now(), Duration::ZERO);
        while start.elapsed() < 20 * STRETCH {
            work();
            let before = Instant::now();
            deleted();
            pauses += before.elapsed();
        }
        pauses.as_millis() * 100 / start.elapsed().as_millis()
    }

    #[test]
    fn half_of_the_time_is_pauses_and_none_of_it_afterwards() {
        let work = || {
            let until = Instant::now() + STRETCH / 5;
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        };
        let never = Arc::new(AtomicBool::new(false));
        let share = gently(&never, || paused(work));
        assert!(share >= 30, "{share} %");
        let share = paused(work);
        assert!(share < 30, "{share} % although nobody asked for pauses");
        let outer = gently(&never, || {
            gently(&never, deleted);
            PACE.get()
        });
        assert_eq!((outer, PACE.get()), (Pace::Gentle, Pace::Full));
    }
}
