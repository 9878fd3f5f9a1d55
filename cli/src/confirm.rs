//! The safety ladder of destructive commands: a question on a terminal, a flag in scripts, the object's name where data
//! really goes.

use crate::failure::{Failure, exit};
use crate::output::note;
use berth_model::error::{ErrorCode, Rejection};
use std::io::{BufRead, IsTerminal, Write};

/// Flags of commands that destroy.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Confirm {
    /// Do not ask
    #[arg(short, long, help_heading = "Safety")]
    pub(crate) yes: bool,
    /// Show what would be done and do nothing
    #[arg(long, help_heading = "Safety")]
    pub(crate) dry_run: bool,
}

/// Flags of commands after which data is gone for good.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct TypedName {
    /// With --yes: the name of what is deleted, instead of typing it
    #[arg(long, help_heading = "Safety")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) safety: Confirm,
}

fn refused(message: String, remedy: &str) -> Failure {
    Failure::new(
        exit::GUARD,
        Rejection::new(ErrorCode::ConfirmationRequired, message).remedy(remedy),
    )
}

fn answer(question: &str) -> Result<String, Failure> {
    let mut out = std::io::stderr().lock();
    let asked = write!(out, "{question} ").and_then(|()| out.flush());
    asked.map_err(|e| Failure::local(format!("ask: {e}")))?;
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|e| Failure::local(format!("read the answer: {e}")))?;
    Ok(line.trim().to_owned())
}

/// For what can be undone: asks yes or no on a terminal; without one `--yes` is required.
pub(crate) fn ask(impact: &str, flags: &Confirm) -> Result<(), Failure> {
    note(impact);
    if flags.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(refused(
            "nobody is there to confirm".to_owned(),
            "repeat the command with --yes",
        ));
    }
    match answer("Go on? [y/N]")?.as_str() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(refused("not confirmed".to_owned(), "nothing was changed")),
    }
}

/// For what cannot be undone: the name has to be typed, or given with `--yes --confirm NAME`.
pub(crate) fn type_name(impact: &str, name: &str, flags: &TypedName) -> Result<(), Failure> {
    note(impact);
    match flags.confirm.as_deref() {
        Some(given) if given == name && flags.safety.yes => return Ok(()),
        Some(given) if given != name => {
            return Err(refused(
                format!("--confirm {given} does not name {name}"),
                "nothing was changed; give the exact name",
            ));
        },
        Some(_) | None => {},
    }
    if !std::io::stdin().is_terminal() {
        return Err(refused(
            format!("deleting {name} for good needs its name"),
            &format!("repeat the command with --yes --confirm {name}"),
        ));
    }
    if answer(&format!("Type the name {name} to go on:"))? == name {
        Ok(())
    } else {
        Err(refused("the name was not typed".to_owned(), "nothing was changed"))
    }
}
