//! Documents that are taken, and the exact complaints about those that are not.

use super::{Backoff, DiskKind, Format, Goal, Port, Scope, Service, Variable, parse};
use berth_model::error::ErrorCode;
use berth_model::resources::MountMode;
use berth_model::units::Bytes;
use std::time::Duration;

const GOOD: &str = r#"
apiVersion: berth/v1
kind: Service
name: orders-db
role: storage/mysql
pods:
  db:
    count: 1
    user: 64055
    resources: { cpu: 0.5, memory: 512MiB, ports: { mysql: auto, admin: 8080 } }
    volumes:
      data: { size: 1GiB, path: data }
    tasks:
      server:
        goal: running
        cmd: "exec run --port ${port.mysql} $HOME $${x} ${volume.data}"
        env: { ROLE: "${service.role}" }
        health: { cmd: [check, "${instance.name}"], every: 5s }
        stop: { signal: TERM, grace: 5m }
      init: { goal: once, scope: volume, cmd: make, timeout: 1h }
    recovery: { restart: { backoff: { start: 2s, max: 2m } } }
"#;

fn lines(text: &str, format: Option<Format>) -> Vec<String> {
    let problems = parse(text, format).expect_err("the document should be refused");
    problems.iter().map(|p| format!("{} {p}", p.code)).collect()
}

/// The complaints about the good document with one piece of text replaced.
fn complaints(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from:?} is not in the document");
    lines(&GOOD.replacen(from, to, 1), Some(Format::Yaml))
}

#[test]
fn a_volume_may_ask_for_a_kind_of_disk() {
    let read = |text: &str| parse(text, None).unwrap().remove(0);
    let kinds = [(DiskKind::Root, "root"), (DiskKind::Path, "path"), (DiskKind::Mount, "mount")];
    for (kind, word) in kinds {
        let asked = format!("path: data, disk: {word} }}");
        let service = read(&GOOD.replacen("path: data }", &asked, 1));
        assert_eq!(service.pods[0].volumes[0].disk, Some(kind));
        assert_eq!(read(&service.to_json()), service);
    }
    assert_eq!(read(GOOD).pods[0].volumes[0].disk, None);
}

#[test]
fn a_task_sees_a_volume_as_it_says_else_as_the_volume_says() {
    let read = |text: &str| parse(text, None).unwrap().remove(0);
    let modes = |service: &Service| {
        let pod = &service.pods[0];
        let seen = pod.tasks.iter().map(|task| (task.name.clone(), pod.mode(task, "data")));
        seen.collect::<Vec<_>>()
    };
    let (ro, rw) = (MountMode::ReadOnly, MountMode::ReadWrite);
    let as_init = "init: { goal: once,";
    let writes = "init: { volumes: { data: { mode: RW } }, goal: once,";
    let reads = "init: { volumes: { data: { mode: RO } }, goal: once,";
    for (volume, init, wanted) in [
        ("path: data }", as_init, [rw, rw]),
        ("path: data, mode: RW }", as_init, [rw, rw]),
        ("path: data, mode: RO }", as_init, [ro, ro]),
        ("path: data, mode: RO }", writes, [rw, ro]),
        ("path: data }", reads, [ro, rw]),
    ] {
        let text = GOOD.replacen("path: data }", volume, 1).replacen(as_init, init, 1);
        let service = read(&text);
        let named = [("init".to_owned(), wanted[0]), ("server".to_owned(), wanted[1])];
        assert_eq!(modes(&service), named, "{volume} {init}");
        assert_eq!(read(&service.to_json()), service);
        let changes = service.pods[0].fingerprint() != read(GOOD).pods[0].fingerprint();
        assert_eq!(changes, wanted != [rw, rw], "{volume} {init}");
    }
    assert!(!read(GOOD).to_json().contains("mode"), "what nobody said is not written");
}

