//! What must be so on a disk, read from the simulated file system without any of the agent's code.
//!
//! I1 and I2: a volume's data is in one place, whole, until a purge was asked for, and nothing of others is touched. I6: what
//! was answered is so. I7: there is one of it. I10: nothing is written beside the disk. I11: whatever is on the disk
//! is explained by the ledger, and what was purged has left nothing.

mod content;
mod image;
mod project;
mod snapshot;

use crate::books::{Books, Data, Record, Stage};
use crate::scene::{KEYS, STRANGERS, imported};
use crate::sim::tree::{Inode, ROOT, Tree};
use berth_model::access::Access;
use berth_model::orphan::OrphanPlace;
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use content::content;
use std::collections::{BTreeMap, BTreeSet};

const VOLUMES: &str = "/agent/disk/volumes";
const TRASH: &str = "/agent/disk/.trash";
const META: &str = "/agent/disk/.meta";
const SNAPSHOTS: &str = "/agent/disk/.snapshots";

/// Everything that is wrong.
#[must_use]
pub fn judge(tree: &Tree, books: &Books) -> Vec<String> {
    let mut wrong = Vec::new();
    outside(tree, &mut wrong);
    if books.disks.is_empty() {
        return wrong;
    }
    disk(tree, books, &mut wrong);
    let of_volumes = books.volumes.iter().map(|record| record.spec.id.to_string());
    let of_snapshots = books.snapshots.iter().map(|snapshot| snapshot.spec.id.to_string());
    let ids: Vec<String> = of_volumes.chain(of_snapshots).collect();
    for folder in [VOLUMES, TRASH, META, SNAPSHOTS] {
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
        volume(tree, books, record, &mut wrong);
    }
    for snapshot in &books.snapshots {
        snapshot::snapshot(tree, snapshot, &mut wrong);
    }
    for life in &books.replaced {
        snapshot::replaced(tree, life, &mut wrong);
    }
    project::projects(tree, &mut wrong);
    wrong
}

fn outside(tree: &Tree, wrong: &mut Vec<String>) {
    for (path, want) in
        [("/", vec!["agent", "keys", "other"]), ("/agent", vec!["disk", "stranger"])]
    {
        for name in tree.names(path) {
            if !want.contains(&name.as_str()) {
                wrong.push(format!("I10: {path}/{name} was made beside the disk"));
            }
        }
    }
}

fn is_disks_own(name: &str) -> bool {
    let inner = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".tmp")).unwrap_or(name);
    matches!(inner, "disk" | "place" | "size") || matches!(name, ".probe" | ".probe-image")
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
    /// A copy of a snapshot that is to become the volume.
    aside: Vec<String>,
    any: Vec<String>,
    keys: Vec<String>,
}

/// What of a volume lies where, the lives that roll backs ended left out.
fn places(tree: &Tree, books: &Books, id: &str) -> Places {
    let ended: BTreeSet<String> = books
        .replaced
        .iter()
        .map(|life| format!("{}.{}", life.spec.id, life.spec.generation))
        .collect();
    let of = |folder: &str| -> Vec<String> {
        let names = tree.names(folder).into_iter();
        names
            .filter(|name| {
                let life = name.strip_suffix(".going").unwrap_or(name);
                name.contains(id) && !ended.contains(life) && !ended.contains(inner(life))
            })
            .collect()
    };
    let (volumes, trash, meta, aside) = (of(VOLUMES), of(TRASH), of(META), of(SNAPSHOTS));
    Places {
        live: volumes.iter().any(|name| name == id),
        marker: meta.iter().any(|name| name == id),
        any: [volumes, trash.clone(), meta, aside.clone()].concat(),
        trash,
        aside,
        keys: of(KEYS),
    }
}

/// The name without what says that a marker is being written.
fn inner(name: &str) -> &str {
    name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".tmp")).unwrap_or(name)
}

/// A place where the volume may be, and what must be so there.
struct Expected {
    path: String,
    generations: Vec<u64>,
    data: Data,
    sizes: Vec<Bytes>,
    /// Its limit may be lifted for the moment.
    is_free: bool,
}

