//! Named checks over the books. They compute everything again from the tables, by other ways than the
//! differences that keep the books.

mod books;
mod optimistic;
mod quota;

use crate::state::{Agent, Link, RowKey, Shares, State, VolumeEntry, Withheld, sum_of};
use berth_model::agent::DiskHealth;
use berth_model::id::{AgentId, OfferId, ReservationId};
use berth_model::offer::Offer;
use berth_model::operation::OperationKind;
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::snapshot::SnapshotState;
use berth_model::volume::VolumeState;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule's name.
    pub rule: &'static str,
    /// On what.
    pub object: String,
    /// How.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.rule, self.object, self.detail)
    }
}

/// Gathers violations.
#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn require(
        &mut self,
        holds: bool,
        rule: &'static str,
        object: impl fmt::Display,
        detail: impl FnOnce() -> String,
    ) {
        if !holds {
            self.0.push(Violation { rule, object: object.to_string(), detail: detail() });
        }
    }
}

/// Checks every rule.
#[must_use]
pub fn check(state: &State) -> Vec<Violation> {
    let mut findings = Findings::default();
    for (id, agent) in &state.agents {
        books::conservation(&mut findings, state, *id, agent);
        optimistic::check(&mut findings, state, *id, agent);
        indices(&mut findings, state, *id, agent);
    }
    rows(&mut findings, state);
    volumes(&mut findings, state);
    names(&mut findings, state);
    snapshots(&mut findings, state);
    schedules(&mut findings, state);
    offers(&mut findings, state);
    tasks(&mut findings, state);
    operations(&mut findings, state);
    shares(&mut findings, state);
    optimistic::indices(&mut findings, state);
    quota::quota(&mut findings, state);
    findings.0
}

/// A schedule is of a volume that exists, keeps something, and has not gone ahead of what it did.
fn schedules(findings: &mut Findings, state: &State) {
    for (id, schedule) in &state.schedules {
        findings.require(state.volumes.contains_key(id), "schedule-of-volume", id, || {
            "a schedule without a volume".to_owned()
        });
        let wrong = schedule.plan.check().err();
        findings.require(wrong.is_none(), "schedule-plan", id, || format!("{wrong:?}"));
        let last = schedule.last.as_ref().map(|run| run.due);
        findings.require(
            last.is_none_or(|due| due <= schedule.settled),
            "schedule-time",
            id,
            || format!("settled up to {:?}, last for {last:?}", schedule.settled),
        );
    }
}

/// What hangs on an agent is what the tables say hangs on it.
fn indices(findings: &mut Findings, state: &State, id: AgentId, agent: &Agent) {
    let rows: BTreeMap<RowKey, ReservationId> = state
        .rows
        .values()
        .filter(|row| row.agent == id)
        .filter_map(|row| Some((RowKey::of(&row.resource)?, row.id)))
        .collect();
    findings.require(rows == agent.rows, "rows-indexed", id, || format!("{rows:?}"));
    let volumes: BTreeSet<_> =
        state.volumes.iter().filter(|(_, e)| e.volume.agent == id).map(|(v, _)| *v).collect();
    findings.require(volumes == agent.volumes, "volumes-indexed", id, || format!("{volumes:?}"));
    let tasks: BTreeSet<_> =
        state.tasks.iter().filter(|(_, t)| t.agent == id).map(|(k, _)| k.clone()).collect();
    findings.require(tasks == agent.tasks, "tasks-indexed", id, || format!("{tasks:?}"));
    let uncharged: BTreeSet<_> = (agent.tasks.iter())
        .filter(|key| state.tasks.get(*key).is_some_and(|task| !task.charged && !task.ended()))
        .cloned()
        .collect();
    findings.require(uncharged == agent.uncharged, "uncharged-indexed", id, || {
        format!("{uncharged:?}")
    });
    let offers: BTreeSet<OfferId> =
        state.offers.values().filter(|o| o.agent == id).map(|o| o.id).collect();
    findings.require(offers == agent.offers, "offers-indexed", id, || format!("{offers:?}"));
    let faulty = agent.info.disks.iter().any(|disk| disk.health != DiskHealth::Ok);
    findings.require(faulty == agent.faulty, "faulty-disks-noted", id, || faulty.to_string());
    let idle = agent.offers.is_empty();
    findings.require(
        idle || matches!(agent.link, Link::Open(_)),
        "offers-of-connected",
        id,
        || "offers of an agent that is not connected".to_owned(),
    );
}

fn rows(findings: &mut Findings, state: &State) {
    for (id, row) in &state.rows {
        let indexed =
            RowKey::of(&row.resource).and_then(|key| state.agents.get(&row.agent)?.rows.get(&key));
        findings.require(indexed == Some(id), "one-row-per-kind", id, || row.resource.to_string());
        let is_plain = row.resource.persistence().is_none() && RowKey::of(&row.resource).is_some();
        findings.require(is_plain, "rows-are-dynamic", id, || row.resource.to_string());
        let mut taken = Resources::new();
        let volumes = state.volumes.values().filter(|e| e.volume.agent == row.agent && e.placed);
        for entry in volumes.filter(|e| RowKey::of(&e.plain()) == RowKey::of(&row.resource)) {
            taken.add(&entry.plain()).expect("volumes of one row add up");
        }
        findings.require(sum_of(&row.resource).contains(&taken), "volumes-within-rows", id, || {
            format!("volumes take {taken} of {}", row.resource)
        });
    }
}