#[test]
fn a_document_is_read_with_its_defaults_and_once_tasks_come_first() {
    let services = parse(GOOD, None).unwrap();
    let [service] = services.as_slice() else { panic!("one service: {services:?}") };
    let pod = service.pod("db").unwrap();
    assert_eq!((service.name.as_str(), service.role.as_str()), ("orders-db", "storage/mysql"));
    assert_eq!(pod.user.as_deref(), Some("64055"));
    assert_eq!((pod.cpu.milli(), pod.memory), (500, Bytes::from_mib(512)));
    assert_eq!(
        pod.ports.clone().into_iter().collect::<Vec<_>>(),
        [("admin".to_owned(), Port::Number(8080)), ("mysql".to_owned(), Port::Auto)]
    );
    let names: Vec<&str> = pod.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["init", "server"]);
    let timeout = Some(Duration::from_hours(1));
    assert_eq!(pod.tasks[0].goal, Goal::Once { scope: Scope::Volume, timeout });
    assert_eq!(pod.tasks[1].stop_grace, Duration::from_mins(5));
    assert_eq!(pod.tasks[1].health.as_ref().unwrap().timeout, Duration::from_secs(10));
    let super::Program::Shell(command) = &pod.tasks[1].program else { panic!("a shell command") };
    let filled = command.fill(|variable| match variable {
        Variable::Port(name) => format!("<{name}>"),
        other => format!("{other:?}"),
    });
    assert_eq!(filled, "exec run --port <mysql> $HOME ${x} Volume(\"data\")");
    assert_eq!(pod.backoff, Backoff { start: Duration::from_secs(2), max: Duration::from_mins(2) });
    let pauses: Vec<u64> =
        [0, 1, 2, 7, 8, 40].iter().map(|failures| pod.backoff.after(*failures).as_secs()).collect();
    assert_eq!(pauses, [0, 2, 4, 120, 120, 120]);
}

#[test]
fn the_canonical_form_reads_back_to_the_same_service() {
    for text in [
        GOOD,
        include_str!("../../../../examples/mariadb.yaml"),
        include_str!("../../../../examples/sleep.yaml"),
    ] {
        let services = parse(text, None).unwrap();
        let again = parse(&services[0].to_json(), Some(Format::Json)).unwrap();
        assert_eq!(again, services);
        assert_eq!(parse(&services[0].to_json(), None).unwrap(), services);
    }
}

#[test]
fn yaml_json_and_toml_mean_the_same() {
    let yaml = "apiVersion: berth/v1\nkind: Service\nname: s\nrole: r\npods:\n  p:\n    resources: {cpu: 1, memory: 1GiB}\n    volumes: {d: {size: 1GiB, path: d}}\n    tasks: {t: {goal: running, cmd: run}}\n";
    let json = r#"{"apiVersion":"berth/v1","kind":"Service","name":"s","role":"r","pods":{"p":{"resources":{"cpu":1,"memory":"1GiB"},"volumes":{"d":{"size":"1GiB","path":"d"}},"tasks":{"t":{"goal":"running","cmd":"run"}}}}}"#;
    let toml = "apiVersion = 'berth/v1'\nkind = 'Service'\nname = 's'\nrole = 'r'\n[pods.p]\nresources = {cpu = 1, memory = '1GiB'}\nvolumes.d = {size = '1GiB', path = 'd'}\ntasks.t = {goal = 'running', cmd = 'run'}\n";
    let want = parse(yaml, Some(Format::Yaml)).unwrap();
    assert_eq!(parse(json, Some(Format::Json)).unwrap(), want);
    assert_eq!(parse(toml, Some(Format::Toml)).unwrap(), want);
    for text in [yaml, json, toml] {
        assert_eq!(parse(text, None).unwrap(), want, "guessed from {text}");
    }
    let two = format!("{yaml}---\n{}", yaml.replace("name: s", "name: s2"));
    assert_eq!(parse(&two, None).unwrap().len(), 2);
    assert_eq!(
        lines(&format!("{yaml}---\n{yaml}"), None),
        [
            "INVALID_DOCUMENT two services are named \"s\" (field document[1].name): give each a name of its own"
        ]
    );
    assert_eq!(
        (Format::of_file("a/b.yml"), Format::of_file("x.toml"), Format::of_file("x")),
        (Some(Format::Yaml), Some(Format::Toml), None)
    );
}

