//! What an operator may set, from a TOML file and from flags; flags win.

use berth_master_core::{FAN_OUT_MAX, Optimistic};
use berth_model::role::Role;
use berth_model::units::parse_duration;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Checked settings of a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterConfig {
    /// Where the registry is kept.
    pub work_dir: PathBuf,
    /// Where it listens; loopback by default, because there is no authentication yet.
    pub listen: SocketAddr,
    /// An agent silent for this long is unreachable. Default 75s, five heartbeats, as in Mesos.
    pub agent_timeout: Duration,
    /// How often both sides of a link say that they are there. Default 15s, as in Mesos.
    pub heartbeat: Duration,
    /// How long an offer may stay unanswered before it is rescinded; never by default, as in Mesos.
    pub offer_timeout: Option<Duration>,
    /// Offers of the same resources to several frameworks; none by default.
    pub optimistic: Optimistic,
    /// How many entries the audit log keeps at least. Default a million, some hundred MB.
    pub audit_entries: u64,
    /// Entries older than this are removed from the audit log; never by default.
    pub audit_age: Option<Duration>,
}

/// The file's form: every key may be left out, no other is allowed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    work_dir: Option<PathBuf>,
    listen: Option<String>,
    agent_timeout: Option<String>,
    heartbeat: Option<String>,
    offer_timeout: Option<String>,
    offer_fanout: Option<u32>,
    offer_fanout_of: Option<BTreeMap<String, u32>>,
    offer_stagger: Option<String>,
    optimistic_offer_timeout: Option<String>,
    optimistic_offer_grace: Option<String>,
    sticky_ttl: Option<String>,
    audit_entries: Option<u64>,
    audit_age: Option<String>,
}

/// What the command line says; it wins over the file.
#[derive(Clone, Debug, Default)]
pub struct MasterFlags {
    /// Where the registry is kept.
    pub work_dir: Option<PathBuf>,
    /// Where to listen.
    pub listen: Option<String>,
    /// `K` for all, `ROLE=K` for a role.
    pub offer_fanout: Vec<String>,
    /// A duration.
    pub offer_stagger: Option<String>,
    /// A duration.
    pub optimistic_offer_timeout: Option<String>,
    /// A duration.
    pub optimistic_offer_grace: Option<String>,
    /// A duration.
    pub sticky_ttl: Option<String>,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("configuration {path}: {what}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        what: String,
    },
    /// A value is wrong.
    #[error("{key}: {what}")]
    Value {
        /// The flag or key.
        key: &'static str,
        /// What is wrong and what to write.
        what: String,
    },
}

impl MasterConfig {
    /// Flags over file over defaults.
    ///
    /// # Errors
    /// The file cannot be read, or a value is wrong; the text names the key.
    pub fn load(file: Option<&Path>, flags: MasterFlags) -> Result<Self, ConfigError> {
        let settings = match file {
            None => File::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
                toml::from_str(&text).map_err(|e| ConfigError::Parse {
                    path: path.to_owned(),
                    what: e.to_string(),
                })?
            },
        };
        let optimistic = optimistic(&settings, &flags)?;
        let MasterFlags { work_dir, listen, .. } = flags;
        let File {
            work_dir: file_dir,
            listen: file_listen,
            agent_timeout,
            heartbeat,
            offer_timeout,
            audit_entries,
            audit_age,
            ..
        } = settings;
        let work_dir = work_dir.or(file_dir).ok_or_else(|| ConfigError::Value {
            key: "--work-dir",
            what: "say where the registry is kept".to_owned(),
        })?;
        let listen = listen.or(file_listen).unwrap_or_else(|| "127.0.0.1:5050".to_owned());
        let listen = address(&listen)?;
        Ok(Self {
            work_dir,
            listen,
            agent_timeout: span("agent_timeout", agent_timeout.as_deref())?
                .unwrap_or(Duration::from_secs(75)),
            heartbeat: span("heartbeat", heartbeat.as_deref())?.unwrap_or(Duration::from_secs(15)),
            offer_timeout: span("offer_timeout", offer_timeout.as_deref())?,
            optimistic,
            audit_entries: entries(audit_entries)?,
            audit_age: span("audit_age", audit_age.as_deref())?,
        })
    }
}

