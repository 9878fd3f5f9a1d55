//! Which part of an offer is used, and what is said when it does not fit.

use super::*;
use berth_model::resources::DiskSource;
use berth_model::resources::parse_resources;

fn level(place: &str) -> Reservation {
    let label = |key: &str, value: &str| (Arc::from(key), Arc::from(value));
    Reservation::dynamic(Role::new("storage/db").unwrap()).with_labels(vec![
        label(LABEL_SERVICE, "s"),
        label(LABEL_POD, "p-0"),
        label(LABEL_PLACE, place),
    ])
}

fn need() -> Need {
    let volume = VolumeWish {
        name: VolumeName::new("s.p-0.data").unwrap(),
        size: Bytes::from_mib(1_024),
        disk: None,
        path: "data".to_owned(),
    };
    Need {
        role: Role::new("storage/db").unwrap(),
        level: level("1"),
        cpu: "1.5".parse().unwrap(),
        memory: Bytes::from_mib(512),
        ports: BTreeMap::from([
            ("any".to_owned(), PortWish::Near(31_003)),
            ("fixed".to_owned(), PortWish::Exactly(31_003)),
        ]),
        volumes: vec![volume],
    }
}

/// The resources of `text`, reserved with `levels` on top of each other.
fn reserved(text: &str, levels: &[Reservation]) -> Resources {
    let mut all = Resources::new();
    for resource in parse_resources(text).unwrap().iter() {
        all.add(&resource.with_stack(Stack::new(levels.to_vec()).unwrap())).unwrap();
    }
    all
}

fn sum(parts: &[Resources]) -> Resources {
    let mut all = Resources::new();
    parts.iter().for_each(|part| all.add_all(part).unwrap());
    all
}

#[test]
fn free_resources_are_reserved_and_volumes_made_on_the_disk_with_room() {
    let root = parse_resources("cpus:4;mem:2048;disk:4096;ports:[31000-31003]").unwrap();
    let path = Resource::disk(DiskSource::Path(Arc::from("/srv/d1")), "2048".parse().unwrap());
    let offered = sum(&[root, Resources::from_list([path]).unwrap()]);
    let fit = evaluate(&need(), &offered, Volumes::Create).unwrap();
    assert_eq!(
        fit.reserve.to_string(),
        "cpus(storage/db,place=1,pod=p-0,service=s):1.5; mem(storage/db,place=1,pod=p-0,service=s):512; disk(storage/db,place=1,pod=p-0,service=s)[PATH:/srv/d1]:1024; ports(storage/db,place=1,pod=p-0,service=s):[31001-31001,31003-31003]"
    );
    assert_eq!(
        fit.create.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["disk(storage/db,place=1,pod=p-0,service=s)[PATH:/srv/d1,s.p-0.data:data]:1024"]
    );
    assert_eq!(
        fit.ports,
        BTreeMap::from([("any".to_owned(), 31_001), ("fixed".to_owned(), 31_003)])
    );
    // What is used is what is reserved, with the volume in place of its disk.
    let without = fit.used.filtered(|r| r.persistence().is_none());
    assert_eq!(without, fit.reserve.filtered(|r| r.name != Name::Disk));
    assert_eq!(fit.used.volumes(), fit.create);
}

#[test]
fn own_reservations_come_first_then_the_roles_then_free_ones_and_no_others() {
    let role = Role::new("storage/db").unwrap();
    let foreign = level("1").with_labels(vec![(Arc::from(LABEL_SERVICE), Arc::from("other"))]);
    let offered = sum(&[
        reserved("cpus:0.5;mem:512", &[level("1")]),
        reserved("cpus:0.5;disk:1024", &[Reservation::dynamic(role.clone())]),
        reserved("cpus:8;mem:4096;disk:4096", &[foreign]),
        reserved("cpus:8;mem:4096", &[Reservation::dynamic(Role::new("storage/web").unwrap())]),
        reserved("cpus:8;mem:4096;disk:4096", &[level("2")]),
        reserved("cpus:1", &[Reservation::fixed(Role::new("storage").unwrap())]),
        reserved("ports:[31003-31004]", &[]),
    ]);
    let fit = evaluate(&need(), &offered, Volumes::Create).unwrap();
    assert_eq!(
        fit.reserve.to_string(),
        "cpus(static:storage > storage/db,place=1,pod=p-0,service=s):0.5; ports(storage/db,place=1,pod=p-0,service=s):[31003-31004]"
    );
    assert_eq!(
        fit.used.to_string(),
        "cpus(static:storage > storage/db,place=1,pod=p-0,service=s):0.5; cpus(storage/db):0.5; cpus(storage/db,place=1,pod=p-0,service=s):0.5; mem(storage/db,place=1,pod=p-0,service=s):512; disk(storage/db)[ROOT,s.p-0.data:data]:1024; ports(storage/db,place=1,pod=p-0,service=s):[31003-31004]"
    );
}

