//! The plugin's configuration: JSON in, [`Config`] or a refusal out.
//!
//! Every key is optional, and no configuration at all works.
//! What is not understood is refused with the key, the value and what was expected: a setting that does nothing
//! is worse than a plugin that does not load.

mod read;
mod units;

pub use read::ConfigError;

use core::time::Duration;

use logtracer_core::line;
use logtracer_core::propagation::{Format, Formats, Propagator};
use logtracer_core::request::url::Query;
use logtracer_core::sampling::Ratio;
use logtracer_core::span::Kind;

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
    /// The formats that are read and written.
    pub propagation: Propagator,
    /// The share of new and of undecided traces that is recorded.
    pub sampling_rate: Ratio,
    /// The kind of the spans, `None` to go by the listener's direction.
    pub span_kind: Option<Kind>,
    /// What of a query string is told.
    pub query: Query,
    /// The response header in which the caller gets the trace id.
    pub response_header: Option<String>,
    /// Where spans go; `None` for nowhere.
    pub exporter: Option<Exporter>,
}

/// Where spans go, and how many are kept meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exporter {
    /// The Envoy cluster of the exporter.
    pub cluster: String,
    /// The `:authority` of the callout.
    pub authority: String,
    /// The `:path` of the callout.
    pub path: String,
    /// How long the exporter may take to answer.
    pub timeout: Duration,
    /// How long a span waits for others.
    pub flush_interval: Duration,
    /// The spans of one callout.
    pub max_batch_spans: usize,
    /// The bytes of spans that wait.
    pub max_buffer_bytes: usize,
    /// More headers of the callout.
    pub headers: Vec<(String, String)>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            project_id: None,
            service_name: None,
            log_format: Some(line::Format::Stackdriver),
            propagation: Propagator::default(),
            sampling_rate: Ratio::ALL,
            span_kind: None,
            query: Query::Redact,
            response_header: None,
            exporter: None,
        }
    }
}

impl Config {
    /// Reads the configuration; no bytes at all (an empty `pluginConfig` in Istio) are all defaults.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        if json.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let value = read::parse(json)?;
        let root = Section::root(&value)?;
        root.only(&[
            "project_id",
            "service_name",
            "log_format",
            "propagation",
            "sampling",
            "span_kind",
            "query",
            "response_header",
            "exporter",
        ])?;
        let default = Self::default();
        Ok(Self {
            project_id: root.text("project_id")?,
            service_name: root.text("service_name")?,
            log_format: match root.word("log_format", &["stackdriver", "local", "off"])? {
                Some("off") => None,
                Some(name) => name.parse().ok(),
                None => default.log_format,
            },
            propagation: propagation(&root)?,
            sampling_rate: sampling_rate(&root)?,
            span_kind: match root.word("span_kind", &["auto", "server", "client"])? {
                Some("server") => Some(Kind::Server),
                Some("client") => Some(Kind::Client),
                _ => None,
            },
            query: match root.word("query", &["redact", "keep", "drop"])? {
                Some("keep") => Query::Keep,
                Some("drop") => Query::Drop,
                _ => Query::Redact,
            },
            response_header: root.header_name("response_header")?,
            exporter: exporter(&root)?,
        })
    }
}

fn propagation(root: &Section<'_>) -> Result<Propagator, ConfigError> {
    let default = Propagator::default();
    let Some(section) = root.section("propagation")? else {
        return Ok(default);
    };
    section.only(&["extract", "inject"])?;
    let names = Format::ALL.map(Format::as_str);
    let formats = |key| -> Result<Option<Formats>, ConfigError> {
        let Some(words) = section.words(key, &names)? else {
            return Ok(None);
        };
        let formats: Vec<Format> = words.into_iter().filter_map(|name| name.parse().ok()).collect();
        Ok(Some(Formats::of(&formats)))
    };
    Ok(Propagator {
        extract: formats("extract")?.unwrap_or(default.extract),
        inject: formats("inject")?.unwrap_or(default.inject),
    })
}

fn sampling_rate(root: &Section<'_>) -> Result<Ratio, ConfigError> {
    let Some(section) = root.section("sampling")? else {
        return Ok(Ratio::ALL);
    };
    section.only(&["rate"])?;
    Ok(section.number("rate", "a number from 0 to 1", Ratio::new)?.unwrap_or(Ratio::ALL))
}

fn exporter(root: &Section<'_>) -> Result<Option<Exporter>, ConfigError> {
    let Some(section) = root.section("exporter")? else {
        return Ok(None);
    };
    section.only(&[
        "cluster",
        "authority",
        "path",
        "timeout",
        "flush_interval",
        "max_batch_spans",
        "max_buffer_bytes",
        "headers",
    ])?;
    let Some(cluster) = section.text("cluster")? else {
        return Err(section.missing("cluster", "the name of the Envoy cluster of the exporter"));
    };
    let seconds =
        |key, default| section.duration(key).map(|found| found.unwrap_or(Duration::from_secs(default)));
    Ok(Some(Exporter {
        authority: section.text("authority")?.unwrap_or_else(|| cluster.clone()),
        path: section.path("path")?.unwrap_or_else(|| "/v1/traces".to_owned()),
        timeout: seconds("timeout", 2)?,
        flush_interval: seconds("flush_interval", 1)?,
        max_batch_spans: section.count("max_batch_spans", 1..=10_000)?.unwrap_or(512),
        max_buffer_bytes: section.size("max_buffer_bytes", 4 << 10..=64 << 20)?.unwrap_or(1 << 20),
        headers: section.headers("headers")?,
        cluster,
    }))
}

#[cfg(test)]
mod tests;
