//! The plugin's configuration: parses JSON to a [`Config`] or a [`ConfigError`].
//!
//! Every key is optional, and an empty configuration works.
//! An unknown key, a duplicate key or an invalid value is an error, because a setting without effect is worse than a
//! plugin that does not load.

mod captured_headers;
mod error;
mod exclude;
mod exporter;
mod header_names;
mod json;
mod native;
mod overrides;
mod propagation;
mod response_header;
mod sampling;
mod section;
mod units;
mod values;

pub use captured_headers::CapturedHeader;
pub use error::ConfigError;
pub use exclude::Exclude;
pub use exporter::{Cluster, Exporter};
pub use native::Direction;
pub use overrides::Override;
pub use propagation::{Edge, Propagation};
pub use response_header::ResponseHeader;
pub use sampling::Sampling;

use logtracer_core::line;
use logtracer_core::request::url::Query;
use logtracer_core::span::SpanKind;
use serde_json::Value;

use section::Section;
use values::{Expected, boolean, non_empty_string, string};

/// What the filter does, from the plugin's configuration.
///
/// ```
/// use logtracer_filter::config::Config;
///
/// let config = Config::parse(br#"{"project_id": "shop-prod", "sampling": {"rate": 0.1}}"#)?;
/// assert_eq!(config.project_id.as_deref(), Some("shop-prod"));
///
/// let error = Config::parse(br#"{"sampling": {"rate": 7}}"#).unwrap_err();
/// assert_eq!(error.to_string(), "sampling.rate: expected a number from 0 to 1, found 7");
/// # Ok::<(), logtracer_filter::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The Google Cloud project of traces in log lines.
    pub project_id: Option<String>,
    /// The name of the service; `None` to derive it from the Envoy node.
    pub service_name: Option<String>,
    /// The format of log lines; `None` for no lines.
    pub log_format: Option<line::Format>,
    /// Each log line ends with a line break of its own.
    pub line_break: bool,
    /// Which trace headers are read and written, and what to do with the caller's context.
    pub propagation: Propagation,
    /// Which traces are recorded.
    pub sampling: Sampling,
    /// Which requests have no span.
    pub exclude: Exclude,
    /// The kind of spans; `None` to derive it from the direction of the listener.
    pub span_kind: Option<SpanKind>,
    /// What to do with query strings in URLs.
    pub query: Query,
    /// Request headers to capture in spans and log lines.
    pub request_headers: Vec<CapturedHeader>,
    /// Response headers to capture in spans and log lines.
    pub response_headers: Vec<CapturedHeader>,
    /// The headers of the response in which the caller gets the trace.
    pub response_header: Vec<ResponseHeader>,
    /// Where spans are sent; `None` for no spans.
    pub exporter: Option<Exporter>,
    /// Other configurations for some workloads. [`Config::for_node`] applies them.
    pub overrides: Vec<Override>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            project_id: None,
            service_name: None,
            log_format: Some(line::Format::Stackdriver),
            line_break: false,
            propagation: Propagation::default(),
            sampling: Sampling::default(),
            exclude: Exclude::default(),
            span_kind: None,
            query: Query::Redact,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            response_header: Vec::new(),
            exporter: None,
            overrides: Vec::new(),
        }
    }
}

impl Config {
    /// Every top-level key.
    pub(crate) const KEYS: [&str; 15] = [
        "project_id",
        "service_name",
        "log_format",
        "line_break",
        "propagation",
        "edge",
        "sampling",
        "exclude",
        "span_kind",
        "query",
        "request_headers",
        "response_headers",
        "response_header",
        "exporter",
        "overrides",
    ];

    /// Parses the configuration. Empty input (an empty `pluginConfig` in Istio) gives the defaults.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        if json.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let value = json::parse(json)?;
        let root = Section::root(&value, &Self::KEYS)?;
        let general = Self::read(&root)?;
        Ok(Self { overrides: Override::read(&root, &value)?, ..general })
    }

    /// Reads every key but `overrides`. Not inlined, because overrides are read in the same way.
    #[inline(never)]
    fn read(root: &Section<'_>) -> Result<Self, ConfigError> {
        let default = Self::default();
        Ok(Self {
            project_id: root.get("project_id", project_id)?,
            service_name: root.get("service_name", non_empty_string)?,
            log_format: root.get("log_format", log_format)?.unwrap_or(default.log_format),
            line_break: root.get("line_break", boolean)?.unwrap_or(default.line_break),
            propagation: Propagation::read(root)?,
            sampling: Sampling::read(root)?,
            exclude: Exclude::read(root)?,
            span_kind: root.get("span_kind", span_kind)?.unwrap_or(default.span_kind),
            query: root.get("query", query)?.unwrap_or(default.query),
            request_headers: CapturedHeader::read_request_headers(root)?,
            response_headers: CapturedHeader::read_response_headers(root)?,
            response_header: ResponseHeader::read(root)?,
            exporter: Exporter::read(root)?,
            overrides: Vec::new(),
        })
    }
}

fn project_id(value: &Value) -> Result<String, Expected> {
    string(value, "a project id, such as \"shop-prod\"", is_project_id)
}

/// Returns whether a text can be a project id of Google Cloud, also an old one with the name of an organization.
pub(crate) fn is_project_id(text: &str) -> bool {
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    !text.is_empty() && text.bytes().all(is_id)
}

fn log_format(value: &Value) -> Result<Option<line::Format>, Expected> {
    match value.as_str() {
        Some("stackdriver") => Ok(Some(line::Format::Stackdriver)),
        Some("local") => Ok(Some(line::Format::Local)),
        Some("off") => Ok(None),
        _ => Err("one of stackdriver, local, off"),
    }
}

fn span_kind(value: &Value) -> Result<Option<SpanKind>, Expected> {
    match value.as_str() {
        Some("auto") => Ok(None),
        Some("server") => Ok(Some(SpanKind::Server)),
        Some("client") => Ok(Some(SpanKind::Client)),
        _ => Err("one of auto, server, client"),
    }
}

fn query(value: &Value) -> Result<Query, Expected> {
    match value.as_str() {
        Some("redact") => Ok(Query::Redact),
        Some("keep") => Ok(Query::Keep),
        Some("drop") => Ok(Query::Drop),
        _ => Err("one of redact, keep, drop"),
    }
}

#[cfg(test)]
mod tests;
