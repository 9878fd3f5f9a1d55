//! Quota: what is refused with which words, what a role has, which offers go, and that nothing takes a role above a limit.

#![expect(clippy::unwrap_used, reason = "a script that cannot be written fails the test")]

mod stage;

use berth_master_core::query;
use berth_model::audit::{AuditChange, AuditRecord};
use berth_model::disk::ProfileRequest;
use berth_model::error::ErrorCode;
use berth_model::framework::Event;
use berth_model::id::{FrameworkId, OfferId};
use berth_model::operation::{Action, OperationState};
use berth_model::operator::{Request, VolumeChoice};
use berth_model::quota::{Quota, show_amounts};
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::resources::{DiskSource, Name, Resource, Resources};
use berth_model::volume::VolumeState;
use stage::quota::{MACHINE, amounts, done, forced, refused, set, ssd, two_disks, unset, with_ssd};
use stage::{
    Stage, agent_id, create_request, events, framework_info, mib, offered, op, operations, plus,
    report, res, reserved, role, session, statuses, sum, task,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Resource, guarantee, limit, consumed, offered, of one role.
fn standing(stage: &Stage, of: &str) -> Vec<String> {
    let views = query::quotas(stage.master.state());
    let view = views.into_iter().find(|view| view.role == role(of));
    let uses = view.into_iter().flat_map(|view| view.uses);
    uses.map(|u| {
        let shown = |a: Option<_>| a.map_or("-".to_owned(), |a| u.counted.shown(a));
        format!(
            "{} {} {} {} {}",
            u.counted,
            shown(u.guarantee),
            shown(u.limit),
            u.counted.shown(u.consumed),
            u.counted.shown(u.offered)
        )
    })
    .collect()
}
fn rescinded(step: &berth_master_core::Step) -> Vec<OfferId> {
    let ids = events(step).into_iter().filter_map(|event| match event {
        Event::Rescind(offer) => Some(offer),
        _ => None,
    });
    ids.collect()
}
fn on_ssd(size: u64) -> Resources {
    let source = DiskSource::Path(Arc::from("/srv/d1"));
    sum([Resource::disk(source, mib(size).to_scalar().unwrap())])
}
fn of_role(resources: &Resources, owner: &str) -> Resources {
    let level = || berth_model::reservation::Reservation::dynamic(role(owner));
    sum(resources.iter().map(|r| r.push(level()).unwrap()))
}
fn launch(
    stage: &mut Stage,
    (framework, over): (&FrameworkId, u128),
    name: &str,
    resources: &str,
) -> berth_master_core::Step {
    let offers = stage.offers();
    let offer = offers.iter().find(|offer| offer.framework == *framework).unwrap();
    let action = Action::Launch(vec![task(name, offer.agent, res(resources))]);
    stage.accept(framework, over, &[offer], vec![action])
}
fn reserve(resources: Resources) -> Request {
    Request::Reserve { agent: agent_id(1), resources }
}

#[test]
fn a_quota_is_durable_replaced_as_a_whole_and_gone_when_it_is_unset() {
    let mut stage = with_ssd();
    let (since, id) = (stage.now, stage.fresh());
    let wanted = set("storage", "cpus=1,mem=0,disk[ssd]=1GiB", "cpus=2,gpus=0");
    let (answer, step) = stage.operator(id, wanted.clone());
    assert_eq!(answer, Ok(op(id)));
    assert_eq!(operations(&step), [("SET_QUOTA", "DONE", None)]);
    let key = RegistryKey::Quota(role("storage"));
    // A guarantee of nothing is none; a limit of nothing is one.
    let quota = Quota {
        role: role("storage"),
        guarantees: amounts("cpus=1,disk[ssd]=1GiB"),
        limits: amounts("cpus=2,gpus=0"),
        changed: since,
        operation: op(id),
    };
    let record = RegistryRecord::Quota(Arc::new(quota.clone()));
    assert_eq!(stage.registry.get(&key), Some(&record));
    stage.restart();
    let views = query::quotas(stage.master.state());
    assert_eq!(views.len(), 1);
    assert_eq!(views[0].quota, Some(quota));

    // The same call again is the same operation; the same quota again changes nothing and says so.
    let (answer, step) = stage.operator(id, wanted.clone());
    assert_eq!((answer, step.writes.len()), (Ok(op(id)), 0));
    let registration = stage.registration(two_disks(), session(2));
    stage.register_as(registration);
    assert_eq!(done(&mut stage, wanted), ["role storage had this quota already"]);
    assert_eq!(stage.registry.get(&key), Some(&record));

    assert_eq!(done(&mut stage, set("storage", "", "mem=1GiB")), [""; 0]);
    let view = query::quotas(stage.master.state()).remove(0).quota.unwrap();
    assert_eq!(
        (show_amounts(&view.guarantees), show_amounts(&view.limits)),
        ("none".into(), "mem=1GiB".into())
    );

    assert_eq!(done(&mut stage, unset("storage")), [""; 0]);
    assert_eq!(stage.registry.get(&key), None);
    stage.restart();
    assert_eq!(query::quotas(stage.master.state()), []);
    let error = refused(&mut stage, unset("storage"));
    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::UnknownQuota, "role storage has no quota")
    );
}

