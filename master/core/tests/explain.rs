//! Why a framework is not offered an agent: every reason with its words, and that asking changes nothing.

#![expect(clippy::unwrap_used, reason = "a script that cannot be written fails the test")]

mod stage;

use berth_master_core::{Input, Optimistic, Step, query};
use berth_model::disk::DiskRequest;
use berth_model::error::ErrorCode;
use berth_model::explain::{Explanation, Verdict};
use berth_model::framework::{Call, Capability, Filters, FrameworkInfo};
use berth_model::id::{DiskId, FrameworkId};
use berth_model::link::FromAgent;
use berth_model::offer::Offer;
use berth_model::operation::Action;
use berth_model::operator::Request;
use berth_model::quota::{QuotaRequest, parse_amounts};
use berth_model::resources::Resource;
use berth_model::task::TaskState;
use berth_model::volume::VolumeState;
use stage::{
    Stage, agent_id, create_request, ensured, framework_info, op, plus, report, res, reserved,
    role, session, status, sum, task, volume,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const MACHINE: &str = "cpus:4;mem:4096;disk:10240";
const SECOND: Duration = Duration::from_secs(1);

fn explained(stage: &Stage, id: &FrameworkId) -> Vec<Explanation> {
    let before = stage.master.state().clone();
    let all = query::explain(stage.master.state(), id, stage.now).unwrap();
    assert_eq!(*stage.master.state(), before, "asking changes nothing");
    all
}
/// Of each agent: the reason, its words, and the command that the remedy begins with.
fn why(stage: &Stage, id: &FrameworkId) -> Vec<String> {
    let told = explained(stage, id).into_iter().map(|one| match &one.verdict {
        Verdict::Offered { offer, since } => {
            let number = offer.number;
            format!("{} has offer {number} for {:?}", one.hostname, stage.now.since(*since))
        },
        Verdict::Due(at) => {
            format!("{} is due in {:?}", one.hostname, at.map(|at| at.since(stage.now)))
        },
        Verdict::LeftOut(left) => {
            let fix = left.reason.fix(&one, stage.now).map(|fix| fix.command);
            format!(
                "{} {}: {} [{}] {}",
                one.hostname,
                left.reason.code(),
                left.reason.text(),
                left.detail(stage.now),
                fix.unwrap_or_default()
            )
        },
    });
    told.collect()
}
fn quota(stage: &mut Stage, of: &str, guarantees: &str, limits: &str) {
    let read = |text: &str| match text {
        "" => BTreeMap::new(),
        _ => parse_amounts(text).unwrap(),
    };
    let (guarantees, limits) = (read(guarantees), read(limits));
    let id = stage.fresh();
    let request =
        Request::Quota(QuotaRequest::Set { role: role(of), guarantees, limits, force: false });
    assert_eq!(stage.operator(id, request).0, Ok(op(id)));
}
fn decline(stage: &mut Stage, id: &FrameworkId, over: u128, refuse: Duration) -> Step {
    let mine = stage.offers().into_iter().filter(|offer| offer.framework == *id);
    let offers = mine.map(|offer| offer.id).collect();
    stage.call(id, over, Call::Decline { offers, filters: Filters { refuse } })
}
fn launch(stage: &mut Stage, (id, over): (&FrameworkId, u128), offer: &Offer, what: &str) -> Step {
    let action = Action::Launch(vec![task("t", agent_id(1), res(what))]);
    stage.accept(id, over, &[offer], vec![action])
}

#[test]
fn an_offer_is_held_or_about_to_come_or_was_declined() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let (id, _) = stage.subscribe(50, framework_info("f", &["web"]));
    stage.now = stage.now.after(Duration::from_secs(3));
    assert_eq!(why(&stage, &id), ["host-1 has offer 1 for 3s"]);
    decline(&mut stage, &id, 50, Duration::ZERO);
    let fresh = stage.offers().len();
    if fresh == 0 {
        assert_eq!(why(&stage, &id), ["host-1 is due in Some(1s)"]);
    }
    stage.advance(SECOND);
    decline(&mut stage, &id, 50, Duration::from_secs(40));
    stage.advance(Duration::from_millis(9_500));
    assert_eq!(
        why(&stage, &id),
        [
            "host-1 FILTER: the framework declined it, and has not asked for it again [31s more] berth framework list"
        ]
    );
    stage.advance(Duration::from_secs(31));
    assert_eq!(stage.offers().len(), 1, "the filter has ended");
}

