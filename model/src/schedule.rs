//! Snapshots that are taken by the clock: how often, and which of them are kept.
//!
//! Knows nothing of volumes' states; the master decides when one is due. Invariant: a checked plan keeps at least the newest.

use crate::error::Rejection;
use crate::id::{OperationId, Principal, SnapshotId, VolumeId};
use crate::snapshot::Freeze;
use crate::units::Timestamp;
use std::time::Duration;

/// No schedule is faster: a snapshot takes its time, and so does its deletion.
pub const EVERY_MIN: Duration = Duration::from_secs(10);
/// No schedule is slower.
pub const EVERY_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// The most that one rule keeps.
pub const KEEP_MAX: u32 = 1_000;

/// Which of the snapshots of a schedule are kept: those that any of the rules keeps. Hours, days and weeks are those of UTC;
/// weeks begin on Monday. Each rule counts spans in which a snapshot was taken, so nothing goes because time passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest.
    pub last: u32,
    /// The newest of so many hours.
    pub hourly: u32,
    /// The newest of so many days.
    pub daily: u32,
    /// The newest of so many weeks.
    pub weekly: u32,
}

impl Keep {
    /// Every rule that keeps something, as text.
    #[must_use]
    pub fn describe(&self) -> String {
        let rules = [
            (self.last, "last"),
            (self.hourly, "hourly"),
            (self.daily, "daily"),
            (self.weekly, "weekly"),
        ];
        let set = rules.iter().filter(|(count, _)| *count > 0);
        set.map(|(count, name)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    }
}

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// The field.
    pub field: &'static str,
    /// Why.
    pub text: String,
    /// What to do.
    pub remedy: &'static str,
}

/// What somebody wants of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulePlan {
    /// At the multiples of this since the Unix epoch.
    pub every: Duration,
    /// Which stay.
    pub keep: Keep,
    /// How the volume is brought to rest each time.
    pub freeze: Option<Freeze>,
}

impl SchedulePlan {
    /// Checks what needs no cluster.
    ///
    /// # Errors
    /// Too fast, too slow, or a rule that would keep nothing or too much.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.every < EVERY_MIN || self.every > EVERY_MAX {
            return Err(PlanError {
                field: "every_ms",
                text: format!(
                    "every {} is outside of {} to {}",
                    crate::units::format_duration(self.every),
                    crate::units::format_duration(EVERY_MIN),
                    crate::units::format_duration(EVERY_MAX)
                ),
                remedy: "choose another time between two snapshots",
            });
        }
        let Keep { last, hourly, daily, weekly } = self.keep;
        let counts = [last, hourly, daily, weekly];
        if counts.iter().all(|count| *count == 0) {
            return Err(PlanError {
                field: "keep",
                text: "no rule keeps anything".to_owned(),
                remedy: "say how many of the newest are kept, or of how many hours, days or weeks",
            });
        }
        match counts.iter().find(|count| **count > KEEP_MAX) {
            None => Ok(()),
            Some(count) => Err(PlanError {
                field: "keep",
                text: format!("a rule keeps {count}, more than {KEEP_MAX}"),
                remedy: "keep fewer",
            }),
        }
    }

    /// The latest of its times that is not after `now`.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Timestamp {
        let every = u64::try_from(self.every.as_millis()).unwrap_or(u64::MAX).max(1);
        Timestamp::from_ms(now.ms() - now.ms() % every)
    }
}

/// How one of its times went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleResult {
    /// The snapshot is being taken.
    Taking(SnapshotId),
    /// It is durable.
    Taken(SnapshotId),
    /// There is none of that time.
    Failed(Rejection),
}

/// One of its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRun {
    /// When it was due.
    pub due: Timestamp,
    /// When it was last tried.
    pub tried: Timestamp,
    /// What came of it.
    pub result: ScheduleResult,
}

/// The schedule of one volume in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSchedule {
    /// Of which volume; it has no other.
    pub volume: VolumeId,
    /// What is wanted.
    pub plan: SchedulePlan,
    /// Who asked for it.
    pub principal: Option<Principal>,
    /// When the volume first had one.
    pub created: Timestamp,
    /// When it was last set.
    pub changed: Timestamp,
    /// The operation that set it.
    pub operation: OperationId,
    /// Its times up to this one are over: taken, failed, or missed.
    pub settled: Timestamp,
    /// How the latest of them went that was not missed.
    pub last: Option<ScheduleRun>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seconds: u64, keep: Keep) -> SchedulePlan {
        SchedulePlan { every: Duration::from_secs(seconds), keep, freeze: None }
    }

    #[test]
    fn plans_that_cannot_be_are_refused() {
        let one = Keep { last: 1, ..Keep::default() };
        let fields = [
            plan(10, one),
            plan(9, one),
            plan(400 * 24 * 3600, one),
            plan(60, Keep::default()),
            plan(60, Keep { weekly: 1_001, ..one }),
            plan(60, Keep { weekly: 1_000, ..Keep::default() }),
        ]
        .map(|plan| plan.check().err().map(|error| error.field));
        let bad = |field| Some(field);
        assert_eq!(
            fields,
            [None, bad("every_ms"), bad("every_ms"), bad("keep"), bad("keep"), None]
        );
    }

    #[test]
    fn times_are_multiples_since_the_epoch() {
        let hourly = plan(3600, Keep { last: 1, ..Keep::default() });
        let cases = [(0, 0), (3_599_999, 0), (3_600_000, 3_600_000), (9_000_000, 7_200_000)];
        for (now, due) in cases {
            assert_eq!(hourly.due(Timestamp::from_ms(now)), Timestamp::from_ms(due), "{now}");
        }
    }

    #[test]
    fn rules_read_as_words() {
        let keep = Keep { last: 24, daily: 7, ..Keep::default() };
        assert_eq!(keep.describe(), "24 last, 7 daily");
    }
}
