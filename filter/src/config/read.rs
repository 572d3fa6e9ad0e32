//! [`Section`]: typed access to a JSON object, where every refusal names the key, the value and what was expected.

use core::fmt;
use core::ops::RangeInclusive;
use core::time::Duration;

use logtracer_core::request::HostPattern;
use serde_json::{Map, Value};

use super::texts::{
    A_ROUTE, A_ROUTE_PART, SECRET_HEADERS, is_authority, is_callout_header, is_header_name, is_header_value,
    is_own_header, is_route, is_route_part, is_visible,
};
use super::units;

/// Why a configuration is refused: the key, what was expected there, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
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
    /// A refusal of the configuration as a whole.
    pub(super) const fn of_all(problem: String) -> Self {
        Self { key: String::new(), problem }
    }
}

/// One object of the configuration, with the path that leads to it.
#[derive(Debug)]
pub(super) struct Section<'v> {
    path: String,
    object: &'v Map<String, Value>,
}

impl<'v> Section<'v> {
    pub(super) fn root(value: &'v Value) -> Result<Self, ConfigError> {
        match value {
            Value::Object(object) => Ok(Self { path: String::new(), object }),
            other => Err(ConfigError::of_all(format!(
                "expected a JSON object as the configuration, found {}",
                shown(other)
            ))),
        }
    }

