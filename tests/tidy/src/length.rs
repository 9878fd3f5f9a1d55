//! How long a Rust file may be.
//!
//! 800 lines are the wall, for integration tests too. Elsewhere, above 400 lines of code (the inline test module not counted) a file has to be on a committed
//! list with its length; an entry may only shrink, and leaves the list when it is no longer needed.

use crate::Violation;
use crate::repository::File;
use crate::source::Source;
use std::collections::BTreeMap;

const WALL: usize = 800;
const CODE_MAX: usize = 400;
/// A listed file this much shorter than its entry has to give the room back.
const SLACK: usize = 40;

/// Every file that is too long, and every entry of `list` that is too generous. A line of `list` is `path lines`; `#`
/// opens a comment.
#[must_use]
pub fn too_long(files: &[File], list: &str) -> Vec<Violation> {
    let (mut allowed, mut found) = parse(list);
    for file in files.iter().filter(|file| file.is_rust()) {
        let path = &file.path;
        let lines = file.text().lines().count();
        // Integration tests have only the wall: cases as data are long by nature.
        let is_test = path.contains("/tests/");
        let code = if is_test { 0 } else { Source::new(file.text()).production().lines().count() };
        if lines > WALL {
            found.push(format!(
                "{path}: {lines} lines, {WALL} is the wall: split it by what it does"
            ));
        }
        match allowed.remove(path.as_str()) {
            None if code > CODE_MAX => found.push(format!(
                "{path}: {code} lines of code, more than {CODE_MAX}: split it, or list it and say in review why"
            )),
            Some(_) if code <= CODE_MAX => {
                found.push(format!("{path}: {code} lines of code: take it off the list of long files"));
            },
            Some(limit) if code > limit => {
                found.push(format!("{path}: {code} lines of code, listed with {limit}: the list may only shrink"));
            },
            Some(limit) if code + SLACK < limit => {
                found.push(format!("{path}: {code} lines of code: lower its entry from {limit}"));
            },
            None | Some(_) => {},
        }
    }
    found.extend(allowed.keys().map(|path| format!("{path}: on the list of long files but gone")));
    found
}

fn parse(list: &str) -> (BTreeMap<&str, usize>, Vec<Violation>) {
    let mut allowed = BTreeMap::new();
    let mut found = Vec::new();
    for line in list.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let entry =
            line.split_once(' ').and_then(|(path, limit)| Some((path, limit.trim().parse().ok()?)));
        match entry {
            Some((path, limit)) => drop(allowed.insert(path, limit)),
            None => found.push(format!("list of long files: `{line}` is not `path lines`")),
        }
    }
    (allowed, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, code: usize, tests: usize) -> File {
        let tests = if tests == 0 {
            String::new()
        } else {
            format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(tests))
        };
        File::new(path, &("\n".repeat(code) + &tests))
    }

    fn check(files: &[File], list: &str, count: usize) {
        let found = too_long(files, list);
        assert_eq!(found.len(), count, "{list:?}: {found:#?}");
    }

    #[test]
    fn long_files_are_found_unless_listed() {
        check(&[file("a.rs", 401, 0)], "", 1);
        check(&[file("a/tests/b.rs", 700, 0)], "", 0);
        check(&[file("a/tests/b.rs", 801, 0)], "", 1);
        check(&[file("tests/b/src/c.rs", 401, 0)], "", 1);
        check(&[file("a.rs", 400, 300)], "", 0);
        check(&[file("a.rs", 400, 450)], "", 1);
        check(&[file("a.rs", 900, 0)], "a.rs 900\n", 1);
        check(&[file("a.rs", 450, 0)], "# why\na.rs 450\n", 0);
        check(&[File::new("a.md", &"\n".repeat(900))], "", 0);
    }

    #[test]
    fn the_list_only_shrinks() {
        check(&[file("a.rs", 451, 0)], "a.rs 450\n", 1);
        check(&[file("a.rs", 450, 0)], "a.rs 600\n", 1);
        check(&[file("a.rs", 300, 0)], "a.rs 450\n", 1);
        check(&[], "a.rs 450\n", 1);
        check(&[], "a.rs\n", 1);
    }
}
