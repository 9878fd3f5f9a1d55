//! `berth`: the operators' commands and the daemons, in one program.
//!
//! A command parses, asks, prints and ends; it keeps no state. Results go to standard output, everything else to standard
//! error, and the exit code says what kind of end it was (docs/errors.md).

mod args;
mod caller;
mod client;
mod confirm;
mod dev;
mod failure;
mod map;
mod output;
mod resolve;
mod rows;
mod services;
mod verbs;

use args::{Agent, Cli, Command, Master, Scheduler, Shell};
use clap::{CommandFactory, Parser};
use failure::Failure;
use std::process::ExitCode;
use verbs::{
    audit, daemon, disk, document, explain, list, operation, orphan, profile, quota, reservation,
    role, service, snapshot, task, volume,
};

/// The master's work is many small values; this allocator handles them in less time than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        // These two start before any thread exists: they change namespaces and users.
        Command::Supervise(internal) => daemon::supervise(&internal),
        Command::Check(internal) => daemon::check(&internal),
        command => run(command),
    }
}

fn run(command: Command) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::note(&format!("error: start the runtime: {error}"));
            return ExitCode::FAILURE;
        },
    };
    match runtime.block_on(dispatch(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::note(&format!("error: {} [{}]", failure.error.message, failure.error.code));
            if !failure.error.field.is_empty() {
                output::note(&format!("field: {}", failure.error.field));
            }
            if !failure.error.remedy.is_empty() {
                output::note(&format!("hint:  {}", failure.error.remedy));
            }
            ExitCode::from(failure.code)
        },
    }
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Dev(args) => {
            dev::run(args).await.map_err(|error| match error.downcast::<Failure>() {
                Ok(failure) => failure,
                Err(error) => Failure::local(format!("{error:#}")),
            })
        },
        Command::Master(Master::Run(args)) => daemon::master(args).await,
        Command::Agent(Agent::Run(args)) => daemon::agent(args).await,
        Command::Scheduler(Scheduler::Run(args)) => daemon::scheduler(args).await,
        Command::Agent(command) => list::agent(&command).await,
        Command::Disk(command) => disk::run(&command).await,
        Command::Profile(command) => profile::run(&command).await,
        Command::Reservation(command) => reservation::run(&command).await,
        Command::Volume(command) => volume::run(&command).await,
        Command::Snapshot(command) => snapshot::run(&command).await,
        Command::Framework(command) => list::framework(&command).await,
        Command::Offer(command) => list::offer(&command).await,
        Command::Task(command) => task::run(&command).await,
        Command::Operation(command) => operation::run(&command).await,
        Command::Service(command) => service::run(&command).await,
        Command::Quota(command) => quota::run(&command).await,
        Command::Role(command) => role::run(&command).await,
        Command::Apply(command) => document::apply(&command).await,
        Command::Validate(command) => document::validate(&command),
        Command::Orphan(command) => orphan::run(&command).await,
        Command::Explain(command) => explain::run(&command).await,
        Command::Audit(command) => audit::run(&command).await,
        Command::Completion { shell } => completion(shell),
        Command::Version => output::line(&format!("berth {}", env!("CARGO_PKG_VERSION"))),
        // Handled before the runtime exists.
        Command::Supervise(_) | Command::Check(_) => Ok(()),
    }
}

fn completion(shell: Shell) -> Result<(), Failure> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "berth", &mut script);
    output::bytes(&script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
