//! The command line: each option is also an environment variable `LOGTRACER_…`.

mod destinations;
mod sink_spec;

pub(crate) use destinations::Destination;
pub use sink_spec::{SinkPart, SinkSignal, SinkSpec};

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::builder::{Resettable, TypedValueParser};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};
use reqwest::Url;

use crate::clock;
use crate::deliver::dead_letters::command::DeadLettersCommand;
use crate::keep::RuleList;
use crate::sink::google::{self, Auth, ProjectId};
use crate::terminal::{LogsOptions, OpenOptions, TerminalCommand, TraceOptions, TracesOptions};

/// The default of `--decision-wait`.
const DECISION_WAIT: &str = "10s";

/// The end of `--help`.
const ENVIRONMENT: &str = "\
Other environment variables:
  GOOGLE_APPLICATION_CREDENTIALS  the credentials file for Google Cloud
  GOOGLE_CLOUD_PROJECT, GCLOUD_PROJECT  the project, without --project
  GOOGLE_CLOUD_QUOTA_PROJECT      the project that is charged for calls with user credentials
  GCE_METADATA_HOST               another host of the metadata server
  OTEL_EXPORTER_OTLP_HEADERS      headers for the sink otlp=URL: name=value,name=value
  SSL_CERT_FILE                   trusted certificates, instead of those of the system
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY  the proxy for the HTTP calls of sinks";

/// The options, from the command line and the environment.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "logtracer-exporter",
    version,
    about,
    max_term_width = 100,
    after_help = ENVIRONMENT
)]
pub struct Config {
    /// The command to run instead of the service
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The address that receives spans and log records over HTTP: OTLP (POST /v1/traces and /v1/logs, protobuf or JSON)
    /// and Zipkin v2 (POST /api/v2/spans)
    #[arg(long, env = "LOGTRACER_HTTP", value_name = "ADDR", default_value = "127.0.0.1:4318", value_parser = address)]
    pub http: SocketAddr,

    /// The address that receives spans and log records over gRPC: OTLP
    #[arg(long, env = "LOGTRACER_GRPC", value_name = "ADDR", default_value = "127.0.0.1:4317", value_parser = address)]
    pub grpc: SocketAddr,

    /// The address of the viewer, its JSON API, /metrics, /healthz and /readyz
    #[arg(long, env = "LOGTRACER_VIEW", value_name = "ADDR", default_value = "127.0.0.1:4380", value_parser = address)]
    pub view: SocketAddr,

    /// Require one of the bearer tokens in this file, one per line, on --http and --grpc; the file is reloaded when it
    /// changes
    #[arg(long, env = "LOGTRACER_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Require one of the tokens in this file, one per line, on --view, as a bearer token or as the password that a
    /// browser asks for; /healthz, /readyz and /metrics need none; the file is reloaded when it changes
    #[arg(long, env = "LOGTRACER_VIEW_TOKEN_FILE", value_name = "FILE")]
    pub view_token_file: Option<PathBuf>,

    /// Serve all addresses with TLS, with the certificate chain in this file (PEM, the server's certificate first);
    /// this file and --tls-key are reloaded when they change
    #[arg(long, env = "LOGTRACER_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert (PEM)
    #[arg(long, env = "LOGTRACER_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Serve the filter's WebAssembly module in this file as GET /plugin.wasm on --http, and its SHA-256 as GET
    /// /plugin.wasm.sha256, so that proxies need no registry
    #[arg(long, env = "LOGTRACER_MODULE", value_name = "FILE")]
    pub module: Option<PathBuf>,

