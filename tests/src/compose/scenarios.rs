//! Checks while every part of the stack is up.

use logtracer_demo::mesh::PROJECT;
use logtracer_demo::requests::{REQUESTS, Request, spans_with};
use logtracer_demo::story::check_linked;
use logtracer_harness::store::Span;
use logtracer_harness::{Error, Result, cases, envoy, lines as log_lines, wait};
use serde_json::{Value, json};

use super::Summary;
use super::docker::docker;
use super::log_check::faults;
use super::stack::{PAGE_LOG, PAGE_LOG_BYTES, SERVICES, Stack};

/// Checks the health and the security settings of each container.
pub(super) fn containers(stack: &Stack) -> Summary {
    let services = || SERVICES.into_iter().chain([PAGE_LOG]);
    for service in services() {
        let container = stack.container(service)?;
        let text = docker(&["inspect", &container])?;
        let inspected: Value = serde_json::from_str(&text).map_err(Error::when("docker inspect"))?;
        let of = |pointer: &str| inspected.pointer(pointer).unwrap_or(&Value::Null);
        for (pointer, expected) in [
            ("/0/Config/User", json!("65532:65532")),
            ("/0/HostConfig/ReadonlyRootfs", json!(true)),
            ("/0/HostConfig/Privileged", json!(false)),
            ("/0/HostConfig/CapDrop", json!(["ALL"])),
            ("/0/HostConfig/CapAdd", Value::Null),
            ("/0/HostConfig/SecurityOpt", json!(["no-new-privileges:true"])),
        ] {
            if *of(pointer) != expected {
                return Err(Error::new(format!("{pointer} of {service} is {}, not {expected}", of(pointer))));
            }
        }
        // An image of Envoy may have no health check. The stack has waited for its readiness.
        let has_no_check =
            service == PAGE_LOG || (service == "envoy" && of("/0/Config/Healthcheck").is_null());
        if !has_no_check {
            wait::try_until(&format!("health of {service}"), || {
                Ok((stack.health(service)? == "healthy").then_some(()))
            })?;
        }
    }
    Ok(format!("{} containers", services().count()))
}

/// Sends every row of the shared tables: headers of callers, and headers that logtracer writes.
pub(super) fn headers(stack: &Stack) -> Summary {
    #[derive(serde::Deserialize)]
    struct Echo {
        headers: Vec<(String, String)>,
    }
    let mut cases = cases::all()?;
    cases.extend(cases::injected()?);
    let client = envoy::client()?;
    for case in &cases {
        let mut request = client.get(format!("{}/echo", stack.entrance()));
        for (name, value) in case.sent() {
            request = request.header(name, value);
        }
        let answer = request.send().and_then(|answer| answer.json());
        let echo: Echo = answer.map_err(Error::when(case.name))?;
        case.check(&echo.headers)?;
    }
    Ok(format!("{} rows", cases.len()))
}

/// Checks the responses to the demo's callers, the links of their spans and the lines of every program. It runs before
/// any other check sends requests, because the callers bring their own trace ids.
pub(super) fn spans(stack: &Stack) -> Summary {
    for request in REQUESTS {
        let answer = request.send(&stack.entrance())?;
        let trace = stack.store().wait_for_trace(&answer.trace_id, request.spans(), 0)?;
        check_linked(&trace, request.parent).map_err(Error::when(request.path))?;
        for (service, least) in [("envoy", request.spans()), ("frontend", 1), ("backend", 1)] {
            wait::try_until(&format!("{least} lines of {service} in trace {}", answer.trace_id), || {
                let of_trace = |line: &Value| log_lines::trace_id(line) == Some(answer.trace_id.as_str());
                let found = stack.lines(service)?.iter().filter(|line| of_trace(line)).count();
                Ok((found >= least).then_some(()))
            })?;
        }
    }
    let spans: usize = REQUESTS.iter().map(Request::spans).sum();
    Ok(format!("{} requests, {spans} spans, the lines of each", REQUESTS.len()))
}

