//! What must be so of a volume that is a file with a file system in it: a machine that starts on this disk can mount it,
//! and finds everything in it.

use super::{Expected, META, access, content, fields};
use crate::books::{Record, Stage};
use crate::scene::KEYS;
use crate::sim::attached::LOCK;
use crate::sim::tree::{Medium, Number, ROOT, Tree};
use berth_model::units::Bytes;
use std::sync::Arc;

/// The image in the directory of a volume, if its marker says that it is one.
pub(super) fn file(tree: &Tree, path: &str, id: &str) -> Option<Number> {
    let marker = tree.file(&format!("{META}/{id}")).and_then(fields).unwrap_or_default();
    let is_image = marker.get("driver").is_some_and(|driver| driver.starts_with("image:"));
    tree.walk(ROOT, &format!("{path}/image")).filter(|_| is_image)
}

/// What is wrong with the image of a volume: it must be mountable, have the size and hold the content.
pub(super) fn whole(
    tree: &Tree,
    file: Number,
    record: &Record,
    expected: &Expected,
) -> Vec<String> {
    let path = &expected.path;
    let mut wrong = Vec::new();
    if tree.names(path) != ["image"] {
        wrong.push(format!("I2: {path} holds {:?}", tree.names(path)));
    }
    let (length, allocated) = tree.lengths(file);
    let medium = tree.medium(file).unwrap_or_else(|| Arc::new(Medium::Blank));
    let Medium::Whole { tree: inner, .. } = &*medium else {
        wrong.push(format!("I1: {path}/image cannot be mounted: {medium:?}"));
        return wrong;
    };
    let holds = medium.size();
    if length < holds {
        wrong.push(format!("I1: {path}/image has {length} of its file system's {holds}"));
    }
    let is_resizing = matches!(record.stage, Stage::Resizing(_));
    let fits = |bytes: u64| expected.sizes.contains(&Bytes::new(bytes));
    let is_kept = fits(length) && fits(holds) && allocated == length;
    if !(is_resizing || is_kept) {
        wrong.push(format!(
            "I9: {path}/image has {length}, {allocated} allocated, its file system {holds}, instead of {:?}",
            expected.sizes
        ));
    }
    let root = inner.get(ROOT).map(|root| &root.attributes);
    let named =
        root.and_then(|attributes| attributes.values().next()).and_then(|value| fields(value));
    let id = record.spec.id.to_string();
    if named.is_none_or(|named| named.get("volume") != Some(&id)) {
        wrong.push(format!("I6: the root of {path}/image carries no identity of it"));
    }
    if record.spec.encrypted {
        let key = tree.file(&format!("{KEYS}/{id}")).and_then(fields).unwrap_or_default();
        let hex =
            |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let by = root.and_then(|attributes| attributes.get(LOCK)).map(hex).unwrap_or_default();
        if by.is_empty() || key.get("key") != Some(&by) {
            wrong.push(format!("I1: {path}/image cannot be read: its key is {key:?}"));
        }
    }
    wrong.extend(inner.get(ROOT).and_then(|root| access(record, root)));
    wrong.extend(content(inner, "", expected.data, 0));
    wrong
}
