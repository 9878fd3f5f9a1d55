//! The documents are true: the README's tour runs, and every command that is written anywhere exists with its flags.

use anyhow::{Context, ensure};
use berth_cluster_tests::{Cluster, berth_bin, run};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The text between "```sh" and "```", in order.
fn shell_blocks(markdown: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in markdown.lines() {
        match (&mut open, line.trim()) {
            (None, "```sh") => open = Some(String::new()),
            (Some(block), "```") => {
                blocks.push(std::mem::take(block));
                open = None;
            },
            (Some(block), _) => {
                block.push_str(line);
                block.push('\n');
            },
            (None, _) => {},
        }
    }
    blocks
}

/// What a person types into another terminal, or what the whole build does.
fn is_run_elsewhere(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("make ")
        || line.starts_with("git clone")
        || line.starts_with("cd ")
        || line.contains("berth dev")
}

#[test]
fn the_tour_of_the_readme_runs_as_written() -> anyhow::Result<()> {
    let readme = std::fs::read_to_string(root().join("README.md")).context("read README.md")?;
    let blocks = shell_blocks(&readme);
    ensure!(
        blocks.iter().any(|b| b.contains("volume create")),
        "the README has no tour: {blocks:?}"
    );
    if Command::new("mariadbd").arg("--version").output().is_err() {
        eprintln!("SKIPPED: mariadbd is not installed (make setup installs mariadb-server-core)");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let cluster = Cluster::start(dir.path(), &["--agents", "3"])?;
    let bin = berth_bin()?;
    let folder = bin.parent().context("the program's folder")?.display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap_or_default());
    for block in &blocks {
        let lines: Vec<&str> = block.lines().filter(|line| !is_run_elsewhere(line)).collect();
        let script = lines.join("\n");
        let done = run(
            Path::new("bash"),
            &["-euo", "pipefail", "-c", &format!("cd '{}'\n{script}", root().display())],
            &[("PATH", &path), ("BERTH_MASTER", cluster.url()), ("NO_COLOR", "1")],
        )?;
        ensure!(
            done.code == 0,
            "this block of the README ends with {}:\n{script}\n{}\n{}",
            done.code,
            done.stdout,
            done.stderr
        );
    }
    cluster.stop()
}

/// `berth volume create a --role r` is (["volume", "create"], ["--role"]).
fn command_of(line: &str) -> Option<(Vec<String>, BTreeSet<String>)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|w| *w == "berth" || w.ends_with("/berth"))?;
    let is_verb = |w: &str| {
        !w.is_empty()
            && w.chars().all(|c| c.is_ascii_lowercase() || c == '-')
            && !w.starts_with('-')
    };
    let rest: Vec<&str> = words[at + 1..]
        .iter()
        .copied()
        .take_while(|w| !matches!(*w, "|" | "&&" | ";" | ">" | "#"))
        .collect();
    let path: Vec<String> =
        rest.iter().take(3).take_while(|w| is_verb(w)).map(|w| (*w).to_owned()).collect();
    let flags = rest.iter().filter(|w| w.starts_with("--") && w.len() > 2);
    let flags = flags
        .map(|w| w.split('=').next().unwrap_or(w).trim_end_matches([',', ')', '`']).to_owned())
        .collect();
    (!path.is_empty()).then_some((path, flags))
}

/// The help of the longest beginning of `path` that is a command.
fn help(
    path: &[String],
    known: &mut BTreeMap<Vec<String>, Option<String>>,
) -> anyhow::Result<Option<String>> {
    for length in (1..=path.len()).rev() {
        let part = path[..length].to_vec();
        if !known.contains_key(&part) {
            let mut args: Vec<&str> = part.iter().map(String::as_str).collect();
            args.push("--help");
            let shown = run(&berth_bin()?, &args, &[])?;
            known.insert(part.clone(), (shown.code == 0).then_some(shown.stdout));
        }
        if let Some(Some(text)) = known.get(&part) {
            let takes_more = text.contains("<COMMAND>");
            return Ok((!takes_more || length == path.len()).then(|| text.clone()));
        }
    }
    Ok(None)
}

#[test]
fn every_command_in_the_documents_exists_with_its_flags() -> anyhow::Result<()> {
    let mut files = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    for entry in std::fs::read_dir(root().join("docs")).context("read docs")? {
        files.push(entry?.path());
    }
    let (mut known, mut wrong, mut checked) = (BTreeMap::new(), Vec::new(), 0);
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "md")) {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        for line in shell_blocks(&text).join("\n").replace("\\\n", " ").lines() {
            let Some((path, flags)) = command_of(line.split(" #").next().unwrap_or(line)) else {
                continue;
            };
            checked += 1;
            match help(&path, &mut known)? {
                None => wrong.push(format!("{}: no such command: {line}", file.display())),
                Some(help) => {
                    let missing: Vec<_> =
                        flags.iter().filter(|f| !help.contains(f.as_str())).collect();
                    if !missing.is_empty() {
                        wrong.push(format!("{}: no flag {missing:?}: {line}", file.display()));
                    }
                },
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(checked >= 10, "only {checked} commands were found in the documents");
    Ok(())
}
