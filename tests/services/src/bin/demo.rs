//! `make demo`: shows the promise with a real database and says how long each recovery took.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this program talks to a person")]

use anyhow::Context;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo failed: {error:#}");
            ExitCode::FAILURE
        },
    }
}

fn run() -> anyhow::Result<()> {
    let start = Instant::now();
    let dir = tempfile::Builder::new()
        .prefix("berth-demo-")
        .tempdir()
        .context("create a directory for the demo")?;
    // The database runs as an ordinary user, which must be able to reach its sandbox.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open)
        .context("open the demo's directory to the database's user")?;
    let document = Path::new("examples/mariadb.yaml");
    let mut say = |text: &str| println!("[{:6.1}s] {text}", start.elapsed().as_secs_f32());
    let report = berth_services_tests::demo(dir.path(), document, &mut say)?;
    println!("\nrecovery after");
    for step in &report.steps {
        let process = if step.same_process { "same process" } else { "new process" };
        println!("  {:>6.1}s  {:13} {}", step.recovery.as_secs_f32(), process, step.fault);
    }
    println!(
        "\nthe data survived every fault on the same agent and volume; nothing is left running"
    );
    Ok(())
}
