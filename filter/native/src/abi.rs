//! The functions and types of Envoy's ABI for dynamic modules that the filter uses. All of them exist since Envoy 1.38.
//!
//! <https://github.com/envoyproxy/envoy/blob/main/source/extensions/dynamic_modules/abi/abi.h>

use core::ffi::{CStr, c_void};
use core::ptr::NonNull;
use std::sync::OnceLock;

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

/// Declares functions of Envoy. They are looked up when the library is loaded, because a loader would reject the library
/// for the first one that an older Envoy lacks, without saying which Envoy is needed.
macro_rules! callbacks {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? = $symbol:literal;)*) => {
        #[derive(Debug)]
        struct Callbacks {
            $($name: unsafe extern "C" fn($($type),*) $(-> $result)?,)*
        }

        impl Callbacks {
            fn look_up() -> Result<Self, &'static CStr> {
                Ok(Self {
                    // SAFETY: the ABI of Envoy defines the type of the function with this name.
                    $($name: unsafe { function(look_up(concat!("envoy_dynamic_module_callback_", $symbol, "\0"))?) },)*
                })
            }
        }

        $(
            /// See Envoy's documentation of the function.
            ///
            /// # Safety
            ///
            /// The pointers are valid as that documentation demands.
            #[inline]
            pub(crate) unsafe fn $name($($argument: $type),*) $(-> $result)? {
                match CALLBACKS.get() {
                    // SAFETY: the caller promises it.
                    Some(callbacks) => unsafe { (callbacks.$name)($($argument),*) },
                    // Never: the library is not used before `load` has succeeded.
                    None => Default::default(),
                }
            }
        )*
    };
}

