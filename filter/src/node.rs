//! What Envoy knows of itself: the name of the service it stands before, and on which side of it.

use logtracer_core::span::SpanKind;

use crate::host;

/// The name of the service: Istio's canonical service, else the cluster that the node belongs to.
pub(crate) fn service_name() -> Option<String> {
    const CANONICAL_SERVICE: &str = "xds\0node\0metadata\0LABELS\0service.istio.io/canonical-name";
    const APP: &str = "xds\0node\0metadata\0LABELS\0app";
    const CLUSTER: &str = "xds\0node\0cluster";
    [CANONICAL_SERVICE, APP, CLUSTER]
        .into_iter()
        .filter_map(host::property)
        .map(|name| String::from_utf8_lossy(&name).into_owned())
        .find(|name| !name.is_empty())
}

/// The kind of the spans of a listener: calls that leave are the client's side, all others the server's.
///
/// Istio calls the listeners of its gateways outbound, too, but a gateway serves those who come from outside.
/// Known only inside a stream; the same for all streams of one root.
pub(crate) fn kind_of_listener() -> SpanKind {
    const OUTBOUND: u64 = 2;
    let is_outbound = host::number_property("xds\0listener_direction") == Some(OUTBOUND);
    if is_outbound && !is_gateway() { SpanKind::Client } else { SpanKind::Server }
}

/// Istio's node ids are `sidecar~<ip>~<pod>~<domain>` and `router~…`.
fn is_gateway() -> bool {
    host::property("xds\0node\0id").is_some_and(|id| id.starts_with(b"router~"))
}