    /// Refuses every key that is not among `known`.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ConfigError> {
        match self.object.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(ConfigError {
                key: self.key(&shortened(key)),
                problem: format!("unknown key, expected one of {}", known.join(", ")),
            }),
        }
    }

    /// The refusal of a section that lacks one of several keys.
    pub(super) fn missing_any(&self, expected: &str) -> ConfigError {
        ConfigError { key: self.path.clone(), problem: format!("incomplete, expected {expected}") }
    }

    /// The refusal of a section that lacks a key it cannot do without.
    pub(super) fn missing(&self, key: &str, expected: &str) -> ConfigError {
        ConfigError { key: self.key(key), problem: format!("missing, expected {expected}") }
    }

    pub(super) fn section(&self, key: &str) -> Result<Option<Section<'v>>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Section { path: self.key(key), object })),
            Some(other) => Err(self.refusal(key, "an object", other)),
        }
    }

    /// A list of objects.
    pub(super) fn sections(&self, key: &str) -> Result<Vec<Section<'v>>, ConfigError> {
        self.list(key, "a list of objects", |key, item| match item {
            Value::Object(object) => Ok(Section { path: self.key(key), object }),
            other => Err(self.refusal(key, "an object", other)),
        })
        .map(Option::unwrap_or_default)
    }

    pub(super) fn truth(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.refusal(key, "true or false", value))
    }

    /// A list of texts that are not empty.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<String>>, ConfigError> {
        self.list(key, "a list of texts", |key, item| match item {
            Value::String(text) if !text.is_empty() => Ok(text.clone()),
            other => Err(self.refusal(key, "a text that is not empty", other)),
        })
    }

    /// A host, or `*.` and a domain.
    pub(super) fn host(&self, key: &str) -> Result<Option<HostPattern>, ConfigError> {
        self.get(key).map(|value| self.host_pattern(key, value)).transpose()
    }

    /// A list of hosts.
    pub(super) fn hosts(&self, key: &str) -> Result<Vec<HostPattern>, ConfigError> {
        let expected = "a list of hosts such as \"api.example.com\" or \"*.example.com\"";
        self.list(key, expected, |key, item| self.host_pattern(key, item)).map(Option::unwrap_or_default)
    }

    /// Names of headers that may be recorded, in lower case.
    pub(super) fn recorded_headers(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        self.list(key, "a list of header names", |key, item| {
            let name = item.as_str().filter(|name| is_header_name(name)).map(str::to_ascii_lowercase);
            match name {
                Some(name) if SECRET_HEADERS.contains(&name.as_str()) => {
                    Err(self.refusal(key, "a header that carries no secret", item))
                }
                Some(name) => Ok(name),
                None => Err(self.refusal(key, "the name of a header", item)),
            }
        })
        .map(Option::unwrap_or_default)
    }

    /// A header that has to be there (`x-debug`), or to have a value (`x-debug: 1`).
    pub(super) fn header_condition(
        &self,
        key: &str,
    ) -> Result<Option<(String, Option<String>)>, ConfigError> {
        const EXPECTED: &str = "the name of a header, or name and value such as \"x-debug: 1\"";
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| self.refusal(key, EXPECTED, value))?;
        let (name, wanted) = match text.split_once(':') {
            Some((name, wanted)) => (name, Some(wanted.trim().to_owned())),
            None => (text, None),
        };
        if !is_header_name(name) {
            return Err(self.refusal(key, EXPECTED, value));
        }
        Ok(Some((name.to_ascii_lowercase(), wanted)))
    }

    /// A text that is not empty.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        self.checked_text(key, "a text that is not empty", |text| !text.is_empty())
    }

    /// One of a few words.
    pub(super) fn word(
        &self,
        key: &str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, ConfigError> {
        self.get(key).map(|value| self.one_of(key, value, words)).transpose()
    }

    /// A list of a few words.
    pub(super) fn words(
        &self,
        key: &str,
        words: &[&'static str],
    ) -> Result<Option<Vec<&'static str>>, ConfigError> {
        let expected = format!("a list of words out of {}", words.join(", "));
        self.list(key, &expected, |key, item| self.one_of(key, item, words))
    }

    /// A number that `accept` makes something of.
    pub(super) fn number<T>(
        &self,
        key: &str,
        expected: &str,
        accept: impl FnOnce(f64) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value.as_f64().and_then(accept).map(Some).ok_or_else(|| self.refusal(key, expected, value))
    }

    /// A whole number; Istio hands numbers over as doubles, so that `5.0` is one, too.
    pub(super) fn count(
        &self,
        key: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, ConfigError> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.number(key, &expected, |number| whole(number).filter(|count| range.contains(count)))
    }

    /// A time such as `500ms`.
    pub(super) fn duration(&self, key: &str) -> Result<Option<Duration>, ConfigError> {
        const EXPECTED: &str = "a time from 1ms to 1h such as \"500ms\", \"2s\" or \"1m\"";
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let range = Duration::from_millis(1)..=Duration::from_secs(3600);
        value
            .as_str()
            .and_then(units::duration)
            .filter(|duration| range.contains(duration))
            .map(Some)
            .ok_or_else(|| self.refusal(key, EXPECTED, value))
    }

    /// A number of bytes, or a text such as `1MiB`.
    pub(super) fn size(&self, key: &str, range: RangeInclusive<usize>) -> Result<Option<usize>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let bytes = match value {
            Value::String(text) => units::size(text),
            other => other.as_f64().and_then(whole),
        };
        bytes.filter(|bytes| range.contains(bytes)).map(Some).ok_or_else(|| {
            let expected = format!(
                "a size from {} to {} bytes such as \"512KiB\" or \"1MiB\"",
                range.start(),
                range.end()
            );
            self.refusal(key, &expected, value)
        })
    }

    /// A path of a URL.
    pub(super) fn path(&self, key: &str) -> Result<Option<String>, ConfigError> {
        self.checked_text(key, "a path that begins with /", |text| text.starts_with('/') && is_visible(text))
    }

    /// A host, maybe with a port.
    pub(super) fn authority(&self, key: &str) -> Result<Option<String>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_str() {
            Some(text) if is_authority(text) => Ok(Some(text.to_owned())),
            // There may be a password before the host: it is not shown.
            _ => Err(ConfigError {
                key: self.key(key),
                problem: "expected a host, maybe with a port, such as \"exporter.example:4318\"".to_owned(),
            }),
        }
    }

    /// The name of a header of the response that is there for the trace id alone, in lower case.
    pub(super) fn response_header(&self, key: &str) -> Result<Option<String>, ConfigError> {
        const EXPECTED: &str = "the name of a header without a meaning of its own, such as \"x-trace-id\"";
        let accept = |name: &str| is_header_name(name) && !is_own_header(name);
        Ok(self.checked_text(key, EXPECTED, accept)?.map(|name| name.to_ascii_lowercase()))
    }

    /// The id of a Google Cloud project.
    pub(super) fn project(&self, key: &str) -> Result<Option<String>, ConfigError> {
        let id = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        self.checked_text(key, "the id of a project, such as \"shop-prod\"", |text| {
            !text.is_empty() && text.bytes().all(id)
        })
    }

    /// A method as it stands in a request, where its case counts.
    pub(super) fn method(&self, key: &str) -> Result<Option<String>, ConfigError> {
        self.checked_text(key, "a method in capitals, such as \"POST\"", |text| {
            is_header_name(text) && !text.bytes().any(|byte| byte.is_ascii_lowercase())
        })
    }

    /// A path of requests, or the beginning of one.
    pub(super) fn route(&self, key: &str) -> Result<Option<String>, ConfigError> {
        self.checked_text(key, A_ROUTE, is_route)
    }

    /// A part of a path of requests.
    pub(super) fn route_part(&self, key: &str) -> Result<Option<String>, ConfigError> {
        self.checked_text(key, A_ROUTE_PART, is_route_part)
    }

    /// A list of paths of requests.
    pub(super) fn routes(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        self.checked_texts(key, "a list of paths", A_ROUTE, is_route)
    }

    /// A list of parts of paths of requests.
    pub(super) fn route_parts(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        self.checked_texts(key, "a list of parts of paths", A_ROUTE_PART, is_route_part)
    }

    /// An object of names and values of headers of the callout, without those that it has anyway.
    pub(super) fn callout_headers(&self, key: &str) -> Result<Vec<(String, String)>, ConfigError> {
        // Values may be tokens, and whoever mistakes the form may have put one anywhere: nothing of it is shown.
        let section = match self.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Object(object)) => Section { path: self.key(key), object },
            Some(_) => {
                let problem = "expected an object of names and values of headers".to_owned();
                return Err(ConfigError { key: self.key(key), problem });
            }
        };
        if section.object.keys().any(|name| !is_header_name(name)) {
            let problem =
                "expected names of headers, such as \"authorization\", with their values".to_owned();
            return Err(ConfigError { key: section.path, problem });
        }
        section
            .object
            .iter()
            .map(|(name, value)| match value.as_str() {
                Some(_) if is_callout_header(name) => Err(ConfigError {
                    key: section.key(&shortened(name)),
                    problem: "expected a header that the filter does not set itself".to_owned(),
                }),
                Some(text) if is_header_value(text) => Ok((name.to_ascii_lowercase(), text.to_owned())),
                _ => Err(ConfigError {
                    key: section.key(&shortened(name)),
                    problem: "expected a text of visible characters".to_owned(),
                }),
            })
            .collect()
    }

    fn list<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&str, &'v Value) -> Result<T, ConfigError>,
    ) -> Result<Option<Vec<T>>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(items)) => {
                let read = |(index, item)| read(&format!("{key}[{index}]"), item);
                items.iter().enumerate().map(read).collect::<Result<_, _>>().map(Some)
            }
            Some(other) => Err(self.refusal(key, expected, other)),
        }
    }

    fn host_pattern(&self, key: &str, value: &Value) -> Result<HostPattern, ConfigError> {
        let host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        value
            .as_str()
            .filter(|text| {
                let rest = text.strip_prefix("*.").unwrap_or(text);
                !rest.is_empty() && rest.bytes().all(host)
            })
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| {
                self.refusal(key, "a host such as \"api.example.com\" or \"*.example.com\"", value)
            })
    }

    fn checked_text(
        &self,
        key: &str,
        expected: &str,
        accept: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if accept(text) => Ok(Some(text.clone())),
            Some(other) => Err(self.refusal(key, expected, other)),
        }
    }

    fn checked_texts(
        &self,
        key: &str,
        expected: &str,
        expected_item: &str,
        accept: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, ConfigError> {
        self.list(key, expected, |key, item| match item {
            Value::String(text) if accept(text) => Ok(text.clone()),
            other => Err(self.refusal(key, expected_item, other)),
        })
        .map(Option::unwrap_or_default)
    }

    fn one_of(&self, key: &str, value: &Value, words: &[&'static str]) -> Result<&'static str, ConfigError> {
        words
            .iter()
            .copied()
            .find(|word| value.as_str() == Some(word))
            .ok_or_else(|| self.refusal(key, &format!("one of {}", words.join(", ")), value))
    }

    /// The value of a key; JSON's `null` is no value.
    fn get(&self, key: &str) -> Option<&'v Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn refusal(&self, key: &str, expected: &str, found: &Value) -> ConfigError {
        ConfigError { key: self.key(key), problem: format!("expected {expected}, found {}", shown(found)) }
    }
}

fn whole(number: f64) -> Option<usize> {
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then_some(number as usize)
}

/// A value as JSON, but short: it goes into a log.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => shortened(&other.to_string()),
    }
}

pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