callbacks! {
    fn log(level: u32, message: ModuleBuffer) = "log";
    fn filter_headers_size(filter: EnvoyPtr, headers: u32) -> usize = "http_get_headers_size";
    fn filter_headers(filter: EnvoyPtr, headers: u32, out: *mut EnvoyHeader) -> bool = "http_get_headers";
    fn filter_header(
        filter: EnvoyPtr, headers: u32, key: ModuleBuffer, out: *mut EnvoyBuffer, index: usize,
        count: *mut usize
    ) -> bool = "http_get_header";
    fn filter_set_header(
        filter: EnvoyPtr, headers: u32, key: ModuleBuffer, value: ModuleBuffer
    ) -> bool = "http_set_header";
    fn filter_add_header(
        filter: EnvoyPtr, headers: u32, key: ModuleBuffer, value: ModuleBuffer
    ) -> bool = "http_add_header";
    fn scheduler_new(config: EnvoyPtr) -> usize = "http_filter_config_scheduler_new";
    fn scheduler_commit(scheduler: EnvoyPtr, event: u64) = "http_filter_config_scheduler_commit";
    fn scheduler_delete(scheduler: EnvoyPtr) = "http_filter_config_scheduler_delete";
    fn config_http_callout(
        config: EnvoyPtr, id: *mut u64, cluster: ModuleBuffer, headers: *const ModuleHeader,
        headers_length: usize, body: ModuleBuffer, timeout_millis: u64
    ) -> u32 = "http_filter_config_http_callout";
    fn logger_define_counter(
        config: EnvoyPtr, name: ModuleBuffer, id: *mut usize
    ) -> u32 = "access_logger_config_define_counter";
    fn logger_define_gauge(
        config: EnvoyPtr, name: ModuleBuffer, id: *mut usize
    ) -> u32 = "access_logger_config_define_gauge";
    fn logger_increment_counter(config: EnvoyPtr, id: usize, value: u64) -> u32 = "access_logger_increment_counter";
    fn logger_increment_gauge(config: EnvoyPtr, id: usize, value: u64) -> u32 = "access_logger_increment_gauge";
    fn logger_decrement_gauge(config: EnvoyPtr, id: usize, value: u64) -> u32 = "access_logger_decrement_gauge";
    fn logger_headers_size(logger: EnvoyPtr, headers: u32) -> usize = "access_logger_get_headers_size";
    fn logger_headers(logger: EnvoyPtr, headers: u32, out: *mut EnvoyHeader) -> bool = "access_logger_get_headers";
    fn logger_header(
        logger: EnvoyPtr, headers: u32, key: ModuleBuffer, out: *mut EnvoyBuffer, index: usize,
        count: *mut usize
    ) -> bool = "access_logger_get_header_value";
    fn logger_response_code(logger: EnvoyPtr) -> u32 = "access_logger_get_response_code";
    fn logger_response_code_details(
        logger: EnvoyPtr, out: *mut EnvoyBuffer
    ) -> bool = "access_logger_get_response_code_details";
    fn logger_response_flags(logger: EnvoyPtr) -> u64 = "access_logger_get_response_flags";
    fn logger_protocol(logger: EnvoyPtr, out: *mut EnvoyBuffer) -> bool = "access_logger_get_protocol";
    fn logger_timing_info(logger: EnvoyPtr, out: *mut TimingInfo) = "access_logger_get_timing_info";
    fn logger_bytes_info(logger: EnvoyPtr, out: *mut BytesInfo) = "access_logger_get_bytes_info";
    fn logger_request_headers_bytes(logger: EnvoyPtr) -> u64 = "access_logger_get_request_headers_bytes";
    fn logger_response_headers_bytes(logger: EnvoyPtr) -> u64 = "access_logger_get_response_headers_bytes";
    fn logger_response_trailers_bytes(logger: EnvoyPtr) -> u64 = "access_logger_get_response_trailers_bytes";
    fn logger_route_name(logger: EnvoyPtr, out: *mut EnvoyBuffer) -> bool = "access_logger_get_route_name";
    fn logger_upstream_cluster(
        logger: EnvoyPtr, out: *mut EnvoyBuffer
    ) -> bool = "access_logger_get_upstream_cluster";
    fn logger_attempt_count(logger: EnvoyPtr) -> u32 = "access_logger_get_attempt_count";
    fn logger_remote_address(
        logger: EnvoyPtr, out: *mut EnvoyBuffer, port: *mut u32
    ) -> bool = "access_logger_get_downstream_remote_address";
    fn logger_attribute_string(
        logger: EnvoyPtr, attribute: u32, out: *mut EnvoyBuffer
    ) -> bool = "access_logger_get_attribute_string";
    fn logger_attribute_int(
        logger: EnvoyPtr, attribute: u32, out: *mut u64
    ) -> bool = "access_logger_get_attribute_int";
    fn bootstrap_scheduler_new(config: EnvoyPtr) -> usize = "bootstrap_extension_config_scheduler_new";
    fn bootstrap_scheduler_commit(
        scheduler: EnvoyPtr, event: u64
    ) = "bootstrap_extension_config_scheduler_commit";
    fn bootstrap_scheduler_delete(scheduler: EnvoyPtr) = "bootstrap_extension_config_scheduler_delete";
    fn bootstrap_http_callout(
        config: EnvoyPtr, id: *mut u64, cluster: ModuleBuffer, headers: *const ModuleHeader,
        headers_length: usize, body: ModuleBuffer, timeout_millis: u64
    ) -> u32 = "bootstrap_extension_http_callout";
    fn bootstrap_signal_init_complete(config: EnvoyPtr) = "bootstrap_extension_config_signal_init_complete";
}

static CALLBACKS: OnceLock<Callbacks> = OnceLock::new();

/// Looks up every function.
///
/// # Errors
///
/// The name of a function that this Envoy lacks.
pub(crate) fn load() -> Result<(), &'static CStr> {
    let callbacks = Callbacks::look_up()?;
    let _ = CALLBACKS.set(callbacks);
    Ok(())
}

/// The versions of the ABI that Envoy compares with the module's.
pub(crate) const VERSION_1_38: &CStr = c"v0.1.0";
pub(crate) const VERSION_1_40: &CStr = c"v0.2.0";

/// Returns whether this is Envoy 1.40 or newer, by a function that is new in that version.
pub(crate) fn is_1_40() -> bool {
    look_up("envoy_dynamic_module_callback_log_v2\0").is_ok()
}

/// Returns the address of a function of Envoy. The name ends with a NUL.
fn look_up(name: &'static str) -> Result<NonNull<c_void>, &'static CStr> {
    let name = CStr::from_bytes_with_nul(name.as_bytes()).unwrap_or_default();
    // SAFETY: the name ends with a NUL.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }).ok_or(name)
}

/// Returns the function at an address.
///
/// # Safety
///
/// `F` is the type of the function.
const unsafe fn function<F: Copy>(address: NonNull<c_void>) -> F {
    const { assert!(size_of::<F>() == size_of::<NonNull<c_void>>()) };
    // SAFETY: a function pointer is an address that is not null, and the caller promises that the function has this type.
    unsafe { core::mem::transmute_copy(&address) }
}
