//! Frameworks, tasks, operations, services and their documents.

use super::{Change, Connect, OfRole, Read, duration, operation_id};
use crate::confirm::Confirm;
use crate::output::Show;
use berth_model::id::OperationId;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Framework {
    /// List frameworks
    #[command(visible_alias = "ls")]
    List {
        /// Removed ones too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        read: Read,
    },
    /// Show one framework
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        /// Id, its beginning, or the name
        framework: String,
        #[command(flatten)]
        read: Read,
    },
    /// Remove a framework: its tasks end, its reservations and volumes stay
    Teardown {
        /// Id, its beginning, or the name
        framework: String,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        change: Change,
        #[command(flatten)]
        read: Read,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Offer {
    /// List outstanding offers
    #[command(visible_alias = "ls")]
    List(Read),
    /// Show one offer
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        /// Id
        offer: String,
        #[command(flatten)]
        read: Read,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// List tasks
    #[command(visible_alias = "ls")]
    List {
        /// Ended ones too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        read: Read,
    },
    /// Show one task
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        /// Id or its beginning
        task: String,
        #[command(flatten)]
        read: Read,
    },
    /// Print what a task has written
    Logs {
        /// Id or its beginning
        task: String,
        /// Go on until interrupted, or until the task has ended
        #[arg(short, long)]
        follow: bool,
        /// Standard error instead of standard output
        #[arg(long)]
        stderr: bool,
        /// Only the last so many bytes
        #[arg(long, value_name = "BYTES")]
        tail: Option<u64>,
        #[command(flatten)]
        connect: Connect,
    },
    /// End a task: SIGTERM, then SIGKILL after its grace time. Done when the agent has been told; `task show` says when it has ended
    Kill {
        /// Id or its beginning
        task: String,
        /// From SIGTERM to SIGKILL, instead of the task's own
        #[arg(long, value_parser = duration)]
        grace: Option<std::time::Duration>,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        change: Change,
        #[command(flatten)]
        read: Read,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Operation {
    /// List operations, the latest last
    #[command(visible_alias = "ls")]
    List(Read),
    /// Show one operation
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        /// Id or its beginning
        operation: String,
        #[command(flatten)]
        read: Read,
    },
    /// Wait until an operation has ended
    Wait {
        /// Id or its beginning
        operation: String,
        /// How long to wait; the operation goes on afterwards
        #[arg(long, default_value = "5m", value_parser = duration)]
        timeout: std::time::Duration,
        #[command(flatten)]
        read: Read,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    /// List services
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        of: OfRole,
        #[command(flatten)]
        read: Read,
    },
    /// Show one service with its document
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        /// Name
        service: String,
        #[command(flatten)]
        of: OfRole,
        #[command(flatten)]
        read: Read,
    },
    /// Show the pods and tasks of one service, and why they wait
    Status {
        /// Name
        service: String,
        #[command(flatten)]
        of: OfRole,
        #[command(flatten)]
        read: Read,
    },
    /// End the running tasks of a service and start them again
    Restart {
        /// Name
        service: String,
        #[command(flatten)]
        of: OfRole,
        #[command(flatten)]
        confirm: Confirm,
        /// How long to wait until it is running again
        #[arg(long, default_value = "5m", value_parser = duration, help_heading = "Waiting")]
        timeout: std::time::Duration,
        /// Wait until it is done (the default)
        #[arg(long, conflicts_with = "detach", help_heading = "Waiting")]
        wait: bool,
        /// Do not wait
        #[arg(long, help_heading = "Waiting")]
        detach: bool,
        #[command(flatten)]
        read: Read,
    },
    /// Stop a service and forget it; its volumes stay unless told otherwise
    #[command(visible_alias = "rm")]
    Delete {
        /// Name
        service: String,
        /// Move its volumes to the trash and give its reservations back
        #[arg(long)]
        delete_volumes: bool,
        #[command(flatten)]
        of: OfRole,
        #[command(flatten)]
        confirm: Confirm,
        /// How long to wait until it is gone
        #[arg(long, default_value = "5m", value_parser = duration, help_heading = "Waiting")]
        timeout: std::time::Duration,
        /// Wait until it is done (the default)
        #[arg(long, conflicts_with = "detach", help_heading = "Waiting")]
        wait: bool,
        /// Do not wait
        #[arg(long, help_heading = "Waiting")]
        detach: bool,
        #[command(flatten)]
        read: Read,
    },
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Apply {
    /// A YAML, JSON or TOML document; - reads YAML or JSON from standard input
    pub(crate) file: PathBuf,
    /// Show what would change and do nothing
    #[arg(long, help_heading = "Safety")]
    pub(crate) dry_run: bool,
    /// Wait until every service of the document is running
    #[arg(long, help_heading = "Waiting")]
    pub(crate) wait: bool,
    /// Do not wait (the default)
    #[arg(long, conflicts_with = "wait", help_heading = "Waiting")]
    pub(crate) detach: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_parser = duration, help_heading = "Waiting")]
    pub(crate) timeout: std::time::Duration,
    /// An id, so that a repeated command does not act twice
    #[arg(long, value_parser = operation_id, help_heading = "Waiting")]
    pub(crate) request_id: Option<OperationId>,
    #[command(flatten)]
    pub(crate) read: Read,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Validate {
    /// A YAML, JSON or TOML document; - reads YAML or JSON from standard input
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) show: Show,
}
