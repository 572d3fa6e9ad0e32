//! The module from the exporter: a proxy without a registry downloads it, and accepts only the expected digest.

use logtracer_harness::exporter::Exporter;
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::wire::Connection;
use logtracer_harness::{envoy, lines, wait};
use serde_json::{Value, json};

use crate::text;

/// Returns the HTTP filters with the module from the cluster `exporter`.
fn filters(address: &str, sha256: &str) -> Value {
    json!([
        { "name": "logtracer", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "logtracer",
                "root_id": "logtracer",
                "fail_open": true,
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "remote": {
                        "http_uri": {
                            "uri": format!("http://{address}/plugin.wasm"),
                            "cluster": "exporter",
                            "timeout": "10s",
                        },
                        "sha256": sha256,
                    } },
                },
            },
        } },
        { "name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        } },
    ])
}

#[test]
fn a_proxy_downloads_the_module_from_the_exporter() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = envoy::plugin().unwrap();
    let options = ["--module".to_owned(), plugin.display().to_string()];
    let exporter = Exporter::start_with(&options, dir.path()).unwrap();
    let address = exporter.http().to_string();
    let url = format!("http://{address}/plugin.wasm.sha256");
    let digest = envoy::client().unwrap().get(url).send().unwrap().text().unwrap();
    let digest = digest.split(' ').next().unwrap().to_owned();

    let node = json!({ "id": "n", "cluster": "shop" });
    let listener = |name, sha256: &str| Listener {
        manager: json!({
            "http_filters": filters(&address, sha256),
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
                { "match": { "prefix": "/" }, "direct_response": { "status": 429 } },
            ] }] },
        }),
        ..Listener::new(name, json!({}))
    };
    let listeners = [listener("good", &digest), listener("bad", &"0".repeat(64))];
    let proxy = Proxy::start_before(node, &listeners, &[("exporter", exporter.http().port())]).unwrap();
    for name in ["bad", "good"] {
        wait::until("a response", || {
            let mut connection = Connection::open(proxy.address(name)).ok()?;
            connection.send("GET /limited HTTP/1.1\r\nhost: shop\r\n\r\n").ok()?;
            Some(()).filter(|()| connection.response().is_ok_and(|response| response.status() == 429))
        })
        .unwrap();
    }
    let found = wait::try_until("a line", || {
        lines::read(proxy.envoy.stdout()).map(|found| Some(found).filter(|found| !found.is_empty()))
    })
    .unwrap();
    assert_eq!(found.len(), 1, "a module with another digest was loaded: {found:#?}");
    assert!(text(&found[0], "/message").starts_with("shop - GET - http://shop/limited"), "{found:#?}");
}
