//! Which processes have something of a tree open: as a file, as a directory they are in, or mapped into memory.
//!
//! It compares devices and inodes, so names, links and mount namespaces play no part. What another machine has open of a
//! network file system nobody can tell.

use super::survey::Key;
use berth_model::transfer::OpenBy;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Processes that have one of these open, one line each; those that may write first.
pub(super) fn find(keys: &BTreeSet<Key>) -> Vec<OpenBy> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let own = std::process::id();
    let mut found: Vec<OpenBy> = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| *pid != own)
        .filter_map(|pid| of_process(pid, keys))
        .collect();
    found.sort_by_key(|who| (!who.writes, who.pid));
    found
}

fn of_process(pid: u32, keys: &BTreeSet<Key>) -> Option<OpenBy> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let mut found: Option<(PathBuf, bool)> = None;
    let mut see = |link: &Path, writes: bool| {
        if is_one_of(link, keys) && found.as_ref().is_none_or(|(_path, known)| writes && !known) {
            found = Some((fs::read_link(link).unwrap_or_default(), writes));
        }
    };
    see(&folder.join("cwd"), false);
    see(&folder.join("root"), false);
    for place in ["fd", "map_files"] {
        let links = fs::read_dir(folder.join(place)).into_iter().flatten().flatten();
        for link in links {
            let path = link.path();
            // The link's own permissions say how the file was opened.
            let mode = link.metadata().map_or(0, |link| link.permissions().mode());
            see(&path, mode & 0o200 != 0);
        }
    }
    let (path, writes) = found?;
    let command = fs::read_to_string(folder.join("comm")).unwrap_or_default();
    let (command, path) = (command.trim().to_owned(), path.display().to_string());
    Some(OpenBy { pid, command, path, writes })
}

fn is_one_of(link: &Path, keys: &BTreeSet<Key>) -> bool {
    let Ok(found) = fs::metadata(link) else { return false };
    let device = (rustix::fs::major(found.dev()), rustix::fs::minor(found.dev()));
    keys.contains(&(device, found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn who_writes_is_told_first_and_who_is_elsewhere_is_not_told() {
        let base = tempfile::tempdir().unwrap();
        let (open, other) = (base.path().join("open"), base.path().join("other"));
        fs::write(&open, "").unwrap();
        fs::write(&other, "").unwrap();
        let key = |path: &Path| {
            let found = fs::metadata(path).unwrap();
            ((rustix::fs::major(found.dev()), rustix::fs::minor(found.dev())), found.ino())
        };
        let mut reader = Command::new("sleep");
        reader.arg("60").stdin(fs::File::open(&open).unwrap()).stdout(Stdio::null());
        let mut reader = reader.spawn().unwrap();
        let mut writer = Command::new("sleep");
        let file = fs::File::options().write(true).open(&open).unwrap();
        writer.arg("60").stdin(Stdio::null()).stdout(file);
        let mut writer = writer.spawn().unwrap();
        let found = find(&BTreeSet::from([key(&open)]));
        let nobody = find(&BTreeSet::from([key(&other)]));
        for child in [&mut reader, &mut writer] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let told: Vec<_> = found.iter().map(|who| (who.pid, who.writes, &*who.path)).collect();
        let path = open.to_str().unwrap();
        assert_eq!(told, [(writer.id(), true, path), (reader.id(), false, path)]);
        assert_eq!(found[0].command, "sleep");
        assert_eq!(nobody, []);
    }
}