fn optimistic(file: &File, flags: &MasterFlags) -> Result<Optimistic, ConfigError> {
    let plain = Optimistic::default();
    let mut fan_out =
        file.offer_fanout.map_or(Ok(plain.fan_out), |k| fan_out("offer_fanout", k))?;
    let mut fan_out_of = BTreeMap::new();
    for (role, k) in file.offer_fanout_of.iter().flatten() {
        fan_out_of.insert(role_of("offer_fanout_of", role)?, self::fan_out("offer_fanout_of", *k)?);
    }
    let key = "--offer-fanout";
    for text in &flags.offer_fanout {
        let (role, count) = match text.rsplit_once('=') {
            Some((role, count)) => (Some(role_of(key, role)?), count),
            None => (None, text.as_str()),
        };
        let count = count.parse().map_err(|_e| ConfigError::Value {
            key,
            what: format!("{text:?} is neither K nor ROLE=K, such as 3 or batch=1"),
        });
        let count = self::fan_out(key, count?)?;
        match role {
            Some(role) => drop(fan_out_of.insert(role, count)),
            None => fan_out = count,
        }
    }
    let either = |key, flag: &Option<String>, file: &Option<String>, default| {
        span_or_zero(key, flag.as_ref().or(file.as_ref()).map(String::as_str), default)
    };
    Ok(Optimistic {
        fan_out,
        fan_out_of,
        stagger: either("offer_stagger", &flags.offer_stagger, &file.offer_stagger, plain.stagger)?,
        timeout: span(
            "optimistic_offer_timeout",
            flags
                .optimistic_offer_timeout
                .as_ref()
                .or(file.optimistic_offer_timeout.as_ref())
                .map(String::as_str),
        )?
        .unwrap_or(plain.timeout),
        grace: either(
            "optimistic_offer_grace",
            &flags.optimistic_offer_grace,
            &file.optimistic_offer_grace,
            plain.grace,
        )?,
        sticky: either("sticky_ttl", &flags.sticky_ttl, &file.sticky_ttl, plain.sticky)?,
        alone: plain.alone,
    })
}

fn fan_out(key: &'static str, wanted: u32) -> Result<u32, ConfigError> {
    match wanted {
        1..=FAN_OUT_MAX => Ok(wanted),
        _ => Err(ConfigError::Value { key, what: format!("{wanted} is not 1 to {FAN_OUT_MAX}") }),
    }
}

fn role_of(key: &'static str, text: &str) -> Result<Role, ConfigError> {
    Role::new(text).map_err(|e| ConfigError::Value { key, what: e.to_string() })
}

fn span_or_zero(
    key: &'static str,
    text: Option<&str>,
    default: Duration,
) -> Result<Duration, ConfigError> {
    let parsed = text.map(parse_duration).transpose();
    let parsed = parsed.map_err(|e| ConfigError::Value { key, what: e.to_string() })?;
    Ok(parsed.unwrap_or(default))
}

/// Fewer would not tell of one busy day.
const AUDIT_ENTRIES_MIN: u64 = 1_000;

fn entries(wanted: Option<u64>) -> Result<u64, ConfigError> {
    match wanted {
        Some(count) if count < AUDIT_ENTRIES_MIN => Err(ConfigError::Value {
            key: "audit_entries",
            what: format!("{count} is below {AUDIT_ENTRIES_MIN}"),
        }),
        wanted => Ok(wanted.unwrap_or(1_000_000)),
    }
}

fn span(key: &'static str, text: Option<&str>) -> Result<Option<Duration>, ConfigError> {
    let parsed = text.map(parse_duration).transpose();
    let parsed = parsed.map_err(|e| ConfigError::Value { key, what: e.to_string() })?;
    match parsed {
        Some(Duration::ZERO) => {
            Err(ConfigError::Value { key, what: "zero is not allowed".to_owned() })
        },
        span => Ok(span),
    }
}

