//! The functions and types of Envoy's ABI for dynamic modules that the filter uses. All of them exist since Envoy 1.38.
//!
//! <https://github.com/envoyproxy/envoy/blob/main/source/extensions/dynamic_modules/abi/abi.h>

use core::ffi::{c_char, c_void};

/// An object of Envoy.
pub(crate) type EnvoyPtr = *mut c_void;

/// Bytes of Envoy. Without a value the pointer is null.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct EnvoyBuffer {
    pub(crate) data: *const u8,
    pub(crate) length: usize,
}

/// Bytes of the module, which Envoy only reads.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct ModuleBuffer {
    pub(crate) data: *const u8,
    pub(crate) length: usize,
}

/// A header line of Envoy.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct EnvoyHeader {
    pub(crate) key: EnvoyBuffer,
    pub(crate) value: EnvoyBuffer,
}

/// A header line of the module.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct ModuleHeader {
    pub(crate) key: ModuleBuffer,
    pub(crate) value: ModuleBuffer,
}

/// Times in nanoseconds: the start since 1970, the others since the start; -1 if there is none.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct TimingInfo {
    pub(crate) start_unix: i64,
    pub(crate) request_complete: i64,
    pub(crate) first_upstream_sent: i64,
    pub(crate) last_upstream_sent: i64,
    pub(crate) first_upstream_received: i64,
    pub(crate) last_upstream_received: i64,
    pub(crate) first_downstream_sent: i64,
    pub(crate) last_downstream_sent: i64,
}

/// The sizes of the bodies, and the bytes to and from the upstream.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct BytesInfo {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) upstream_received: u64,
    pub(crate) upstream_sent: u64,
}

impl EnvoyBuffer {
    pub(crate) const EMPTY: Self = Self { data: core::ptr::null(), length: 0 };
}

impl EnvoyHeader {
    pub(crate) const EMPTY: Self = Self { key: EnvoyBuffer::EMPTY, value: EnvoyBuffer::EMPTY };
}

impl ModuleBuffer {
    pub(crate) const ABSENT: Self = Self { data: core::ptr::null(), length: 0 };

    pub(crate) const fn new(text: &[u8]) -> Self {
        Self { data: text.as_ptr(), length: text.len() }
    }
}

impl ModuleHeader {
    pub(crate) const fn new((key, value): (&str, &str)) -> Self {
        Self { key: ModuleBuffer::new(key.as_bytes()), value: ModuleBuffer::new(value.as_bytes()) }
    }
}

impl TimingInfo {
    pub(crate) const UNKNOWN: Self = Self {
        start_unix: -1,
        request_complete: -1,
        first_upstream_sent: -1,
        last_upstream_sent: -1,
        first_upstream_received: -1,
        last_upstream_received: -1,
        first_downstream_sent: -1,
        last_downstream_sent: -1,
    };
}

/// The types of header maps.
pub(crate) const REQUEST_HEADERS: u32 = 0;
pub(crate) const RESPONSE_HEADERS: u32 = 2;
pub(crate) const RESPONSE_TRAILERS: u32 = 3;

/// The levels of Envoy's log.
pub(crate) const LOG_INFO: u32 = 2;
pub(crate) const LOG_WARN: u32 = 3;
pub(crate) const LOG_ERROR: u32 = 4;

/// The results of hooks and callbacks.
pub(crate) const CONTINUE: u32 = 0;
pub(crate) const SUCCESS: u32 = 0;

/// The access logger is called at the end of a stream.
pub(crate) const DOWNSTREAM_END: u32 = 6;

/// Attributes.
pub(crate) const UPSTREAM_ADDRESS: u32 = 41;
/// Since Envoy 1.40.
pub(crate) const LISTENER_DIRECTION: u32 = 59;

