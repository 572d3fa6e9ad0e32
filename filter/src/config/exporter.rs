//! `exporter`: where spans are sent, and how many are buffered.

use core::time::Duration;

use logtracer_core::propagation::Header;
use serde_json::Value;

use super::error::{ConfigError, truncated};
use super::section::Section;
use super::values::{Expected, duration, non_empty_string, string, whole_number};
use super::{header_names, units};

/// Where spans are sent, and how many are buffered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exporter {
    /// The Envoy clusters of the exporter, at least one and at most [`Exporter::MAX_CLUSTERS`]. A trace belongs to one of
    /// them ([`shard_of`](logtracer_core::shard_of)).
    pub clusters: Vec<Cluster>,
    /// The `:path` of the callout.
    pub path: String,
    /// The timeout of the callout.
    pub timeout: Duration,
    /// The longest time that a span waits for others.
    pub flush_interval: Duration,
    /// The maximum number of spans in one callout.
    pub max_batch_spans: usize,
    /// The maximum size of the buffered spans of all clusters together.
    pub max_buffer_bytes: usize,
    /// Additional headers of the callout.
    pub headers: Vec<(String, String)>,
}

/// An Envoy cluster of the exporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The name.
    pub name: String,
    /// The `:authority` of the callout.
    pub authority: String,
}

impl Exporter {
    /// Every key of the section.
    pub(crate) const KEYS: [&str; 8] = [
        "cluster",
        "authority",
        "path",
        "timeout",
        "flush_interval",
        "max_batch_spans",
        "max_buffer_bytes",
        "headers",
    ];
    /// The maximum number of clusters.
    pub const MAX_CLUSTERS: usize = 16;
    /// The smallest buffer of one cluster.
    const MIN_BUFFER_BYTES: usize = 4 << 10;
    /// The user agent of the callout.
    pub(crate) const USER_AGENT: &str = concat!("logtracer-filter/", env!("CARGO_PKG_VERSION"));

    /// Returns true for a request that carries spans from a filter to the exporter.
    ///
    /// The exporter can be behind a filter with the same configuration. A span of such a request would be exported too,
    /// and so on without end. A caller that imitates these requests hides only the spans of its requests to this path.
    pub fn is_export(&self, method: &[u8], path: &[u8], user_agent: &[u8]) -> bool {
        let own = self.path.split('?').next().unwrap_or_default();
        method == b"POST" && path == own.as_bytes() && user_agent.starts_with(b"logtracer-filter/")
    }

    pub(super) fn read(root: &Section<'_>) -> Result<Option<Self>, ConfigError> {
        let Some(section) = root.section("exporter", &Self::KEYS)? else { return Ok(None) };
        // A URL in place of the authority can contain a password.
        let given = section.get_secret("authority", authority)?;
        let with_authority = |name: String| {
            let authority = given.clone().unwrap_or_else(|| default_authority(&name));
            Cluster { name, authority }
        };
        let exporter = Self {
            clusters: read_clusters(&section)?.into_iter().map(with_authority).collect(),
            path: section.get("path", callout_path)?.unwrap_or_else(|| "/v1/traces".to_owned()),
            timeout: section.get("timeout", duration)?.unwrap_or(Duration::from_secs(2)),
            flush_interval: section.get("flush_interval", duration)?.unwrap_or(Duration::from_secs(1)),
            max_batch_spans: section.get("max_batch_spans", batch_spans)?.unwrap_or(512),
            max_buffer_bytes: section.get("max_buffer_bytes", buffer_bytes)?.unwrap_or(1 << 20),
            headers: read_headers(&section)?,
        };
        if exporter.buffer_bytes() < Self::MIN_BUFFER_BYTES {
            let problem = "expected at least 4096 bytes for each cluster".to_owned();
            return Err(section.error_at("max_buffer_bytes", problem));
        }
        Ok(Some(exporter))
    }

    /// Returns the maximum size of the buffered spans of one cluster: an equal part, so that a cluster that is unavailable
    /// cannot take the space of the others.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.max_buffer_bytes / self.clusters.len().max(1)
    }

    /// Returns what identifies a destination: cluster, authority and path.
    pub(crate) fn destination(&self, cluster: &Cluster) -> [String; 3] {
        [&cluster.name, &cluster.authority, &self.path].map(Clone::clone)
    }
}

