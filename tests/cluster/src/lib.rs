//! A cluster of real processes for tests and the demo: started with `berth dev`, watched through the command line, killed
//! by process id.
//!
//! It uses the public program only, as an operator would. It never sleeps for a fixed time to let something
//! happen: it waits for conditions and reports the last thing it saw.

mod daemon;
pub mod trees;

pub use daemon::Pair;

use anyhow::{Context, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The result of one run of `berth`.
#[derive(Debug)]
pub struct Run {
    /// The exit status, -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// It ended with this code, and what it printed for people says all of these words.
    ///
    /// # Errors
    /// It did not.
    pub fn refused(&self, code: i32, words: &[&str]) -> anyhow::Result<()> {
        let missing: Vec<_> = words.iter().filter(|word| !self.stderr.contains(**word)).collect();
        anyhow::ensure!(
            self.code == code && missing.is_empty(),
            "wanted {code}, missing {missing:?}: {self:?}"
        );
        Ok(())
    }
}

/// A running `berth dev`.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    url: String,
    dev: Option<Child>,
}

/// Where the program under test is: `BERTH_BIN`, or beside the test's own binary.
///
/// # Errors
/// It has not been built.
pub fn berth_bin() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("BERTH_BIN") {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe().context("find this program")?;
    let found = own.ancestors().skip(1).map(|dir| dir.join("berth")).find(|path| path.is_file());
    found.ok_or_else(|| {
        anyhow!("berth is not built: run `cargo build -p berth-cli`, or set BERTH_BIN")
    })
}

/// Polls `look` until it gives a value; after `limit` fails with the last thing that was not right.
///
/// # Errors
/// The limit has passed.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() > limit => {
                return Err(error.context(format!("waited {limit:?} for {what}; last status")));
            },
            Err(_not_yet) => pause(),
        }
    }
}

fn pause() {
    #[expect(clippy::disallowed_methods, reason = "the pause between two looks at a condition")]
    std::thread::sleep(Duration::from_millis(40));
}

/// Runs a program to its end.
///
/// # Errors
/// It could not be started.
pub fn run(program: &Path, args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<Run> {
    let output = Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", program.display()))?;
    Ok(Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// True while the process exists and is not a zombie.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the program's name, which is in parentheses and may hold anything.
    stat.rsplit(')')
        .next()
        .and_then(|rest| rest.trim_start().chars().next())
        .is_some_and(|s| s != 'Z')
}

/// Processes whose command line names `dir`.
#[must_use]
pub fn processes_of(dir: &Path) -> Vec<(i32, String)> {
    let needle = dir.display().to_string();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != i32::try_from(std::process::id()).unwrap_or(0) && is_alive(*pid))
        .filter_map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            (line.contains(&needle) || cwd.starts_with(dir)).then_some((pid, line))
        })
        .collect()
}

