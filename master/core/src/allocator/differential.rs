//! The allocator beside one that keeps nothing (`naive`). Both see the same random clusters, and decide the same.

use super::{allocate, explain};
use crate::config::Config;
use crate::event::{AgentEvent, Event, FrameworkEvent};
use crate::evolve::evolve;
use crate::invariants;
use crate::state::{Filter, FilterKey, State};
use berth_model::agent::AgentInfo;
use berth_model::explain::Verdict;
use berth_model::framework::FrameworkInfo;
use berth_model::id::{AgentId, ClusterId, FrameworkId, OfferId, OperationId, SessionId};
use berth_model::quota::{Amounts, Quota, parse_amounts};
use berth_model::record::{FrameworkRecord, RegistryKey, RegistryRecord};
use berth_model::resources::{Name, Resources, parse_resources};
use berth_model::role::Role;
use berth_model::units::Timestamp;
use berth_model::weight::{RoleWeight, Weight};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const ROLES: [&str; 9] = ["a", "a/x", "a/x/deep", "a/y", "ab", "b", "b/x", "c", "*"];
const TOPS: [&str; 4] = ["a", "ab", "b", "c"];
const FRAMEWORKS: u8 = 7;
const AGENTS: u8 = 6;
pub(super) const KINDS: [Name; 5] = [Name::Cpus, Name::Mem, Name::Disk, Name::Ports, Name::Gpus];

fn role(text: &str) -> Role {
    Role::new(text).unwrap()
}
fn framework(n: u8) -> FrameworkId {
    FrameworkId::new(&format!("f{n}")).unwrap()
}
pub(super) fn agent(n: u8) -> AgentId {
    AgentId::from_u128(u128::from(n))
}

/// A cluster, and what the other allocator needs besides its tables.
pub(super) struct Bed {
    pub(super) state: State,
    pub(super) now: Timestamp,
    pub(super) weights: BTreeMap<Role, i128>,
    /// To whom every offer went.
    pub(super) log: Vec<(Role, FrameworkId)>,
}

impl Bed {
    pub(super) fn new() -> Self {
        let config = Config::new(ClusterId::from_u128(1), 1, 0);
        let now = Timestamp::from_ms(1_000_000);
        Self { state: State::new(config), now, weights: BTreeMap::new(), log: Vec::new() }
    }
    fn evolve(&mut self, event: impl Into<Event>) {
        evolve(&mut self.state, self.now, event.into());
    }
    pub(super) fn register(&mut self, n: u8, declared: &str) {
        self.register_with(n, parse_resources(declared).unwrap());
    }
    pub(super) fn register_with(&mut self, n: u8, declared: Resources) {
        let info = AgentInfo {
            id: agent(n),
            hostname: Arc::from("host"),
            attributes: Arc::default(),
            declared,
            disks: Vec::new(),
            limitations: Vec::new(),
            version: Arc::from("0"),
        };
        self.evolve(Event::Put(RegistryRecord::Agent(Arc::new(info))));
        let session = SessionId::from_u128(u128::from(n));
        self.evolve(AgentEvent::Opened { agent: agent(n), session });
    }
    pub(super) fn subscribe(&mut self, n: u8, roles: &[&str]) {
        let info = FrameworkInfo {
            name: Arc::from("f"),
            user: Arc::from("nobody"),
            roles: roles.iter().map(|text| role(text)).collect(),
            principal: None,
            failover_timeout: Duration::from_secs(600),
            url: Arc::from(""),
            hostname: Arc::from("here"),
            capabilities: BTreeSet::new(),
        };
        let record =
            FrameworkRecord { id: framework(n), info, registered: self.now, removed: None };
        self.evolve(Event::Put(RegistryRecord::Framework(Arc::new(record))));
        let session = SessionId::from_u128(100 + u128::from(n));
        let suppressed = BTreeSet::new();
        self.evolve(FrameworkEvent::Opened { framework: framework(n), session, suppressed });
    }
    pub(super) fn weigh(&mut self, text: &str, milli: u64) {
        let weight = Weight::from_milli(milli).unwrap();
        self.evolve(if weight.is_default() {
            Event::Delete(RegistryKey::Weight(role(text)))
        } else {
            let (role, changed, operation) = (role(text), self.now, OperationId::from_u128(1));
            Event::Put(RegistryRecord::Weight(Arc::new(RoleWeight {
                role,
                weight,
                changed,
                operation,
            })))
        });
        self.weights.insert(role(text), i128::from(milli));
    }
    /// No amounts at all take the quota away.
    pub(super) fn quota(&mut self, text: &str, guarantees: &str, limits: &str) {
        let read = |text: &str| match text {
            "" => Amounts::new(),
            _ => parse_amounts(text).unwrap(),
        };
        let (guarantees, limits) = (read(guarantees), read(limits));
        if guarantees.is_empty() && limits.is_empty() {
            self.evolve(Event::Delete(RegistryKey::Quota(role(text))));
            return;
        }
        let (role, changed, operation) = (role(text), self.now, OperationId::from_u128(1));
        let quota = Quota { role, guarantees, limits, changed, operation };
        self.evolve(Event::Put(RegistryRecord::Quota(Arc::new(quota))));
    }
    fn end(&mut self, offer: OfferId, refuse: bool) {
        let Some(known) = self.state.offers.get(&offer).cloned() else { return };
        self.evolve(FrameworkEvent::OfferEnded(offer));
        if refuse {
            let (framework, role) = (known.framework, known.role);
            let key = FilterKey { framework, role, agent: known.agent };
            let until = self.now.after(Duration::from_secs(5));
            let filter = Filter { refused: known.resources, until };
            self.evolve(FrameworkEvent::Refused { key, filter });
        }
    }
    /// Who is offered what of an agent now; made so.
    pub(super) fn look(&mut self, n: u8) -> Vec<(String, String, String)> {
        self.evolve(AgentEvent::Looked(agent(n)));
        let Some(known) = self.state.agents.get(&agent(n)) else { return Vec::new() };
        let made = allocate(
            &self.state,
            (&self.state.shares, &self.state.standings),
            known,
            self.state.next_offer,
            self.now,
        )
        .offers;
        let said = made.iter().map(|offer| {
            (offer.framework.to_string(), offer.role.to_string(), offer.resources.to_string())
        });
        let said = said.collect();
        for offer in made {
            self.log.push((offer.role.clone(), offer.framework.clone()));
            self.evolve(FrameworkEvent::Offered(Box::new(offer)));
        }
        said
    }
}

