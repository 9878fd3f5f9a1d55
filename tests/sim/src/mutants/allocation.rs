//! Mistakes about who is offered what, who wins a race for it, and what roles may have.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "master-commits-what-is-gone",
        file: "master/core/src/decide/conflict.rs",
        from: "    if room.contains(&need) {",
        to: "    if room.contains(&need) || !need.is_empty() {",
        why: "two frameworks get the same processors (I4)",
    },
    Mutant {
        name: "master-leaves-lost-offers-out",
        file: "master/core/src/decide/conflict.rs",
        from: "    let mut events = rescind(offer);\n    events.push(FrameworkEvent::LossKept",
        to: "    let mut events = Vec::new();\n    events.push(FrameworkEvent::LossKept",
        why: "what somebody has committed stays in the offers of others (I20)",
    },
    Mutant {
        name: "master-offers-to-everybody-at-once",
        file: "master/core/src/allocator/sharing.rs",
        from: "if holders < fan_out { common }",
        to: "if holders < fan_out + 1 { common }",
        why: "more frameworks than the fan-out hold the same (I20)",
    },
    Mutant {
        name: "master-lets-decliners-lead",
        file: "master/core/src/turn/framework.rs",
        from: "            self.apply_all(back);\n",
        to: "            drop(back);\n",
        why: "whoever declines and revives is always first, and others get nothing for good (I16)",
    },
    Mutant {
        name: "master-quota-not-written",
        file: "master/core/src/decide/quota.rs",
        from: "            events.push(Event::Put(RegistryRecord::Quota(Arc::new(new))));\n",
        to: "",
        why: "a quota is acknowledged and not kept (I21)",
    },
    Mutant {
        name: "master-reserves-above-limit",
        file: "master/core/src/decide/missing.rs",
        from: "    quota::check_limits(order.state, order.agent.info.id, role, &sum_of(from))\n",
        to: "    quota::check_limits(order.state, order.agent.info.id, &Role::star(), &sum_of(from)).map(|()| debug_assert!(!role.is_star()))\n",
        why: "volumes are made beyond the limit of their role (I21)",
    },
    Mutant {
        name: "master-weight-one-is-not-said",
        file: "master/core/src/decide/weight.rs",
        from: "    events.push(if weight.is_default() {",
        to: "    events.push(if weight < before {",
        why: "a lower weight is acknowledged and the default kept (I21)",
    },
];