fn volume(tree: &Tree, books: &Books, record: &Record, wrong: &mut Vec<String>) {
    let places = places(tree, books, &record.spec.id.to_string());
    let mut complaints = Vec::new();
    let found = expected(books, record, &places, &mut complaints);
    for expected in found {
        let Some(inode) = tree.at(&expected.path) else { continue };
        complaints.extend(whole(tree, record, inode, &expected));
        if !places.marker {
            complaints.push("I6: it has no marker".to_owned());
        }
    }
    if record.stage == Stage::Purging && !places.keys.is_empty() {
        let trash = format!("{TRASH}/{}.{}", record.spec.id, record.spec.generation);
        let mut images = [format!("{trash}/image"), format!("{trash}.going/image")].into_iter();
        if !images.any(|path| tree.at(&path).is_some()) {
            complaints.push("I11: its image went before its key".to_owned());
        }
    }
    let is_derived = matches!(record.stage, Stage::Cloning(_) | Stage::RollingBack { .. });
    let is_settled = !matches!(record.stage, Stage::Quarantined | Stage::Vanished);
    if is_settled && !is_derived && !places.aside.is_empty() {
        complaints.push(format!("I11: there is {:?}", places.aside));
    }
    let of = format!("{:?} {}", record.stage, record.spec.id);
    wrong.extend(complaints.into_iter().map(|text| format!("{of}: {text}")));
}

/// What a volume holds once it is made from something.
fn copied(books: &Books, record: &Record) -> Data {
    match record.stage {
        Stage::Cloning(snapshot) => books.snapshots[snapshot].data,
        _imported => imported(),
    }
}

fn not_in_trash(places: &Places, complaints: &mut Vec<String>) {
    if !places.trash.is_empty() {
        complaints.push(format!("I7: the trash has {:?}", places.trash));
    }
}

/// May its limit be lifted for the moment?
fn is_lifted(stage: Stage) -> bool {
    matches!(stage, Stage::Restoring | Stage::Purging | Stage::Setting | Stage::PurgingOrphan(_))
}

/// Where the volume lies, as far as it must be whole there.
fn expected(
    books: &Books,
    record: &Record,
    places: &Places,
    complaints: &mut Vec<String>,
) -> Vec<Expected> {
    let VolumeSpec { id, generation, size, .. } = record.spec;
    let at = |path: String, generations: Vec<u64>| Expected {
        path,
        generations,
        data: record.data,
        sizes: vec![size],
        is_free: is_lifted(record.stage),
    };
    let live = format!("{VOLUMES}/{id}");
    let trash = |generation: u64| format!("{id}.{generation}");
    match record.stage {
        Stage::Nothing => {
            if !places.any.is_empty() {
                complaints.push(format!("I11: there is {:?}", places.any));
            }
            if !places.keys.is_empty() {
                complaints.push(format!("I11: there is the key {:?}", places.keys));
            }
            Vec::new()
        },
        Stage::Vanished => {
            // A marker alone is kept: it says that there was a volume.
            if places.live || !places.trash.is_empty() {
                complaints.push(format!("I11: there is {:?}", places.any));
            }
            Vec::new()
        },
        Stage::Quarantined => Vec::new(),
        Stage::Creating => {
            not_in_trash(places, complaints);
            vec![at(live, vec![generation])]
        },
        Stage::Cloning(_) | Stage::Importing | Stage::Receiving => {
            not_in_trash(places, complaints);
            let data = copied(books, record);
            vec![Expected { data, ..at(live, vec![generation]) }]
        },
        Stage::Ready | Stage::Resizing(_) | Stage::Setting => {
            not_in_trash(places, complaints);
            if !places.live {
                complaints.push("I6: it is not live".to_owned());
            }
            let mut found = at(live, vec![generation]);
            if let Stage::Resizing(wanted) = record.stage {
                found.sizes.push(wanted);
            }
            vec![found]
        },
        Stage::Trashed => {
            if places.live || places.trash != [trash(generation)] {
                complaints.push(format!("I6: it is at {:?}", places.any));
            }
            vec![at(format!("{TRASH}/{}", trash(generation)), vec![generation])]
        },
        Stage::Tombstoned | Stage::Restoring | Stage::Orphan(_) | Stage::Adopting => {
            let (old, allowed) = match record.stage {
                Stage::Restoring => (trash(generation - 1), vec![generation - 1, generation]),
                _same_life => (trash(generation), vec![generation]),
            };
            let in_trash = places.trash == [old.clone()];
            if usize::from(places.live) + places.trash.len() != 1 || !(places.live || in_trash) {
                complaints.push(format!("I1: it is at {:?}", places.any));
            }
            vec![at(if places.live { live } else { format!("{TRASH}/{old}") }, allowed)]
        },
        Stage::Purging | Stage::PurgingOrphan(_) => {
            if places.live && record.stage != Stage::PurgingOrphan(OrphanPlace::Live) {
                complaints.push("I7: it is live".to_owned());
            }
            // Under this name a restore would find it.
            let trash = at(format!("{TRASH}/{}", trash(generation)), vec![generation]);
            vec![at(live, vec![generation]), trash]
        },
        Stage::RollingBack { snapshot, .. } => {
            let old = trash(generation - 1);
            let last = at(format!("{TRASH}/{old}"), vec![generation - 1, generation]);
            let found = at(live, vec![generation - 1]);
            match (places.live, places.trash == [old]) {
                // The life that it had is the one that is live.
                (true, false) if places.trash.is_empty() => vec![found],
                (true, true) => {
                    let data = books.snapshots[snapshot].data;
                    vec![Expected { generations: vec![generation], data, ..found }, last]
                },
                (false, true) => vec![last],
                (_live, false) => {
                    complaints.push(format!("I1: it is at {:?}", places.any));
                    Vec::new()
                },
            }
        },
    }
}

