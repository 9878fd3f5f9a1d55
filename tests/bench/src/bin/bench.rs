//! `make bench`: runs the benchmarks and writes their figures.
#![expect(clippy::print_stdout, reason = "this program talks to a person")]

use anyhow::Context;
use berth_bench::w4::{self, Effort};

fn main() -> anyhow::Result<()> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let dir = tempfile::Builder::new()
        .prefix("berth-bench-")
        .tempdir_in(".")
        .context("create a folder here, on the file system that is measured")?;
    let effort = if quick { Effort::QUICK } else { Effort::FULL };
    println!("w4: durable RESERVE+CREATE (several minutes)");
    let figures = w4::run(dir.path(), effort)?;
    print!("{}", figures.table());
    println!("written to {}", figures.write("w4")?.display());
    Ok(())
}
