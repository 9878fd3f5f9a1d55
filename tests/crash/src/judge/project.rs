//! Projects of volumes, by which XFS and ext4 count.

use super::{TRASH, VOLUMES};
use crate::sim::tree::Tree;
use std::collections::BTreeMap;

/// No two volumes share a project, and a project has a limit only while something on the file system has it.
pub(super) fn projects(tree: &Tree, wrong: &mut Vec<String>) {
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
