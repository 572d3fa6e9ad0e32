//! What goes through the stack on a good day.

use serde_json::{Value, json};

use super::Said;
use super::docker::docker;
use super::stack::{PAGE_LOG, PAGE_LOG_BYTES, SERVICES, Stack};
use crate::cases;
use crate::demo::requests::REQUESTS;
use crate::demo::story::{HOPS, check_linked};
use crate::mesh::PROJECT;
use crate::{Error, Result, envoy, wait};

/// How each container runs.
pub(super) fn containers(stack: &Stack) -> Said {
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
        // An Envoy of others may bring no check of its own; its readiness was waited for.
        let brings_none =
            service == PAGE_LOG || (service == "envoy" && of("/0/Config/Healthcheck").is_null());
        if !brings_none {
            wait::try_until(&format!("health of {service}"), || {
                Ok((stack.health(service)? == "healthy").then_some(()))
            })?;
        }
    }
    Ok(format!("{} of them", services().count()))
}

/// Every row of the shared tables, sent by a caller from outside: what callers send, and what logtracer itself sends.
pub(super) fn headers(stack: &Stack) -> Said {
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

/// The callers of the demo: the answer, the spans of every hop and how they hang together, the lines of every program.
/// First of what sends, since the callers name traces of their own.
pub(super) fn spans(stack: &Stack) -> Said {
    for request in REQUESTS {
        let answer = request.send(&stack.entrance())?;
        let trace = stack.store().complete_trace(&answer.trace_id, HOPS, 0)?;
        check_linked(&trace, request.parent).map_err(Error::when(request.path))?;
        for (service, least) in [("envoy", HOPS), ("frontend", 1), ("backend", 1)] {
            wait::try_until(&format!("{least} lines of {service} in trace {}", answer.trace_id), || {
                let of_trace = |line: &Value| crate::lines::trace_id(line) == Some(answer.trace_id.as_str());
                let found = stack.lines(service)?.iter().filter(|line| of_trace(line)).count();
                Ok((found >= least).then_some(()))
            })?;
        }
    }
    Ok(format!("{} requests, {} spans, the lines of each", REQUESTS.len(), REQUESTS.len() * HOPS))
}

/// The list names the traces of the callers, and the page of each trace its services and the lines of the proxies.
pub(super) fn page(stack: &Stack) -> Said {
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
        store.complete_trace(&trace.trace_id, HOPS, HOPS)?;
        let shown = get(&path)?;
        for text in [trace.trace_id.as_str(), "frontend - GET - ", "backend - GET - "] {
            if !shown.contains(text) {
                return Err(Error::new(format!("{path} has no {text}")));
            }
        }
    }
    Ok(format!("{} traces", traces.len()))
}

/// Cloud Trace gets each span that the store has of the callers' traces, and has refused nothing of what was sent.
pub(super) fn cloud_trace(stack: &Stack) -> Said {
    #[derive(serde::Deserialize)]
    struct Spans {
        names: Vec<String>,
        refused: Vec<String>,
    }
    let store = stack.store();
    let mut expected = Vec::new();
    for request in REQUESTS {
        let Some(trace_id) = request.trace_id() else { continue };
        let trace = store.complete_trace(trace_id, HOPS, 0)?;
        let name = |span: &crate::store::Span| {
            format!("projects/{PROJECT}/traces/{trace_id}/spans/{}", span.span_id)
        };
        expected.extend(trace.spans.iter().map(name));
    }
    let client = envoy::client()?;
    wait::try_until("the spans at Cloud Trace", || {
        let answer = client.get(stack.cloud_trace()).send().and_then(|answer| answer.json());
        let spans: Spans = answer.map_err(Error::when("Cloud Trace"))?;
        if let Some(mistake) = spans.refused.first() {
            return Err(Error::new(format!("Cloud Trace has refused {}: {mistake}", spans.refused.len())));
        }
        let all = expected.iter().all(|name| spans.names.contains(name));
        Ok(all.then(|| format!("{} of the callers, {} in all", expected.len(), spans.names.len())))
    })
}

/// The file of lines for the page has been set aside, and no more than it and the one before take room.
pub(super) fn page_log(stack: &Stack) -> Said {
    // What may come in the ten seconds between two looks, and more.
    const MOST: u64 = 2 * PAGE_LOG_BYTES + (8 << 20);
    let container = stack.container(PAGE_LOG)?;
    let inside = |command: &str| docker(&["exec", &container, "busybox", "sh", "-c", command]);
    wait::try_until("the file of lines to be set aside", || {
        Ok(inside("test -e /var/log/logtracer/envoy.log.1").is_ok().then_some(()))
    })?;
    let used = inside("busybox du -k -s /var/log/logtracer")?;
    let kib: u64 = used
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| Error::new(format!("du says {used}")))?;
    if kib << 10 > MOST {
        return Err(Error::new(format!("{kib} KiB in the volume of the lines")));
    }
    Ok(format!("{kib} KiB"))
}

/// Everything that was printed until now, by all containers.
pub(super) fn lines(stack: &Stack) -> Said {
    let mut counts = Vec::new();
    for service in SERVICES {
        let lines = stack.lines(service).map_err(Error::when(service))?;
        if lines.is_empty() {
            return Err(Error::new(format!("{service} has printed nothing")));
        }
        counts.push(format!("{service} {}", lines.len()));
    }
    Ok(counts.join(", "))
}
