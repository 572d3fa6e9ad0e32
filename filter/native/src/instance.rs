//! [`Instance`]: what equal configurations share, and [`Worker`]: its part in one worker thread.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};

use logtracer_filter::config::{Config, Direction};
use logtracer_filter::{Node, Plugin};

use crate::sync::lock;
use crate::{abi, process, ticker};

/// The filters and loggers with one configuration. Its roots end with it.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) config: Config,
}

/// What a root and its streams share. The streams run in one worker thread, the root in the main thread.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) plugin: Arc<Plugin>,
    is_woken: AtomicBool,
}

/// Returns what the environment of Envoy says about its workload.
pub(crate) fn node() -> &'static Node {
    static NODE: LazyLock<Node> = LazyLock::new(|| {
        let variable = |name| std::env::var(name).ok();
        let (name, attributes) = (variable("OTEL_SERVICE_NAME"), variable("OTEL_RESOURCE_ATTRIBUTES"));
        Node::from_environment(name.as_deref(), attributes.as_deref())
    });
    &NODE
}

static INSTANCES: Mutex<Vec<Weak<Instance>>> = Mutex::new(Vec::new());

thread_local! {
    static WORKERS: RefCell<Vec<(Weak<Instance>, Weak<Worker>)>> = const { RefCell::new(Vec::new()) };
}

impl Instance {
    /// Returns the instance of this configuration.
    ///
    /// # Errors
    ///
    /// The configuration is invalid. The text names the key and what was expected.
    pub(crate) fn of(json: &[u8]) -> Result<Arc<Self>, String> {
        let direction = if abi::is_1_40() { Direction::Known } else { Direction::Unknown };
        let config =
            Config::parse(json).and_then(|config| config.check_native(direction, node()).map(|()| config));
        // A native module cannot read labels, and no override of a valid configuration has one.
        let config = config.map_err(|error| error.to_string())?.for_node(node(), |_| None);
        let mut instances = lock(&INSTANCES);
        instances.retain(|instance| instance.strong_count() > 0);
        if let Some(known) = instances.iter().filter_map(Weak::upgrade).find(|known| known.config == config) {
            return Ok(known);
        }
        let new = Arc::new(Self { config });
        instances.push(Arc::downgrade(&new));
        Ok(new)
    }

    /// Returns the part of this thread. The first call in each thread creates its root.
    pub(crate) fn worker(self: &Arc<Self>) -> Arc<Worker> {
        WORKERS.with_borrow_mut(|workers| {
            let known = workers.iter().find(|(of, _)| std::ptr::eq(of.as_ptr(), Arc::as_ptr(self)));
            if let Some(worker) = known.and_then(|(_, worker)| worker.upgrade()) {
                return worker;
            }
            workers.retain(|(_, worker)| worker.strong_count() > 0);
            let worker = process::start_root(self);
            workers.push((Arc::downgrade(self), Arc::downgrade(&worker)));
            worker
        })
    }
}

impl Worker {
    pub(crate) const fn new(plugin: Arc<Plugin>) -> Self {
        Self { plugin, is_woken: AtomicBool::new(false) }
    }

    /// Makes the root due at once.
    pub(crate) fn wake_root(&self) {
        self.is_woken.store(true, Ordering::Release);
        ticker::wake();
    }

    /// Returns whether the root was made due since the last call.
    pub(crate) fn take_wake(&self) -> bool {
        self.is_woken.swap(false, Ordering::Acquire)
    }
}
