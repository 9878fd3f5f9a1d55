//! Whatever system call a volume effect is killed at, asking again completes it; whatever sync fails, nothing is
//! claimed; and nothing is claimed before it is synced.

use berth_host_tests::sweep::{Case, ONE, PLAIN_ROWS, Program, Sweep, lines, nothing_more};
use std::fs;
use std::path::Path;

const PROGRAM: Program =
    Program { path: env!("CARGO_BIN_EXE_volume-step"), driver: "directory", with_tools: true };

const CALLS: &[&str] = &[
    "fsync",
    "mkdir",
    "ftruncate",
    "mkdirat",
    "renameat",
    "renameat2",
    "unlinkat",
    "fsetxattr",
    "fchmod",
    "openat2",
    "write",
];
/// Calls that only look can be interrupted as well; they take most of the time.
const LOOKS: &[&str] = &["openat", "statx", "newfstatat", "getdents64", "fgetxattr", "close"];

const ROWS: &[(&str, &str)] = &[(PLAIN_ROWS, "rows")];

const CASES: [Case; 4] = [
    Case {
        before: &[],
        step: &["create", "1"],
        done: "create 1: present",
        after: &["verify", "1"],
        shows: &["verify 1: present"],
        holds: &[],
        calls: CALLS,
        spares_opening: false,
    },
    Case {
        before: &["create", "1", "write", "rows"],
        step: &["trash", "1"],
        done: "trash 1: present",
        after: &["verify", "1", "restore", "2"],
        shows: &["verify 1: absent", "restore 2: present"],
        holds: ROWS,
        calls: CALLS,
        spares_opening: false,
    },
    Case {
        before: &["create", "1", "write", "rows", "trash", "1"],
        step: &["restore", "2"],
        done: "restore 2: present",
        after: &["verify", "2", "verify", "1"],
        shows: &["verify 2: present", "verify 1: foreign VOLUME_UNAVAILABLE"],
        holds: ROWS,
        calls: CALLS,
        spares_opening: false,
    },
    Case {
        before: &["create", "1", "write", "rows", "trash", "1"],
        step: &["purge", "1"],
        done: "purge 1: absent",
        after: &["restore", "2", "create", "1"],
        shows: &["restore 2: absent", "create 1: present"],
        holds: &[],
        calls: CALLS,
        spares_opening: false,
    },
];

fn one_is_there(work: &Path, _case: &Case, what: &str) {
    let volumes = fs::read_dir(work.join("disk/volumes")).expect("they are there").count();
    assert_eq!(volumes, 1, "{what}");
}

const SWEEP: Sweep<'static> = Sweep {
    program: PROGRAM,
    rows: PLAIN_ROWS,
    begin: &|| tempfile::tempdir().expect("a temporary directory"),
    killed: &nothing_more,
    end: &one_is_there,
    clear: &|_work| {},
};

#[test]
fn killed_at_any_call_and_asked_again_every_effect_completes() {
    if !PROGRAM.can_be_traced() {
        return;
    }
    let mut kills = SWEEP.run(&CASES);
    if std::env::var("BERTH_CRASH").is_ok_and(|effort| effort != "1") {
        kills += SWEEP.run(&CASES.map(|case| Case { calls: LOOKS, ..case }));
    }
    eprintln!("killed at {kills} system calls, violations 0");
    assert!(kills > 40, "only {kills} calls were reached");
}

#[test]
fn after_a_failed_sync_nothing_is_claimed_and_asking_again_completes() {
    if !PROGRAM.can_be_traced() {
        return;
    }
    let mut failures = 0;
    for case in &CASES {
        for count in 1.. {
            let prepared = SWEEP.prepared(case);
            let work = prepared.path();
            let injection = format!("fsync:error=EIO:when={count}");
            let disturbed = PROGRAM.traced(work, Some(&injection), case.step);
            let answer = lines(&disturbed).swap_remove(0);
            if answer == case.done {
                break;
            }
            failures += 1;
            let (name, life) = (case.step[0], case.step[1]);
            assert_eq!(answer, format!("{name} {life}: unclear DISK_FAULTY"), "fsync {count}");
            assert_eq!(PROGRAM.step(work, case.step), [case.done], "fsync {count}");
            assert_eq!(PROGRAM.step(work, case.after), case.shows, "fsync {count}");
        }
    }
    assert!(failures > 10, "only {failures} syncs were reached");
}

/// What a trace says about order: the name of each call of interest with the last part of its path.
fn order(trace: &str, id: &str) -> Vec<String> {
    let mut seen = Vec::new();
    for line in trace.lines() {
        let Some((call, rest)) =
            line.split_once(' ').and_then(|(_pid, call)| call.trim().split_once('('))
        else {
            continue;
        };
        let relevant = match call {
            "fsync" => {
                let path = rest.split('<').nth(1).and_then(|path| path.split('>').next());
                path.and_then(|path| path.rsplit('/').next()).map(str::to_owned)
            },
            "renameat" | "renameat2" => rest.rsplit('"').nth(1).map(str::to_owned),
            "mkdirat" => rest.split('"').nth(1).map(str::to_owned),
            "unlinkat" if rest.ends_with("= 0") => rest.split('"').nth(1).map(str::to_owned),
            "write" if rest.contains(": ") => Some("answer".to_owned()),
            _other => None,
        };
        if let Some(name) = relevant {
            seen.push(format!("{call} {}", name.replace(id, "ID")));
        }
    }
    seen
}

#[test]
fn everything_is_synced_in_its_order_before_the_answer() {
    if !PROGRAM.can_be_traced() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let _made = PROGRAM.step(work.path(), &[]);
    let traced_order = |steps: &[&str]| {
        let _done = PROGRAM.traced(work.path(), None, steps);
        let own = work.path().file_name().unwrap().to_string_lossy().into_owned();
        let seen = order(&fs::read_to_string(work.path().join("trace")).unwrap(), ONE);
        seen.iter().map(|call| call.replace(&own, "WORK")).collect::<Vec<_>>()
    };
    assert_eq!(
        traced_order(&["create", "1"]),
        [
            "mkdirat disk",
            "fsync WORK",
            "fsync .meta",
            "mkdirat .ID.tmp",
            "fsync volumes",
            "fsync .ID.tmp",
            "fsync .ID.tmp",
            "renameat ID",
            "fsync .meta",
            "renameat2 ID",
            "fsync volumes",
            "write answer",
        ]
    );
    assert_eq!(
        traced_order(&["trash", "1"]),
        [
            "mkdirat disk",
            "fsync WORK",
            "fsync .meta",
            "renameat2 ID.1",
            "fsync volumes",
            "fsync .trash",
            "write answer",
        ]
    );
    assert_eq!(
        traced_order(&["restore", "2"]),
        [
            "mkdirat disk",
            "fsync WORK",
            "fsync .meta",
            "fsync .ID.tmp",
            "renameat ID",
            "fsync .meta",
            "fsync ID.1",
            "renameat2 ID",
            "fsync volumes",
            "fsync .trash",
            "write answer",
        ]
    );
    let _done = PROGRAM.step(work.path(), &["trash", "2"]);
    assert_eq!(
        traced_order(&["purge", "2"]),
        [
            "mkdirat disk",
            "fsync WORK",
            "fsync .meta",
            "renameat2 ID.2.going",
            "fsync .trash",
            "unlinkat ID.2.going",
            "fsync .trash",
            "unlinkat ID",
            "fsync .meta",
            "write answer",
        ]
    );
}
