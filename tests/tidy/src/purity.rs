//! Cores decide, shells act: what the sources of `model` and of the cores must not name.
//!
//! Cargo already keeps I/O crates out through the manifests; this catches what the standard library brings along, and
//! what makes decisions depend on more than their input: clocks, hash order, floats.

use crate::Violation;
use crate::repository::File;
use crate::source::{Source, lines_with};

/// Folders of the sources that hold decisions.
const PURE: [&str; 4] =
    ["model/src/", "master/core/src/", "agent/core/src/", "storage-framework/core/src/"];
const WORDS: [(&str, &str); 15] = [
    ("tokio", "waiting belongs to the shell"),
    ("tonic", "wire formats belong to proto"),
    ("prost", "wire formats belong to proto"),
    ("rocksdb", "storage belongs to the shell"),
    ("std::fs", "return what to write as an output"),
    ("std::net", "return what to send as an output"),
    ("std::process", "return what to run as an output"),
    ("std::thread", "a core is one value with one owner"),
    ("std::env", "configuration is an input"),
    ("std::io", "return what to write as an output"),
    ("SystemTime", "time is an input"),
    ("Instant", "time is an input"),
    ("HashMap", "iteration order is behaviour: use BTreeMap"),
    ("HashSet", "iteration order is behaviour: use BTreeSet"),
    ("Mutex", "a core is one value with one owner"),
];

/// Every mention, outside comments, strings and tests, of what a core must not know.
#[must_use]
pub fn impure(file: &File) -> Vec<Violation> {
    if !PURE.iter().any(|folder| file.path.starts_with(folder)) || !file.is_rust() || file.is_test()
    {
        return Vec::new();
    }
    let source = Source::new(file.text());
    let code = spelled_out(source.production());
    let mut found = Vec::new();
    for (word, why) in WORDS {
        let lines = lines_with(&code, word);
        found.extend(
            lines.iter().map(|line| format!("{}:{line}: `{word}` in a core: {why}", file.path)),
        );
    }
    found
}

/// Writes `std::{fs, net::X}` as `std::fs std::net::X`, on the same lines.
fn spelled_out(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some((before, inside)) = rest.split_once("std::{") {
        out.push_str(before);
        let mut depth = 1_usize;
        let mut width = 0;
        let mut at_item = true;
        for c in inside.chars() {
            width += c.len_utf8();
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {},
            }
            if depth == 0 {
                break;
            }
            if depth == 1 && at_item && !c.is_whitespace() {
                out.push_str("std::");
                at_item = false;
            }
            if depth == 1 && c == ',' {
                at_item = true;
            }
            out.push(if c == ',' { ' ' } else { c });
        }
        rest = inside.get(width..).expect("width is a sum of character lengths");
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, count: usize) {
        let found = impure(&File::new("master/core/src/decide.rs", text));
        assert_eq!(found.len(), count, "{text:?}: {found:#?}");
    }

    #[test]
    fn every_word_is_found() {
        for (word, _) in WORDS {
            check(&format!("fn f() {{ {word}::x(); }}"), 1);
        }
        check("use std::{collections::BTreeMap, fs, net::{self, IpAddr}};\n", 2);
        check("use std::{\n    fmt,\n    process::Command,\n};\nuse std::time::Instant;", 2);
    }

    #[test]
    fn comments_strings_tests_and_shells_are_free() {
        check(
            "//! Knows no tokio.\nconst A: &str = \"std::fs\"; // Instant\nfn instantiate() {}",
            0,
        );
        check("#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n", 0);
        let shell = File::new("master/src/engine.rs", "use std::fs;");
        assert_eq!(impure(&shell), Vec::<Violation>::new());
    }
}
