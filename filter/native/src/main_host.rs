//! [`MainHost`]: the host of a root, in the main thread.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use logtracer_filter::Metric;
use logtracer_filter::host::{ExportRequest, RootHost};

use crate::abi::ModuleHeader;
use crate::clock::host;
use crate::metrics;
use crate::process::{Callout, Handle};

/// The host of one root.
pub(crate) struct MainHost<'p> {
    /// The configuration that makes the callouts; `None` if there is none left.
    pub(crate) handle: Option<&'p Handle>,
    pub(crate) callouts: &'p RefCell<Vec<Callout>>,
    /// The id of the root.
    pub(crate) root: u64,
    pub(crate) interval: Cell<Option<Duration>>,
}

host!(MainHost<'_>);

impl RootHost for MainHost<'_> {
    fn add_to_metric(&self, metric: Metric, amount: i64) {
        metrics::add(metric, amount);
    }

    fn set_tick(&self, interval: Duration) {
        self.interval.set(Some(interval));
    }

    fn send(&self, request: &ExportRequest<'_>) -> Option<u32> {
        let handle = self.handle?;
        let headers: Vec<_> = request.headers.iter().map(|line| ModuleHeader::new(*line)).collect();
        let id = handle.call(request.cluster, &headers, request.body, request.timeout)?;
        let mut callouts = self.callouts.borrow_mut();
        // The tokens in use are few, so the search ends soon.
        let is_free = |token: &u32| callouts.iter().all(|callout| callout.token != *token);
        let token = (0..=u32::MAX).find(is_free)?;
        callouts.push(Callout { handle: handle.id, id, root: self.root, token });
        Some(token)
    }
}
