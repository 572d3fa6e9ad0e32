//! What a layer may send to a host: the trace and baggage, or nothing.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use logtracer_core::TraceContext;
use logtracer_core::propagation::Propagator;

use super::inject::{Headers, inject_with};
use super::layer::Options;
use crate::current::{carried_beside, current_trace};
use crate::request::RequestHeaders;

pub(super) const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const B3_VALUES: HeaderName = HeaderName::from_static("b3-values");

impl Options {
    /// Writes the current trace into the headers of a request, or removes what must not leave.
    pub(super) fn inject(&self, uri: &Uri, headers: &mut HeaderMap) {
        if !self.is_allowed(uri) {
            return strip(headers);
        }
        inject_with(&self.propagator, headers);
        if let Some(keys) = &self.baggage_keys {
            retain_baggage(keys, headers);
        }
        if self.writes_b3_values {
            self.inject_b3_values(headers);
        }
    }

    fn is_allowed(&self, uri: &Uri) -> bool {
        let Some(hosts) = &self.hosts else { return true };
        let authority = uri.authority().or_else(|| self.peer.as_ref().and_then(Uri::authority));
        // The host has no credentials; a port, and the brackets of an IPv6 address, are those of a list as well.
        authority.is_some_and(|authority| hosts.contains(authority.host()))
    }

    fn inject_b3_values(&self, headers: &mut HeaderMap) {
        if let Some(context) = current_trace().filter(|_| self.log.is_grpc(&RequestHeaders::of_call(headers)))
        {
            if let Ok(value) = HeaderValue::try_from(b3_values(&context)) {
                headers.insert(B3_VALUES, value);
            }
        }
    }
}

/// Removes the trace and what goes with it.
fn strip(headers: &mut HeaderMap) {
    Propagator::strip(&mut Headers(headers));
    headers.remove(BAGGAGE);
    headers.remove(B3_VALUES);
    // An id of the request itself stays, that of the request that is being served goes.
    let carried = current_trace().and_then(|context| carried_beside(context.trace_id));
    let carried_id = carried.as_ref().and_then(|carried| carried.request_id.as_deref());
    let Some(carried_id) = carried_id else { return };
    let has_carried = headers.get_all(X_REQUEST_ID).iter().any(|id| id == carried_id);
    if has_carried {
        let kept: Vec<_> =
            headers.get_all(X_REQUEST_ID).iter().filter(|id| *id != carried_id).cloned().collect();
        headers.remove(X_REQUEST_ID);
        for id in kept {
            headers.append(X_REQUEST_ID, id);
        }
    }
}

/// Keeps the members of `baggage` with these keys.
///
/// <https://www.w3.org/TR/baggage/#header-content>
fn retain_baggage(keys: &[String], headers: &mut HeaderMap) {
    let lines = headers.get_all(BAGGAGE).iter().filter_map(|line| line.to_str().ok());
    let members = lines.flat_map(|line| line.split(',')).map(str::trim);
    let kept: Vec<_> = members
        .filter(|member| {
            let key = member.split(['=', ';']).next().unwrap_or_default().trim();
            keys.iter().any(|allowed| allowed == key)
        })
        .collect();
    let kept = kept.join(",");
    headers.remove(BAGGAGE);
    if let (false, Ok(kept)) = (kept.is_empty(), HeaderValue::try_from(kept)) {
        headers.insert(BAGGAGE, kept);
    }
}

fn b3_values(context: &TraceContext) -> String {
    let mut json =
        format!("{{\"X-B3-TraceId\": \"{}\", \"X-B3-SpanId\": \"{}\"", context.trace_id, context.span_id);
    if let Some(parent) = context.parent_span_id {
        json.push_str(&format!(", \"X-B3-ParentSpanId\": \"{parent}\""));
    }
    if context.sampling.is_decided() {
        let sampled = if context.sampling.is_sampled() { "1" } else { "0" };
        json.push_str(&format!(", \"X-B3-Sampled\": \"{sampled}\""));
    }
    json.push('}');
    json
}
