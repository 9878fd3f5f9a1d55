//! Rules about the Cargo manifests: who may depend on whom, and that versions and lints are those of the workspace.
//!
//! The tables here are the edges of docs/architecture.md. A package that they do not name is refused, so adding one means
//! deciding where it stands.

use crate::Violation;
use crate::repository::File;
use toml::{Table, Value};

/// What each package of the product may use of the others. Packages below `tests/` may use anything.
const EDGES: [(&str, &[&str]); 10] = [
    ("berth-model", &[]),
    ("berth-ledger", &[]),
    ("berth-proto", &["berth-model"]),
    ("berth-master-core", &["berth-model"]),
    ("berth-agent-core", &["berth-model"]),
    ("berth-framework-core", &["berth-model"]),
    ("berth-master", &["berth-model", "berth-proto", "berth-master-core"]),
    ("berth-agent", &["berth-model", "berth-ledger", "berth-proto", "berth-agent-core"]),
    (
        "berth-storage-framework",
        &["berth-model", "berth-ledger", "berth-proto", "berth-framework-core"],
    ),
    (
        "berth-cli",
        &[
            "berth-model",
            "berth-proto",
            "berth-master",
            "berth-agent",
            "berth-storage-framework",
            "berth-framework-core",
        ],
    ),
];
/// The simulation is a test that must never wait for a shell's dependencies.
const SIMULATION: &[&str] = &[
    "berth-model",
    "berth-ledger",
    "berth-master-core",
    "berth-agent-core",
    "berth-framework-core",
];
/// Crates from elsewhere that a package of decisions may use, because they compute and do nothing else.
const PURE_CRATES: [(&str, &[&str]); 4] = [
    ("berth-model", &["thiserror"]),
    ("berth-master-core", &["sha2", "thiserror"]),
    ("berth-agent-core", &["thiserror"]),
    (
        "berth-framework-core",
        &["thiserror", "serde", "serde-saphyr", "serde_json", "strsim", "toml"],
    ),
];

struct Manifest<'a> {
    path: &'a str,
    name: String,
    table: Table,
}

impl Manifest<'_> {
    fn in_tests(&self) -> bool {
        self.path.starts_with("tests/")
    }

    /// (section, crate, its entry) of each dependency.
    fn dependencies(&self) -> impl Iterator<Item = (&'static str, &str, &Value)> {
        ["dependencies", "build-dependencies", "dev-dependencies"].into_iter().flat_map(|section| {
            let table = self.table.get(section).and_then(Value::as_table);
            table.into_iter().flatten().map(move |(name, entry)| (section, name.as_str(), entry))
        })
    }
}

fn packages(files: &[File]) -> (Vec<Manifest<'_>>, Vec<Violation>) {
    let mut packages = Vec::new();
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let table: Table = match file.text().parse() {
            Ok(table) => table,
            Err(error) => {
                found.push(format!("{}: not a manifest: {error}", file.path));
                continue;
            },
        };
        let name = table.get("package").and_then(|p| p.get("name")).and_then(Value::as_str);
        match name.map(str::to_owned) {
            Some(name) => packages.push(Manifest { path: &file.path, name, table }),
            None => found.push(format!("{}: a manifest without a package name", file.path)),
        }
    }
    (packages, found)
}

/// Dependencies between our packages that the architecture does not have.
#[must_use]
pub fn edges(files: &[File]) -> Vec<Violation> {
    let (packages, mut found) = packages(files);
    let ours = |name: &str| name.starts_with("berth-");
    let test_packages: Vec<&str> =
        packages.iter().filter(|p| p.in_tests()).map(|p| p.name.as_str()).collect();
    for package in &packages {
        let listed = EDGES.iter().find(|(name, _)| *name == package.name).map(|(_, edges)| *edges);
        let allowed = match (package.name.as_str(), listed) {
            ("berth-sim", _) => SIMULATION,
            (_, None) if package.in_tests() => continue,
            (_, Some(allowed)) => allowed,
            (name, None) => {
                found.push(format!(
                    "{}: {name} has no place in the architecture: add it to EDGES in tests/tidy/src/manifests.rs",
                    package.path
                ));
                continue;
            },
        };
        for (section, name, _) in package.dependencies().filter(|(_, name, _)| ours(name)) {
            if test_packages.contains(&name) {
                found.push(format!(
                    "{}: [{section}] {name}: only tests may use tests",
                    package.path
                ));
            } else if !allowed.contains(&name) {
                found.push(format!(
                    "{}: [{section}] {name}: {} may use only {allowed:?} of ours",
                    package.path, package.name
                ));
            }
        }
    }
    found
}

/// Crates from elsewhere in packages of decisions. Tests of these packages are free.
#[must_use]
pub fn impure_crates(files: &[File]) -> Vec<Violation> {
    let (packages, mut found) = packages(files);
    for package in &packages {
        let Some((_, allowed)) = PURE_CRATES.iter().find(|(name, _)| *name == package.name) else {
            continue;
        };
        for (section, name, _) in package.dependencies() {
            let free = section == "dev-dependencies" || name.starts_with("berth-");
            if !free && !allowed.contains(&name) {
                found.push(format!(
                    "{}: [{section}] {name}: {} decides and may use only {allowed:?}",
                    package.path, package.name
                ));
            }
        }
    }
    found
}

