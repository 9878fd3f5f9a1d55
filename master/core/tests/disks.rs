//! Cordons, labels and profiles: what is offered, where volumes go, what is refused with which words, and that all of it
//! outlives the master.

#![expect(clippy::unwrap_used, reason = "a script that cannot be written fails the test")]

mod stage;

use berth_master_core::{Input, query};
use berth_model::agent::{AgentInfo, Disk, DiskHealth, Media};
use berth_model::disk::{Cordon, DiskProfile, DiskRequest, HealthWish, ProfileRequest};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{Call, Event};
use berth_model::id::{DiskId, ProfileName};
use berth_model::link::FromAgent;
use berth_model::operation::{Action, OperationState};
use berth_model::operator::{DiskChoice, Request, VolumeChoice};
use berth_model::resources::{DiskSource, Name, Resources};
use berth_model::units::Timestamp;
use berth_model::view::DiskView;
use berth_model::volume::VolumeState;
use stage::{
    Stage, agent_id, create_request, ensured, events, framework_info, info, mib, offered, op,
    operations, plus, report, reserved, role, session, sum, task,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";
const ROOT: DiskId = DiskId::from_u128(1001);
const D1: DiskId = DiskId::from_u128(0xd1);

fn d1() -> DiskSource {
    DiskSource::Path(Arc::from("/srv/d1"))
}

/// Agent 1 with its ROOT disk and a smaller PATH disk.
fn two_disks() -> AgentInfo {
    let mut info = info(agent_id(1), MACHINE);
    let size = mib(4096);
    info.disks.push(Disk {
        id: D1,
        name: Arc::from("d1"),
        source: d1(),
        root: Arc::from("/srv/d1"),
        size,
        free: size,
        media: Media::Nvme,
        ..info.disks[0].clone()
    });
    let disk = berth_model::resources::Resource::disk(d1(), size.to_scalar().unwrap());
    info.declared.add(&disk).unwrap();
    info
}

fn cluster() -> Stage {
    let mut stage = Stage::new();
    let registration = stage.registration(two_disks(), session(1));
    stage.register_as(registration);
    stage
}

fn cordon(disk: DiskId, reason: &str) -> Request {
    Request::Disk(DiskRequest::Cordon { disk, reason: reason.to_owned() })
}
fn uncordon(disk: DiskId) -> Request {
    Request::Disk(DiskRequest::Uncordon { disk, reason: "fan replaced".to_owned() })
}
fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
fn label(disk: DiskId, set: &[(&str, &str)], remove: &[&str]) -> Request {
    let remove = remove.iter().map(|key| (*key).to_owned()).collect();
    Request::Disk(DiskRequest::Label { disk, set: map(set), remove })
}
fn name(text: &str) -> ProfileName {
    ProfileName::new(text).unwrap()
}
fn profile(text: &str) -> DiskProfile {
    DiskProfile {
        name: name(text),
        media: BTreeSet::new(),
        size_min: None,
        size_max: None,
        labels: BTreeMap::new(),
        health: HealthWish::Ok,
    }
}
fn create_on(name: &str, size: u64, choice: DiskChoice) -> Request {
    let mut request = create_request(name, "storage", size);
    if let Request::CreateVolume { disk, .. } = &mut request {
        *disk = choice;
    }
    request
}
fn view(stage: &Stage, id: DiskId) -> DiskView {
    let views = query::disks(stage.master.state());
    views.into_iter().find(|view| view.disk.id == id).unwrap()
}
/// What is offered of a disk, without volumes: MiB by disk.
fn free_offered(resources: &Resources) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for resource in resources.iter().filter(|r| r.name == Name::Disk && r.persistence().is_none()) {
        let mib = resource.size().whole_mib().unwrap();
        *found.entry(resource.disk_source().to_string()).or_default() += mib;
    }
    found
}

