//! What must be in a volume or a snapshot, to the last file.

use crate::books::Data;
use crate::scene::{DEEPER, LEADS_TO, files_of, imported, rows};
use crate::sim::tree::{Content, Tree};
use std::collections::BTreeSet;

/// What differs from this content, to the last file. Loose files may be there or not.
pub(super) fn content(tree: &Tree, path: &str, data: Data, loose: u16) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut wanted: BTreeSet<String> = files_of(data).into_iter().collect();
    for name in &wanted {
        if tree.file(&format!("{path}/{name}")) != Some(rows(data.by).as_bytes()) {
            wrong.push(format!("I1: {path}/{name} is lost or damaged"));
        }
    }
    if wanted.contains("base/table") {
        wanted.insert("base".to_owned());
    }
    if data.by == imported().by {
        // A copy has the link and the pipe as well.
        for (name, leads_to) in [("link", LEADS_TO), ("pipe", "")] {
            if tree.file(&format!("{path}/{name}")) != Some(leads_to.as_bytes()) {
                wrong.push(format!("I1: {path}/{name} is lost or damaged"));
            }
            wanted.insert(name.to_owned());
        }
    }
    wanted.extend(files_of(Data { files: loose, ..data }));
    let mut below = vec![String::new()];
    while let Some(folder) = below.pop() {
        for name in tree.names(&format!("{path}/{folder}")) {
            if name == DEEPER {
                continue;
            }
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let inode = tree.at(&format!("{path}/{name}"));
            if inode.is_some_and(|inode| matches!(inode.content, Content::Directory(_))) {
                below.push(name.clone());
            }
            if !wanted.contains(&name) {
                wrong.push(format!("I2: {path} holds {name}"));
            }
        }
    }
    wrong
}