#[test]
fn what_cannot_be_is_refused_with_its_numbers_and_nothing_changes() {
    let mut stage = with_ssd();
    done(&mut stage, reserve(of_role(&res("disk:3072"), "storage/db")));
    done(&mut stage, reserve(of_role(&res("disk:1024"), "storage")));
    done(&mut stage, set("web", "cpus=3", ""));
    for (request, code, words) in [
        (
            set("storage/db", "cpus=1", ""),
            ErrorCode::InvalidRole,
            "role storage/db is below role storage: only top-level roles have quota, which counts for all roles below them",
        ),
        (
            set("*", "cpus=1", ""),
            ErrorCode::InvalidRole,
            "role * can have no quota, since it is nobody in particular",
        ),
        (
            unset("a/b"),
            ErrorCode::InvalidRole,
            "role a/b is below role a: only top-level roles have quota, which counts for all roles below them",
        ),
        (
            set("storage", "mem=2GiB", "mem=1GiB"),
            ErrorCode::InvalidQuota,
            "the guarantee mem=2GiB is above the limit mem=1GiB",
        ),
        (set("storage", "disk[hdd]=1GiB", ""), ErrorCode::UnknownProfile, "no profile hdd"),
        (
            set("storage", "cpus=1.5", ""),
            ErrorCode::QuotaOvercommitted,
            "all roles together would be guaranteed cpus=4.5, and there is cpus=4",
        ),
        (
            set("storage", "disk[ssd]=5GiB", ""),
            ErrorCode::QuotaOvercommitted,
            "all roles together would be guaranteed disk[ssd]=5GiB, and there is disk[ssd]=4GiB",
        ),
        (
            set("storage", "", "disk=2GiB,disk[ssd]=0"),
            ErrorCode::LimitBelowUse,
            "limit disk=2GiB of role storage is below what it has, disk=4GiB (storage/db has 3GiB, storage has 1GiB)",
        ),
    ] {
        let error = refused(&mut stage, request);
        assert_eq!((error.code, error.message.as_str()), (code, words));
        assert!(!error.remedy.is_empty(), "{error}");
    }
    // By force it is as it was asked for, and the doubts are kept.
    let notes = done(&mut stage, forced(set("storage", "cpus=1.5", "disk=2GiB")));
    assert_eq!(
        notes,
        [
            "by force: all roles together would be guaranteed cpus=4.5, and there is cpus=4",
            "by force: limit disk=2GiB of role storage is below what it has, disk=4GiB (storage/db has 3GiB, storage has 1GiB)",
        ]
    );
    // Force is for doubts about the cluster, not for nonsense.
    let error = refused(&mut stage, forced(set("storage", "cpus=2", "cpus=1")));
    assert_eq!(error.code, ErrorCode::InvalidQuota);
    // An agent that is there no more counts no more.
    let gone = stage.advance(Duration::from_secs(3_600));
    assert!(!gone.outputs.is_empty());
    let error = refused(&mut stage, set("ops", "mem=1MiB", ""));
    assert_eq!(
        error.message,
        "all roles together would be guaranteed mem=1MiB, and there is mem=0MiB"
    );
}