/// What happens next.
#[derive(Clone, Debug)]
enum Happening {
    Register { agent: u8, declared: String },
    Cut { agent: u8 },
    Subscribe { framework: u8, roles: BTreeSet<usize> },
    Leave { framework: u8 },
    Suppress { framework: u8, role: usize },
    Revive { framework: u8, role: usize },
    Weigh { role: usize, milli: u64 },
    Quota { role: usize, guarantees: String, limits: String },
    End { at: usize, refuse: bool },
    Look { agent: u8 },
}

fn amounts() -> impl Strategy<Value = String> {
    let part = |most: u32| prop::option::weighted(0.3, 0..most);
    (part(9), part(900), part(900)).prop_map(|(cpus, mem, disk)| {
        let parts = [
            cpus.map(|cpus| format!("cpus={cpus}.25")),
            mem.map(|mem| format!("mem={mem}MiB")),
            disk.map(|disk| format!("disk={disk}MiB")),
        ];
        parts.into_iter().flatten().collect::<Vec<String>>().join(",")
    })
}

fn happening() -> impl Strategy<Value = Happening> {
    let (agents, frameworks, roles) = (0..AGENTS, 0..FRAMEWORKS, 0..ROLES.len());
    let declared = (0..5_u32, 0..400_u32, 0..3_u32, prop::option::of(0..ROLES.len() - 1));
    let declared = declared.prop_map(|(cpus, mem, ports, reserved)| {
        let mut text = format!("disk:{}", 50 + mem);
        let mut more = |part: String| {
            text.push(';');
            text.push_str(&part);
        };
        (cpus > 0).then(|| more(format!("cpus:{cpus}")));
        (mem > 0).then(|| more(format!("mem:{mem}")));
        (ports > 0).then(|| more(format!("ports:[100-{}]", 100 + ports)));
        if let Some(owner) = reserved {
            more(format!("disk({}):{}", ROLES[owner], 7 + cpus));
        }
        text
    });
    prop_oneof![
        3 => (agents.clone(), declared)
            .prop_map(|(agent, declared)| Happening::Register { agent, declared }),
        1 => agents.clone().prop_map(|agent| Happening::Cut { agent }),
        3 => (frameworks.clone(), prop::collection::btree_set(roles.clone(), 1..4))
            .prop_map(|(framework, roles)| Happening::Subscribe { framework, roles }),
        1 => frameworks.clone().prop_map(|framework| Happening::Leave { framework }),
        1 => (frameworks.clone(), roles.clone())
            .prop_map(|(framework, role)| Happening::Suppress { framework, role }),
        1 => (frameworks, roles.clone())
            .prop_map(|(framework, role)| Happening::Revive { framework, role }),
        // As an operator sets one: any, and often back to one, which is no record.
        2 => (roles, prop_oneof![2 => 1..5_000_u64, 1 => Just(1_000), 1 => Just(1_000_000_000)])
            .prop_map(|(role, milli)| Happening::Weigh { role, milli }),
        2 => (0..TOPS.len(), amounts(), amounts())
            .prop_map(|(role, guarantees, limits)| Happening::Quota { role, guarantees, limits }),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(at, refuse)| Happening::End { at, refuse }),
        8 => agents.prop_map(|agent| Happening::Look { agent }),
    ]
}

