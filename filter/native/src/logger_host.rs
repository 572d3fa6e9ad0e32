//! [`LoggerHost`]: what Envoy measured of a completed request, in the callback of the access logger.

use std::sync::LazyLock;

use logtracer_filter::Properties;
use logtracer_filter::host::{HeadersHost, HeadersOf, LogHost, StreamHost};

use crate::abi::{self, BytesInfo, EnvoyBuffer, EnvoyPtr, ModuleBuffer, TimingInfo};
use crate::buffers::{Lines, header_map};
use crate::clock::host;
use crate::instance::Worker;
use crate::lines;

/// Only Envoy 1.40 knows the direction of a listener.
static KNOWS_DIRECTION: LazyLock<bool> = LazyLock::new(abi::is_1_40);

/// Envoy's logger object, during a callback for it.
#[derive(Debug)]
pub(crate) struct LoggerHost<'w> {
    logger: EnvoyPtr,
    worker: &'w Worker,
}

host!(LoggerHost<'_>);

type ReadText = unsafe fn(EnvoyPtr, *mut EnvoyBuffer) -> bool;

impl<'w> LoggerHost<'w> {
    /// # Safety
    ///
    /// The pointer is the argument of a hook, and this value does not outlive the hook.
    pub(crate) const unsafe fn new(logger: EnvoyPtr, worker: &'w Worker) -> Self {
        Self { logger, worker }
    }

    fn text(&self, read: ReadText) -> &[u8] {
        let mut text = EnvoyBuffer::EMPTY;
        // SAFETY: the logger is valid (`new`), and Envoy writes one buffer, whose bytes stay until the hook returns.
        unsafe { if read(self.logger, &mut text) { text.as_slice() } else { b"" } }
    }

    fn text_attribute(&self, attribute: u32) -> &[u8] {
        let mut text = EnvoyBuffer::EMPTY;
        // SAFETY: as above.
        unsafe {
            if abi::logger_attribute_string(self.logger, attribute, &mut text) {
                text.as_slice()
            } else {
                b""
            }
        }
    }

    fn remote_address(&self) -> &[u8] {
        let (mut address, mut port) = (EnvoyBuffer::EMPTY, 0);
        // SAFETY: as above; Envoy also writes the port.
        unsafe {
            if abi::logger_remote_address(self.logger, &mut address, &mut port) {
                address.as_slice()
            } else {
                b""
            }
        }
    }

    fn is_outbound(&self) -> bool {
        const OUTBOUND: u64 = 2;
        let mut direction = 0;
        // SAFETY: the logger is valid (`new`), and Envoy writes one number, or nothing.
        *KNOWS_DIRECTION
            && unsafe { abi::logger_attribute_int(self.logger, abi::LISTENER_DIRECTION, &mut direction) }
            && direction == OUTBOUND
    }

    fn timing(&self) -> TimingInfo {
        // SAFETY: the logger is valid (`new`).
        unsafe { timing(self.logger) }
    }
}

impl HeadersHost for LoggerHost<'_> {
    type Lines = Lines;

    fn header_lines(&self, of: HeadersOf) -> Lines {
        // SAFETY: the logger is valid (`new`).
        let size = unsafe { abi::logger_headers_size(self.logger, header_map(of)) };
        // SAFETY: Envoy writes at most as many lines as it has counted, and no header changes meanwhile.
        unsafe { Lines::copy(size, |out| abi::logger_headers(self.logger, header_map(of), out)) }
    }

    fn header(&self, of: HeadersOf, name: &str) -> Option<Vec<u8>> {
        // SAFETY: the logger is valid (`new`).
        let value = unsafe { envoy_header(self.logger, of, name) };
        // SAFETY: Envoy filled the buffer, and no header changes.
        (!value.data.is_null()).then(|| unsafe { value.as_slice() }.to_vec())
    }
}

/// Returns when the stream did what.
///
/// # Safety
///
/// The logger is valid.
pub(crate) unsafe fn timing(logger: EnvoyPtr) -> TimingInfo {
    let mut timing = TimingInfo::UNKNOWN;
    // SAFETY: the caller promises it, and Envoy writes the whole structure.
    unsafe { abi::logger_timing_info(logger, &mut timing) };
    timing
}

/// Returns the first line of a header as Envoy has it; absent if there is none.
///
/// # Safety
///
/// The logger is valid.
pub(crate) unsafe fn envoy_header(logger: EnvoyPtr, of: HeadersOf, name: &str) -> EnvoyBuffer {
    let mut value = EnvoyBuffer::EMPTY;
    let key = ModuleBuffer::new(name.as_bytes());
    let mut count = 0;
    // SAFETY: the name outlives the call, and Envoy writes one buffer and the number of lines.
    unsafe { abi::logger_header(logger, header_map(of), key, &mut value, 0, &mut count) };
    value
}

impl StreamHost for LoggerHost<'_> {
    /// When the stream started, because the address of a header can be that of an earlier stream.
    fn stream_key(&self) -> u64 {
        u64::try_from(self.timing().start_unix).unwrap_or(0)
    }

    fn is_in_stream_of(&self, key: u64) -> bool {
        key != 0 && self.stream_key() == key
    }
}

impl LogHost for LoggerHost<'_> {
    fn with_properties<R>(&self, run: impl FnOnce(&Properties<'_>) -> R) -> R {
        let logger = self.logger;
        let (timing, mut bytes) = (self.timing(), BytesInfo::default());
        // SAFETY: the logger is valid (`new`), and Envoy writes the whole structure.
        unsafe { abi::logger_bytes_info(logger, &mut bytes) };
        // SAFETY: the logger is valid (`new`), and the calls have no other argument.
        let (request_headers, response_headers, trailers) = unsafe {
            (
                abi::logger_request_headers_bytes(logger),
                abi::logger_response_headers_bytes(logger),
                abi::logger_response_trailers_bytes(logger),
            )
        };
        // SAFETY: as above.
        let (status, response_flags, attempts) = unsafe {
            (
                abi::logger_response_code(logger),
                abi::logger_response_flags(logger),
                abi::logger_attempt_count(logger),
            )
        };
        run(&Properties {
            protocol: self.text(abi::logger_protocol),
            remote: self.remote_address(),
            upstream: self.text_attribute(abi::UPSTREAM_ADDRESS),
            cluster: self.text(abi::logger_upstream_cluster),
            route: self.text(abi::logger_route_name),
            status: status.into(),
            response_flags,
            attempts: attempts.into(),
            request_size: bytes.received.saturating_add(request_headers),
            request_body_size: bytes.received,
            response_size: bytes.sent.saturating_add(response_headers).saturating_add(trailers),
            is_outbound: self.is_outbound(),
            start: u64::try_from(timing.start_unix).unwrap_or(0),
            duration: u64::try_from(timing.request_complete).unwrap_or(0),
        })
    }

    fn code_details(&self) -> Vec<u8> {
        self.text(abi::logger_response_code_details).to_vec()
    }

    fn backend_latency_nanos(&self) -> Option<u64> {
        let TimingInfo { last_upstream_sent: sent, first_upstream_received: received, .. } = self.timing();
        let is_known = sent >= 0 && received >= 0;
        is_known.then(|| u64::try_from(received.saturating_sub(sent)).unwrap_or(0))
    }

    fn write_line(&self, line: Vec<u8>) -> bool {
        lines::write(line)
    }

    fn wake_root(&self) {
        self.worker.wake_root();
    }
}
