//! What this machine has for disks, and how to declare one. It looks at the machine itself and asks no cluster.

use crate::args::{DiskAdd, DiskScan};
use crate::failure::Failure;
use crate::output::{self, Cell, Row};
use berth_agent::disk::DriverChoice;
use berth_agent::disk::scan::{self, Found, Identity};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::check_name;
use berth_model::units::Bytes;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A disk of Berth that was found.
#[derive(Debug, Serialize)]
struct DiskFound {
    root: String,
    name: Option<String>,
    disk_id: Option<String>,
    agent_id: Option<String>,
    cluster_id: Option<String>,
    /// Why its marker could not be read.
    problem: Option<String>,
}

impl DiskFound {
    fn new(identity: &Identity) -> Self {
        let root = identity.root.display().to_string();
        match &identity.marker {
            Ok(owned) => Self {
                root,
                name: Some(owned.name.clone()),
                disk_id: Some(owned.disk.to_string()),
                agent_id: Some(owned.agent.to_string()),
                cluster_id: owned.cluster.map(|cluster| cluster.to_string()),
                problem: None,
            },
            Err(problem) => Self {
                root,
                name: None,
                disk_id: None,
                agent_id: None,
                cluster_id: None,
                problem: Some(problem.clone()),
            },
        }
    }
    fn words(&self) -> String {
        let short = |id: &Option<String>| {
            id.as_deref().unwrap_or_default().chars().take(8).collect::<String>()
        };
        match (&self.problem, &self.cluster_id) {
            (Some(problem), _) => format!("{}: {problem}", self.root),
            (None, Some(_)) => format!(
                "{} of agent {}, cluster {}",
                self.root,
                short(&self.agent_id),
                short(&self.cluster_id)
            ),
            (None, None) => format!("{} of agent {}, no cluster", self.root, short(&self.agent_id)),
        }
    }
}

/// A file system or block device.
#[derive(Debug, Serialize)]
struct ScanRow {
    device: String,
    media: String,
    size_bytes: u64,
    free_bytes: Option<u64>,
    file_system: Option<String>,
    mounted: Vec<String>,
    read_only: bool,
    held_by: Vec<String>,
    disks: Vec<DiskFound>,
    /// What it can be used for now.
    advice: String,
}

impl From<&Found> for ScanRow {
    fn from(found: &Found) -> Self {
        Self {
            device: found.device.clone(),
            media: found.media.as_str().to_owned(),
            size_bytes: found.size,
            free_bytes: found.free,
            file_system: found.file_system.clone(),
            mounted: found.mounted.clone(),
            read_only: found.read_only,
            held_by: found.holders.clone(),
            disks: found.disks.iter().map(DiskFound::new).collect(),
            advice: advice(found),
        }
    }
}

fn advice(found: &Found) -> String {
    match (found.mounted.first(), found.holders.first(), found.file_system.as_deref()) {
        (Some(_), _, _) if found.read_only => "mounted read-only".to_owned(),
        (Some(_), _, _) if !found.disks.is_empty() => {
            "in use as a disk: another one here shares its room, so give each a --size".to_owned()
        },
        (Some(point), _, _) => {
            let point = Path::new(point).join("berth");
            format!(
                "make a directory, then berth disk add {0} (--agent AGENT --path {0} adds it at once)",
                point.display()
            )
        },
        (None, Some(holder), _) => format!("part of {holder}"),
        (None, None, Some(kind @ ("xfs" | "ext4" | "btrfs"))) => {
            format!("{kind}, not mounted: mount it first")
        },
        (None, None, Some(kind)) => format!("carries {kind}"),
        (None, None, None) => "no known file system: make one and mount it".to_owned(),
    }
}

impl Row for ScanRow {
    const COLUMNS: &'static [&'static str] =
        &["DEVICE", "MEDIA", "SIZE", "FREE", "FS", "MOUNTED", "DISKS OF BERTH", "ADVICE"];
    const NARROW: usize = 7;
    fn cells(&self) -> Vec<Cell> {
        let mounted = match self.mounted.as_slice() {
            [] => "-".to_owned(),
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        let disks: Vec<String> = self.disks.iter().map(DiskFound::words).collect();
        vec![
            Cell::text(&self.device),
            Cell::text(&self.media),
            Cell::text(Bytes::new(self.size_bytes)),
            Cell::maybe(self.free_bytes.map(Bytes::new)),
            Cell::maybe(self.file_system.as_ref()),
            Cell::Text(mounted),
            Cell::text(if disks.is_empty() { "-".to_owned() } else { disks.join("; ") }),
            Cell::text(&self.advice),
        ]
    }
    fn name(&self) -> String {
        self.device.clone()
    }
}

