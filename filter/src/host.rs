//! Every call into Envoy, none of which panics: what fails, or is not there, is `None` or does nothing.
//!
//! What Envoy calls in turn stands in [`crate::vm`].
//!
//! <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>

#![allow(unsafe_code, reason = "the ABI of the host is C; each call says why it is sound")]

use core::time::Duration;

use crate::pairs::{Pairs, serialized};

/// How grave a message in Envoy's own log is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LogLevel {
    Info = 2,
    Warn = 3,
    Error = 4,
}

/// A map of headers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Map {
    Request = 0,
    Response = 2,
    ResponseTrailers = 3,
    /// The headers that answer a callout, while that answer is handed over.
    CalloutResponse = 6,
}

/// A statistic that only grows, or one that goes up and down.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MetricKind {
    Counter = 0,
    Gauge = 1,
}

/// A piece of memory of the host.
#[derive(Debug, Clone, Copy)]
enum Buffer {
    CalloutResponse = 4,
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

/// Writes to Envoy's own log; never for each request.
pub(crate) fn log(level: LogLevel, message: &str) {
    // SAFETY: the message outlives the call, and the host only reads it.
    unsafe { abi::proxy_log(level as u32, message.as_ptr(), message.len()) };
}

/// Nanoseconds since 1970; 0 where the host has no clock.
pub(crate) fn now_unix_nanos() -> u64 {
    let mut time = 0;
    // SAFETY: the host writes eight bytes to `time`, or nothing.
    unsafe { abi::proxy_get_current_time_nanoseconds(&mut time) };
    time
}

/// Nanoseconds of a clock that nobody sets, for what is measured or waited for; the other clock where the host does
/// not let the module have this one.
pub(crate) fn now_monotonic_nanos() -> u64 {
    const MONOTONIC: u32 = 1;
    let mut time = 0;
    // SAFETY: the host writes eight bytes to `time`, or nothing.
    let status = unsafe { abi::clock_time_get(MONOTONIC, 0, &mut time) };
    if status == OK { time } else { now_unix_nanos() }
}

/// Calls the root's `on_tick` each time this has passed; zero ends that.
pub(crate) fn set_tick_period(period: Duration) {
    let millis = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: a number goes out, nothing comes back.
    unsafe { abi::proxy_set_tick_period_milliseconds(millis) };
}

/// Random bytes from Envoy's generator; `None` where it gives none.
pub(crate) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the host writes at most `N` bytes to the array of `N` bytes.
    let status = unsafe { abi::random_get(bytes.as_mut_ptr(), N) };
    (status == OK).then_some(bytes)
}

/// The plugin's configuration; empty where there is none.
pub(crate) fn plugin_configuration() -> Vec<u8> {
    buffer(Buffer::PluginConfiguration, usize::MAX)
}

/// The beginning of the body that answers a callout, while that answer is handed over.
pub(crate) fn callout_body() -> Vec<u8> {
    const ENOUGH: usize = 4096;
    buffer(Buffer::CalloutResponse, ENOUGH)
}

fn buffer(kind: Buffer, max_size: usize) -> Vec<u8> {
    received(|data, size| {
        // SAFETY: see `received`.
        unsafe { abi::proxy_get_buffer_bytes(kind as u32, 0, max_size, data, size) }
    })
    .unwrap_or_default()
}

/// All header lines of a map, names with values.
pub(crate) fn header_lines(map: Map) -> Pairs {
    // SAFETY: see `received`.
    let bytes = received(|data, size| unsafe { abi::proxy_get_header_map_pairs(map as u32, data, size) });
    Pairs::new(bytes.unwrap_or_default())
}

/// The first line of one header.
pub(crate) fn header(map: Map, name: &str) -> Option<Vec<u8>> {
    received(|data, size| {
        // SAFETY: the name outlives the call; for the rest see `received`.
        unsafe { abi::proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, size) }
    })
}

