//! Links and paths in the documents.

use std::path::Path;

use logtracer_harness::envoy::root;

use super::pages;

/// The URL of this project's files on GitHub.
const HERE: &str = "https://github.com/logtracer/logtracer/blob/main/";

#[test]
fn every_link_has_a_target() {
    let pages = pages::all();
    let mut followed = 0;
    for page in &pages {
        for (line, target) in page.links() {
            let at = page.at(line);
            let (folder, target) = match target.strip_prefix(HERE) {
                Some(path) => (root().to_owned(), path),
                None if target.contains("://") => continue,
                None => (root().join(&page.path).with_file_name(""), target),
            };
            let (path, anchor) = target.split_once('#').map_or((target, None), |(path, at)| (path, Some(at)));
            let file = if path.is_empty() { root().join(&page.path) } else { folder.join(path) };
            assert!(file.exists(), "{at}: there is no {path}");
            if let Some(anchor) = anchor {
                assert!(has_anchor(&pages, &file, anchor), "{at}: there is no heading for {target}");
            }
            followed += 1;
        }
    }
    assert!(followed > 100, "only {followed} links were found");
}

fn has_anchor(pages: &[pages::Page], file: &Path, anchor: &str) -> bool {
    let file = file.canonicalize().unwrap();
    let page = pages.iter().find(|page| root().join(&page.path).canonicalize().unwrap() == file);
    page.is_some_and(|page| page.anchors().iter().any(|known| known == anchor))
}

#[test]
fn the_index_names_every_document() {
    let index = pages::page("docs/README.md");
    let named: Vec<&str> = index.links().map(|(_, target)| target).collect();
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            ["README.md", "images"].contains(&name.as_str()) || named.contains(&name.as_str()),
            "docs/README.md has no link to {name}"
        );
    }
}

/// Checks text in backticks that looks like a path of the project, relative to the root or to the page.
#[test]
fn every_named_path_exists() {
    // Container images, not folders.
    const IMAGES: [&str; 1] = ["istio/proxyv2"];
    let tops = pages::tops();
    let mut found = 0;
    for page in pages::all() {
        for (line, code) in page.code() {
            let is_plain = code.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            let is_ours = code.split_once('/').is_some_and(|(top, _)| tops.iter().any(|name| name == top));
            if is_plain && is_ours && !IMAGES.contains(&code) {
                let beside = root().join(&page.path).with_file_name("");
                let is_there = root().join(code).exists() || beside.join(code).exists();
                assert!(is_there, "{}: there is no {code}", page.at(line));
                found += 1;
            }
        }
    }
    assert!(found > 30, "only {found} paths were found");
}
