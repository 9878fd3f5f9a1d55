//! Where an agent keeps its keys, and whether what is there is really that.
//!
//! The directory may lie on a medium that is not always there, and what is mounted nowhere looks like an empty directory: a
//! key that is made there would lie with the disks, and one that is to be destroyed would seem to be gone. So the first key
//! brings a file with the agent's id into the directory, and one into the work directory that says so. From then on a
//! directory without that file is not the agent's.

use crate::disk::fs::{self, FileSystem, Node};
use crate::disk::marker;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::AgentId;
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// In the directory of keys: whose they are.
const OWNER: &str = "agent";
const OWNER_KIND: &str = "berth-keys";
/// In the work directory: that there is such a file, and where it was made.
const USED: &str = "keys-are-in";
const USED_KIND: &str = "berth-keys-are-in";

/// The directory of keys.
#[derive(Debug)]
pub(super) struct KeyPlace {
    path: PathBuf,
    /// Nothing of a file system that tests make.
    owner: Option<Owner>,
}

#[derive(Debug)]
struct Owner {
    agent: AgentId,
    work_dir: PathBuf,
}

impl KeyPlace {
    /// Nobody's: taken as it is.
    pub(super) const fn anybodys(path: PathBuf) -> Self {
        Self { path, owner: None }
    }

    /// Of this agent with this work directory.
    pub(super) const fn of(agent: AgentId, work_dir: PathBuf, path: PathBuf) -> Self {
        Self { path, owner: Some(Owner { agent, work_dir }) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory, if it is the one; nothing where none is and no key was ever made.
    ///
    /// # Errors
    /// It is not there, others may read it, or it is another one.
    pub(super) fn open(&self, files: &dyn FileSystem) -> Result<Option<Node>, Rejection> {
        let at = |what: &str| format!("the directory of keys {} {what}", self.path.display());
        let opened = fs::open(files, &self.path);
        let Some(owner) = &self.owner else {
            let failed = |errno| unusable(at(&format!("cannot be opened: {errno}")));
            return opened.map(Some).map_err(failed);
        };
        let node = match opened {
            Ok(node) => node,
            Err(Errno::NOENT) if !owner.has_keys(files)? => return Ok(None),
            Err(errno) => return Err(unusable(at(&format!("cannot be opened: {errno}")))),
        };
        refuse_open(&node).map_err(|why| {
            unusable(at(&why)).remedy("give it to the agent's user alone: chown it, chmod 700 it")
        })?;
        match owner.named_in(&node).map_err(|why| unusable(at(&why)))? {
            Some(agent) if agent == owner.agent => Ok(Some(node)),
            Some(agent) => Err(unusable(at(&format!("holds the keys of agent {agent}"))).remedy(
                "each agent needs a directory of its own: name another one with --key-dir",
            )),
            None if owner.has_keys(files)? => Err(unusable(at(&format!(
                "is not the one with this agent's keys: the file {OWNER} is missing in it"
            )))
            .remedy(
                "mount the medium with the keys there, or put the directory back from your copy",
            )),
            None => Ok(Some(node)),
        }
    }

    /// Makes the directory this agent's, durable, before the first key.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn establish(&self, files: &dyn FileSystem, node: &Node) -> Result<(), Rejection> {
        let Some(owner) = &self.owner else { return Ok(()) };
        let failed = |place: &Path| {
            let place = place.display().to_string();
            move |errno| unusable(format!("marking {place} failed: {errno}"))
        };
        if owner.named_in(node).map_err(unusable)?.is_none() {
            let text = marker::encode(OWNER_KIND, &[("agent", owner.agent.to_string())]);
            marker::write(node, OWNER, &text).map_err(failed(&self.path))?;
        }
        if !owner.has_keys(files)? {
            let work = fs::open(files, &owner.work_dir).map_err(failed(&owner.work_dir))?;
            let path = self.path.display().to_string();
            let text = marker::encode(USED_KIND, &[("path", path.replace('\n', " "))]);
            marker::write(&work, USED, &text).map_err(failed(&owner.work_dir))?;
        }
        Ok(())
    }
}

impl Owner {
    /// Was a key ever made?
    fn has_keys(&self, files: &dyn FileSystem) -> Result<bool, Rejection> {
        fs::open(files, &self.work_dir).and_then(|work| work.exists(USED)).map_err(|errno| {
            let place = self.work_dir.display();
            unusable(format!("the agent's work directory {place} cannot be looked at: {errno}"))
        })
    }

