//! What must be so on a disk, read from the simulated file system without any of the agent's code.
//!
//! I1 and I2: a volume's data is in one place, whole, until a purge was asked for, and nothing of others is touched. I6: what
//! was answered is so. I7: there is one of it. I10: nothing is written beside the disk. I11: whatever is on the disk
//! is explained by the ledger, and what was purged has left nothing.

use crate::scene::{Books, FILES, Record, STRANGERS, Stage, rows};
use crate::sim::tree::{Inode, ROOT, Tree};
use std::collections::BTreeMap;

const VOLUMES: &str = "/agent/disk/volumes";
const TRASH: &str = "/agent/disk/.trash";
const META: &str = "/agent/disk/.meta";

/// Everything that is wrong.
#[must_use]
pub fn judge(tree: &Tree, books: &Books) -> Vec<String> {
    let mut wrong = Vec::new();
    outside(tree, &mut wrong);
    if books.disks.is_empty() {
        return wrong;
    }
    disk(tree, books, &mut wrong);
    let ids: Vec<String> = books.volumes.iter().map(|record| record.spec.id.to_string()).collect();
    for folder in [VOLUMES, TRASH, META] {
        for name in tree.names(folder) {
            let known = ids.iter().any(|id| name.contains(id))
                || name == "stranger"
                || (folder == META && is_disks_own(&name));
            if !known {
                wrong.push(format!("I11: {folder}/{name} is nobody's"));
            }
        }
    }
    for record in &books.volumes {
        volume(tree, record, &mut wrong);
    }
    projects(tree, &mut wrong);
    wrong
}

/// No two volumes share a project, and a project has a limit only while something on the file system has it.
fn projects(tree: &Tree, wrong: &mut Vec<String>) {
    let mut owners: BTreeMap<u32, String> = BTreeMap::new();
    for folder in [VOLUMES, TRASH] {
        for name in tree.names(folder) {
            let path = format!("{folder}/{name}");
            let project = tree.at(&path).map_or(0, |inode| inode.project);
            if project != 0
                && let Some(other) = owners.insert(project, path.clone())
            {
                wrong.push(format!("I9: {other} and {path} share the project {project}"));
            }
        }
    }
    for project in tree.limited() {
        if tree.account(project).1 == 0 {
            wrong.push(format!("I11: project {project} has a limit and nobody has the project"));
        }
    }
}

fn outside(tree: &Tree, wrong: &mut Vec<String>) {
    for (path, want) in [("/", vec!["agent", "other"]), ("/agent", vec!["disk", "stranger"])] {
        for name in tree.names(path) {
            if !want.contains(&name.as_str()) {
                wrong.push(format!("I10: {path}/{name} was made beside the disk"));
            }
        }
    }
}

fn is_disks_own(name: &str) -> bool {
    let inner = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".tmp")).unwrap_or(name);
    matches!(inner, "disk" | "place" | "size") || name == ".probe"
}

fn disk(tree: &Tree, books: &Books, wrong: &mut Vec<String>) {
    for path in STRANGERS {
        if tree.walk(ROOT, &format!("{path}/stranger")).is_some()
            && tree.file(&format!("{path}/stranger/precious")) != Some(b"precious")
        {
            wrong.push(format!("I1: {path}/stranger is not as it was"));
        }
    }
    match tree.file(&format!("{META}/disk")).map(fields) {
        Some(Some(marker)) => {
            let id = marker.get("disk").cloned().unwrap_or_default();
            if !books.disks.iter().any(|disk| disk.id.to_string() == id) {
                wrong.push(format!("I6: the disk's marker says {id}"));
            }
        },
        Some(None) => wrong.push("I6: the disk's marker is damaged".to_owned()),
        None => wrong.push("I6: the disk's marker is gone".to_owned()),
    }
}