#[test]
fn a_present_volume_is_used_and_an_absent_one_is_not_made_anew() {
    let volume = {
        let fit = evaluate(
            &need(),
            &parse_resources("cpus:4;mem:2048;disk:4096;ports:[31000-31003]").unwrap(),
            Volumes::Create,
        );
        Resources::from_list(fit.unwrap().create).unwrap()
    };
    let rest = parse_resources("cpus:4;mem:2048;disk:4096;ports:[31000-31003]").unwrap();
    let moved = Need {
        volumes: vec![VolumeWish { path: "/var/lib/db".to_owned(), ..need().volumes[0].clone() }],
        ..need()
    };
    let fit = evaluate(&moved, &sum(&[rest.clone(), volume]), Volumes::Present).unwrap();
    assert_eq!(fit.create, []);
    assert_eq!(
        fit.used.volumes()[0].to_string(),
        "disk(storage/db,place=1,pod=p-0,service=s)[ROOT,s.p-0.data:/var/lib/db]:1024"
    );
    assert_eq!(
        evaluate(&moved, &rest, Volumes::Present).unwrap_err(),
        ["volume s.p-0.data: not offered"]
    );
}

#[test]
fn a_volume_made_on_disk_an_operator_reserved_to_the_role_is_found_again() {
    let role = Role::new("storage/db").unwrap();
    let kept = Reservation::dynamic(role.clone());
    let rest = parse_resources("cpus:4;mem:2048;ports:[31000-31003]").unwrap();
    let offered = sum(&[rest.clone(), reserved("disk:1024", std::slice::from_ref(&kept))]);
    let made = evaluate(&need(), &offered, Volumes::Create).unwrap().create;
    assert_eq!(made[0].to_string(), "disk(storage/db)[ROOT,s.p-0.data:data]:1024");
    let again = sum(&[rest.clone(), Resources::from_list(made.clone()).unwrap()]);
    for volumes in [Volumes::Present, Volumes::Create] {
        let fit = evaluate(&need(), &again, volumes).unwrap();
        assert_eq!((fit.create, fit.used.volumes()), (vec![], made.clone()));
    }
    // What bears the name and is somebody else's is not: of another role, service or owner.
    let mut foreign = made[0].clone();
    foreign.disk.as_mut().unwrap().persistence.as_mut().unwrap().principal =
        Some(berth_model::id::Principal::new("people").unwrap());
    let other = level("1").with_labels(vec![(Arc::from(LABEL_SERVICE), Arc::from("other"))]);
    for volume in [
        foreign,
        made[0].clone().with_stack(Stack::new(vec![other]).unwrap()),
        made[0].clone().with_stack(
            Stack::new(vec![Reservation::fixed(Role::new("storage").unwrap())]).unwrap(),
        ),
    ] {
        let offered = sum(&[rest.clone(), Resources::from_list([volume]).unwrap()]);
        assert_eq!(
            evaluate(&need(), &offered, Volumes::Present).unwrap_err(),
            ["volume s.p-0.data: not offered"]
        );
    }
}

