//! Documents: check them here, apply them through the service scheduler.

use crate::args::{Apply, Validate};
use crate::client::Client;
use crate::failure::{Failure, exit};
use crate::output::{self, Format, note};
use crate::services::Services;
use crate::verbs::service;
use berth_framework_core::document::{self, Format as Written};
use berth_model::error::Rejection;
use std::io::Read;
use std::path::Path;

/// A document as it was read.
struct Source {
    text: String,
    format: Option<Written>,
}

fn read(path: &Path) -> Result<Source, Failure> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|e| {
            Failure::usage(format!("read standard input: {e}"), "give a UTF-8 document")
        })?;
        return Ok(Source { text, format: None });
    }
    let text = std::fs::read_to_string(path).map_err(|e| {
        Failure::usage(
            format!("read {}: {e}", path.display()),
            "give a readable YAML, JSON or TOML file",
        )
    })?;
    Ok(Source { text, format: Written::of_file(&path.to_string_lossy()) })
}

fn tell(problems: &[Rejection]) {
    for problem in problems {
        note(&format!("{}: {problem}", problem.code));
    }
}

pub(crate) fn validate(command: &Validate) -> Result<(), Failure> {
    let source = read(&command.file)?;
    match document::parse(&source.text, source.format) {
        Ok(services) => {
            let names: Vec<String> = services.iter().map(|s| s.name.to_string()).collect();
            match command.show.output {
                Format::Json | Format::Yaml => output::document(
                    &serde_json::json!({ "valid": true, "services": names }),
                    &command.show,
                ),
                Format::Name => {
                    output::text(&names.iter().map(|n| format!("{n}\n")).collect::<String>())
                },
                Format::Table | Format::Wide => {
                    output::line(&format!("valid: {}", names.join(", ")))
                },
            }
        },
        Err(problems) => Err(refused(problems)),
    }
}

/// All but the last problem are told here; the last one ends the program.
fn refused(mut problems: Vec<Rejection>) -> Failure {
    let last = problems.pop();
    tell(&problems);
    let error = last.unwrap_or_else(|| {
        Rejection::new(
            berth_model::error::ErrorCode::InvalidDocument,
            "the document holds no service",
        )
    });
    Failure::new(exit::PROBLEMS, error)
}

pub(crate) async fn apply(command: &Apply) -> Result<(), Failure> {
    let source = read(&command.file)?;
    // The same check as `berth validate`: all problems at once, before anything is sent.
    let services = document::parse(&source.text, source.format).map_err(refused)?;
    let client = Client::connect(&command.read.connect).await?;
    let scheduler = Services::find(&client).await?;
    let id = command.request_id.unwrap_or_else(Client::mint);
    let reply = scheduler.apply(id, &source.text, source.format, command.dry_run).await?;
    match command.read.show.output {
        Format::Json | Format::Yaml => {
            let value = serde_json::json!({
                "services": reply.services, "changes": reply.changes, "dry_run": reply.dry_run,
            });
            output::document(&value, &command.read.show)?;
        },
        Format::Name => {
            output::text(&reply.services.iter().map(|n| format!("{n}\n")).collect::<String>())?;
        },
        Format::Table | Format::Wide => {
            for change in &reply.changes {
                output::line(change)?;
            }
        },
    }
    if command.wait && !command.dry_run {
        for applied in &services {
            let (name, role) = (applied.name.as_ref(), applied.role.as_str());
            service::wait_running(&scheduler, name, role, command.timeout).await?;
        }
    }
    Ok(())
}
