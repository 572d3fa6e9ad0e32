//! Every call into Envoy. No call panics: one that fails returns `None` or does nothing.
//!
//! The callbacks from Envoy are in [`crate::dispatcher`].
//!
//! <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>

#![allow(unsafe_code, reason = "the ABI of the host is C; a comment at each call explains why it is sound")]

use core::time::Duration;

use logtracer_filter::host::LogLevel;

use crate::header_map::{HeaderMap, serialize};

/// The headers or trailers that a call reads or changes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MapType {
    RequestHeaders = 0,
    ResponseHeaders = 2,
    ResponseTrailers = 3,
    /// The headers of a callout's response, in the callback for it.
    HttpCallResponseHeaders = 6,
}

/// A buffer of the host.
#[derive(Debug, Clone, Copy)]
enum BufferType {
    HttpCallResponseBody = 4,
    PluginConfiguration = 7,
}

mod abi {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
        pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
        pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            buffer: u32,
            start: usize,
            max_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
        pub(super) fn proxy_get_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
            value: *mut *mut u8,
            value_size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_add_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_replace_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
        pub(super) fn proxy_get_property(
            path: *const u8,
            path_size: usize,
            value: *mut *mut u8,
            value_size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_property(
            path: *const u8,
            path_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
        pub(super) fn proxy_increment_metric(id: u32, offset: i64) -> u32;
        pub(super) fn proxy_http_call(
            cluster: *const u8,
            cluster_size: usize,
            headers: *const u8,
            headers_size: usize,
            body: *const u8,
            body_size: usize,
            trailers: *const u8,
            trailers_size: usize,
            timeout_millis: u32,
            token: *mut u32,
        ) -> u32;
        pub(super) fn proxy_done() -> u32;
        pub(super) fn proxy_set_effective_context(context: u32) -> u32;
        pub(super) fn proxy_call_foreign_function(
            name: *const u8,
            name_size: usize,
            argument: *const u8,
            argument_size: usize,
            result: *mut *mut u8,
            result_size: *mut usize,
        ) -> u32;
    }

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn random_get(buffer: *mut u8, size: usize) -> u32;
        pub(super) fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    }
}

const OK: u32 = 0;

/// Writes to Envoy's own log, which is too expensive for every request.
pub(crate) fn log(level: LogLevel, message: &str) {
    let level = match level {
        LogLevel::Info => 2,
        LogLevel::Warn => 3,
        LogLevel::Error => 4,
    };
    // SAFETY: the message outlives the call, and the host only reads it.
    unsafe { abi::proxy_log(level, message.as_ptr(), message.len()) };
}

/// Returns the nanoseconds since 1970; 0 if the host has no clock.
pub(crate) fn now_unix_nanos() -> u64 {
    let mut time = 0;
    // SAFETY: the host writes eight bytes to `time`, or nothing.
    unsafe { abi::proxy_get_current_time_nanoseconds(&mut time) };
    time
}

/// Returns the nanoseconds of the monotonic clock, or those since 1970 if the host does not offer that clock.
pub(crate) fn now_monotonic_nanos() -> u64 {
    const MONOTONIC: u32 = 1;
    let mut time = 0;
    // SAFETY: the host writes eight bytes to `time`, or nothing.
    let status = unsafe { abi::clock_time_get(MONOTONIC, 0, &mut time) };
    if status == OK { time } else { now_unix_nanos() }
}

/// Sets the period of the root's `on_tick`. Zero stops the ticks.
pub(crate) fn set_tick_period(period: Duration) {
    let millis = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: the call takes a number, and no pointer.
    unsafe { abi::proxy_set_tick_period_milliseconds(millis) };
}

/// Returns random bytes from Envoy's generator; `None` if it fails.
pub(crate) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the host writes at most `N` bytes to the array of `N` bytes.
    let status = unsafe { abi::random_get(bytes.as_mut_ptr(), N) };
    (status == OK).then_some(bytes)
}

/// Returns the plugin's configuration; empty if there is none.
pub(crate) fn plugin_configuration() -> Vec<u8> {
    buffer(BufferType::PluginConfiguration, usize::MAX)
}

/// Returns the first 4096 bytes of the body of a callout's response, in the callback for it.
pub(crate) fn http_call_response_body() -> Vec<u8> {
    buffer(BufferType::HttpCallResponseBody, 4096)
}

fn buffer(buffer: BufferType, max_size: usize) -> Vec<u8> {
    take_result(|data, size| {
        // SAFETY: see `take_result`.
        unsafe { abi::proxy_get_buffer_bytes(buffer as u32, 0, max_size, data, size) }
    })
    .unwrap_or_default()
}

/// Returns all header lines.
pub(crate) fn header_map(map: MapType) -> HeaderMap {
    // SAFETY: see `take_result`.
    let bytes = take_result(|data, size| unsafe { abi::proxy_get_header_map_pairs(map as u32, data, size) });
    HeaderMap::new(bytes.unwrap_or_default())
}

/// Returns the value of the first line of a header.
pub(crate) fn header(map: MapType, name: &str) -> Option<Vec<u8>> {
    take_result(|data, size| {
        // SAFETY: the name outlives the call; see also `take_result`.
        unsafe { abi::proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, size) }
    })
}

