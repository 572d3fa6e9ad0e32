//! New rows of a list, as server-sent events.
//!
//! See <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
//!
//! | event | data |
//! |---|---|
//! | `trace`, `line` | a new row, or the new state of one: JSON for programs, `{"id", "html"}` for the page |
//! | `skipped` | there were too many changes; the number of rows that have no event, or `null` if it is unknown |
//! | `alive` | the time, every two seconds without another event |
//!
//! A client that reads slowly costs one batch of events and misses others; one that reads nothing is cut off.

mod events;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use serde_json::json;
use tokio::sync::mpsc;

use super::api::{ApiError, Given, parameters, parse_trace_id};
use super::parameters::{LinesQuery, TracesQuery};
use super::respond::{LiveSubscription, ViewError, Views};
use crate::clock;
use crate::shutdown::Shutdown;
use events::{Events, Form, Query};

/// How long changes are gathered.
const INTERVAL: Duration = Duration::from_millis(500);

/// A client without an event for this long gets `alive`.
const ALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// A client that takes no event for this time is cut off.
const STALL: Duration = Duration::from_secs(15);

/// `GET /api/live`: the filters of `/api/traces`, or with `logs=true` of `/api/logs`.
pub(super) async fn events(
    State(views): State<Views>,
    State(stop): State<Shutdown>,
    given: Given,
) -> Result<Response, ApiError> {
    respond(views, stop, given, Form::Json)
}

/// `GET /live`: the same for the pages.
pub(super) async fn rows(
    State(views): State<Views>,
    State(stop): State<Shutdown>,
    given: Given,
) -> Result<Response, ApiError> {
    respond(views, stop, given, Form::Html)
}

fn respond(views: Views, stop: Shutdown, given: Given, form: Form) -> Result<Response, ApiError> {
    let mut parameters = parameters(given)?;
    let now = clock::unix_nanos();
    let mut only = None;
    let query = match parameters.take("logs").as_deref() {
        Some("true") => Query::Lines(LinesQuery::parse(&parameters, now)?),
        None | Some("false") => {
            // The page of a trace waits for changes of this trace.
            if let Some(id) = (form == Form::Html).then(|| parameters.take("trace")).flatten() {
                only =
                    Some(parse_trace_id(&id).ok_or_else(|| ApiError::invalid("trace: expected a trace id"))?);
            }
            Query::Traces(TracesQuery::parse(&parameters, now)?)
        }
        Some(_) => return Err(ApiError::invalid("logs: expected true or false")),
    };
    let subscription = views.subscribe().ok_or(ViewError::Busy)?;
    let (sender, receiver) = mpsc::channel(1);
    let live = Live { views, events: Events { form, query, only, parameters }, sender };
    tokio::spawn(live.run(subscription, stop));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(LiveBody(receiver))).into_response())
}

struct Live {
    views: Views,
    events: Events,
    sender: mpsc::Sender<Bytes>,
}

impl Live {
    async fn run(self, mut subscription: LiveSubscription, mut stop: Shutdown) {
        let live = std::sync::Arc::new(self);
        if live.sender.send(alive()).await.is_err() {
            return;
        }
        loop {
            let event = tokio::select! {
                () = stop.begun() => return,
                () = live.sender.closed() => return,
                () = subscription.changes().changed() => {
                    tokio::time::sleep(INTERVAL).await;
                    let (changes, is_incomplete) = subscription.changes().take();
                    let for_read = live.clone();
                    let read = live.views.read(move |snapshot| for_read.events.read(snapshot, &changes, is_incomplete));
                    match read.await {
                        Ok(events) if !events.is_empty() => Bytes::from(events),
                        Ok(_) => alive(),
                        // The client connects again.
                        Err(_) => return,
                    }
                }
                () = tokio::time::sleep(ALIVE_INTERVAL) => alive(),
            };
            tokio::select! {
                () = stop.begun() => return,
                // A client that takes nothing has to make way for others.
                sent = tokio::time::timeout(STALL, live.sender.send(event)) => {
                    match sent {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return,
                        Err(_) => return live.views.count_cut_off("slow"),
                    }
                }
            }
        }
    }
}

fn alive() -> Bytes {
    let mut event = String::new();
    events::push(&mut event, "alive", &json!({ "unix_nano": clock::unix_nanos().to_string() }).to_string());
    event.into()
}

struct LiveBody(mpsc::Receiver<Bytes>);

impl hyper::body::Body for LiveBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
