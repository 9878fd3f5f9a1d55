//! Single daemons without `berth dev`, for tests that kill and restart them faster than it would.

use crate::{berth_bin, is_alive, kill9, run, wait_until};
use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// One master and one agent, each started by hand.
#[derive(Debug)]
pub struct Pair {
    dir: PathBuf,
    address: String,
    master: Option<Child>,
    agent: Option<Child>,
    wrap: Vec<String>,
    agent_wrap: Vec<String>,
    master_wrap: Vec<String>,
    agent_flags: Vec<String>,
    master_flags: Vec<String>,
}

/// An address that nobody listens on, and below the ports that the kernel gives to connections: an agent that calls before its
/// master listens would else now and then be given that very port, and keep the master from it.
fn free_address() -> anyhow::Result<String> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 12_000).context("a port")?;
    for _ in 0..1_000 {
        let port = 16_000 + (start + NEXT.fetch_add(7, Ordering::Relaxed)) % 12_000;
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            return Ok(address);
        }
    }
    anyhow::bail!("no port from 16000 to 28000 is free")
}

impl Pair {
    /// A pair in `dir`; nothing runs yet.
    ///
    /// # Errors
    /// No port is free.
    pub fn new(dir: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        Ok(Self {
            dir: dir.to_owned(),
            address,
            master: None,
            agent: None,
            wrap: Vec::new(),
            agent_wrap: Vec::new(),
            master_wrap: Vec::new(),
            agent_flags: Vec::new(),
            master_flags: Vec::new(),
        })
    }
    /// Starts both daemons under `words`, such as `strace -f -o FILE-{}`; `{}` becomes the daemon's name.
    #[must_use]
    pub fn wrapped(mut self, words: &[&str]) -> Self {
        self.wrap = words.iter().map(|w| (*w).to_owned()).collect();
        self
    }
    /// From now on the agent, and only the agent, starts under `words`; with none it starts by itself again.
    pub fn wrap_agent(&mut self, words: &[&str]) {
        self.agent_wrap = words.iter().map(|word| (*word).to_owned()).collect();
    }
    /// From now on the master, and only the master, starts under `words`; with none it starts by itself again.
    pub fn wrap_master(&mut self, words: &[&str]) {
        self.master_wrap = words.iter().map(|word| (*word).to_owned()).collect();
    }
    /// Starts the agent with these flags besides its own.
    #[must_use]
    pub fn with_agent_flags(mut self, flags: &[&str]) -> Self {
        self.agent_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self
    }
    /// Starts the master with these flags besides its own.
    #[must_use]
    pub fn with_master_flags(mut self, flags: &[&str]) -> Self {
        self.master_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self
    }
    /// The master's address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The master's process id.
    ///
    /// # Errors
    /// It is not running.
    pub fn master_pid(&self) -> anyhow::Result<u32> {
        Ok(self.master.as_ref().context("the master is not running")?.id())
    }
    /// The agent's process id.
    ///
    /// # Errors
    /// It is not running.
    pub fn agent_pid(&self) -> anyhow::Result<u32> {
        Ok(self.agent.as_ref().context("the agent is not running")?.id())
    }

