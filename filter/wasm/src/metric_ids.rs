//! The ids that Envoy gives to the metrics.

use core::cell::Cell;

use logtracer_filter::{Metric, MetricType};

use crate::hostcalls;

thread_local! {
    static IDS: [Cell<Option<u32>>; Metric::COUNT] = const { [const { Cell::new(None) }; Metric::COUNT] };
}

/// Defines every metric in Envoy, which shows them from then on, at zero.
pub(crate) fn define() {
    IDS.with(|ids| {
        for (id, (_, metric_type, name)) in ids.iter().zip(Metric::ALL) {
            if id.get().is_none() {
                id.set(hostcalls::define_metric(matches!(metric_type, MetricType::Gauge), name));
            }
        }
    });
}

/// Adds to a metric.
pub(crate) fn add(metric: Metric, amount: i64) {
    if let Some(id) = IDS.with(|ids| ids.get(metric as usize).and_then(Cell::get)) {
        hostcalls::increment_metric(id, amount);
    }
}
