//! Parses the Markdown files of the project.

use std::fs;
use std::path::{Path, PathBuf};

use logtracer_harness::envoy::root;

/// A file.
pub(super) struct Page {
    /// The path relative to the root.
    pub(super) path: PathBuf,
    /// The fenced code blocks.
    pub(super) blocks: Vec<Block>,
    /// The lines outside of code blocks, with their numbers.
    pub(super) lines: Vec<(usize, String)>,
}

/// A fenced code block.
pub(super) struct Block {
    /// The language after the fence: `sh`, `yaml` …
    pub(super) language: String,
    pub(super) text: String,
    /// The line of the fence.
    pub(super) line: usize,
}

/// Returns all pages in order.
pub(super) fn all() -> Vec<Page> {
    let mut files = Vec::new();
    find(root(), &mut files);
    files.sort();
    let pages: Vec<Page> = files.iter().map(|file| Page::read(file)).collect();
    assert!(pages.len() > 10, "only {} pages were found", pages.len());
    pages
}

/// Returns one page.
pub(super) fn page(path: &str) -> Page {
    Page::read(&root().join(path))
}

/// Returns the names of the files and folders in the root, without build output.
pub(super) fn tops() -> Vec<String> {
    let names = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !is_built(name)).collect()
}

fn is_built(name: &str) -> bool {
    matches!(name, "target" | "build" | ".git" | "logtracer-data")
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() && !is_built(&name) {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
}

impl Page {
    fn read(file: &Path) -> Page {
        let text = fs::read_to_string(file).unwrap_or_else(|cause| panic!("{}: {cause}", file.display()));
        let mut page = Page {
            path: file.strip_prefix(root()).unwrap().to_owned(),
            blocks: Vec::new(),
            lines: Vec::new(),
        };
        let mut open: Option<Block> = None;
        for (number, line) in (1..).zip(text.lines()) {
            match (&mut open, line.trim_start().strip_prefix("```")) {
                (Some(_), Some(_)) => page.blocks.extend(open.take()),
                (Some(block), None) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, Some(language)) => {
                    open = Some(Block { language: language.into(), text: String::new(), line: number });
                }
                (None, None) => page.lines.push((number, line.to_owned())),
            }
        }
        assert!(open.is_none(), "{}: a block has no end", page.path.display());
        page
    }

    /// Returns text in backticks with its line number.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines
            .iter()
            .flat_map(|(number, line)| line.split('`').skip(1).step_by(2).map(|code| (*number, code)))
    }

    /// Returns the targets of all links with their line numbers.
    pub(super) fn links(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines.iter().flat_map(|(number, line)| {
            line.split("](").skip(1).filter_map(|rest| Some((*number, rest.split_once(')')?.0)))
        })
    }

    /// Returns the anchors of the headings as on GitHub.
    pub(super) fn anchors(&self) -> Vec<String> {
        let headings = self.lines.iter().filter_map(|(_, line)| {
            let rest = line.trim_start_matches('#');
            (rest.len() < line.len()).then(|| rest.strip_prefix(' ')).flatten()
        });
        headings.map(anchor).collect()
    }

    /// Returns the blocks of a language.
    pub(super) fn blocks_of(&self, language: &str) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(move |block| block.language == language)
    }

    /// Formats the position of a line.
    pub(super) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn anchors_are_those_of_github() {
    assert_eq!(anchor("`otlp=URL`"), "otlpurl");
    assert_eq!(anchor("3. The exporter: CPU"), "3-the-exporter-cpu");
}