#[test]
fn reservations_count_idle_or_not_and_tasks_by_what_is_unreserved() {
    let mut stage = with_ssd();
    done(&mut stage, set("storage", "cpus=1,disk[ssd]=2GiB", "cpus=3"));
    assert_eq!(standing(&stage, "storage"), ["cpus 1 3 0 0", "disk[ssd] 2GiB - 0MiB 0MiB"]);
    done(&mut stage, reserve(of_role(&plus(&res("cpus:1;disk:1024"), &on_ssd(512)), "storage/db")));
    let idle = ["cpus 1 3 1 0", "disk - - 1536MiB 0MiB", "disk[ssd] 2GiB - 512MiB 0MiB"];
    assert_eq!(standing(&stage, "storage"), idle);
    // A level above it in the same tree is the same once.
    let deeper = of_role(&of_role(&on_ssd(256), "storage/db"), "storage/db/main");
    done(&mut stage, reserve(deeper));
    assert_eq!(standing(&stage, "storage"), idle);

    let (framework, _) = stage.subscribe(20, framework_info("f", &["storage/db"]));
    let found = standing(&stage, "storage");
    assert_eq!(found[0], "cpus 1 3 1 2", "offers keep within the limit: {found:?}");
    let own = of_role(&res("cpus:1"), "storage/db");
    let resources = plus(&own, &res("cpus:0.5;mem:256;disk:100"));
    let offer = stage.offers().remove(0);
    let action = Action::Launch(vec![task("a", offer.agent, resources)]);
    stage.accept(&framework, 20, &[&offer], vec![action]);
    let used = [
        "cpus 1 3 1.5 0",
        "disk - - 1636MiB 0MiB",
        "disk[ssd] 2GiB - 512MiB 0MiB",
        "mem - - 256MiB 0MiB",
    ];
    assert_eq!(sorted(standing(&stage, "storage")), sorted(used.map(str::to_owned).to_vec()));
    let roles: Vec<(String, String, String)> = query::roles(stage.master.state())
        .iter()
        .map(|view| {
            let cpus = |map: &BTreeMap<Arc<str>, _>| {
                map.get("cpus").map(ToString::to_string).unwrap_or_default()
            };
            (view.role.to_string(), cpus(&view.allocated), cpus(&view.consumed))
        })
        .collect();
    let row = |role: &str, a: &str, c: &str| (role.to_owned(), a.to_owned(), c.to_owned());
    assert_eq!(
        roles,
        [
            row("storage", "", "1.5"),
            row("storage/db", "0.5", "1.5"),
            row("storage/db/main", "", "")
        ]
    );
    // What was declared for a role counts from the beginning; a master that comes back counts the same.
    stage.restart();
    let without = ["cpus 1 3 1 0", "disk - - 1536MiB 0MiB", "disk[ssd] 2GiB - 512MiB 0MiB"];
    assert_eq!(standing(&stage, "storage"), without, "its tasks are not known yet");
    stage.register(2, "cpus(storage):2;cpus:1");
    assert_eq!(standing(&stage, "storage")[0], "cpus 1 3 3 0");
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[test]
fn an_accept_that_would_take_a_role_above_its_limit_is_refused_and_says_who_has_what() {
    let mut stage = Stage::with(|config| config.optimistic.fan_out = 2);
    stage.register(1, MACHINE);
    done(&mut stage, set("storage", "", "cpus=2,disk=1GiB"));
    let (one, _) = stage.subscribe(20, framework_info("one", &["storage/db"]));
    let (two, _) = stage.subscribe(21, framework_info("two", &["storage/db"]));
    stage.advance(Duration::from_millis(50));
    // Each is offered what the role may have, and both cannot have it.
    let step = launch(&mut stage, (&one, 20), "a", "cpus:1.5;mem:64");
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
    let step = launch(&mut stage, (&two, 21), "b", "cpus:1;mem:64");
    assert_eq!(operations(&step), [("LAUNCH", "FAILED", Some(ErrorCode::QuotaExceeded))]);
    use berth_model::task::{TaskReason, TaskState};
    // Not an error of the task: it may be launched later.
    let dropped = |name: &str| (name.to_owned(), TaskState::Dropped, TaskReason::InvalidOffers);
    assert_eq!(statuses(&step), [dropped("b")]);
    let failed =
        query::operations(stage.master.state()).into_iter().find_map(|record| {
            match &record.state {
                OperationState::Failed(error) => Some(error.clone()),
                _ => None,
            }
        });
    assert_eq!(
        failed.unwrap().message,
        "role storage/db cannot have cpus=1 more: the limit of role storage is 2, it has 1.5 (storage/db has 1.5), and 0.5 would be too much"
    );

    // Both hold what is left. Of two tasks of one LAUNCH one is one too many.
    let both = |stage: &mut Stage| {
        stage.advance(Duration::from_secs(10));
        stage.advance(Duration::from_millis(50));
        let offers = stage.offers();
        let of = |id| offers.iter().find(|offer| offer.framework == id).unwrap().clone();
        [of(one.clone()), of(two.clone())]
    };
    let [_, second] = both(&mut stage);
    let step = launch(&mut stage, (&one, 20), "c", "cpus:0.2;mem:64");
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
    let tasks = ["d", "e"].map(|name| task(name, second.agent, res("cpus:0.2;mem:64")));
    let step = stage.accept(&two, 21, &[&second], vec![Action::Launch(tasks.to_vec())]);
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
    assert_eq!(statuses(&step), [dropped("e")]);

    // RESERVE counts, what is launched on it does not count again, and UNRESERVE gives back.
    let [first, second] = both(&mut stage);
    let disk = |size: u64| reserved(&format!("disk:{size}"), "storage/db");
    let step = stage.accept(&one, 20, &[&first], vec![Action::Reserve(disk(512))]);
    assert_eq!(operations(&step), [("RESERVE", "DONE", None)]);
    let step = stage.accept(
        &two,
        21,
        &[&second],
        vec![
            Action::Reserve(disk(1024)),
            Action::Reserve(disk(256)),
            Action::Unreserve(disk(256)),
            Action::Reserve(disk(512)),
            Action::Launch(vec![task("f", second.agent, plus(&disk(512), &res("mem:64")))]),
            Action::Launch(vec![task("g", second.agent, res("disk:1;mem:64"))]),
        ],
    );
    let exceeded = Some(ErrorCode::QuotaExceeded);
    assert_eq!(
        operations(&step),
        [
            ("RESERVE", "FAILED", exceeded),
            ("RESERVE", "DONE", None),
            ("UNRESERVE", "DONE", None),
            ("RESERVE", "DONE", None),
            ("LAUNCH", "DONE", None),
            ("LAUNCH", "FAILED", exceeded),
        ]
    );
    assert_eq!(standing(&stage, "storage")[2], "disk - 1GiB 1GiB 0MiB");
    // Another tree has no limit.
    assert_eq!(done(&mut stage, reserve(reserved("disk:4096", "web"))), [""; 0]);
}

#[test]
fn operators_are_held_to_limits_too_but_data_are_not_kept_from_their_owner() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 1024);
    done(&mut stage, set("storage", "", "disk=1536MiB"));
    for request in [
        reserve(reserved("disk:513", "storage/db")),
        create_request("more", "storage", 513),
        Request::ResizeVolume { volume: VolumeChoice::Id(spec.id), size: mib(1537) },
    ] {
        let error = refused(&mut stage, request);
        assert_eq!(error.code, ErrorCode::QuotaExceeded, "{error}");
        assert!(
            error.message.contains("it has 1GiB (storage has 1GiB), and 1MiB would be too much"),
            "{error}"
        );
    }
    done(&mut stage, reserve(reserved("disk:512", "storage/db")));
    // It goes to the trash, its reservation is given back and used by another role of the tree; then it is wanted back.
    done(&mut stage, Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) });
    stage.reports(1, session(1), report(&spec, VolumeState::Trashed));
    let rows = query::reservations(stage.master.state());
    let row = rows.iter().find(|view| view.row.resource.stack.owner() == Some(&role("storage")));
    done(&mut stage, Request::Release { reservation: row.unwrap().row.id });
    done(&mut stage, reserve(reserved("disk:1024", "storage/db")));
    assert_eq!(standing(&stage, "storage"), ["disk - 1536MiB 1536MiB 0MiB"]);
    done(&mut stage, Request::RestoreVolume { volume: spec.id });
    assert_eq!(standing(&stage, "storage"), ["disk - 1536MiB 2560MiB 0MiB"]);
}

