//! Every public type, trait, module and free function has an example that asserts something.
//!
//! The examples of a type show its methods. Constants need no example.
//! The lint `unreachable_pub` ensures that `pub` means public, so the test can read the source line by line.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of core that this crate re-exports, and those that write its log lines.
const OF_CORE: [&str; 6] = ["context.rs", "hex.rs", "id.rs", "line", "propagation", "traceparent.rs"];

#[test]
fn every_public_type_and_function_has_an_example_that_asserts() {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src");
    let mut files = vec![];
    sources(&sdk, &mut files);
    OF_CORE.iter().for_each(|part| sources(&core.join(part), &mut files));

    let (mut items, mut missing) = (0, vec![]);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (line, item, docs) in public_items(&text) {
            items += 1;
            let is_documented = match item.strip_prefix("pub mod ").and_then(|name| name.strip_suffix(';')) {
                Some(module) => has_example(&docs_of_module(&file, module)),
                None => has_example(&docs),
            };
            if !is_documented {
                missing.push(format!("{}:{line}: {item}", file.display()));
            }
        }
    }
    assert!(items > 60, "only {items} public items were found");
    assert!(missing.is_empty(), "no example that asserts:\n{}", missing.join("\n"));
}

/// The context and the errors that re-exported items name.
#[test]
fn what_the_api_names_is_exported() {
    use logtracer_sdk::propagation::{Extracted, Propagator, TraceHeaders};
    use logtracer_sdk::{Format, FormatError, HexError, RemoteContext, SpanId, client, server};
    fn parent(extracted: &Extracted<'_>) -> Option<RemoteContext> {
        extracted.parent
    }
    assert_eq!(parent(&Propagator::default().extract(&TraceHeaders::default())), None);
    let errors: (HexError, FormatError, client::UnknownQuery) = (
        "x".parse::<SpanId>().unwrap_err(),
        "x".parse::<Format>().unwrap_err(),
        "x".parse::<server::Query>().unwrap_err(),
    );
    assert!(!errors.0.to_string().is_empty());
}

/// A user of this crate cannot compile `use logtracer_core::…`, so that the examples of what it re-exports hide it.
#[test]
fn no_example_shows_a_path_of_core() {
    const PATH: &str = "/// use logtracer_core::";
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src");
    let mut files = vec![];
    let whole = ["context.rs", "hex.rs", "id.rs", "line/format.rs", "propagation", "traceparent.rs"];
    whole.iter().for_each(|part| sources(&core.join(part), &mut files));
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        assert!(!fs::read_to_string(&file).unwrap().contains(PATH), "{}", file.display());
    }
    for (file, name) in [
        ("request/routes.rs", "pub struct Routes "),
        ("request/url.rs", "pub enum Query "),
        ("request/url.rs", "pub struct UnknownQuery"),
    ] {
        let text = fs::read_to_string(core.join(file)).unwrap();
        let items = public_items(&text);
        let (.., docs) = items.iter().find(|(_, item, _)| item.starts_with(name)).unwrap();
        assert!(docs.contains("```") && !docs.contains(PATH), "{name}");
    }
}

/// `sdk/tests/oldest` has the oldest version of each framework in the table of docs/sdk.md.
#[test]
fn the_oldest_documented_versions_are_compiled() {
    let (_, table) = include_str!("../../docs/sdk.md").split_once("| crate | versions | note |").unwrap();
    let table = table.split("\n\n").next().unwrap();
    let compiled = include_str!("oldest/Cargo.toml");
    // The table names reqwest 0.12 in a note: it is used without its feature.
    for (name, before) in [
        ("axum", "| axum | "),
        ("tonic", "| tonic | "),
        ("tower", "tower "),
        ("tower-http", "tower-http "),
        ("reqwest", "for "),
    ] {
        let versions = table.split(before).skip(1).map(|rest| rest.split([',', ' ', ';']).next().unwrap());
        let oldest = versions.into_iter().find(|text| text.starts_with(|c: char| c.is_ascii_digit()));
        let oldest = oldest.unwrap_or_else(|| panic!("no version of {name} in {table}"));
        assert!(
            compiled.contains(&format!("\n{name} = {{ version = \"{oldest}\",")),
            "sdk/tests/oldest has not {name} {oldest}"
        );
    }
}

/// Returns true if a code block that is run asserts something.
fn has_example(docs: &str) -> bool {
    let (mut is_code, mut is_run) = (false, false);
    for line in docs.lines() {
        let text = line.trim_start_matches(['/', '!']).trim();
        // The fence of an example that needs a feature is an attribute.
        let fence = match text.split_once("doc = \"") {
            Some((before, _)) if before.contains("cfg_attr(not(") => None,
            Some((_, fence)) => fence.split('"').next(),
            None => Some(text),
        };
        match fence.and_then(|text| text.strip_prefix("```")) {
            Some(kind) => {
                is_code = !is_code;
                is_run = is_code
                    && !["no_run", "ignore", "text", "toml", "json", "compile_fail"]
                        .iter()
                        .any(|it| kind.contains(it));
            }
            None if is_run && text.contains("assert") => return true,
            None => {}
        }
    }
    false
}