    /// The directory of the outbox, the store and the dead letters
    #[arg(
        long,
        env = "LOGTRACER_DATA_DIR",
        value_name = "DIR",
        default_value = "./logtracer-data",
        global = true
    )]
    pub data_dir: PathBuf,

    /// A destination of spans and log records (repeatable): `store` (the embedded store, which the viewer shows),
    /// `cloud-trace` (spans), `cloud-logging` (log records), `telemetry`, `otlp=URL` (http, https, grpc or grpcs),
    /// `zipkin=URL` (spans), `stdout`; `NAME,signals=traces` and `NAME,signals=logs` give it only these;
    /// `NAME,keep=RULE,keep=RULE` gives it rules of its own, see --keep
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
    pub sinks: Vec<SinkPart>,

    /// A rule that keeps traces (repeatable), for all sinks but `store` that have none of their own: `error`,
    /// `slower-than=TIME`, `route=ROUTE`, `service=NAME`, `attribute=KEY=VALUE`, `rate=SHARE` (0 to 1), `new-route`;
    /// with `logs`, log records follow the verdict on their trace; `@FILE` is a file with a rule in each line; without
    /// rules, all traces are kept
    #[arg(long = "keep", env = "LOGTRACER_KEEP", value_name = "RULE", value_delimiter = ',')]
    pub keep: Vec<RuleList>,

    /// How long a sink with rules waits for the spans of a trace before it decides on the trace
    #[arg(long, env = "LOGTRACER_DECISION_WAIT", value_name = "TIME", default_value = DECISION_WAIT, value_parser = duration)]
    pub decision_wait: Duration,

    /// The maximum number of traces that the rules other than `rate` keep for a sink in a second
    #[arg(long, env = "LOGTRACER_MAX_TRACES_PER_SECOND", value_name = "NUMBER", value_parser = traces_per_second)]
    pub max_traces_per_second: Option<f64>,

    /// The Google Cloud project of spans whose resource names none [default: from the credentials or the metadata
    /// server]
    #[arg(long, env = "LOGTRACER_PROJECT", value_name = "ID")]
    pub project: Option<ProjectId>,

    /// The credentials of the Google Cloud sinks
    #[arg(long, env = "LOGTRACER_AUTH", value_name = "HOW", default_value = "adc", value_enum)]
    pub auth: Auth,

    /// The endpoint of Cloud Trace, for the sink `cloud-trace`
    #[arg(
        long,
        env = "LOGTRACER_CLOUD_TRACE_ENDPOINT",
        value_name = "URL",
        default_value = "https://cloudtrace.googleapis.com",
        value_parser = google::endpoint
    )]
    pub cloud_trace_endpoint: Url,

    /// The endpoint of Cloud Logging, for the sink `cloud-logging`
    #[arg(
        long,
        env = "LOGTRACER_CLOUD_LOGGING_ENDPOINT",
        value_name = "URL",
        default_value = "https://logging.googleapis.com",
        value_parser = google::endpoint
    )]
    pub cloud_logging_endpoint: Url,

    /// The endpoint of the Telemetry API, for the sink `telemetry`
    #[arg(
        long,
        env = "LOGTRACER_TELEMETRY_ENDPOINT",
        value_name = "URL",
        default_value = "https://telemetry.googleapis.com",
        value_parser = google::endpoint
    )]
    pub telemetry_endpoint: Url,

    /// Follow this file of JSON log lines, store the lines for the viewer, and send them to the sinks that take log
    /// records; `-` is stdin (repeatable)
    #[arg(long = "tail", env = "LOGTRACER_TAIL", value_name = "FILE", value_delimiter = ',')]
    pub tails: Vec<PathBuf>,

    /// How long the store keeps a trace
    #[arg(long, env = "LOGTRACER_RETENTION_AGE", value_name = "TIME", default_value = "72h", value_parser = duration)]
    pub retention_age: Duration,

    /// The maximum size of the store; the oldest traces are evicted first
    #[arg(long, env = "LOGTRACER_RETENTION_BYTES", value_name = "SIZE", default_value = "1GiB", value_parser = size)]
    pub retention_bytes: u64,

    /// The maximum size of the outbox; when it is full, batches that at least one sink has received are dropped for the
    /// other sinks, and requests are rejected with 429 if that does not free enough space
    #[arg(long, env = "LOGTRACER_OUTBOX_MAX_BYTES", value_name = "SIZE", default_value = "1GiB", value_parser = size)]
    pub outbox_max_bytes: u64,

    /// How long spans can wait in the outbox for a sink; older ones are dropped and counted
    #[arg(long, env = "LOGTRACER_OUTBOX_MAX_AGE", value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub outbox_max_age: Duration,

    /// The maximum size of the dead letters; the oldest are evicted first
    #[arg(long, env = "LOGTRACER_DEAD_LETTERS_MAX_BYTES", value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub dead_letters_max_bytes: u64,

    /// The grace time after SIGTERM or SIGINT: to finish the requests in progress, then to deliver the backlog
    #[arg(long, env = "LOGTRACER_GRACE", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub grace: Duration,
}

impl Config {
    /// Parses the command line and the environment. An empty variable counts as one that is not set, because templates
    /// write one for a value that they do not have.
    ///
    /// Ends the process with a message if an option is invalid.
    pub fn from_args() -> Self {
        let matches = without_empty_variables(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let without = |option: clap::Arg| {
        let value = option.get_env().and_then(std::env::var_os);
        if value.is_some_and(|value| value.is_empty()) { option.env(Resettable::Reset) } else { option }
    };
    command.mut_args(without).mut_subcommands(without_empty_variables)
}

/// A command to run instead of the service.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// List, retry or discard the items that sinks have rejected permanently
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// List the stored traces that pass a filter
    Traces(TracesOptions),
    /// Show one trace with its log lines
    Trace(TraceOptions),
    /// List the stored log lines that pass a filter, the newest last
    Logs(LogsOptions),
    /// Send files of OTLP/JSON to a receiver, such as downloads of traces, and print the addresses of their traces
    Open(OpenOptions),
}

impl Command {
    /// Returns the command if it asks a running exporter.
    pub(crate) const fn terminal(&self) -> Option<TerminalCommand<'_>> {
        match self {
            Self::DeadLetters(_) => None,
            Self::Traces(options) => Some(TerminalCommand::Traces(options)),
            Self::Trace(options) => Some(TerminalCommand::Trace(options)),
            Self::Logs(options) => Some(TerminalCommand::Logs(options)),
            Self::Open(options) => Some(TerminalCommand::Open(options)),
        }
    }
}

/// Parses `--sink`. Unlike clap's own parsers, it does not repeat an invalid value, which can hold a password.
#[derive(Debug, Clone)]
struct SinkParser;

impl TypedValueParser for SinkParser {
    type Value = SinkPart;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _option: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<SinkPart, clap::Error> {
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
    clock::parse_duration(text)
        .ok_or_else(|| "expected a duration above zero with its unit, such as 90s, 15m, 72h or 3d".to_owned())
}

fn traces_per_second(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.);
    number.ok_or_else(|| "expected a number above zero".to_owned())
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
    fn the_command_line_is_valid() {
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
