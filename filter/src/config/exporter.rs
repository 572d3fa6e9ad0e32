//! `exporter`: where spans go, and how many are kept meanwhile.

use core::time::Duration;

use super::ConfigError;
use super::read::Section;
use super::texts::is_authority;

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

/// The authority that a cluster's name tells: Istio's are `outbound|<port>|<subset>|<host>`, and `|` stands in no
/// authority.
fn authority_of(cluster: &str) -> String {
    let mut parts = cluster.split('|');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(port), Some(_), Some(host)) => format!("{host}:{port}"),
        _ if is_authority(cluster) => cluster.to_owned(),
        _ => "logtracer-exporter".to_owned(),
    }
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
    /// The user agent of the callout.
    pub(crate) const USER_AGENT: &str = concat!("logtracer-filter/", env!("CARGO_PKG_VERSION"));

    /// True for a request that brings a filter's spans to the exporter, where the exporter stands behind a filter
    /// of the same configuration: its span would be exported in turn, without end.
    ///
    /// Whoever imitates it hides no more than the span of a request to this path.
    pub fn is_export(&self, method: &[u8], path: &[u8], user_agent: &[u8]) -> bool {
        let own = self.path.split('?').next().unwrap_or_default();
        method == b"POST" && path == own.as_bytes() && user_agent.starts_with(b"logtracer-filter/")
    }

    pub(super) fn read(root: &Section<'_>) -> Result<Option<Self>, ConfigError> {
        let Some(section) = root.section("exporter")? else { return Ok(None) };
        section.only(&Self::KEYS)?;
        let Some(cluster) = section.text("cluster")? else {
            return Err(section.missing("cluster", "the name of the Envoy cluster of the exporter"));
        };
        let seconds =
            |key, default| section.duration(key).map(|found| found.unwrap_or(Duration::from_secs(default)));
        Ok(Some(Self {
            authority: section.authority("authority")?.unwrap_or_else(|| authority_of(&cluster)),
            path: section.path("path")?.unwrap_or_else(|| "/v1/traces".to_owned()),
            timeout: seconds("timeout", 2)?,
            flush_interval: seconds("flush_interval", 1)?,
            max_batch_spans: section.count("max_batch_spans", 1..=10_000)?.unwrap_or(512),
            max_buffer_bytes: section.size("max_buffer_bytes", 4 << 10..=64 << 20)?.unwrap_or(1 << 20),
            headers: section.callout_headers("headers")?,
            cluster,
        }))
    }
}
