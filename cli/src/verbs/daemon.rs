//! The daemons: settings from flags and files, logging, signals; the work is done in their own crates.

use crate::args::{AgentRun, Internal, MasterRun, SchedulerRun};
use crate::failure::{Failure, exit};
use crate::output::{line, note};
use berth_agent::engine::Error as AgentError;
use berth_agent::{AgentConfig, Flags};
use berth_master::engine::EngineError;
use berth_master::registry::StoreError;
use berth_master::{MasterConfig, MasterFlags, ServeError as MasterError};
use berth_model::error::{ErrorCode, Rejection};
use berth_storage_framework::service::{
    EngineError as SchedulerEngineError, SchedulerConfig, ServeError as SchedulerError,
};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The supervisor of one container: `supervise RUN_FOLDER`.
pub(crate) fn supervise(internal: &Internal) -> ExitCode {
    match internal.args.as_slice() {
        [folder] => berth_agent::container::supervise_main(Path::new(folder)),
        other => wrong_call("supervise RUN_FOLDER", other),
    }
}

/// One execution inside a container: `check RUN_FOLDER ROLE`.
pub(crate) fn check(internal: &Internal) -> ExitCode {
    match internal.args.as_slice() {
        [folder, role, rest @ ..] => {
            let rest: Vec<String> =
                rest.iter().map(|text| text.to_string_lossy().into_owned()).collect();
            let role = role.to_string_lossy();
            berth_agent::container::exec_check_main(Path::new(folder), &role, &rest)
        },
        other => wrong_call("check RUN_FOLDER ROLE …", other),
    }
}

fn wrong_call(form: &str, args: &[OsString]) -> ExitCode {
    note(&format!("error: {args:?} is not of the form {form}; the agent calls this, not people"));
    ExitCode::from(exit::USAGE)
}

/// Structured lines on standard error; BERTH_LOG chooses what is shown (default: info).
fn start_logging() {
    let filter =
        EnvFilter::try_from_env("BERTH_LOG").unwrap_or_else(|_unset| EnvFilter::new("info"));
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let ready = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_terminal)
        .with_writer(std::io::stderr)
        .try_init();
    if let Err(error) = ready {
        note(&format!("warning: logging cannot be set up: {error}"));
    }
}

/// A daemon holds many connections and files.
fn take_open_files() {
    match berth_agent::host::limits::raise_open_files() {
        Ok(most) => tracing::debug!(?most, "limit of open files raised"),
        Err(error) => tracing::warn!("the limit of open files stays as it is: {error}"),
    }
}

/// Why a master ended, with the code that is documented for it.
fn master_ended(error: &MasterError) -> Failure {
    let code = match error {
        MasterError::Listen { .. } => ErrorCode::InvalidArgument,
        MasterError::Store(store) | MasterError::Engine(EngineError::Store(store)) => match store {
            StoreError::Locked { .. } => ErrorCode::Locked,
            StoreError::Corrupt { .. } | StoreError::CutOff { .. } => ErrorCode::RegistryCorrupt,
            StoreError::Write { .. } | StoreError::Poisoned { .. } => ErrorCode::DiskFaulty,
            StoreError::Conflict { .. } => ErrorCode::Internal,
        },
        MasterError::Engine(EngineError::Record(_) | EngineError::Recover(_)) => {
            ErrorCode::RegistryCorrupt
        },
        MasterError::Engine(EngineError::Thread { .. }) | MasterError::Server(_) => {
            ErrorCode::Internal
        },
    };
    coded(code, error)
}

/// Why an agent ended, with the code that is documented for it.
fn agent_ended(error: &AgentError) -> Failure {
    let Failure { error: whole, .. } = ended(error);
    let mut rejection = error.rejection();
    rejection.message = whole.message;
    Failure::from(rejection)
}

