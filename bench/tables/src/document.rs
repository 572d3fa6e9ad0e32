//! Tables in a document that a bench writes, each between two comments:
//!
//! ```text
//! <!-- logtracer-bench: NAME -->
//! …
//! <!-- end -->
//! ```

use std::path::{Path, PathBuf};
use std::{error, fmt, fs, io};

/// Replaces the tables of a document, which must have all of them.
pub fn update(path: &Path, tables: &[(&str, String)]) -> Result<(), UpdateError> {
    let error = |kind| UpdateError { path: path.to_owned(), kind };
    let mut text = fs::read_to_string(path).map_err(|cause| error(Kind::Io(cause)))?;
    for (name, table) in tables {
        let missing = || error(Kind::Missing((*name).to_owned()));
        text = replaced(&text, name, table).ok_or_else(missing)?;
    }
    fs::write(path, text).map_err(|cause| error(Kind::Io(cause)))
}

/// The error of [`update`]. It names the document, and the table that it does not have.
#[derive(Debug)]
pub struct UpdateError {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Io(io::Error),
    Missing(String),
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.kind {
            Kind::Io(cause) => cause.fmt(f),
            Kind::Missing(name) => write!(f, "no table {name}"),
        }
    }
}

impl error::Error for UpdateError {}

/// Returns the text with another table; `None` if it has no such table.
fn replaced(text: &str, name: &str, table: &str) -> Option<String> {
    let begin = format!("<!-- logtracer-bench: {name} -->\n");
    let (before, rest) = text.split_once(&begin)?;
    let end = rest.find("<!-- end -->")?;
    Some(format!("{before}{begin}\n{}\n\n{}", table.trim(), rest.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_with_the_name_is_replaced() {
        let text = |one: &str| {
            format!(
                "# A\n<!-- logtracer-bench: one -->\n\n{one}\n\n<!-- end -->\nB\n\
                 <!-- logtracer-bench: two -->\n\n| 2 |\n\n<!-- end -->\n"
            )
        };
        assert_eq!(replaced(&text("| 1 |"), "one", "| 3 |\n| 4 |\n"), Some(text("| 3 |\n| 4 |")));
        assert_eq!(replaced(&text("| 1 |"), "three", ""), None);
    }
}