impl Bed {
    fn happen(&mut self, happening: Happening) -> Result<(), TestCaseError> {
        match happening {
            Happening::Register { agent: n, declared } => {
                // What is offered of it is asked back first, so that a smaller declaration fits.
                self.cut(n);
                self.register(n, &declared);
            },
            Happening::Cut { agent } => self.cut(agent),
            Happening::Subscribe { framework, roles } => {
                self.leave(framework);
                let roles: Vec<&str> = roles.into_iter().map(|at| ROLES[at]).collect();
                self.subscribe(framework, &roles);
            },
            Happening::Leave { framework } => self.leave(framework),
            Happening::Suppress { framework: n, role: at } => {
                let (framework, roles) = (framework(n), [role(ROLES[at])].into());
                self.evolve(FrameworkEvent::Suppressed { framework, roles });
            },
            Happening::Revive { framework: n, role: at } => {
                let (framework, roles) = (framework(n), [role(ROLES[at])].into());
                self.evolve(FrameworkEvent::Revived { framework, roles });
            },
            Happening::Weigh { role, milli } => self.weigh(ROLES[role], milli),
            Happening::Quota { role, guarantees, limits } => {
                self.quota(TOPS[role], &guarantees, &limits);
            },
            Happening::End { at, refuse } => {
                let ids: Vec<OfferId> = self.state.offers.keys().copied().collect();
                if let Some(id) = ids.get(at.checked_rem(ids.len()).unwrap_or(0)) {
                    self.end(*id, refuse);
                }
            },
            Happening::Look { agent } => {
                // After an interval shares are against the totals as they are.
                self.now = self.now.after(Duration::from_secs(1));
                let expected = self.expect(agent);
                prop_assert_eq!(self.look(agent), expected);
            },
        }
        // As at the end of a step.
        self.evolve(AgentEvent::Counted);
        let broken = invariants::check(&self.state);
        let broken: Vec<_> = broken.iter().filter(|v| v.rule != "quota-makes-sense").collect();
        prop_assert!(broken.is_empty(), "{:?}", broken);
        self.explains()
    }
    /// What is said of each framework, role and agent is what a look would do.
    fn explains(&self) -> Result<(), TestCaseError> {
        let mut shares = self.state.shares.clone();
        shares.settle(self.now, self.state.config.allocation_interval);
        let mut given = BTreeSet::new();
        for agent in self.state.agents.values() {
            let figures = (&shares, &self.state.standings);
            let offers = allocate(&self.state, figures, agent, 1, self.now).offers;
            given.extend(offers.into_iter().map(|o| (o.framework, o.role, o.agent)));
        }
        for framework in self.state.frameworks.values() {
            let id = &framework.record.id;
            for one in explain(&self.state, framework, self.now) {
                let place = (id.clone(), one.role.clone(), one.agent);
                let mut offers = self.state.offers.values();
                let holds = offers
                    .find(|o| (&o.framework, &o.role, &o.agent) == (&place.0, &place.1, &place.2));
                let is_given = given.contains(&place);
                match &one.verdict {
                    Verdict::Offered { offer, .. } => {
                        prop_assert_eq!(Some(offer), holds.map(|held| &held.id));
                    },
                    Verdict::Due(_) => prop_assert!(is_given && holds.is_none(), "{:?}", one),
                    Verdict::LeftOut(_) => prop_assert!(!is_given && holds.is_none(), "{:?}", one),
                }
            }
        }
        Ok(())
    }
    pub(super) fn cut(&mut self, n: u8) {
        let offers = self.state.agents.get(&agent(n)).map(|known| known.offers.clone());
        for offer in offers.into_iter().flatten() {
            self.end(offer, false);
        }
        self.evolve(AgentEvent::Cut(agent(n)));
    }
    pub(super) fn pass(&mut self, span: Duration) {
        self.now = self.now.after(span);
    }
    pub(super) fn end_all(&mut self) {
        let offers: Vec<OfferId> = self.state.offers.keys().copied().collect();
        offers.into_iter().for_each(|offer| self.end(offer, false));
    }
    pub(super) fn end_of(&mut self, n: u8) {
        let offers = self.state.agents[&agent(n)].offers.clone();
        offers.into_iter().for_each(|offer| self.end(offer, false));
    }
    pub(super) fn charge(&mut self, role: &Role, of: u8, on: u8, what: &str) {
        let what = parse_resources(what).unwrap();
        self.state.shares.charge((role, &framework(of)), agent(on), &what);
    }
    fn leave(&mut self, n: u8) {
        let offers = self.state.frameworks.get(&framework(n)).map(|known| known.offers.clone());
        for offer in offers.unwrap_or_default().into_keys() {
            self.end(offer, false);
        }
        let until = self.now.after(Duration::from_secs(600));
        if self.state.frameworks.contains_key(&framework(n)) {
            self.evolve(FrameworkEvent::Cut { framework: framework(n), until });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn it_decides_as_one_that_computes_and_sorts_everything_for_each_look(
        story in prop::collection::vec(happening(), 1..120),
    ) {
        let mut bed = Bed::new();
        for happening in story {
            bed.happen(happening)?;
        }
    }
}
