//! Parts of the stack go away, and come back.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::Said;
use super::docker::docker;
use super::load::{self, Load, PATIENT, PROMPT};
use super::stack::Stack;
use crate::{Error, Result, envoy, lines, wait};

/// How long what went away stays away.
const AWAY: Duration = Duration::from_secs(3);

/// Stopped as an operator does: SIGTERM.
pub(super) fn exporter_stopped(stack: &Stack) -> Said {
    without_exporter(stack, 0xe1, "stop")?.check_all_arrived(stack, PROMPT)
}

/// Ended as a crash does: SIGKILL.
pub(super) fn exporter_killed(stack: &Stack) -> Said {
    without_exporter(stack, 0xe2, "kill")?.check_all_arrived(stack, PROMPT)
}

fn without_exporter(stack: &Stack, series: u32, how: &str) -> Result<Load> {
    let exporter = stack.container("exporter")?;
    load::during(stack, series, || {
        docker(&[how, &exporter])?;
        sleep(AWAY);
        docker(&["start", &exporter])?;
        stack.wait_until_ready()
    })
}

/// Nothing answers, not even with a refusal.
pub(super) fn network_cut(stack: &Stack) -> Said {
    let (envoy, network) = (stack.container("envoy")?, stack.telemetry());
    let load = load::during(stack, 0xe3, || {
        docker(&["network", "disconnect", &network, &envoy])?;
        sleep(AWAY);
        docker(&["network", "connect", &network, &envoy]).map(drop)
    })?;
    load.check_all_arrived(stack, PROMPT)
}

/// While the backend is gone, under load, the proxies say 503 in the trace of each request; afterwards all is as before.
pub(super) fn service_killed(stack: &Stack) -> Said {
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
        return Err(Error::new(format!("a backend that is not there has counted {left}")));
    }
    if load.incomplete == 0 {
        return Err(Error::new("no request of the load has met the backend's absence"));
    }

    let failed = wait::try_until("Envoy's lines of the failure", || {
        let of_trace = |line: &Value| lines::trace_id(line) == Some(TRACE);
        let is_failure = |line: &Value| line["httpRequest"]["status"] == 503 && line["severity"] == "ERROR";
        let found = stack.lines("envoy")?.iter().filter(|line| of_trace(line) && is_failure(line)).count();
        Ok(Some(found).filter(|found| *found >= 2)) // on its way out of the frontend, and into the backend
    })?;
    let mut tries = 0;
    wait::try_until("the backend's return", || {
        tries += 1;
        let answer = order(stack, &format!("00000000000000e5{tries:016x}"))?;
        Ok((answer["left"] == 3).then_some(()))
    })?;
    let arrived = load.check_all_arrived(stack, PATIENT)?;
    Ok(format!(
        "{failed} lines of the failure in its trace; {} without a backend of {arrived}",
        load.incomplete
    ))
}

fn order(stack: &Stack, trace: &str) -> Result<Value> {
    let request = envoy::client()?.get(format!("{}/orders/1", stack.entrance()));
    let answer = request.header("b3", format!("{trace}-00f067aa0ba902b7-1")).send();
    answer.and_then(|answer| answer.json()).map_err(Error::when("an order"))
}
