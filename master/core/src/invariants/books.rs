//! The pools of an agent, computed again from its records, its tasks and its offers.

use super::Findings;
use crate::state::{Agent, Place, State, base_of, place_of, sum_of};
use berth_model::id::AgentId;
use berth_model::resources::Resources;

/// The sum, and whether it could be built.
fn gather<'a>(parts: impl Iterator<Item = &'a Resources>) -> Option<Resources> {
    let mut sum = Resources::new();
    for part in parts {
        sum.add_all(part).ok()?;
    }
    Some(sum)
}

/// total = available + offered + used + withheld, and each pool is what the tables say.
pub(super) fn conservation(findings: &mut Findings, state: &State, id: AgentId, agent: &Agent) {
    let books = &agent.books;
    let broken = books.broken.clone();
    findings.require(broken.is_none(), "books-fit", id, || broken.unwrap_or_default());
    let pools = [&books.available, &books.offered, &books.used, &books.withheld];
    let sum = gather(pools.into_iter());
    let copies = copies_of(state, agent);
    let there = gather([&books.total, &copies].into_iter());
    findings.require(sum == there, "conservation", id, || {
        format!("total {} and copies {copies} but pools hold {sum:?}", books.total)
    });
    let total = total_of(state, agent);
    findings.require(total.as_ref() == Some(&books.total), "total-from-records", id, || {
        format!("total {} but records make {total:?}", books.total)
    });
    let exclusive: Vec<Resources> = agent
        .offers
        .iter()
        .filter_map(|offer| state.offers.get(offer))
        .map(|offer| offer.exclusive().into_owned())
        .collect();
    let offered = gather(exclusive.iter());
    findings.require(offered.as_ref() == Some(&books.offered), "offered-in-offers", id, || {
        format!("offered {} but offers hold {offered:?}", books.offered)
    });
    let mut used: Vec<Resources> = agent
        .tasks
        .iter()
        .filter_map(|key| state.tasks.get(key))
        .filter(|task| task.charged)
        .map(|task| task.plain.clone())
        .collect();
    let entries = || agent.volumes.iter().filter_map(|id| state.volumes.get(id));
    for entry in entries().filter(|e| e.placed) {
        used.extend(entry.users.iter().map(|_| sum_of(&entry.resource())));
    }
    let used = gather(used.iter());
    findings.require(used.as_ref() == Some(&books.used), "used-by-tasks", id, || {
        format!("used {} but tasks have {used:?}", books.used)
    });
    let withheld: Vec<Resources> = entries()
        .filter(|e| e.placed && (e.users.is_empty() || e.is_shared()))
        .filter(|e| place_of(e.volume.state) == Place::Withheld)
        .map(|e| sum_of(&e.resource()))
        .collect();
    let withheld = gather(withheld.iter());
    findings.require(withheld.as_ref() == Some(&books.withheld), "withheld-volumes", id, || {
        format!("withheld {} but volumes make {withheld:?}", books.withheld)
    });
    let resting: Vec<Resources> = entries()
        .filter(|e| e.placed && e.is_shared() && place_of(e.volume.state) == Place::Active)
        .map(|e| sum_of(&e.resource()))
        .collect();
    let (resting, shared) = (gather(resting.iter()), books.available.shared());
    findings.require(resting.as_ref() == Some(&shared), "shared-volumes-rest", id, || {
        format!("{shared} of what is available is shared but volumes make {resting:?}")
    });
}

/// What tasks and offers have of shared volumes, besides the volumes themselves.
fn copies_of(state: &State, agent: &Agent) -> Resources {
    let mut copies = Resources::new();
    let mut add = |more: &Resources| copies.add_all(more).expect("copies of volumes add up");
    for entry in agent.volumes.iter().filter_map(|id| state.volumes.get(id)) {
        if entry.placed && entry.is_shared() {
            entry.users.iter().for_each(|_| add(&sum_of(&entry.resource())));
        }
    }
    let offers = agent.offers.iter().filter_map(|id| state.offers.get(id));
    offers.for_each(|offer| add(&offer.resources.shared()));
    copies
}

/// What was declared, with reservations and volumes applied. Nothing when they do not fit.
fn total_of(state: &State, agent: &Agent) -> Option<Resources> {
    let mut total = agent.info.declared.clone();
    let rows = agent.rows.values().filter_map(|id| state.rows.get(id));
    let (mut bare, mut reserved) = (Vec::new(), Vec::new());
    for row in rows {
        let base = row.resource.clone().with_stack(base_of(&row.resource.stack));
        bare.push(sum_of(&base));
        reserved.push(sum_of(&row.resource));
    }
    for part in &bare {
        total.checked_sub(part).ok()?;
    }
    for part in &reserved {
        total.add_all(part).ok()?;
    }
    let placed = agent.volumes.iter().filter_map(|id| state.volumes.get(id));
    for entry in placed.filter(|entry| entry.placed) {
        total.checked_sub(&sum_of(&entry.plain())).ok()?;
        total.add_all(&sum_of(&entry.resource())).ok()?;
    }
    Some(total)
}
