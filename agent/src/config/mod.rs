//! What an operator may set, from a TOML file and from flags; flags win.
//!
//! It reads texts and knows no host: what is left out is found out when the agent starts. Invariant: every text of
//! an [`AgentConfig`] has been checked, and each error names the flag or key and the remedy.

mod disks;

use crate::disk::Declaration;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::resources::{Resources, parse_resources};
use berth_model::transfer::check_directory;
use berth_model::units::{Bytes, parse_duration};
use berth_model::wipe::Wipe;
use berth_proto::address::Address;
use disks::{DiskEntry, check_names, declaration, parse_disk};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where operators may add disks when nothing is said: where administrators of a machine mount things. Devices are not
/// below it, so raw ones are added only where somebody allowed it.
const DISK_ADD_BELOW: [&str; 3] = ["/srv", "/mnt", "/media"];

/// Checked settings of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// Where the master is.
    pub master: Address,
    /// Where ledger, sandboxes and the ROOT disk are kept.
    pub work_dir: PathBuf,
    /// The name shown for this machine; the machine's own when absent.
    pub hostname: Option<String>,
    /// Shown in offers.
    pub attributes: BTreeMap<String, String>,
    /// What the agent declares; whatever kind is not named is found out.
    pub resources: Resources,
    /// Disks besides ROOT, and perhaps settings of ROOT.
    pub disks: Vec<Declaration>,
    /// Operators may add disks to the running agent strictly below these directories, and nowhere else.
    pub disk_add_below: Vec<PathBuf>,
    /// How long a destroyed volume can be restored.
    pub trash_retention: Duration,
    /// How trash is wiped when nobody says how.
    pub purge_wipe: Wipe,
    /// How long the sandbox of an ended task is kept.
    pub sandbox_retention: Duration,
    /// Sandboxes go earlier while less than this share of their file system is free.
    pub sandbox_free_percent_min: u8,
    /// Size of one file of a task's output.
    pub log_limit: Bytes,
    /// Files per output, the one being written included.
    pub log_files: u32,
    /// Directories of the machine that may be imported into volumes, with all that is below them. The agent reads as root,
    /// so there is none unless it is said.
    pub import_from: Vec<PathBuf>,
    /// How long whoever sends or takes a volume as a stream may stand still before the stream is ended.
    pub transfer_idle: Duration,
    /// Where the keys of encrypted volumes are; below the work directory when absent.
    pub key_dir: Option<PathBuf>,
    /// The program whose hidden subcommands supervise containers: this one; only tests have another.
    pub program: PathBuf,
}

/// Enough for somebody who changes a tape, and not for long: others wait for the place.
const TRANSFER_IDLE: Duration = Duration::from_mins(1);

