//! MOUNT disks are taken whole: by whoever names one, else only where nothing that can be divided has room.

mod stage;

use berth_master_core::query;
use berth_model::agent::{Disk, DiskHealth, Media};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::DiskId;
use berth_model::link::FromAgent;
use berth_model::operator::{DiskChoice, Request, VolumeChoice};
use berth_model::reservation::Reservation;
use berth_model::resources::{DiskSource, Resource};
use berth_model::volume::{Enforcement, VolumeReport, VolumeSpec, VolumeState};
use stage::{
    Stage, agent_id, create_request, ensured, framework_info, info, mib, offered, op, report,
    session, sum,
};
use std::collections::BTreeSet;
use std::sync::Arc;

fn source(n: u32) -> DiskSource {
    DiskSource::Mount(Arc::from(format!("/srv/m{n}")))
}

/// An agent with a small ROOT disk and two file systems of 4,000 and 2,000 MiB.
fn stage() -> Stage {
    let mut stage = Stage::new();
    let mut machine = info(agent_id(1), "cpus:1;mem:64;disk:1000");
    for (n, mebibytes) in [(1, 4000), (2, 2000)] {
        let size = mib(mebibytes).to_scalar().expect("whole MiB");
        machine.declared.add(&Resource::disk(source(n), size)).expect("it fits");
        machine.disks.push(Disk {
            id: DiskId::from_u128(u128::from(n)),
            name: Arc::from(format!("m{n}")),
            source: source(n),
            root: Arc::from(format!("/srv/m{n}")),
            driver: Arc::from("mount"),
            driver_reason: Arc::from("test"),
            enforcement: Enforcement::Device,
            size: mib(mebibytes),
            free: mib(mebibytes),
            health: DiskHealth::Ok,
            media: Media::Unknown,
            orphans: Vec::new(),
            no_snapshots: std::collections::BTreeMap::new(),
            wipes: Vec::new(),
            added: false,
            no_encryption: None,
        });
    }
    let registration = stage.registration(machine, session(1));
    stage.register_as(registration);
    stage
}

fn on(name: &str, size: u64, word: &str) -> Request {
    let mut request = create_request(name, "storage", size);
    if let Request::CreateVolume { disk, .. } = &mut request {
        *disk = DiskChoice::Named(Arc::from(word));
    }
    request
}

fn make(stage: &mut Stage, id: u128, request: Request) -> VolumeSpec {
    let (answer, step) = stage.operator(id, request);
    assert_eq!(answer, Ok(op(id)));
    let spec = ensured(&step).expect("a message to the agent");
    stage.reports(1, session(1), report(&spec, VolumeState::Ready));
    spec
}

fn rows(stage: &Stage) -> Vec<String> {
    let views = query::reservations(stage.master.state());
    views.iter().map(|view| view.row.resource.to_string()).collect()
}

#[test]
fn a_volume_takes_the_smallest_whole_disk_only_when_nothing_else_has_room() {
    let mut stage = stage();
    let small = make(&mut stage, 5, create_request("small", "storage", 500));
    assert_eq!((small.source, small.size), (DiskSource::Root, mib(500)));
    // 500 MiB of ROOT are left.
    let rounded = make(&mut stage, 6, create_request("rounded", "storage", 600));
    assert_eq!((rounded.source, rounded.size), (source(2), mib(2000)));
    let large = make(&mut stage, 7, create_request("large", "storage", 600));
    assert_eq!((large.source, large.size), (source(1), mib(4000)));
    let (answer, _) = stage.operator(8, create_request("none", "storage", 600));
    assert_eq!(answer.unwrap_err().code, ErrorCode::InsufficientResources);
    assert_eq!(
        rows(&stage),
        [
            "disk(storage)[MOUNT:/srv/m1]:4000",
            "disk(storage)[MOUNT:/srv/m2]:2000",
            "disk(storage):500"
        ]
    );
}

