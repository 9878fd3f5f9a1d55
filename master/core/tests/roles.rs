//! What operators say of roles: durable before it is answered, told once, shown, gone by, and back to nothing.

#![expect(clippy::unwrap_used, reason = "a script that cannot be written fails the test")]

mod stage;

use berth_master_core::query;
use berth_model::audit::{AuditChange, AuditRecord};
use berth_model::framework::Event;
use berth_model::id::{FrameworkId, OfferId};
use berth_model::operation::Action;
use berth_model::operator::Request;
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::weight::{RoleWeight, Weight};
use stage::{Stage, agent_id, events, framework_info, offered, op, operations, res, role, task};
use std::ops::Range;
use std::sync::Arc;

fn weight(text: &str) -> Weight {
    text.parse().unwrap()
}
fn set(of: &str, text: &str) -> Request {
    Request::SetWeight { role: role(of), weight: weight(text) }
}
fn done(stage: &mut Stage, id: u128, request: Request) {
    assert_eq!(stage.operator(id, request).0, Ok(op(id)));
}
/// What lists show of weights.
fn weights(stage: &Stage) -> Vec<(String, String)> {
    let views = query::roles(stage.master.state());
    views.iter().map(|view| (view.role.to_string(), view.weight.to_string())).collect()
}
fn shown(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(role, weight)| ((*role).to_owned(), (*weight).to_owned())).collect()
}

#[test]
fn a_weight_is_durable_shown_and_gone_when_it_is_one_again() {
    let mut stage = Stage::new();
    let since = stage.now;
    let (answer, step) = stage.operator(1, set("storage/db", "2.5"));
    assert_eq!(answer, Ok(op(1)));
    assert_eq!(operations(&step), [("SET_WEIGHT", "DONE", None)]);
    let key = RegistryKey::Weight(role("storage/db"));
    let record = RoleWeight {
        role: role("storage/db"),
        weight: weight("2.5"),
        changed: since,
        operation: op(1),
    };
    assert_eq!(stage.registry.get(&key), Some(&RegistryRecord::Weight(Arc::new(record))));
    done(&mut stage, 2, set("*", "0.001"));
    stage.restart();
    assert_eq!(weights(&stage), shown(&[("*", "0.001"), ("storage/db", "2.5")]));

    // The same call again is the same operation; the same weight again changes nothing and says so.
    let (answer, step) = stage.operator(1, set("storage/db", "2.5"));
    assert_eq!((answer, step.writes.len()), (Ok(op(1)), 0));
    let (answer, step) = stage.operator(3, set("storage/db", "2.5"));
    assert_eq!((answer, step.writes.len()), (Ok(op(3)), 1));
    let noted = query::operation(stage.master.state(), op(3)).unwrap();
    assert_eq!(noted.notes, ["role storage/db had the weight 2.5 already"]);
    assert_eq!(noted.object, "role storage/db, weight 2.5");

    let (answer, _) = stage.operator(4, set("storage/db", "1"));
    assert_eq!(answer, Ok(op(4)));
    assert_eq!(stage.registry.get(&key), None);
    stage.restart();
    assert_eq!(weights(&stage), shown(&[("*", "0.001")]));
}

#[test]
fn a_weight_that_concerns_somebody_takes_all_offers_back() {
    let mut stage = Stage::new();
    stage.register(1, "cpus:2;mem:2048;disk:10240");
    let (_, step) = stage.subscribe(20, framework_info("f", &["storage/db"]));
    let before: Vec<OfferId> = offered(&step).iter().map(|offer| offer.id).collect();
    assert_eq!(before.len(), 1);
    let (_, step) = stage.operator(1, set("web", "3"));
    assert_eq!(events(&step), [], "nobody is of that role");
    let (_, step) = stage.operator(2, set("storage", "3"));
    let rescinded = events(&step).into_iter().filter_map(|event| match event {
        Event::Rescind(offer) => Some(offer),
        _ => None,
    });
    assert_eq!(rescinded.collect::<Vec<_>>(), before);
    // What it weighs already takes nothing back.
    stage.advance(std::time::Duration::from_secs(10));
    assert_eq!(stage.offers().len(), 1);
    let (_, step) = stage.operator(3, set("storage", "3"));
    assert_eq!(events(&step), []);
}

