//! [`Section`]: reads the keys of a JSON object. Every error names the key, what was expected, and what was found.

use serde_json::{Map, Value};

use super::error::{ConfigError, truncated};
use super::values::Expected;

/// An object of the configuration, with its path. It has no unknown key.
#[derive(Debug)]
pub(super) struct Section<'v> {
    path: String,
    object: &'v Map<String, Value>,
}

impl<'v> Section<'v> {
    pub(super) fn root(value: &'v Value, keys: &[&str]) -> Result<Self, ConfigError> {
        Self::new(String::new(), value, keys)
    }

    /// Returns the object at `key`.
    pub(super) fn section(&self, key: &str, keys: &[&str]) -> Result<Option<Self>, ConfigError> {
        self.value(key).map(|value| Self::new(self.path_of(key), value, keys)).transpose()
    }

    /// Returns the objects in the list at `key`.
    pub(super) fn sections(&self, key: &str, keys: &[&str]) -> Result<Vec<Self>, ConfigError> {
        let items = self.items(key, "a list of objects")?.unwrap_or_default();
        items.into_iter().map(|(path, item)| Self::new(path, item, keys)).collect()
    }

    /// Returns the object itself.
    pub(super) const fn object(&self) -> &'v Map<String, Value> {
        self.object
    }

    /// Returns a section with another value, whose errors have the path of this one.
    pub(super) fn with_value<'w>(&self, value: &'w Value, keys: &[&str]) -> Result<Section<'w>, ConfigError> {
        Section::new(self.path.clone(), value, keys)
    }

    /// Returns the value at `key`. `read` returns what was expected if the value is invalid.
    pub(super) fn get<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'v Value) -> Result<T, Expected>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        read(value).map(Some).map_err(|expected| ConfigError::unexpected(self.path_of(key), expected, value))
    }

    /// Returns the value at `key`. The error does not show the value, because it can contain a secret.
    pub(super) fn get_secret<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'v Value) -> Result<T, Expected>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        read(value).map(Some).map_err(|expected| self.error_at(key, format!("expected {expected}")))
    }

    /// Returns the values in the list at `key`.
    pub(super) fn list<T>(
        &self,
        key: &str,
        expected: Expected,
        read: impl Fn(&'v Value) -> Result<T, Expected>,
    ) -> Result<Option<Vec<T>>, ConfigError> {
        let Some(items) = self.items(key, expected)? else { return Ok(None) };
        let read_item = |(path, item): (String, &'v Value)| {
            read(item).map_err(|expected| ConfigError::unexpected(path, expected, item))
        };
        items.into_iter().map(read_item).collect::<Result<_, _>>().map(Some)
    }

    /// Returns an error about the whole section.
    pub(super) fn error(&self, problem: &str) -> ConfigError {
        ConfigError::new(self.path.clone(), problem.to_owned())
    }

    /// Returns an error about one key.
    pub(super) fn error_at(&self, key: &str, problem: String) -> ConfigError {
        ConfigError::new(self.path_of(key), problem)
    }

    fn new(path: String, value: &'v Value, keys: &[&str]) -> Result<Self, ConfigError> {
        let Value::Object(object) = value else {
            return Err(ConfigError::unexpected(path, "an object", value));
        };
        let section = Self { path, object };
        match object.keys().find(|key| !keys.contains(&key.as_str())) {
            None => Ok(section),
            Some(unknown) => {
                let problem = format!("unknown key, expected one of {}", keys.join(", "));
                Err(section.error_at(&truncated(unknown), problem))
            }
        }
    }

    /// Returns the items of the list at `key`, with their paths.
    fn items(&self, key: &str, expected: Expected) -> Result<Option<Vec<(String, &'v Value)>>, ConfigError> {
        let Some(items) = self.get(key, |value| value.as_array().ok_or(expected))? else { return Ok(None) };
        let path = self.path_of(key);
        Ok(Some(items.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect()))
    }

    /// Returns the value at `key`. JSON's `null` is the same as no value.
    fn value(&self, key: &str) -> Option<&'v Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
