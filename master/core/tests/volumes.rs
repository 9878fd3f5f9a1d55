//! Operators' volumes: where they go, what a failure gives back, and how they leave: trash, restore, mere records.

mod stage;

use berth_master_core::{Input, query};
use berth_model::audit::{AuditFilter, AuditRecord, Phase};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeId;
use berth_model::link::{FromAgent, ToAgent};
use berth_model::operation::Action;
use berth_model::operator::{DiskChoice, Request, VolumeChoice};
use berth_model::record::RegistryRecord;
use berth_model::volume::{VolumeReport, VolumeState};
use stage::{
    Stage, agent_id, create_request, ensured, framework_info, messages, mib, offered, op,
    operations, plus, report, res, reserved, session, sum, task, vname, volume,
};
use std::sync::Arc;

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";

#[test]
fn a_disk_is_named_by_its_name_its_root_or_the_beginning_of_its_id() {
    let id = "000000000000000000000000000003e9";
    for word in ["root", "/srv", "/srv/", &id[..4], id] {
        let mut stage = Stage::new();
        stage.register(1, MACHINE);
        let mut request = create_request("data", "storage", 64);
        if let Request::CreateVolume { disk, .. } = &mut request {
            *disk = DiskChoice::Named(Arc::from(word));
        }
        let (answer, _) = stage.operator(5, request);
        assert_eq!(answer, Ok(op(5)), "{word}");
    }
}

#[test]
fn a_volume_goes_where_its_role_has_disk_before_more_is_reserved() {
    let mut stage = Stage::new();
    stage.register(1, "cpus:1;mem:64;disk:4096");
    stage.register(2, "cpus:1;mem:64;disk:8192");
    let reserve =
        Request::Reserve { agent: agent_id(1), resources: reserved("disk:1024", "storage") };
    let (answer, _) = stage.operator(5, reserve);
    assert_eq!(answer, Ok(op(5)));
    for (id, size, agent) in [(6, 768, 1), (7, 512, 2), (8, 256, 1)] {
        let request = create_request(&format!("v{id}"), "storage", size);
        let (answer, _) = stage.operator(id, request);
        assert_eq!(answer, Ok(op(id)));
        let volume = stage.volume(&format!("v{id}")).volume;
        assert_eq!(volume.agent, agent_id(agent), "{size}");
    }
}

#[test]
fn what_a_failed_create_reserved_goes_back_and_no_more() {
    // Of 1,024 MiB, so much is reserved before; the master may die in between.
    for (before, master_dies) in [(0, false), (0, true), (256, true), (1024, false)] {
        let mut stage = Stage::new();
        stage.register(1, MACHINE);
        if before > 0 {
            let resources = reserved(&format!("disk:{before}"), "storage");
            let (answer, _) = stage.operator(4, Request::Reserve { agent: agent_id(1), resources });
            assert_eq!(answer, Ok(op(4)));
        }
        let rows = |stage: &Stage| {
            let views = query::reservations(stage.master.state());
            views.iter().map(|view| view.row.resource.to_string()).collect::<Vec<_>>()
        };
        let wanted = rows(&stage);
        let (answer, step) = stage.operator(5, create_request("data", "storage", 1024));
        assert_eq!(answer, Ok(op(5)));
        let spec = ensured(&step).unwrap();
        assert_eq!(rows(&stage), ["disk(storage):1024"]);
        let mut over = session(1);
        if master_dies {
            stage.restart();
            let making = report(&spec, VolumeState::Creating);
            let step = stage.back(1, MACHINE, vec![making], vec![]);
            over = stage.session_of(1, &step);
        }
        let full = Rejection::new(ErrorCode::DiskFull, "no space is left");
        let failed = VolumeReport { error: Some(full), ..report(&spec, VolumeState::Failed) };
        let step = stage.reports(1, over, failed);
        assert_eq!(operations(&step), [("CREATE", "FAILED", Some(ErrorCode::DiskFull))]);
        assert_eq!(rows(&stage), wanted, "{before}");
        let total = query::agents(stage.master.state())[0].total.clone();
        assert_eq!(stage::total_disk(&total), 10_240);
        // A volume that was made keeps its reservation, whatever becomes of it.
        let spec = stage.make_volume(1, over, "data", 1024);
        stage.reports(1, over, report(&spec, VolumeState::Lost));
        let delete = Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) };
        let (answer, _) = stage.operator(6, delete);
        assert_eq!(answer, Ok(op(6)));
        stage.reports(1, over, report(&spec, VolumeState::Gone));
        assert_eq!(
            (stage.volume_states(), rows(&stage)),
            (vec![], vec!["disk(storage):1024".to_owned()])
        );
    }
}

