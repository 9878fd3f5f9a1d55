//! The supervisor: one small process per container that outlives the agent.
//!
//! It makes the container's surroundings, starts the command, takes in its output, ends it when asked to, and
//! writes down how it ended. It has one thread and one loop over everything that can happen. It knows neither
//! the agent's ledger nor the master. When it says that a run ended, nothing of the run is alive any more.

use super::cgroup;
use super::devices::is_device;
use super::enter::Role;
use super::handover;
use super::logs::LogWriter;
use super::mounts;
use super::record::{Ending, Phase, Refusal, RunFolder, Spec, State};
use crate::host::{Identity, process};
use berth_model::error::{ErrorCode, Rejection};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, openat};
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// How long to wait for the killed to be gone before killing again: whoever forked in between is hit then, and
/// the kernel tells nobody but a parent that a process has ended.
const SWEEP_AGAIN: Duration = Duration::from_millis(20);

/// The hidden subcommand `supervise RUN_FOLDER`. To be called before any thread is started.
///
/// Standard input is the run's lock, standard output a socket to the agent.
#[must_use]
pub fn supervise_main(run_folder: &Path) -> ExitCode {
    match supervise(run_folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is supervisor.log, which the agent quotes.
            writeln!(io::stderr(), "{error}").ok();
            ExitCode::FAILURE
        },
    }
}

fn supervise(path: &Path) -> io::Result<()> {
    // Already so when started by hand from a shell with job control.
    rustix::process::setsid().ok();
    nix::sys::prctl::set_child_subreaper(true)?;
    std::env::set_current_dir("/")?;
    let missing = || io::Error::other(format!("{} holds no record", path.display()));
    let run = RunFolder::open(path)?.ok_or_else(missing)?;
    let spec = run.read_spec()?.ok_or_else(missing)?;
    let signals = take_signals()?;
    let orders = run.orders()?;
    let handles = handover::receive(io::stdout())?
        .ok_or_else(|| io::Error::other("the agent ended before it gave the word to start"))?;
    let mut state = State { supervisor: Identity::own()?, phase: Phase::Starting };
    run.write_state(&state)?;
    let started = start(&run, &spec, &handles);
    // Directories are mounted by now; a device is there only as long as somebody has it open.
    let devices: Vec<OwnedFd> = handles.into_iter().filter(|h| is_device(h.as_fd())).collect();
    let ending = match started {
        Ok((command, outputs)) => {
            state.phase = Phase::Running { pid: command };
            run.write_state(&state)?;
            let mut watch = Watch { spec: &spec, command, outputs, signals, orders, kill_at: None };
            let ending = watch.until_the_end()?;
            Phase::Ended(ending)
        },
        Err(rejection) => Phase::Refused(Refusal::from(rejection)),
    };
    sweep_without_output(&spec)?;
    drop(devices);
    for group in &spec.groups {
        if let Err(error) = cgroup::remove(group) {
            // The agent tries again when it learns of the end.
            writeln!(io::stderr(), "a control group is left behind: {error}").ok();
        }
    }
    state.phase = ending;
    run.write_state(&state)
}

