//! Rules that hold code and documents together: error codes, links, the targets of the Makefile.
//!
//! What a document says beyond that is for people to judge.

use crate::Violation;
use crate::repository::File;
use std::collections::BTreeSet;

/// Codes of `source` (the text that declares `ErrorCode`) without a section in `document`, and the other way round.
#[must_use]
pub fn error_codes(source: &str, document: &str) -> Vec<Violation> {
    let codes: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.split_once("=> \"")?.1.split_once('"'))
        .map(|(code, _)| code)
        .filter(|code| is_code(code))
        .collect();
    let sections: BTreeSet<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|title| title.trim().trim_matches('`'))
        .filter(|title| is_code(title))
        .collect();
    if codes.is_empty() {
        return vec!["model/src/error.rs: no line of the form `=> \"CODE\"` found".to_owned()];
    }
    let missing = codes
        .difference(&sections)
        .map(|code| format!("docs/errors.md: no section `## {code}`: when it happens, what to do"));
    let stale = sections.difference(&codes).map(|code| {
        format!("docs/errors.md: section `## {code}`, but model/src/error.rs has no such code")
    });
    missing.chain(stale).collect()
}

fn is_code(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_uppercase())
        && text.len() > 2
        && chars.all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Relative links of Markdown files that lead nowhere.
#[must_use]
pub fn broken_links(files: &[File]) -> Vec<Violation> {
    let mut known = BTreeSet::new();
    for file in files {
        let mut path = file.path.as_str();
        known.insert(path);
        while let Some((folder, _)) = path.rsplit_once('/') {
            known.insert(folder);
            path = folder;
        }
    }
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in (1..).zip(prose(file.text())) {
            for target in link_targets(line) {
                let target = target.split('#').next().unwrap_or_default();
                let foreign =
                    target.is_empty() || target.contains("://") || target.starts_with("mailto:");
                if !foreign && !known.contains(resolve(folder, target).as_str()) {
                    found.push(format!("{}:{number}: link to {target} leads nowhere", file.path));
                }
            }
        }
    }
    found
}

/// The lines of a document, those of code blocks emptied.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().map(move |line| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return "";
        }
        if fenced { "" } else { line }
    })
}

fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {},
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Targets that `make help` lists and `guide` does not explain as `make TARGET`, and the other way round.
#[must_use]
pub fn make_targets(makefile: &str, guide: &str) -> Vec<Violation> {
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| line.contains(" ## "))
        .filter_map(|line| line.split_once(':'))
        .map(|(target, _)| target)
        .collect();
    let explained: BTreeSet<&str> = guide
        .split("`make ")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next())
        .filter(|target| !target.is_empty())
        .collect();
    if targets.is_empty() {
        return vec!["Makefile: no target with a `##` comment found".to_owned()];
    }
    let missing = targets
        .difference(&explained)
        .map(|target| format!("CONTRIBUTING.md: `make {target}` is not explained"));
    let stale = explained.difference(&targets).map(|target| {
        format!("CONTRIBUTING.md: `make {target}` is no target that `make help` lists")
    });
    missing.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_sections_must_agree() {
        let source = "InvalidId => \"INVALID_ID\", Never;\nStale => \"STALE\", AfterRefresh;\nx => \"text\",";
        let found =
            error_codes(source, "# Errors\n## `INVALID_ID`\n## How to read this\n## GONE\n");
        assert_eq!(
            found,
            vec![
                "docs/errors.md: no section `## STALE`: when it happens, what to do",
                "docs/errors.md: section `## GONE`, but model/src/error.rs has no such code",
            ]
        );
        assert_eq!(error_codes(source, "## INVALID_ID\n## STALE\n"), Vec::<Violation>::new());
        assert_eq!(error_codes("", "").len(), 1);
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let text = "[a](b.md) [c](../README.md#top) [d](gone.md) [e](https://x.org/y) [f](#here) [g](sub)\n```\n[h](gone.md)\n```\n";
        let files = [
            File::new("docs/a.md", text),
            File::new("docs/b.md", ""),
            File::new("docs/sub/c.md", ""),
            File::new("README.md", ""),
        ];
        assert_eq!(broken_links(&files), vec!["docs/a.md:1: link to gone.md leads nowhere"]);
    }

    #[test]
    fn targets_and_guide_must_agree() {
        let makefile = "test: setup ## run\nhidden:\nfmt: ## format\n";
        assert_eq!(
            make_targets(makefile, "`make test`, `make tset`"),
            vec![
                "CONTRIBUTING.md: `make fmt` is not explained",
                "CONTRIBUTING.md: `make tset` is no target that `make help` lists",
            ]
        );
        assert_eq!(
            make_targets(makefile, "`make test X=1` and `make fmt`"),
            Vec::<Violation>::new()
        );
        assert_eq!(make_targets("", "").len(), 1);
    }
}
