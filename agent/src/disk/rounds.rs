//! Syncs that many share: whoever makes volumes on a disk at the same time waits for one sync of their common directory
//! together, and all of them have their own syncs in the same moment, so that the file system groups these as well.
//!
//! A round begins when everybody who is at work has come to it, or when waiting longer would cost more than a sync. Whoever
//! is alone never waits. Invariant: a shared sync begins after every change of each member of its round, and what it
//! answers is the answer for all of them.

use rustix::io::Errno;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a round waits at least for those who are on their way.
const WAIT_MIN: Duration = Duration::from_millis(1);
/// A disk that needs longer for a sync than this is not waited for.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// What members have in common and sync once a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shared {
    /// The directory of live volumes.
    Volumes,
    /// The directory of markers.
    Meta,
    /// The whole file system.
    FileSystem,
}

/// The rounds of one opened disk: what they share are its directories.
#[derive(Debug, Default)]
pub struct Rounds {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Who is at work, waiting or not.
    members: usize,
    /// Who waits for the round that is to begin next, by what is to be synced.
    waiting: BTreeMap<Shared, usize>,
    /// Its number.
    next: u64,
    /// Rounds that have begun, until the last of their members knows the answer.
    begun: BTreeMap<u64, Round>,
    /// How long the last shared sync took.
    took: Duration,
}

#[derive(Debug)]
struct Round {
    /// Who does not know the answer yet.
    left: usize,
    answers: BTreeMap<Shared, Result<(), Errno>>,
}

/// Somebody at work; ends with the value.
#[derive(Debug)]
pub struct Member<'a>(&'a Rounds);

impl Rounds {
    /// From now on rounds wait for this one.
    pub fn enter(&self) -> Member<'_> {
        self.state().members += 1;
        Member(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the round begins. Answers with its number, and whether this member does its shared sync.
    fn wait(&self, shared: Shared) -> (u64, bool) {
        let mut state = self.state();
        let (own, since) = (state.next, Instant::now());
        let of_this_kind = state.waiting.entry(shared).or_default();
        *of_this_kind += 1;
        let is_first = *of_this_kind == 1;
        loop {
            if state.next > own {
                return (own, is_first);
            }
            let waiting = state.waiting.values().sum();
            // Each who comes too late costs a sync more.
            let late = u32::try_from(state.members.saturating_sub(waiting)).unwrap_or(u32::MAX);
            let patience = state.took.saturating_mul(late.max(2)).clamp(WAIT_MIN, WAIT_MAX);
            let rest = patience.saturating_sub(since.elapsed());
            if waiting >= state.members || rest.is_zero() {
                state.waiting.clear();
                state.next += 1;
                state.begun.insert(own, Round { left: waiting, answers: BTreeMap::new() });
                self.changed.notify_all();
                return (own, is_first);
            }
            let woken = self.changed.wait_timeout(state, rest);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn answer(&self, round: u64, shared: Shared, answer: Result<(), Errno>) {
        if let Some(round) = self.state().begun.get_mut(&round) {
            round.answers.insert(shared, answer);
        }
        self.changed.notify_all();
    }

    fn ask(&self, number: u64, shared: Shared) -> Result<(), Errno> {
        let mut state = self.state();
        loop {
            let round = state.begun.get_mut(&number).expect("a round stays until all know");
            if let Some(answer) = round.answers.get(&shared).copied() {
                round.left -= 1;
                if round.left == 0 {
                    state.begun.remove(&number);
                }
                return answer;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Member<'_> {
    /// Does `own` in the same moment as all others of the round do theirs, and `sync` once for all who share that.
    ///
    /// # Errors
    /// That of either; a failed `sync` fails for everybody who shares it.
    pub fn sync(
        &self,
        shared: Shared,
        own: impl FnOnce() -> Result<(), Errno>,
        sync: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let (round, is_first) = self.0.wait(shared);
        if is_first {
            // Also when it panics the others hear of it.
            let mut answer = Answer { rounds: self.0, round, shared, answer: Err(Errno::IO) };
            let start = Instant::now();
            answer.answer = sync();
            self.0.state().took = start.elapsed();
            drop(answer);
        }
        let mine = own();
        self.0.ask(round, shared).and(mine)
    }
}

struct Answer<'a> {
    rounds: &'a Rounds,
    round: u64,
    shared: Shared,
    answer: Result<(), Errno>,
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        self.rounds.answer(self.round, self.shared, self.answer);
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.0.state().members -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    /// Every member makes a change and syncs it, three times. Answers with the shared syncs that there were.
    fn run(members: usize, fails: Option<usize>) -> (usize, Vec<Result<(), Errno>>) {
        let rounds = Rounds::default();
        let counters = || [AtomicUsize::new(0), AtomicUsize::new(0)];
        // Of what is shared by one half, and by the other.
        let (changes, synced, syncs) = (counters(), counters(), AtomicUsize::new(0));
        let begin = Barrier::new(members);
        let one = || {
            let member = rounds.enter();
            begin.wait();
            for phase in [0, 1, 0] {
                let (changes, synced) = (&changes[phase], &synced[phase]);
                let mine = changes.fetch_add(1, SeqCst) + 1;
                let sync = || {
                    let seen = changes.load(SeqCst);
                    let number = syncs.fetch_add(1, SeqCst);
                    if fails == Some(number) {
                        return Err(Errno::NOSPC);
                    }
                    synced.fetch_max(seen, SeqCst);
                    Ok(())
                };
                member.sync([Shared::Volumes, Shared::Meta][phase], || Ok(()), sync)?;
                assert!(synced.load(SeqCst) >= mine, "answered before it was synced");
            }
            Ok(())
        };
        let answers = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..members).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(rounds.state().begun.is_empty());
        (syncs.into_inner(), answers)
    }

    #[test]
    fn whoever_is_alone_syncs_each_time_and_many_share() {
        assert_eq!(run(1, None), (3, vec![Ok(())]));
        let (syncs, answers) = run(32, None);
        assert_eq!(answers, vec![Ok(()); 32]);
        // On a busy machine some come too late for their round.
        assert!((3..24).contains(&syncs), "{syncs} syncs for 96");
    }

    #[test]
    fn a_failed_sync_fails_for_everybody_who_waited_for_it_and_for_nobody_else() {
        let (_syncs, answers) = run(1, Some(1));
        assert_eq!(answers, [Err(Errno::NOSPC)]);
        let (_syncs, answers) = run(8, Some(0));
        let failed = answers.iter().filter(|answer| answer.is_err()).count();
        assert!(failed >= 1, "{answers:?}");
        let rounds = Rounds::default();
        let member = rounds.enter();
        let own = member.sync(Shared::Meta, || Err(Errno::IO), || Ok(()));
        assert_eq!(own, Err(Errno::IO));
        assert_eq!(member.sync(Shared::Meta, || Ok(()), || Ok(())), Ok(()));
    }

    #[test]
    fn a_panic_in_the_shared_sync_is_an_error_for_the_others() {
        let rounds = Rounds::default();
        let (first, second) = (rounds.enter(), rounds.enter());
        let outcome = std::thread::scope(|scope| {
            let act = |member: Member<'_>| {
                member.sync(Shared::Volumes, || Ok(()), || panic!("on purpose"))
            };
            let threads = [scope.spawn(move || act(first)), scope.spawn(move || act(second))];
            threads.map(|thread| thread.join())
        });
        // Whoever was not the one who panicked has an answer, unless it had a round of its own.
        for answer in outcome.into_iter().flatten() {
            assert_eq!(answer, Err(Errno::IO));
        }
    }
}
