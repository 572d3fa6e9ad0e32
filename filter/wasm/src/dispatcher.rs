//! [`Dispatcher`]: passes each callback from Envoy on to its root or stream.
//!
//! The functions at the end are the filter's side of the ABI.
//! Envoy enters the VM for each callback that a module exports. Therefore only the necessary ones are exported, and
//! none for bodies: a body of any length costs the filter nothing.
//!
//! <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>

use core::cell::RefCell;
use core::hash::{BuildHasherDefault, Hasher};
use std::collections::{HashMap, VecDeque};

use logtracer_filter::Stream;

use crate::host::WasmHost;
use crate::hostcalls;
use crate::roots::Roots;

/// The roots (one for each plugin configuration) and the streams (one for each request) of one worker.
///
/// Envoy does not announce a stream: it starts with the first callback that needs it. `proxy_on_context_create` and
/// `proxy_on_delete` would cost every request two more calls into the VM.
///
/// Invariant: no callback fails, whatever its id is.
#[derive(Debug, Default)]
pub(crate) struct Dispatcher {
    roots: Roots,
    streams: HashMap<u32, (Stream, WasmHost), BuildHasherDefault<IdHasher>>,
    /// Streams that ended without a callback to log them. The oldest come first.
    unlogged: VecDeque<u32>,
}

impl Dispatcher {
    /// Starts the stream of a request. Returns `None` if no root is configured.
    fn start(&self, id: u32) -> Option<(Stream, WasmHost)> {
        let (root, host) = self.roots.of_stream()?;
        Some((Stream::new(root.plugin()), host.of_stream(id)))
    }

    fn on_request_headers(&mut self, id: u32) {
        if let Some(stream) = self.start(id) {
            // A stream is only moved while it is small.
            let (stream, host) = self.streams.entry(id).insert_entry(stream).into_mut();
            stream.on_request_headers(host);
        }
    }

    /// Ends a stream with its line and span. An earlier filter may have responded: then this is its only callback.
    fn on_log(&mut self, id: u32) {
        if let Some((stream, host)) = self.streams.get_mut(&id) {
            stream.on_log(host);
            self.streams.remove(&id);
        } else if let Some(at) = self.unlogged.iter().position(|ended| *ended == id) {
            self.unlogged.remove(at);
        } else if let Some((mut stream, host)) = self.start(id) {
            stream.on_log(&host);
        }
    }

    /// Ends a root or a stream. Returns false for a root that waits for its callouts.
    ///
    /// Envoy logs a stream before its end, but a stream of HTTP/3 later, when the caller has acknowledged the response,
    /// and then only with the access loggers of the listener. So such a stream is logged at its end. If a version of
    /// Envoy makes the callback after all, it is ignored.
    fn on_done(&mut self, id: u32) -> bool {
        const MAX_UNLOGGED: usize = 1024;
        if self.streams.contains_key(&id) {
            self.on_log(id);
            if self.unlogged.len() >= MAX_UNLOGGED {
                self.unlogged.pop_front();
            }
            self.unlogged.push_back(id);
        }
        self.roots.on_done(id)
    }
}

/// A cheap hasher for the ids of contexts, which are consecutive numbers.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u32(&mut self, id: u32) {
        // The table also uses the high bits.
        self.0 = u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

thread_local! {
    static DISPATCHER: RefCell<Dispatcher> = RefCell::default();
}

/// Runs one callback. Envoy makes no callback within another one; if it did, the inner one would be ignored instead
/// of ending the VM.
fn with_dispatcher<R: Default>(run: impl FnOnce(&mut Dispatcher) -> R) -> R {
    DISPATCHER.with(|dispatcher| {
        dispatcher.try_borrow_mut().map(|mut dispatcher| run(&mut dispatcher)).unwrap_or_default()
    })
}

fn with_stream(id: u32, run: impl FnOnce(&mut Stream, &WasmHost)) {
    with_dispatcher(|dispatcher| {
        if let Some((stream, host)) = dispatcher.streams.get_mut(&id) {
            run(stream, host);
        }
    });
}

/// The functions that Envoy calls.
mod exports {
    #![allow(unsafe_code, reason = "Envoy finds the functions by their names")]

    use super::{hostcalls, with_dispatcher, with_stream};

    /// Continue with the request: the filter never pauses one.
    const CONTINUE: u32 = 0;

    #[unsafe(no_mangle)]
    extern "C" fn proxy_abi_version_0_2_1() {}

    /// Allocates memory for the result of a host call.
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
        hostcalls::allocate(size)
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_configure(root: u32, _size: usize) -> u32 {
        with_dispatcher(|dispatcher| dispatcher.roots.configure(root)).into()
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_tick(root: u32) {
        with_dispatcher(|dispatcher| dispatcher.roots.on_tick(root));
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_http_call_response(
        root: u32,
        token: u32,
        headers: usize,
        body_size: usize,
        _trailers: usize,
    ) {
        with_dispatcher(|dispatcher| dispatcher.roots.on_response(root, token, headers > 0, body_size));
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_headers(stream: u32, _headers: usize, _end_of_stream: u32) -> u32 {
        with_dispatcher(|dispatcher| dispatcher.on_request_headers(stream));
        CONTINUE
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_response_headers(stream: u32, _headers: usize, _end_of_stream: u32) -> u32 {
        with_stream(stream, |stream, host| stream.on_response_headers(host));
        CONTINUE
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_response_trailers(stream: u32, _trailers: usize) -> u32 {
        with_stream(stream, |stream, host| stream.on_response_trailers(host));
        CONTINUE
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_log(stream: u32) {
        with_dispatcher(|dispatcher| dispatcher.on_log(stream));
    }

    /// A stream is done at once. A root may need time to send its spans.
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_done(id: u32) -> u32 {
        with_dispatcher(|dispatcher| dispatcher.on_done(id)).into()
    }
}
