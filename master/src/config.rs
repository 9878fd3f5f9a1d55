//! What an operator may set, from a TOML file and from flags; flags win.

use berth_model::units::parse_duration;
use serde::Deserialize;
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
    audit_entries: Option<u64>,
    audit_age: Option<String>,
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
    pub fn load(
        file: Option<&Path>,
        work_dir: Option<PathBuf>,
        listen: Option<String>,
    ) -> Result<Self, ConfigError> {
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
        let File {
            work_dir: file_dir,
            listen: file_listen,
            agent_timeout,
            heartbeat,
            offer_timeout,
            audit_entries,
            audit_age,
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
            audit_entries: entries(audit_entries)?,
            audit_age: span("audit_age", audit_age.as_deref())?,
        })
    }
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
        MasterConfig::load(Some(&file), None, listen.map(str::to_owned))
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
            audit_entries: 1_000_000,
            audit_age: None,
        };
        assert_eq!(config, wanted);
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
            ("workdir=\"w\"", "configuration FILE: TOML parse error"),
        ] {
            let error = load(text, None).unwrap_err();
            assert!(error.starts_with(wanted), "{error}");
        }
    }
}