#[test]
fn trash_is_restored_in_its_next_life_or_stays_where_it_is() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 512);
    let (answer, _) =
        stage.operator(5, Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) });
    assert_eq!(answer, Ok(op(5)));
    stage.reports(1, session(1), report(&spec, VolumeState::Trashed));
    let row = query::reservations(stage.master.state())[0].row.id;
    let (answer, _) = stage.operator(6, Request::Release { reservation: row });
    assert_eq!(answer, Ok(op(6)));

    let (answer, step) = stage.operator(7, Request::RestoreVolume { volume: spec.id });
    assert_eq!(answer, Ok(op(7)));
    let ToAgent::EnsureVolume { spec: wanted, restore: true, .. } = messages(&step).remove(0)
    else {
        panic!("a restore: {step:?}");
    };
    assert_eq!(wanted.generation, 2);
    let error = Rejection::new(ErrorCode::DiskFull, "no room");
    let still = VolumeReport {
        operation: Some(op(7)),
        error: Some(error),
        ..report(&spec, VolumeState::Trashed)
    };
    let step = stage.reports(1, session(1), still);
    assert_eq!(operations(&step), [("RESTORE", "FAILED", Some(ErrorCode::DiskFull))]);
    let view = stage.volume("data").volume;
    assert_eq!((view.state, view.spec.generation), (VolumeState::Trashed, 1));

    let (answer, _) = stage.operator(8, Request::RestoreVolume { volume: spec.id });
    assert_eq!(answer, Ok(op(8)));
    let step = stage.reports(1, session(1), report(&wanted, VolumeState::Ready));
    assert_eq!(operations(&step), [("RESTORE", "DONE", None)]);
    let view = stage.volume("data").volume;
    assert_eq!((view.state, view.spec.generation), (VolumeState::Ready, 2));
}

#[test]
fn trash_that_made_room_is_noted_with_the_volume_it_made_room_for() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let old = stage.make_volume(1, session(1), "old", 512);
    let (answer, _) =
        stage.operator(5, Request::DestroyVolume { volume: VolumeChoice::Id(old.id) });
    assert_eq!(answer, Ok(op(5)));
    stage.reports(1, session(1), report(&old, VolumeState::Trashed));
    let (_, step) = stage.operator(6, create_request("new", "storage", 512));
    let new = ensured(&step).unwrap();
    let made = VolumeReport { purged: vec![old.id], ..report(&new, VolumeState::Ready) };
    stage.reports(1, session(1), made);
    let records = query::operations(stage.master.state());
    let found: Vec<_> = stage
        .registry
        .values()
        .filter_map(|record| match record {
            RegistryRecord::Audit(AuditRecord::Entry(entry)) => Some(entry),
            _ => None,
        })
        .collect();
    let done = found.iter().find(|e| e.operation == Some(op(6)) && e.phase == Phase::Done);
    let done = done.unwrap();
    assert_eq!(done.volumes, [new.id, old.id]);
    let gone = done.changes.iter().find(|c| c.object == format!("volume {}", old.id));
    assert!(gone.is_some_and(|change| change.after.is_none()), "{done:?}");
    for text in ["old", "storage/old", &old.id.to_string()[..6], "new"] {
        let filter = AuditFilter { volume: Some(text.to_owned()), ..AuditFilter::default() };
        assert!(filter.takes(done), "{text}");
    }
    let other = AuditFilter { volume: Some("other".to_owned()), ..AuditFilter::default() };
    assert!(!other.takes(done));
    let record = records.iter().find(|o| o.id == op(6)).unwrap();
    assert_eq!(
        record.notes,
        [format!("purged trashed volume old of role storage ({}) to make room", old.id)]
    );
    assert_eq!(stage.volume_states(), [("new".to_owned(), VolumeState::Ready)]);
}