unsafe extern "C" {
    #[link_name = "envoy_dynamic_module_callback_log"]
    pub(crate) fn log(level: u32, message: ModuleBuffer);

    #[link_name = "envoy_dynamic_module_callback_http_get_headers_size"]
    pub(crate) fn filter_headers_size(filter: EnvoyPtr, headers: u32) -> usize;
    #[link_name = "envoy_dynamic_module_callback_http_get_headers"]
    pub(crate) fn filter_headers(filter: EnvoyPtr, headers: u32, out: *mut EnvoyHeader) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_get_header"]
    pub(crate) fn filter_header(
        filter: EnvoyPtr,
        headers: u32,
        key: ModuleBuffer,
        out: *mut EnvoyBuffer,
        index: usize,
        count: *mut usize,
    ) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_set_header"]
    pub(crate) fn filter_set_header(
        filter: EnvoyPtr,
        headers: u32,
        key: ModuleBuffer,
        value: ModuleBuffer,
    ) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_add_header"]
    pub(crate) fn filter_add_header(
        filter: EnvoyPtr,
        headers: u32,
        key: ModuleBuffer,
        value: ModuleBuffer,
    ) -> bool;

    #[link_name = "envoy_dynamic_module_callback_http_filter_config_scheduler_new"]
    pub(crate) fn scheduler_new(config: EnvoyPtr) -> EnvoyPtr;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_scheduler_commit"]
    pub(crate) fn scheduler_commit(scheduler: EnvoyPtr, event: u64);
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_scheduler_delete"]
    pub(crate) fn scheduler_delete(scheduler: EnvoyPtr);
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_http_callout"]
    pub(crate) fn config_http_callout(
        config: EnvoyPtr,
        id: *mut u64,
        cluster: ModuleBuffer,
        headers: *const ModuleHeader,
        headers_length: usize,
        body: ModuleBuffer,
        timeout_millis: u64,
    ) -> u32;

    #[link_name = "envoy_dynamic_module_callback_access_logger_config_define_counter"]
    pub(crate) fn logger_define_counter(config: EnvoyPtr, name: ModuleBuffer, id: *mut usize) -> u32;
    #[link_name = "envoy_dynamic_module_callback_access_logger_config_define_gauge"]
    pub(crate) fn logger_define_gauge(config: EnvoyPtr, name: ModuleBuffer, id: *mut usize) -> u32;
    #[link_name = "envoy_dynamic_module_callback_access_logger_increment_counter"]
    pub(crate) fn logger_increment_counter(config: EnvoyPtr, id: usize, value: u64) -> u32;
    #[link_name = "envoy_dynamic_module_callback_access_logger_increment_gauge"]
    pub(crate) fn logger_increment_gauge(config: EnvoyPtr, id: usize, value: u64) -> u32;
    #[link_name = "envoy_dynamic_module_callback_access_logger_decrement_gauge"]
    pub(crate) fn logger_decrement_gauge(config: EnvoyPtr, id: usize, value: u64) -> u32;

    #[link_name = "envoy_dynamic_module_callback_access_logger_get_headers_size"]
    pub(crate) fn logger_headers_size(logger: EnvoyPtr, headers: u32) -> usize;
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_headers"]
    pub(crate) fn logger_headers(logger: EnvoyPtr, headers: u32, out: *mut EnvoyHeader) -> bool;
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_header_value"]
    pub(crate) fn logger_header(
        logger: EnvoyPtr,
        headers: u32,
        key: ModuleBuffer,
        out: *mut EnvoyBuffer,
        index: usize,
        count: *mut usize,
    ) -> bool;
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_response_code"]
    pub(crate) fn logger_response_code(logger: EnvoyPtr) -> u32;
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_response_code_details"]
    pub(crate) fn logger_response_code_details(logger: EnvoyPtr, out: *mut EnvoyBuffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_response_flags"]
    pub(crate) fn logger_response_flags(logger: EnvoyPtr) -> u64;
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_protocol"]
    pub(crate) fn logger_protocol(logger: EnvoyPtr, out: *mut EnvoyBuffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_timing_info"]
    pub(crate) fn logger_timing_info(logger: EnvoyPtr, out: *mut TimingInfo);
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_bytes_info"]
    pub(crate) fn logger_bytes_info(logger: EnvoyPtr, out: *mut BytesInfo);
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_request_headers_bytes"]
    pub(crate) fn logger_request_headers_bytes(logger: EnvoyPtr) -> u64;
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_response_headers_bytes"]
    pub(crate) fn logger_response_headers_bytes(logger: EnvoyPtr) -> u64;
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_response_trailers_bytes"]
    pub(crate) fn logger_response_trailers_bytes(logger: EnvoyPtr) -> u64;
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_route_name"]
    pub(crate) fn logger_route_name(logger: EnvoyPtr, out: *mut EnvoyBuffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_upstream_cluster"]
    pub(crate) fn logger_upstream_cluster(logger: EnvoyPtr, out: *mut EnvoyBuffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_attempt_count"]
    pub(crate) fn logger_attempt_count(logger: EnvoyPtr) -> u32;
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_downstream_remote_address"]
    pub(crate) fn logger_remote_address(logger: EnvoyPtr, out: *mut EnvoyBuffer, port: *mut u32) -> bool;
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_attribute_string"]
    pub(crate) fn logger_attribute_string(logger: EnvoyPtr, attribute: u32, out: *mut EnvoyBuffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_attribute_int"]
    pub(crate) fn logger_attribute_int(logger: EnvoyPtr, attribute: u32, out: *mut u64) -> bool;
}

unsafe extern "C" {
    #[link_name = "envoy_dynamic_module_callback_bootstrap_extension_config_signal_init_complete"]
    pub(crate) fn bootstrap_signal_init_complete(config: EnvoyPtr);
}

/// The versions of the ABI that Envoy compares with the module's.
pub(crate) const VERSION_1_38: &core::ffi::CStr = c"v0.1.0";
pub(crate) const VERSION_1_40: &core::ffi::CStr = c"v0.2.0";

/// Returns whether this is Envoy 1.40 or newer, by a callback that is new in that version.
pub(crate) fn is_1_40() -> bool {
    const NEW: &core::ffi::CStr = c"envoy_dynamic_module_callback_log_v2";
    let name: *const c_char = NEW.as_ptr();
    // SAFETY: the name ends with a NUL, and the address is only compared.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name) };
    !address.is_null()
}
