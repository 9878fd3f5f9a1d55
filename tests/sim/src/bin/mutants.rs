//! Plants each known mistake in a copy of the sources, builds the simulation there, and demands that it finds a violation.
//!
//! Nothing of the workspace itself is changed. The copy and what is built from it lie in `mutants` below the target
//! directory, so the next run has less to build.

use berth_sim::mutants::{Mutant, mutants};
use berth_sim::{Breach, Options, run_seed};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// What the simulation consists of.
const PARTS: [&str; 6] =
    ["model", "ledger", "master/core", "agent/core", "storage-framework/core", "tests/sim"];
/// So many seeds have to do.
const SEEDS: u64 = 600;

struct Workshop {
    root: PathBuf,
    copy: PathBuf,
    target: PathBuf,
}

fn main() -> ExitCode {
    let only: Vec<String> = std::env::args().skip(1).collect();
    match run(&only) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to do when standard error is gone as well.
            drop(writeln!(io::stderr(), "mutants: {error}"));
            ExitCode::from(2)
        },
    }
}

/// Answers how many survived.
fn run(only: &[String]) -> io::Result<u64> {
    let wanted =
        |name: &str| only.is_empty() || only.iter().any(|word| name.contains(word.as_str()));
    let mut out = io::stdout().lock();
    let mut survived = 0;
    for breach in Breach::ALL {
        let name = format!("{breach:?}");
        if wanted(&name) {
            let verdict = try_breach(breach);
            survived += u64::from(verdict.is_none());
            report(&mut out, &name, "a rule of the shells", verdict.as_deref())?;
        }
    }
    let mutants: Vec<&Mutant> = mutants().filter(|mutant| wanted(mutant.name)).collect();
    if !mutants.is_empty() {
        let workshop = Workshop::open()?;
        writeln!(
            out,
            "building the simulation for {} mutants; the first build takes longest",
            mutants.len()
        )?;
        for mutant in mutants {
            let verdict = workshop.try_mutant(mutant)?;
            survived += u64::from(verdict.is_none());
            report(&mut out, mutant.name, mutant.why, verdict.as_deref())?;
        }
    }
    writeln!(out, "survived {survived}")?;
    Ok(survived)
}

fn report(out: &mut impl Write, name: &str, why: &str, verdict: Option<&str>) -> io::Result<()> {
    let text = match verdict {
        Some(found) => format!("killed    {name:<40} {found}"),
        None => format!("SURVIVED  {name:<40} {why}"),
    };
    writeln!(out, "{}", text.chars().take(160).collect::<String>())?;
    out.flush()
}

/// What was found, if anything.
fn try_breach(breach: Breach) -> Option<String> {
    let options = Options { breach: Some(breach), ..Options::default() };
    (1..=SEEDS).find_map(|seed| {
        let found = run_seed(seed, &options).violations.into_iter().next()?;
        Some(format!("seed {seed}: {}: {}", found.rule, found.text))
    })
}

impl Workshop {
    fn open() -> io::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |given| root.join(given))
            .join("mutants");
        let copy = target.join("sources");
        if copy.exists() {
            fs::remove_dir_all(&copy)?;
        }
        for part in PARTS {
            copy_folder(&root.join(part), &copy.join(part))?;
        }
        let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
        fs::write(copy.join("Cargo.toml"), with_members(&manifest)?)?;
        fs::copy(root.join("Cargo.lock"), copy.join("Cargo.lock"))?;
        Ok(Self { root, copy, target })
    }

    /// What was found, if anything; the copy is as before afterwards.
    fn try_mutant(&self, mutant: &Mutant) -> io::Result<Option<String>> {
        let right = fs::read_to_string(self.root.join(mutant.file))?;
        if right.matches(mutant.from).count() != 1 {
            let text = format!("{}: {:?} does not occur once", mutant.file, mutant.from);
            return Err(io::Error::other(text));
        }
        let place = self.copy.join(mutant.file);
        fs::write(&place, right.replacen(mutant.from, mutant.to, 1))?;
        let verdict = self.build(mutant).and_then(|()| self.simulate());
        fs::write(&place, right)?;
        verdict
    }

    fn build(&self, mutant: &Mutant) -> io::Result<()> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--offline", "-p", "berth-sim", "--bin", "sim"])
            .current_dir(&self.copy)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("RUSTFLAGS", "-Awarnings")
            .stdin(Stdio::null())
            .output()?;
        if built.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&built.stderr);
        Err(io::Error::other(format!("{} does not build:\n{text}", mutant.name)))
    }

    fn simulate(&self) -> io::Result<Option<String>> {
        let run = Command::new(self.target.join("debug/sim"))
            .args(["--first", "--seeds", &SEEDS.to_string()])
            .stdin(Stdio::null())
            .output()?;
        let (said, complaint) =
            (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        let found = said.lines().find(|line| line.starts_with("seed ")).map(str::to_owned);
        let crash = complaint.lines().find(|line| line.contains("panicked")).map(str::to_owned);
        Ok(if run.status.success() { None } else { found.or(crash).or(Some("failed".to_owned())) })
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if !entry.file_type()?.is_dir() {
            fs::copy(source, target)?;
        } else {
            copy_folder(&source, &target)?;
        }
    }
    Ok(())
}

/// The workspace's manifest with the parts as its only members.
fn with_members(manifest: &str) -> io::Result<String> {
    let missing = || io::Error::other("Cargo.toml: no list of members found");
    let start = manifest.find("members = [").ok_or_else(missing)?;
    let length = manifest[start..].find(']').ok_or_else(missing)?;
    let parts = PARTS.map(|part| format!("{part:?}")).join(", ");
    let rest = &manifest[start + length + 1..];
    Ok(format!("{}members = [{parts}]{rest}", &manifest[..start]))
}
