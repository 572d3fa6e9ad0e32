//! [`Dispatcher`]: passes each callback from Envoy on to its root or stream.
//!
//! The functions at the end are the filter's side of the ABI.
//! Envoy enters the VM for each callback that a module exports. Therefore only the necessary ones are exported, and
//! none for bodies: a body of any length costs the filter nothing.
//!
//! <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>

use core::cell::RefCell;
use core::hash::{BuildHasherDefault, Hasher};
use std::collections::HashMap;

use logtracer_filter::{Root, Stream};

use crate::host::{self, WasmHost};
use crate::{hostcalls, metric_ids, node};

/// The contexts of one worker: roots (one for each plugin configuration) and streams (one for each request).
///
/// Invariant: every callback ignores an unknown id; no callback fails.
#[derive(Debug, Default)]
pub(crate) struct Dispatcher {
    /// `None` until a root is configured.
    roots: HashMap<u32, Option<(Root, WasmHost)>, BuildHasherDefault<IdHasher>>,
    streams: HashMap<u32, (Stream, WasmHost), BuildHasherDefault<IdHasher>>,
}

impl Dispatcher {
    fn create(&mut self, id: u32, root: u32) {
        if root == 0 {
            self.roots.insert(id, None);
        } else if let Some(Some((root, host))) = self.roots.get(&root) {
            self.streams.insert(id, (Stream::new(root.plugin()), host.clone()));
        }
    }

    /// Returns false if the configuration is invalid.
    fn configure(&mut self, id: u32) -> bool {
        let host = WasmHost::new();
        metric_ids::define();
        let root = Root::configure(&host, &hostcalls::plugin_configuration(), node::read());
        let is_valid = root.is_some();
        self.roots.insert(id, root.map(|root| (root, host)));
        is_valid
    }

    /// Ends a root. Returns false if it waits for its callouts. The VM, and with it every callout, ends with its last
    /// root: then nothing more can be delivered.
    fn done(&mut self, id: u32) -> bool {
        let is_active = |root: &Option<(Root, _)>| root.as_ref().is_some_and(|(root, _)| root.is_active());
        let is_last = self.roots.iter().all(|(other, root)| *other == id || !is_active(root));
        let Some(root) = self.roots.get_mut(&id) else { return true };
        if !is_last {
            return root.as_mut().is_none_or(|(root, host)| root.on_done(host));
        }
        for (root, host) in self.roots.values_mut().flatten() {
            root.on_end(host);
        }
        true
    }

    fn delete(&mut self, id: u32) {
        if self.streams.remove(&id).is_none()
            && let Some(Some((mut root, host))) = self.roots.remove(&id)
        {
            root.on_delete(&host);
        }
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

fn with_root(id: u32, run: impl FnOnce(&mut Root, &WasmHost)) {
    with_dispatcher(|dispatcher| {
        if let Some(Some((root, host))) = dispatcher.roots.get_mut(&id) {
            run(root, host);
        }
    });
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

    use super::{host, hostcalls, with_dispatcher, with_root, with_stream};

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
    extern "C" fn proxy_on_context_create(id: u32, root: u32) {
        with_dispatcher(|dispatcher| dispatcher.create(id, root));
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_configure(root: u32, _size: usize) -> u32 {
        with_dispatcher(|dispatcher| dispatcher.configure(root)).into()
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_tick(root: u32) {
        with_root(root, |root, host| root.on_tick(host));
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_http_call_response(
        root: u32,
        token: u32,
        headers: usize,
        body_size: usize,
        _trailers: usize,
    ) {
        with_root(root, |root, host| {
            let response = host::export_response(headers > 0, body_size);
            if root.on_response(host, token, response.as_ref()) {
                hostcalls::done();
            }
        });
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_headers(stream: u32, _headers: usize, _end_of_stream: u32) -> u32 {
        with_stream(stream, |stream, host| stream.on_request_headers(host));
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
        with_stream(stream, |stream, host| stream.on_log(host));
    }

    /// A stream is done at once. A root may need time to send its spans.
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_done(id: u32) -> u32 {
        with_dispatcher(|dispatcher| dispatcher.done(id)).into()
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_delete(id: u32) {
        with_dispatcher(|dispatcher| dispatcher.delete(id));
    }
}