#[test]
fn a_trial_says_where_a_volume_goes_what_is_reserved_and_what_is_purged_for_it() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let old = stage.make_volume(1, session(1), "old", 512);
    stage.operator(5, Request::DestroyVolume { volume: VolumeChoice::Id(old.id) }).0.unwrap();
    let used = Some(mib(34));
    stage.reports(1, session(1), VolumeReport { used, ..report(&old, VolumeState::Trashed) });
    stage.now = stage.now.after(std::time::Duration::from_secs(120));
    let free = |stage: &mut Stage, free| {
        let mut info = stage::info(agent_id(1), MACHINE);
        info.disks.iter_mut().for_each(|disk| disk.free = free);
        stage.agent_says(1, session(1), FromAgent::Disks(info.disks));
    };
    let request = create_request("new", "storage", 768);
    let agent = agent_id(1);
    let place = format!("on agent host-1 ({agent}), disk root (ROOT)");
    let reserved =
        "it reserves 256 MiB there for role storage, the rest of its 768 MiB is reserved already";
    let victim = format!(
        "would purge trashed volume old (34 MiB, deleted 2m ago, role storage, {}) to make room",
        old.id
    );
    free(&mut stage, mib(800));
    let told = stage.master.check(stage.now, &request).unwrap();
    assert_eq!(told, [place.as_str(), reserved]);
    free(&mut stage, mib(740));
    let told = stage.master.check(stage.now, &request).unwrap();
    assert_eq!(told, [place.as_str(), reserved, &victim]);
    free(&mut stage, mib(700));
    let told = stage.master.check(stage.now, &request).unwrap();
    let never = "warning: disk root had 700 MiB free when its agent looked last and 768 MiB are needed, more than its trash has";
    assert_eq!(told, [place.as_str(), reserved, never]);
}

#[test]
fn a_disk_whose_agent_is_away_is_known_and_said_to_be_unreachable() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let named = |word: &str| {
        let mut request = create_request("new", "storage", 64);
        if let Request::CreateVolume { disk, .. } = &mut request {
            *disk = DiskChoice::Named(Arc::from(word));
        }
        request
    };
    stage.master.check(stage.now, &named("root")).unwrap();
    stage.put(Input::AgentDisconnected { agent: agent_id(1), session: session(1) });
    let code = |stage: &Stage, word| {
        let refused = stage.master.check(stage.now, &named(word)).unwrap_err();
        (refused.code, refused.message.contains("is of agent"))
    };
    stage.register(2, "cpus:1;mem:64");
    assert_eq!(code(&stage, "root"), (ErrorCode::AgentUnreachable, true));
    assert_eq!(code(&stage, "nosuch"), (ErrorCode::UnknownDisk, false));
}

#[test]
fn what_nobody_knows_is_withheld_and_what_is_missing_is_lost() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 512);
    let mut unknown = spec.clone();
    unknown.id = VolumeId::from_u128(4242);
    unknown.name = vname("stray");
    stage.put(Input::AgentDisconnected { agent: agent_id(1), session: session(1) });
    let step = stage.back(1, MACHINE, vec![report(&unknown, VolumeState::Ready)], vec![]);
    assert_eq!(messages(&step).len(), 1, "only Registered: nothing is made, nothing deleted");
    let states = || {
        let mut states = stage.volume_states();
        states.sort();
        states
    };
    assert_eq!(
        states(),
        [("data".to_owned(), VolumeState::Lost), ("stray".to_owned(), VolumeState::Quarantined)]
    );
    let (_, step) = stage.subscribe(50, framework_info("db", &["storage"]));
    assert!(offered(&step)[0].resources.volumes().is_empty());
    let (answer, _) =
        stage.operator(9, Request::DestroyVolume { volume: VolumeChoice::Id(unknown.id) });
    assert_eq!(answer.unwrap_err().code, ErrorCode::VolumeNotReady);
}

