//! Tables in a document that a bench writes, each between two comments:
//!
//! ```text
//! <!-- logtracer-bench: NAME -->
//! …
//! <!-- end -->
//! ```

use std::path::Path;

use logtracer_harness::{Error, Result};

/// Replaces the tables of a document, which must have all of them.
pub fn update(path: &Path, tables: &[(&str, String)]) -> Result<()> {
    let mut text = std::fs::read_to_string(path).map_err(Error::when(path.display()))?;
    for (name, table) in tables {
        let missing = || Error::new(format!("{}: no table {name}", path.display()));
        text = replaced(&text, name, table).ok_or_else(missing)?;
    }
    std::fs::write(path, text).map_err(Error::when(path.display()))
}

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
