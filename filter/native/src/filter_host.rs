//! [`FilterHost`]: the headers of a stream, in the callbacks of the HTTP filter.

use logtracer_filter::host::{ForwardingHost, HeadersHost, HeadersOf, StreamHost};

use crate::abi::{self, EnvoyBuffer, EnvoyPtr, ModuleBuffer};
use crate::buffers::{Lines, header_map};
use crate::clock::host;

/// Envoy's filter object, during a callback for it.
#[derive(Debug)]
pub(crate) struct FilterHost(EnvoyPtr);

host!(FilterHost);

impl FilterHost {
    /// # Safety
    ///
    /// The pointer is the argument of a hook, and this value does not outlive the hook.
    pub(crate) const unsafe fn new(filter: EnvoyPtr) -> Self {
        Self(filter)
    }

    /// Returns the first line of a header as Envoy has it; absent if there is none.
    pub(crate) fn envoy_header(&self, of: HeadersOf, name: &str) -> EnvoyBuffer {
        let mut value = EnvoyBuffer::EMPTY;
        let key = ModuleBuffer::new(name.as_bytes());
        // SAFETY: the filter is valid (`new`), the name outlives the call, and Envoy writes one buffer.
        unsafe {
            abi::filter_header(self.0, header_map(of), key, &mut value, 0, core::ptr::null_mut());
        }
        value
    }
}

impl HeadersHost for FilterHost {
    type Lines = Lines;

    fn header_lines(&self, of: HeadersOf) -> Lines {
        // SAFETY: the filter is valid (`new`).
        let size = unsafe { abi::filter_headers_size(self.0, header_map(of)) };
        // SAFETY: Envoy writes at most as many lines as it has counted, and no header changes meanwhile.
        unsafe { Lines::copy(size, |out| abi::filter_headers(self.0, header_map(of), out)) }
    }

    fn header(&self, of: HeadersOf, name: &str) -> Option<Vec<u8>> {
        let value = self.envoy_header(of, name);
        // SAFETY: Envoy filled the buffer, and no header changes before the copy.
        (!value.data.is_null()).then(|| unsafe { value.as_slice() }.to_vec())
    }
}

impl StreamHost for FilterHost {
    /// The addresses of `:path` and `:method`, which all filters of a stream share. A filter can replace a path by a longer
    /// one, and another stream then gets its address, but nothing replaces a method by a text that does not fit.
    fn stream_key(&self) -> u64 {
        let address = |name| self.envoy_header(HeadersOf::Request, name).data as u64;
        address(":path") ^ address(":method").rotate_left(32)
    }

    fn is_in_stream_of(&self, key: u64) -> bool {
        key != 0 && self.stream_key() == key
    }
}

impl ForwardingHost for FilterHost {
    fn add_header(&self, of: HeadersOf, name: &str, value: &str) {
        let (name, value) = (ModuleBuffer::new(name.as_bytes()), ModuleBuffer::new(value.as_bytes()));
        // SAFETY: the filter is valid (`new`), and name and value outlive the call, which copies them.
        unsafe { abi::filter_add_header(self.0, header_map(of), name, value) };
    }

    fn replace_header(&self, of: HeadersOf, name: &str, value: &str) {
        let (name, value) = (ModuleBuffer::new(name.as_bytes()), ModuleBuffer::new(value.as_bytes()));
        // SAFETY: as above.
        unsafe { abi::filter_set_header(self.0, header_map(of), name, value) };
    }

    fn remove_header(&self, of: HeadersOf, name: &str) {
        let name = ModuleBuffer::new(name.as_bytes());
        // SAFETY: as above. Without a value the header is removed.
        unsafe { abi::filter_set_header(self.0, header_map(of), name, ModuleBuffer::ABSENT) };
    }
}
