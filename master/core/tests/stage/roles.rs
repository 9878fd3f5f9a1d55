//! Quota and weights in random lives: what is asked for, and that nothing that takes resources goes beyond a limit.

use super::{Stage, role};
use berth_master_core::{Input, query};
use berth_model::operator::Request;
use berth_model::quota::{Amounts, Counted, QuotaRequest, parse_amounts};
use berth_model::role::Role;
use berth_model::units::Scalar;
use std::collections::BTreeMap;

/// What a role has of something.
pub type Had = BTreeMap<(Role, Counted), Scalar>;

/// What is above its limit, and how much of it the role has.
pub fn beyond(stage: &Stage) -> Had {
    let mut found = BTreeMap::new();
    for view in query::quotas(stage.master.state()) {
        let over = view.uses.into_iter().filter(|u| u.limit.is_some_and(|most| u.consumed > most));
        found.extend(over.map(|u| ((view.role.clone(), u.counted), u.consumed)));
    }
    found
}

/// Is this one of the calls that are held to limits? Others change the limits, bring data back, or tell what is.
pub fn gives(input: &Input) -> bool {
    match input {
        Input::Framework { .. } => true,
        Input::Operator { request, .. } => !matches!(
            request,
            Request::Quota(_) | Request::RestoreVolume { .. } | Request::AdoptOrphan { .. }
        ),
        _ => false,
    }
}

/// Nothing is further above its limit than it was.
pub fn check_limits(before: &Had, after: &Had) {
    for (key, now) in after {
        let known = before.get(key);
        assert!(known.is_some_and(|known| now <= known), "{key:?}: had {known:?}, has {now:?}");
    }
}

/// Legal and illegal requests; `index` gives a number below the one it gets.
pub fn role_request(mut index: impl FnMut(usize) -> usize) -> Request {
    let role = role(["storage", "web", "storage/db", "*"][index(4)]);
    let amounts = |index: &mut dyn FnMut(usize) -> usize| {
        let all = ["cpus=2", "cpus=0", "mem=1GiB", "disk=1GiB", "disk=2GiB,cpus=1", "disk=99TiB"];
        parse_amounts(all[index(all.len())]).unwrap()
    };
    match index(5) {
        0 => Request::SetWeight { role, weight: ["1", "2", "0.5"][index(3)].parse().unwrap() },
        1 => Request::Quota(QuotaRequest::Unset { role }),
        _ => {
            let guarantees = if index(2) == 0 { amounts(&mut index) } else { Amounts::new() };
            let (limits, force) = (amounts(&mut index), index(2) == 0);
            Request::Quota(QuotaRequest::Set { role, guarantees, limits, force })
        },
    }
}

/// Quota and weights, in words.
pub fn said_of_roles(stage: &Stage) -> String {
    let state = stage.master.state();
    let quotas: Vec<_> = query::quotas(state).into_iter().filter_map(|view| view.quota).collect();
    let weights: Vec<_> = query::roles(state)
        .into_iter()
        .filter(|view| !view.weight.is_default())
        .map(|view| (view.role, view.weight))
        .collect();
    format!("{quotas:#?}\n{weights:#?}")
}
