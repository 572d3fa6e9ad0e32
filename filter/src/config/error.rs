//! [`ConfigError`]: the key, what was expected, and what was found.

use core::fmt;

use serde_json::Value;

/// Why a configuration is rejected: the key, what was expected, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Empty if the error is about the whole configuration.
    key: String,
    problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.key, self.problem)
        }
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    pub(super) const fn new(key: String, problem: String) -> Self {
        Self { key, problem }
    }

    pub(super) fn unexpected(key: String, expected: &str, found: &Value) -> Self {
        let found = match found {
            Value::Object(_) => "an object".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            other => truncated(&other.to_string()),
        };
        Self::new(key, format!("expected {expected}, found {found}"))
    }
}

/// Truncates a text to a length that fits a log message.
pub(super) fn truncated(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
