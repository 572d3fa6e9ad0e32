//! `overrides`: other values of some keys for some workloads, so that one plugin serves many teams.

use serde_json::{Map, Value};

use super::Config;
use super::error::ConfigError;
use super::section::Section;
use super::values::{Expected, non_empty_string, string};
use crate::node::Node;

/// The configuration of the workloads that meet all conditions.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The Kubernetes namespace of the workload.
    pub namespace: Option<String>,
    /// A label of the workload.
    pub label: Option<Label>,
    /// The name of the service.
    pub service: Option<String>,
    /// The general configuration with the keys of this override.
    pub config: Config,
}

/// A label that a workload must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The key.
    pub key: String,
    /// The value, or `None` for any value.
    pub value: Option<String>,
}

impl Override {
    /// The maximum number of overrides of a configuration. Each is checked as a configuration of its own, in every
    /// worker.
    const MAX: usize = 200;
    /// The keys that are conditions.
    pub(crate) const CONDITIONS: [&str; 3] = ["namespace", "label", "service"];

    /// Reads the list. `general` is the whole configuration.
    pub(super) fn read(root: &Section<'_>, general: &Value) -> Result<Vec<Self>, ConfigError> {
        let keys = Self::keys();
        let sections = root.sections("overrides", &keys)?;
        if sections.len() > Self::MAX {
            let problem = format!("expected at most {} overrides, found {}", Self::MAX, sections.len());
            return Err(root.error_at("overrides", problem));
        }
        if sections.is_empty() {
            return Ok(Vec::new());
        }
        // Without the list itself, which each of them would copy. Not collected, because that sorts the keys, which takes
        // five KiB of code.
        let mut of_all = Map::new();
        for (key, value) in general.as_object().into_iter().flatten().filter(|(key, _)| *key != "overrides") {
            of_all.insert(key.clone(), value.clone());
        }
        sections.iter().map(|section| Self::read_one(section, &of_all)).collect()
    }

    /// Returns every key of an override: the conditions, and the keys of the configuration.
    pub(crate) fn keys() -> Vec<&'static str> {
        let of_config = Config::KEYS.into_iter().filter(|key| *key != "overrides");
        Self::CONDITIONS.into_iter().chain(of_config).collect()
    }

    fn read_one(section: &Section<'_>, general: &Map<String, Value>) -> Result<Self, ConfigError> {
        let namespace = section.get("namespace", non_empty_string)?;
        let label = section.get("label", label)?;
        let service = section.get("service", non_empty_string)?;
        if namespace.is_none() && label.is_none() && service.is_none() {
            return Err(section.error("incomplete, expected a condition: namespace, label or service"));
        }
        let merged = Self::merge(general, section.object());
        // The general configuration is valid, so an error is about a key of the override.
        let config = Config::read(&section.with_value(&merged, &Config::KEYS)?)?;
        Ok(Self { namespace, label, service, config })
    }

    /// Returns the general configuration with the keys of an override, as a JSON merge patch (RFC 7396): the keys of an
    /// object replace those of the general one, and a key with `null` has its default.
    fn merge(general: &Map<String, Value>, patch: &Map<String, Value>) -> Value {
        let mut merged = Value::Object(general.clone());
        let is_condition = |key: &str| Self::CONDITIONS.contains(&key);
        for (key, value) in patch.iter().filter(|(key, _)| !is_condition(key)) {
            merge_key(&mut merged, key, value);
        }
        merged
    }

    fn matches(&self, node: &Node, service: Option<&str>, label: &impl Fn(&str) -> Option<String>) -> bool {
        let is_namespace = self.namespace.as_ref().is_none_or(|it| Some(it) == node.namespace.as_ref());
        let is_service = self.service.as_deref().is_none_or(|it| Some(it) == service);
        let has_label = |wanted: &Label| {
            let found = label(&wanted.key);
            found.is_some_and(|found| wanted.value.as_ref().is_none_or(|value| *value == found))
        };
        is_namespace && is_service && self.label.as_ref().is_none_or(has_label)
    }
}

impl Config {
    /// Returns the configuration of a workload: the first override whose conditions it meets, or else the general one.
    /// `label` returns the value of a label of the workload.
    #[must_use]
    pub fn for_node(mut self, node: &Node, label: impl Fn(&str) -> Option<String>) -> Self {
        let service = self.service_name.clone().or_else(|| node.service_name.clone());
        let overrides = core::mem::take(&mut self.overrides);
        let first = overrides.into_iter().find(|it| it.matches(node, service.as_deref(), &label));
        first.map_or(self, |it| it.config)
    }
}

/// Sets a key of an object. A value without a meaning, `null`, is the same as no value.
fn merge_key(target: &mut Value, key: &str, patch: &Value) {
    let Value::Object(object) = target else { return };
    match (object.get_mut(key), patch) {
        (Some(known @ Value::Object(_)), Value::Object(patch)) => {
            for (key, value) in patch {
                merge_key(known, key, value);
            }
        }
        (Some(known), _) => *known = patch.clone(),
        (None, _) => {
            object.insert(key.to_owned(), patch.clone());
        }
    }
}

/// A label that must be present (`team`) or have a value (`team=payments`).
fn label(value: &Value) -> Result<Label, Expected> {
    const EXPECTED: Expected = "the key of a label, or a key and a value such as \"team=payments\"";
    let is_part = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte)) && !text.is_empty()
    };
    let text = string(value, EXPECTED, |text| !text.is_empty())?;
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text.as_str(), None),
    };
    let is_valid = is_part(key) && value.as_deref().is_none_or(|value| value.is_empty() || is_part(value));
    if is_valid { Ok(Label { key: key.to_owned(), value }) } else { Err(EXPECTED) }
}