#[test]
fn volumes_avoid_a_cordoned_disk_and_who_asks_for_it_is_told_why() {
    let mut stage = cluster();
    let since = stage.now;
    let (answer, step) = stage.operator(1, cordon(D1, "disk answers slowly"));
    assert_eq!(answer, Ok(op(1)));
    assert_eq!(operations(&step), [("CORDON", "DONE", None)]);
    let record = query::operation(stage.master.state(), op(1)).unwrap();
    assert_eq!(
        (record.object.as_str(), record.agent, record.state.clone()),
        (
            "disk host-1:d1 (000000000000000000000000000000d1): disk answers slowly",
            Some(agent_id(1)),
            OperationState::Done
        )
    );
    // Without the cordon it would have been d1: other disks come before ROOT.
    let (_, step) = stage.operator(2, create_request("a", "storage", 64));
    assert_eq!(ensured(&step).unwrap().source, DiskSource::Root);
    for choice in [DiskChoice::Id(D1), DiskChoice::Named(Arc::from("d1")), DiskChoice::Source(d1())]
    {
        let (answer, step) = stage.operator(3, create_on("b", 64, choice));
        assert_eq!(answer, Err(Rejection::new(
            ErrorCode::DiskCordoned,
            "disk d1 (PATH:/srv/d1) of agent 00000000000000000000000000000001 (host-1) is cordoned: disk answers slowly",
        ).remedy("choose another disk, or end it with `berth disk uncordon 000000000000000000000000000000d1`").field("disk")));
        assert_eq!(step.writes, []);
    }
    // What does not fit elsewhere says what was left out.
    let refused = stage.operator(4, create_request("c", "storage", 20_000)).0.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InsufficientResources);
    assert!(refused.message.contains("; left out: disk d1 (PATH:/srv/d1)"), "{refused}");
    // Nor can anything new be reserved there; on another disk it can.
    let on = |source: DiskSource| {
        let resources = reserved("disk:8", "storage");
        let resources = resources.iter().map(|mut resource| {
            resource.disk = Some(berth_model::resources::DiskInfo {
                source: source.clone(),
                ..Default::default()
            });
            resource
        });
        Request::Reserve { agent: agent_id(1), resources: sum(resources) }
    };
    let refused = stage.operator(5, on(d1())).0.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DiskCordoned);
    assert_eq!(stage.operator(6, on(DiskSource::Root)).0, Ok(op(6)));

    let wanted = Some(Cordon { reason: "disk answers slowly".to_owned(), since });
    stage.restart();
    assert_eq!(view(&stage, D1).cordon, wanted);
    assert_eq!(view(&stage, ROOT).cordon, None);
    let registration = stage.registration(two_disks(), session(2));
    stage.register_as(registration);
    let refused = stage.operator(7, create_on("b", 64, DiskChoice::Id(D1))).0.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DiskCordoned);

    assert_eq!(stage.operator(8, uncordon(D1)).0, Ok(op(8)));
    let (_, step) = stage.operator(9, create_request("b", "storage", 64));
    assert_eq!(ensured(&step).unwrap().source, d1());
    // Nothing is kept of a disk of which nothing is said.
    let kept = stage
        .registry
        .keys()
        .filter(|key| matches!(key, berth_model::record::RegistryKey::Disk(_)));
    assert_eq!(kept.count(), 0);
}

#[test]
fn a_cordon_is_repeated_and_changed_safely() {
    let mut stage = cluster();
    let since = stage.now;
    let dry = stage.master.check(stage.now, &cordon(D1, "x"));
    assert_eq!((dry, view(&stage, D1).cordon), (Ok(Vec::new()), None));
    assert_eq!(stage.operator(1, cordon(D1, "first")).0, Ok(op(1)));
    stage.advance(std::time::Duration::from_secs(60));
    // The same request again does nothing; another under its id is refused.
    let (answer, step) = stage.operator(1, cordon(D1, "first"));
    assert_eq!((answer, step.writes.len()), (Ok(op(1)), 0));
    let refused = stage.operator(1, cordon(ROOT, "first")).0.unwrap_err();
    assert_eq!(refused.code, ErrorCode::RequestIdReused);
    // A new reason replaces the old one and does not begin anew.
    assert_eq!(stage.operator(2, cordon(D1, "second")).0, Ok(op(2)));
    let wanted = |reason: &str, since: Timestamp| Some(Cordon { reason: reason.to_owned(), since });
    assert_eq!(view(&stage, D1).cordon, wanted("second", since));
    for id in [3, 4] {
        assert_eq!(stage.operator(id, uncordon(D1)).0, Ok(op(id)));
        assert_eq!(view(&stage, D1).cordon, None);
    }
    for request in
        [cordon(DiskId::from_u128(7), ""), label(DiskId::from_u128(7), &[("a", "b")], &[])]
    {
        let refused = stage.operator(5, request).0.unwrap_err();
        assert_eq!(
            refused,
            Rejection::new(ErrorCode::UnknownDisk, "no disk 00000000000000000000000000000007")
                .remedy("list the disks with `berth disk list`")
                .field("disk_id")
        );
    }
}