/// Collects all Rust files of a folder, or a single file.
fn sources(path: &Path, into: &mut Vec<PathBuf>) {
    if path.is_file() {
        into.push(path.to_owned());
        return;
    }
    for entry in fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "rs") {
            sources(&path, into);
        }
    }
}

/// Returns the public items of a file outside of `impl` blocks, each with its line and its documentation.
fn public_items(text: &str) -> Vec<(usize, &str, String)> {
    const FUNCTIONS: [&str; 3] = ["fn ", "const fn ", "async fn "];
    const TYPES: [&str; 5] = ["struct ", "enum ", "trait ", "type ", "mod "];
    let mut items = vec![];
    let (mut docs, mut is_in_tests) = (String::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.trim();
        is_in_tests |= code == "#[cfg(test)]";
        if line == "}" {
            is_in_tests = false;
        }
        if code.starts_with("///") {
            docs.push_str(code);
            docs.push('\n');
            continue;
        }
        if code.starts_with("#[") || code.starts_with("#![") {
            docs.push_str(code);
            docs.push('\n');
            continue;
        }
        // Methods are indented, as are the types in `pin_project!`.
        let is_public = |code: &str, kinds: &[&str]| {
            code.strip_prefix("pub ").is_some_and(|rest| kinds.iter().any(|kind| rest.starts_with(kind)))
        };
        if !is_in_tests && (is_public(line, &FUNCTIONS) || is_public(code, &TYPES)) {
            items.push((number, code, std::mem::take(&mut docs)));
        }
        docs.clear();
        // `mod tests;` has no brace.
        is_in_tests &= !code.ends_with(';');
    }
    items
}

/// Returns the documentation at the start of a module's file.
fn docs_of_module(declared_in: &Path, module: &str) -> String {
    let folder = declared_in.parent().unwrap();
    let file = [folder.join(format!("{module}.rs")), folder.join(module).join("mod.rs")];
    let file = file.iter().find(|file| file.exists()).unwrap();
    let text = fs::read_to_string(file).unwrap();
    let docs = text.lines().filter(|line| line.starts_with("//!") || line.starts_with("#![cfg_attr"));
    docs.map(|line| format!("{line}\n")).collect()
}

#[test]
fn an_item_without_an_example_is_found() {
    let text = "/// One.\n///\n/// ```\n/// assert!(true);\n/// ```\n#[must_use]\npub fn one() {}\n\
                /// Two.\npub(crate) fn two() {}\n\
                pub trait Three {\n    /// Four.\n    fn four();\n}\n\
                #[cfg(test)]\nmod tests {\n    pub fn five() {}\n}\npub struct Six;\n\
                pin_project! {\n    pub struct Seven {\n    }\n}\n";
    let items = public_items(text);
    let found: Vec<_> = items.iter().map(|(line, item, docs)| (*line, *item, has_example(docs))).collect();
    let expected = [
        (7, "pub fn one() {}", true),
        (10, "pub trait Three {", false),
        (18, "pub struct Six;", false),
        (20, "pub struct Seven {", false),
    ];
    assert_eq!(found, expected);
    for (docs, expected) in [
        ("/// It asserts.\n/// ```\n/// f();\n/// ```\n", false),
        ("/// ```no_run\n/// assert!(true);\n/// ```\n", false),
        ("/// ```rust,ignore\n/// assert!(true);\n/// ```\n", false),
        ("/// ```text\n/// assert\n/// ```\n/// ```\n/// assert!(true);\n/// ```\n", true),
        (
            "#[cfg_attr(feature = \"x\", doc = \"```\")]\n#[cfg_attr(not(feature = \"x\"), doc = \"```ignore\")]\n/// assert!(true);\n/// ```\n",
            true,
        ),
        ("/// ```\n/// f();\n/// ```\n/// Then assert.\n", false),
    ] {
        assert_eq!(has_example(docs), expected, "{docs}");
    }
}

/// Only the feature `opentelemetry` has types of OpenTelemetry in its API: no other module names its crates.
#[test]
fn only_its_own_module_names_opentelemetry() {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![];
    sources(&sdk, &mut files);
    let own = sdk.join("opentelemetry");
    let names_it = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        text.lines().map(str::trim).filter(|line| !line.starts_with("//")).any(|line| {
            let rest = line.replace("crate::opentelemetry", "").replace("logtracer_sdk::opentelemetry", "");
            rest.contains("opentelemetry::") || rest.contains("opentelemetry_sdk")
        })
    };
    let (inside, outside): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.starts_with(&own));
    assert!(inside.iter().any(names_it), "the test finds nothing");
    let outside: Vec<_> = outside.into_iter().filter(names_it).collect();
    assert!(outside.is_empty(), "{outside:?}");

    let manifest = include_str!("../Cargo.toml");
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
    let (dependencies, _) = dependencies.split_once("\n[dev-dependencies]\n").unwrap();
    let of_it: Vec<_> = dependencies.lines().filter(|line| line.starts_with("opentelemetry")).collect();
    assert!(of_it.len() == 2 && of_it.iter().all(|line| line.contains("optional = true")), "{of_it:?}");
}
