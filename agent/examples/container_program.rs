//! The program the container tests start as supervisor: only the hidden subcommands, and no thread before them.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["supervise", run] => berth_agent::container::supervise_main(Path::new(run)),
        ["check", run, role, ..] => {
            let rest = arguments.get(3..).unwrap_or_default();
            berth_agent::container::exec_check_main(Path::new(run), role, rest)
        },
        _ => ExitCode::from(2),
    }
}
