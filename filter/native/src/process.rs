//! The roots of the process, and the handles through which they reach Envoy: the bootstrap extension, or else the newest
//! filter configuration.
//!
//! A root outlives its configuration until its spans are delivered, as long as Envoy has the bootstrap extension or another
//! filter of this library: every handle can make a callout to every cluster.
//!
//! Envoy destroys a filter configuration in any thread, while it is scheduled on, for example. The lock of this module is
//! therefore never held during a call of its scheduler. Envoy also cancels the callouts of the configuration in that
//! thread, although they belong to the main thread. Streams hold a configuration that is replaced through ECDS, so its end
//! in a worker with a callout in flight is an invalid access of Envoy's. The bootstrap extension lives as long as Envoy.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use logtracer_filter::host::{ExportResponse, RootHost};
use logtracer_filter::{ConfigId, Root};

use crate::abi::{self, EnvoyPtr, ModuleBuffer, ModuleHeader};
use crate::instance::{self, Instance, Worker};
use crate::main_host::MainHost;
use crate::sync::lock;
use crate::{clock, ticker};

/// A filter configuration of Envoy, or the bootstrap extension. Its pointers are numbers, because other threads hold them.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) id: u64,
    kind: Kind,
    config: usize,
    scheduler: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Filter,
    Bootstrap,
}

/// The id of the bootstrap extension, of which there is one.
pub(crate) const BOOTSTRAP: u64 = 0;

/// A callout without a response: who made it, and for whom.
#[derive(Debug)]
pub(crate) struct Callout {
    pub(crate) handle: u64,
    pub(crate) id: u64,
    pub(crate) root: u64,
    pub(crate) token: u32,
}

/// How long Envoy's exit waits for the delivery of spans.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the roots send meanwhile what streams have added.
const SHUTDOWN_INTERVAL: Duration = Duration::from_millis(100);

/// Lets Envoy exit. Each is called once, in the main thread.
type Completion = (extern "C" fn(EnvoyPtr), usize);

struct Process {
    bootstrap: Option<Arc<Handle>>,
    /// Those of filter configurations. The newest is the last.
    handles: Vec<Arc<Handle>>,
    roots: Vec<Entry>,
    callouts: RefCell<Vec<Callout>>,
    last_id: u64,
    /// Envoy exits when these are called, at this time at the latest.
    completions: Vec<Completion>,
    exit_at: u64,
    is_exiting: bool,
}

struct Entry {
    id: u64,
    root: Root,
    worker: Arc<Worker>,
    instance: Weak<Instance>,
    due_at: u64,
    interval: Duration,
}

static PROCESS: Mutex<Process> = Mutex::new(Process {
    bootstrap: None,
    handles: Vec::new(),
    roots: Vec::new(),
    callouts: RefCell::new(Vec::new()),
    last_id: 0,
    completions: Vec::new(),
    exit_at: u64::MAX,
    is_exiting: false,
});

impl Handle {
    /// Schedules [`run`] on the main thread.
    fn schedule(&self) {
        let scheduler = self.scheduler as EnvoyPtr;
        // SAFETY: the scheduler exists until this handle is dropped. Every thread may call it, also after the end of
        // its configuration.
        unsafe {
            match self.kind {
                Kind::Filter => abi::scheduler_commit(scheduler, 0),
                Kind::Bootstrap => abi::bootstrap_scheduler_commit(scheduler, 0),
            }
        }
    }

    /// Makes a callout and returns its id. Returns `None` if it fails at once.
    ///
    /// Only [`Process`] calls this, in the main thread, and only for handles that Envoy has not ended.
    pub(crate) fn call(
        &self,
        cluster: &str,
        headers: &[ModuleHeader],
        body: &[u8],
        timeout: Duration,
    ) -> Option<u64> {
        let mut id = 0;
        let callout = match self.kind {
            Kind::Filter => abi::config_http_callout,
            Kind::Bootstrap => abi::bootstrap_http_callout,
        };
        // SAFETY: Envoy has not ended the configuration, all arguments outlive the call, and Envoy writes one number.
        let result = unsafe {
            callout(
                self.config as EnvoyPtr,
                &mut id,
                ModuleBuffer::new(cluster.as_bytes()),
                headers.as_ptr(),
                headers.len(),
                ModuleBuffer::new(body),
                u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            )
        };
        (result == abi::SUCCESS).then_some(id)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let scheduler = self.scheduler as EnvoyPtr;
        // SAFETY: nobody uses the scheduler any more, and every thread may delete it.
        unsafe {
            match self.kind {
                Kind::Filter => abi::scheduler_delete(scheduler),
                Kind::Bootstrap => abi::bootstrap_scheduler_delete(scheduler),
            }
        }
    }
}

