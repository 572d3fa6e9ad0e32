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
use std::rc::Rc;

use crate::plugin::Plugin;
use crate::root::Root;
use crate::stream::Stream;

/// The contexts of one worker: roots (one for each plugin configuration) and streams (one for each request).
///
/// Invariant: every callback ignores an unknown id; no callback fails.
#[derive(Debug, Default)]
pub(crate) struct Dispatcher {
    roots: HashMap<u32, Root, BuildHasherDefault<IdHasher>>,
    streams: HashMap<u32, Stream, BuildHasherDefault<IdHasher>>,
}

impl Dispatcher {
    fn create(&mut self, id: u32, root: u32) {
        if root == 0 {
            self.roots.insert(id, Root::default());
        } else if let Some(plugin) = self.plugin(root) {
            self.streams.insert(id, Stream::new(plugin));
        }
    }

    fn plugin(&self, root: u32) -> Option<Rc<Plugin>> {
        self.roots.get(&root)?.plugin()
    }

    /// Ends a root. Returns false if it waits for its callouts. The VM, and with it every callout, ends with its last
    /// root: then nothing more can be delivered.
    fn done(&mut self, id: u32) -> bool {
        let is_last = self.roots.iter().all(|(other, root)| *other == id || !root.is_active());
        let Some(root) = self.roots.get_mut(&id) else { return true };
        if !is_last {
            return root.on_done();
        }
        self.roots.values_mut().for_each(Root::on_vm_end);
        true
    }

    fn delete(&mut self, id: u32) {
        if self.streams.remove(&id).is_none()
            && let Some(mut root) = self.roots.remove(&id)
        {
            root.on_delete();
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

fn with_root<R: Default>(id: u32, run: impl FnOnce(&mut Root) -> R) -> R {
    with_dispatcher(|dispatcher| dispatcher.roots.get_mut(&id).map(run).unwrap_or_default())
}

fn with_stream(id: u32, run: impl FnOnce(&mut Stream)) {
    with_dispatcher(|dispatcher| {
        if let Some(stream) = dispatcher.streams.get_mut(&id) {
            run(stream);
        }
    });
}

/// The functions that Envoy calls.
mod exports {
    #![allow(unsafe_code, reason = "Envoy finds the functions by their names")]

    use super::{with_dispatcher, with_root, with_stream};

    /// Continue with the request: the filter never pauses one.
    const CONTINUE: u32 = 0;

    #[unsafe(no_mangle)]
    extern "C" fn proxy_abi_version_0_2_1() {}

    /// Allocates memory for the result of a host call. [`crate::hostcalls`] takes ownership of it.
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
        Box::into_raw(vec![0u8; size].into_boxed_slice()).cast()
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_context_create(id: u32, root: u32) {
        with_dispatcher(|dispatcher| dispatcher.create(id, root));
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_configure(root: u32, _size: usize) -> u32 {
        with_root(root, |root| root.on_configure()).into()
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_tick(root: u32) {
        with_root(root, |root| root.on_tick());
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_http_call_response(
        root: u32,
        token: u32,
        headers: usize,
        body_size: usize,
        _trailers: usize,
    ) {
        with_root(root, |root| root.on_http_call_response(token, headers > 0, body_size));
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_headers(stream: u32, _headers: usize, _end_of_stream: u32) -> u32 {
        with_stream(stream, |stream| stream.on_request_headers());
        CONTINUE
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_response_headers(stream: u32, _headers: usize, _end_of_stream: u32) -> u32 {
        with_stream(stream, |stream| stream.on_response_headers());
        CONTINUE
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_response_trailers(stream: u32, _trailers: usize) -> u32 {
        with_stream(stream, |stream| stream.on_response_trailers());
        CONTINUE
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_log(stream: u32) {
        with_stream(stream, |stream| stream.on_log());
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