/// The lines of a whole marker.
fn fields(bytes: &[u8]) -> Option<BTreeMap<String, String>> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let (body, sum) = text.rsplit_once('\n')?;
    let whole = sum.strip_prefix("crc32c=").is_some_and(|sum| sum.len() == 8);
    let lines = body.lines().skip(1).filter_map(|line| line.split_once('='));
    whole.then(|| lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// Where something of a volume lies.
struct Places {
    live: bool,
    trash: Vec<String>,
    marker: bool,
    any: Vec<String>,
}

fn places(tree: &Tree, id: &str) -> Places {
    let of = |folder: &str| -> Vec<String> {
        tree.names(folder).into_iter().filter(|name| name.contains(id)).collect()
    };
    let (volumes, trash, meta) = (of(VOLUMES), of(TRASH), of(META));
    Places {
        live: volumes.iter().any(|name| name == id),
        marker: meta.iter().any(|name| name == id),
        any: [volumes, trash.clone(), meta].concat(),
        trash,
    }
}

fn volume(tree: &Tree, record: &Record, wrong: &mut Vec<String>) {
    let id = record.spec.id.to_string();
    let generation = record.spec.generation;
    let places = places(tree, &id);
    let live = format!("{VOLUMES}/{id}");
    let trash = |generation: u64| format!("{id}.{generation}");
    let mut complain = |text: String| wrong.push(format!("{:?} {id}: {text}", record.stage));
    let found = match record.stage {
        Stage::Nothing => {
            if !places.any.is_empty() {
                complain(format!("I11: there is {:?}", places.any));
            }
            return;
        },
        Stage::Vanished => {
            // A marker alone is kept: it says that there was a volume.
            if places.live || !places.trash.is_empty() {
                complain(format!("I11: there is {:?}", places.any));
            }
            return;
        },
        Stage::Quarantined => return,
        Stage::Creating => {
            if !places.trash.is_empty() {
                complain(format!("I7: the trash has {:?}", places.trash));
            }
            if places.live { vec![(live, vec![generation])] } else { Vec::new() }
        },
        Stage::Ready => {
            if !places.trash.is_empty() {
                complain(format!("I7: the trash has {:?}", places.trash));
            }
            if !places.live {
                complain("I6: it is not live".to_owned());
            }
            vec![(live, vec![generation])]
        },
        Stage::Trashed => {
            if places.live || places.trash != [trash(generation)] {
                complain(format!("I6: it is at {:?}", places.any));
            }
            vec![(format!("{TRASH}/{}", trash(generation)), vec![generation])]
        },
        Stage::Tombstoned | Stage::Restoring => {
            let (old, allowed) = match record.stage {
                Stage::Restoring => (trash(generation - 1), vec![generation - 1, generation]),
                _tombstoned => (trash(generation), vec![generation]),
            };
            let in_trash = places.trash == [old.clone()];
            if usize::from(places.live) + places.trash.len() != 1 || !(places.live || in_trash) {
                complain(format!("I1: it is at {:?}", places.any));
            }
            let path = if places.live { live } else { format!("{TRASH}/{old}") };
            vec![(path, allowed)]
        },
        Stage::Purging => {
            if places.live {
                complain("I7: it is live".to_owned());
            }
            let name = trash(generation);
            // Under this name a restore would find it.
            let restorable = places.trash.contains(&name);
            let path = format!("{TRASH}/{name}");
            if restorable { vec![(path, vec![generation])] } else { Vec::new() }
        },
    };
    for (path, generations) in found {
        let Some(inode) = tree.at(&path) else { continue };
        for text in whole(tree, record, (&path, inode), &generations) {
            complain(text);
        }
        if !places.marker {
            complain("I6: it has no marker".to_owned());
        }
    }
}

/// What is wrong with the directory of a volume.
fn whole(
    tree: &Tree,
    record: &Record,
    (path, inode): (&str, &Inode),
    generations: &[u64],
) -> Vec<String> {
    let id = record.spec.id.to_string();
    let mut wrong = Vec::new();
    if record.has_data {
        for file in FILES {
            let rows = rows(record.spec.id);
            if tree.file(&format!("{path}/{file}")) != Some(rows.as_bytes()) {
                wrong.push(format!("I1: {path}/{file} is lost or damaged"));
            }
        }
    } else if inode.entries().is_none_or(|entries| !entries.is_empty()) {
        wrong.push(format!("I2: {path} is not empty"));
    }
    let says = |fields: &BTreeMap<String, String>| {
        fields.get("volume") == Some(&id)
            && generations.iter().any(|generation| {
                fields.get("generation").is_some_and(|found| *found == generation.to_string())
            })
    };
    let marker = tree.file(&format!("{META}/{id}")).and_then(fields).unwrap_or_default();
    if !says(&marker) {
        wrong.push(format!("I6: its marker says {marker:?}"));
    }
    match inode.attributes.values().next() {
        Some(value) if !fields(value).is_some_and(|fields| says(&fields)) => {
            wrong.push("I6: its attribute is of another volume or life".to_owned());
        },
        None if marker.get("binding").is_none_or(|binding| binding == "attribute") => {
            wrong.push("I6: its directory carries no identity".to_owned());
        },
        Some(_) | None => {},
    }
    let own = tree.walk(ROOT, path).is_some_and(|number| inode.subvolume == number);
    if own && inode.limit.is_none() && !matches!(record.stage, Stage::Restoring | Stage::Purging) {
        wrong.push("I9: its size is not kept".to_owned());
    }
    if let Some(project) = marker.get("project").and_then(|text| text.parse().ok()) {
        let limit = tree.account(project).2;
        let lifted = matches!(record.stage, Stage::Restoring | Stage::Purging);
        if inode.project != project || (limit.is_none() && !lifted) {
            wrong.push("I9: its size is not kept".to_owned());
        }
    }
    wrong
}