#[test]
fn a_kind_of_disk_is_kept_to_and_a_mount_disk_is_taken_whole() {
    let rest = parse_resources("cpus:4;mem:2048;ports:[31000-31003]").unwrap();
    let disk = |source: DiskSource, mib: &str| {
        Resources::from_list([Resource::disk(source, mib.parse().unwrap())]).unwrap()
    };
    let path = |name: &str| DiskSource::Path(Arc::from(name));
    let mount = |name: &str| DiskSource::Mount(Arc::from(name));
    let offered = sum(&[
        rest.clone(),
        disk(DiskSource::Root, "4096"),
        disk(path("/srv/d1"), "4096"),
        disk(mount("/srv/big"), "8192"),
        disk(mount("/srv/fits"), "2048"),
        disk(mount("/srv/small"), "512"),
    ]);
    let on = |kind: Option<DiskKind>, offered: &Resources| {
        let wish = VolumeWish { disk: kind, ..need().volumes[0].clone() };
        evaluate(&Need { volumes: vec![wish], ..need() }, offered, Volumes::Create)
    };
    for (kind, place) in [
        (None, "[PATH:/srv/d1,s.p-0.data:data]:1024"),
        (Some(DiskKind::Root), "[ROOT,s.p-0.data:data]:1024"),
        (Some(DiskKind::Path), "[PATH:/srv/d1,s.p-0.data:data]:1024"),
        (Some(DiskKind::Mount), "[MOUNT:/srv/fits,s.p-0.data:data]:2048"),
    ] {
        let fit = on(kind, &offered).unwrap();
        let [made] = fit.create.as_slice() else { panic!("{fit:?}") };
        assert_eq!(made.to_string(), format!("disk(storage/db,place=1,pod=p-0,service=s){place}"));
        let reserved = fit.reserve.filtered(|r| r.name == Name::Disk);
        let plain = Resources::from_list([made.strip_volume()]).unwrap();
        assert_eq!(reserved, plain, "what is reserved is what the volume takes");
        // What was made is found again, and nothing else is wanted of the offer.
        let again = sum(&[rest.clone(), Resources::from_list([made.clone()]).unwrap()]);
        assert_eq!(on(kind, &again).unwrap().create, []);
    }
    let only_parts = sum(&[rest.clone(), disk(DiskSource::Root, "4096")]);
    assert_eq!(
        on(Some(DiskKind::Mount), &only_parts).unwrap_err(),
        ["disk: 1 GiB wanted on one MOUNT disk for volume s.p-0.data, at most 0 B offered"]
    );
    let only_whole = sum(&[rest, disk(mount("/srv/big"), "8192")]);
    assert_eq!(
        on(None, &only_whole).unwrap_err(),
        ["disk: 1 GiB wanted on one disk for volume s.p-0.data, at most 0 B offered"]
    );
}

#[test]
fn two_volumes_get_two_mount_disks() {
    let mut all = vec![];
    for (name, mib) in [("/srv/a", "2048"), ("/srv/b", "2048")] {
        all.push(Resource::disk(DiskSource::Mount(Arc::from(name)), mib.parse().unwrap()));
    }
    let rest = parse_resources("cpus:4;mem:2048;ports:[31000-31003]").unwrap();
    let wish = |name: &str| VolumeWish {
        name: VolumeName::new(name).unwrap(),
        disk: Some(DiskKind::Mount),
        path: name.to_owned(),
        ..need().volumes[0].clone()
    };
    let wishes =
        |names: &[&str]| Need { volumes: names.iter().map(|name| wish(name)).collect(), ..need() };
    let offered = sum(&[rest, Resources::from_list(all).unwrap()]);
    let made = evaluate(&wishes(&["one", "two"]), &offered, Volumes::Create).unwrap().create;
    let on: Vec<String> = made.iter().map(|volume| volume.disk_source().to_string()).collect();
    assert_eq!(on, ["MOUNT:/srv/a", "MOUNT:/srv/b"]);
    assert_eq!(
        evaluate(&wishes(&["one", "two", "three"]), &offered, Volumes::Create).unwrap_err(),
        ["disk: 1 GiB wanted on one MOUNT disk for volume three, at most 0 B offered"]
    );
}

#[test]
fn every_reason_is_given() {
    let offered = parse_resources("cpus:1;mem:256;disk:512;ports:[31000-31001]").unwrap();
    assert_eq!(
        evaluate(&need(), &offered, Volumes::Create).unwrap_err(),
        [
            "disk: 1 GiB wanted on one disk for volume s.p-0.data, at most 512 MiB offered",
            "cpus: 1.5 wanted, 1 offered",
            "mem: 512 MiB wanted, 256 MiB offered",
            "port fixed: 31003 not offered",
        ]
    );
    assert_eq!(place_of(&level("7")), Some(("s", "p-0", 7)));
    assert_eq!(place_of(&Reservation::dynamic(Role::new("a").unwrap())), None);
}
