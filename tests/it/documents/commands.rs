//! Commands and configurations in the documents.

use std::io::Write;
use std::process::{Command, Stdio};

use logtracer_harness::envoy::root;
use logtracer_harness::process::sibling;
use serde_json::Value;

use super::pages;

#[test]
fn every_target_of_make_exists() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let is_target = |name: &str| makefile.lines().any(|line| line.starts_with(&format!("{name}:")));
    let mut found = 0;
    for page in pages::all() {
        let in_blocks = page.blocks.iter().flat_map(|block| {
            let numbered = (block.line + 1..).zip(block.text.lines());
            numbered.filter(|_| matches!(block.language.as_str(), "sh" | ""))
        });
        for (line, command) in page.code().chain(in_blocks) {
            let mut words = command.split_whitespace().skip_while(|word| *word != "make").skip(1).peekable();
            // `make` is also an English word.
            if !command.starts_with("make ") && !command.contains("=") {
                continue;
            }
            while let Some(name) =
                words.next_if(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
            {
                assert!(is_target(name), "{}: make has no target {name}", page.at(line));
                found += 1;
            }
        }
    }
    assert!(found > 20, "only {found} targets were found");
}

#[test]
fn every_shell_block_parses() {
    let mut found = 0;
    for page in pages::all() {
        for block in page.blocks_of("sh") {
            let problem = error_of(Command::new("bash").arg("-n"), &block.text);
            assert_eq!(problem, None, "{}", page.at(block.line));
            found += 1;
        }
    }
    assert!(found > 10, "only {found} blocks were found");
}

/// Checks the files of the project that a command names, except those that the page creates.
#[test]
fn every_file_in_a_shell_block_exists() {
    let tops = pages::tops();
    let mut found = 0;
    for page in pages::all() {
        let mut made: Vec<&str> = Vec::new();
        for block in page.blocks_of("sh") {
            for (line, command) in (block.line + 1..).zip(block.text.lines()) {
                let words: Vec<&str> = command.split_whitespace().collect();
                if let ["mkdir", "-p", folder] = words[..] {
                    made.push(folder);
                }
                for word in words {
                    let is_ours =
                        word.split_once('/').is_some_and(|(top, _)| tops.iter().any(|name| name == top));
                    let is_made = made.iter().any(|folder| word.starts_with(folder));
                    if is_ours && !is_made {
                        assert!(root().join(word).exists(), "{}: there is no {word}", page.at(line));
                        found += 1;
                    }
                }
            }
        }
    }
    assert!(found > 3, "only {found} files were found");
}

#[test]
fn every_yaml_block_parses() {
    let mut found = 0;
    for page in pages::all() {
        for block in page.blocks_of("yaml") {
            let documents: Result<Vec<Value>, _> = serde_saphyr::from_multiple(&block.text);
            assert!(documents.is_ok_and(|documents| !documents.is_empty()), "{}", page.at(block.line));
            found += 1;
        }
    }
    assert!(found > 3, "only {found} blocks were found");
}

/// A block of JSON is a log line or a configuration. The filter accepts every configuration.
#[test]
fn every_configuration_is_accepted() {
    let check = sibling("logtracer-check-config").unwrap();
    let mut found = 0;
    for page in pages::all() {
        for block in page.blocks_of("json") {
            let at = page.at(block.line);
            for value in serde_json::Deserializer::from_str(&block.text).into_iter::<Value>() {
                let value = value.unwrap_or_else(|error| panic!("{at}: {error}"));
                if value.get("severity").is_none() {
                    let problem = error_of(Command::new(&check).arg("-"), &value.to_string());
                    assert_eq!(problem, None, "{at}");
                    found += 1;
                }
            }
        }
    }
    assert!(found > 0, "no configuration was found");
    let rejected = error_of(Command::new(&check).arg("-"), r#"{"projct_id": "p"}"#);
    assert!(rejected.is_some_and(|problem| problem.contains("projct_id")));
}

/// Runs a command with an input, and returns its stderr if it fails.
fn error_of(command: &mut Command, input: &str) -> Option<String> {
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}
