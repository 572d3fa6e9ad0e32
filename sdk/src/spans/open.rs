//! [`current_span`]: the open spans of the process, so that code within a span can add to it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use logtracer_core::SpanId;

use super::details::Details;
use super::{AttributeValue, SpanEvent, SpanLink};
use crate::current::current_trace;
use crate::system;

/// The open spans, each with what was added to it from within.
static OPEN: Mutex<BTreeMap<SpanId, Option<Box<Details>>>> = Mutex::new(BTreeMap::new());

fn lock() -> MutexGuard<'static, BTreeMap<SpanId, Option<Box<Details>>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The entry of an open span, removed when this is closed or dropped.
#[derive(Debug)]
pub(super) struct Open(SpanId);

impl Open {
    pub(super) fn new(span_id: SpanId) -> Self {
        lock().insert(span_id, None);
        Self(span_id)
    }

    /// Removes the entry, and returns what was added to the span from within.
    pub(super) fn close(self) -> Option<Box<Details>> {
        let details = lock().remove(&self.0).flatten();
        // There is nothing left to remove.
        std::mem::forget(self);
        details
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        lock().remove(&self.0);
    }
}

/// Returns the innermost recorded span of the calling code: one made by [`span`](super::span), or that of a request
/// or a call of the layers. Returns `None` if the current span is not recorded by this process.
///
/// ```
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::spans::{SpanExport, current_span};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
/// let work = async {
///     if let Some(span) = current_span() {
///         span.attribute("items", 3);
///         span.event("cache miss");
///     }
///     current_span().is_some()
/// };
/// assert!(work.in_span("prices").await);
/// assert!(current_span().is_none()); // it has ended
/// # std::mem::forget(exporter); // nothing listens there
/// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
/// # }).unwrap();
/// ```
pub fn current_span() -> Option<CurrentSpan> {
    let span_id = current_trace()?.span_id;
    lock().contains_key(&span_id).then_some(CurrentSpan { span_id })
}

/// The span that is current; returned by [`current_span`]. After the end of the span it does nothing.
///
/// ```
/// use logtracer_sdk::spans::{CurrentSpan, SpanExport, current_span, span};
///
/// let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
/// let guard = span("load-config").enter();
/// let current: CurrentSpan = current_span().unwrap();
/// current.fail();
/// drop(guard);
/// assert!(current_span().is_none());
/// current.attribute("late", true); // not recorded
/// # std::mem::forget(exporter); // nothing listens there
/// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
/// ```
#[derive(Debug, Clone)]
pub struct CurrentSpan {
    span_id: SpanId,
}

impl CurrentSpan {
    /// Sets an attribute. A later value replaces an earlier one with the same key.
    pub fn attribute(&self, key: impl Into<Cow<'static, str>>, value: impl Into<AttributeValue>) {
        // Truncated before the lock, which all spans share.
        let (key, value) = (key.into(), value.into().truncated());
        self.change(|details| details.set(key, value));
    }

    /// Adds an event that happens now.
    pub fn event(&self, event: impl Into<SpanEvent>) {
        let event = event.into();
        self.change(|details| details.add_event(system::unix_nanos(), event));
    }

    /// Adds a link to another span.
    pub fn link(&self, link: impl Into<SpanLink>) {
        let link = link.into();
        self.change(|details| details.add_link(link));
    }

    /// Marks the span as failed.
    pub fn fail(&self) {
        self.change(|details| details.failed = true);
    }

    fn change(&self, change: impl FnOnce(&mut Details)) {
        if let Some(details) = lock().get_mut(&self.span_id) {
            change(details.get_or_insert_default());
        }
    }
}
