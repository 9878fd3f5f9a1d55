//! Applies every rule to the files of this repository. A rule that finds something prints all of it.

use berth_tidy::repository::{File, files};
use berth_tidy::{Violation, code, documents, length, manifests, purity, traits};

fn expect_none(found: &[Violation]) {
    assert!(found.is_empty(), "{} found:\n{}", found.len(), found.join("\n"));
}

fn each(rule: fn(&File) -> Vec<Violation>) {
    expect_none(&files().iter().flat_map(rule).collect::<Vec<_>>());
}

fn text<'a>(files: &'a [File], path: &str) -> &'a str {
    let file = files.iter().find(|file| file.path == path);
    file.unwrap_or_else(|| panic!("{path} is missing from the repository")).text()
}

#[test]
fn every_module_says_what_it_is_for() {
    each(code::module_comment);
}

#[test]
fn no_module_has_an_empty_name() {
    each(code::empty_names);
}

#[test]
fn nothing_is_left_for_later_without_an_issue() {
    each(code::leftovers);
}

#[test]
fn ignored_tests_say_why() {
    each(code::ignored_without_reason);
}

#[test]
fn no_path_of_one_machine() {
    each(code::machine_paths);
}

#[test]
fn every_file_can_be_reviewed() {
    each(code::unreviewable);
}

#[test]
fn files_are_short() {
    let files = files();
    expect_none(&length::too_long(&files, text(&files, "tests/tidy/long-files.txt")));
}

#[test]
fn cores_name_no_io_and_no_clock() {
    each(purity::impure);
}

#[test]
fn packages_use_only_what_the_architecture_allows() {
    expect_none(&manifests::edges(&files()));
}

#[test]
fn cores_use_only_crates_that_compute() {
    expect_none(&manifests::impure_crates(&files()));
}

#[test]
fn versions_and_lints_are_those_of_the_workspace() {
    let files = files();
    expect_none(&manifests::not_of_the_workspace(&files, text(&files, "Cargo.toml")));
}

#[test]
fn every_trait_has_a_reason() {
    let files = files();
    expect_none(&traits::unlisted(&files, text(&files, "tests/tidy/traits.txt")));
}

#[test]
fn every_error_code_is_explained() {
    let files = files();
    let (source, document) = (text(&files, "model/src/error.rs"), text(&files, "docs/errors.md"));
    expect_none(&documents::error_codes(source, document));
}

#[test]
fn links_in_documents_lead_somewhere() {
    expect_none(&documents::broken_links(&files()));
}

#[test]
fn every_make_target_is_explained() {
    let files = files();
    let (makefile, guide) = (text(&files, "Makefile"), text(&files, "CONTRIBUTING.md"));
    expect_none(&documents::make_targets(makefile, guide));
}