#[test]
fn a_framework_that_wants_none_is_left_out_everywhere() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let (id, _) = stage.subscribe(50, framework_info("f", &["db", "web"]));
    decline(&mut stage, &id, 50, Duration::ZERO);
    stage.call(&id, 50, Call::Suppress(BTreeSet::from([role("db"), role("web")])));
    let suppressed =
        "host-1 SUPPRESSED: the framework wants no offers for the role [] berth framework list";
    assert_eq!(why(&stage, &id), [suppressed, suppressed], "one for each role");
    stage.put(Input::FrameworkDisconnected { framework: id.clone(), session: session(50) });
    let away = "host-1 DISCONNECTED: the framework is not connected [] berth framework list";
    assert_eq!(why(&stage, &id), [away, away]);
    assert_eq!(stage.operator(9, Request::Teardown { framework: id.clone() }).0, Ok(op(9)));
    let removed = "host-1 REMOVED: the framework was removed [] ";
    assert_eq!(why(&stage, &id), [removed, removed]);
    let unknown = FrameworkId::new("nobody").unwrap();
    let refused = query::explain(stage.master.state(), &unknown, stage.now).unwrap_err();
    assert_eq!(
        (refused.code, refused.to_string().as_str(), refused.field.as_str()),
        (
            ErrorCode::UnknownFramework,
            "no framework nobody (field framework_id): list them with `berth framework list`",
            "framework_id"
        )
    );
}

#[test]
fn what_is_the_matter_with_the_agent_comes_before_what_it_has() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 8192);
    let (id, _) = stage.subscribe(50, framework_info("f", &["storage"]));
    stage.put(Input::AgentDisconnected { agent: agent_id(1), session: session(1) });
    let show = "berth agent show 00000000000000000000000000000001";
    assert_eq!(
        why(&stage, &id),
        [format!("host-1 AGENT_AWAY: the agent is UNREACHABLE [] {show}")]
    );
    let step =
        stage.back(1, "cpus:2;mem:64;disk:64", vec![report(&spec, VolumeState::Ready)], vec![]);
    let over = stage.session_of(1, &step);
    assert_eq!(
        why(&stage, &id),
        [format!(
            "host-1 AGENT_WITHHELD: nothing of the agent is given away: it no longer declares disk:8128, which is reserved or in use [] {show}"
        )]
    );
    stage.put(Input::AgentDisconnected { agent: agent_id(1), session: over });
    stage.back(1, MACHINE, vec![report(&spec, VolumeState::Ready)], vec![]);
    stage.register(2, "cpus:0.009;mem:31;disk:64");
    quota(&mut stage, "other", "cpus=1", "");
    stage.restart();
    stage.resubscribe(51, framework_info("f", &["storage"]), Some(id.clone()));
    let away = |host, n| {
        format!("host-{host} AGENT_AWAY: the agent is RECOVERING [] berth agent show {n:032}")
    };
    assert_eq!(why(&stage, &id), [away(1, 1), away(2, 2)]);
    stage.back(1, MACHINE, vec![report(&spec, VolumeState::Ready)], vec![]);
    assert_eq!(
        why(&stage, &id),
        [
            "host-1 AWAITS_AGENTS: 1 of 2 agents have not come back since the master started, and something is guaranteed to roles [] berth agent list"
                .to_owned(),
            away(2, 2)
        ]
    );
    stage.back(2, "cpus:0.009;mem:31;disk:64", vec![], vec![]);
    let known = why(&stage, &id);
    assert_eq!(
        known[1],
        "host-2 AGENT_SMALL: the agent has too little [cpus: 0.01 wanted, 0.009 left, mem: 32MiB wanted, 31MiB left] berth agent list"
    );
}