/// What is replaced, by what, and the one complaint about it (its beginning when it quotes a parser).
const MISTAKES: [(&str, &str, &str); 24] = [
    (
        "path: data }",
        "path: data, mode: ro }",
        "INVALID_DOCUMENT \"ro\" is no mode (field pods.db.volumes.data.mode): write RW or RO",
    ),
    (
        "path: data }",
        "path: data, mode: \"0700\" }",
        "UNSUPPORTED the mode of a volume's directory is not supported by this release (field pods.db.volumes.data.mode): write RW or RO; berth volume set --mode says who may do what in a volume",
    ),
    (
        "cmd: make,",
        "cmd: make, volumes: { dta: { mode: RO } },",
        "INVALID_DOCUMENT the pod has no volume \"dta\" (field pods.db.tasks.init.volumes.dta): name one of the pod's volumes",
    ),
    (
        "health:",
        "helth:",
        "INVALID_DOCUMENT unknown key \"helth\" (field pods.db.tasks.server.helth): did you mean health?",
    ),
    (
        "user: 64055",
        "colour: red",
        "INVALID_DOCUMENT unknown key \"colour\" (field pods.db.colour): allowed here: count, user, resources, volumes, tasks, restart, recovery",
    ),
    (
        "size: 1GiB",
        "size: 1",
        "INVALID_DOCUMENT the size 1 has no unit (field pods.db.volumes.data.size): write 1MiB or 1GiB",
    ),
    (
        "every: 5s",
        "every: 5",
        "INVALID_DOCUMENT the duration 5 has no unit (field pods.db.tasks.server.health.every): write 5s or 5m",
    ),
    (
        "path: data",
        "path: ../data",
        "INVALID_DOCUMENT container path \"../data\" has the part \"..\": write it without empty, . or .. parts (field pods.db.volumes.data.path): write for example data or /var/lib/mysql",
    ),
    (
        "      init:",
        "      server: { goal: running, cmd: x }\n      init:",
        "INVALID_DOCUMENT the name \"server\" is given twice (field pods.db.tasks.server): keep one of the two",
    ),
    (
        "${port.mysql}",
        "${port.mysq}",
        "INVALID_DOCUMENT unknown variable ${port.mysq} (field pods.db.tasks.server.cmd): did you mean ${port.mysql}? write $${ for a literal ${",
    ),
    (
        "${port.mysql}",
        "${param.port}",
        "UNSUPPORTED ${param.port} is not supported by this release (field pods.db.tasks.server.cmd): write the value itself",
    ),
    (
        "count: 1",
        "count: 3",
        "UNSUPPORTED more than one instance of a pod is not supported by this release (field pods.db.count): write 1",
    ),
    (
        "count: 1",
        "image: { oci: x }",
        "UNSUPPORTED \"image\" is not supported by this release (field pods.db.image): remove it",
    ),
    (
        "path: data }",
        "path: data, profile: ssd }",
        "UNSUPPORTED \"profile\" is not supported by this release (field pods.db.volumes.data.profile): an offer does not say which profiles its disks satisfy: choose by kind, with disk: root, path or mount",
    ),
    (
        "path: data }",
        "path: data, disk: block }",
        "INVALID_DOCUMENT \"block\" is no kind of disk (field pods.db.volumes.data.disk): write root, path or mount",
    ),
    (
        "ROLE: \"${service.role}\"",
        "ROLE: no, FLAG: true",
        "INVALID_DOCUMENT expected a text, found a truth value (field pods.db.tasks.server.env.FLAG): put it in quotation marks",
    ),
    ("goal: running", "goal: once, scope: volume", "INVALID_DOCUMENT not valid YAML"),
    (
        "role: storage/mysql",
        "role: \"*\"",
        "INVALID_DOCUMENT nothing can be reserved to the role * (field role): name a role such as storage/mysql",
    ),
    (
        "name: orders-db",
        "name: Orders.db",
        "INVALID_DOCUMENT service name \"Orders.db\" is not allowed (field name): use 1 to 40 of a-z, 0-9 and hyphens, beginning with a letter, not ending with a hyphen",
    ),
    (
        "signal: TERM",
        "signal: QUIT",
        "UNSUPPORTED another signal than TERM is not supported by this release (field pods.db.tasks.server.stop.signal): write TERM",
    ),
    (
        "admin: 8080",
        "admin: 80800",
        "INVALID_DOCUMENT not a port (field pods.db.resources.ports.admin): write auto or a number from 1 to 65535",
    ),
    (
        "user: 64055",
        "user: \"mysql:mysql\"",
        "INVALID_DOCUMENT \"mysql:mysql\" is not a user (field pods.db.user): write a name, a uid, or uid:gid",
    ),
    (
        "kind: Service",
        "kind: Web",
        "UNSUPPORTED this kind is not supported by this release (field kind): write Service",
    ),
    (
        "apiVersion: berth/v1",
        "",
        "INVALID_DOCUMENT apiVersion is missing (field apiVersion): write for example apiVersion: berth/v1",
    ),
];

