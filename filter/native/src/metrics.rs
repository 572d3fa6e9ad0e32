//! The filter's metrics in Envoy.
//!
//! They belong to the configurations of access loggers, because Envoy 1.38 changes those of a filter only in a stream.
//! Metrics of several configurations have the same names and are therefore the same.

use std::sync::Mutex;

use logtracer_filter::{Metric, MetricType};

use crate::abi::{self, EnvoyPtr, ModuleBuffer};
use crate::sync::lock;

/// The configuration of a logger as a number, and the ids of the metrics in it.
struct Owner {
    config: usize,
    ids: Vec<Option<usize>>,
}

static OWNERS: Mutex<Vec<Owner>> = Mutex::new(Vec::new());

/// Defines every metric, which Envoy shows from then on, at zero.
///
/// # Safety
///
/// The configuration is valid until [`forget`] is called for it.
pub(crate) unsafe fn define(config: EnvoyPtr) {
    let define = |(_, metric_type, name): &(Metric, MetricType, &str)| {
        let (name, mut id) = (ModuleBuffer::new(name.as_bytes()), 0);
        // SAFETY: the configuration is valid, the name outlives the call, and Envoy writes one number.
        let result = unsafe {
            match metric_type {
                MetricType::Counter => abi::logger_define_counter(config, name, &mut id),
                MetricType::Gauge => abi::logger_define_gauge(config, name, &mut id),
            }
        };
        (result == abi::SUCCESS).then_some(id)
    };
    let ids = Metric::ALL.iter().map(define).collect();
    lock(&OWNERS).push(Owner { config: config as usize, ids });
}

/// Ends the use of a configuration. It waits for a call of [`add`] that uses it.
pub(crate) fn forget(config: EnvoyPtr) {
    lock(&OWNERS).retain(|owner| owner.config != config as usize);
}

/// Adds to a metric. Without an access logger there are no metrics.
pub(crate) fn add(metric: Metric, amount: i64) {
    let owners = lock(&OWNERS);
    let Some(owner) = owners.last() else { return };
    let Some(Some(id)) = owner.ids.get(metric as usize) else { return };
    let (config, value) = (owner.config as EnvoyPtr, amount.unsigned_abs());
    let is_gauge = Metric::ALL.get(metric as usize).is_some_and(|(_, kind, _)| *kind == MetricType::Gauge);
    // SAFETY: the configuration is valid, because `forget` waits for the lock. Every thread may make these calls.
    unsafe {
        match (is_gauge, amount) {
            (false, 1..) => abi::logger_increment_counter(config, *id, value),
            (true, 1..) => abi::logger_increment_gauge(config, *id, value),
            (true, _) => abi::logger_decrement_gauge(config, *id, value),
            (false, _) => abi::SUCCESS,
        };
    }
}