/// Checks that the list has the traces of the callers, and each page its services and the lines of the proxies.
pub(super) fn page(stack: &Stack) -> Summary {
    let store = stack.store();
    let client = envoy::client()?;
    let get = |path: &str| -> Result<String> {
        let url = format!("{}{path}", store.page);
        let answer = client.get(&url).send().and_then(|answer| answer.error_for_status()?.text());
        answer.map_err(Error::when(url))
    };
    let traces = store.traces(REQUESTS.len())?;
    if traces.len() < REQUESTS.len() {
        return Err(Error::new(format!("the store lists {} traces of {}", traces.len(), REQUESTS.len())));
    }
    let list = get("")?;
    for trace in &traces {
        let path = format!("trace/{}", trace.trace_id);
        if !list.contains(&path) {
            return Err(Error::new(format!("the list has no {path}")));
        }
        store.wait_for_trace(&trace.trace_id, spans_with(1), spans_with(1))?;
        let shown = get(&path)?;
        for text in [trace.trace_id.as_str(), "frontend", "backend", "GET - http"] {
            if !shown.contains(text) {
                return Err(Error::new(format!("{path} has no {text}")));
            }
        }
    }
    Ok(format!("{} traces", traces.len()))
}

/// Checks that Cloud Trace has each span of the callers that the store has, and has rejected no request.
pub(super) fn cloud_trace(stack: &Stack) -> Summary {
    #[derive(serde::Deserialize)]
    struct Spans {
        names: Vec<String>,
        rejected: Vec<String>,
    }
    let store = stack.store();
    let mut expected = Vec::new();
    for request in REQUESTS {
        let Some(trace_id) = request.trace_id() else { continue };
        let trace = store.wait_for_trace(trace_id, request.spans(), 0)?;
        let name = |span: &Span| format!("projects/{PROJECT}/traces/{trace_id}/spans/{}", span.span_id);
        expected.extend(trace.spans.iter().map(name));
    }
    let client = envoy::client()?;
    wait::try_until("the spans at Cloud Trace", || {
        let answer = client.get(stack.cloud_trace()).send().and_then(|answer| answer.json());
        let spans: Spans = answer.map_err(Error::when("Cloud Trace"))?;
        if let Some(mistake) = spans.rejected.first() {
            return Err(Error::new(format!("Cloud Trace has rejected {}: {mistake}", spans.rejected.len())));
        }
        let all = expected.iter().all(|name| spans.names.contains(name));
        Ok(all.then(|| format!("{} of the callers, {} in all", expected.len(), spans.names.len())))
    })
}

/// Checks that the file of lines for the page is rotated, and that it and its predecessor stay below a limit.
pub(super) fn page_log(stack: &Stack) -> Summary {
    // With more than what Envoy writes in the ten seconds between two checks of the size.
    const MAX_BYTES: u64 = 2 * PAGE_LOG_BYTES + (8 << 20);
    let container = stack.container(PAGE_LOG)?;
    let inside = |command: &str| docker(&["exec", &container, "busybox", "sh", "-c", command]);
    wait::try_until("the rotation of the file of lines", || {
        Ok(inside("test -e /var/log/logtracer/envoy.log.1").is_ok().then_some(()))
    })?;
    let used = inside("busybox du -k -s /var/log/logtracer")?;
    let kib: u64 = used
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| Error::new(format!("unexpected output of du: {used}")))?;
    if kib << 10 > MAX_BYTES {
        return Err(Error::new(format!("{kib} KiB in the volume of the lines")));
    }
    Ok(format!("{kib} KiB"))
}

/// Checks every line that the containers have printed so far. It runs after all other checks.
pub(super) fn lines(stack: &Stack) -> Summary {
    let mut counts = Vec::new();
    for service in SERVICES {
        let lines = stack.lines(service).map_err(Error::when(service))?;
        if lines.is_empty() {
            return Err(Error::new(format!("{service} has printed nothing")));
        }
        let faults = faults(service, &lines);
        if let Some(first) = faults.first() {
            return Err(Error::new(format!("{service} reports {} faults: {first}", faults.len())));
        }
        counts.push(format!("{service} {}", lines.len()));
    }
    Ok(counts.join(", "))
}