fn volumes(findings: &mut Findings, state: &State) {
    for (id, entry) in &state.volumes {
        let volume = &entry.volume;
        let holds = volume.state.holds_space();
        let quarantined = volume.state == VolumeState::Quarantined;
        findings.require(entry.placed == holds || quarantined, "space-follows-state", id, || {
            format!("{} but placed is {}", volume.state, entry.placed)
        });
        let fits = entry.users.iter().all(|key| {
            let task = state.tasks.get(key);
            task.is_some_and(|t| !t.ended() && t.agent == volume.agent && t.volumes.contains(id))
        });
        findings.require(fits, "volume-user-lives", id, || format!("{:?}", entry.users));
        let alone = entry.users.len() <= 1 || entry.is_shared();
        findings.require(alone, "one-user-unless-shared", id, || format!("{:?}", entry.users));
        let waiting = entry.waiting.iter().all(|key| {
            state.tasks.get(key).is_some_and(|t| t.waiting.is_some() && t.volumes.contains(id))
        });
        findings.require(waiting, "waiting-tasks-wait", id, || format!("{:?}", entry.waiting));
        let resource = sum_of(&entry.resource());
        let here = state.offers.values().filter(|o| o.agent == volume.agent);
        let offering: Vec<&Offer> = here.filter(|o| o.resources.contains(&resource)).collect();
        // A quarantined copy may look like the volume whose name it carries.
        let twin = state.volume_on(volume.agent, &volume.spec.role, &volume.spec.name);
        let most = match twin.filter(|twin| is_offerable(twin)) {
            Some(twin) if twin.is_shared() => offering
                .iter()
                .map(|offer| (&offer.framework, &offer.role))
                .collect::<BTreeSet<_>>()
                .len(),
            twin => usize::from(twin.is_some()),
        };
        findings.require(offering.len() <= most, "one-offer-per-volume", id, || {
            let ids: Vec<OfferId> = offering.iter().map(|offer| offer.id).collect();
            format!("{} in {ids:?}", volume.state)
        });
        let pending = state.operations.get(&volume.operation).filter(|o| !o.state.is_final());
        let awaited = matches!(volume.state, VolumeState::Creating | VolumeState::Tombstoned);
        let intended = pending.is_some_and(|o| o.volumes.contains(id));
        let changing = volume.resize.is_some() || volume.access_before.is_some();
        let explained = !changing || intended && volume.state == VolumeState::Ready;
        findings.require(explained, "change-has-operation", id, || {
            let (resize, before) = (volume.resize, volume.access_before);
            format!("{} {resize:?} {before:?} under operation {}", volume.state, volume.operation)
        });
        // Of an operation on several volumes, one failure ends the operation and not its other volumes.
        let one_of_many =
            state.operations.get(&volume.operation).is_some_and(|o| o.volumes.len() > 1);
        findings.require(!awaited || intended || one_of_many, "intent-has-operation", id, || {
            format!("{} under operation {}", volume.state, volume.operation)
        });
    }
}

fn is_offerable(entry: &VolumeEntry) -> bool {
    entry.volume.state == VolumeState::Ready && (entry.users.is_empty() || entry.is_shared())
}

/// Names are unique per role among volumes whose data is explained.
fn names(findings: &mut Findings, state: &State) {
    let mut seen = BTreeSet::new();
    for entry in state.volumes.values() {
        let volume = &entry.volume;
        let spec = &volume.spec;
        let key = (spec.role.clone(), spec.name.clone(), spec.id);
        let named = state.names.contains(&key) == volume.state.holds_name();
        findings.require(named, "names-indexed", spec.id, || spec.name.to_string());
        if volume.state.holds_name() && volume.state != VolumeState::Quarantined {
            let fresh = seen.insert((spec.role.clone(), spec.name.clone()));
            findings.require(fresh, "names-unique", spec.id, || {
                format!("{} of role {}", spec.name, spec.role)
            });
        }
    }
    let named = state.volumes.values().filter(|e| e.volume.state.holds_name()).count();
    findings.require(named == state.names.len(), "names-indexed", "all", || {
        format!("{named} volumes hold a name, {} are indexed", state.names.len())
    });
}

