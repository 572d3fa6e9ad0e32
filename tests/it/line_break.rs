//! The two formats of Envoy's access log for the filter's line, and what happens if `line_break` does not agree with the
//! format (docs/configuration.md).

use std::fs;
use std::path::Path;

use logtracer_harness::hop::Hop;
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::shell::{self, Shell};
use logtracer_harness::wire::Connection;
use logtracer_harness::{envoy, lines, wait};
use serde_json::{Value, json};

use crate::header;

/// A listener and what its access log contains after a request with a line, a request without one, and another one with
/// a line. `L` stands for a line.
struct Case {
    listener: &'static str,
    line_break: bool,
    format: &'static str,
    omits_empty_values: bool,
    has_expression: bool,
    expected: &'static str,
}

const CASES: [Case; 5] = [
    Case {
        listener: "default",
        line_break: false,
        format: "%FILTER_STATE(wasm.logtracer:PLAIN)%\n",
        omits_empty_values: false,
        has_expression: true,
        expected: "L\nL\n",
    },
    Case {
        listener: "own",
        line_break: true,
        format: "%FILTER_STATE(wasm.logtracer:PLAIN)%",
        omits_empty_values: true,
        has_expression: false,
        expected: "L\nL\n",
    },
    Case {
        listener: "twice",
        line_break: true,
        format: "%FILTER_STATE(wasm.logtracer:PLAIN)%\n",
        omits_empty_values: false,
        has_expression: true,
        expected: "L\n\nL\n\n",
    },
    Case {
        listener: "never",
        line_break: false,
        format: "%FILTER_STATE(wasm.logtracer:PLAIN)%",
        omits_empty_values: true,
        has_expression: false,
        expected: "LL",
    },
    Case {
        listener: "dashes",
        line_break: true,
        format: "%FILTER_STATE(wasm.logtracer:PLAIN)%",
        omits_empty_values: false,
        has_expression: false,
        expected: "L\n-L\n",
    },
];

#[test]
fn each_line_ends_once_if_key_and_format_agree() {
    shell::select(Shell::Wasm);
    let dir = tempfile::tempdir().unwrap();
    let listeners = CASES.map(|case| {
        let manager = json!({ "access_log": [access_log(&case, &dir.path().join(case.listener))] });
        let filter = json!({ "line_break": case.line_break, "exclude": { "log": true } });
        Listener { manager, ..Listener::new(case.listener, filter) }
    });
    let proxy = Proxy::start(json!({ "id": "n", "cluster": "c" }), &listeners, 1).unwrap();
    for case in &CASES {
        let mut connection = Connection::open(proxy.address(case.listener)).unwrap();
        for agent in ["lynx", "kube-probe/1", "lynx"] {
            let request = format!("GET /origin/ok HTTP/1.1\r\nhost: shop\r\nuser-agent: {agent}\r\n\r\n");
            connection.send(request).unwrap();
            assert_eq!(connection.response().unwrap().status(), 200);
        }
        let log = dir.path().join(case.listener);
        let is_expected = || (outline(&log).as_deref() == Some(case.expected)).then_some(());
        wait::until(&format!("{:?} of {}", case.expected, case.listener), is_expected).unwrap();
    }
}

fn access_log(case: &Case, path: &Path) -> Value {
    let mut log = json!({
        "name": "logtracer",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "log_format": {
                "text_format_source": { "inline_string": case.format },
                "omit_empty_values": case.omits_empty_values,
            },
        },
    });
    if case.has_expression {
        log["filter"] = json!({ "extension_filter": { "name": "has-line", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            "expression": "'wasm.logtracer' in filter_state",
        } } });
    }
    log
}

/// Returns the content of a log with `L` in place of each line; `None` if its last line is not complete.
fn outline(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).unwrap();
    let (mut outline, mut rest) = (String::new(), text.as_str());
    while let Some((before, line)) = rest.find('{').map(|at| rest.split_at(at)) {
        let mut objects = serde_json::Deserializer::from_str(line).into_iter::<Value>();
        objects.next()?.ok()?;
        outline.extend([before, "L"]);
        rest = &line[objects.byte_offset()..];
    }
    Some(outline + rest)
}

#[test]
fn the_native_module_ends_each_line_once() {
    if envoy::version().unwrap() < (1, 38) {
        return;
    }
    shell::select(Shell::Native);
    for line_break in [false, true] {
        let hop = Hop::start(json!({ "line_break": line_break })).unwrap();
        for _ in 0..2 {
            hop.echo([header("user-agent", "lynx")]).unwrap();
        }
        hop.envoy.lines(2).unwrap();
        assert_eq!(lines::raw(hop.envoy.stdout()).unwrap().len(), 2, "{line_break}");
    }
}
