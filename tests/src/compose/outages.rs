//! Checks while a part of the stack is down.

use std::thread::sleep;
use std::time::Duration;

use logtracer_harness::{Error, Result, envoy, lines, wait};
use serde_json::Value;

use super::Summary;
use super::docker::docker;
use super::load::{self, Load, MAX_DURATION, MAX_DURATION_WITH_CONNECT_TIMEOUT};
use super::stack::Stack;

/// The duration of an outage.
const OUTAGE: Duration = Duration::from_secs(3);

/// Stops the exporter as an operator does (SIGTERM).
pub(super) fn exporter_stopped(stack: &Stack) -> Summary {
    without_exporter(stack, 0xe1, "stop")?.check_all_stored(stack, MAX_DURATION)
}

/// Kills the exporter as a crash does (SIGKILL).
pub(super) fn exporter_killed(stack: &Stack) -> Summary {
    without_exporter(stack, 0xe2, "kill")?.check_all_stored(stack, MAX_DURATION)
}

fn without_exporter(stack: &Stack, series: u32, how: &str) -> Result<Load> {
    let exporter = stack.container("exporter")?;
    load::during(stack, series, || {
        docker(&[how, &exporter])?;
        sleep(OUTAGE);
        docker(&["start", &exporter])?;
        stack.wait_until_ready()
    })
}

/// Disconnects Envoy from the exporter: connections get no response, not even a reset.
pub(super) fn network_cut(stack: &Stack) -> Summary {
    let (envoy, network) = (stack.container("envoy")?, stack.telemetry());
    let load = load::during(stack, 0xe3, || {
        docker(&["network", "disconnect", &network, &envoy])?;
        sleep(OUTAGE);
        docker(&["network", "connect", &network, &envoy]).map(drop)
    })?;
    load.check_all_stored(stack, MAX_DURATION)
}

/// Kills the backend under load: the lines of the proxies have status 503, and requests succeed after its restart.
pub(super) fn service_killed(stack: &Stack) -> Summary {
    const TRACE: &str = "00000000000000e40000000000000001";
    let backend = stack.container("backend")?;
    let mut without = Value::Null;
    let load = load::during(stack, 0xe6, || {
        docker(&["kill", &backend])?;
        let answer = order(stack, TRACE);
        docker(&["start", &backend])?;
        without = answer?;
        Ok(())
    })?;
    if let Some(left) = without.get("left").filter(|left| !left.is_null()) {
        return Err(Error::new(format!("a stopped backend has counted {left}")));
    }
    if load.incomplete == 0 {
        return Err(Error::new("no request of the load has failed at the backend"));
    }

    let failed = wait::try_until("Envoy's lines of the failure", || {
        let of_trace = |line: &Value| lines::trace_id(line) == Some(TRACE);
        let is_failure = |line: &Value| line["httpRequest"]["status"] == 503 && line["severity"] == "ERROR";
        let found = stack.lines("envoy")?.iter().filter(|line| of_trace(line) && is_failure(line)).count();
        Ok(Some(found).filter(|found| *found >= 2)) // on its way out of the frontend, and into the backend
    })?;
    let mut attempts = 0;
    wait::try_until("the backend's return", || {
        attempts += 1;
        let answer = order(stack, &format!("00000000000000e5{attempts:016x}"))?;
        Ok((answer["left"] == 3).then_some(()))
    })?;
    let stored = load.check_all_stored(stack, MAX_DURATION_WITH_CONNECT_TIMEOUT)?;
    Ok(format!(
        "{failed} lines of the failure in its trace; {} without a backend of {stored}",
        load.incomplete
    ))
}

fn order(stack: &Stack, trace: &str) -> Result<Value> {
    let request = envoy::client()?.get(format!("{}/orders/1", stack.entrance()));
    let answer = request.header("b3", format!("{trace}-00f067aa0ba902b7-1")).send();
    answer.and_then(|answer| answer.json()).map_err(Error::when("an order"))
}