/// What was given on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--master`.
    pub master: Option<String>,
    /// `--work-dir`.
    pub work_dir: Option<PathBuf>,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--attribute`, each `key=value`.
    pub attributes: Vec<String>,
    /// `--resources`.
    pub resources: Option<String>,
    /// `--disk`, each `key=value,…`.
    pub disks: Vec<String>,
    /// `--import-from`, each a directory.
    pub import_from: Vec<PathBuf>,
    /// `--key-dir`.
    pub key_dir: Option<PathBuf>,
    /// `--disk-add-below`, each a directory, or `none` alone.
    pub disk_add_below: Vec<String>,
}

/// The file's form: every key may be left out, no other is allowed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    master: Option<String>,
    work_dir: Option<PathBuf>,
    hostname: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    resources: Option<String>,
    #[serde(default)]
    disks: Vec<DiskEntry>,
    disk_add_below: Option<Vec<String>>,
    trash_retention: Option<String>,
    purge_wipe: Option<String>,
    sandbox_retention: Option<String>,
    sandbox_free_percent_min: Option<u8>,
    log_limit: Option<String>,
    log_files: Option<u32>,
    #[serde(default)]
    import_from: Vec<PathBuf>,
    transfer_idle: Option<String>,
    key_dir: Option<PathBuf>,
}

fn refuse(key: &str, what: impl Into<String>) -> Rejection {
    Rejection::new(ErrorCode::InvalidArgument, what).field(key)
}

impl AgentConfig {
    /// Flags over file over defaults.
    ///
    /// # Errors
    /// The file cannot be read, or a value is wrong; the rejection names the flag or key.
    pub fn load(file: Option<&Path>, flags: Flags) -> Result<Self, Rejection> {
        let File {
            master,
            work_dir,
            hostname,
            mut attributes,
            resources,
            disks,
            disk_add_below,
            trash_retention,
            purge_wipe,
            sandbox_retention,
            sandbox_free_percent_min,
            log_limit,
            log_files,
            import_from,
            transfer_idle,
            key_dir,
        } = file.map(read).transpose()?.unwrap_or_default();
        let master = flags.master.or(master).ok_or_else(|| {
            refuse("--master", "no master is given").remedy("give --master HOST:PORT")
        })?;
        let work_dir = flags.work_dir.or(work_dir).ok_or_else(|| {
            refuse("--work-dir", "no work directory is given")
                .remedy("give --work-dir DIR: ledger, sandboxes and volumes are kept there")
        })?;
        for attribute in &flags.attributes {
            let (key, value) = attribute.split_once('=').ok_or_else(|| {
                refuse("--attribute", format!("{attribute:?} is not key=value"))
                    .remedy("write for example --attribute rack=r1")
            })?;
            attributes.insert(key.to_owned(), value.to_owned());
        }
        if attributes.keys().any(|key| key.trim().is_empty()) {
            return Err(refuse("--attribute", "an attribute has no name")
                .remedy("write for example --attribute rack=r1"));
        }
        let text = flags.resources.or(resources).unwrap_or_default();
        let resources = parse_resources(&text).map_err(|e| {
            Rejection::new(ErrorCode::InvalidResources, e.to_string()).field("--resources")
        })?;
        let mut declared = Vec::new();
        let given = flags.disks.iter().map(|text| parse_disk(text)).collect::<Result<Vec<_>, _>>();
        // Disks of the command line replace those of the file as a whole.
        let entries = if flags.disks.is_empty() { disks } else { given? };
        for entry in entries {
            declared.push(declaration(entry)?);
        }
        check_names(&declared)?;
        let below = match (flags.disk_add_below.as_slice(), disk_add_below) {
            ([], None) => DISK_ADD_BELOW.map(str::to_owned).to_vec(),
            ([], Some(of_file)) => of_file,
            ([none], _) if none == "none" => Vec::new(),
            (of_flags, _) => of_flags.to_vec(),
        };
        let log_files = log_files.unwrap_or(2);
        if log_files < 2 {
            return Err(refuse("log_files", "one file of output cannot be rotated")
                .remedy("give 2 or more"));
        }
        let percent = sandbox_free_percent_min.unwrap_or(5);
        if percent > 100 {
            return Err(refuse("sandbox_free_percent_min", format!("{percent} is above 100"))
                .remedy("give a share in percent, such as 5"));
        }
        Ok(Self {
            master: master.parse().map_err(|e: Rejection| e.field("--master"))?,
            work_dir,
            hostname: flags.hostname.or(hostname),
            attributes,
            resources,
            disks: declared,
            disk_add_below: plain_directories(below)?,
            trash_retention: span("trash_retention", trash_retention, Duration::from_hours(24))?,
            purge_wipe: wipe(purge_wipe)?,
            sandbox_retention: span(
                "sandbox_retention",
                sandbox_retention,
                Duration::from_hours(7 * 24),
            )?,
            sandbox_free_percent_min: percent,
            log_limit: log_size(log_limit)?,
            log_files,
            import_from: directories(import_from, flags.import_from)?,
            transfer_idle: span("transfer_idle", transfer_idle, TRANSFER_IDLE)?,
            key_dir: absolute("key_dir", flags.key_dir.or(key_dir))?,
            program: PathBuf::from("/proc/self/exe"),
        })
    }
}

fn absolute(key: &str, path: Option<PathBuf>) -> Result<Option<PathBuf>, Rejection> {
    match path {
        Some(path) if !path.is_absolute() => {
            Err(refuse(key, format!("{} is not absolute", path.display()))
                .remedy("write for example /etc/berth/keys"))
        },
        other => Ok(other),
    }
}

fn read(path: &Path) -> Result<File, Rejection> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        refuse("--config", format!("the configuration {} cannot be read: {e}", path.display()))
    })?;
    toml::from_str(&text)
        .map_err(|e| refuse("--config", format!("configuration {}: {e}", path.display())))
}

fn span(key: &str, text: Option<String>, usual: Duration) -> Result<Duration, Rejection> {
    text.map_or(Ok(usual), |text| parse_duration(&text).map_err(|e| refuse(key, e.to_string())))
}

/// The directories of the command line replace those of the file.
fn directories(file: Vec<PathBuf>, flags: Vec<PathBuf>) -> Result<Vec<PathBuf>, Rejection> {
    let given = if flags.is_empty() { file } else { flags };
    for path in &given {
        // All of the machine, the agent's own included, is no answer to what may be read.
        if path.as_os_str() != "/" {
            let text = path
                .to_str()
                .ok_or_else(|| refuse("import_from", format!("{} is no text", path.display())))?;
            check_directory(text).map_err(|wrong| {
                refuse("import_from", wrong.message)
                    .remedy("write for example import_from = [\"/srv\"]")
            })?;
            continue;
        }
        return Err(refuse("import_from", "the root of the machine cannot be imported from")
            .remedy("name the directories that hold data, such as /srv"));
    }
    Ok(given)
}

fn wipe(text: Option<String>) -> Result<Wipe, Rejection> {
    let parsed = text.map(|text| text.parse::<Wipe>()).transpose();
    parsed.map(Option::unwrap_or_default).map_err(|error| {
        refuse("purge_wipe", error.to_string()).remedy("write for example purge_wipe = \"zero\"")
    })
}

fn log_size(text: Option<String>) -> Result<Bytes, Rejection> {
    let Some(text) = text else { return Ok(Bytes::from_mib(10)) };
    let size: Bytes = text.parse().map_err(|e| refuse("log_limit", format!("{e}")))?;
    if size < Bytes::new(4096) {
        return Err(refuse("log_limit", format!("{size} is too small for a file of output"))
            .remedy("give at least 4KiB"));
    }
    Ok(size)
}

fn plain_directories(texts: Vec<String>) -> Result<Vec<PathBuf>, Rejection> {
    let plain =
        |path: &Path| path.is_absolute() && !path.components().any(|part| part.as_os_str() == "..");
    let check = |text: String| match PathBuf::from(&text) {
        path if plain(&path) => Ok(path),
        _other => Err(refuse("disk_add_below", format!("{text:?} is no plain absolute directory"))
            .remedy("write for example --disk-add-below /srv, or none")),
    };
    texts.into_iter().map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::DriverChoice;
    use crate::disk::image::Format;
    use berth_model::resources::DiskSource;
    use std::sync::Arc;

    fn flags() -> Flags {
        Flags {
            master: Some("127.0.0.1:5050".to_owned()),
            work_dir: Some(PathBuf::from("/var/lib/berth")),
            ..Flags::default()
        }
    }

    #[test]
    fn everything_but_master_and_work_directory_has_a_default() {
        let wanted = AgentConfig {
            master: "127.0.0.1:5050".parse().unwrap(),
            work_dir: PathBuf::from("/var/lib/berth"),
            hostname: None,
            attributes: BTreeMap::new(),
            resources: Resources::new(),
            disks: vec![],
            disk_add_below: vec!["/srv".into(), "/mnt".into(), "/media".into()],
            trash_retention: Duration::from_hours(24),
            purge_wipe: Wipe::None,
            sandbox_retention: Duration::from_hours(168),
            sandbox_free_percent_min: 5,
            log_limit: Bytes::from_mib(10),
            log_files: 2,
            import_from: Vec::new(),
            transfer_idle: TRANSFER_IDLE,
            key_dir: None,
            program: PathBuf::from("/proc/self/exe"),
        };
        assert_eq!(AgentConfig::load(None, flags()), Ok(wanted));
    }

    #[test]
    fn flags_win_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        let text = "master = \"m:1\"\nwork_dir = \"/w\"\nhostname = \"a\"\nresources = \"cpus:1\"\n\
             trash_retention = \"1h\"\npurge_wipe = \"zero\"\nlog_limit = \"1MiB\"\nattributes = { rack = \"r1\", row = \"3\" }\n\
             [[disks]]\nroot = \"/srv/d1\"\nsize = \"1GiB\"\n";
        std::fs::write(&file, text).unwrap();
        let from_file = AgentConfig::load(Some(&file), Flags::default()).unwrap();
        assert_eq!(from_file.master.to_string(), "m:1");
        assert_eq!(
            from_file.disks,
            vec![Declaration {
                source: DiskSource::Path(Arc::from("/srv/d1")),
                name: "d1".to_owned(),
                driver: DriverChoice::Auto,
                size: Some(Bytes::from_mib(1024)),
            }]
        );
        let given = Flags {
            attributes: vec!["rack=r2".to_owned()],
            resources: Some("cpus:2;mem:1GiB".to_owned()),
            disks: vec!["type=root,driver=directory".to_owned()],
            ..flags()
        };
        let config = AgentConfig::load(Some(&file), given).unwrap();
        let attribute = |key: &str| config.attributes.get(key).map(String::as_str);
        assert_eq!((attribute("rack"), attribute("row")), (Some("r2"), Some("3")));
        assert_eq!(config.resources, parse_resources("cpus:2;mem:1024").unwrap());
        assert_eq!(config.hostname.as_deref(), Some("a"));
        assert_eq!(config.trash_retention, Duration::from_hours(1));
        assert_eq!(config.purge_wipe, Wipe::Zero);
        assert_eq!(
            config.disks,
            vec![Declaration { driver: DriverChoice::Directory, ..Declaration::root() }]
        );
    }

    #[test]
    fn wrong_settings_name_the_key_and_the_remedy() {
        let disk = |text: &str| Flags { disks: vec![text.to_owned()], ..flags() };
        for (given, wanted) in [
            (Flags::default(), "no master is given (field --master): give --master HOST:PORT"),
            (
                Flags { master: Some("x".to_owned()), ..flags() },
                "address \"x\" cannot be used: it has no port (field --master)",
            ),
            (
                Flags { attributes: vec!["rack".to_owned()], ..flags() },
                "\"rack\" is not key=value (field --attribute)",
            ),
            (
                Flags { resources: Some("cpus".to_owned()), ..flags() },
                "resources item \"cpus\" has no value: write name:amount, such as cpus:2 (field --resources)",
            ),
            (disk("root=srv"), "disk srv has no absolute root directory (field --disk)"),
            (disk("root=/srv,size=5"), "disk srv: \"5\" has no unit"),
            (disk("root=/srv,size=5B"), "disk srv: 5 bytes is not a whole number of MiB"),
            (disk("root=/srv,typ=path"), "\"root=/srv,typ=path\" has the unknown key \"typ\""),
            (disk("root=srv,type=mount"), "disk srv has no absolute mount point"),
            (disk("root=/srv,type=mount,driver=btrfs"), "disk srv of type mount has no choice"),
            (disk("root=/srv,driver=image:zfs"), "there is no volume driver \"image:zfs\""),
            (disk("root=sdb,type=block"), "disk sdb has no absolute path of a device"),
            (disk("root=/dev/sdb,type=block,driver=btrfs"), "disk sdb of type block has no choice"),
            (disk("root=/srv,driver=zfs"), "there is no volume driver \"zfs\""),
            (disk("root=/srv,name=root"), "the name root belongs to the disk"),
        ] {
            let error = AgentConfig::load(None, given).unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{error}");
        }
        let good = [
            "root=/a,driver=image",
            "root=/b,driver=image:btrfs",
            "root=/c/,type=mount",
            "root=/dev/d,type=block",
        ];
        let given = Flags { disks: good.map(str::to_owned).to_vec(), ..flags() };
        let disks = AgentConfig::load(None, given).unwrap().disks;
        let read: Vec<_> = disks.iter().map(|d| (d.source.to_string(), d.driver)).collect();
        assert_eq!(
            read,
            [
                ("PATH:/a".to_owned(), DriverChoice::Image(None)),
                ("PATH:/b".to_owned(), DriverChoice::Image(Some(Format::Btrfs))),
                ("MOUNT:/c".to_owned(), DriverChoice::Auto),
                ("BLOCK:/dev/d".to_owned(), DriverChoice::Auto),
            ]
        );
        let twice = ["root=/a/d", "root=/b/d"].map(str::to_owned).to_vec();
        let error = AgentConfig::load(None, Flags { disks: twice, ..flags() }).unwrap_err();
        assert_eq!(error.message, "two disks are named d");
    }

    #[test]
    fn the_file_allows_no_other_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        for (text, wanted) in [
            ("workdir = \"/w\"", "unknown field `workdir`"),
            ("[[disks]]\npath = \"/w\"", "unknown field `path`"),
            ("log_files = 1", "one file of output cannot be rotated"),
            ("log_limit = \"10\"", "\"10\" has no unit"),
            ("trash_retention = \"10\"", "\"10\" is not a duration"),
            ("purge_wipe = \"burn\"", "\"burn\" is no way to wipe"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = AgentConfig::load(Some(&file), flags()).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