#[test]
fn what_others_have_is_told_apart() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    stage.register(2, "cpus(db):4;mem(db):4096");
    let (id, _) = stage.subscribe(50, framework_info("f", &["web"]));
    let first = stage.offers().remove(0);
    let (late, _) = stage.subscribe(51, framework_info("late", &["batch"]));
    let nothing = "[cpus: 0.01 wanted, 0 left, mem: 32MiB wanted, 0MiB left]";
    let reserved =
        format!("host-2 RESERVED: reserved for role db {nothing} berth reservation list --role db");
    let offered =
        format!("host-1 OFFERED_TO_OTHERS: offered to framework {id} {nothing} berth offer list");
    assert_eq!(why(&stage, &late), [offered, reserved.clone()]);
    launch(&mut stage, (&id, 50), &first, MACHINE);
    let used = format!("host-1 USED: in use by tasks and volumes {nothing} berth task list");
    assert_eq!(why(&stage, &late), [used.clone(), reserved.clone()]);
    assert_eq!(why(&stage, &id), [used, reserved]);
}

#[test]
fn who_comes_first_is_named_until_the_next_look() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let (first, _) = stage.subscribe(50, framework_info("f", &["a"]));
    let (second, _) = stage.subscribe(51, framework_info("g", &["b"]));
    let offer = stage.offers().remove(0);
    launch(&mut stage, (&first, 50), &offer, MACHINE);
    let failed = status(&first, "t", agent_id(1), TaskState::Failed, 5);
    stage.agent_says(1, session(1), FromAgent::Status(failed));
    // All is free again, and no look has come since.
    assert_eq!(stage.offers(), []);
    assert_eq!(
        why(&stage, &first),
        [format!("host-1 TURN: goes to framework {second} first, by share [] berth offer list")]
    );
    assert_eq!(why(&stage, &second), ["host-1 is due in Some(1s)"]);
    stage.advance(SECOND);
    assert_eq!(stage.offers().remove(0).framework, second);
}

#[test]
fn quota_is_named_with_its_figures() {
    let mut stage = Stage::new();
    stage.register(1, "cpus:4;disk:64");
    let (web, _) = stage.subscribe(50, framework_info("f", &["web/shop"]));
    let offer = stage.offers().remove(0);
    launch(&mut stage, (&web, 50), &offer, "cpus:1");
    quota(&mut stage, "web", "", "cpus=1");
    stage.advance(SECOND);
    assert_eq!(
        why(&stage, &web),
        [
            "host-1 QUOTA_LIMIT: the limit of role web: it has cpus=1 of 1 [cpus: 0.01 wanted, 0 left, mem: 32MiB wanted, 0MiB left] berth quota show web"
        ]
    );
    let (other, _) = stage.subscribe(51, framework_info("g", &["other"]));
    decline(&mut stage, &other, 51, Duration::ZERO);
    quota(&mut stage, "db", "cpus=3", "");
    stage.advance(SECOND);
    assert_eq!(
        why(&stage, &other),
        [
            "host-1 QUOTA_HEADROOM: kept for the guarantees of role db: cpus=3 is lacking, 3 is free in all [cpus: 0.01 wanted, 0 left, mem: 32MiB wanted, 0MiB left] berth quota usage db"
        ]
    );
    assert!(why(&stage, &web)[0].contains("QUOTA_LIMIT"), "the limit leaves as little");
}

#[test]
fn disks_and_shared_volumes_that_are_not_offered_are_named() {
    let mut stage = Stage::new();
    stage.register(1, "disk(storage):1024;cpus:0.001;mem:1");
    let disk = DiskId::from_u128(1001);
    let request = Request::Disk(DiskRequest::Cordon { disk, reason: "noise".to_owned() });
    assert_eq!(stage.operator(7, request).0, Ok(op(7)));
    let (id, _) = stage.subscribe(50, framework_info("f", &["storage"]));
    assert_eq!(
        why(&stage, &id),
        [
            "host-1 DISKS_WITHHELD: what is left lies on a cordoned or faulty disk: root [cpus: 0.01 wanted, 0.001 left, mem: 32MiB wanted, 1MiB left] berth disk show host-1:root"
        ]
    );

    let mut stage = Stage::new();
    stage.register(1, "cpus:0.001;mem:1;disk:512");
    let mut request = create_request("data", "storage", 512);
    if let Request::CreateVolume { shared, .. } = &mut request {
        *shared = true;
    }
    let (_, step) = stage.operator(5, request);
    stage.reports(1, session(1), report(&ensured(&step).unwrap(), VolumeState::Ready));
    let (id, _) = stage.subscribe(50, framework_info("f", &["storage"]));
    let alone = "host-1 SHARED_VOLUMES: only shared volumes are left, which it does not understand or is offered already [cpus: 0.01 wanted, 0.001 left, mem: 32MiB wanted, 1MiB left] ";
    assert_eq!(why(&stage, &id), [alone]);
    let capabilities = BTreeSet::from([Capability::SharedResources]);
    let info = FrameworkInfo { capabilities, ..framework_info("g", &["storage"]) };
    let (id, _) = stage.subscribe(51, info);
    assert_eq!(why(&stage, &id), ["host-1 has offer 1 for 0ns"]);
}