impl Cluster {
    /// Starts `berth dev` on `dir` with a free port and waits for its ready line.
    ///
    /// # Errors
    /// It ended, or did not get ready within a minute; the logs' ends are in the text.
    pub fn start(dir: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        let dir = dir.canonicalize().with_context(|| format!("find {}", dir.display()))?;
        let mut dev = Command::new(berth_bin()?)
            .args(["dev", "--port", "0", "--work-dir"])
            .arg(&dir)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start berth dev")?;
        let (lines_in, lines) = mpsc::channel();
        for (pipe, is_ready) in [
            (dev.stdout.take().map(|p| Box::new(p) as Box<dyn Read + Send>), true),
            (dev.stderr.take().map(|p| Box::new(p) as Box<dyn Read + Send>), false),
        ] {
            let pipe = pipe.context("take a pipe of berth dev")?;
            let lines_in = lines_in.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    if is_ready || std::env::var_os("BERTH_TEST_VERBOSE").is_some() {
                        drop(lines_in.send(line));
                    }
                }
            });
        }
        let mut cluster = Self { dir, url: String::new(), dev: Some(dev) };
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if let Some(url) = line.strip_prefix("ready: ") {
                url.clone_into(&mut cluster.url);
                return Ok(cluster);
            }
        }
        let logs = cluster.log_tails();
        drop(cluster.kill_dev());
        bail!("berth dev did not get ready within 60 s\n{logs}")
    }

    /// The master's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
    /// The folder everything is in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The ends of all logs, for failures.
    #[must_use]
    pub fn log_tails(&self) -> String {
        let mut text = String::new();
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return text };
        let mut logs: Vec<PathBuf> =
            entries.filter_map(|e| Some(e.ok()?.path().join("log"))).collect();
        logs.sort();
        for log in logs.iter().filter(|log| log.is_file()) {
            let whole = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = whole.lines().collect();
            let tail = lines[lines.len().saturating_sub(25)..].join("\n");
            text.push_str(&format!("--- {}\n{tail}\n", log.display()));
        }
        text
    }

    /// Runs `berth` against this cluster.
    ///
    /// # Errors
    /// It could not be started.
    pub fn berth(&self, args: &[&str]) -> anyhow::Result<Run> {
        run(&berth_bin()?, args, &[("BERTH_MASTER", &self.url), ("NO_COLOR", "1")])
    }
    /// Runs `berth … -o json`, which must succeed.
    ///
    /// # Errors
    /// It failed, or printed something else.
    pub fn json(&self, args: &[&str]) -> anyhow::Result<Value> {
        let run = self.berth(&[args, &["-o", "json"]].concat())?;
        if run.code != 0 {
            bail!("berth {} ended with {}: {}", args.join(" "), run.code, run.stderr.trim());
        }
        serde_json::from_str(&run.stdout)
            .with_context(|| format!("berth {} printed {:?}", args.join(" "), run.stdout))
    }
    /// The items of `berth NOUN list -o json`.
    ///
    /// # Errors
    /// As for [`Cluster::json`].
    pub fn items(&self, args: &[&str]) -> anyhow::Result<Vec<Value>> {
        let listed = self.json(args)?;
        let items = listed.get("items").and_then(Value::as_array);
        Ok(items.with_context(|| format!("no items in {listed}"))?.clone())
    }

    /// The process id of a child of `berth dev`: `master`, `agent-1` …, `scheduler`.
    ///
    /// # Errors
    /// It has none now.
    pub fn pid(&self, child: &str) -> anyhow::Result<i32> {
        let path = self.dir.join(child).join("pid");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        text.trim().parse().with_context(|| format!("{} holds {text:?}", path.display()))
    }
    /// Kills a child and waits until it is gone.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill9(&self, child: &str) -> anyhow::Result<()> {
        kill9(self.pid(child)?)
    }

    /// Ctrl-C: tasks are stopped, then everything ends with status 0.
    ///
    /// # Errors
    /// It ended otherwise, or not within 90 seconds.
    pub fn stop(self) -> anyhow::Result<()> {
        self.stop_with(Signal::SIGINT)
    }
    /// As [`Cluster::stop`], with another signal.
    ///
    /// # Errors
    /// It ended otherwise, or not within 90 seconds.
    pub fn stop_with(mut self, signal: Signal) -> anyhow::Result<()> {
        let mut dev = self.dev.take().context("berth dev is not running")?;
        let pid = Pid::from_raw(i32::try_from(dev.id()).context("pid")?);
        kill(pid, signal).with_context(|| format!("send {signal} to berth dev"))?;
        let ended = wait_until("berth dev to end", Duration::from_secs(90), || {
            dev.try_wait().context("wait for berth dev")?.context("still running")
        });
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => bail!("berth dev ended with {status}\n{}", self.log_tails()),
            Err(error) => {
                self.dev = Some(dev);
                let logs = self.log_tails();
                drop(self.kill_dev());
                Err(error.context(logs))
            },
        }
    }

    /// Kills everything at once, tasks included: the end of a failed test.
    fn kill_dev(&mut self) -> anyhow::Result<()> {
        if let Some(mut dev) = self.dev.take() {
            dev.kill().context("kill berth dev")?;
            dev.wait().context("reap berth dev")?;
            for _round in 0..3 {
                for (pid, _) in processes_of(&self.dir) {
                    kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
                }
            }
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.kill_dev());
    }
}

/// Kills a process and waits until it is gone.
///
/// # Errors
/// There is no such process.
pub fn kill9(pid: i32) -> anyhow::Result<()> {
    kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("kill process {pid}"))?;
    wait_until("the killed process to be gone", Duration::from_secs(10), || {
        if is_alive(pid) { bail!("process {pid} is still there") } else { Ok(()) }
    })
}