    fn spawn(&self, name: &str, args: &[&str]) -> anyhow::Result<Child> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join(format!("{name}.log")))
            .context("open a log")?;
        let bin = berth_bin()?;
        let own = if name == "agent" { &self.agent_wrap } else { &self.master_wrap };
        let wrap = self.wrap.iter().chain(own);
        let mut words: Vec<String> = wrap.map(|word| word.replace("{}", name)).collect();
        words.push(bin.display().to_string());
        words.extend(args.iter().map(|a| (*a).to_owned()));
        Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("open a log twice")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", words[0]))
    }

    /// Starts the master.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start_master(&mut self) -> anyhow::Result<()> {
        let folder = self.dir.join("master").display().to_string();
        let mut args = vec!["master", "run", "--work-dir", &folder, "--listen", &self.address];
        args.extend(self.master_flags.iter().map(String::as_str));
        self.master = Some(self.spawn("master", &args)?);
        Ok(())
    }
    /// Starts the agent.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start_agent(&mut self) -> anyhow::Result<()> {
        let folder = self.dir.join("agent").display().to_string();
        let mut args = vec![
            "agent",
            "run",
            "--master",
            &self.address,
            "--work-dir",
            &folder,
            "--hostname",
            "host-1",
            "--resources",
            "cpus:4;mem:4GiB;disk:20GiB",
        ];
        args.extend(self.agent_flags.iter().map(String::as_str));
        self.agent = Some(self.spawn("agent", &args)?);
        Ok(())
    }
    /// Starts both and waits until the agent is registered.
    ///
    /// # Errors
    /// It is not within a minute; the logs' ends are in the text.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.start_master()?;
        self.start_agent()?;
        self.wait_registered()
    }
    /// Waits until the agent is registered.
    ///
    /// # Errors
    /// It is not within a minute; the logs' ends are in the text.
    pub fn wait_registered(&self) -> anyhow::Result<()> {
        wait_until("the agent to be registered", Duration::from_secs(60), || {
            let states = self.agent_states()?;
            ensure!(states == ["REGISTERED"], "agents are {states:?}");
            Ok(())
        })
        .with_context(|| self.log_tails())
    }
    /// True while the agent is registered.
    ///
    /// # Errors
    /// The master does not answer.
    pub fn is_registered(&self) -> anyhow::Result<bool> {
        Ok(self.agent_states()? == ["REGISTERED"])
    }
    fn agent_states(&self) -> anyhow::Result<Vec<Value>> {
        let agents = self.items(&["agent", "list"])?;
        Ok(agents.iter().map(|agent| agent["state"].clone()).collect())
    }
    /// Kills both in the same moment and reaps them.
    ///
    /// # Errors
    /// One of them is not running.
    pub fn kill_both(&mut self) -> anyhow::Result<()> {
        for child in [&mut self.master, &mut self.agent] {
            child.as_mut().context("it is not running")?.kill().context("kill")?;
        }
        for child in [&mut self.master, &mut self.agent] {
            child.take().context("it is not running")?.wait().context("reap")?;
        }
        Ok(())
    }
    /// Kills the master.
    ///
    /// # Errors
    /// It is not running.
    pub fn kill_master(&mut self) -> anyhow::Result<()> {
        let mut child = self.master.take().context("the master is not running")?;
        child.kill().context("kill the master")?;
        child.wait().context("reap the master")?;
        Ok(())
    }
    /// Kills the agent.
    ///
    /// # Errors
    /// It is not running.
    pub fn kill_agent(&mut self) -> anyhow::Result<()> {
        let mut child = self.agent.take().context("the agent is not running")?;
        child.kill().context("kill the agent")?;
        child.wait().context("reap the agent")?;
        Ok(())
    }
    /// Sends the master a signal.
    ///
    /// # Errors
    /// It is not running.
    pub fn signal_master(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.master_pid()?).context("pid")?);
        kill(pid, signal).with_context(|| format!("send {signal} to the master"))
    }
    /// Sends the agent a signal.
    ///
    /// # Errors
    /// It is not running.
    pub fn signal_agent(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.agent_pid()?).context("pid")?);
        kill(pid, signal).with_context(|| format!("send {signal} to the agent"))
    }
    /// The agent's exit status, once it has ended by itself.
    ///
    /// # Errors
    /// It still runs after half a minute.
    pub fn agent_ended(&mut self) -> anyhow::Result<i32> {
        ended(&mut self.agent)
    }
    /// True once the agent has ended by itself, or was killed by what it runs under.
    ///
    /// # Errors
    /// It was not started.
    pub fn agent_is_gone(&mut self) -> anyhow::Result<bool> {
        let agent = self.agent.as_mut().context("the agent is not running")?;
        Ok(agent.try_wait().context("wait for the agent")?.is_some())
    }
    /// True once the master has ended by itself, or was killed by what it runs under.
    ///
    /// # Errors
    /// It was not started.
    pub fn master_is_gone(&mut self) -> anyhow::Result<bool> {
        let master = self.master.as_mut().context("the master is not running")?;
        Ok(master.try_wait().context("wait for the master")?.is_some())
    }
    /// The master's exit status, once it has ended by itself.
    ///
    /// # Errors
    /// It still runs after half a minute.
    pub fn master_ended(&mut self) -> anyhow::Result<i32> {
        ended(&mut self.master)
    }

    /// Runs `berth` against the master.
    ///
    /// # Errors
    /// It could not be started.
    pub fn berth(&self, args: &[&str]) -> anyhow::Result<crate::Run> {
        run(&berth_bin()?, args, &[("BERTH_MASTER", &self.address), ("NO_COLOR", "1")])
    }
    /// Runs `berth` against the master, which has to succeed.
    ///
    /// # Errors
    /// It did not; the logs' ends say more.
    pub fn must(&self, args: &[&str]) -> anyhow::Result<crate::Run> {
        let run = self.berth(args)?;
        if run.code != 0 {
            let (command, logs) = (args.join(" "), self.log_tails());
            bail!("berth {command} ended with {}: {}\n{logs}", run.code, run.stderr.trim());
        }
        Ok(run)
    }
    /// What `berth … -o json` prints of one thing.
    ///
    /// # Errors
    /// It failed.
    pub fn one(&self, args: &[&str]) -> anyhow::Result<Value> {
        let run = self.must(&[args, &["-o", "json"]].concat())?;
        serde_json::from_str(&run.stdout).context("read JSON")
    }
    /// The items of `berth NOUN list -o json`.
    ///
    /// # Errors
    /// It failed.
    pub fn items(&self, args: &[&str]) -> anyhow::Result<Vec<Value>> {
        let run = self.berth(&[args, &["-o", "json"]].concat())?;
        if run.code != 0 {
            bail!("berth {} ended with {}: {}", args.join(" "), run.code, run.stderr.trim());
        }
        let value: Value = serde_json::from_str(&run.stdout).context("read JSON")?;
        Ok(value["items"].as_array().context("no items")?.clone())
    }
    /// The ends of the logs.
    #[must_use]
    pub fn log_tails(&self) -> String {
        let tail = |name: &str| {
            let text = std::fs::read_to_string(self.dir.join(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("--- {name}\n{}\n", lines[lines.len().saturating_sub(25)..].join("\n"))
        };
        tail("master.log") + &tail("agent.log")
    }
}

fn ended(child: &mut Option<Child>) -> anyhow::Result<i32> {
    let running = child.as_mut().context("it was not started")?;
    let status = wait_until("the daemon to end", Duration::from_secs(30), || {
        running.try_wait().context("wait")?.context("it still runs")
    })?;
    *child = None;
    Ok(status.code().unwrap_or(-1))
}

impl Drop for Pair {
    fn drop(&mut self) {
        for child in [&mut self.master, &mut self.agent] {
            if let Some(mut child) = child.take() {
                drop(child.kill());
                drop(child.wait());
            }
        }
        for (pid, _) in crate::processes_of(&self.dir) {
            if is_alive(pid) {
                drop(kill9(pid));
            }
        }
    }
}
