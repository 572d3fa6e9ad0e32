//! How a view is answered: within a bound of memory, whatever the store contains and however slowly a client reads.
//!
//! ```text
//!  request ──► admission (slots, a queue) ──► renderers (two threads) ──► stream ──► client
//!                    │ too many                 │ one piece at a time       │ too slow
//!                    └──► 503, Retry-After      └──◄── next piece ◄─────────┘──► connection closed
//! ```
//!
//! Invariant: a view holds a slot while it holds memory, and at most two views are rendered at a time. A piece is
//! rendered when the client has taken the one before (`a_view_of_large_texts_takes_little_memory` in `tests/it/`).

mod admission;
mod renderers;
mod stream;
mod text;

use std::sync::Arc;

use axum::extract::Extension;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::listen::Closer;
use crate::metrics::{Metrics, ReasonLabel};
use crate::store::{ReadResult, Snapshot, Store, Subscription};
use admission::{Admission, Slots};
use renderers::Renderers;
pub(super) use text::Text;

/// All views of the exporter. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Views {
    slots: Slots,
    renderers: Renderers,
    store: Store,
    metrics: Arc<Metrics>,
    /// The places of live views.
    live: Arc<Semaphore>,
}

/// The number of live views at a time. Each takes about 200 KiB.
const MAX_LIVE: usize = 64;

/// A view in progress.
#[derive(Debug)]
pub(super) struct View {
    admission: Admission,
    views: Views,
}

/// A response that is made piece by piece.
pub(super) trait Pieces: Send + 'static {
    /// Appends the next piece: about [`PIECE_BYTES`], or a row more.
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress>;
}

/// What follows a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Complete,
    /// The rest was evicted while it was read, and the client must notice.
    Gone,
}

/// The size of a piece.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// The size of a piece in the middle of a row, which is rendered again for each piece: a long row has fewer of them.
pub(super) const LARGE_PIECE_BYTES: usize = 128 << 10;

/// The reason why a view has no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ViewError {
    /// Too many views at a time.
    Busy,
    /// The store cannot be read.
    Failed(String),
}

impl Views {
    pub(super) fn new(store: Store, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        Ok(Self {
            slots: Slots::default(),
            renderers: Renderers::start()?,
            store,
            metrics,
            live: Arc::new(Semaphore::new(MAX_LIVE)),
        })
    }

    /// Waits for a slot.
    pub(super) async fn admit(&self) -> Result<View, ViewError> {
        let Ok(admission) = self.slots.admit().await else {
            self.count_cut_off("busy");
            return Err(ViewError::Busy);
        };
        Ok(View { admission, views: self.clone() })
    }

    /// Counts a view that is rejected, or ends before it is complete.
    pub(super) fn count_cut_off(&self, reason: &'static str) {
        self.metrics.views_cut_off.get_or_create(&ReasonLabel { reason }).inc();
    }
}

/// A subscription to changes, and its place among the live views.
#[derive(Debug)]
pub(super) struct LiveSubscription {
    changes: Subscription,
    _place: OwnedSemaphorePermit,
}

impl LiveSubscription {
    pub(super) const fn changes(&mut self) -> &mut Subscription {
        &mut self.changes
    }
}

impl Views {
    /// Subscribes a live view to changes. Returns `None` if there are too many.
    pub(super) fn subscribe(&self) -> Option<LiveSubscription> {
        let Ok(place) = self.live.clone().try_acquire_owned() else {
            self.count_cut_off("busy");
            return None;
        };
        Some(LiveSubscription { changes: self.store.subscribe(), _place: place })
    }

    /// Reads the store on a thread that renders.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Snapshot<'_>) -> ReadResult<T> + Send + 'static,
    ) -> Result<T, ViewError> {
        let store = self.store.clone();
        match self.renderers.run(move || store.snapshot(read)).await {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => Err(ViewError::Failed(format!("failed to read the store: {error}"))),
            None => Err(ViewError::Failed("failed to render the view: see the log".to_owned())),
        }
    }
}

impl View {
    /// Reads the store on a thread that renders.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Snapshot<'_>) -> ReadResult<T> + Send + 'static,
    ) -> Result<T, ViewError> {
        self.views.read(read).await
    }

    /// Sends the pieces as the client takes them. The connection of a client that is too slow is closed.
    pub(super) fn respond(
        self,
        content_type: &'static str,
        pieces: impl Pieces,
        closer: Option<Extension<Closer>>,
    ) -> Response {
        let body = stream::body(self, Box::new(pieces), closer.map(|Extension(closer)| closer));
        ([(header::CONTENT_TYPE, content_type)], body).into_response()
    }
}

/// What a client reads that has to wait too long.
pub(super) const BUSY: &str =
    "too many views at the same time, or clients that read slowly: try again in a few seconds";

impl ViewError {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn message(&self) -> &str {
        match self {
            Self::Busy => BUSY,
            Self::Failed(reason) => reason,
        }
    }

    /// Adds the status and the time after which a retry makes sense.
    pub(super) fn respond(&self, body: impl IntoResponse) -> Response {
        let mut response = (self.status(), body).into_response();
        if *self == Self::Busy {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, const { axum::http::HeaderValue::from_static("2") });
        }
        response
    }
}
