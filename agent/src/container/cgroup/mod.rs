//! The control groups of a container: cpu and memory limits, and a group that is killed as a whole.
//!
//! It speaks v1 and v2 and uses what is mounted; it knows nothing of tasks. Only groups below `berth` in the
//! agent's own group (v2: or in the root, where the own group may not have children with controllers) are ever
//! made, changed or removed.

mod freezer;
mod running;

pub use freezer::{freezable, freeze, is_frozen, thaw};
pub use running::{join, kill_all, memory_kills, remove};

use rustix::fs::Access;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Which interface files a group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// v1, cpu controller.
    Cpu,
    /// v1, memory controller.
    Memory,
    /// v2, with whatever controllers are delegated.
    Unified,
}

/// A group of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its directory.
    pub path: PathBuf,
    /// Its interface.
    pub kind: Kind,
}

/// What a container may use at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Thousandths of a processor; zero sets no limit.
    pub cpu_milli: u64,
    /// Bytes of memory; zero sets no limit.
    pub memory_bytes: u64,
}

/// Where groups are made on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    cpu: Option<PathBuf>,
    memory: Option<PathBuf>,
    /// Candidates for the parent of `berth`, the first that can be used is taken.
    unified: Vec<PathBuf>,
    unified_cpu: bool,
    unified_memory: bool,
}

