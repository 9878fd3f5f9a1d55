//! Tasks of an earlier life of the agent: what ran is adopted at once, what was only to be started waits until a master
//! has taken the agent in. A ledger that is an old copy may hold starts that are long over.

use super::{Run, RunPhase};
use crate::agent::Agent;
use crate::effect::ContainerEffect;
use crate::step::Output;
use berth_model::record::{LedgerTask, LedgerTaskPhase};
use berth_model::task::TaskKey;
use berth_model::volume::VolumeState;

impl Agent {
    /// Takes up what the ledger says after a start.
    pub(crate) fn resume_tasks(&mut self) {
        let all: Vec<LedgerTask> = self.books.tasks().values().cloned().collect();
        for task in all {
            let (phase, effect) = match task.phase {
                LedgerTaskPhase::Ended => (RunPhase::Ended, None),
                // Whether the start was still asked for is unknown.
                LedgerTaskPhase::Starting if !task.killing && self.all_ready(&task) => {
                    (RunPhase::Held, None)
                },
                LedgerTaskPhase::Starting | LedgerTaskPhase::Running => {
                    (RunPhase::Asked, Some(adopt_effect(&task)))
                },
            };
            let mut run = Run::new(phase);
            run.grace = task.killing.then_some(task.info.kill_grace);
            self.runs.insert(task.container, run);
            if let Some(effect) = effect {
                self.emit(Output::Container(effect));
            }
        }
    }

    /// Starts what had to wait for a master. A start that happened in an earlier life answers like an adoption.
    pub(crate) fn start_held(&mut self) {
        let live: Vec<TaskKey> = self.books.live().iter().cloned().collect();
        for key in live {
            let Some(task) = self.books.tasks().get(&key) else { continue };
            if self.runs.get(&task.container).is_none_or(|run| !run.is_held()) {
                continue;
            }
            if self.all_ready(task) {
                self.start(&key);
            } else {
                self.adopt_held(&key);
            }
        }
    }

    /// Finds out whether an earlier life has started it; if not, it has ended.
    pub(super) fn adopt_held(&mut self, key: &TaskKey) {
        let Some(task) = self.books.tasks().get(key) else { return };
        let (container, effect) = (task.container, adopt_effect(task));
        if let Some(run) = self.runs.get_mut(&container) {
            run.phase = RunPhase::Asked;
        }
        self.emit(Output::Container(effect));
    }

    fn all_ready(&self, task: &LedgerTask) -> bool {
        task.volumes.iter().all(|used| {
            self.books.volumes().get(&used.volume).is_some_and(|v| {
                v.state == VolumeState::Ready && v.spec.generation == used.generation
            })
        })
    }
}

fn adopt_effect(task: &LedgerTask) -> ContainerEffect {
    ContainerEffect::Adopt {
        container: task.container,
        health: task.info.health.clone(),
        readiness: task.info.readiness.clone(),
    }
}