#[test]
fn a_cordoned_disk_is_not_offered_but_its_volumes_are() {
    let mut stage = cluster();
    let (_, step) = stage.operator(1, create_on("data", 1024, DiskChoice::Id(D1)));
    let spec = ensured(&step).unwrap();
    stage.reports(1, session(1), report(&spec, VolumeState::Ready));
    // 512 MiB more are reserved on it, without a volume.
    let more: Vec<_> = stage.volume("data").volume.plain_resource().into_iter().collect();
    let half = berth_model::resources::Resource {
        value: berth_model::resources::Value::Scalar(mib(512).to_scalar().unwrap()),
        ..more[0].clone()
    };
    let request = Request::Reserve { agent: agent_id(1), resources: sum([half]) };
    assert_eq!(stage.operator(2, request).0, Ok(op(2)));

    let (framework, step) = stage.subscribe(50, framework_info("db", &["storage"]));
    let offers = offered(&step);
    let all = free_offered(&offers[0].resources);
    assert_eq!(
        all,
        BTreeMap::from([("PATH:/srv/d1".to_owned(), 3072), ("ROOT".to_owned(), 10_240)])
    );
    assert_eq!(offers[0].resources.volumes().len(), 1);

    let (_, step) = stage.operator(3, cordon(D1, "to be replaced"));
    let rescinded = events(&step).contains(&Event::Rescind(offers[0].id));
    assert!(rescinded, "{:?}", events(&step));
    let step = stage.advance(std::time::Duration::from_secs(10));
    let offers = stage.offers();
    assert_eq!(offers.len(), 1, "{step:?}");
    assert_eq!(free_offered(&offers[0].resources), BTreeMap::from([("ROOT".to_owned(), 10_240)]));
    let volumes = offers[0].resources.volumes();
    assert_eq!(volumes.len(), 1);

    // The data is reachable: a task starts on the volume, and goes on when the cordon is repeated.
    let resources = plus(&stage::res("cpus:1;mem:64"), &sum(volumes));
    let step = stage.accept(
        &framework,
        50,
        &[&offers[0]],
        vec![Action::Launch(vec![task("t", agent_id(1), resources)])],
    );
    let launched = stage::messages(&step).iter().any(|message| {
        matches!(message, berth_model::link::ToAgent::Launch { volumes, .. } if volumes.len() == 1)
    });
    assert!(launched, "{step:?}");
    assert_eq!(stage.operator(4, cordon(D1, "to be replaced soon")).0, Ok(op(4)));
    assert_eq!(stage.volume("data").users.len(), 1);

    // Uncordoned, everything comes back.
    assert_eq!(stage.operator(5, uncordon(D1)).0, Ok(op(5)));
    stage.advance(std::time::Duration::from_secs(10));
    stage.call(&framework, 50, Call::Revive(BTreeSet::from([role("storage")])));
    stage.advance(std::time::Duration::from_secs(10));
    let mut offered = BTreeMap::new();
    for offer in stage.offers() {
        for (disk, mib) in free_offered(&offer.resources) {
            *offered.entry(disk).or_insert(0) += mib;
        }
    }
    assert_eq!(offered, all);
}