#[test]
fn disks_are_counted_by_profile_as_well_and_a_profile_that_counts_is_kept() {
    let mut stage = with_ssd();
    done(&mut stage, set("storage", "", "disk[ssd]=1GiB"));
    done(&mut stage, reserve(of_role(&res("disk:4096"), "storage")));
    done(&mut stage, reserve(of_role(&on_ssd(1000), "storage")));
    let error = refused(&mut stage, reserve(of_role(&on_ssd(25), "storage/db")));
    assert_eq!(
        error.message,
        "role storage cannot have disk[ssd]=25MiB more: the limit of role storage is 1GiB, it has 1000MiB (storage has 1000MiB), and 1MiB would be too much"
    );
    let delete = Request::Profile(ProfileRequest::Delete(ssd()));
    let error = refused(&mut stage, delete.clone());
    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::ProfileInUse, "profile ssd is what the quota of role storage counts disks by")
    );
    done(&mut stage, unset("storage"));
    done(&mut stage, delete);
}

#[test]
fn a_lower_limit_takes_back_as_many_offers_as_it_must() {
    let mut stage = Stage::new();
    for n in 1..=3 {
        stage.register(n, &format!("cpus:{n};mem:1024"));
    }
    let (_, step) = stage.subscribe(20, framework_info("f", &["storage/db"]));
    assert_eq!(offered(&step).len(), 3);
    let of = |stage: &Stage, n: u128| {
        let offers = stage.offers();
        offers.iter().find(|offer| offer.agent == agent_id(n)).unwrap().id
    };
    let (largest, all) = (of(&stage, 3), stage.offers().len());
    let id = stage.fresh();
    let (answer, step) = stage.operator(id, set("storage", "", "cpus=4"));
    assert_eq!((answer, rescinded(&step)), (Ok(op(id)), vec![largest]), "6 are offered, 4 allowed");
    assert_eq!(stage.offers().len(), all - 1);
    // Enough is free already: nothing goes.
    let id = stage.fresh();
    let (_, step) = stage.operator(id, set("storage", "", "cpus=3"));
    assert_eq!(rescinded(&step), []);
    let id = stage.fresh();
    let (_, step) = stage.operator(id, set("storage", "", "cpus=0"));
    assert_eq!(rescinded(&step).len(), 2);
}