pub(super) fn scan(args: &DiskScan) -> Result<(), Failure> {
    if let Some((given, error)) = args
        .directories
        .iter()
        .find_map(|directory| std::fs::read_dir(directory).err().map(|error| (directory, error)))
    {
        let text = format!("directory {} cannot be looked at: {error}", given.display());
        let refused = Rejection::new(ErrorCode::InvalidArgument, text).field("directories");
        return Err(Failure::from(refused.remedy(
            "name directories of this machine; without any, all file systems are listed",
        )));
    }
    let found = scan::scan(&args.directories)
        .map_err(|error| Failure::local(format!("read the mount table: {error}")))?;
    let rows: Vec<ScanRow> = found.iter().map(ScanRow::from).collect();
    output::list(&rows, &args.show)
}

/// Checks the directory and says how it becomes a disk of the agent's configuration. Nothing is added here.
pub(super) fn add(args: &DiskAdd) -> Result<(), Failure> {
    args.driver.parse::<DriverChoice>().map_err(Failure::from)?;
    let given = args.root.clone().unwrap_or_default();
    let root = std::fs::canonicalize(&given).map_err(|error| {
        let message = format!("directory {} cannot be used: {error}", given.display());
        let refused = Rejection::new(ErrorCode::InvalidArgument, message).field("root");
        Failure::from(refused.remedy("make the directory, on the disk that is meant"))
    })?;
    let name = name_of(args, &root)?;
    let flag = flag(args, &root, &name)?;
    let found = scan::scan(std::slice::from_ref(&root)).unwrap_or_default();
    for line in facts(&root, &found)? {
        output::note(&line);
    }
    output::note(
        "nothing was added. An agent that runs takes it with --agent; to configure it, give the agent this flag beside",
    );
    output::note(
        "those it has, or the table to its file, and restart it; its tasks and volumes go on meanwhile:",
    );
    output::line(&format!("--disk {flag}"))?;
    output::note("");
    output::note(&table(args, &root, &name));
    Ok(())
}

fn name_of(args: &DiskAdd, root: &Path) -> Result<String, Failure> {
    let last = root.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = args.name.clone().or(last).unwrap_or_default();
    check_name("disk name", &name).map_err(|e| {
        let refused = Rejection::new(ErrorCode::InvalidId, e.to_string()).field("name");
        Failure::from(refused.remedy("give a name with --name"))
    })?;
    Ok(name)
}

fn flag(args: &DiskAdd, root: &Path, name: &str) -> Result<String, Failure> {
    let shown = root.display().to_string();
    if shown.contains(',') || name.contains(',') {
        return Err(Failure::usage(
            format!("{shown} or {name} holds a comma, which a --disk flag cannot carry"),
            "choose another directory or name, or write the table into the agent's file",
        ));
    }
    let mut flag = format!("root={shown},name={name}");
    if args.driver != "auto" {
        flag.push_str(&format!(",driver={}", args.driver));
    }
    if let Some(size) = args.size {
        flag.push_str(&format!(",size={}B", size.get()));
    }
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '=' | ',' | ':');
    if flag.chars().all(is_plain) {
        Ok(flag)
    } else {
        Ok(format!("'{}'", flag.replace('\'', "'\\''")))
    }
}

fn table(args: &DiskAdd, root: &Path, name: &str) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut table = format!(
        "[[disks]]\nroot = {}\nname = {}",
        quoted(&root.display().to_string()),
        quoted(name)
    );
    if args.driver != "auto" {
        table.push_str(&format!("\ndriver = {}", quoted(&args.driver)));
    }
    if let Some(size) = args.size {
        table.push_str(&format!("\nsize = \"{}B\"", size.get()));
    }
    table
}