fn address(text: &str) -> Result<SocketAddr, ConfigError> {
    let plain = text.strip_prefix("http://").unwrap_or(text);
    plain.parse().map_err(|_e| ConfigError::Value {
        key: "--listen",
        what: format!("{text:?} is not IP:PORT, such as 127.0.0.1:5050"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, listen: Option<&str>) -> Result<MasterConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.toml");
        std::fs::write(&file, text).unwrap();
        let flags = MasterFlags { listen: listen.map(str::to_owned), ..MasterFlags::default() };
        MasterConfig::load(Some(&file), flags)
            .map_err(|e| e.to_string().replace(&file.display().to_string(), "FILE"))
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let text = "work_dir = \"/w\"\nlisten = \"127.0.0.2:1\"\nheartbeat = \"2s\"";
        let config = load(text, Some("http://127.0.0.3:2")).unwrap();
        let wanted = MasterConfig {
            work_dir: PathBuf::from("/w"),
            listen: "127.0.0.3:2".parse().unwrap(),
            agent_timeout: Duration::from_secs(75),
            heartbeat: Duration::from_secs(2),
            offer_timeout: None,
            optimistic: Optimistic::default(),
            audit_entries: 1_000_000,
            audit_age: None,
        };
        assert_eq!(config, wanted);
    }

    #[test]
    fn a_fan_out_is_for_all_or_for_a_role() {
        let text = "work_dir = \"/w\"\noffer_fanout = 2\noffer_stagger = \"0ms\"\n\
            [offer_fanout_of]\nbatch = 1\nweb = 4";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.toml");
        std::fs::write(&file, text).unwrap();
        let flags = |fan_out: &[&str]| MasterFlags {
            offer_fanout: fan_out.iter().map(|text| (*text).to_owned()).collect(),
            optimistic_offer_timeout: Some("5s".to_owned()),
            ..MasterFlags::default()
        };
        let optimistic =
            MasterConfig::load(Some(&file), flags(&["3", "web=8"])).unwrap().optimistic;
        let of = |text: &str| Role::new(text).unwrap();
        let wanted = Optimistic {
            fan_out: 3,
            fan_out_of: BTreeMap::from([(of("batch"), 1), (of("web"), 8)]),
            stagger: Duration::ZERO,
            timeout: Duration::from_secs(5),
            ..Optimistic::default()
        };
        assert_eq!(optimistic, wanted);
        for (text, wanted) in [
            ("x", "--offer-fanout: \"x\" is neither K nor ROLE=K, such as 3 or batch=1"),
            ("web=", "--offer-fanout: \"web=\" is neither K nor ROLE=K, such as 3 or batch=1"),
            ("0", "--offer-fanout: 0 is not 1 to 16"),
        ] {
            let error = MasterConfig::load(Some(&file), flags(&[text])).unwrap_err();
            assert_eq!(error.to_string(), wanted);
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        for (text, wanted) in [
            ("heartbeat = \"2s\"", "--work-dir: say where the registry is kept"),
            ("work_dir=\"w\"\nheartbeat=\"2\"", "heartbeat: \"2\" is not a duration"),
            ("work_dir=\"w\"\naudit_entries=999", "audit_entries: 999 is below 1000"),
            ("work_dir=\"w\"\naudit_age=\"0s\"", "audit_age: zero is not allowed"),
            ("work_dir=\"w\"\nheartbeat=\"0s\"", "heartbeat: zero is not allowed"),
            ("work_dir=\"w\"\nlisten=\"x\"", "--listen: \"x\" is not IP:PORT"),
            ("work_dir=\"w\"\noffer_fanout=17", "offer_fanout: 17 is not 1 to 16"),
            ("work_dir=\"w\"\n[offer_fanout_of]\na=0", "offer_fanout_of: 0 is not 1 to 16"),
            ("work_dir=\"w\"\n[offer_fanout_of]\n\"a b\"=1", "offer_fanout_of: "),
            ("work_dir=\"w\"\noptimistic_offer_timeout=\"0s\"", "optimistic_offer_timeout: zero"),
            ("workdir=\"w\"", "configuration FILE: TOML parse error"),
        ] {
            let error = load(text, None).unwrap_err();
            assert!(error.starts_with(wanted), "{error}");
        }
    }
}