#[test]
fn volumes_of_a_cordoned_disk_are_deleted_and_restored() {
    let mut stage = cluster();
    let (_, step) = stage.operator(1, create_on("data", 512, DiskChoice::Id(D1)));
    let spec = ensured(&step).unwrap();
    stage.reports(1, session(1), report(&spec, VolumeState::Ready));
    assert_eq!(stage.operator(2, cordon(D1, "")).0, Ok(op(2)));
    let delete = Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) };
    assert_eq!(stage.operator(3, delete).0, Ok(op(3)));
    stage.reports(1, session(1), report(&spec, VolumeState::Trashed));
    let (answer, step) = stage.operator(4, Request::RestoreVolume { volume: spec.id });
    assert_eq!(answer, Ok(op(4)));
    let restored = ensured(&step).unwrap();
    stage.reports(1, session(1), report(&restored, VolumeState::Ready));
    assert_eq!(stage.volume("data").volume.state, VolumeState::Ready);
    // A reason is not needed, and then not shown.
    let refused = stage.operator(5, create_on("b", 64, DiskChoice::Id(D1))).0.unwrap_err();
    assert!(refused.message.ends_with("(host-1) is cordoned"), "{refused}");
}

#[test]
fn a_cordon_follows_the_disk_and_needs_no_agent() {
    let mut stage = cluster();
    stage.restart();
    assert_eq!(stage.operator(1, cordon(D1, "away")).0, Ok(op(1)));
    // The agent comes back with another disk at that place: the cordon is about the disk, not the place.
    let mut swapped = two_disks();
    swapped.disks[1].id = DiskId::from_u128(0xd2);
    let registration = stage.registration(swapped.clone(), session(3));
    stage.register_as(registration);
    let (_, step) = stage.operator(2, create_request("a", "storage", 64));
    assert_eq!(ensured(&step).unwrap().source, d1());
    // Back in its place, it is withheld again, and an offer that holds it goes.
    stage.subscribe(50, framework_info("db", &["storage"]));
    let held = stage.offers().iter().any(|o| free_offered(&o.resources).len() == 2);
    assert!(held, "{:?}", stage.offers());
    stage.agent_says(1, session(3), FromAgent::Disks(two_disks().disks));
    stage.advance(std::time::Duration::from_secs(10));
    let offered: Vec<usize> =
        stage.offers().iter().map(|o| free_offered(&o.resources).len()).collect();
    assert_eq!(offered, [1]);
    // A disk that nobody declares any more can still be set free.
    let agent = info(agent_id(1), MACHINE);
    stage.agent_says(1, session(3), FromAgent::Disks(agent.disks));
    assert_eq!(stage.operator(3, uncordon(D1)).0, Ok(op(3)));
}

#[test]
fn labels_are_set_removed_and_kept() {
    let mut stage = cluster();
    for (id, request, wanted) in [
        (
            1,
            label(D1, &[("tier", "gold"), ("rack", "r1")], &[]),
            map(&[("rack", "r1"), ("tier", "gold")]),
        ),
        (2, label(D1, &[("tier", "tin")], &["rack", "absent"]), map(&[("tier", "tin")])),
    ] {
        assert_eq!(stage.operator(id, request).0, Ok(op(id)));
        assert_eq!(view(&stage, D1).labels, wanted);
        stage.restart();
        assert_eq!(view(&stage, D1).labels, wanted);
    }
    let record = query::operation(stage.master.state(), op(2)).unwrap();
    assert_eq!(
        record.object,
        "disk host-1:d1 (000000000000000000000000000000d1): tier=tin absent- rack-"
    );
    let many: Vec<(String, String)> = (0..64).map(|n| (format!("k{n}"), String::new())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let refused = stage.operator(3, label(D1, &many, &[])).0.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidArgument);
    assert_eq!(view(&stage, D1).labels, map(&[("tier", "tin")]));
}

