//! The end of a run: the faults stop, everything comes back, and what was promised must come true in bounded time.

use super::{Phase, World};
use crate::framework::Mood;
use crate::queue::Event;

/// Long enough for every timeout of the components, one after the other.
const PATIENCE_MS: u64 = 900_000;
const LOOK_MS: u64 = 5_000;

impl World {
    pub(crate) fn heal(&mut self) {
        self.note(|| "the faults end".to_owned());
        self.mend_everything();
        for framework in &mut self.frameworks {
            framework.mood = Mood::Calm;
        }
        for operator in &mut self.operators {
            operator.calm = true;
        }
        self.phase = Phase::Healing { until: self.now + PATIENCE_MS, emptying: false };
        self.queue.plan(self.now + LOOK_MS, Event::Inspect);
    }

    pub(crate) fn inspect(&mut self) {
        let Phase::Healing { until, emptying } = self.phase else { return };
        self.queue.plan(self.now + LOOK_MS, Event::Inspect);
        let mut judges = std::mem::take(&mut self.judges);
        let lacking = judges.lacking(self, emptying);
        if !lacking.is_empty() && self.now >= until {
            let rule = if emptying { "I16 progress" } else { "I13 convergence" };
            for text in lacking.iter().take(8) {
                judges.report(rule, text.clone());
            }
        }
        self.judges = judges;
        if !lacking.is_empty() {
            let first = lacking.first().cloned().unwrap_or_default();
            self.note(|| format!("not yet: {first}"));
            return;
        }
        if emptying {
            self.tally.deed("healed");
            self.phase = Phase::Over;
            return;
        }
        self.note(|| "settled; now everything is to end".to_owned());
        for framework in &mut self.frameworks {
            framework.mood = Mood::Emptying;
            framework.offers_seen = 0;
        }
        if let Some(service) = &mut self.service {
            service.deleting = true;
        }
        self.phase = Phase::Healing { until: self.now + PATIENCE_MS, emptying: true };
    }
}
