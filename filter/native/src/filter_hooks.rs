//! The hooks of the HTTP filter, which Envoy finds by their names.

use core::ptr;
use std::cell::RefCell;
use std::ffi::c_char;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use logtracer_filter::Stream;
#[cfg(feature = "panic-test")]
use logtracer_filter::host::HeadersHost as _;
use logtracer_filter::host::{ExportResponse, HeadersOf, LogLevel};

use crate::abi::{self, CONTINUE, EnvoyBuffer, EnvoyHeader, EnvoyPtr};
use crate::awaiting_log::{self, AwaitingLog};
use crate::filter_host::FilterHost;
use crate::guard::guard;
use crate::instance::{Instance, Worker};
use crate::process::{self, Handle};
use crate::{clock, main_thread};

/// The names of the filter and of the logger in Envoy's configuration.
pub(crate) const NAME: &[u8] = b"logtracer";

/// The maximum number of bytes that are read of a response's body.
const MAX_RESPONSE_BYTES: usize = 4096;

/// A configuration of the filter. Envoy owns it.
struct FilterConfig {
    handle: Arc<Handle>,
    instance: Arc<Instance>,
}

/// A filter of a stream. Envoy owns it.
struct Filter {
    /// `None` after its end.
    stream: RefCell<Option<Stream>>,
    worker: Arc<Worker>,
    instance: Arc<Instance>,
    /// When it was created, in nanoseconds since 1970.
    created_at: u64,
}

/// Borrows an object that Envoy owns.
///
/// # Safety
///
/// The pointer is null, or the result of [`Box::into_raw`] for this type, and Envoy has not destroyed the object.
const unsafe fn borrow<'o, T>(object: *const T) -> Option<&'o T> {
    // SAFETY: the caller promises it.
    unsafe { object.as_ref() }
}

/// Logs why a configuration is rejected. Envoy itself reports only that it is.
pub(crate) fn reject(reason: &str) {
    clock::log(LogLevel::Error, &format!("logtracer: configuration rejected: {reason}"));
}

/// Checks the name in Envoy's configuration.
pub(crate) fn check_name(key: &str, name: &[u8]) -> Result<(), String> {
    if name == NAME {
        return Ok(());
    }
    Err(format!("{key}: expected logtracer, found {:?}", String::from_utf8_lossy(name)))
}

