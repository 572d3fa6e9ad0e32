//! The layers of the exporter's modules, checked with their `use` lines.
//!
//! ```text
//!  otlp ◄── outbox, store ◄── deliver ◄── sink ◄── service
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the crate, from the lowest layer to the highest. A module imports only from lower layers.
const LAYERS: &[&[&str]] = &[
    &["otlp", "clock", "error_chain", "truncate"],
    &["log"],
    &["metrics", "health", "reload", "shutdown"],
    &["storage", "listen", "module"],
    &["outbox", "store"],
    &["deliver", "keep", "maintenance", "receive", "tail", "view"],
    &["sink", "file_watch", "terminal"],
    &["config"],
    &["service"],
    &["lib", "main", "glibc"],
];

#[test]
fn layers_import_only_downward() {
    let layer_of = |module: &str| {
        let layer = LAYERS.iter().position(|layer| layer.contains(&module));
        layer.unwrap_or_else(|| panic!("the module {module} is in no layer of {}", file!()))
    };
    let mut violations = Vec::new();
    for file in sources() {
        let module = first(&file.module);
        for import in &file.imports {
            let imported = first(import);
            if imported != module && layer_of(&imported) >= layer_of(&module) {
                violations.push(format!("{} imports crate::{import}", file.path.display()));
            }
        }
    }
    assert!(violations.is_empty(), "imports that do not point downward:\n{}", violations.join("\n"));
}

/// The modules that have a database. The others read and write through their functions.
const DATABASES: &[&str] = &["storage", "store", "outbox", "deliver::dead_letters"];

/// Pages, API, receivers and sinks know neither SQLite nor SQL.
#[test]
fn only_the_databases_name_sqlite() {
    let mut count = 0;
    for file in sources() {
        if prefixes(&file.module).any(|prefix| DATABASES.contains(&prefix)) {
            count += usize::from(file.names_sqlite);
            continue;
        }
        assert!(!file.names_sqlite, "{} names rusqlite or has SQL", file.path.display());
    }
    assert!(count > 20, "only {count} files of the databases name SQLite");
}

/// Two files can be so closely related that they import each other. A larger circle cannot be read file by file.
#[test]
fn no_circle_has_more_than_two_files() {
    let files = sources();
    let modules: BTreeSet<&str> = files.iter().map(|file| file.module.as_str()).collect();
    // Not checked: a `mod.rs` and the files of its folder, which can import each other.
    let is_folder = |module: &str| modules.iter().any(|other| other.starts_with(&format!("{module}::")));
    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in files.iter().filter(|file| !is_folder(&file.module)) {
        let of_file = imports.entry(&file.module).or_default();
        for import in &file.imports {
            let target = prefixes(import).find_map(|prefix| modules.get(prefix));
            of_file.extend(target.filter(|target| **target != file.module && !is_folder(target)));
        }
    }
    for &start in imports.keys() {
        let reached = reachable(&imports, start);
        let circle: Vec<&str> =
            reached.iter().copied().filter(|other| reachable(&imports, other).contains(start)).collect();
        assert!(circle.len() <= 2, "these files import each other in a circle: {circle:?}");
    }
}

struct Source {
    path: PathBuf,
    /// For example `deliver::queue`.
    module: String,
    /// The paths below `crate` in its code, except in tests.
    imports: BTreeSet<String>,
    names_sqlite: bool,
}

/// Reads all sources of the crate except tests.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    read(&root, &root, &mut sources);
    assert!(sources.len() > 80, "only {} sources were found", sources.len());
    sources
}

fn read(root: &Path, folder: &Path, into: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "tests") {
                read(root, &path, into);
            }
            continue;
        }
        let relative = path.strip_prefix(root).unwrap().with_extension("");
        let mut segments: Vec<String> =
            relative.iter().map(|segment| segment.to_str().unwrap().to_owned()).collect();
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        if !is_rust || segments.last().is_some_and(|last| last == "tests") {
            continue;
        }
        let is_folder = segments.last().is_some_and(|last| last == "mod");
        if is_folder {
            segments.pop();
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let mut imports = imports(code, &segments);
        imports.extend(inline_paths(code));
        let has =
            |text: &str| code.lines().any(|line| line.contains(text) && !line.trim_start().starts_with("//"));
        let names_sqlite = ["rusqlite", "SELECT ", "INSERT INTO ", "DELETE FROM "].into_iter().any(has);
        into.push(Source { path, module: segments.join("::"), imports, names_sqlite });
    }
}

/// Returns the paths below `crate` in the `use` lines of a module. Each name of a group is a separate path.
fn imports(code: &str, module: &[String]) -> BTreeSet<String> {
    let mut imports = BTreeSet::new();
    for (start, _) in code.match_indices("use ") {
        let is_line = code[..start]
            .lines()
            .last()
            .is_none_or(|line| code[..start].ends_with('\n') || line.trim_start().starts_with("pub"));
        let Some((tree, _)) = code[start + 4..].split_once(';').filter(|_| is_line) else { continue };
        let (path, group) = tree.split_once('{').unwrap_or((tree, ""));
        let mut names: Vec<&str> =
            group.trim_end_matches([' ', '}', '\n']).split(',').map(str::trim).collect();
        names.retain(|name| !name.is_empty() && *name != "self");
        if names.is_empty() {
            names.push("");
        }
        for name in names {
            let full = format!("{path}{name}");
            let full = full.split(" as ").next().unwrap_or_default().trim_end_matches("::");
            let mut segments: Vec<&str> = full.split("::").map(str::trim).collect();
            let mut base: Vec<&str> = match segments.first() {
                Some(&"crate") => Vec::new(),
                Some(&"super" | &"self") => module.iter().map(String::as_str).collect(),
                _ => continue,
            };
            if segments.first() == Some(&"crate") {
                segments.remove(0);
            }
            while let Some(&("super" | "self")) = segments.first() {
                if segments.remove(0) == "super" {
                    base.pop();
                }
            }
            base.extend(segments);
            if !base.is_empty() {
                imports.insert(base.join("::"));
            }
        }
    }
    imports
}

/// Returns the modules that the code names as `crate::module` outside of comments and visibilities.
fn inline_paths(code: &str) -> impl Iterator<Item = String> {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| line.split("crate::").skip(1).zip(line.split("crate::"))).filter_map(
        |(path, before)| {
            let name: String = path.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            (!name.is_empty() && !before.ends_with("(in ")).then_some(name)
        },
    )
}

/// Returns the path and its parents, the longest first.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once("::").map(|(prefix, _)| prefix))
}

fn first(path: &str) -> String {
    path.split("::").next().unwrap_or_default().to_owned()
}

/// Returns the modules that a module imports directly or indirectly.
fn reachable<'a>(imports: &BTreeMap<&'a str, BTreeSet<&'a str>>, start: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = imports.get(start).into_iter().flatten().copied().collect();
    while let Some(module) = open.pop() {
        if reached.insert(module) {
            open.extend(imports.get(module).into_iter().flatten().copied());
        }
    }
    reached
}