#[test]
fn a_profile_picks_disks_and_says_disk_by_disk_why_none_fits() {
    let mut stage = cluster();
    let fast = DiskProfile {
        media: BTreeSet::from([Media::Ssd]),
        labels: map(&[("tier", "gold")]),
        ..profile("fast")
    };
    let create = |wanted: &DiskProfile| Request::Profile(ProfileRequest::Create(wanted.clone()));
    assert_eq!(stage.operator(1, create(&fast)).0, Ok(op(1)));
    assert_eq!(
        operations(&stage.operator(2, create(&profile("any"))).1),
        [("CREATE_PROFILE", "DONE", None)]
    );
    let refused = stage.operator(3, create(&fast)).0.unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (ErrorCode::ProfileExists, "profile fast exists")
    );

    let on = |text: &str| create_on("data", 64, DiskChoice::Profile(name(text)));
    let refused = stage.operator(4, on("nothing")).0.unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (ErrorCode::UnknownProfile, "no profile nothing")
    );
    let refused = stage.operator(4, on("fast")).0.unwrap_err();
    assert_eq!(refused, Rejection::new(
        ErrorCode::UnknownDisk,
        "no disk of profile fast on any agent: host-1:root: its medium is hdd, not ssd, it has no label tier=gold; host-1:d1: its medium is nvme, not ssd, it has no label tier=gold",
    ).remedy("see `berth profile match fast`").field("disk"));

    stage.restart();
    let registration = stage.registration(two_disks(), session(2));
    stage.register_as(registration);
    assert_eq!(query::profiles(stage.master.state()), [profile("any"), fast.clone()]);
    // ROOT becomes the one that fits; by itself the volume would go to d1.
    let mut disks = two_disks().disks;
    disks[0].media = Media::Ssd;
    stage.agent_says(1, session(2), FromAgent::Disks(disks.clone()));
    assert_eq!(stage.operator(5, label(ROOT, &[("tier", "gold")], &[])).0, Ok(op(5)));
    assert_eq!(view(&stage, ROOT).profiles, [name("any"), name("fast")]);
    assert_eq!(view(&stage, D1).profiles, [name("any")]);
    let (_, step) = stage.operator(6, on("fast"));
    assert_eq!(ensured(&step).unwrap().source, DiskSource::Root);
    // A cordon outweighs a profile, and says so; so does a fault, to one that asks for any health.
    assert_eq!(stage.operator(7, cordon(ROOT, "noise")).0, Ok(op(7)));
    let refused = stage.operator(8, create_on("b", 64, DiskChoice::Profile(name("fast")))).0;
    assert_eq!(refused.unwrap_err().code, ErrorCode::DiskCordoned);
    assert_eq!(stage.operator(9, uncordon(ROOT)).0, Ok(op(9)));
    disks[0].health = DiskHealth::Faulty("it is read-only".to_owned());
    stage.agent_says(1, session(2), FromAgent::Disks(disks));
    let refused = stage.operator(10, create_on("b", 64, DiskChoice::Profile(name("fast")))).0;
    let refused = refused.unwrap_err();
    assert!(refused.message.contains("host-1:root: it is faulty: it is read-only;"), "{refused}");

    // A disk that fits, on an agent that is away: waiting can help.
    let other =
        Disk { id: DiskId::from_u128(0xf2), media: Media::Ssd, ..two_disks().disks[0].clone() };
    let away = AgentInfo { disks: vec![other.clone()], ..info(agent_id(2), MACHINE) };
    let registration = stage.registration(away, session(4));
    stage.register_as(registration);
    assert_eq!(stage.operator(20, label(other.id, &[("tier", "gold")], &[])).0, Ok(op(20)));
    let (agent, over) = (agent_id(2), session(4));
    stage.put(Input::AgentDisconnected { agent, session: over });
    let refused = stage.operator(21, create_on("b", 64, DiskChoice::Profile(name("fast")))).0;
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (
            ErrorCode::AgentUnreachable,
            "no disk of profile fast on any agent that can be used now: host-2:root satisfies it, but agent host-2 is UNREACHABLE"
        )
    );
    let delete = Request::Profile(ProfileRequest::Delete(name("fast")));
    assert_eq!(stage.operator(11, delete.clone()).0, Ok(op(11)));
    assert_eq!(query::profiles(stage.master.state()), [profile("any")]);
    assert_eq!(stage.operator(12, delete).0.unwrap_err().code, ErrorCode::UnknownProfile);
}