impl Hierarchies {
    /// What is mounted here.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn detect() -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let mut found = Self::parse(&mounts, &own);
        // A mount that is read-only, as in many outer containers, counts as absent.
        let usable =
            |path: &Path| rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok();
        found.cpu = found.cpu.filter(|path| usable(path) && path.join("cpu.shares").exists());
        found.memory =
            found.memory.filter(|path| usable(path) && path.join("memory.limit_in_bytes").exists());
        found.unified.retain(|path| usable(path) && path.join("cgroup.procs").exists());
        let controllers = found
            .unified
            .last()
            .and_then(|root| fs::read_to_string(root.join("cgroup.controllers")).ok())
            .unwrap_or_default();
        let has = |name: &str| controllers.split_whitespace().any(|have| have == name);
        found.unified_cpu = found.cpu.is_none() && has("cpu");
        found.unified_memory = found.memory.is_none() && has("memory");
        if !found.wanted().is_empty() && found.delegate().is_none() {
            found.unified_cpu = false;
            found.unified_memory = false;
        }
        Ok(found)
    }

    /// From the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`.
    fn parse(mounts: &str, own: &str) -> Self {
        let mut found = Self::default();
        let own_group = |wanted: &str| {
            own.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':');
                let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
                let fits = match wanted {
                    "" => controllers.is_empty(),
                    name => controllers.split(',').any(|have| have == name),
                };
                fits.then(|| path.to_owned())
            })
        };
        for line in mounts.lines() {
            let Some((place, kind)) = line.split_once(" - ") else { continue };
            let place: Vec<&str> = place.split(' ').collect();
            let kind: Vec<&str> = kind.split(' ').collect();
            let (Some(root), Some(point)) = (place.get(3), place.get(4)) else { continue };
            let (root, point) = (unescape(root), PathBuf::from(unescape(point)));
            let below =
                |own: Option<String>| match own.as_deref().unwrap_or("/").strip_prefix(&root) {
                    Some(rest) => point.join(rest.trim_start_matches('/')),
                    None => point.clone(),
                };
            let options = kind.get(2).copied().unwrap_or_default();
            let has = |name: &str| options.split(',').any(|have| have == name);
            match kind.first().copied() {
                Some("cgroup") if has("cpu") => found.cpu = Some(below(own_group("cpu"))),
                Some("cgroup") if has("memory") => found.memory = Some(below(own_group("memory"))),
                Some("cgroup2") if found.unified.is_empty() => {
                    let own = below(own_group(""));
                    found.unified = if own == point { vec![own] } else { vec![own, point] };
                },
                _ => {},
            }
        }
        found
    }

    /// What cannot be limited here, and why.
    #[must_use]
    pub fn limitations(&self) -> Vec<String> {
        let mut said = Vec::new();
        if self.cpu.is_none() && !self.unified_cpu {
            said.push(
                "cpu is not limited: no cgroup controller for cpu is mounted or delegated"
                    .to_owned(),
            );
        }
        if self.memory.is_none() && !self.unified_memory {
            said.push(
                "memory is not limited: no cgroup controller for memory is mounted or delegated"
                    .to_owned(),
            );
        }
        said
    }

    /// Makes the groups of a container and sets its limits; groups that are there already are kept.
    ///
    /// # Errors
    /// A group could not be made or a limit not be set; what was made is removed.
    pub fn create(&self, name: &str, limits: Limits) -> io::Result<Vec<Group>> {
        let mut groups = Vec::new();
        let made = self.create_each(name, limits, &mut groups);
        match made {
            Ok(()) => Ok(groups),
            Err(error) => {
                for group in &groups {
                    remove(group).map_err(|e| e.kind()).ok();
                }
                Err(error)
            },
        }
    }

    fn create_each(&self, name: &str, limits: Limits, groups: &mut Vec<Group>) -> io::Result<()> {
        for (parent, kind) in [(&self.cpu, Kind::Cpu), (&self.memory, Kind::Memory)] {
            if let Some(parent) = parent {
                groups.push(make(parent, name, kind)?);
            }
        }
        if let Some(parent) = self.delegate() {
            groups.push(make(parent, name, Kind::Unified)?);
        }
        for group in groups.iter() {
            match group.kind {
                Kind::Cpu => limit_cpu(&group.path, limits.cpu_milli)?,
                Kind::Memory => limit_memory(&group.path, limits.memory_bytes)?,
                Kind::Unified => self.limit_unified(&group.path, limits)?,
            }
        }
        Ok(())
    }

    /// The controllers to be had from v2, as `cgroup.subtree_control` takes them.
    fn wanted(&self) -> String {
        match (self.unified_cpu, self.unified_memory) {
            (true, true) => "+cpu +memory",
            (true, false) => "+cpu",
            (false, true) => "+memory",
            (false, false) => "",
        }
        .to_owned()
    }

    /// The first v2 parent that can pass the wanted controllers on to `berth` and below.
    fn delegate(&self) -> Option<&PathBuf> {
        let wanted = self.wanted();
        if wanted.is_empty() {
            return self.unified.first();
        }
        self.unified.iter().find(|parent| {
            write(&parent.join("cgroup.subtree_control"), &wanted).is_ok()
                && make_folder(&parent.join("berth")).is_ok()
                && write(&parent.join("berth/cgroup.subtree_control"), &wanted).is_ok()
        })
    }

    fn limit_unified(&self, path: &Path, limits: Limits) -> io::Result<()> {
        if self.unified_cpu && limits.cpu_milli > 0 {
            let weight = 1 + (shares(limits.cpu_milli) - 2) * 9999 / 262_142;
            write(&path.join("cpu.weight"), &weight.to_string())?;
            write(&path.join("cpu.max"), &format!("{} {PERIOD_US}", quota(limits.cpu_milli)))?;
        }
        if self.unified_memory && limits.memory_bytes > 0 {
            write(&path.join("memory.max"), &limits.memory_bytes.to_string())?;
            // One victim is as bad as all: a database without one of its processes is not a database.
            write(&path.join("memory.oom.group"), "1")?;
        }
        Ok(())
    }
}

const PERIOD_US: u64 = 100_000;

fn shares(milli: u64) -> u64 {
    (milli.saturating_mul(1024) / 1000).clamp(2, 262_144)
}

fn quota(milli: u64) -> u64 {
    (milli.saturating_mul(PERIOD_US) / 1000).max(1000)
}

fn limit_cpu(path: &Path, milli: u64) -> io::Result<()> {
    if milli == 0 {
        return Ok(());
    }
    write(&path.join("cpu.shares"), &shares(milli).to_string())?;
    let quota_file = path.join("cpu.cfs_quota_us");
    if quota_file.exists() {
        write(&path.join("cpu.cfs_period_us"), &PERIOD_US.to_string())?;
        write(&quota_file, &quota(milli).to_string())?;
    }
    Ok(())
}

