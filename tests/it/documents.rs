//! What the documents say of the code.

use std::fs;
use std::path::Path;

use logtracer_tests::envoy::root;

/// Every rule is in the table once, and every test that it names is there.
#[test]
fn behaviours_are_held_by_tests_that_exist() {
    let mut sources = String::new();
    for folder in ["core", "filter", "exporter", "sdk", "tests"] {
        read_sources(&root().join(folder), &mut sources);
    }
    let table = fs::read_to_string(root().join("docs/behaviours.md")).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();

    let mut rules = Vec::new();
    for row in &rows {
        let [numbers, _what, held] = row[..] else { panic!("three columns: {row:?}") };
        let mut ends = numbers.split('–').map(|number| number.parse::<u32>().unwrap());
        let first = ends.next().unwrap();
        rules.extend(first..=ends.next().unwrap_or(first));
        for name in held.split('`').skip(1).step_by(2) {
            assert!(sources.contains(&format!("fn {name}(")), "rules {numbers}: no test {name}");
        }
    }
    assert_eq!(rules, (1..=86).collect::<Vec<_>>());
}

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
