//! The cell that is watched (I22): what was told of changes is what a fresh snapshot shows, and nothing that is in use, or that
//! somebody is offered exclusively, is in it.

use super::Judges;
use crate::world::World;
use berth_master_core::State;
use berth_master_core::query::{self, CellChanges, CellWatch};
use berth_model::cell::{Cell, CellAgent, CellEvent};
use berth_model::id::{AgentId, FrameworkId};
use berth_model::resources::Resources;
use std::collections::BTreeMap;

/// Who has watched in which term, and what he knows.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    epoch: u64,
    of: BTreeMap<FrameworkId, (CellWatch, u64, Cell)>,
}

fn all(state: &State, watch: &CellWatch) -> Option<Vec<CellAgent>> {
    query::cell_part(state, watch, None, usize::MAX).ok()
}

fn event(begins: bool, agents: Vec<CellAgent>) -> CellEvent {
    CellEvent { number: 0, begins, more: false, agents }
}

impl Judges {
    /// I22, for every framework that has a session.
    pub(super) fn judge_cell(&mut self, world: &World) {
        let Some(process) = &world.master.process else { return self.watchers.of.clear() };
        let state = process.core.state();
        let epoch = query::clusters(state).first().map_or(0, |cluster| cluster.epoch);
        if self.watchers.epoch != epoch {
            self.watchers = Watchers { epoch, of: BTreeMap::new() };
        }
        let mut free: BTreeMap<AgentId, Resources> = BTreeMap::new();
        for view in query::agents(state) {
            free.insert(view.info.id, view.total.minus(&view.used).minus(&view.offered));
        }
        for framework in &world.frameworks {
            let Some(id) = &framework.id else { continue };
            let known = self.watchers.of.remove(id).and_then(|known| look(state, known));
            let begun = known.or_else(|| {
                let watch = query::watch_cell(state, id).ok()?;
                let mut cell = Cell::default();
                cell.apply(event(true, all(state, &watch)?));
                Some((watch, query::cell_point(state), cell))
            });
            let Some(known) = begun else { continue };
            let fresh = all(state, &known.0).into_iter().flatten();
            let fresh: BTreeMap<AgentId, CellAgent> = fresh.map(|a| (a.id, a)).collect();
            if known.2.agents != fresh {
                let text = format!("{id} was told {:?}, there is {fresh:?}", known.2.agents);
                self.report("I22 cell", text);
            }
            for (agent, role) in fresh.values().flat_map(|a| a.roles.iter().map(move |r| (a, r))) {
                if !free.get(&agent.id).is_some_and(|free| free.contains(&role.unreserved)) {
                    let text = format!("{id} sees {} of agent {}", role.unreserved, agent.id);
                    self.report("I22 cell", text);
                }
            }
            self.watchers.of.insert(id.clone(), known);
        }
    }
}

/// Takes in what changed; nothing when the session is another one.
fn look(
    state: &State,
    (watch, since, mut cell): (CellWatch, u64, Cell),
) -> Option<(CellWatch, u64, Cell)> {
    match query::cell_changes(state, &watch, since).ok()? {
        CellChanges::All(watch) => {
            cell.apply(event(true, all(state, &watch)?));
            Some((watch, query::cell_point(state), cell))
        },
        CellChanges::Agents(agents, next) => {
            cell.apply(event(false, agents));
            Some((watch, next, cell))
        },
    }
}