fn fanned(fan_out: u32, change: impl FnOnce(&mut Optimistic)) -> Stage {
    Stage::with(|config| {
        config.optimistic.fan_out = fan_out;
        change(&mut config.optimistic);
    })
}

#[test]
fn what_several_may_hold_is_held_by_enough_or_by_somebody_else() {
    let mut stage = fanned(2, |optimistic| {
        optimistic.fan_out_of = BTreeMap::from([(role("alone"), 1)]);
    });
    let ids: Vec<FrameworkId> = [(50, "a"), (51, "b"), (52, "c"), (53, "alone")]
        .map(|(over, of)| stage.subscribe(over, framework_info(of, &[of])).0)
        .into();
    stage.call(&ids[3], 53, Call::Suppress(BTreeSet::from([role("alone")])));
    stage.register(1, "cpus:4;mem:4096");
    stage.advance(Duration::from_millis(50));
    let held = [&ids[0], &ids[1]].map(ToString::to_string).join(", ");
    stage.call(&ids[3], 53, Call::Revive(BTreeSet::from([role("alone")])));
    let nothing = "[cpus: 0.01 wanted, 0 left, mem: 32MiB wanted, 0MiB left] berth offer list";
    assert_eq!(
        why(&stage, &ids[2]),
        [format!("host-1 FAN_OUT: framework {held} may answer first {nothing}")]
    );
    assert_eq!(
        why(&stage, &ids[3]),
        [format!(
            "host-1 HELD_BY_OTHERS: held by framework {held}, and this role shares nothing {nothing}"
        )]
    );
}

#[test]
fn what_is_kept_for_a_failed_task_says_for_whom_and_how_long() {
    let mut stage = fanned(2, |_| {});
    let (storage, _) = stage.subscribe(50, framework_info("s", &["storage"]));
    let (web, _) = stage.subscribe(51, framework_info("w", &["web"]));
    stage.register(1, "cpus:4;mem:4096;disk:64");
    let offer = stage.offers().remove(0);
    assert_eq!(offer.framework, storage);
    let made: Resource = volume("data", "storage", 64, "data");
    let used = plus(&sum([made.clone()]), &res("cpus:4;mem:4096"));
    let actions = vec![
        Action::Reserve(reserved("disk:64", "storage")),
        Action::Create(vec![made]),
        Action::Launch(vec![task("db", agent_id(1), used)]),
    ];
    let step = stage.accept(&storage, 50, &[&offer], actions);
    let spec = ensured(&step).unwrap();
    stage.reports(1, session(1), report(&spec, VolumeState::Ready));
    stage.advance(Duration::from_secs(7));
    let failed = status(&storage, "db", agent_id(1), TaskState::Failed, 5);
    stage.agent_says(1, session(1), FromAgent::Status(failed));
    decline(&mut stage, &storage, 50, Duration::from_secs(600));
    stage.advance(Duration::from_secs(2));
    decline(&mut stage, &storage, 50, Duration::from_secs(600));
    assert_eq!(
        why(&stage, &web),
        [
            "host-1 KEPT_FOR_ROLE: kept for a while for role storage, whose task used it [58s more, cpus: 0.01 wanted, 0 left, mem: 32MiB wanted, 0MiB left] berth task list --all"
        ]
    );
}