    /// Whose keys they are, as the directory says.
    fn named_in(&self, node: &Node) -> Result<Option<AgentId>, String> {
        let damaged = |why: &dyn std::fmt::Display| format!("has a damaged file {OWNER}: {why}");
        let Some(fields) = marker::read(node, OWNER, OWNER_KIND).map_err(|e| damaged(&e))? else {
            return Ok(None);
        };
        marker::value(&fields, "agent").map(Some).map_err(|e| damaged(&e))
    }
}

/// Only the agent's user may get at keys.
fn refuse_open(node: &Node) -> Result<(), String> {
    let stat = node.descriptor().and_then(rustix::fs::fstat);
    let stat = stat.map_err(|errno| format!("cannot be looked at: {errno}"))?;
    let (user, mode) = (rustix::process::geteuid().as_raw(), stat.st_mode & 0o7777);
    if stat.st_uid != user {
        return Err(format!("belongs to user {}, not to user {user}", stat.st_uid));
    }
    if mode & 0o077 != 0 {
        return Err(format!("is open to others (mode {mode:o})"));
    }
    Ok(())
}

fn unusable(text: String) -> Rejection {
    Rejection::new(ErrorCode::VolumeUnavailable, text)
        .remedy("mount or repair it; until then no encrypted volume is made, mounted or purged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::keys::Keys;
    use berth_model::id::VolumeId;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    const AGENT: AgentId = AgentId::from_u128(7);
    const VOLUME: VolumeId = VolumeId::from_u128(1);

    fn keys(agent: AgentId, base: &Path) -> Keys {
        Keys::of_agent(agent, base, base.join("medium"))
    }

    fn medium(base: &Path, mode: u32) {
        fs::create_dir(base.join("medium")).unwrap();
        fs::set_permissions(base.join("medium"), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn without_the_medium_no_key_is_made_and_none_counts_as_destroyed() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        let own = keys(AGENT, base);
        // Nothing was ever made: there is nothing to destroy, and nowhere to make one.
        own.destroy(VOLUME).unwrap();
        assert!(own.check().unwrap_err().message.contains("medium"), "{:?}", own.check());
        medium(base, 0o700);
        own.check().unwrap();
        let key = own.make(VOLUME).unwrap();
        assert_eq!(own.make(VOLUME).unwrap().bytes(), key.bytes(), "a key is never replaced");

        fs::rename(base.join("medium"), base.join("away")).unwrap();
        let absent = |text: &str| {
            for refused in [
                own.make(VOLUME).map(drop).unwrap_err(),
                own.find(VOLUME).map(drop).unwrap_err(),
                own.destroy(VOLUME).unwrap_err(),
            ] {
                assert_eq!(refused.code, ErrorCode::VolumeUnavailable);
                assert!(refused.message.contains(text), "{refused}");
            }
        };
        absent("cannot be opened");
        // The mount point of what is mounted nowhere.
        medium(base, 0o700);
        absent("is not the one with this agent's keys: the file agent is missing in it");
        assert_eq!(fs::read_dir(base.join("medium")).unwrap().count(), 0, "nothing was written");

        fs::remove_dir(base.join("medium")).unwrap();
        fs::rename(base.join("away"), base.join("medium")).unwrap();
        assert_eq!(own.find(VOLUME).unwrap().bytes(), key.bytes());
        own.destroy(VOLUME).unwrap();
        assert!(!base.join("medium").join(VOLUME.to_string()).exists());
    }

    #[test]
    fn keys_are_nobody_elses() {
        let base = tempfile::tempdir().unwrap();
        medium(base.path(), 0o755);
        let own = keys(AGENT, base.path());
        let refused = own.make(VOLUME).map(drop).unwrap_err();
        assert!(refused.message.ends_with("is open to others (mode 755)"), "{refused}");
        fs::set_permissions(base.path().join("medium"), fs::Permissions::from_mode(0o700)).unwrap();
        own.make(VOLUME).unwrap();
        let other = keys(AgentId::from_u128(8), base.path());
        for refused in [other.find(VOLUME).map(drop), other.destroy(VOLUME)] {
            let refused = refused.unwrap_err();
            assert!(refused.message.contains("holds the keys of agent"), "{refused}");
        }
        own.find(VOLUME).unwrap();
    }
}