#[test]
fn a_guarantee_takes_back_offers_of_others_but_not_what_they_are_guaranteed() {
    let mut stage = Stage::new();
    for n in 1..=3 {
        stage.register(n, "cpus:2;mem:1024");
    }
    done(&mut stage, set("web", "cpus=4", ""));
    let (_, step) = stage.subscribe(20, framework_info("f", &["web"]));
    assert_eq!(offered(&step).len(), 3);
    // Forced, because 4 and 3 are more than 6: of web's three offers only one can go.
    let request = forced(set("storage", "cpus=3", ""));
    let lines = stage.master.check(stage.now, &request).unwrap();
    assert_eq!(
        lines,
        [
            "by force: all roles together would be guaranteed cpus=7, and there is cpus=6",
            "it rescinds 1 offers",
        ]
    );
    let id = stage.fresh();
    let (_, step) = stage.operator(id, request);
    assert_eq!(rescinded(&step).len(), 1);
    // What was given back is free: a lower guarantee needs no more.
    let id = stage.fresh();
    let (_, step) = stage.operator(id, set("storage", "cpus=2", ""));
    assert_eq!(rescinded(&step), []);
    // Unset, nothing is in the way any more.
    done(&mut stage, unset("web"));
    let id = stage.fresh();
    let (_, step) = stage.operator(id, set("storage", "cpus=6", ""));
    assert_eq!(rescinded(&step).len(), 2);
}

