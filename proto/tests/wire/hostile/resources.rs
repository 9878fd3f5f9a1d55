//! Malformed resources and volumes in calls.

use super::{
    Refusals, accept, create, create_volume, disk, operation, reservation, reserve, submit,
};
use berth_proto::v1;
use v1::offer_operation::{Action, Reserve};
use v1::resource::Value;
use v1::submit_request;

#[test]
fn malformed_resources_are_refused() {
    let mut cases = Refusals(Vec::new());
    let mut value = |line, value| cases.call(line, reserve(|r| r.value = value));
    value(
        "accept.operations[0].reserve.resources[0].value | INVALID_ARGUMENT | disk has no amount | \
         set one of scalar_milli, ranges and set",
        None,
    );
    value(
        "accept.operations[0].reserve.resources[0].scalar_milli | INVALID_RESOURCES | disk is -1.5 | \
         give an amount above zero",
        Some(Value::ScalarMilli(-1_500)),
    );
    value(
        "accept.operations[0].reserve.resources[0].scalar_milli | INVALID_RESOURCES | \
         disk of 1.5 MiB is not a whole number of MiB | give whole MiB: a multiple of 1000",
        Some(Value::ScalarMilli(1_500)),
    );
    value(
        "accept.operations[0].reserve.resources[0].value | INVALID_RESOURCES | \
         disk has an amount of another kind | give one number",
        Some(Value::Set(v1::Set { items: vec!["a".to_owned()] })),
    );
    value(
        "accept.operations[0].reserve.resources[0].ranges.ranges | INVALID_RESOURCES | \
         range [5-4] ends before it begins | give each number once, begin before end",
        Some(Value::Ranges(v1::Ranges { ranges: vec![v1::Range { begin: 5, end: 4 }] })),
    );
    value(
        "accept.operations[0].reserve.resources[0].set.items[1] | INVALID_RESOURCES | \
         \"a\" is given twice | give each item once",
        Some(Value::Set(v1::Set { items: vec!["a".to_owned(), "a".to_owned()] })),
    );
    cases.check();
}

#[test]
fn resources_that_cannot_be_reserved_are_refused() {
    let mut cases = Refusals(Vec::new());
    let mut change = |line, change: fn(&mut v1::Resource)| cases.call(line, reserve(change));
    change(
        "accept.operations[0].reserve.resources[0].name | INVALID_RESOURCES | a resource has no name | \
         give one such as cpus, mem or disk",
        |r| r.name.clear(),
    );
    change(
        "accept.operations[0].reserve.resources[0].shared | INVALID_RESOURCES | \
         disk is marked shared | only persistent volumes can be",
        |r| r.shared = true,
    );
    change(
        "accept.operations[0].reserve.resources[0].copies | INVALID_RESOURCES | \
         disk cannot occur 2 times | \
         leave it out; only volumes and whole disks are counted, up to 10000",
        |r| r.copies = Some(2),
    );
    change(
        "accept.operations[0].reserve.resources[0].reservations[0].role | INVALID_ROLE | \
         nothing can be reserved to the role * | name a role such as storage/mysql",
        |r| r.reservations[0].role = "*".to_owned(),
    );
    change(
        "accept.operations[0].reserve.resources[0].reservations[0].kind | INVALID_ARGUMENT | \
         9 is not the number of a reservation kind | \
         use one of RESERVATION_KIND_STATIC, RESERVATION_KIND_DYNAMIC",
        |r| r.reservations[0].kind = 9,
    );
    change(
        "accept.operations[0].reserve.resources[0].reservations[0].kind | INVALID_ARGUMENT | \
         no reservation kind is given | \
         use one of RESERVATION_KIND_STATIC, RESERVATION_KIND_DYNAMIC",
        |r| r.reservations[0].kind = 0,
    );
    change(
        "accept.operations[0].reserve.resources[0].reservations | INVALID_RESOURCES | \
         role storage is not below storage, whose reservation it would refine | give the levels \
         from the outermost role down, at most the first of them static",
        |r| r.reservations.push(reservation()),
    );
    change(
        "accept.operations[0].reserve.resources[0].disk.source.root | INVALID_ARGUMENT | \
         the text is empty | give at least one character",
        |r| {
            let source = v1::DiskSource { kind: v1::DiskKind::Path as i32, root: String::new() };
            r.disk = Some(v1::DiskInfo { source: Some(source), ..v1::DiskInfo::default() });
        },
    );
    cases.call(
        "accept.operations[0].reserve.resources | INVALID_RESOURCES | no resource is given | \
         give at least one",
        accept(vec![operation(Action::Reserve(Reserve { resources: Vec::new() }))]),
    );
    cases.call(
        "accept.operations[0].reserve.resources[1] | INVALID_RESOURCES | disk overflows | \
         the sum does not fit",
        accept(vec![operation(Action::Reserve(Reserve {
            resources: vec![
                v1::Resource {
                    value: Some(Value::ScalarMilli(i64::MAX / 1000 * 1000)),
                    ..disk()
                };
                2
            ],
        }))]),
    );
    cases.check();
}

