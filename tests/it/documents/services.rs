//! The guide for services in other languages shows the code that the tests run.

use std::fs;

use logtracer_harness::envoy::root;

use super::pages;

/// Each block is a part of a file of its language.
#[test]
fn the_guide_for_services_shows_code_that_is_tested() {
    let page = pages::page("docs/services.md");
    for (language, folder) in [("python", "python"), ("js", "node"), ("java", "java"), ("go", "go")] {
        let mut sources = String::new();
        read(&root().join("docs/services").join(folder), &mut sources);
        let mut found = 0;
        for block in page.blocks_of(language) {
            assert!(sources.contains(&block.text), "{}: no such lines in the code", page.at(block.line));
            found += 1;
        }
        assert!(found > 0, "no block in {language}");
    }
}

/// Appends the text of all files below a folder.
fn read(folder: &std::path::Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, into);
        } else if let Ok(text) = fs::read_to_string(&path) {
            into.push_str(&text);
        }
    }
}
