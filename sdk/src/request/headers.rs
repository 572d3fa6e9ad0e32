//! [`RequestHeaders`]: the headers of a request that this crate reads, found in one pass.

use http::HeaderMap;
use logtracer_core::propagation::{Header, TraceHeaders};
use logtracer_core::request::grpc;

/// The values of some headers. A header that is absent is empty, and of several lines the first non-empty one counts.
#[derive(Debug, Default)]
pub(crate) struct RequestHeaders<'a> {
    pub(crate) host: &'a [u8],
    pub(crate) user_agent: &'a [u8],
    pub(crate) referer: &'a [u8],
    pub(crate) content_type: &'a [u8],
    pub(crate) content_length: &'a [u8],
    pub(crate) grpc_timeout: &'a [u8],
    pub(crate) request_id: &'a [u8],
    /// The trace headers of bbc/logtracer for gRPC.
    pub(crate) b3_values: &'a [u8],
    /// Lines of these are joined, so that they are read from the map.
    pub(crate) has_baggage: bool,
    pub(crate) has_forwarded_for: bool,
    pub(crate) has_forwarded_proto: bool,
}

impl<'a> RequestHeaders<'a> {
    /// Reads the headers of a call.
    #[cfg_attr(not(feature = "client"), allow(dead_code))]
    pub(crate) fn of_call(headers: &'a HeaderMap) -> Self {
        Self::read(headers, |_, _| {})
    }

    /// Reads the headers of a request that comes in, and its trace headers.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn with_trace(headers: &'a HeaderMap) -> (Self, TraceHeaders<'a>) {
        let mut trace = TraceHeaders::default();
        let headers = Self::read(headers, |header, value| trace.push(header, value));
        (headers, trace)
    }

    fn read(headers: &'a HeaderMap, mut push_trace: impl FnMut(Header, &'a [u8])) -> Self {
        let mut known = Self::default();
        for (name, value) in headers {
            let value = value.as_bytes();
            // Names of `http` are in lower case. The compiler makes a decision tree of this.
            let slot = match name.as_str() {
                "host" => &mut known.host,
                "user-agent" => &mut known.user_agent,
                "referer" => &mut known.referer,
                "content-type" => &mut known.content_type,
                "content-length" => &mut known.content_length,
                "grpc-timeout" => &mut known.grpc_timeout,
                "x-request-id" => &mut known.request_id,
                "b3-values" => &mut known.b3_values,
                "baggage" => {
                    known.has_baggage = true;
                    continue;
                }
                "x-forwarded-for" => {
                    known.has_forwarded_for = true;
                    continue;
                }
                "x-forwarded-proto" => {
                    known.has_forwarded_proto = true;
                    continue;
                }
                other => {
                    if let Some(header) = Header::from_lower_case(other.as_bytes()) {
                        push_trace(header, value);
                    }
                    continue;
                }
            };
            if slot.is_empty() {
                *slot = value;
            }
        }
        known
    }

    /// Returns true for the content types of gRPC.
    pub(crate) fn is_grpc(&self) -> bool {
        grpc::is_content_type(self.content_type)
    }
}