/// Adds a header line. Cheaper than [`replace_header`] if the header is absent, because the host does not search for it.
pub(crate) fn add_header(map: MapType, name: &str, value: &str) {
    // SAFETY: name and value outlive the call, and the host only reads them.
    unsafe {
        abi::proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    };
}

/// Replaces the first line of a header, or adds one.
pub(crate) fn replace_header(map: MapType, name: &str, value: &str) {
    // SAFETY: name and value outlive the call, and the host only reads them.
    unsafe {
        abi::proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    };
}

/// Removes every line of a header.
pub(crate) fn remove_header(map: MapType, name: &str) {
    // SAFETY: the name outlives the call, and the host only reads it.
    unsafe { abi::proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) };
}

/// Returns the bytes of a property. NULs separate the parts of its path: `"response\0code"`.
pub(crate) fn property(path: &str) -> Option<Vec<u8>> {
    take_result(|data, size| {
        // SAFETY: the path outlives the call; see also `take_result`.
        unsafe { abi::proxy_get_property(path.as_ptr(), path.len(), data, size) }
    })
}

/// Returns the text of a property, which can be empty; `None` if it is of another type, whose bytes are not text.
pub(crate) fn text_property(path: &str) -> Option<String> {
    let mut is_found = false;
    let bytes = take_result(|data, size| {
        // SAFETY: the path outlives the call; see also `take_result`.
        let status = unsafe { abi::proxy_get_property(path.as_ptr(), path.len(), data, size) };
        is_found = status == OK;
        status
    });
    let text = String::from_utf8(bytes.unwrap_or_default()).ok()?;
    (is_found && !text.contains(char::is_control)).then_some(text)
}

/// Decodes a property that is a number, a time (nanoseconds since 1970) or a duration (nanoseconds).
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(value.try_into().ok()?))
}

/// Sets a property: the filter state `wasm.<name>` of the stream.
pub(crate) fn set_property(name: &str, value: &[u8]) {
    // SAFETY: name and value outlive the call, and the host only reads them.
    unsafe { abi::proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// An expression of the Common Expression Language, compiled by the host for the current root.
///
/// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes>
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expression {
    token: [u8; 4],
}

impl Expression {
    /// Compiles an expression. Returns `None` if it is invalid or the host does not support expressions.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let token = call_foreign_function("expr_create", text.as_bytes())?;
        Some(Self { token: token.try_into().ok()? })
    }

    /// Evaluates the expression for the current request. Returns `None` if any of its values is absent, or if it is
    /// an expression of another root.
    pub(crate) fn evaluate(self) -> Option<Vec<u8>> {
        call_foreign_function("expr_evaluate", &self.token)
    }
}

fn call_foreign_function(name: &str, argument: &[u8]) -> Option<Vec<u8>> {
    take_result(|data, size| {
        // SAFETY: name and argument outlive the call; see also `take_result`.
        unsafe {
            abi::proxy_call_foreign_function(
                name.as_ptr(),
                name.len(),
                argument.as_ptr(),
                argument.len(),
                data,
                size,
            )
        }
    })
}

/// Defines a metric and returns its id.
pub(crate) fn define_metric(is_gauge: bool, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: the name outlives the call, and the host writes four bytes to `id`, or nothing.
    let status = unsafe { abi::proxy_define_metric(is_gauge.into(), name.as_ptr(), name.len(), &mut id) };
    (status == OK).then_some(id)
}

/// Adds to a counter or a gauge. The offset may be negative for a gauge.
pub(crate) fn increment_metric(id: u32, offset: i64) {
    // SAFETY: the call takes numbers, and no pointer.
    unsafe { abi::proxy_increment_metric(id, offset) };
}

/// Sends a request to a cluster, from a callback of a root, and returns the token of its response. Returns `None` if
/// the cluster does not exist or has no reachable host.
pub(crate) fn dispatch_http_call(
    cluster: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    timeout: Duration,
) -> Option<u32> {
    let headers = serialize(headers);
    let trailers = serialize(&[]);
    let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let mut token = 0;
    // SAFETY: all arguments outlive the call, and the host only reads them. It writes four bytes to `token`, or
    // nothing.
    let status = unsafe {
        abi::proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            millis,
            &mut token,
        )
    };
    (status == OK).then_some(token)
}

/// Makes the following calls apply to another context. Returns false if it does not exist.
pub(crate) fn set_effective_context(context: u32) -> bool {
    // SAFETY: the call takes a number, and no pointer.
    unsafe { abi::proxy_set_effective_context(context) == OK }
}

/// Reports that a root whose `on_done` returned false is done.
pub(crate) fn done() {
    // SAFETY: the call has no arguments.
    unsafe { abi::proxy_done() };
}

/// Takes ownership of the memory that a host call allocated for its result.
fn take_result(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let mut data = core::ptr::null_mut();
    let mut size = 0;
    if call(&mut data, &mut size) != OK || data.is_null() {
        return None;
    }
    // SAFETY: the host got these bytes from `proxy_on_memory_allocate(size)`, which leaks a boxed slice of this size
    // from the global allocator, has filled all of them, and keeps no pointer to them.
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// Allocates memory for the result of a host call, which [`take_result`] takes ownership of.
pub(crate) fn allocate(size: usize) -> *mut u8 {
    // Not zeroed, because the host fills all of it.
    Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast()
}