/// Envoy compares the version with its own and warns if they differ.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    if let Err(missing) = abi::load() {
        // This Envoy may also lack the function that writes to its log.
        let _ = writeln!(
            std::io::stderr(),
            "logtracer: this Envoy is too old: the native module needs Envoy 1.38 or newer, and {} is missing",
            missing.to_string_lossy()
        );
        return ptr::null();
    }
    main_thread::set();
    let version = if abi::is_1_40() { abi::VERSION_1_40 } else { abi::VERSION_1_38 };
    version.as_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    config: EnvoyPtr,
    name: EnvoyBuffer,
    json: EnvoyBuffer,
) -> *const FilterConfig {
    guard(ptr::null(), || {
        // SAFETY: Envoy keeps both texts until the hook returns.
        let (name, json) = unsafe { (name.as_slice(), json.as_slice()) };
        match check_name("filter_name", name).and_then(|()| Instance::of(json)) {
            Ok(instance) => {
                // SAFETY: this is the hook that creates a configuration.
                let handle = unsafe { process::add_handle(config) };
                // The root of this thread, which has no streams, sends what a replaced configuration leaves.
                instance.worker();
                Box::into_raw(Box::new(FilterConfig { handle, instance }))
            }
            Err(reason) => {
                reject(&reason);
                ptr::null()
            }
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(config: *mut FilterConfig) {
    guard((), || {
        // SAFETY: Envoy passes the result of `config_new`, once.
        let FilterConfig { handle, instance } = *unsafe { Box::from_raw(config) };
        // First the instance, so that its roots can end in the same run.
        drop(instance);
        process::remove_handle(&handle);
    });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_scheduled(
    _: EnvoyPtr,
    _: *const FilterConfig,
    _: u64,
) {
    guard((), process::run);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_http_callout_done(
    _: EnvoyPtr,
    config: *const FilterConfig,
    id: u64,
    result: u32,
    headers: *const EnvoyHeader,
    headers_length: usize,
    chunks: *const EnvoyBuffer,
    chunks_length: usize,
) {
    guard((), || {
        // SAFETY: Envoy passes the result of `config_new`.
        let Some(config) = (unsafe { borrow(config) }) else { return };
        // SAFETY: Envoy keeps the headers and the body until the hook returns.
        let response = unsafe { response(result, (headers, headers_length), (chunks, chunks_length)) };
        process::respond(config.handle.id, id, response.as_ref());
    });
}

/// Returns an array of Envoy as a slice.
///
/// # Safety
///
/// The pointer is null, or points to so many elements, which stay unchanged during `'a`.
const unsafe fn array<'a, T>(elements: *const T, length: usize) -> &'a [T] {
    if elements.is_null() {
        return &[];
    }
    // SAFETY: the caller promises it.
    unsafe { core::slice::from_raw_parts(elements, length) }
}

/// Reads the response to a callout. Returns `None` for one that has failed.
///
/// # Safety
///
/// The pointers and lengths are those of a hook for a callout, which has not returned.
pub(crate) unsafe fn response(
    result: u32,
    headers: (*const EnvoyHeader, usize),
    chunks: (*const EnvoyBuffer, usize),
) -> Option<ExportResponse> {
    if result != abi::SUCCESS {
        return None;
    }
    // SAFETY: the caller promises it.
    let (headers, chunks) = unsafe { (array(headers.0, headers.1), array(chunks.0, chunks.1)) };
    let header = |name: &[u8]| {
        // SAFETY: Envoy keeps the headers until the hook returns.
        let mut lines = headers.iter().map(|line| unsafe { (line.key.as_slice(), line.value.as_slice()) });
        lines.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let mut body = Vec::new();
    for chunk in chunks {
        // SAFETY: Envoy keeps the body until the hook returns.
        let chunk = unsafe { chunk.as_slice() };
        let length = chunk.len().min(MAX_RESPONSE_BYTES - body.len());
        body.extend_from_slice(chunk.get(..length).unwrap_or_default());
    }
    Some(ExportResponse {
        status: header(b":status").and_then(|status| core::str::from_utf8(status).ok()?.parse().ok()),
        retry_after: header(b"retry-after").map(<[u8]>::to_vec),
        body,
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_new(
    config: *const FilterConfig,
    _: EnvoyPtr,
) -> *const Filter {
    let new = || {
        // SAFETY: Envoy passes the result of `config_new`.
        let config = unsafe { borrow(config) }?;
        let worker = config.instance.worker();
        let stream = RefCell::new(Some(Stream::new(worker.plugin.clone())));
        let instance = config.instance.clone();
        let created_at = clock::unix_nanos();
        Some(Box::into_raw(Box::new(Filter { stream, worker, instance, created_at })).cast_const())
    };
    // Without a filter Envoy would close the stream, so a failed one is a filter that does nothing.
    guard(None, new).unwrap_or(ptr::dangling())
}

/// Runs a hook of a stream. After a failed one the stream has no further hooks.
fn with_stream(filter: EnvoyPtr, module: *const Filter, hook: impl FnOnce(&mut Stream, &FilterHost)) {
    guard((), || {
        // SAFETY: Envoy passes the result of `filter_new`.
        let Some(module) = (unsafe { borrow(existing(module)) }) else { return };
        let Some(mut stream) = module.stream.try_borrow_mut().ok().and_then(|mut stream| stream.take())
        else {
            return;
        };
        // SAFETY: this is a hook for the filter.
        let host = unsafe { FilterHost::new(filter) };
        #[cfg(feature = "panic-test")]
        crate::panic_test::panic_in("in-filter", host.header(HeadersOf::Request, ":path"));
        hook(&mut stream, &host);
        module.stream.replace(Some(stream));
    });
}

/// Returns null for the filter of a stream whose creation failed.
fn existing(module: *const Filter) -> *const Filter {
    if ptr::eq(module, ptr::dangling()) { ptr::null() } else { module }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    filter: EnvoyPtr,
    module: *const Filter,
    _: bool,
) -> u32 {
    with_stream(filter, module, |stream, host| stream.on_request_headers(host));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    filter: EnvoyPtr,
    module: *const Filter,
    _: bool,
) -> u32 {
    with_stream(filter, module, |stream, host| stream.on_response_headers(host));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(
    filter: EnvoyPtr,
    module: *const Filter,
) -> u32 {
    with_stream(filter, module, |stream, host| stream.on_response_trailers(host));
    CONTINUE
}

/// Hands the stream over to the access logger.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(filter: EnvoyPtr, module: *const Filter) {
    guard((), || {
        // SAFETY: Envoy passes the result of `filter_new`.
        let Some(module) = (unsafe { borrow(existing(module)) }) else { return };
        let Some(mut stream) = module.stream.take().filter(|stream| !stream.is_duplicate()) else { return };
        // Without an access logger, the stream stays while its address becomes that of another one.
        stream.end_live();
        // SAFETY: this is a hook for the filter.
        let path = unsafe { FilterHost::new(filter) }.envoy_header(HeadersOf::Request, ":path").data as usize;
        let (worker, instance) = (module.worker.clone(), module.instance.clone());
        let has_room = awaiting_log::put(AwaitingLog {
            path,
            created_at: module.created_at,
            stream,
            worker,
            _instance: instance,
        });
        static IS_LOGGED: AtomicBool = AtomicBool::new(false);
        if !has_room && !IS_LOGGED.swap(true, Ordering::Relaxed) {
            let message = "logtracer: no access logger with logger_name logtracer: requests have no line and no \
                           span. A filter of the logger has the same effect";
            clock::log(LogLevel::Error, message);
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_destroy(module: *mut Filter) {
    guard((), || {
        let module = existing(module).cast_mut();
        if !module.is_null() {
            // SAFETY: Envoy passes the result of `filter_new`, once.
            drop(unsafe { Box::from_raw(module) });
        }
    });
}

/// Hooks that Envoy demands, for what the filter does not do.
mod unused {
    #![allow(unused_variables, reason = "the names are those of Envoy's documentation")]

    use super::{CONTINUE, EnvoyBuffer, EnvoyHeader, EnvoyPtr, Filter};

    /// Defines hooks that do nothing.
    macro_rules! unused {
        ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ident: $value:expr)?;)*) => {$(
            #[unsafe(no_mangle)]
            extern "C" fn $name(filter: EnvoyPtr, module: *const Filter $(, $argument: $type)*) $(-> $result)? {
                $($value)?
            }
        )*};
    }

    unused! {
        envoy_dynamic_module_on_http_filter_request_body(is_end: bool) -> u32: CONTINUE;
        envoy_dynamic_module_on_http_filter_request_trailers() -> u32: CONTINUE;
        envoy_dynamic_module_on_http_filter_response_body(is_end: bool) -> u32: CONTINUE;
        envoy_dynamic_module_on_http_filter_http_callout_done(
            id: u64, result: u32, headers: *const EnvoyHeader, headers_length: usize, chunks: *const EnvoyBuffer,
            chunks_length: usize);
        envoy_dynamic_module_on_http_filter_http_stream_headers(
            id: u64, headers: *const EnvoyHeader, headers_length: usize, is_end: bool);
        envoy_dynamic_module_on_http_filter_http_stream_data(
            id: u64, data: *const EnvoyBuffer, data_length: usize, is_end: bool);
        envoy_dynamic_module_on_http_filter_http_stream_trailers(
            id: u64, trailers: *const EnvoyHeader, trailers_length: usize);
        envoy_dynamic_module_on_http_filter_http_stream_complete(id: u64);
        envoy_dynamic_module_on_http_filter_http_stream_reset(id: u64, reason: u32);
        envoy_dynamic_module_on_http_filter_scheduled(event: u64);
        envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark();
        envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark();
    }
}
