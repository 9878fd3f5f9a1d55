//! Rules about single files of any kind: module comments, names, leftovers, paths of somebody's machine, size.
//!
//! They know the text of one file and nothing of the packages.

use crate::Violation;
use crate::repository::File;
use crate::source::{Source, is_word};

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] =
    ["common", "helper", "helpers", "manager", "misc", "util", "utils", "shared"];
const SIZE_MAX: usize = 1024 * 1024;

/// A Rust file opens with what it is for.
#[must_use]
pub fn module_comment(file: &File) -> Vec<Violation> {
    let first = file.text().lines().next().unwrap_or_default();
    if !file.is_rust() || first.starts_with("//! ") || first.contains("@generated") {
        return Vec::new();
    }
    vec![format!(
        "{}:1: open the file with `//!`: what it is for, what it does not know, the invariant it keeps",
        file.path
    )]
}

/// A module is named after what is in it.
#[must_use]
pub fn empty_names(file: &File) -> Vec<Violation> {
    if !file.is_rust() {
        return Vec::new();
    }
    let complaint = |name: &str| {
        format!("{}: `{name}` says nothing; name the module after what is in it", file.path)
    };
    let path = file.path.trim_end_matches(".rs").split('/');
    let mut found: Vec<Violation> =
        path.filter(|part| EMPTY_NAMES.contains(part)).map(complaint).collect();
    let code = Source::new(file.text()).code;
    let inline = code.lines().filter_map(|line| {
        let name = line.split_once("mod ")?.1.trim_end().strip_suffix('{')?.trim();
        EMPTY_NAMES.contains(&name).then(|| complaint(name))
    });
    found.extend(inline);
    found
}

/// Work left for later has an issue that remembers it.
#[must_use]
pub fn leftovers(file: &File) -> Vec<Violation> {
    if file.path.ends_with(".md") || file.path.ends_with(".lock") {
        return Vec::new();
    }
    let text =
        if file.is_rust() { Source::new(file.text()).comments } else { file.text().to_owned() };
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let numbered = |tail: &str| {
        let tail = tail.trim_start_matches(['(', ' ']);
        tail.strip_prefix('#').is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
    };
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for word in words {
            for (at, _) in line.match_indices(word) {
                let (head, tail) = line.split_at(at);
                let tail = tail.strip_prefix(word).expect("match_indices found it here");
                let whole = !head.ends_with(is_word) && !tail.starts_with(is_word);
                if whole && !numbered(tail) {
                    found.push(format!(
                        "{}:{number}: {word} without an issue: write {word}(#12), or do it now",
                        file.path
                    ));
                }
            }
        }
    }
    found
}

/// A test that does not run says why.
#[must_use]
pub fn ignored_without_reason(file: &File) -> Vec<Violation> {
    if !file.is_rust() {
        return Vec::new();
    }
    let code = Source::new(file.text()).code;
    let lines = (1..).zip(code.lines()).filter(|(_, line)| line.contains("#[ignore]"));
    lines
        .map(|(number, _)| {
            format!(
                "{}:{number}: say why: #[ignore = \"reason\"], or print SKIPPED and return",
                file.path
            )
        })
        .collect()
}

/// No path that exists only on the machine of whoever wrote the file.
#[must_use]
pub fn machine_paths(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(file.text().lines()) {
        for folder in [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")] {
            let foreign = line.match_indices(folder).any(|(at, _)| {
                let (head, tail) = line.split_at(at);
                let inner = tail.strip_prefix(folder).expect("match_indices found it here");
                // Not `DIR/work/x`, which is below something else.
                !head.ends_with(|c| is_word(c) || "./}-~>".contains(c))
                    && inner.starts_with(is_path)
            });
            if foreign {
                found.push(format!(
                    "{}:{number}: a path of one machine: {}",
                    file.path,
                    line.trim()
                ));
            }
        }
    }
    found
}

fn is_path(c: char) -> bool {
    is_word(c) || c == '.'
}

/// The repository holds text that people review.
#[must_use]
pub fn unreviewable(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    if file.bytes.len() > SIZE_MAX {
        found.push(format!(
            "{}: {} bytes, at most {SIZE_MAX} are allowed",
            file.path,
            file.bytes.len()
        ));
    }
    if file.bytes.contains(&0) || std::str::from_utf8(&file.bytes).is_err() {
        found.push(format!("{}: a binary file; make it when it is needed", file.path));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&File) -> Vec<Violation>;

    /// `rule` finds `count` violations in `text`.
    fn check(rule: Rule, path: &str, text: &str, count: usize) {
        let found = rule(&File::new(path, text));
        assert_eq!(found.len(), count, "{path}: {text:?}: {found:#?}");
        assert!(found.iter().all(|line| line.starts_with(path)), "{found:#?}");
    }

    #[test]
    fn a_file_without_a_module_comment_is_found() {
        check(module_comment, "a.rs", "use x;\n//! Late.\n", 1);
        check(module_comment, "a.rs", "//!\n", 1);
        check(module_comment, "a.rs", "", 1);
        check(module_comment, "a.rs", "//! What it is for.\n", 0);
        check(module_comment, "a.rs", "// @generated by prost-build\n", 0);
        check(module_comment, "a.md", "text", 0);
    }

    #[test]
    fn a_name_that_says_nothing_is_found() {
        check(empty_names, "agent/src/utils.rs", "", 1);
        check(empty_names, "agent/tests/common/mod.rs", "", 1);
        check(empty_names, "agent/src/volume.rs", "pub mod helpers {\n}\n", 1);
        check(empty_names, "agent/src/volume.rs", "// mod helpers {\nmod trash {}", 0);
        check(empty_names, "docs/common.md", "", 0);
    }

    #[test]
    fn work_left_without_an_issue_is_found() {
        let word = concat!("TO", "DO");
        check(leftovers, "a.rs", &format!("// {word}: later\n// {word} later\n"), 2);
        check(leftovers, "Makefile", &format!("# {}: later\n", concat!("FIX", "ME")), 1);
        check(leftovers, "a.rs", &format!("// {word}(#7): later\n// {word} #12\n"), 0);
        check(leftovers, "a.rs", &format!("let x = \"{word}\"; // MASTODON{word}S"), 0);
    }

    #[test]
    fn an_ignored_test_without_reason_is_found() {
        check(ignored_without_reason, "a.rs", "#[test]\n#[ignore]\nfn a() {}\n", 1);
        check(ignored_without_reason, "a.rs", "#[ignore = \"takes an hour\"] // #[ignore]\n", 0);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        check(machine_paths, "a.md", concat!("see `/ro", "ot/.cargo`"), 1);
        check(machine_paths, "a.sh", concat!("cd /ho", "me/ada/src"), 1);
        check(machine_paths, "a.rs", concat!("\"/wo", "rk/main\""), 1);
        check(machine_paths, "a.rs", concat!("\"{dir}/wo", "rk/main\" DIR/ro", "ot/x"), 0);
        check(machine_paths, "a.md", concat!("keeps /ho", "me/ out"), 0);
    }

    #[test]
    fn big_and_binary_files_are_found() {
        check(unreviewable, "a.txt", &"x".repeat(SIZE_MAX + 1), 1);
        check(unreviewable, "a.txt", &"x".repeat(SIZE_MAX), 0);
        check(unreviewable, "a.bin", "a\0b", 1);
        let latin = File { path: "a.txt".to_owned(), bytes: vec![0xE9, b'x'] };
        assert_eq!(unreviewable(&latin).len(), 1);
    }
}