/// Packages with own lints, own versions, or outside of the workspace. `root` is the text of the root manifest.
#[must_use]
pub fn not_of_the_workspace(files: &[File], root: &str) -> Vec<Violation> {
    let (packages, mut found) = packages(files);
    let root: Table = match root.parse() {
        Ok(root) => root,
        Err(error) => return vec![format!("Cargo.toml: {error}")],
    };
    let members = root.get("workspace").and_then(|w| w.get("members")).and_then(Value::as_array);
    let members: Vec<&str> = members.into_iter().flatten().filter_map(Value::as_str).collect();
    let inherits = |value: Option<&Value>| {
        value.and_then(|v| v.get("workspace")).and_then(Value::as_bool) == Some(true)
    };
    for package in &packages {
        let path = package.path;
        if !members.contains(&path.trim_end_matches("/Cargo.toml")) {
            found.push(format!("{path}: not a member of the workspace"));
        }
        if !inherits(package.table.get("lints")) {
            found.push(format!("{path}: write `[lints]` `workspace = true`"));
        }
        let head = package.table.get("package");
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if !inherits(head.and_then(|head| head.get(key))) {
                found.push(format!("{path}: write `{key}.workspace = true`"));
            }
        }
        for (section, name, entry) in package.dependencies() {
            if !inherits(Some(entry)) {
                found.push(format!(
                    "{path}: [{section}] {name}: put the version into the root manifest and write `{name}.workspace = true`"
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(path: &str, name: &str, rest: &str) -> File {
        File::new(path, &format!("[package]\nname = \"{name}\"\n{rest}"))
    }

    fn check(found: &[Violation], expected: &[&str]) {
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (violation, part) in found.iter().zip(expected) {
            assert!(violation.contains(part), "{part}: {found:#?}");
        }
    }

    #[test]
    fn wrong_edges_are_found() {
        let sim = manifest(
            "tests/sim/Cargo.toml",
            "berth-sim",
            "[dependencies]\nberth-master.workspace = true\n",
        );
        let files = [
            manifest(
                "agent/Cargo.toml",
                "berth-agent",
                "[dependencies]\nberth-master.workspace = true\n",
            ),
            manifest(
                "agent/core/Cargo.toml",
                "berth-agent-core",
                "[dev-dependencies]\nberth-proto.workspace = true\n",
            ),
            manifest(
                "cli/Cargo.toml",
                "berth-cli",
                "[dev-dependencies]\nberth-sim.workspace = true\n",
            ),
            manifest("extra/Cargo.toml", "berth-extra", ""),
            sim,
        ];
        check(
            &edges(&files),
            &["berth-master", "berth-proto", "only tests may use tests", "no place", "tests/sim"],
        );
    }

    #[test]
    fn the_edges_of_the_architecture_are_free() {
        let files = [
            manifest(
                "master/Cargo.toml",
                "berth-master",
                "[dependencies]\nberth-proto.workspace = true\n",
            ),
            manifest(
                "tests/bench/Cargo.toml",
                "berth-bench",
                "[dependencies]\nberth-agent.workspace = true\nberth-cluster-tests.workspace = true\n",
            ),
        ];
        check(&edges(&files), &[]);
    }

    #[test]
    fn a_crate_that_acts_is_found_in_a_core() {
        let core = |rest| [manifest("master/core/Cargo.toml", "berth-master-core", rest)];
        check(&impure_crates(&core("[dependencies]\ntokio.workspace = true\n")), &["tokio"]);
        check(&impure_crates(&core("[build-dependencies]\nserde.workspace = true\n")), &["serde"]);
        check(&impure_crates(&core("[dev-dependencies]\ntempfile.workspace = true\n")), &[]);
    }

    #[test]
    fn own_versions_lints_and_strangers_are_found() {
        let root = "[workspace]\nmembers = [\"model\"]\n";
        let own = "version = \"1.0.0\"\nedition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n";
        let good = own.replace("version = \"1.0.0\"", "version.workspace = true");
        let lints = "[lints]\nworkspace = true\n[dependencies]\n";
        let at = |path: &str, rest: String| [manifest(path, "berth-model", &rest)];
        check(&not_of_the_workspace(&at("model/Cargo.toml", format!("{good}{lints}")), root), &[]);
        check(
            &not_of_the_workspace(&at("model/Cargo.toml", format!("{own}{lints}")), root),
            &["`version"],
        );
        check(&not_of_the_workspace(&at("model/Cargo.toml", good.clone()), root), &["[lints]"]);
        check(
            &not_of_the_workspace(&at("x/Cargo.toml", format!("{good}{lints}")), root),
            &["not a member"],
        );
        for entry in ["uuid = \"1\"", "berth-ledger = { path = \"../ledger\" }"] {
            let files = at("model/Cargo.toml", format!("{good}{lints}{entry}\n"));
            check(&not_of_the_workspace(&files, root), &["root manifest"]);
        }
    }
}