/// What is wrong with the directory of a volume.
fn whole(tree: &Tree, record: &Record, inode: &Inode, expected: &Expected) -> Vec<String> {
    let id = record.spec.id.to_string();
    let Expected { path, generations, .. } = expected;
    let mut wrong = match image::file(tree, path, &id) {
        Some(file) => image::whole(tree, file, record, expected),
        None => {
            let mut wrong = content(tree, path, expected.data, record.loose);
            wrong.extend(access(record, inode));
            wrong
        },
    };
    let says = |fields: &BTreeMap<String, String>, generations: &[u64]| {
        fields.get("volume") == Some(&id)
            && generations.iter().any(|generation| {
                fields.get("generation").is_some_and(|found| *found == generation.to_string())
            })
    };
    let marker = tree.file(&format!("{META}/{id}")).and_then(fields).unwrap_or_default();
    if !says(&marker, generations) {
        wrong.push(format!("I6: its marker says {marker:?}"));
    }
    let size = marker.get("size").and_then(|size| size.parse().ok()).map(Bytes::new);
    if !size.is_some_and(|size| expected.sizes.contains(&size)) {
        wrong.push(format!("I9: its marker says {size:?} instead of {:?}", expected.sizes));
    }
    // What a roll back put into the trash has the attribute of the life that ended.
    let own: &[u64] = if matches!(record.stage, Stage::RollingBack { .. }) {
        &generations[..1]
    } else {
        generations
    };
    match inode.attributes.values().next() {
        Some(value) if !fields(value).is_some_and(|fields| says(&fields, own)) => {
            wrong.push("I6: its attribute is of another volume or life".to_owned());
        },
        None if marker.get("binding").is_none_or(|binding| binding == "attribute") => {
            wrong.push("I6: its directory carries no identity".to_owned());
        },
        Some(_) | None => {},
    }
    let number = tree.walk(ROOT, path);
    if number == Some(inode.subvolume) {
        let limit = inode.limit.map(Bytes::new);
        let is_kept = limit.is_some_and(|limit| expected.sizes.contains(&limit));
        if !(is_kept || expected.is_free && limit.is_none()) {
            wrong.push(format!("I9: its limit is {limit:?} instead of {:?}", expected.sizes));
        }
        if limit.is_some_and(|limit| limit.get() < tree.used(inode.subvolume)) {
            wrong.push(format!("I9: its limit {limit:?} is below what it holds"));
        }
    }
    if let Some(project) = marker.get("project").and_then(|text| text.parse().ok()) {
        let (used, _files, limit) = tree.account(project);
        let is_kept = limit.is_some_and(|limit| expected.sizes.contains(&Bytes::new(limit)));
        if inode.project != project || !(is_kept || expected.is_free && limit.is_none()) {
            wrong.push(format!("I9: its limit is {limit:?} instead of {:?}", expected.sizes));
        }
        if limit.is_some_and(|limit| limit < used) {
            wrong.push(format!("I9: its limit {limit:?} is below what it holds"));
        }
    }
    wrong
}

/// What is wrong with the owner and mode of a volume's root.
fn access(record: &Record, root: &Inode) -> Option<String> {
    if matches!(record.stage, Stage::Setting | Stage::Purging | Stage::PurgingOrphan(_)) {
        return None;
    }
    let Access { owner, mode } = record.spec.access;
    let is_so = owner.map(|owner| (owner.uid(), owner.gid())) == Some(root.owner)
        && mode.map(|mode| mode.bits()) == Some(root.mode);
    let text = || format!("I6: its root has owner {:?}, mode {:o}", root.owner, root.mode);
    (!is_so).then(text)
}
