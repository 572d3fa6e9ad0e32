//! A panic in a hook of the native module. `scripts/native-build --panic-test` builds a module that panics on some
//! paths, by the same compiler and linker as the one for users.

use std::fs;
use std::process::Command;

use logtracer_harness::envoy::{self, Envoy, root};
use logtracer_harness::exporter::Exporter;
use logtracer_harness::origin::Origin;
use logtracer_harness::shell::{self, Shell};
use logtracer_harness::{ports, wait};

/// The request passes, and the panic is counted. It costs the line and the span of that request, and nothing else.
#[test]
fn a_panic_in_a_hook_lets_the_request_pass() {
    shell::select(Shell::Native);
    let folder = root().join("build/native/panic-test");
    assert!(folder.is_dir(), "no {}: run scripts/native-build --panic-test", folder.display());

    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start().unwrap();
    let exporter = Exporter::start("127.0.0.1:0", &[], dir.path()).unwrap();
    let (entrance, admin) = (ports::reserve().unwrap(), ports::reserve().unwrap());
    let config = envoy::reference(entrance, admin, origin.http().port(), exporter.http().port()).unwrap();
    let mut env = Command::new("env");
    env.arg(format!("ENVOY_DYNAMIC_MODULES_SEARCH_PATH={}", folder.display()));
    let envoy = Envoy::start_under(env, &config, admin, dir.path()).unwrap();

    let client = envoy::client().unwrap();
    let paths = ["/origin/ok", "/origin/ok?in-filter", "/origin/ok?in-logger", "/origin/ok"];
    for path in paths {
        let response = client.get(format!("http://127.0.0.1:{entrance}{path}")).send().unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
    wait::until("the panics as a metric", || {
        let stat = |name: &str| envoy.stat(&shell::metric(name)).unwrap();
        Some(()).filter(|()| stat("panics") == 2 && stat("lines") == 2 && stat("spans_sent") == 2)
    })
    .unwrap();
    assert_eq!(envoy.lines(2).unwrap().len(), 2);
    for hook in ["filter", "logger"] {
        let message = format!("logtracer: panic in a callback: asked for in-{hook}");
        assert!(envoy.errors().contains(&message), "{}", envoy.errors());
    }
    // The module brings its own unwinder.
    let libraries = fs::read_to_string(format!("/proc/{}/maps", envoy.id())).unwrap();
    assert!(libraries.contains("liblogtracer.so"), "{libraries}");
    assert!(!libraries.contains("libgcc_s"), "{libraries}");
}