#[test]
fn a_quarantined_volume_goes_as_a_record_once_nothing_of_it_lies_there() {
    for (found, code) in [
        (Some(VolumeState::Ready), Some(ErrorCode::VolumeNotReady)),
        (Some(VolumeState::Quarantined), Some(ErrorCode::VolumeNotReady)),
        (Some(VolumeState::Lost), None),
        (Some(VolumeState::Gone), None),
        (Some(VolumeState::Failed), None),
        (None, None),
    ] {
        let mut stage = Stage::new();
        stage.register(1, MACHINE);
        let mut spec = stage.make_volume(1, session(1), "data", 512);
        stage.reports(1, session(1), report(&spec, VolumeState::Trashed));
        assert_eq!(stage.volume("data").volume.state, VolumeState::Quarantined);
        // The agent may know it in another life.
        spec.generation = 3;
        stage.put(Input::AgentDisconnected { agent: agent_id(1), session: session(1) });
        let reports = found.map(|state| report(&spec, state)).into_iter().collect();
        stage.back(1, MACHINE, reports, vec![]);
        let delete = Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) };
        let (answer, step) = stage.operator(9, delete);
        assert_eq!(answer.map_err(|r| r.code).err(), code, "{found:?}");
        if code.is_none() {
            let generation = if found.is_some() { 3 } else { 1 };
            let forget = ToAgent::ForgetVolume { volume: spec.id, generation };
            assert_eq!((messages(&step), stage.volume_states()), (vec![forget], vec![]));
            assert_eq!(operations(&step), [("DESTROY", "DONE", None)]);
        }
    }
}

#[test]
fn a_restore_whose_data_has_vanished_leaves_a_record_that_can_be_deleted() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 512);
    let delete = || Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) };
    stage.operator(5, delete()).0.unwrap();
    stage.reports(1, session(1), report(&spec, VolumeState::Trashed));
    let (_, step) = stage.operator(6, Request::RestoreVolume { volume: spec.id });
    let wanted = ensured(&step).unwrap();
    let lost = Rejection::new(ErrorCode::VolumeLost, "nothing is there");
    let failed = VolumeReport { error: Some(lost), ..report(&wanted, VolumeState::Failed) };
    let step = stage.reports(1, session(1), failed);
    assert_eq!(operations(&step), [("RESTORE", "FAILED", Some(ErrorCode::VolumeLost))]);
    assert_eq!(messages(&step), [ToAgent::ForgetVolume { volume: spec.id, generation: 2 }]);
    assert_eq!(stage.volume_states(), [("data".to_owned(), VolumeState::Failed)]);
    stage.operator(7, delete()).0.unwrap();
    assert_eq!(stage.volume_states(), []);
}

#[test]
fn who_deletes_a_used_volume_is_told_how_its_user_ends() {
    for (name, service, remedy) in [
        (
            "berth-services",
            Some("shop"),
            "stop what uses it first: berth service delete shop keeps the volume",
        ),
        (
            "other",
            Some("shop"),
            "end the task for good through its framework (berth service delete for a service)",
        ),
        (
            "berth-services",
            None,
            "end the task for good through its framework (berth service delete for a service)",
        ),
    ] {
        let mut stage = Stage::new();
        stage.register(1, MACHINE);
        let spec = stage.make_volume(1, session(1), "data", 512);
        let (framework, step) = stage.subscribe(50, framework_info(name, &["storage"]));
        let offer = offered(&step).remove(0);
        let mine = plus(&res("cpus:1;mem:64"), &sum([volume("data", "storage", 512, "data")]));
        let labels = service.map(|service| ("service".to_owned(), service.to_owned()));
        let mut uses = task("t", agent_id(1), mine);
        uses.labels = labels.into_iter().collect();
        stage.accept(&framework, 50, &[&offer], vec![Action::Launch(vec![uses])]);
        let delete = Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) };
        let refused = stage.operator(9, delete).0.unwrap_err();
        assert_eq!((refused.code, refused.remedy.as_str()), (ErrorCode::VolumeInUse, remedy));
    }
}
