//! `make bench`: runs the benchmarks and writes their figures. `--quick` looks for half a minute, `--core` leaves the daemons
//! out, `--volumes` leaves W4 out, `--profile` only loads the core path, for a profiler. With names (`w1`, `w2`, `w3`, `w7`, `w8`, `w9`,
//! `snapshots`, `agent`, `w4`) only these are run.
#![expect(clippy::print_stdout, reason = "this program talks to a person")]

use anyhow::Context;
use berth_bench::counting::Counting;
use berth_bench::w4::{self, Effort};
use berth_bench::{agent, allocation, snapshots, w8, w9};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> anyhow::Result<()> {
    let has = |flag: &str| std::env::args().any(|arg| arg == flag);
    let dir = tempfile::Builder::new()
        .prefix("berth-bench-")
        .tempdir_in(".")
        .context("create a folder here, on the file system that is measured")?;
    if has("--profile") {
        println!("{:.1} us an operation", w4::load(dir.path(), 100)?);
        return Ok(());
    }
    let effort = if has("--quick") { Effort::QUICK } else { Effort::FULL };
    let names: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|one| one == name);
    if wanted("w1") {
        println!("w1: full cycles of the allocator (minutes)");
        let figures = allocation::w1(effort)?;
        print!("{}", figures.table());
        println!("written to {}", figures.write("w1")?.display());
    }
    if wanted("w2") {
        println!("w2: one agent becomes free");
        let figures = allocation::w2(effort)?;
        print!("{}", figures.table());
        println!("written to {}", figures.write("w2")?.display());
    }
    if wanted("w3") {
        println!("w3: tasks from ACCEPT to running, in the core");
        let figures = allocation::w3(effort)?;
        print!("{}", figures.table());
        println!("written to {}", figures.write("w3")?.display());
    }
    if wanted("w7") {
        println!("w7: memory, by regression");
        let figures = allocation::w7(effort)?;
        print!("{}", figures.table());
        println!("written to {}", figures.write("w7")?.display());
    }
    if wanted("w8") {
        println!("w8: a slow scheduler beside fast ones, in virtual time (minutes)");
        let (figures, plots) = w8::run(effort)?;
        print!("{}", figures.table());
        println!("written to {}", figures.write("w8")?.display());
        for plot in plots {
            println!("drawn in {}", plot.display());
        }
    }
    if wanted("w9") {
        println!("w9: making volumes, and looking at them after a restart (minutes)");
        let figures = w9::run(dir.path(), effort)?;
        print!("{}", figures.table());
        println!("written to {}", figures.write("w9")?.display());
    }
    if wanted("snapshots") {
        println!("snapshots: on btrfs, by size");
        if let Some(figures) = snapshots::run(dir.path(), effort)? {
            print!("{}", figures.table());
            println!("written to {}", figures.write("snapshots")?.display());
        }
    }
    if !has("--core") && wanted("agent") {
        println!(
            "agent: its memory, its restart, and what it says while a million files are deleted (minutes)"
        );
        let figures = agent::run(dir.path(), effort)?;
        print!("{}", figures.table());
        println!("written to {}", figures.write("agent")?.display());
    }
    if has("--volumes") || !wanted("w4") {
        return Ok(());
    }
    println!("w4: durable RESERVE+CREATE (several minutes)");
    let figures = w4::run(dir.path(), effort, !has("--core"))?;
    print!("{}", figures.table());
    println!("written to {}", figures.write("w4")?.display());
    Ok(())
}
