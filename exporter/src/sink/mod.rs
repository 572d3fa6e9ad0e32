//! Where spans go: each sink is a folder here, and all that [`crate::deliver`] knows of it is the trait [`Sink`].
//!
//! ```text
//!  deliver ──► Part ──► store        write: rows of the embedded store
//!                   ├─► stdout       lines of JSON
//!                   ├─► otlp         http or grpc, as it is
//!                   ├─► zipkin       span: a span of Zipkin ──► http
//!                   ├─► cloud_trace  span, labels, text: a span of Cloud Trace ──► http, with a token
//!                   └─► telemetry    resource: the project ──► http, with a token
//! ```

mod cloud_trace;
pub(crate) mod google;
mod http;
mod name;
pub(crate) mod otlp;
mod stdout;
pub(crate) mod store;
mod telemetry;
mod zipkin;

pub use google::credentials::Auth;
pub use google::project::ProjectId;
pub use name::SinkName;

use std::future::Future;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::deliver::{self, Part, Source};
use crate::outbox::Signal;
use crate::receive;
use crate::shutdown::Shutdown;
use cloud_trace::CloudTrace;
use otlp::Otlp;
use stdout::Stdout;
use store::Store;
use telemetry::Telemetry;
use zipkin::Zipkin;

/// A destination of spans.
pub(crate) trait Sink: Send + Sync + 'static {
    /// How it wants to be served.
    fn pace(&self) -> Pace;

    /// Hands a part over; `Ok` means that the sink has it.
    ///
    /// The same spans can come again (after a crash, or when the answer was lost): a sink dedups or tolerates that.
    /// The future may be dropped at shutdown, which counts as not accepted.
    fn deliver(&self, part: &Part) -> impl Future<Output = Result<Accepted, DeliveryError>> + Send;
}

/// How a sink wants to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// How many calls may be out at one time.
    pub(crate) calls: usize,
    /// What one call carries at most; a single item can be larger.
    pub(crate) items: u32,
    pub(crate) bytes: usize,
    /// How long the first of a call waits for more.
    pub(crate) linger: Duration,
}

/// What became of an accepted part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Accepted {
    /// Some of it was not taken, and the sink does not say which.
    pub(crate) rejected: Option<Rejected>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) items: u32,
    pub(crate) reason: String,
}

/// What was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The access to what is named, or there is no such thing.
    Access,
    /// The token: another one may be good.
    Token,
    /// The call, as if somebody else than the sink had answered.
    Call,
}

/// Why a sink did not take a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeliveryError {
    /// The sink cannot take anything at the moment; not before `after`, if it said so.
    Unavailable { reason: String, after: Option<Duration> },
    /// The address or the access is wrong, whatever is sent; somebody has to change that.
    Denied { reason: String, after: Option<Duration>, what: Denied },
    /// Something went wrong inside of the sink, perhaps because of what it was given.
    Failed { reason: String, after: Option<Duration> },
    /// This part, as it is, will never be accepted; a half of it may be.
    Refused { reason: String },
    /// Nothing of this part will be accepted before something is changed.
    Unwanted { reason: String },
    /// Nothing was sent: these parts of it have to go separately.
    Divided { parts: Vec<Part> },
}

/// Reads the spans of a part, if that takes a bounded amount of memory: a half of it may.
fn decode(part: &Part) -> Result<ExportTraceServiceRequest, DeliveryError> {
    let body = part.body();
    let refused = |reason: String| DeliveryError::Refused { reason };
    if receive::is_too_large(Signal::Traces, &body) {
        return Err(refused("it takes too much memory to decode".to_owned()));
    }
    ExportTraceServiceRequest::decode(body).map_err(|error| refused(format!("cannot be decoded: {error}")))
}

/// Starts the delivery to a sink.
///
/// # Errors
///
/// What keeps the sink from ever working: an address, a header or credentials that make no sense.
pub(crate) async fn start(
    name: &SinkName,
    config: &Config,
    store: &Store,
    source: Source,
    stop: &Shutdown,
    workers: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let stop = stop.clone();
    match name {
        SinkName::Store => workers.spawn(deliver::run(store.clone(), source, stop)),
        SinkName::Stdout => workers.spawn(deliver::run(Stdout, source, stop)),
        SinkName::Otlp(url) => workers.spawn(deliver::run(Otlp::new(url)?, source, stop)),
        SinkName::Zipkin(url) => workers.spawn(deliver::run(Zipkin::new(url)?, source, stop)),
        SinkName::CloudTrace => workers.spawn(deliver::run(CloudTrace::open(config).await?, source, stop)),
        SinkName::Telemetry => workers.spawn(deliver::run(Telemetry::open(config).await?, source, stop)),
    };
    Ok(())
}