#[test]
fn with_a_quota_nothing_is_offered_until_most_agents_are_back() {
    let mut stage = Stage::new();
    for n in 1..=5 {
        stage.register(n, MACHINE);
    }
    done(&mut stage, set("storage", "cpus=2", ""));
    stage.restart();
    let (_, step) = stage.subscribe(20, framework_info("f", &["web"]));
    assert_eq!(offered(&step), [], "nobody is back");
    for n in 1..=3 {
        assert_eq!(offered(&stage.register(n, MACHINE)), [], "{n} of 5 are back");
    }
    // The fourth makes four of five, and all that are there are offered, but for the headroom.
    let step = stage.register(4, MACHINE);
    let cpus: i64 = offered(&step).iter().map(|o| o.resources.total(&Name::Cpus).milli()).sum();
    assert_eq!((offered(&step).len(), cpus), (4, 14_000));

    // Without a quota nobody waits; and nobody waits longer than for the window in which agents may come back.
    done(&mut stage, unset("storage"));
    stage.restart();
    stage.subscribe(20, framework_info("f", &["web"]));
    assert_eq!(offered(&stage.register(1, MACHINE)).len(), 1);
    done(&mut stage, set("storage", "cpus=2", ""));
    stage.restart();
    stage.subscribe(20, framework_info("f", &["web"]));
    assert_eq!(offered(&stage.register(1, MACHINE)), []);
    let step = stage.advance(Duration::from_secs(601));
    assert_eq!(offered(&step), [], "the agent itself is silent by now");
    assert_eq!(
        offered(&stage.register(2, MACHINE)).len(),
        1,
        "it comes late, and is not waited for"
    );
}

#[test]
fn who_was_offered_nothing_for_a_quota_is_offered_something_when_it_changes() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    done(&mut stage, set("web", "", "cpus=0,mem=0MiB,disk=0MiB"));
    let (_, step) = stage.subscribe(20, framework_info("f", &["web"]));
    assert_eq!(offered(&step), []);
    assert_eq!(offered(&stage.advance(Duration::from_secs(60))), []);
    let cpus = |step: &berth_master_core::Step| -> Vec<i64> {
        offered(step).iter().map(|o| o.resources.total(&Name::Cpus).milli()).collect()
    };
    let (_, step) = stage.operator(70, set("web", "", "cpus=1"));
    assert_eq!(cpus(&step), [1_000], "at once, whatever else happens");
    // Another role is guaranteed all, then no longer.
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    done(&mut stage, set("ops", "cpus=4,mem=4GiB", ""));
    let (_, step) = stage.subscribe(20, framework_info("f", &["web"]));
    assert_eq!(offered(&step), [], "disk alone is not worth an offer");
    let (_, step) = stage.operator(71, unset("ops"));
    assert_eq!(cpus(&step), [4_000]);
}

#[test]
fn the_audit_log_says_what_a_quota_was_before_and_after() {
    let mut stage = Stage::with(|config| config.audit_refusals = 100);
    stage.register(1, MACHINE);
    let first = set("storage", "cpus=1", "mem=1GiB");
    for request in [first, set("storage", "cpus=1", "mem=2GiB"), unset("storage")] {
        done(&mut stage, request);
    }
    let id = stage.fresh();
    stage.operator(id, set("storage", "cpus=9", "")).0.unwrap_err();
    let entries: Vec<_> = stage
        .registry
        .values()
        .filter_map(|record| match record {
            RegistryRecord::Audit(AuditRecord::Entry(entry)) => Some(entry.clone()),
            _ => None,
        })
        .filter(|entry| entry.kind.is_some())
        .collect();
    let change = |what: &str, before: Option<&str>, after: Option<&str>| AuditChange {
        object: "role storage".to_owned(),
        what: what.to_owned(),
        before: before.map(str::to_owned),
        after: after.map(str::to_owned),
    };
    let changes: Vec<_> = entries.iter().map(|entry| entry.changes.clone()).collect();
    assert_eq!(
        changes,
        [
            vec![
                change("guarantees", None, Some("cpus=1")),
                change("limits", None, Some("mem=1GiB")),
            ],
            vec![change("limits", Some("mem=1GiB"), Some("mem=2GiB"))],
            vec![
                change("guarantees", Some("cpus=1"), None),
                change("limits", Some("mem=2GiB"), None),
            ],
            Vec::new(),
        ]
    );
    let objects: Vec<&str> = entries.iter().map(|entry| entry.object.as_str()).collect();
    assert_eq!(
        objects,
        [
            "quota of role storage: guarantees cpus=1; limits mem=1GiB",
            "quota of role storage: guarantees cpus=1; limits mem=2GiB",
            "quota of role storage",
            "quota of role storage: guarantees cpus=9; limits none",
        ]
    );
    let code = entries[3].error.as_ref().map(|error| error.code);
    assert_eq!(code, Some(ErrorCode::QuotaOvercommitted));
}
