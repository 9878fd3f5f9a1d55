//! Pictures compared with those that were reviewed, and laws that hold for every picture.

use super::{Berth, Canvas, Kind, Part, render};
use std::collections::BTreeMap;

const GIB: u64 = 1 << 30;

fn volume(name: &str, gib: u64, used: Option<u64>) -> Part {
    Part {
        kind: Kind::Volume,
        name: name.to_owned(),
        role: "db".to_owned(),
        id: "5".repeat(32),
        state: "READY".to_owned(),
        size_bytes: gib * GIB,
        used_bytes: used,
        in_use_by: Vec::new(),
        host_path: format!("/srv/d1/volumes/{name}"),
    }
}
fn part(kind: Kind, role: &str, bytes: u64) -> Part {
    Part {
        kind,
        role: role.to_owned(),
        size_bytes: bytes,
        used_bytes: None,
        name: String::new(),
        id: String::new(),
        state: String::new(),
        in_use_by: Vec::new(),
        host_path: String::new(),
    }
}
fn trash(name: &str, gib: u64) -> Part {
    Part {
        kind: Kind::Trash,
        state: "TRASHED".to_owned(),
        ..volume(name, gib, Some(gib * GIB / 2))
    }
}
fn free(gib: u64) -> Part {
    part(Kind::Free, "", gib * GIB)
}
fn berth(host: u32, name: &str, gib: u64, parts: Vec<Part>) -> Berth {
    Berth {
        id: format!("{:032x}", 7),
        name: name.to_owned(),
        agent_id: format!("{host:032x}").replace('0', "a"),
        hostname: format!("host-{host}"),
        agent_state: "REGISTERED".to_owned(),
        kind: "PATH".to_owned(),
        root: format!("/srv/{name}"),
        media: "nvme".to_owned(),
        driver: "btrfs".to_owned(),
        enforced: "quota".to_owned(),
        size_bytes: gib * GIB,
        file_system_free_bytes: gib * GIB,
        faulty: None,
        cordoned: None,
        cordoned_since_ms: None,
        labels: BTreeMap::new(),
        parts,
    }
}

/// A cluster with one of everything.
fn cluster() -> Vec<Berth> {
    let busy =
        Part { in_use_by: vec!["mysql/db-0".to_owned()], ..volume("data", 40, Some(25 * GIB)) };
    let lost = Part { state: "LOST".to_owned(), ..volume("gone", 10, None) };
    let odd = Part {
        size_bytes: 5 * GIB + 321 * (1 << 20),
        ..volume(
            "a-volume-with-a-name-that-is-far-too-long-for-most-of-the-terminals-in-this-world",
            5,
            Some(1),
        )
    };
    vec![
        berth(1, "nvme0", 100, vec![
            busy,
            volume("wal", 1, Some(GIB)),
            lost,
            part(Kind::Reserved, "storage/mysql", 12 * GIB),
            trash("old", 8),
            free(37),
        ]),
        Berth {
            driver: "directory".to_owned(),
            enforced: "none".to_owned(),
            media: "hdd".to_owned(),
            ..berth(1, "sda", 50, vec![odd, free(44)])
        },
        Berth {
            media: "unknown".to_owned(),
            cordoned: Some("to be replaced on Monday, ticket 4711; ask the storage team before anything is moved here".to_owned()),
            ..berth(2, "small", 1, vec![free(1)])
        },
        Berth {
            faulty: Some("the disk at /srv/dead is mounted read-only: find out why in the kernel log, then remount it writable".to_owned()),
            ..berth(2, "dead", 80, vec![volume("data", 40, None), free(40)])
        },
        Berth {
            agent_state: "UNREACHABLE".to_owned(),
            faulty: Some("the disk's root /srv/new does not exist".to_owned()),
            driver: String::new(),
            ..berth(3, "new", 0, vec![])
        },
    ]
}

fn many() -> Vec<Berth> {
    let mut parts: Vec<Part> =
        (0..90).map(|n| volume(&format!("shard-{n:02}"), 1 + n % 7, Some(n % 2 * GIB))).collect();
    parts.push(free(600));
    let size = parts.iter().map(|part| part.size_bytes).sum::<u64>() / GIB;
    vec![berth(1, "big", size, parts)]
}

