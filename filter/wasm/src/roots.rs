//! [`Roots`]: the plugin configurations of one worker, and which of them a stream belongs to.

use logtracer_filter::Root;

use crate::host::{self, WasmHost};
use crate::{hostcalls, metric_ids};

/// The roots of one worker, one for each plugin configuration. A replaced one stays until it has sent its spans.
#[derive(Debug, Default)]
pub(crate) struct Roots {
    /// Those that Envoy knows, in the order of their configuration.
    current: Vec<Entry>,
    /// Those that Envoy has deleted.
    ended: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u32,
    configuration: Vec<u8>,
    root: Root,
    host: WasmHost,
}

impl Roots {
    /// Configures a root. Returns false if the configuration is invalid.
    pub(crate) fn configure(&mut self, id: u32) -> bool {
        let host = WasmHost::new(id);
        metric_ids::define();
        let configuration = hostcalls::plugin_configuration();
        self.end(id);
        let Some(root) = Root::configure(&host, &configuration) else { return false };
        self.current.push(Entry { id, configuration, root, host });
        true
    }

    fn get_mut(&mut self, id: u32) -> Option<(&mut Root, &WasmHost)> {
        let entry = self.current.iter_mut().find(|entry| entry.id == id)?;
        Some((&mut entry.root, &entry.host))
    }

    /// Returns the root of the stream whose callback runs.
    pub(crate) fn of_stream(&self) -> Option<(&Root, &WasmHost)> {
        let mut active = self.current.iter().filter(|entry| entry.root.is_active());
        let newest = active.next_back()?;
        // Envoy before 1.40 has a root for each listener. Those with the same configuration are interchangeable.
        let is_certain = active.all(|entry| entry.configuration == newest.configuration);
        let of_stream = || {
            let id = self.current.iter().find_map(|entry| entry.host.root_of_stream())?;
            self.current.iter().find(|entry| entry.id == id)
        };
        let entry = if is_certain { newest } else { of_stream().unwrap_or(newest) };
        Some((&entry.root, &entry.host))
    }

    pub(crate) fn on_tick(&mut self, id: u32) {
        // A stream of a deleted root may have left a span. Its metrics are passed on by this root.
        self.ended.retain_mut(|entry| {
            entry.root.on_delete(&entry.host);
            entry.root.has_streams()
        });
        if let Some((root, host)) = self.get_mut(id) {
            root.on_tick(host);
        }
    }

    /// Handles the response to a callout, in the callback for it.
    pub(crate) fn on_response(&mut self, id: u32, token: u32, has_headers: bool, body_size: usize) {
        let Some((root, host)) = self.get_mut(id) else { return };
        let response = host::export_response(has_headers, body_size);
        if root.on_response(host, token, response.as_ref()) {
            hostcalls::done();
            self.end(id);
        }
    }

    /// Ends a root. Returns false if it waits for its callouts. The VM, and with it every callout, ends with its last
    /// root: then nothing more can be delivered.
    pub(crate) fn on_done(&mut self, id: u32) -> bool {
        let is_last = self.current.iter().all(|entry| entry.id == id || !entry.root.is_active());
        let Some((root, host)) = self.get_mut(id) else { return true };
        if !is_last {
            let is_done = root.on_done(host);
            if is_done {
                self.end(id);
            }
            return is_done;
        }
        for entry in self.current.iter_mut().chain(&mut self.ended) {
            entry.root.on_end(&entry.host);
        }
        true
    }

    /// Envoy deletes the root.
    fn end(&mut self, id: u32) {
        if let Some(at) = self.current.iter().position(|entry| entry.id == id) {
            self.ended.push(self.current.remove(at));
        }
    }
}
