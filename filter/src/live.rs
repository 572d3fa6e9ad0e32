//! Recognizes a second instance of the filter in the same stream, for example the plugin of a team beside the one of the
//! whole mesh.
//!
//! The first instance creates a span and sends its id in the headers, so a second one finds it as the id of the caller's
//! span. If it sends none, or in formats that the second one does not read, the second one finds the stream as the last
//! that has started. A request can also pass through one worker twice, as two streams; the host distinguishes them.
//! With WebAssembly, only instances of the same VM are recognized. Envoy runs plugins in the same VM if their modules and
//! their `vm_id`s are equal, as Istio's are.

use core::cell::RefCell;
use core::hash::{BuildHasherDefault, Hasher};
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use logtracer_core::SpanId;

use crate::host::StreamHost;
use crate::shared::lock;

/// What distinguishes the configurations of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigId(pub u64);

impl ConfigId {
    /// Returns the id of a configuration by its text: its hash by FNV-1a.
    pub(crate) fn of(text: &[u8]) -> Self {
        let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(text.iter().fold(0xcbf2_9ce4_8422_2325, add))
    }
}

/// The instance that handles a stream.
#[derive(Debug, Clone)]
struct Owner {
    /// [`StreamHost::stream_key`].
    key: u64,
    name: Arc<str>,
}

#[derive(Debug, Default)]
struct Live {
    /// The owners of the streams of this thread that have not ended, by the ids of their spans.
    owners: HashMap<u64, Owner, BuildHasherDefault<SpanIdHasher>>,
    /// The span of the last stream that has started, if there are several plugins.
    last_started: Option<u64>,
    /// The owner of the last stream that was logged.
    last_logged: Option<Owner>,
}

/// The name and the configuration of each plugin of this process.
static PLUGINS: Mutex<Vec<(Weak<str>, ConfigId)>> = Mutex::new(Vec::new());
/// Whether they differ. With one plugin, no stream has a second instance, and the search would cost host calls.
static HAS_SEVERAL: AtomicBool = AtomicBool::new(false);

/// Registers a plugin. Two of the same name are different ones if their configurations differ.
pub(crate) fn register(name: &Arc<str>, config: ConfigId) {
    let mut plugins = lock(&PLUGINS);
    plugins.retain(|(name, _)| name.strong_count() > 0);
    let is_other = |known_name: &Weak<str>, known: ConfigId| {
        known_name.upgrade().is_some_and(|known_name| known_name != *name || known != config)
    };
    let has_several = plugins.iter().any(|(known_name, known)| is_other(known_name, *known));
    HAS_SEVERAL.store(has_several, Ordering::Relaxed);
    plugins.push((Arc::downgrade(name), config));
}

thread_local! {
    static LIVE: RefCell<Live> = RefCell::default();
}

/// The entry of a stream, until it is dropped.
#[derive(Debug)]
pub(crate) struct LiveSpan(SpanId);

/// Registers the owner of a stream by the id of its span.
pub(crate) fn start(host: &impl StreamHost, span_id: SpanId, name: &Arc<str>) -> LiveSpan {
    let owner = Owner { key: host.stream_key(), name: name.clone() };
    with(|live| {
        live.last_started = HAS_SEVERAL.load(Ordering::Relaxed).then_some(span_id.get());
        live.owners.insert(span_id.get(), owner)
    });
    LiveSpan(span_id)
}

impl Drop for LiveSpan {
    fn drop(&mut self) {
        with(|live| live.owners.remove(&self.0.get()));
    }
}

/// Returns the name of the instance that handles this stream already, if the caller's span is one of its spans.
pub(crate) fn owner_of_parent(host: &impl StreamHost, parent: Option<SpanId>) -> Option<Arc<str>> {
    let owner = with(|live| live.owners.get(&parent?.get()).cloned()).flatten()?;
    host.is_in_stream_of(owner.key).then_some(owner.name)
}

/// Returns the name of the instance that handles this stream already, if it is the last that has started: the instances of
/// a stream read its headers one after another, unless a filter between them waits.
pub(crate) fn owner_of_last_started(host: &impl StreamHost) -> Option<Arc<str>> {
    if !HAS_SEVERAL.load(Ordering::Relaxed) {
        return None;
    }
    // A stream that has ended is no longer among the owners.
    let owner = with(|live| live.owners.get(&live.last_started?).cloned()).flatten()?;
    host.is_in_stream_of(owner.key).then_some(owner.name)
}

/// Notes the owner of the stream that is logged.
pub(crate) fn note_logged(host: &impl StreamHost, name: &Arc<str>) {
    let owner = Owner { key: host.stream_key(), name: name.clone() };
    with(|live| live.last_logged = Some(owner));
}

/// Returns the name of the instance that has just logged this stream. The instances of a stream are logged one after
/// another.
pub(crate) fn owner_of_logged(host: &impl StreamHost) -> Option<Arc<str>> {
    let owner = with(|live| live.last_logged.clone()).flatten()?;
    host.is_in_stream_of(owner.key).then_some(owner.name)
}

fn with<R>(run: impl FnOnce(&mut Live) -> R) -> Option<R> {
    LIVE.try_with(|live| live.try_borrow_mut().ok().map(|mut live| run(&mut live))).ok().flatten()
}

/// Ids of spans are random, so they are their own hash.
#[derive(Debug, Default)]
struct SpanIdHasher(u64);

impl Hasher for SpanIdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}