fn limit_memory(path: &Path, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    write(&path.join("memory.limit_in_bytes"), &bytes.to_string())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    // Without O_CREAT: a file that is not there is no interface file.
    let mut file = fs::OpenOptions::new().write(true).open(path).map_err(|e| at(path, &e))?;
    io::Write::write_all(&mut file, text.as_bytes()).map_err(|e| at(path, &e))
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn make_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(at(path, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn make(parent: &Path, name: &str, kind: Kind) -> io::Result<Group> {
    let berth = parent.join("berth");
    let path = berth.join(name);
    // The last container of another agent may just be taking `berth` away.
    for _ in 0..100 {
        make_folder(&berth)?;
        match make_folder(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {},
            Err(error) => return Err(error),
            Ok(()) => return Ok(Group { path, kind }),
        }
    }
    Err(io::Error::other(format!("{}: taken away again and again", berth.display())))
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once('\\') {
        plain.push_str(head);
        let code = tail.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                rest = tail.get(3..).unwrap_or_default();
            },
            None => {
                plain.push('\\');
                rest = tail;
            },
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found_in_the_mount_table() {
        let mounts = "\
26 20 0:22 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
27 20 0:23 /outer /sys/fs/cgroup/my\\040memory rw - cgroup cgroup rw,memory
28 20 0:24 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
29 20 0:25 / /tmp rw - tmpfs tmpfs rw";
        let own = "5:cpu,cpuacct:/a\n4:memory:/outer/b\n0::/system.slice/x";
        assert_eq!(
            Hierarchies::parse(mounts, own),
            Hierarchies {
                cpu: Some("/sys/fs/cgroup/cpu,cpuacct/a".into()),
                memory: Some("/sys/fs/cgroup/my memory/b".into()),
                unified: vec![
                    "/sys/fs/cgroup/unified/system.slice/x".into(),
                    "/sys/fs/cgroup/unified".into()
                ],
                unified_cpu: false,
                unified_memory: false,
            }
        );
        assert_eq!(Hierarchies::parse("", ""), Hierarchies::default());
        assert_eq!(
            Hierarchies::default().limitations(),
            [
                "cpu is not limited: no cgroup controller for cpu is mounted or delegated",
                "memory is not limited: no cgroup controller for memory is mounted or delegated"
            ]
        );
    }

    #[test]
    fn version_two_is_given_weight_quota_and_one_fate_for_all() {
        // Plain files stand for the interface files, which exist before anything is written to them.
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("berth/c1");
        fs::create_dir_all(&group).unwrap();
        let mut files: Vec<PathBuf> = ["cpu.weight", "cpu.max", "memory.max", "memory.oom.group"]
            .map(|name| group.join(name))
            .into();
        files.push(root.path().join("cgroup.subtree_control"));
        files.push(root.path().join("berth/cgroup.subtree_control"));
        for file in &files {
            fs::write(file, "").unwrap();
        }
        let closed = root.path().join("closed");
        let hierarchies = Hierarchies {
            unified: vec![closed, root.path().to_owned()],
            unified_cpu: true,
            unified_memory: true,
            ..Hierarchies::default()
        };
        assert_eq!(hierarchies.limitations(), Vec::<String>::new());
        let limits = Limits { cpu_milli: 1_500, memory_bytes: 1 << 30 };
        let groups = hierarchies.create("c1", limits).unwrap();
        assert_eq!(groups, [Group { path: group, kind: Kind::Unified }]);
        let texts: Vec<String> = files.iter().map(|f| fs::read_to_string(f).unwrap()).collect();
        assert_eq!(
            texts,
            ["59", "150000 100000", "1073741824", "1", "+cpu +memory", "+cpu +memory"]
        );
        fs::write(groups[0].path.join("memory.events"), "low 0\nmax 7\noom_kill 2\n").unwrap();
        assert_eq!(memory_kills(&groups), 2);
    }

    #[test]
    fn shares_and_quota_follow_the_processors() {
        let figures = [1, 500, 1_000, 2_000].map(|milli| (shares(milli), quota(milli)));
        assert_eq!(figures, [(2, 1_000), (512, 50_000), (1_024, 100_000), (2_048, 200_000)]);
    }
}