fn canvas(width: usize, is_ascii: bool) -> Canvas {
    Canvas { width, is_ascii, is_colored: false }
}

/// Compares with `golden/NAME.txt`; `UPDATE_GOLDEN=1` writes it.
fn compare(name: &str, found: &str) {
    let path = format!("{}/src/map/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "{path} differs; look at it, then run with UPDATE_GOLDEN=1");
}

#[test]
fn pictures_are_as_reviewed() {
    for (name, berths, width, is_ascii) in [
        ("cluster-80", cluster(), 80, false),
        ("cluster-80-ascii", cluster(), 80, true),
        ("cluster-50-ascii", cluster(), 50, true),
        ("cluster-160", cluster(), 160, false),
        ("many-80-ascii", many(), 80, true),
        ("none", Vec::new(), 80, false),
    ] {
        compare(name, &render(&berths, canvas(width, is_ascii)));
    }
}

/// The cells between the edges of each bar.
fn bars(text: &str) -> Vec<String> {
    let inside = |line: &str| {
        let rest = line.strip_prefix("  ")?;
        let rest = rest.strip_prefix(['[', '!', '▕'])?;
        Some(rest.strip_suffix([']', '!', '▏'])?.to_owned())
    };
    text.lines().filter_map(inside).collect()
}

#[test]
fn every_width_keeps_the_laws() {
    for berths in [cluster(), many()] {
        for width in 0..220 {
            for is_ascii in [true, false] {
                let text = render(&berths, canvas(width, is_ascii));
                for line in text.lines() {
                    let columns = super::text::width(line);
                    assert!(columns <= width.max(24), "{columns} of {width}: {line}");
                    assert_eq!(line, line.trim_end(), "{width}");
                    assert!(!is_ascii || line.is_ascii(), "{line}");
                }
                // Everything that lies on a disk has a line, even where it has no cell of its own.
                let parts: usize = berths.iter().map(|berth| berth.parts.len()).sum();
                let lines = text.lines().filter(|line| {
                    line.strip_prefix("    ").is_some_and(|l| l.chars().nth(1) == Some(' '))
                });
                assert!(lines.count() >= parts, "{width}: {text}");
                let known = berths.iter().filter(|berth| !berth.parts.is_empty()).count();
                assert_eq!(bars(&text).len(), known, "{width}: {text}");
            }
        }
    }
}

#[test]
fn bars_are_to_scale_and_share_their_cells_out() {
    let two = vec![
        berth(1, "large", 76, vec![volume("a", 19, Some(19 * GIB)), free(57)]),
        berth(1, "half", 38, vec![volume("b", 19, Some(0)), free(19)]),
    ];
    let found = bars(&render(&two, canvas(80, true)));
    assert_eq!(
        found,
        [
            format!("a{}{}", "#".repeat(18), "~".repeat(57)),
            format!("a{}{}", "=".repeat(18), "~".repeat(19)),
        ]
    );
    // A tiny volume has its cell, and the rest makes room for it.
    let tiny = vec![berth(1, "d", 7600, vec![volume("t", 1, None), free(7599)])];
    assert_eq!(bars(&render(&tiny, canvas(80, true))), [format!("a{}", "~".repeat(75))]);
    // Trash lies in what is free; when little is free, no more than that is drawn of it.
    let full = vec![berth(1, "d", 100, vec![volume("a", 99, None), trash("x", 90), free(1)])];
    assert_eq!(bars(&render(&full, canvas(80, true))), [format!("a{}/", "%".repeat(74))]);
}

#[test]
fn colours_add_no_width_and_no_word() {
    let plain = render(&cluster(), canvas(80, false));
    let colored = render(&cluster(), Canvas { is_colored: true, ..canvas(80, false) });
    let (mut stripped, mut rest) = (String::new(), colored.as_str());
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    assert_eq!(stripped, plain);
    assert_ne!(colored, plain);
}
