//! Whether a place lies in somebody's disk or volume, or around one.
//!
//! Asked before a directory is made a disk, never of one that is a disk already: its volumes stay reachable. Whose the other
//! is does not matter: what one of the two purges or counts would be the other's. It looks upwards to the root of the
//! machine, along the directories that the place really lies in, and two levels down.

use super::adopt::DISK;
use super::fs::{self, FileSystem, Kind, Node};
use super::remove::{VOLUME_XATTR, VOLUME_XATTR_UNPRIVILEGED};
use berth_model::error::{ErrorCode, Rejection};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// A place with more entries than these is refused; of the directories in it no more are looked at.
const ENTRIES_MAX: usize = 65_536;
/// What a disk of ours has.
const OWN: [&str; 4] = [".meta", ".trash", ".snapshots", ".mounts"];

/// Refuses a place in or around what is another's.
///
/// # Errors
/// Which directory is whose.
pub(super) fn refuse(files: &dyn FileSystem, top: &Node, root: &Path) -> Result<(), Rejection> {
    let there = really(top, root);
    if is_volume(top) {
        return Err(within(root, &there, "is a volume"));
    }
    for above in there.ancestors().skip(1) {
        let Ok(node) = fs::open(files, above) else { continue };
        if is_disk(&node) {
            return Err(within(root, above, "is a disk already (it has .meta/disk)"));
        }
        if is_volume(&node) {
            return Err(within(root, above, "is a volume"));
        }
    }
    let unsure = |why: String| {
        let text = format!("whether a disk lies in {} cannot be told: {why}", root.display());
        Rejection::new(ErrorCode::InvalidArgument, text)
            .remedy("choose a directory with less in it")
            .field("disk.source.root")
    };
    let names = top
        .names(ENTRIES_MAX + 1)
        .map_err(|errno| unsure(format!("it cannot be listed ({errno})")))?;
    if names.len() > ENTRIES_MAX {
        return Err(unsure(format!("it has more than {ENTRIES_MAX} entries")));
    }
    for (path, node) in directories(top, &there, names) {
        if is_disk(&node) {
            return Err(around(root, &path));
        }
        let names = node.names(ENTRIES_MAX).map_err(|errno| {
            unsure(format!("{} in it cannot be listed ({errno})", path.display()))
        })?;
        let mut inside = directories(&node, &path, names);
        if let Some((inner, _)) = inside.find(|(_, inner)| is_disk(inner)) {
            return Err(around(root, &inner));
        }
    }
    Ok(())
}

/// Where the open directory is, without symbolic links; its path where the kernel does not tell.
fn really(top: &Node, root: &Path) -> PathBuf {
    let link = top.descriptor().map(|open| format!("/proc/self/fd/{}", open.as_raw_fd()));
    link.ok().and_then(|link| std::fs::read_link(link).ok()).unwrap_or_else(|| root.to_path_buf())
}

/// Those of the names that are directories, opened.
fn directories<'a>(
    node: &'a Node,
    path: &'a Path,
    names: Vec<OsString>,
) -> impl Iterator<Item = (PathBuf, Node)> + 'a {
    let is_one = |name: &OsString| {
        OWN.iter().all(|own| name != own)
            && node.kind(name).is_ok_and(|kind| kind == Kind::Directory)
    };
    let all = names.into_iter().filter(is_one);
    all.filter_map(|name| Some((path.join(&name), node.directory(&name).ok()?)))
}

fn is_disk(node: &Node) -> bool {
    match node.directory(".meta") {
        Ok(meta) => meta.exists(DISK).unwrap_or(true),
        // Only its agent may look into it.
        Err(Errno::ACCESS | Errno::PERM) => true,
        Err(_absent) => false,
    }
}

fn is_volume(node: &Node) -> bool {
    let names = [VOLUME_XATTR, VOLUME_XATTR_UNPRIVILEGED];
    names.into_iter().any(|name| node.attribute(name).is_ok_and(|value| !value.is_empty()))
}