#[test]
fn a_trial_says_that_a_disk_goes_whole_and_what_only_the_agent_knows() {
    let mut stage = stage();
    let told = stage.master.check(stage.now, &on("first", 20, "m2")).unwrap();
    assert_eq!(told[2..], ["it gets the whole of disk m2: 1.9 GiB instead of 20 MiB"]);
    let told = stage.master.check(stage.now, &on("exact", 2000, "m2")).unwrap();
    assert_eq!(told.len(), 2, "as much as was asked for: {told:?}");

    let mut disks = info(agent_id(1), "cpus:1;mem:64;disk:1000").disks;
    disks[0].driver = Arc::from("image:ext4");
    stage.agent_says(1, session(1), FromAgent::Disks(disks));
    let told = stage.master.check(stage.now, &create_request("tiny", "storage", 8)).unwrap();
    let least =
        "only its agent knows the least size of a file system there, and refuses less (image:ext4)";
    assert_eq!(told[2..], [least]);
}

#[test]
fn a_named_disk_is_taken_whole_once_and_comes_back_whole() {
    let mut stage = stage();
    let (answer, _) = stage.operator(5, on("huge", 4001, "m1"));
    assert_eq!(answer.unwrap_err().code, ErrorCode::InsufficientResources);
    let first = make(&mut stage, 6, on("first", 1, "/srv/m1"));
    assert_eq!((&first.source, first.size), (&source(1), mib(4000)));
    let (answer, _) = stage.operator(7, on("second", 1, "m1"));
    assert_eq!(answer.unwrap_err().code, ErrorCode::InsufficientResources);
    let resize = Request::ResizeVolume { volume: VolumeChoice::Id(first.id), size: mib(5000) };
    let (answer, _) = stage.operator(8, resize);
    assert_eq!(answer.unwrap_err().code, ErrorCode::Unsupported);

    let destroy = Request::DestroyVolume { volume: VolumeChoice::Id(first.id) };
    let (answer, _) = stage.operator(9, destroy);
    assert_eq!(answer, Ok(op(9)));
    stage.reports(1, session(1), report(&first, VolumeState::Trashed));
    let second = make(&mut stage, 10, on("second", 1, "m1"));
    assert_eq!((second.source, second.size), (source(1), mib(4000)));
    // What is in the trash has no room to come back to.
    let (answer, _) = stage.operator(11, Request::RestoreVolume { volume: first.id });
    assert!(answer.is_err(), "{answer:?}");
}

#[test]
fn a_create_that_fails_gives_the_whole_disk_back() {
    let mut stage = stage();
    let (answer, step) = stage.operator(5, on("data", 100, "m2"));
    assert_eq!(answer, Ok(op(5)));
    let spec = ensured(&step).unwrap();
    assert_eq!(rows(&stage), ["disk(storage)[MOUNT:/srv/m2]:2000"]);
    let foreign = Rejection::new(ErrorCode::DirectoryExists, "it holds photos");
    let failed = VolumeReport { error: Some(foreign), ..report(&spec, VolumeState::Failed) };
    stage.reports(1, session(1), failed);
    assert_eq!(rows(&stage), [""; 0]);
    let again = make(&mut stage, 6, on("data", 100, "m2"));
    assert_eq!(again.size, mib(2000));
}

#[test]
fn half_a_disk_is_neither_reserved_nor_offered() {
    let mut stage = stage();
    let whole = |size: u64| Resource::disk(source(2), mib(size).to_scalar().unwrap());
    let level = || Reservation::dynamic(stage::role("storage"));
    for (id, size, code) in [(6, 1999, Some(ErrorCode::InsufficientResources)), (7, 2000, None)] {
        let resources = sum([whole(size).push(level()).unwrap()]);
        let (answer, _) = stage.operator(id, Request::Reserve { agent: agent_id(1), resources });
        assert_eq!(answer.map_err(|e| e.code).err(), code, "{size}");
    }
    let (_framework, step) = stage.subscribe(9, framework_info("db", &["storage"]));
    let offers = [offered(&step), stage.offers()].concat();
    let disks: BTreeSet<String> = offers
        .iter()
        .flat_map(|offer| offer.resources.iter())
        .filter(|resource| resource.disk_source() != DiskSource::Root)
        .map(|resource| Resource { allocation_role: None, ..resource }.to_string())
        .collect();
    let wanted = ["disk(storage)[MOUNT:/srv/m2]:2000", "disk[MOUNT:/srv/m1]:4000"];
    assert_eq!(disks, wanted.map(str::to_owned).into());
}