fn take_signals() -> io::Result<SignalFd> {
    let mut wanted = SigSet::empty();
    for signal in
        [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE]
    {
        wanted.add(signal);
    }
    wanted.thread_block()?;
    Ok(SignalFd::with_flags(&wanted, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

type Outputs = [Option<Output>; 2];

/// Makes the surroundings and starts the command; a refusal means that nothing runs.
fn start(run: &RunFolder, spec: &Spec, volumes: &[OwnedFd]) -> Result<(u32, Outputs), Rejection> {
    if volumes.len() != spec.mounts.len() && spec.private_mounts {
        return Err(Rejection::new(ErrorCode::Internal, "not every volume was handed over"));
    }
    if spec.private_mounts {
        mounts::set_up(spec, volumes)?;
    }
    let failed = |error: io::Error| {
        Rejection::new(ErrorCode::LaunchFailed, format!("the command cannot be started: {error}"))
    };
    let (out, out_end) = Output::open(run, spec, "stdout").map_err(failed)?;
    let (err, err_end) = Output::open(run, spec, "stderr").map_err(failed)?;
    let (mut report, report_end) = io::pipe().map_err(failed)?;
    // This very program, even when its file was replaced meanwhile.
    let mut child = Command::new("/proc/self/exe")
        .arg0("berth-start")
        .arg("check")
        .arg(run.path())
        .arg(Role::Command.as_str())
        .stdin(report_end)
        .stdout(out_end)
        .stderr(err_end)
        .spawn()
        .map_err(failed)?;
    let mut told = Vec::new();
    report.read_to_end(&mut told).map_err(failed)?;
    if told.is_empty() {
        return Ok((child.id(), [Some(out), Some(err)]));
    }
    child.wait().map_err(failed)?;
    let refusal: Refusal = serde_json::from_slice(&told).map_err(|e| failed(e.into()))?;
    Err(refusal.into())
}

/// One output of the command on its way to its log.
#[derive(Debug)]
struct Output {
    pipe: PipeReader,
    log: LogWriter,
    /// A full disk costs output, never the command.
    complained: bool,
}

impl Output {
    fn open(
        run: &RunFolder,
        spec: &Spec,
        name: &'static str,
    ) -> io::Result<(Self, io::PipeWriter)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = openat(run.handle(), "logs", flags, Mode::empty())?;
        let log = LogWriter::open(folder, name, spec.log_bytes, spec.log_files)?;
        let (pipe, end) = io::pipe()?;
        let now = fcntl_getfl(&pipe)?;
        fcntl_setfl(&pipe, now | OFlags::NONBLOCK)?;
        Ok((Self { pipe, log, complained: false }, end))
    }

    /// Takes what is there, at most so much that other things get their turn. False at the end.
    fn take(&mut self) -> bool {
        let mut buffer = [0; 64 << 10];
        for _ in 0..16 {
            match self.pipe.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    if let Err(error) = self.log.write(bytes)
                        && !self.complained
                    {
                        self.complained = true;
                        writeln!(io::stderr(), "output is lost: {error}").ok();
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {},
                Err(_) => return false,
            }
        }
        true
    }
}

struct Watch<'a> {
    spec: &'a Spec,
    /// Also the id of its session and process group; given to nobody else before it is reaped here.
    command: u32,
    outputs: Outputs,
    signals: SignalFd,
    orders: File,
    kill_at: Option<Instant>,
}

impl Watch<'_> {
    fn until_the_end(&mut self) -> io::Result<Ending> {
        let status = loop {
            let patience = self.kill_at.map(|at| at.saturating_duration_since(Instant::now()));
            if patience == Some(Duration::ZERO) {
                self.kill_at = None;
                self.signal_command(rustix::process::Signal::KILL)?;
                continue;
            }
            self.wait(patience)?;
            if self.take_signals()? {
                self.end_command(self.spec.kill_grace)?;
            }
            if let Some(status) = self.reap()? {
                break status;
            }
            if let Some(grace) = self.take_orders()? {
                self.end_command(grace)?;
            }
        };
        while !self.sweep()? {
            self.wait(Some(SWEEP_AGAIN))?;
            // What is asked now is being done.
            self.take_signals()?;
            self.take_orders()?;
        }
        for output in self.outputs.iter_mut().flatten() {
            // Everybody is dead: what is in the pipe is all there will be.
            while output.take() && readable(output.pipe.as_fd())? {}
        }
        let killed_for_memory = cgroup::memory_kills(&self.spec.groups) > 0;
        Ok(match (self.spec.memory_limit_bytes, status) {
            (Some(limit_bytes), status) if killed_for_memory && status != Ending::Status(0) => {
                Ending::OutOfMemory { limit_bytes }
            },
            (_, status) => status,
        })
    }

    /// Until something happens or the time is up.
    fn wait(&mut self, patience: Option<Duration>) -> io::Result<()> {
        let timeout = match patience {
            // Rounded up: a moment too early would be a busy loop.
            Some(patience) => PollTimeout::try_from(patience + Duration::from_millis(1))
                .unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        let mut watched = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.orders.as_fd(), PollFlags::POLLIN),
        ];
        for output in self.outputs.iter().flatten() {
            watched.push(PollFd::new(output.pipe.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut watched, timeout) {
            Ok(_) | Err(Errno::EINTR) => {},
            Err(error) => return Err(error.into()),
        }
        for slot in &mut self.outputs {
            if slot.as_mut().is_some_and(|output| !output.take()) {
                *slot = None;
            }
        }
        Ok(())
    }

    /// Says whether somebody wants this process to end, which means the command.
    fn take_signals(&mut self) -> io::Result<bool> {
        let mut end = false;
        while let Some(signal) = self.signals.read_signal()? {
            let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
            end |= number == Signal::SIGTERM as i32 || number == Signal::SIGINT as i32;
        }
        Ok(end)
    }

    fn take_orders(&mut self) -> io::Result<Option<Duration>> {
        let mut buffer = [0; 4096];
        let count = match self.orders.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).into_owned();
        let graces = text.lines().filter_map(|line| line.strip_prefix("end ")?.parse().ok());
        Ok(graces.min().map(Duration::from_millis))
    }

    /// SIGTERM, and SIGKILL after `grace`. Asked again, the earlier of the two ends counts.
    fn end_command(&mut self, grace: Duration) -> io::Result<()> {
        self.signal_command(rustix::process::Signal::TERM)?;
        let at = Instant::now() + grace;
        self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
        Ok(())
    }

    fn signal_command(&self, signal: rustix::process::Signal) -> io::Result<()> {
        let Some(pid) = process::pid(self.command) else { return Ok(()) };
        match rustix::process::kill_process_group(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Buries the dead, and says how the command ended when it is among them.
    fn reap(&self) -> io::Result<Option<Ending>> {
        let mut ending = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, status)) if self.is_command(pid) => {
                    ending = Some(Ending::Status(status));
                },
                Ok(WaitStatus::Signaled(pid, signal, _)) if self.is_command(pid) => {
                    ending = Some(Ending::Signal(signal as i32));
                },
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(ending),
                Ok(_) | Err(Errno::EINTR) => {},
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn is_command(&self, pid: nix::unistd::Pid) -> bool {
        u32::try_from(pid.as_raw()).ok() == Some(self.command)
    }

    /// Kills what the command left behind. True when nothing is left.
    fn sweep(&self) -> io::Result<bool> {
        let anybody = kill_rest(self.spec)?;
        self.reap()?;
        Ok(!anybody)
    }
}

/// Kills the members of the groups and every child, grown or adopted. True when there was somebody.
fn kill_rest(spec: &Spec) -> io::Result<bool> {
    let mut anybody = cgroup::kill_all(&spec.groups)?;
    let own = std::process::id();
    // Whoever lost its parent is a child of this process, which reaps for all below it.
    let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
    for number in children.unwrap_or_default().split_whitespace() {
        anybody = true;
        if let Some(pid) = number.parse().ok().and_then(process::pid) {
            // A child stays a zombie until it is reaped here, so the pid is still its own.
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    }
    Ok(anybody)
}

/// After a refused start: whoever got into the groups is ended.
fn sweep_without_output(spec: &Spec) -> io::Result<()> {
    while kill_rest(spec)? {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(_) | Err(Errno::ECHILD | Errno::EINTR) => {},
            Err(error) => return Err(error.into()),
        }
        poll(&mut [], 1_u16).ok();
    }
    Ok(())
}

fn readable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut watched = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut watched, PollTimeout::ZERO)?;
    Ok(watched[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN)))
}
