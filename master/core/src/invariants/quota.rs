//! What counts for quota and how roles stand against it, computed again from declarations, rows and tasks; what the stored quotas promise; and that the allocator
//! goes by the stored weights.

use super::Findings;
use crate::state::{Holdings, Link, State, base_of, sum_of};
use berth_model::quota;
use berth_model::resources::Resources;

pub(super) fn quota(findings: &mut Findings, state: &State) {
    let mut again = Holdings::default();
    for agent in state.agents.values() {
        let id = agent.info.id;
        let mut left = agent.info.declared.clone();
        for row in agent.rows.values().filter_map(|row| state.rows.get(row)) {
            let base = row.resource.clone().with_stack(base_of(&row.resource.stack));
            left = left.minus(&sum_of(&base));
            again.reserve(id, &sum_of(&row.resource));
        }
        again.reserve(id, &left);
        let used = agent.tasks.iter().filter_map(|key| state.tasks.get(key));
        for task in used.filter(|task| task.charged) {
            let unreserved: Resources = task.plain.filtered(|r| r.stack.is_unreserved());
            again.allocate(id, &task.role, &unreserved);
        }
    }
    findings.require(state.holdings == again, "holdings", "all", || {
        format!("{:?} not {again:?}", state.holdings)
    });
    let standings = state.stand();
    findings.require(state.standings == standings, "standings", "all", || {
        format!("{:?} not {standings:?}", state.standings)
    });
    let recovering = state.agents.values().filter(|a| a.link == Link::Recovering).count();
    findings.require(state.recovering == recovering, "recovering", "all", || {
        format!("{} not {recovering}", state.recovering)
    });
    for (role, known) in &state.quotas {
        let wrong = quota::check(role, &known.guarantees, &known.limits).err();
        let fits = wrong.is_none() && known.role == *role;
        findings.require(fits, "quota-makes-sense", role, || format!("{wrong:?}"));
    }
    for (role, known) in &state.weights {
        let fits = known.role == *role && !known.weight.is_default();
        findings.require(fits, "weight-not-default", role, || format!("{known:?}"));
    }
    let stored = state.weights.iter().map(|(role, known)| (role, known.weight.milli())).collect();
    let used = state.shares.weights();
    findings
        .require(used == stored, "weights-in-use", "all", || format!("{used:?} not {stored:?}"));
}