/// Each snapshot is indexed, and names are unique among the snapshots of a volume that hold one.
fn snapshots(findings: &mut Findings, state: &State) {
    let mut seen = BTreeSet::new();
    for (id, entry) in &state.snapshots {
        let snapshot = &entry.snapshot;
        let volume = snapshot.spec.of.id;
        let indexed = state.snapshots_by_volume.contains(&(volume, *id))
            && state.agents.get(&snapshot.agent).is_some_and(|a| a.snapshots.contains(id));
        findings.require(indexed, "snapshots-indexed", id, || snapshot.spec.name.to_string());
        if snapshot.state.holds_name() && snapshot.state != SnapshotState::Quarantined {
            let fresh = seen.insert((volume, snapshot.spec.name.clone()));
            findings.require(fresh, "snapshot-names-unique", id, || {
                format!("{} of volume {volume}", snapshot.spec.name)
            });
        }
        let doomed = snapshot.state == SnapshotState::Deleting && snapshot.held;
        findings.require(!doomed, "held-snapshots-stay", id, || snapshot.operation.to_string());
    }
    let indexed = state.snapshots_by_volume.len();
    let by_agent: usize = state.agents.values().map(|agent| agent.snapshots.len()).sum();
    let all = state.snapshots.len();
    findings.require((indexed, by_agent) == (all, all), "snapshots-indexed", "all", || {
        format!("{all} snapshots, {indexed} by volume, {by_agent} by agent")
    });
}

fn offers(findings: &mut Findings, state: &State) {
    for (id, offer) in &state.offers {
        let framework = state.frameworks.get(&offer.framework);
        let open = framework.is_some_and(|f| {
            f.session.is_some()
                && f.offers.contains_key(id)
                && f.record.info.roles.contains(&offer.role)
        });
        findings.require(open, "offers-to-connected", id, || offer.framework.to_string());
        let shares = framework.is_some_and(|f| f.record.info.can_share());
        let shared = offer.resources.shared();
        findings.require(shares || shared.is_empty(), "shared-to-capable", id, || {
            format!("{shared} for {}", offer.framework)
        });
        findings.require(shared == shared.once(), "one-copy-per-offer", id, || shared.to_string());
        let allowed = offer.resources.allocatable_to(&offer.role) == offer.resources;
        findings.require(allowed, "offers-respect-reservations", id, || {
            format!("{} for {}", offer.resources, offer.role)
        });
        findings.require(id.epoch == state.config.epoch, "offers-of-this-epoch", id, String::new);
        let withheld = state.agents.get(&offer.agent);
        let withheld = withheld.map(|agent| Withheld::of(state, &agent.info.disks));
        let stripped = withheld.map(|withheld| withheld.strip(&offer.resources));
        findings.require(
            stripped.as_ref() == Some(&offer.resources),
            "offers-leave-out-withheld",
            id,
            || format!("{} but only {stripped:?} may be offered", offer.resources),
        );
    }
}

fn tasks(findings: &mut Findings, state: &State) {
    for (key, task) in &state.tasks {
        let free = !task.ended() || (!task.charged && task.waiting.is_none());
        findings.require(free, "ended-tasks-free", key, || task.status.state.to_string());
        let told = state.told.contains(&(task.status.at, key.clone()));
        findings.require(told == task.told, "told-indexed", key, || format!("{}", task.told));
        findings.require(task.ended() || !task.told, "told-tasks-ended", key, || {
            task.status.state.to_string()
        });
    }
    let told = state.tasks.values().filter(|task| task.told).count();
    findings.require(told == state.told.len(), "told-indexed", "all", || {
        format!("{told} tasks, {} indexed", state.told.len())
    });
}

fn operations(findings: &mut Findings, state: &State) {
    for (id, operation) in &state.operations {
        let ended = operation.finished.is_some_and(|at| state.ended.contains(&(at, *id)));
        findings.require(ended == operation.state.is_final(), "operations-indexed", id, || {
            operation.state.as_str().to_owned()
        });
        let waits = operation.kind == OperationKind::Launch && !operation.state.is_final();
        let mut waiting = state.tasks.values().filter_map(|task| task.waiting.as_deref());
        let found = !waits || waiting.any(|waiting| waiting.operation == *id);
        findings.require(found, "waiting-launch-has-task", id, || operation.object.clone());
    }
}

fn shares(findings: &mut Findings, state: &State) {
    let mut again = Shares::default();
    for agent in state.agents.values() {
        again.declare(&agent.info.declared);
    }
    for offer in state.offers.values() {
        again.charge((&offer.role, &offer.framework), offer.agent, &offer.exclusive());
    }
    for (key, task) in state.tasks.iter().filter(|(_, task)| task.charged) {
        again.charge((&task.role, &key.framework), task.agent, &task.plain);
    }
    for entry in state.volumes.values() {
        for task in entry.users.iter().filter_map(|key| state.tasks.get(key)) {
            let who = (&task.role, &task.status.framework);
            again.charge(who, entry.volume.agent, &sum_of(&entry.resource()));
        }
    }
    let (kept, computed) = (state.shares.figures(), again.figures());
    findings.require(kept == computed, "shares", "all", || format!("{kept:?} not {computed:?}"));
    let disorder = state.shares.disorder();
    findings.require(disorder.is_empty(), "next-in-order", "all", || disorder.join(", "));
    let wanting = state.frameworks.iter().map(|(id, framework)| (id, framework.wants().collect()));
    let wanting: BTreeMap<_, Vec<&Role>> = wanting.filter(|(_, r)| !Vec::is_empty(r)).collect();
    let ordered = state.shares.wanting();
    findings.require(wanting == ordered, "wanting-in-order", "all", || {
        format!("{ordered:?} not {wanting:?}")
    });
}