/// Everybody wants everything and takes what is offered: registers so many machines of one processor, and says how many of them
/// each framework runs on.
fn share_out(
    stage: &mut Stage,
    takers: &[(&FrameworkId, u128)],
    machines: Range<u128>,
) -> Vec<usize> {
    let mut counts = vec![0; takers.len()];
    for n in machines {
        stage.register(n, "cpus:1;mem:64");
        let offer = stage.offers().into_iter().find(|offer| offer.agent == agent_id(n)).unwrap();
        let at = takers.iter().position(|(id, _)| **id == offer.framework).unwrap();
        counts[at] += 1;
        let action =
            Action::Launch(vec![task(&format!("t{n}"), offer.agent, res("cpus:1;mem:64"))]);
        let step = stage.accept(takers[at].0, takers[at].1, &[&offer], vec![action]);
        assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
    }
    counts
}

#[test]
fn a_role_of_weight_three_gets_three_times_what_one_of_weight_one_gets() {
    let mut stage = Stage::new();
    done(&mut stage, 1, set("heavy", "3"));
    let heavy = stage.subscribe(20, framework_info("h", &["heavy"])).0;
    let light = stage.subscribe(21, framework_info("l", &["light"])).0;
    let both = [(&heavy, 20), (&light, 21)];
    assert_eq!(share_out(&mut stage, &both, 1..13), [9, 3]);
    // The weight of the other one as well: from now on they are equals, and the light one catches up.
    done(&mut stage, 2, set("light", "3"));
    assert_eq!(share_out(&mut stage, &both, 13..25), [3, 9]);
    // One again is no record, and counts as one.
    done(&mut stage, 3, set("heavy", "1"));
    assert_eq!(share_out(&mut stage, &both, 25..49), [0, 24], "12 and 12 become 12 and 36");
}

#[test]
fn a_role_below_another_weighs_among_its_siblings_only() {
    let mut stage = Stage::new();
    done(&mut stage, 1, set("org/a", "3"));
    done(&mut stage, 2, set("solo/x", "1000"));
    let roles = ["org/a", "org/b", "solo/x"];
    let ids = (20..)
        .zip(roles)
        .map(|(over, role)| (stage.subscribe(over, framework_info("f", &[role])).0, over));
    let ids: Vec<_> = ids.collect();
    let takers: Vec<_> = ids.iter().map(|(id, over)| (id, *over)).collect();
    assert_eq!(share_out(&mut stage, &takers, 1..17), [6, 2, 8]);
    // That of the role above counts for both of them.
    done(&mut stage, 3, set("org", "3"));
    assert_eq!(share_out(&mut stage, &takers, 17..33), [12, 4, 0], "24 to 8, and 3 to 1 in them");
}

#[test]
fn a_master_that_comes_back_goes_by_the_weights_it_had() {
    let mut stage = Stage::new();
    for (id, (of, weight)) in (1..).zip([("heavy", "3"), ("heavy/x", "2"), ("*", "5")]) {
        done(&mut stage, id, set(of, weight));
    }
    done(&mut stage, 4, set("*", "1"));
    stage.restart();
    let roles = ["heavy/x", "heavy/y", "light", "*"];
    let ids = (20..)
        .zip(roles)
        .map(|(over, role)| (stage.subscribe(over, framework_info("f", &[role])).0, over));
    let ids: Vec<_> = ids.collect();
    let takers: Vec<_> = ids.iter().map(|(id, over)| (id, *over)).collect();
    assert_eq!(share_out(&mut stage, &takers, 1..16), [6, 3, 3, 3]);
}

#[test]
fn the_audit_log_says_what_a_role_weighed_before_and_after() {
    let mut stage = Stage::with(|config| config.audit_refusals = 100);
    done(&mut stage, 1, set("storage", "2"));
    done(&mut stage, 2, set("storage", "3"));
    done(&mut stage, 3, set("storage", "1"));
    let entry = |record: &RegistryRecord| match record {
        RegistryRecord::Audit(AuditRecord::Entry(entry)) => Some(entry.changes.clone()),
        _ => None,
    };
    let changes: Vec<_> = stage.registry.values().filter_map(entry).flatten().collect();
    let change = |before: Option<&str>, after: Option<&str>| AuditChange {
        object: "role storage".to_owned(),
        what: "weight".to_owned(),
        before: before.map(str::to_owned),
        after: after.map(str::to_owned),
    };
    let wanted = [change(None, Some("2")), change(Some("2"), Some("3")), change(Some("3"), None)];
    assert_eq!(changes, wanted);
}
