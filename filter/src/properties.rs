//! [`Properties`]: what Envoy tells of a request that is over.
//!
//! Each answer of the host costs a call back into the VM for its memory, the dearest thing that a filter does: what
//! every request is asked for is one list, in one answer.

use core::time::Duration;

use crate::host::{self, Expression};

/// From here on a request may have been cut off for its length, and its first byte is told.
pub(crate) const LONG: Duration = Duration::from_secs(1);

/// What Envoy tells of a request that is over; texts that it does not know are empty, numbers zero.
pub(crate) struct Properties {
    pub(crate) protocol: Vec<u8>,
    pub(crate) remote: Vec<u8>,
    pub(crate) upstream: Vec<u8>,
    pub(crate) cluster: Vec<u8>,
    pub(crate) route: Vec<u8>,
    pub(crate) code_details: Vec<u8>,
    /// The HTTP status; zero where there was none.
    pub(crate) status: u64,
    pub(crate) flags: u64,
    pub(crate) attempts: u64,
    pub(crate) request_size: u64,
    pub(crate) response_size: u64,
    /// Nanoseconds since 1970.
    pub(crate) start: u64,
    /// Nanoseconds.
    pub(crate) duration: u64,
}

impl Properties {
    /// Makes the host ready to answer [`Self::read`] at once.
    pub(crate) fn together() -> Option<Expression> {
        let mut paths = Vec::new();
        Self::gather(|path| {
            paths.push(path.replace('\0', "."));
            Vec::new()
        });
        Expression::new(&format!("[{}]", paths.join(", ")))
    }

    /// Asks for all at once, or for one after the other where one is not there: an aborted request has no status,
    /// and one that was answered here has no upstream.
    pub(crate) fn read(together: Option<&Expression>) -> Self {
        let mut properties = match together.and_then(Expression::evaluate_list) {
            Some(values) => {
                let mut values = values.iter();
                Self::gather(|_| values.next().map(|(value, _)| value.to_vec()).unwrap_or_default())
            }
            None => Self::gather(|path| host::property(path).unwrap_or_default()),
        };
        // An upstream that answered without a flag is "via_upstream", which nobody needs to be told; but an error may
        // be Envoy's own, and a bound on the time of a stream cuts it off without a flag.
        let may_be_remarkable = properties.flags != 0
            || properties.upstream.is_empty()
            || properties.status >= 400
            || properties.duration >= LONG.as_nanos() as u64;
        if may_be_remarkable {
            properties.code_details = host::property("response\0code_details").unwrap_or_default();
        }
        properties
    }

    /// What every request is asked for, in the order of the list.
    fn gather(mut value: impl FnMut(&str) -> Vec<u8>) -> Self {
        let number = |value: Vec<u8>| host::number(&value).unwrap_or_default();
        Self {
            protocol: value("request\0protocol"),
            remote: value("source\0address"),
            upstream: value("upstream\0address"),
            cluster: value("xds\0cluster_name"),
            route: value("xds\0route_name"),
            status: number(value("response\0code")),
            flags: number(value("response\0flags")),
            attempts: number(value("upstream\0request_attempt_count")),
            request_size: number(value("request\0total_size")),
            response_size: number(value("response\0total_size")),
            start: number(value("request\0time")),
            duration: number(value("request\0duration")),
            code_details: Vec::new(),
        }
    }

    /// Nanoseconds since 1970.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(self.duration)
    }
}
