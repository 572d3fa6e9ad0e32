//! The documents match the code and each other.

mod commands;
mod links;
mod names;
mod native_tracers;
mod pages;
mod quickstart;
mod services;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use logtracer_harness::envoy::root;

/// Every rule is in the table once, and its tests exist.
#[test]
fn tests_of_behaviours_exist() {
    let mut tests = BTreeSet::new();
    for folder in ["core", "output", "filter", "exporter", "sdk", "demo", "bench", "tests"] {
        find_tests(&root().join(folder), &mut tests);
    }
    let table = fs::read_to_string(root().join("docs/behaviours.md")).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();

    let mut rules = Vec::new();
    for row in &rows {
        let [numbers, _description, tested_by] = row[..] else { panic!("three columns: {row:?}") };
        let mut ends = numbers.split('–').map(|number| number.parse::<u32>().unwrap());
        let first = ends.next().unwrap();
        rules.extend(first..=ends.next().unwrap_or(first));
        for name in tested_by.split('`').skip(1).step_by(2) {
            assert!(tests.contains(name), "rules {numbers}: no test {name}");
        }
    }
    assert_eq!(rules, (1..=86).collect::<Vec<_>>());

    let (_, native) = table.split_once("## The native module").unwrap();
    let rows = native.lines().filter(|line| line.starts_with("| "));
    let names = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).filter(|word| is_test_name(word));
    for name in names {
        assert!(tests.contains(name), "the native module: no test {name}");
    }
}

/// Each test that ARCHITECTURE.md names for an invariant exists.
#[test]
fn invariants_are_held_by_tests_that_exist() {
    let tests = all_tests();
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let invariants = document.lines().filter(|line| line.starts_with("- Invariant:"));
    let words = invariants.flat_map(|line| line.split('`').skip(1).step_by(2));
    let names: Vec<&str> = words.filter(|word| is_test_name(word)).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(tests.contains(name), "no test {name}");
    }
}

fn all_tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for folder in ["core", "output", "filter", "exporter", "sdk", "tests"] {
        find_tests(&root().join(folder), &mut tests);
    }
    tests
}

/// Names of tests are sentences; the other words in backticks are keys, lints and paths.
fn is_test_name(word: &str) -> bool {
    word.matches('_').count() >= 3
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Collects the names of the test functions in all sources below a folder.
fn find_tests(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_tests(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let mut is_test = false;
            for line in fs::read_to_string(&path).unwrap().lines().map(str::trim_start) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    is_test = true;
                } else if let Some(name) = line.trim_start_matches("async ").strip_prefix("fn ") {
                    let name = name.split(['(', '<']).next().unwrap_or_default();
                    if std::mem::take(&mut is_test) {
                        into.insert(name.to_owned());
                    }
                }
            }
        }
    }
}

/// Appends the text of all sources below a folder.
fn read_sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}
