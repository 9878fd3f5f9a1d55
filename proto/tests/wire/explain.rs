//! Arbitrary values of the model: why a framework is not offered an agent.

use crate::nouns::*;
use crate::roles::counted;
use berth_model::explain::{Explanation, LeftOut, Reason, Short, Verdict};
use berth_model::id::{FrameworkId, OfferId};
use berth_model::role::Role;
use berth_model::units::Scalar;
use berth_model::view::AgentState;
use proptest::collection::{btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeSet;
use std::sync::Arc;

fn milli() -> BoxedStrategy<Scalar> {
    any::<i64>().prop_map(Scalar::from_milli).boxed()
}
fn owners() -> BoxedStrategy<BTreeSet<Role>> {
    btree_set("[a-z]{1,5}".prop_map(|text| Role::new(&text).unwrap()), 0..3).boxed()
}
fn others() -> BoxedStrategy<BTreeSet<FrameworkId>> {
    btree_set(framework(), 0..3).boxed()
}
fn reason() -> BoxedStrategy<Reason> {
    let fixed = vec![
        Reason::Removed,
        Reason::Disconnected,
        Reason::Suppressed,
        Reason::Small,
        Reason::Used,
        Reason::Shared,
        Reason::Away(AgentState::Registered),
        Reason::Away(AgentState::Recovering),
        Reason::Away(AgentState::Unreachable),
    ];
    prop_oneof![
        select(fixed),
        ".{0,9}".prop_filter("no zero byte", |t| !t.contains('\0')).prop_map(Reason::Withheld),
        (any::<u64>(), any::<u64>()).prop_map(|(missing, known)| Reason::Awaits { missing, known }),
        owners().prop_map(Reason::Reserved),
        others().prop_map(Reason::Offered),
        others().prop_map(Reason::Held),
        others().prop_map(Reason::FanOut),
        others().prop_map(Reason::Turn),
        btree_set("[a-z0-9]{1,5}".prop_map(Arc::from), 0..3).prop_map(Reason::Disks),
        (role(), time()).prop_map(|(role, until)| Reason::Kept { role, until }),
        time().prop_map(|until| Reason::Filter { until }),
        (role(), counted(), milli(), milli())
            .prop_map(|(role, counted, has, limit)| Reason::Limit { role, counted, has, limit }),
        (counted(), milli(), milli(), owners()).prop_map(|(counted, free, required, roles)| {
            Reason::Headroom { counted, free, required, roles }
        }),
    ]
    .boxed()
}
pub fn explanation() -> BoxedStrategy<Explanation> {
    let short = (counted(), milli(), milli()).prop_map(|(counted, want, have)| Short {
        counted,
        want,
        have,
    });
    let offer = (1_u64..99, any::<u64>()).prop_map(|(epoch, number)| OfferId { epoch, number });
    let verdict = prop_oneof![
        (offer, time()).prop_map(|(offer, since)| Verdict::Offered { offer, since }),
        of(time()).prop_map(Verdict::Due),
        (reason(), vec(short, 0..3))
            .prop_map(|(reason, short)| Verdict::LeftOut(LeftOut { reason, short })),
    ];
    (agent(), "[a-z0-9]{1,9}", role(), verdict)
        .prop_map(|(agent, hostname, role, verdict)| Explanation {
            agent,
            hostname: Arc::from(hostname),
            role,
            verdict,
        })
        .boxed()
}