/// Adds a filter configuration, in the main thread.
///
/// # Safety
///
/// The pointer is the argument of the hook that creates a configuration.
pub(crate) unsafe fn add_handle(config: EnvoyPtr) -> Arc<Handle> {
    // SAFETY: the caller promises it.
    let scheduler = unsafe { abi::scheduler_new(config) };
    let mut process = lock(&PROCESS);
    let id = process.next_id();
    let handle = Arc::new(Handle { id, kind: Kind::Filter, config: config as usize, scheduler });
    process.handles.push(handle.clone());
    handle
}

/// Adds the bootstrap extension, in the main thread.
///
/// # Safety
///
/// The pointer is the argument of the hook that creates its configuration.
pub(crate) unsafe fn set_bootstrap(config: EnvoyPtr) {
    // SAFETY: the caller promises it.
    let scheduler = unsafe { abi::bootstrap_scheduler_new(config) };
    let handle = Handle { id: BOOTSTRAP, kind: Kind::Bootstrap, config: config as usize, scheduler };
    lock(&PROCESS).bootstrap = Some(Arc::new(handle));
}

/// Ends the use of the bootstrap extension, in the main thread.
pub(crate) fn remove_bootstrap() {
    let mut process = lock(&PROCESS);
    process.is_exiting = true;
    process.bootstrap = None;
    if process.handles.is_empty() {
        process.end();
    }
}

/// Returns whether Envoy exits; `None` without the bootstrap extension, which would know.
pub(crate) fn is_exiting() -> Option<bool> {
    let process = lock(&PROCESS);
    (process.bootstrap.is_some() || process.is_exiting).then_some(process.is_exiting)
}

/// Ends the use of a configuration. Envoy reports no response of its callouts any more.
///
/// The last one ends all roots, because nothing can be sent any more. With the bootstrap extension they still send, and only
/// Envoy's exit does not wait for them.
pub(crate) fn remove_handle(handle: &Handle) {
    let mut process = lock(&PROCESS);
    process.handles.retain(|known| known.id != handle.id);
    let can_send = process.bootstrap.is_some() && process.completions.is_empty();
    if process.handles.is_empty() && !can_send {
        process.end();
        if process.completions.is_empty() {
            return;
        }
    }
    drop(process);
    ticker::wake();
}

/// Schedules [`run`] on the main thread, in any thread.
pub(crate) fn schedule() {
    let process = lock(&PROCESS);
    if let Some(bootstrap) = &process.bootstrap {
        // Envoy runs until the completions are called, which this lock prevents.
        if !process.is_exiting || !process.completions.is_empty() {
            bootstrap.schedule();
        }
        return;
    }
    let newest = process.handles.last().cloned();
    // Scheduling can end a configuration.
    drop(process);
    if let Some(handle) = newest {
        handle.schedule();
    }
}

/// Creates the root of a worker.
pub(crate) fn start_root(instance: &Arc<Instance>) -> Arc<Worker> {
    let mut process = lock(&PROCESS);
    let id = process.next_id();
    let host = MainHost { handle: None, callouts: &process.callouts, root: id, interval: Cell::new(None) };
    let config = ConfigId(Arc::as_ptr(instance) as usize as u64);
    let root = Root::new(&host, instance.config.clone(), config, instance::node().clone());
    let interval = host.interval.get().unwrap_or_default();
    let worker = Arc::new(Worker::new(root.plugin()));
    let due_at = after(clock::monotonic_nanos(), interval);
    let entry =
        Entry { id, root, worker: worker.clone(), instance: Arc::downgrade(instance), due_at, interval };
    process.roots.push(entry);
    drop(process);
    ticker::due_at(due_at);
    worker
}

/// Runs the roots that are due, in the main thread.
pub(crate) fn run() {
    let mut process = lock(&PROCESS);
    process.run(clock::monotonic_nanos());
    finish(process);
}

/// Handles the response to a callout, or its failure, in the main thread.
pub(crate) fn respond(handle: u64, id: u64, response: Option<&ExportResponse>) {
    let mut process = lock(&PROCESS);
    process.respond(|callout| callout.handle == handle && callout.id == id, response);
    finish(process);
}

