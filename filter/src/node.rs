//! What Envoy knows about itself: the name of its service, and the side of a request that a listener is on.

use logtracer_core::span::SpanKind;

use crate::hostcalls;

/// Returns the name of the service: Istio's canonical service, or else the cluster of the node.
pub(crate) fn service_name() -> Option<String> {
    const CANONICAL_SERVICE: &str = "xds\0node\0metadata\0LABELS\0service.istio.io/canonical-name";
    const APP: &str = "xds\0node\0metadata\0LABELS\0app";
    const CLUSTER: &str = "xds\0node\0cluster";
    [CANONICAL_SERVICE, APP, CLUSTER]
        .into_iter()
        .filter_map(hostcalls::property)
        .map(|name| String::from_utf8_lossy(&name).into_owned())
        .find(|name| !name.is_empty())
}

/// Returns the kind of a listener's spans: `Client` if it is outbound, otherwise `Server`.
///
/// The listeners of Istio's gateways are outbound, too, but a gateway is a server for its callers.
/// The host knows the direction only inside a stream; it is the same for all streams of a root.
pub(crate) fn listener_kind() -> SpanKind {
    const OUTBOUND: u64 = 2;
    let is_outbound = hostcalls::number_property("xds\0listener_direction") == Some(OUTBOUND);
    if is_outbound && !is_gateway() { SpanKind::Client } else { SpanKind::Server }
}

/// Returns whether the node is a gateway: Istio's node ids are `sidecar~<ip>~<pod>~<domain>` and `router~…`.
fn is_gateway() -> bool {
    hostcalls::property("xds\0node\0id").is_some_and(|id| id.starts_with(b"router~"))
}
