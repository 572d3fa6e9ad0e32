//! The hooks of the access logger, which Envoy finds by their names.

use core::ptr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logtracer_filter::Stream;
#[cfg(feature = "panic-test")]
use logtracer_filter::host::HeadersHost as _;
use logtracer_filter::host::HeadersOf;

use crate::abi::{DOWNSTREAM_END, EnvoyBuffer, EnvoyPtr};
use crate::awaiting_log;
use crate::filter_hooks::{check_name, reject};
use crate::guard::guard;
use crate::instance::Instance;
use crate::logger_host::{LoggerHost, envoy_header, timing};
use crate::sync::lock;
use crate::{lines, main_thread, metrics, process};

/// How long Envoy's exit waits for stdout.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// A configuration of the logger, which is also the logger in each thread. Envoy owns it.
struct Logger {
    config: usize,
    /// For requests that no filter saw; `None` without a configuration: they have no line.
    instance: Option<Arc<Instance>>,
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_config_new(
    config: EnvoyPtr,
    name: EnvoyBuffer,
    json: EnvoyBuffer,
) -> *const Logger {
    guard(ptr::null(), || {
        // SAFETY: Envoy keeps both texts until the hook returns.
        let (name, json) = unsafe { (name.as_slice(), json.as_slice()) };
        let instance = || (!json.is_empty()).then(|| Instance::of(json)).transpose();
        match check_name("logger_name", name).and_then(|()| instance()) {
            Ok(instance) => {
                // SAFETY: the configuration is valid until `config_destroy`, which forgets it.
                unsafe { metrics::define(config) };
                Box::into_raw(Box::new(Logger { config: config as usize, instance }))
            }
            Err(reason) => {
                reject(&reason);
                ptr::null()
            }
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_config_destroy(logger: *mut Logger) {
    guard((), || {
        // SAFETY: Envoy passes the result of `config_new`, once.
        let logger = unsafe { Box::from_raw(logger) };
        metrics::forget(logger.config as EnvoyPtr);
    });
}

/// The loggers in the threads of Envoy.
static LOGGERS: Mutex<Loggers> = Mutex::new(Loggers { of_main: 0, of_workers: 0 });

struct Loggers {
    of_main: u32,
    of_workers: u32,
}

/// The loggers of all threads are the configuration, which outlives them.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_new(logger: *const Logger, _: EnvoyPtr) -> *const Logger {
    guard((), || {
        let mut loggers = lock(&LOGGERS);
        if main_thread::is_current() {
            loggers.of_main += 1;
        } else {
            loggers.of_workers += 1;
        }
    });
    logger
}

/// Writes the last lines and ends the roots when Envoy exits: the workers end first, and after that Envoy publishes its
/// metrics for the last time.
///
/// Without the bootstrap extension, the exit is recognized by the logger of the main thread, which ends first if Envoy
/// removes a logger while it runs.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_destroy(_: *const Logger) {
    guard((), || {
        let mut loggers = lock(&LOGGERS);
        if main_thread::is_current() {
            loggers.of_main = loggers.of_main.saturating_sub(1);
            return;
        }
        loggers.of_workers = loggers.of_workers.saturating_sub(1);
        let (is_last, has_main) = (loggers.of_workers == 0, loggers.of_main > 0);
        drop(loggers);
        // A worker of an Envoy that runs does not wait for stdout.
        if is_last && process::is_exiting().unwrap_or(has_main) {
            lines::flush(FLUSH_TIMEOUT);
            process::end();
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_log(logger: EnvoyPtr, module: *const Logger, kind: u32) {
    if kind != DOWNSTREAM_END {
        return;
    }
    guard((), || {
        // SAFETY: this is a hook for the logger.
        let path = unsafe { envoy_header(logger, HeadersOf::Request, ":path") }.data as usize;
        // SAFETY: the same.
        let started_at = u64::try_from(unsafe { timing(logger) }.start_unix).unwrap_or(0);
        let (mut stream, worker) = if let Some(waiting) = awaiting_log::take(path, started_at) {
            (waiting.stream, waiting.worker)
        } else {
            // SAFETY: Envoy passes the result of `config_new`, and the configuration outlives its loggers.
            let Some(Logger { instance: Some(instance), .. }) = (unsafe { module.as_ref() }) else { return };
            let worker = instance.worker();
            (Stream::new(worker.plugin.clone()), worker)
        };
        // SAFETY: this is a hook for the logger.
        let host = unsafe { LoggerHost::new(logger, &worker) };
        #[cfg(feature = "panic-test")]
        crate::panic_test::panic_in("in-logger", host.header(HeadersOf::Request, ":path"));
        stream.on_log(&host);
    });
}