fn within(root: &Path, above: &Path, is: &str) -> Rejection {
    let text = if root == above {
        format!("{} {is}", root.display())
    } else {
        format!("{} lies in {}, which {is}", root.display(), above.display())
    };
    refused(text)
}

fn around(root: &Path, inner: &Path) -> Rejection {
    refused(format!(
        "{} holds {}, which is a disk already (it has .meta/disk)",
        root.display(),
        inner.display()
    ))
}

fn refused(text: String) -> Rejection {
    Rejection::new(ErrorCode::DiskExists, text)
        .remedy("choose a directory outside; disks do not lie within one another")
        .field("disk.source.root")
}

#[cfg(test)]
mod tests {
    use crate::disk::{Declaration, Disks, DriverChoice, Owner};
    use berth_model::agent::DiskHealth;
    use berth_model::id::AgentId;
    use berth_model::resources::DiskSource;
    use std::fs::create_dir_all;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::Arc;

    fn declared(root: &Path) -> Declaration {
        Declaration {
            source: DiskSource::Path(Arc::from(root.to_string_lossy().as_ref())),
            name: root.file_name().unwrap().to_string_lossy().into_owned(),
            driver: DriverChoice::Directory,
            size: None,
        }
    }

    #[test]
    fn a_place_in_or_around_another_agents_disk_is_refused_and_left_alone() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        for made in ["srv/d1", "srv/d3", "one", "two", "out", "free"] {
            create_dir_all(base.join(made)).unwrap();
        }
        let owner = |agent| Owner { agent: AgentId::from_u128(agent), cluster: None };
        let others = [declared(&base.join("srv/d1"))];
        let other = Disks::open(&base.join("one"), &others, owner(1), &[]);
        assert_eq!(other.report()[1].health, DiskHealth::Ok);
        create_dir_all(base.join("srv/d1/volumes/v/sub")).unwrap();
        create_dir_all(base.join("srv/d1/new")).unwrap();
        symlink(base.join("srv/d1/new"), base.join("out/link")).unwrap();
        let inside = "which is a disk already (it has .meta/disk)";
        let mine = Disks::open(&base.join("two"), &[], owner(2), &[]);
        for (name, wanted) in [
            (
                "srv/d1/volumes/v/sub",
                Err(format!("BASE/srv/d1/volumes/v/sub lies in BASE/srv/d1, {inside}")),
            ),
            ("srv/d1/new", Err(format!("BASE/srv/d1/new lies in BASE/srv/d1, {inside}"))),
            ("out/link", Err(format!("BASE/out/link lies in BASE/srv/d1, {inside}"))),
            ("srv", Err(format!("BASE/srv holds BASE/srv/d1, {inside}"))),
            ("one", Err(format!("BASE/one holds BASE/one/disk, {inside}"))),
            ("free", Ok(())),
            ("srv/d3", Ok(())),
        ] {
            let wanted_disk = Declaration { name: "d".to_owned(), ..declared(&base.join(name)) };
            let shown = |text: &str| text.replace(base.to_str().unwrap(), "BASE");
            let tried = mine.try_add(&wanted_disk).map(drop);
            assert_eq!(tried.map_err(|refused| shown(&refused.message)), wanted, "{name}");
            if let Err(wanted) = wanted {
                let added = mine.add(&wanted_disk).map(drop);
                assert_eq!(added.map_err(|refused| shown(&refused.message)), Err(wanted.clone()));
                let configured = Disks::open(&base.join("two"), &[wanted_disk], owner(2), &[]);
                let DiskHealth::Faulty(found) = &configured.report()[1].health else {
                    panic!("{name} was taken")
                };
                assert!(shown(found).starts_with(&wanted), "{name}: {found}");
                assert!(!base.join(name).join(".meta").exists(), "{name} was written to");
            }
        }
    }
}
