//! Google Cloud Logging, API v2: `entries.write`
//! (<https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/write>).
//!
//! ```text
//!  Chunk ──► one project? ──► entry ──► fit ──► JSON ──► http, with a token ──► partial: which entries failed
//!               │ no: split     └► payload, special, http_request, resource, log_name
//!               └► insert_id: of each item, by its place in its batch
//! ```
//!
//! Valid entries of a call are written even if others are not, and the response says which. Only those are retried or
//! become dead letters. An entry that is sent twice has the same insert id, so Cloud Logging stores it once.
//!
//! Only attributes and a structured body can set special fields, such as the severity or the insert id. The text of a body
//! can come from a user, and stays a text.

mod entry;
mod fit;
mod http_request;
mod insert_id;
mod log_name;
mod model;
mod partial;
mod payload;
mod resource;
mod special;
#[cfg(test)]
mod tests;
mod truncator;

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;

use super::body::{BodyBudget, MAX_BODY_BYTES};
use super::google::project::{ProjectId, project_of};
use super::google::{Access, Google, Service};
use super::http;
use super::json_body::{Frame, write_items};
use super::time_limits::{self, DAY, TimeLimits};
use crate::clock::unix_nanos;
use crate::deliver::{Accepted, Chunk, DeliveryError, Pace, Sink};
use entry::Converter;
use insert_id::insert_ids;

/// The sink `cloud-logging`.
#[derive(Debug)]
pub(crate) struct CloudLogging {
    google: Google,
    budget: BodyBudget,
}

/// The narrowest scope that can write entries.
const SCOPE: &str = "https://www.googleapis.com/auth/logging.write";

impl CloudLogging {
    pub(crate) async fn open(endpoint: &Url, access: &Access) -> anyhow::Result<Self> {
        let google = Google::open(Service { endpoint, scope: SCOPE }, access).await?;
        Ok(Self { google, budget: BodyBudget::new() })
    }
}

/// Cloud Logging does not store an entry that is more than 24 hours in the future, and does not report that. How old an
/// entry can be depends on the retention of its log, which is at most ten years.
const TIMES: TimeLimits = TimeLimits {
    past: Duration::from_secs(3650 * DAY.as_secs()),
    future: DAY,
    time: |record| {
        let times = Times::decode(record).ok()?;
        [times.unix_nano, times.observed_unix_nano].into_iter().find(|time| *time > 0)
    },
    reason: "Cloud Logging stores entries of the last 3650 days and of the next 24 hours",
};

/// The times of a `LogRecord`.
#[derive(Clone, PartialEq, Message)]
struct Times {
    #[prost(fixed64, tag = "1")]
    unix_nano: u64,
    #[prost(fixed64, tag = "11")]
    observed_unix_nano: u64,
}

impl Sink for CloudLogging {
    /// A call can have 10 MB (<https://cloud.google.com/logging/quotas>), which is more than a body here. The quota is of
    /// calls and of bytes, so small calls wait for more records.
    fn pace(&self) -> Pace {
        Pace { calls: 16, items: 1000, bytes: 1 << 20, linger: Duration::from_millis(500) }
    }

    async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        let project = &project_of(chunk, &self.google.project)?;
        time_limits::check(chunk, TIMES, unix_nanos())?;
        let (truncated, body) = self.budget.make(MAX_BODY_BYTES, || body(chunk, project)).await?;
        let adjusted = |error| self.google.adjust_access_denied(project, error);
        let reply = self.send(body).await.map_err(adjusted)?;
        let mut failed = partial::failed(&reply, chunk)?;
        if failed.is_empty() {
            reply.success().map_err(adjusted)?;
        }
        self.google.record_accepted();
        for items in &mut failed {
            items.error = adjusted(items.error.clone());
        }
        Ok(Accepted { truncated, failed, ..Default::default() })
    }
}

impl CloudLogging {
    async fn send(&self, body: Bytes) -> Result<http::Reply, DeliveryError> {
        http::within_timeout(async {
            let call = self.google.post("/v2/entries:write").await?;
            let request = call.header(CONTENT_TYPE, "application/json").body(http::body(body));
            http::exchange_within(request, partial::MAX_RESPONSE_BYTES).await
        })
        .await
    }
}

const FRAME: Frame = Frame { start: r#"{"partialSuccess":true,"entries":["#, separator: ",", end: "]}" };

/// Returns the body of a call, and the number of entries that are truncated.
fn body(chunk: &Chunk, project: &ProjectId) -> Result<(u32, Bytes), DeliveryError> {
    let insert_ids = insert_ids(chunk)?;
    let mut converter = Converter::new(project, &insert_ids);
    let body = write_items(chunk, FRAME, |out, shared, record: &LogRecord| {
        let mut entry = converter.convert(shared, record);
        fit::fit(&mut entry);
        serde_json::to_writer(out, &entry).map(|()| entry.is_truncated)
    })?;
    Ok((body.truncated, body.bytes))
}
