//! What Envoy knows about itself: the name of its service, and its role in the mesh.

use logtracer_filter::host::Node;

use crate::hostcalls;

/// Reads both.
pub(crate) fn read() -> Node {
    Node { service_name: service_name(), is_gateway: is_gateway() }
}

/// Returns the name of the service: Istio's canonical service, or else the cluster of the node.
fn service_name() -> Option<String> {
    const CANONICAL_SERVICE: &str = "xds\0node\0metadata\0LABELS\0service.istio.io/canonical-name";
    const APP: &str = "xds\0node\0metadata\0LABELS\0app";
    const CLUSTER: &str = "xds\0node\0cluster";
    [CANONICAL_SERVICE, APP, CLUSTER]
        .into_iter()
        .filter_map(hostcalls::property)
        .map(|name| String::from_utf8_lossy(&name).into_owned())
        .find(|name| !name.is_empty())
}

/// Returns whether the node is a gateway: Istio's node ids are `sidecar~<ip>~<pod>~<domain>` and `router~…`.
fn is_gateway() -> bool {
    hostcalls::property("xds\0node\0id").is_some_and(|id| id.starts_with(b"router~"))
}