#[test]
fn malformed_volumes_are_refused() {
    let mut cases = Refusals(Vec::new());
    let mut path = |line, path: &str| {
        cases.call(
            line,
            create(|r| {
                let mount = r.disk.as_mut().and_then(|d| d.mount.as_mut()).unwrap();
                mount.container_path = path.to_owned();
            }),
        );
    };
    path(
        "accept.operations[0].create.volumes[0].disk.mount.container_path | INVALID_PATH | \
         container path \"a/../../etc\" has the part \"..\" | \
         write it without empty, . or .. parts",
        "a/../../etc",
    );
    path(
        "accept.operations[0].create.volumes[0].disk.mount.container_path | INVALID_PATH | \
         container path is empty | give a path such as data or /var/lib/mysql",
        "",
    );
    path(
        "accept.operations[0].create.volumes[0].disk.mount.container_path | INVALID_PATH | \
         container path is / | a volume cannot replace the whole file system",
        "/",
    );
    path(
        "accept.operations[0].create.volumes[0].disk.mount.container_path | INVALID_ARGUMENT | \
         the text holds a zero byte | remove it",
        "a\0b",
    );
    cases.call(
        "accept.operations[0].create.volumes[0].disk.persistence.name | INVALID_ID | \
         volume name \"a/b\" holds '/' | \
         slashes, backslashes and control characters are not allowed",
        create(|r| {
            let disk = r.disk.as_mut().unwrap();
            disk.persistence = Some(v1::Persistence { name: "a/b".to_owned(), principal: None });
        }),
    );
    cases.call(
        "accept.operations[0].create.volumes[0].disk.mount | INVALID_ARGUMENT | \
         a persistent volume has no mount | say at which container path it is mounted",
        create(|r| r.disk.as_mut().unwrap().mount = None),
    );
    cases.call(
        "accept.operations[0].create.volumes[0].copies | INVALID_RESOURCES | \
         one resource is expected here | leave the number of copies out",
        create(|r| r.copies = Some(2)),
    );
    cases.call(
        "accept.operations[0].create.volumes[0].revocable | INVALID_RESOURCES | disk is revocable \
         and also reserved or a volume | revocable resources can be neither",
        create(|r| r.revocable = true),
    );
    cases.check();
}

#[test]
fn malformed_volumes_of_operators_are_refused() {
    let mut cases = Refusals(Vec::new());
    let mut operator = |line, change: fn(&mut submit_request::CreateVolume)| {
        cases.submit(line, create_volume(change));
    };
    operator(
        "create_volume.size_bytes | INVALID_RESOURCES | 1000 bytes is not a whole number of MiB | \
         give whole MiB: a multiple of 1048576 bytes",
        |v| v.size_bytes = 1_000,
    );
    operator(
        "create_volume.size_bytes | INVALID_RESOURCES | the size is zero | give at least 1MiB",
        |v| v.size_bytes = 0,
    );
    operator(
        "create_volume.role | INVALID_ROLE | nothing can be reserved to the role * | \
         name a role such as storage/mysql",
        |v| v.role = "*".to_owned(),
    );
    operator(
        "create_volume.role | INVALID_ROLE | role \"-a\" has the part \"-a\", which begins with a \
         hyphen | give a path such as storage/mysql",
        |v| v.role = "-a".to_owned(),
    );
    operator(
        "create_volume.name | INVALID_ID | volume name may not be \"..\" | \
         it would be a path of its own",
        |v| v.name = "..".to_owned(),
    );
    operator(
        "create_volume.container_path | INVALID_PATH | container path \"a//b\" has the part \"\" | \
         write it without empty, . or .. parts",
        |v| v.container_path = "a//b".to_owned(),
    );
    cases.submit(
        "destroy_volume.volume | INVALID_ARGUMENT | no volume is named | \
         set one of volume_id and named",
        submit(submit_request::Request::DestroyVolume(submit_request::DestroyVolume {
            volume: Some(v1::VolumeChoice { choice: None }),
        })),
    );
    cases.check();
}
