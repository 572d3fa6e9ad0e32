//! The options, each also an environment variable `LOGTRACER_…`.

mod sink_spec;

pub use sink_spec::SinkSpec;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use reqwest::Url;

use crate::deliver::dead_letters::command::DeadLetters;
use crate::sink::google::{self, Auth, ProjectId};

/// What counts beside the options.
const ENVIRONMENT: &str = "\
Other environment variables that count:
  GOOGLE_APPLICATION_CREDENTIALS  the file with credentials for Google Cloud
  GOOGLE_CLOUD_PROJECT            the project, where --project does not say it
  GOOGLE_CLOUD_QUOTA_PROJECT      the project that calls of a user's credentials are charged to
  GCE_METADATA_HOST               another host of the metadata server
  OTEL_EXPORTER_OTLP_HEADERS      headers for the sink otlp=URL: name=value,name=value
  SSL_CERT_FILE                   certificates to trust in place of the system's
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY  the proxy for calls of sinks over HTTP";

/// What the command line and the environment say.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "logtracer-exporter",
    version,
    about,
    max_term_width = 100,
    after_help = ENVIRONMENT
)]
pub struct Config {
    /// What to do instead of serving
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Where to take spans and log records over HTTP: OTLP (POST /v1/traces and /v1/logs, protobuf or JSON) and
    /// Zipkin v2 (POST /api/v2/spans)
    #[arg(long, env = "LOGTRACER_HTTP", value_name = "ADDR", default_value = "127.0.0.1:4318", value_parser = address)]
    pub http: SocketAddr,

    /// Where to take spans and log records over gRPC: OTLP
    #[arg(long, env = "LOGTRACER_GRPC", value_name = "ADDR", default_value = "127.0.0.1:4317", value_parser = address)]
    pub grpc: SocketAddr,

    /// Where to serve the viewer, its JSON API, /metrics, /healthz and /readyz
    #[arg(long, env = "LOGTRACER_VIEW", value_name = "ADDR", default_value = "127.0.0.1:4380", value_parser = address)]
    pub view: SocketAddr,

    /// Demand one of the bearer tokens in this file, one a line, of whoever sends to --http or --grpc; a changed
    /// file is read anew
    #[arg(long, env = "LOGTRACER_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Serve all addresses with TLS, with the certificates in this file (PEM, the own one first); changed files are
    /// read anew
    #[arg(long, env = "LOGTRACER_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert (PEM)
    #[arg(long, env = "LOGTRACER_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Where the outbox and the store live
    #[arg(
        long,
        env = "LOGTRACER_DATA_DIR",
        value_name = "DIR",
        default_value = "./logtracer-data",
        global = true
    )]
    pub data_dir: PathBuf,

    /// Where to deliver spans (repeatable): `store` (the embedded store, which the viewer shows), `cloud-trace`,
    /// `telemetry`, `otlp=URL` (http, https, grpc or grpcs), `zipkin=URL`, `stdout`
    #[arg(
        long = "sink",
        env = "LOGTRACER_SINK",
        // A URL can have a password.
        hide_env_values = true,
        value_name = "NAME",
        default_value = "store",
        value_parser = SinkParser,
        value_delimiter = ','
    )]
    pub sinks: Vec<SinkSpec>,

    /// The project of Google Cloud for spans that name no other [default: from the credentials or the metadata server]
    #[arg(long, env = "LOGTRACER_PROJECT", value_name = "ID")]
    pub project: Option<ProjectId>,

    /// How the sinks of Google Cloud get their tokens
    #[arg(long, env = "LOGTRACER_AUTH", value_name = "HOW", default_value = "adc", value_enum)]
    pub auth: Auth,

    /// Where Cloud Trace is, for the sink `cloud-trace`
    #[arg(
        long,
        env = "LOGTRACER_CLOUD_TRACE_ENDPOINT",
        value_name = "URL",
        default_value = "https://cloudtrace.googleapis.com",
        value_parser = google::endpoint
    )]
    pub cloud_trace_endpoint: Url,

    /// Where the Telemetry API is, for the sink `telemetry`
    #[arg(
        long,
        env = "LOGTRACER_TELEMETRY_ENDPOINT",
        value_name = "URL",
        default_value = "https://telemetry.googleapis.com",
        value_parser = google::endpoint
    )]
    pub telemetry_endpoint: Url,

    /// Read JSON log lines from this file for the viewer, and keep following it; `-` is stdin (repeatable)
    #[arg(long = "tail", env = "LOGTRACER_TAIL", value_name = "FILE", value_delimiter = ',')]
    pub tails: Vec<PathBuf>,

    /// How long the store keeps a trace
    #[arg(long, env = "LOGTRACER_RETENTION_AGE", value_name = "TIME", default_value = "72h", value_parser = duration)]
    pub retention_age: Duration,

    /// How large the store may grow; the oldest traces go first
    #[arg(long, env = "LOGTRACER_RETENTION_BYTES", value_name = "SIZE", default_value = "1GiB", value_parser = size)]
    pub retention_bytes: u64,

    /// How much may wait in the outbox; beyond it requests are answered 429
    #[arg(long, env = "LOGTRACER_OUTBOX_MAX_BYTES", value_name = "SIZE", default_value = "1GiB", value_parser = size)]
    pub outbox_max_bytes: u64,

    /// How long spans may wait in the outbox for a sink; older ones are dropped and counted
    #[arg(long, env = "LOGTRACER_OUTBOX_MAX_AGE", value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub outbox_max_age: Duration,

    /// How much of what sinks have refused for good is kept as dead letters; the oldest go first
    #[arg(long, env = "LOGTRACER_DEAD_LETTERS_MAX_BYTES", value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub dead_letters_max_bytes: u64,

    /// How long to go on after SIGTERM or SIGINT: answering the requests in progress, then delivering what waits
    #[arg(long, env = "LOGTRACER_GRACE", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub grace: Duration,
}

/// What the program can do instead of serving.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// List, retry or discard what sinks have refused for good
    #[command(subcommand)]
    DeadLetters(DeadLetters),
}

/// Reads `--sink`; unlike clap's own parsers it does not repeat what it refuses, which can hold a password.
#[derive(Debug, Clone)]
struct SinkParser;

impl TypedValueParser for SinkParser {
    type Value = SinkSpec;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _option: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<SinkSpec, clap::Error> {
        let parsed = value.to_str().ok_or_else(|| "it is not UTF-8".to_owned()).and_then(str::parse);
        parsed.map_err(|reason| {
            let message = format!("invalid value for '--sink <NAME>': {reason}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected an IP address and a port, such as 127.0.0.1:4318 or [::1]:0".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a time above zero with its unit, such as 90s, 15m, 72h or 3d".to_owned();
    let span: jiff::Span = text.parse().map_err(|_| expected())?;
    let signed =
        span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    Duration::try_from(signed).ok().filter(|duration| !duration.is_zero()).ok_or_else(expected)
}

fn size(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64()),
        _ => Err("expected a size above zero, such as 500MB, 1GiB or a number of bytes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Config::command().debug_assert();
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("72h", 72 * 3600), ("3d", 72 * 3600), ("1h30m", 5400)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "72", "0s", "-1h", "soon", "1 parsec"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_decimal_or_binary() {
        for (text, bytes) in [("1GiB", 1 << 30), ("500MB", 500_000_000), ("4096", 4096), ("1 KiB", 1024)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "-1", "big", "1XB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_have_a_port() {
        assert!(address("127.0.0.1:0").is_ok());
        assert!(address("[::1]:4318").is_ok());
        assert!(address("127.0.0.1").is_err());
    }
}
