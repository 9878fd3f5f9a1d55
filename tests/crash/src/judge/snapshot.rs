//! What must be so of snapshots, and of the lives of volumes that roll backs ended.

use super::{META, SNAPSHOTS, TRASH, content, fields};
use crate::books::{Data, Replaced, Snapshot, SnapshotStage};
use crate::sim::tree::{Medium, Number, ROOT, Tree};

/// What is wrong with a snapshot.
pub(super) fn snapshot(tree: &Tree, snapshot: &Snapshot, wrong: &mut Vec<String>) {
    let id = snapshot.spec.id.to_string();
    let path = format!("{SNAPSHOTS}/{id}");
    let of = |folder: &str| -> Vec<String> {
        tree.names(folder).into_iter().filter(|name| name.contains(&id)).collect()
    };
    let (here, markers) = (of(SNAPSHOTS), of(META));
    let mut complain = |text: String| wrong.push(format!("{:?} {id}: {text}", snapshot.stage));
    match snapshot.stage {
        SnapshotStage::Gone if !here.is_empty() || !markers.is_empty() => {
            complain(format!("I11: there is {here:?} and {markers:?}"));
        },
        SnapshotStage::Ready if here != [id.clone()] => complain(format!("I6: there is {here:?}")),
        SnapshotStage::Gone
        | SnapshotStage::Ready
        | SnapshotStage::Taking
        | SnapshotStage::Deleting
        | SnapshotStage::Quarantined => {},
    }
    let Some(inode) = tree.at(&path) else { return };
    for text in kept(tree, &path, snapshot.data) {
        complain(text);
    }
    let number = tree.walk(ROOT, &path).unwrap_or(ROOT);
    let is_image = image(tree, &path).is_some();
    if !is_image && (!inode.read_only || inode.subvolume != number) {
        complain("I6: it can be written".to_owned());
    }
    let marker = tree.file(&format!("{META}/{id}")).and_then(fields).unwrap_or_default();
    let of = &snapshot.spec.of;
    for (key, value) in [
        ("snapshot", id.clone()),
        ("volume", of.id.to_string()),
        ("generation", of.generation.to_string()),
        ("size", of.size.get().to_string()),
        (if is_image { "inode" } else { "subvolume" }, number.to_string()),
    ] {
        if marker.get(key) != Some(&value) {
            complain(format!("I6: its marker says {key} {:?}, not {value}", marker.get(key)));
        }
    }
}

/// The file of a directory that is all there is in it.
fn image(tree: &Tree, path: &str) -> Option<Number> {
    let file = tree.walk(ROOT, &format!("{path}/image"))?;
    (tree.names(path) == ["image"]).then_some(file)
}

/// What differs from this content, in the directory or in the file system in its file.
fn kept(tree: &Tree, path: &str, data: Data) -> Vec<String> {
    let Some(file) = image(tree, path) else { return content(tree, path, data, 0) };
    match tree.medium(file).as_deref() {
        Some(Medium::Whole { tree: inner, .. }) => content(inner, "", data, 0),
        other => vec![format!("I1: {path}/image cannot be mounted: {other:?}")],
    }
}

/// What is wrong with a life that a roll back ended.
pub(super) fn replaced(tree: &Tree, life: &Replaced, wrong: &mut Vec<String>) {
    let name = format!("{}.{}", life.spec.id, life.spec.generation);
    let path = format!("{TRASH}/{name}");
    if life.may_be_gone {
        return;
    }
    let mut complain = |text: String| wrong.push(format!("replaced {name}: {text}"));
    if tree.at(&path).is_none() {
        complain("I1: it is not in the trash".to_owned());
    }
    for text in kept(tree, &path, life.data) {
        complain(text);
    }
    if tree.file(&format!("{META}/{name}")).and_then(fields).is_none() {
        complain("I6: it has no marker".to_owned());
    }
}