/// What speaks for and against the directory.
fn facts(root: &Path, found: &[Found]) -> Result<Vec<String>, Failure> {
    let mut facts = Vec::new();
    let shown = root.display();
    if !root.is_dir() {
        return Err(Failure::usage(format!("{shown} is not a directory"), "give a directory"));
    }
    let longest = |found: &Found| {
        let points = found.mounted.iter().filter(|point| root.starts_with(point));
        points.map(String::len).max()
    };
    let within = root.ancestors().skip(1).find(|above| scan::identity(above).is_some());
    if let Some(above) = within {
        let message = format!("{shown} lies within the disk at {}", above.display());
        let refused = Rejection::new(ErrorCode::InvalidArgument, message).field("root");
        return Err(Failure::from(refused.remedy("choose a directory outside of every disk")));
    }
    match found.iter().filter_map(|f| Some((longest(f)?, f))).max_by_key(|(length, _)| *length) {
        Some((_, place)) => {
            let kind = place.file_system.as_deref().unwrap_or("an unknown file system");
            let free = Bytes::new(place.free.unwrap_or_default());
            facts.push(format!(
                "{shown} lies on {} ({kind}, {}), {free} free",
                place.device,
                place.media.as_str()
            ));
            if place.read_only {
                let refused = Rejection::new(
                    ErrorCode::DiskReadOnly,
                    format!("{} is mounted read-only", place.device),
                );
                return Err(Failure::from(refused.remedy("remount it writable first")));
            }
            if place.mounted.iter().any(|point| point == "/") {
                facts.push("note: it shares its file system with the system itself".to_owned());
            }
        },
        None => facts.push(format!(
            "note: {shown} lies on no block device, so it may not outlive a restart"
        )),
    }
    let entries = std::fs::read_dir(root)
        .map(|entries| entries.flatten().map(|e| e.path()).collect::<Vec<PathBuf>>());
    match (scan::identity(root), entries) {
        (Some(identity), _) => match &identity.marker {
            Ok(owned) => facts.push(format!(
                "it is disk {} ({}) already; only agent {} can use it",
                owned.disk, owned.name, owned.agent
            )),
            Err(problem) => {
                let refused = Rejection::new(
                    ErrorCode::DiskFaulty,
                    format!("{shown} carries a disk, but {problem}"),
                );
                return Err(Failure::from(
                    refused.remedy("run the command as root, or restore .meta from a backup"),
                ));
            },
        },
        (None, Ok(entries)) if !entries.is_empty() => {
            facts.push(format!(
                "note: it holds {} entries, which are left alone and are no volumes",
                entries.len()
            ));
        },
        (None, Ok(_)) => facts.push("it is empty; the agent makes it a disk".to_owned()),
        (None, Err(error)) => facts.push(format!("note: it cannot be listed here ({error})")),
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command, Disk};
    use clap::Parser;

    #[test]
    fn the_flag_is_the_one_an_agent_reads() {
        let args = |name: Option<&str>, driver: &str, size: Option<Bytes>| {
            let size = size.map(|size| format!("--size={}B", size.get()));
            let all = ["berth", "disk", "add", "/srv/d1", "--driver", driver].map(str::to_owned);
            let name = name.map(|name| format!("--name={name}"));
            let parsed = Cli::try_parse_from(all.into_iter().chain(name).chain(size)).unwrap();
            match parsed.command {
                Command::Disk(Disk::Add(args)) => args,
                other => panic!("{other:?}"),
            }
        };
        let root = Path::new("/srv/d1");
        let written = |args: &DiskAdd, root: &Path| {
            let name = name_of(args, root).unwrap();
            (flag(args, root, &name).unwrap(), table(args, root, &name))
        };
        for (args, root, wanted, in_file) in [
            (
                args(None, "auto", None),
                root,
                "root=/srv/d1,name=d1",
                "[[disks]]\nroot = \"/srv/d1\"\nname = \"d1\"",
            ),
            (
                args(Some("fast"), "btrfs", Some(Bytes::from_mib(1024))),
                root,
                "root=/srv/d1,name=fast,driver=btrfs,size=1073741824B",
                "[[disks]]\nroot = \"/srv/d1\"\nname = \"fast\"\ndriver = \"btrfs\"\nsize = \"1073741824B\"",
            ),
            (
                args(None, "auto", None),
                Path::new("/srv/my disk"),
                "'root=/srv/my disk,name=my disk'",
                "[[disks]]\nroot = \"/srv/my disk\"\nname = \"my disk\"",
            ),
        ] {
            assert_eq!(written(&args, root), (wanted.to_owned(), in_file.to_owned()));
            // The agent's own reader takes the flag.
            let flags = berth_agent::config::Flags {
                master: Some("m:1".to_owned()),
                work_dir: Some("/w".into()),
                disks: vec![wanted.trim_matches('\'').to_owned()],
                ..Default::default()
            };
            berth_agent::config::AgentConfig::load(None, flags).unwrap();
        }
        let refused = flag(&args(None, "auto", None), Path::new("/a,b"), "x").unwrap_err();
        assert_eq!(
            refused.error.message,
            "/a,b or x holds a comma, which a --disk flag cannot carry"
        );
        let refused = name_of(&args(None, "auto", None), Path::new("/")).unwrap_err();
        assert_eq!(refused.error.message, "disk name is empty: give 1 to 255 bytes");
    }
}