/// Reads a name or a list of names.
fn read_clusters(section: &Section<'_>) -> Result<Vec<String>, ConfigError> {
    const KEY: &str = "cluster";
    let is_list = section.get(KEY, |value| Ok(value.is_array()))?;
    let names = match is_list {
        Some(true) => section.list(KEY, "a list of names", non_empty_string)?.unwrap_or_default(),
        _ => section.get(KEY, cluster_name)?.into_iter().collect(),
    };
    let twice =
        names.iter().enumerate().find(|(index, name)| names.iter().take(*index).any(|it| it == *name));
    let problem = match (is_list, twice) {
        (None, _) => "missing, expected the name of the exporter's Envoy cluster".to_owned(),
        (_, Some((_, name))) => format!("expected different names, found {} twice", truncated(name)),
        _ if !(1..=Exporter::MAX_CLUSTERS).contains(&names.len()) => {
            format!("expected 1 to 16 names, found {}", names.len())
        }
        _ => return Ok(names),
    };
    Err(section.error_at(KEY, problem))
}

fn cluster_name(value: &Value) -> Result<String, Expected> {
    non_empty_string(value).map_err(|_| "a non-empty string, or a list of 1 to 16 of them")
}

/// Returns the authority of a cluster that is named after its host, as Istio's `outbound|<port>|<subset>|<host>`.
fn default_authority(cluster: &str) -> String {
    let mut parts = cluster.split('|');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(port), Some(_), Some(host)) => format!("{host}:{port}"),
        _ if is_authority(cluster) => cluster.to_owned(),
        _ => "logtracer-exporter".to_owned(),
    }
}

/// Header values can be tokens, and a mistyped object can have a token in place of a name. Errors show no values, and
/// names only if all of them are valid.
fn read_headers(section: &Section<'_>) -> Result<Vec<(String, String)>, ConfigError> {
    let object = |value| Value::as_object(value).ok_or("an object of header names and values");
    let Some(headers) = section.get_secret("headers", object)? else { return Ok(Vec::new()) };
    if !headers.keys().all(|name| header_names::is_valid(name)) {
        let problem = "expected valid header names, such as \"authorization\", with their values".to_owned();
        return Err(section.error_at("headers", problem));
    }
    let read_header = |(name, value): (&String, &Value)| {
        header_value(name, value).map(|value| (name.to_ascii_lowercase(), value)).map_err(|expected| {
            section.error_at(&format!("headers.{}", truncated(name)), format!("expected {expected}"))
        })
    };
    // As for every key, null is not a value: an override removes a header with it.
    headers.iter().filter(|(_, value)| !value.is_null()).map(read_header).collect()
}

fn header_value(name: &str, value: &Value) -> Result<String, Expected> {
    let is_set_by_filter = header_names::is_reserved(name)
        || name.eq_ignore_ascii_case("user-agent")
        || Header::from_name(name.as_bytes()).is_some();
    if is_set_by_filter {
        return Err("a header that the filter does not set itself");
    }
    string(value, "a string of printable ASCII characters", |text| {
        text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    })
}

fn authority(value: &Value) -> Result<String, Expected> {
    string(value, "a host with an optional port, such as \"exporter.example:4318\"", is_authority)
}

fn is_authority(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
}

fn callout_path(value: &Value) -> Result<String, Expected> {
    string(value, "a path that starts with /", |text| {
        text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

fn batch_spans(value: &Value) -> Result<usize, Expected> {
    whole_number(value).filter(|spans| (1..=10_000).contains(spans)).ok_or("a whole number from 1 to 10000")
}

fn buffer_bytes(value: &Value) -> Result<usize, Expected> {
    let bytes = value.as_str().map_or_else(|| whole_number(value), units::size);
    bytes
        .filter(|bytes| (4 << 10..=64 << 20).contains(bytes))
        .ok_or("a size from 4096 to 67108864 bytes, such as \"512KiB\" or \"1MiB\"")
}
