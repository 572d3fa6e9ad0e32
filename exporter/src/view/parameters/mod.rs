//! The parameters of lists: of the pages, of the API and of the terminal's commands. A value becomes a filter, and a
//! filter becomes a link.
//!
//! An unknown parameter, a second value and an invalid value are errors that name the parameter. An empty value counts as
//! absent, because a form sends all of its fields.

mod queries;
#[cfg(test)]
mod tests;
mod values;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

pub(crate) use queries::{LinesQuery, RangeQuery, TracesQuery};
pub(crate) use values::is_status;

/// A longer value is an error.
const MAX_VALUE_BYTES: usize = 1024;

/// What was wrong with the parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParameterError(pub(crate) String);

type Result<T> = std::result::Result<T, ParameterError>;

/// More parameters are an error, because each is compared with all others.
const MAX_PARAMETERS: usize = 64;

/// Names and values, in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// Rejects all but these names, and more than one value of each. `attribute` may have several.
    pub(crate) fn check(&self, names: &[&str]) -> Result<()> {
        if self.0.len() > MAX_PARAMETERS {
            return Err(ParameterError(format!("more than {MAX_PARAMETERS} parameters")));
        }
        for (index, (name, value)) in self.0.iter().enumerate() {
            if !names.contains(&name.as_str()) {
                let name: String = name.chars().take(100).collect();
                let names = names.join(", ");
                return Err(ParameterError(format!("unknown parameter {name:?}: expected one of {names}")));
            }
            if value.len() > MAX_VALUE_BYTES {
                return Err(ParameterError(format!("{name}: longer than {MAX_VALUE_BYTES} bytes")));
            }
            let is_repeated =
                self.0.iter().take(index).any(|(earlier, value)| earlier == name && !value.is_empty());
            if is_repeated && !value.is_empty() && name != "attribute" {
                return Err(ParameterError(format!("{name}: given more than once")));
            }
        }
        Ok(())
    }

    /// Returns a value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Removes a parameter and returns its value.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(index).1)
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn parse<T>(&self, name: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => match parse(value) {
                Some(parsed) => Ok(Some(parsed)),
                None => {
                    let value: String = value.chars().take(100).collect();
                    Err(ParameterError(format!("{name}: expected {expected}, found {value:?}")))
                }
            },
        }
    }

    /// Returns all names and values, without empty ones.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let given = self.0.iter().filter(|(_, value)| !value.is_empty());
        given.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns a copy with another value of a parameter, and without a cursor. An attribute is added to the others.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let is_added = name == "attribute";
        let kept = |(known, old): &&(String, String)| {
            known != "cursor" && if is_added { known != name || old != value } else { known != name }
        };
        let mut pairs: Vec<_> = self.0.iter().filter(kept).cloned().collect();
        pairs.push((name.to_owned(), value.to_owned()));
        Self::new(pairs)
    }

    /// Returns a copy without one value, and without a cursor.
    pub(crate) fn without(&self, name: &str, value: &str) -> Self {
        let kept = |(known, old): &&(String, String)| known != "cursor" && (known != name || old != value);
        Self(self.0.iter().filter(kept).cloned().collect())
    }

    /// Returns the link to a page with these parameters.
    pub(crate) fn link(&self, path: &str) -> String {
        let mut link = path.to_owned();
        for (index, (name, value)) in self.iter().enumerate() {
            link.push(if index == 0 { '?' } else { '&' });
            link.push_str(name);
            link.push('=');
            link.push_str(&encode(value));
        }
        link
    }
}

/// Encodes a value of a query.
pub(crate) fn encode(value: &str) -> String {
    const RESERVED: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'&')
        .add(b'\'')
        .add(b'+')
        .add(b'<')
        .add(b'>')
        .add(b'=')
        .add(b'?');
    utf8_percent_encode(value, RESERVED).to_string()
}
