//! [`FakeHost`]: a host whose headers, measurements and clock a test sets.

use core::cell::{Cell, RefCell};
use core::time::Duration;

use crate::host::{
    ExportRequest, ForwardingHost, HeaderLines, HeadersHost, HeadersOf, Host, LogHost, LogLevel, NodeHost,
    RootHost, StreamHost,
};
use crate::{Metric, Properties};

/// Header lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Vec<(Vec<u8>, Vec<u8>)>);

impl Lines {
    /// Returns the values of a header.
    pub(crate) fn values_of(&self, name: &str) -> impl Iterator<Item = &str> {
        let lines = self.0.iter().filter(move |(known, _)| known == name.as_bytes());
        lines.map(|(_, value)| core::str::from_utf8(value).unwrap())
    }
}

/// A host for one request and one root.
#[derive(Debug, Default)]
pub(crate) struct FakeHost {
    pub(crate) headers: RefCell<[Lines; 3]>,
    pub(crate) properties: Properties<'static>,
    pub(crate) code_details: &'static [u8],
    /// How often the details were read.
    pub(crate) reads_of_code_details: Cell<u32>,
    pub(crate) backend_latency: Option<u64>,
    pub(crate) has_no_random_generator: bool,
    pub(crate) now: Cell<u64>,
    pub(crate) lines: RefCell<Vec<String>>,
    /// How many lines were skipped.
    pub(crate) skipped: Cell<u32>,
    pub(crate) wakes: Cell<u32>,
    pub(crate) tick: Cell<Duration>,
    /// The bodies of the callouts. Their tokens are 0, 1, 2…
    pub(crate) sent: RefCell<Vec<Vec<u8>>>,
    /// The clusters and authorities of the callouts.
    pub(crate) sent_to: RefCell<Vec<(String, String)>>,
    pub(crate) has_no_cluster: bool,
    pub(crate) metrics: RefCell<Vec<(Metric, i64)>>,
    pub(crate) logged: RefCell<Vec<String>>,
    /// The texts of the node, by their paths: `metadata NAMESPACE`.
    pub(crate) node: &'static [(&'static str, &'static str)],
    pub(crate) plugin_name: Option<&'static str>,
    /// The stream of this host's request. Hosts with the same number are filters of one stream.
    pub(crate) stream: u64,
}

impl FakeHost {
    /// Creates a host with these headers of the request.
    pub(crate) fn with_request(lines: &[(&str, &str)]) -> Self {
        let host = Self::default();
        host.set(HeadersOf::Request, lines);
        host
    }

    pub(crate) fn set(&self, of: HeadersOf, lines: &[(&str, &str)]) {
        let lines = lines.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        self.headers.borrow_mut()[of as usize] = Lines(lines.collect());
    }

    pub(crate) fn text(&self, of: HeadersOf, name: &str) -> Option<String> {
        self.header(of, name).map(|value| String::from_utf8(value).unwrap())
    }
}

impl Host for FakeHost {
    fn unix_nanos(&self) -> u64 {
        1_700_000_000_000_000_000 + self.now.get()
    }

    fn monotonic_nanos(&self) -> u64 {
        self.now.get()
    }

    fn random<const N: usize>(&self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        // Different bytes in each call.
        let seed = self as *const Self as usize as u64 ^ self.now.get().rotate_left(17);
        let mut state = seed.wrapping_add(1);
        for byte in &mut bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
        (!self.has_no_random_generator).then_some(bytes)
    }

    fn log(&self, _: LogLevel, message: &str) {
        self.logged.borrow_mut().push(message.to_owned());
    }
}

impl HeaderLines for Lines {
    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }
}

impl HeadersHost for FakeHost {
    type Lines = Lines;

    fn header_lines(&self, of: HeadersOf) -> Lines {
        self.headers.borrow()[of as usize].clone()
    }

    fn header(&self, of: HeadersOf, name: &str) -> Option<Vec<u8>> {
        let lines = self.headers.borrow();
        let line = lines[of as usize].0.iter().find(|(known, _)| known == name.as_bytes());
        line.map(|(_, value)| value.clone())
    }
}

impl ForwardingHost for FakeHost {
    fn add_header(&self, of: HeadersOf, name: &str, value: &str) {
        assert_eq!(self.text(of, name), None, "{name} is added to lines of the same name");
        self.append_header(of, name, value);
    }

    fn append_header(&self, of: HeadersOf, name: &str, value: &str) {
        self.headers.borrow_mut()[of as usize].0.push((name.into(), value.into()));
    }

    fn replace_header(&self, of: HeadersOf, name: &str, value: &str) {
        self.remove_header(of, name);
        self.add_header(of, name, value);
    }

    fn remove_header(&self, of: HeadersOf, name: &str) {
        self.headers.borrow_mut()[of as usize].0.retain(|(known, _)| known != name.as_bytes());
    }
}

impl StreamHost for FakeHost {
    fn stream_key(&self) -> u64 {
        self.stream
    }

    fn is_in_stream_of(&self, key: u64) -> bool {
        self.stream != 0 && self.stream == key
    }
}

impl NodeHost for FakeHost {
    fn node_text(&self, path: &[&str]) -> Option<String> {
        let path = path.join(" ");
        self.node.iter().find(|(known, _)| *known == path).map(|(_, text)| (*text).to_owned())
    }

    fn plugin_name(&self) -> Option<String> {
        self.plugin_name.map(str::to_owned)
    }
}

impl LogHost for FakeHost {
    fn with_properties<R>(&self, run: impl FnOnce(&Properties<'_>) -> R) -> R {
        run(&self.properties)
    }

    fn code_details(&self) -> Vec<u8> {
        self.reads_of_code_details.set(self.reads_of_code_details.get() + 1);
        self.code_details.to_vec()
    }

    fn backend_latency_nanos(&self) -> Option<u64> {
        self.backend_latency
    }

    fn write_line(&self, line: Vec<u8>) -> bool {
        self.lines.borrow_mut().push(String::from_utf8(line).unwrap());
        true
    }

    fn skip_line(&self) {
        self.skipped.set(self.skipped.get() + 1);
    }

    fn wake_root(&self) {
        self.wakes.set(self.wakes.get() + 1);
    }
}

impl RootHost for FakeHost {
    fn add_to_metric(&self, metric: Metric, amount: i64) {
        self.metrics.borrow_mut().push((metric, amount));
    }

    fn set_tick(&self, interval: Duration) {
        self.tick.set(interval);
    }

    fn send(&self, request: &ExportRequest<'_>) -> Option<u32> {
        if self.has_no_cluster {
            return None;
        }
        let authority = request.headers.iter().find(|(name, _)| *name == ":authority");
        let authority = authority.map_or("", |(_, value)| value);
        self.sent_to.borrow_mut().push((request.cluster.to_owned(), authority.to_owned()));
        let mut sent = self.sent.borrow_mut();
        sent.push(request.body.to_vec());
        Some(sent.len() as u32 - 1)
    }
}