/// Sends all spans, in the main thread, and calls `completion` when they are delivered, or after a time-out.
pub(crate) fn shut_down(completion: extern "C" fn(EnvoyPtr), context: EnvoyPtr) {
    let mut process = lock(&PROCESS);
    let now = clock::monotonic_nanos();
    if process.completions.is_empty() {
        process.exit_at = after(now, SHUTDOWN_TIMEOUT);
    }
    process.is_exiting = true;
    process.completions.push((completion, context as usize));
    process.run(now);
    finish(process);
}

/// Ends all roots, in any thread, because Envoy exits. Their spans are dropped and counted.
pub(crate) fn end() {
    lock(&PROCESS).end();
}

/// Releases the lock, sets the ticker, and lets Envoy exit if it waits for nothing more.
fn finish(mut process: MutexGuard<'_, Process>) {
    let next = process.next_due();
    let completions = process.take_completions(clock::monotonic_nanos());
    drop(process);
    if let Some(next) = next {
        ticker::due_at(next);
    }
    for (completion, context) in completions {
        completion(context as EnvoyPtr);
    }
}

impl Process {
    const fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Returns when the next root is due, or Envoy has to exit.
    fn next_due(&self) -> Option<u64> {
        let exit = (!self.completions.is_empty()).then_some(self.exit_at);
        self.roots.iter().map(|entry| entry.due_at).chain(exit).min()
    }

    /// Takes the completions if no span is held any more, or at their time.
    fn take_completions(&mut self, now: u64) -> Vec<Completion> {
        let is_done = self.roots.iter().all(|entry| entry.root.held_spans() == 0);
        if is_done || now >= self.exit_at { std::mem::take(&mut self.completions) } else { Vec::new() }
    }

    fn run(&mut self, now: u64) {
        let is_shutdown = !self.completions.is_empty();
        let Self { bootstrap, handles, .. } = self;
        let ended: Vec<u64> = {
            let is_ended = |callout: &&Callout| {
                let mut known = bootstrap.iter().chain(handles.iter());
                known.all(|handle| handle.id != callout.handle)
            };
            self.callouts.borrow().iter().filter(is_ended).map(|callout| callout.handle).collect()
        };
        for handle in ended {
            self.respond(|callout| callout.handle == handle, None);
        }
        self.each_root(|entry, host| {
            let root = &mut entry.root;
            let is_woken = entry.worker.take_wake();
            if root.is_active() && entry.instance.strong_count() == 0 {
                return !root.on_done(host);
            }
            if root.is_active() && is_shutdown {
                root.flush(host);
                host.set_tick(SHUTDOWN_INTERVAL);
            } else if root.is_active() && (is_woken || now >= entry.due_at) {
                entry.due_at = after(now, entry.interval);
                root.on_tick(host);
            }
            true
        });
    }

    /// Passes a response on to the root of the first such callout.
    fn respond(&mut self, which: impl Fn(&Callout) -> bool, response: Option<&ExportResponse>) {
        let callout = {
            let mut callouts = self.callouts.borrow_mut();
            callouts.iter().position(which).map(|index| callouts.swap_remove(index))
        };
        let Some(Callout { root, token, .. }) = callout else { return };
        self.each_root(|entry, host| entry.id != root || !entry.root.on_response(host, token, response));
    }

    /// Runs something for each root. A root for which it returns false is done.
    fn each_root(&mut self, mut run: impl FnMut(&mut Entry, &MainHost<'_>) -> bool) {
        let Self { bootstrap, handles, roots, callouts, .. } = self;
        let now = clock::monotonic_nanos();
        roots.retain_mut(|entry| {
            let handle = bootstrap.as_ref().or(handles.last()).map(Arc::as_ref);
            let host = MainHost { handle, callouts, root: entry.id, interval: Cell::new(None) };
            let stays = run(entry, &host);
            if !stays {
                entry.root.on_delete(&host);
            }
            if let Some(interval) = host.interval.get() {
                (entry.interval, entry.due_at) = (interval, after(now, interval));
            }
            if !entry.root.is_active() {
                entry.due_at = u64::MAX;
            }
            stays
        });
    }

    /// Ends all roots. Their spans are dropped and counted.
    fn end(&mut self) {
        self.each_root(|entry, host| {
            entry.root.on_end(host);
            false
        });
        self.callouts.borrow_mut().clear();
    }
}

fn after(now: u64, interval: Duration) -> u64 {
    now.saturating_add(u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX))
}
