//! [`RuleList`]: a value of `--keep`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::Rule;
use crate::reload::read_file;

/// A rule, or the rules of a file: `@FILE`.
///
/// Each line of the file has one rule, which can contain commas. Empty lines and those that begin with `#` are skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleList {
    text: String,
    rules: Vec<Rule>,
}

impl RuleList {
    /// Returns the rules, at least one.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

impl FromStr for RuleList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let rules = match text.strip_prefix('@') {
            Some(path) => read(path)?,
            None => vec![text.parse()?],
        };
        Ok(Self { text: text.to_owned(), rules })
    }
}

fn read(path: &str) -> Result<Vec<Rule>, String> {
    let content = read_file(Path::new(path)).map_err(|error| format!("cannot read rules: {error:#}"))?;
    let content = String::from_utf8(content).map_err(|_| format!("{path} is not UTF-8"))?;
    let lines = content.lines().map(str::trim).enumerate();
    let rules: Vec<Rule> = lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| line.parse().map_err(|error| format!("{path}, line {}: {error}", index + 1)))
        .collect::<Result<_, _>>()?;
    if rules.is_empty() { Err(format!("{path} has no rules")) } else { Ok(rules) }
}

/// Writes the value as it was given.
impl fmt::Display for RuleList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_has_a_rule_in_each_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keep");
        let path = path.to_str().unwrap();
        let value = format!("@{path}");
        let parse = |content: &[u8]| {
            fs::write(path, content).unwrap();
            value.parse::<RuleList>()
        };
        let list = parse(b"# failures\n\n  error\r\nattribute=names=a,b\n").unwrap();
        let of_attribute = Rule::Attribute { key: "names".to_owned(), value: "a,b".to_owned() };
        assert_eq!(list.rules(), [Rule::Error, of_attribute]);
        assert_eq!(list.to_string(), value);
        for (content, expected) in [
            (&b"error\nrate=2\n"[..], "keep, line 2: rate is \"2\"; expected a share from 0 to 1"),
            (b"# nothing\n", "keep has no rules"),
            (b"", "keep has no rules"),
            (b"route=/caf\xe9\n", "keep is not UTF-8"),
        ] {
            let error = parse(content).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        for path in ["@/nonexistent/rules", "@/", "@"] {
            let error = path.parse::<RuleList>().unwrap_err();
            assert!(error.starts_with("cannot read rules: "), "{error}");
        }
    }

    #[test]
    fn a_rule_alone_can_have_spaces_around_it() {
        let list: RuleList = " error ".parse().unwrap();
        assert_eq!((list.rules(), list.to_string().as_str()), (&[Rule::Error][..], "error"));
    }
}
