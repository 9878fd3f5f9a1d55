//! The answers that frameworks' transactions were given, for repeated COMMITs: the newest of each framework, as many as fit.

use berth_model::id::{FrameworkId, TransactionId};
use berth_model::transaction::TransactionRecord;
use berth_model::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Of all frameworks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transactions {
    /// How many placements of one framework are remembered.
    most: usize,
    frameworks: BTreeMap<FrameworkId, Answers>,
    /// Frameworks of which some go.
    over: BTreeSet<FrameworkId>,
}

/// Of one framework.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answers {
    records: BTreeMap<TransactionId, Arc<TransactionRecord>>,
    /// Oldest first.
    ages: BTreeSet<(Timestamp, TransactionId)>,
    placements: usize,
    /// The framework was removed: nobody asks again.
    ended: bool,
}

impl Answers {
    fn is_over(&self, most: usize) -> bool {
        let left = self.records.len();
        self.ended && left > 0 || self.placements > most && left > 1
    }
}

impl Transactions {
    pub(crate) const fn new(most: usize) -> Self {
        Self { most, frameworks: BTreeMap::new(), over: BTreeSet::new() }
    }
    /// The recorded answer.
    pub(crate) fn get(
        &self,
        framework: &FrameworkId,
        id: TransactionId,
    ) -> Option<&Arc<TransactionRecord>> {
        self.frameworks.get(framework)?.records.get(&id)
    }
    /// What does not fit in the indices, for the invariants.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> =
            self.over.iter().map(|id| format!("{id} has too many answers")).collect();
        for (id, answers) in &self.frameworks {
            let records = answers.records.values();
            let ages: BTreeSet<_> = records.clone().map(|r| (r.decided, r.id)).collect();
            let placements: usize = records.map(|record| record.results.len()).sum();
            if answers.ages != ages || answers.placements != placements || ages.is_empty() {
                faults.push(format!("the answers of {id} are miscounted"));
            }
        }
        faults
    }
    /// The next answer that is not to be remembered any longer.
    pub(crate) fn superfluous(&self) -> Option<(FrameworkId, TransactionId)> {
        let framework = self.over.first()?;
        let (_, oldest) = self.frameworks.get(framework)?.ages.first()?;
        Some((framework.clone(), *oldest))
    }

    pub(crate) fn put(&mut self, record: Arc<TransactionRecord>) {
        let framework = record.framework.clone();
        self.forget(&framework, record.id);
        let answers = self.frameworks.entry(framework.clone()).or_default();
        answers.placements += record.results.len();
        answers.ages.insert((record.decided, record.id));
        answers.records.insert(record.id, record);
        self.weigh(&framework);
    }
    pub(crate) fn forget(&mut self, framework: &FrameworkId, id: TransactionId) {
        let Some(answers) = self.frameworks.get_mut(framework) else { return };
        if let Some(old) = answers.records.remove(&id) {
            answers.placements -= old.results.len();
            answers.ages.remove(&(old.decided, id));
        }
        self.weigh(framework);
    }
    /// The framework was removed.
    pub(crate) fn end(&mut self, framework: &FrameworkId) {
        if let Some(answers) = self.frameworks.get_mut(framework) {
            answers.ended = true;
        }
        self.weigh(framework);
    }
    fn weigh(&mut self, framework: &FrameworkId) {
        let Some(answers) = self.frameworks.get(framework) else { return };
        if answers.is_over(self.most) {
            self.over.insert(framework.clone());
        } else {
            self.over.remove(framework);
        }
        if answers.records.is_empty() {
            self.frameworks.remove(framework);
        }
    }
}