#[test]
fn mistakes_are_named_with_their_place_and_remedy() {
    for (from, to, want) in MISTAKES {
        let found = complaints(from, to);
        assert_eq!(found.len(), 1, "{from} -> {to}: {found:#?}");
        assert!(found[0].starts_with(want), "{from} -> {to}: {found:#?}\nwanted {want}");
        assert!(want.len() < 40 || found[0] == want, "{found:#?}\nwanted {want}");
    }
}

#[test]
fn all_problems_are_found_at_once() {
    let text = GOOD
        .replace("cpu: 0.5", "cpu: lots")
        .replace("1GiB", "1XB")
        .replace("goal: once", "goal: often");
    assert_eq!(
        lines(&text, None),
        [
            "INVALID_DOCUMENT \"lots\" is not a number (digits, at most one point, not negative) (field pods.db.resources.cpu): write for example 0.5",
            "INVALID_DOCUMENT \"1XB\" has the unknown unit \"XB\": use B, KiB, MiB, GiB, TiB, kB, MB, GB or TB (field pods.db.volumes.data.size): write for example 512MiB or 10GiB",
            "INVALID_DOCUMENT unknown goal \"often\" (field pods.db.tasks.init.goal): write running or once",
        ]
    );
    let text = GOOD
        .replace("goal: once, scope: volume", "goal: onec, scope: volum")
        .replace("timeout: 1h", "timeout: 1")
        .replace("${port.mysql} $HOME $${x} ${volume.data}", "${port.x} ${volume.y}")
        .replace("[check, \"${instance.name}\"]", "[\"${a}\", \"${b}\"]");
    let at = |field: &str| format!("(field pods.db.tasks.{field})");
    let known = "known: service.name, service.role, pod.name, instance.name, instance.ordinal, instance.host, task.name, port.mysql, port.admin, volume.data; write $${ for a literal ${";
    assert_eq!(
        lines(&text, None),
        [
            format!("INVALID_DOCUMENT unknown variable ${{port.x}} {}: {known}", at("server.cmd")),
            format!(
                "INVALID_DOCUMENT unknown variable ${{volume.y}} {}: {known}",
                at("server.cmd")
            ),
            format!(
                "INVALID_DOCUMENT unknown variable ${{a}} {}: {known}",
                at("server.health.cmd[0]")
            ),
            format!(
                "INVALID_DOCUMENT unknown variable ${{b}} {}: {known}",
                at("server.health.cmd[1]")
            ),
            format!(
                "INVALID_DOCUMENT unknown goal \"onec\" {}: write running or once",
                at("init.goal")
            ),
            format!(
                "INVALID_DOCUMENT the duration 1 has no unit {}: write 1s or 1m",
                at("init.timeout")
            ),
            format!(
                "INVALID_DOCUMENT unknown scope \"volum\" {}: write service, volume or config",
                at("init.scope")
            ),
        ]
    );
    let codes: Vec<ErrorCode> = ["", "---\n", "[]", "{", "a: [1"]
        .iter()
        .map(|text| parse(text, None).unwrap_err()[0].code)
        .collect();
    assert_eq!(codes, [ErrorCode::InvalidDocument; 5]);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}", at in 0_usize..900, piece in "[ -~\\n]{0,12}") {
        drop(parse(&text, None));
        for format in [Format::Yaml, Format::Json, Format::Toml] {
            drop(parse(&text, Some(format)));
        }
        let at = at.min(GOOD.len());
        let damaged = format!("{}{piece}{}", &GOOD[..at], &GOOD[at..]);
        if let Ok(services) = parse(&damaged, Some(Format::Yaml)) {
            for service in services {
                let again = parse(&service.to_json(), Some(Format::Json)).unwrap();
                proptest::prop_assert_eq!(again, vec![service]);
            }
        }
    }
}