/// Why a scheduler ended, with the code that is documented for it.
fn scheduler_ended(error: &SchedulerError) -> Failure {
    match error {
        SchedulerError::Master(rejection) => Failure::from(rejection.clone()),
        SchedulerError::Listen { .. } => coded(ErrorCode::InvalidArgument, error),
        SchedulerError::Ledger(ledger) if ledger.is_locked() => coded(ErrorCode::Locked, error),
        SchedulerError::Ledger(_) => coded(ErrorCode::LedgerCorrupt, error),
        SchedulerError::Engine(SchedulerEngineError::Rival(rejection)) => {
            Failure::from(rejection.clone())
        },
        SchedulerError::Engine(_) | SchedulerError::Server(_) => ended(error),
    }
}

fn coded(code: ErrorCode, error: &dyn std::error::Error) -> Failure {
    let Failure { error: mut rejection, .. } = ended(error);
    rejection.code = code;
    Failure::from(rejection)
}

/// A daemon that could not start or had to end: the whole chain of causes.
fn ended(error: &dyn std::error::Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    Failure::local(text)
}

fn on(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|e| Failure::local(format!("listen for a signal: {e}")))
}

/// Completes at SIGTERM or SIGINT.
fn stop_signal() -> Result<impl Future<Output = ()> + Send, Failure> {
    let (mut terminate, mut interrupt) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {},
            _ = interrupt.recv() => {},
        }
    })
}

fn serving(what: &str, address: std::net::SocketAddr) {
    if let Err(failure) = line(&format!("{what}: http://{address}")) {
        note(&format!("warning: {failure}"));
    }
}

pub(crate) async fn master(args: MasterRun) -> Result<(), Failure> {
    let flags = MasterFlags {
        work_dir: args.work_dir,
        listen: args.listen,
        offer_fanout: args.offer_fanout,
        offer_stagger: args.offer_stagger,
        optimistic_offer_timeout: args.optimistic_offer_timeout,
        optimistic_offer_grace: args.optimistic_offer_grace,
        sticky_ttl: args.sticky_ttl,
    };
    let config = MasterConfig::load(args.config.as_deref(), flags)
        .map_err(|e| Failure::usage(e.to_string(), "see `berth master run --help`"))?;
    start_logging();
    take_open_files();
    let stop = stop_signal()?;
    berth_master::run(config, |address| serving("master", address), stop)
        .await
        .map_err(|e| master_ended(&e))
}

pub(crate) async fn agent(args: AgentRun) -> Result<(), Failure> {
    let AgentRun {
        master,
        work_dir,
        hostname,
        disk,
        disk_add_below,
        attribute,
        resources,
        import_from,
        key_dir,
        config,
    } = args;
    let (attributes, disks) = (attribute, disk);
    let flags = Flags {
        master,
        work_dir,
        hostname,
        attributes,
        resources,
        disks,
        disk_add_below,
        import_from,
        key_dir,
    };
    let config = AgentConfig::load(config.as_deref(), flags).map_err(Failure::from)?;
    start_logging();
    take_open_files();
    let stop = berth_agent::engine::signals().map_err(|e| agent_ended(&e))?;
    berth_agent::engine::run(config, stop).await.map_err(|e| agent_ended(&e))
}

pub(crate) async fn scheduler(args: SchedulerRun) -> Result<(), Failure> {
    let listen = args.listen.strip_prefix("http://").unwrap_or(&args.listen);
    let listen = listen.parse().map_err(|_e| {
        let error = format!("{:?} is not IP:PORT", args.listen);
        Failure::from(
            Rejection::new(ErrorCode::InvalidArgument, error)
                .field("--listen")
                .remedy("write for example 127.0.0.1:0"),
        )
    })?;
    let master = args.master.parse().map_err(Failure::from)?;
    let config = SchedulerConfig { master, work_dir: args.work_dir, listen };
    start_logging();
    take_open_files();
    let stop = stop_signal()?;
    berth_storage_framework::service::run(config, |address| serving("scheduler", address), stop)
        .await
        .map_err(|e| scheduler_ended(&e))
}