/// Adds a header that is not there yet, without the search for it that [`set_header`] costs.
pub(crate) fn add_header(map: Map, name: &str, value: &str) {
    // SAFETY: both outlive the call, and the host only reads them.
    unsafe {
        abi::proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    };
}

/// Sets a header to one value.
pub(crate) fn set_header(map: Map, name: &str, value: &str) {
    // SAFETY: both outlive the call, and the host only reads them.
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
pub(crate) fn remove_header(map: Map, name: &str) {
    // SAFETY: the name outlives the call, and the host only reads it.
    unsafe { abi::proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) };
}

/// A property as bytes; its path is joined by NULs: `"response\0code"`.
pub(crate) fn property(path: &str) -> Option<Vec<u8>> {
    received(|data, size| {
        // SAFETY: the path outlives the call; for the rest see `received`.
        unsafe { abi::proxy_get_property(path.as_ptr(), path.len(), data, size) }
    })
}

/// A property that is a number, time (nanoseconds since 1970) or duration (nanoseconds).
pub(crate) fn number_property(path: &str) -> Option<u64> {
    number(&property(path)?)
}

/// The value of a property that is a number.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(value.try_into().ok()?))
}

/// Sets a property, which becomes filter state `wasm.<name>` of the stream.
pub(crate) fn set_property(name: &str, value: &[u8]) {
    // SAFETY: both outlive the call, and the host only reads them.
    unsafe { abi::proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// An expression of the Common Expression Language, compiled by the host; it belongs to the root that is current.
///
/// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes>
#[derive(Debug)]
pub(crate) struct Expression {
    token: [u8; 4],
}

impl Expression {
    /// `None` where the host cannot compile it, or knows no expressions.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let token = call_foreign("expr_create", text.as_bytes())?;
        Some(Self { token: token.try_into().ok()? })
    }

    /// The values of an expression that is a list, each as a name without a value, for the request at hand; `None`
    /// where one of them is not there.
    pub(crate) fn evaluate_list(&self) -> Option<Pairs> {
        call_foreign("expr_evaluate", &self.token).map(Pairs::new)
    }
}

fn call_foreign(name: &str, argument: &[u8]) -> Option<Vec<u8>> {
    received(|data, size| {
        // SAFETY: both texts outlive the call; for the rest see `received`.
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

/// Makes a statistic known and returns its handle.
pub(crate) fn define_metric(kind: MetricKind, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: the name outlives the call, and the host writes four bytes to `id`, or nothing.
    let status = unsafe { abi::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id) };
    (status == OK).then_some(id)
}

/// Adds to a counter, or (also below zero) to a gauge.
pub(crate) fn increment_metric(id: u32, offset: i64) {
    // SAFETY: numbers go out, nothing comes back.
    unsafe { abi::proxy_increment_metric(id, offset) };
}

/// Sends a request to a cluster, from a root's callback, and returns the token that its answer will have; `None`
/// where there is no such cluster, or none of its hosts can be reached.
pub(crate) fn call(cluster: &str, headers: &[(&str, &str)], body: &[u8], timeout: Duration) -> Option<u32> {
    let headers = serialized(headers);
    let trailers = serialized(&[]);
    let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let mut token = 0;
    // SAFETY: all texts outlive the call, and the host only reads them; it writes four bytes to `token`, or nothing.
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

/// Tells the host that a root which asked for time at its end needs no more.
pub(crate) fn done() {
    // SAFETY: nothing goes out or comes back.
    unsafe { abi::proxy_done() };
}

/// Takes over a buffer that the host allocated in our memory.
fn received(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let mut data = core::ptr::null_mut();
    let mut size = 0;
    if call(&mut data, &mut size) != OK || data.is_null() {
        return None;
    }
    // SAFETY: the host got these bytes from `proxy_on_memory_allocate(size)`, which leaks a boxed slice of exactly
    // `size` bytes from the global allocator, has filled them, and keeps no pointer to them.
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}
