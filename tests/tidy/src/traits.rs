//! Every trait of production code is on a committed list, with the reason why a struct will not do.
//!
//! A trait costs each reader a search for the implementation; adding one is therefore a visible line in review.

use crate::Violation;
use crate::repository::File;
use crate::source::{Source, is_word};
use std::collections::BTreeMap;

/// Traits that are not on `list`, entries without a trait, and entries without a reason. A line of `list` is
/// `folder Trait: reason`, the folder being that of the package; `#` opens a comment.
#[must_use]
pub fn unlisted(files: &[File], list: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut listed = BTreeMap::new();
    for line in list.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        match line.split_once(": ") {
            Some((name, reason)) if !reason.trim().is_empty() => drop(listed.insert(name, false)),
            Some(_) | None => {
                found.push(format!("list of traits: `{line}` is not `folder Trait: reason`"));
            },
        }
    }
    for file in files.iter().filter(|file| file.is_rust() && !file.is_test()) {
        let Some((folder, _)) = file.path.split_once("/src/") else { continue };
        for name in declared(Source::new(file.text()).production()) {
            match listed.get_mut(format!("{folder} {name}").as_str()) {
                Some(seen) => *seen = true,
                None => found.push(format!(
                    "{}: trait {name} is not listed: make it a struct, or list it as `{folder} {name}: reason`",
                    file.path
                )),
            }
        }
    }
    let gone = listed.iter().filter(|(_, seen)| !**seen);
    found
        .extend(gone.map(|(name, _)| format!("list of traits: `{name}` is gone, remove the line")));
    found
}

fn declared(code: &str) -> Vec<&str> {
    code.lines()
        .filter_map(|line| {
            let (head, tail) = line.split_once("trait ")?;
            let opens =
                head.split_whitespace().all(|w| w.starts_with("pub") || w == "unsafe" || w == "in");
            let name = tail.split(|c| !is_word(c)).next()?;
            (opens && !name.is_empty()).then_some(name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, list: &str, count: usize) {
        let found = unlisted(&[File::new("agent/core/src/driver.rs", text)], list);
        assert_eq!(found.len(), count, "{text:?}: {found:#?}");
    }

    #[test]
    fn traits_off_the_list_are_found() {
        check("pub trait Driver {}\n", "", 1);
        check("    pub(crate) trait Driver<T>: Send {}\nunsafe trait Raw {}", "", 2);
        check("pub trait Driver {}\n", "agent/core Driver: a real one and a fake\n", 0);
        check("pub trait Driver {}\n", "agent Driver: another package\n", 2);
    }

    #[test]
    fn entries_without_trait_or_reason_are_found() {
        check("", "agent/core Driver: gone\n", 1);
        check("pub trait Driver {}\n", "agent/core Driver: \n", 2);
        check(
            "// a trait that\nlet portrait = 1;\n#[cfg(test)]\nmod tests {\n trait Fake {}\n}",
            "# none\n",
            0,
        );
    }
}
