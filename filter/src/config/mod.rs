//! The plugin's configuration: JSON in, [`Config`] or a refusal out.
//!
//! Every key is optional, and no configuration at all works.
//! What is not understood is refused with the key, the value and what was expected: a setting that does nothing
//! is worse than a plugin that does not load.

mod exporter;
mod json;
mod propagation;
mod read;
mod recorded;
mod sampling;
mod texts;
mod units;

pub use exporter::Exporter;
pub use propagation::{Edge, Propagation};
pub use read::ConfigError;
pub use recorded::RecordedHeader;
pub use sampling::{Exclude, Sampling};

use logtracer_core::line;
use logtracer_core::request::url::Query;
use logtracer_core::span::SpanKind;

use read::Section;

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
    /// The name of the service; found from the Envoy node where it is not given.
    pub service_name: Option<String>,
    /// The format of the log line, `None` for no line.
    pub log_format: Option<line::Format>,
    /// The formats that are read and written, whose context is trusted, and who gets one.
    pub propagation: Propagation,
    /// Which traces are recorded.
    pub sampling: Sampling,
    /// Which requests leave no span.
    pub exclude: Exclude,
    /// The kind of the spans, `None` to go by the listener's direction.
    pub span_kind: Option<SpanKind>,
    /// What of a query string is told.
    pub query: Query,
    /// Request headers that spans and lines record.
    pub request_headers: Vec<RecordedHeader>,
    /// Response headers that spans and lines record.
    pub response_headers: Vec<RecordedHeader>,
    /// The response header in which the caller gets the trace id.
    pub response_header: Option<String>,
    /// Where spans go; `None` for nowhere.
    pub exporter: Option<Exporter>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            project_id: None,
            service_name: None,
            log_format: Some(line::Format::Stackdriver),
            propagation: Propagation::default(),
            sampling: Sampling::default(),
            exclude: Exclude::default(),
            span_kind: None,
            query: Query::Redact,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            response_header: None,
            exporter: None,
        }
    }
}

impl Config {
    /// Every key on the top level.
    pub(crate) const KEYS: [&str; 13] = [
        "project_id",
        "service_name",
        "log_format",
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
    ];

    /// Reads the configuration; no bytes at all (an empty `pluginConfig` in Istio) are all defaults.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        if json.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let value = json::parse(json)?;
        let root = Section::root(&value)?;
        root.only(&Self::KEYS)?;
        let default = Self::default();
        Ok(Self {
            project_id: root.project("project_id")?,
            service_name: root.text("service_name")?,
            log_format: match root.word("log_format", &["stackdriver", "local", "off"])? {
                Some("off") => None,
                Some(name) => name.parse().ok(),
                None => default.log_format,
            },
            propagation: Propagation::read(&root)?,
            sampling: Sampling::read(&root)?,
            exclude: Exclude::read(&root)?,
            span_kind: match root.word("span_kind", &["auto", "server", "client"])? {
                Some("server") => Some(SpanKind::Server),
                Some("client") => Some(SpanKind::Client),
                _ => None,
            },
            query: match root.word("query", &["redact", "keep", "drop"])? {
                Some("keep") => Query::Keep,
                Some("drop") => Query::Drop,
                _ => Query::Redact,
            },
            request_headers: RecordedHeader::of_requests(&root)?,
            response_headers: RecordedHeader::of_responses(&root)?,
            response_header: root.response_header("response_header")?,
            exporter: Exporter::read(&root)?,
        })
    }
}

#[cfg(test)]
mod tests;
