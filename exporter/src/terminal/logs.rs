//! `logtracer-exporter logs`.

use std::io::Write;

use anyhow::Context;
use serde_json::Value;

use super::LogsOptions;
use super::client::Client;
use super::text::{Colour, Paint, clean, nanos, text, time};

/// A longer event of a live view is an error.
const MAX_EVENT_BYTES: usize = 8 << 20;

pub(super) async fn run(
    client: &Client,
    options: &LogsOptions,
    paint: Paint,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    // What arrives while the list is read is in both, which is better than in neither.
    let live = if options.follow {
        let mut query = options.query();
        query.push(("logs", "true"));
        Some(client.get("/api/live", &query).await?)
    } else {
        None
    };
    let mut left = options.limit.get();
    let mut cursor = options.cursor.clone();
    let mut lines = Vec::new();
    while left > 0 {
        let limit = left.min(1000).to_string();
        let mut query = options.query();
        query.push(("limit", &limit));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page = client.json("/api/logs", &query).await?;
        let found = page["logs"].as_array().cloned().unwrap_or_default();
        left = left.saturating_sub(found.len());
        lines.extend(found);
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    if let Some(cursor) = cursor.filter(|_| !options.output.json && live.is_none()) {
        writeln!(out, "{}", paint.paint(Colour::Dim, &format!("older lines: --cursor {cursor}")))?;
    }
    for line in lines.iter().rev() {
        print(line, options, paint, out)?;
    }
    let Some(mut live) = live else { return Ok(()) };
    let mut received = Vec::new();
    while let Some(bytes) = live.chunk().await.context("the live view was interrupted")? {
        received.extend_from_slice(&bytes);
        anyhow::ensure!(received.len() <= MAX_EVENT_BYTES, "an event of the live view is too long");
        while let Some(end) = received.windows(2).position(|window| window == b"\n\n") {
            let event: Vec<u8> = received.drain(..end + 2).collect();
            let event = String::from_utf8_lossy(&event);
            let data = event.strip_prefix("event: line\ndata: ");
            if let Some(line) = data.and_then(|data| serde_json::from_str::<Value>(data).ok()) {
                print(&line, options, paint, out)?;
            } else if event.starts_with("event: skipped") && !options.output.json {
                writeln!(out, "{}", paint.paint(Colour::Yellow, "… lines skipped: too many at a time"))?;
            }
        }
        out.flush()?;
    }
    anyhow::bail!("the exporter has closed the live view")
}

fn print(line: &Value, options: &LogsOptions, paint: Paint, out: &mut impl Write) -> anyhow::Result<()> {
    if options.output.json {
        writeln!(out, "{line}")?;
        return Ok(());
    }
    writeln!(out, "{}", format(line, paint))?;
    Ok(())
}

/// Formats a line of the API for a terminal.
fn format(line: &Value, paint: Paint) -> String {
    let (service, message) = service_and_message(line);
    let trace = text(line, "trace_id").get(..8).map(|id| paint.paint(Colour::Dim, &format!(" [{id}]")));
    format!(
        "{}  {} {}  {}{}",
        paint.paint(Colour::Dim, &time(nanos(line, "time_unix_nano"))),
        paint.severity(text(line, "severity")),
        paint.paint(Colour::Cyan, &clean(service, 40)),
        clean(message, 2000),
        trace.unwrap_or_default(),
    )
}

/// Returns the service of a line, or a dash, and the message without the service before it.
pub(super) fn service_and_message(line: &Value) -> (&str, &str) {
    let (service, message) = (text(line, "service"), text(line, "message"));
    let rest = message.strip_prefix(service).and_then(|rest| rest.strip_prefix(" - "));
    (if service.is_empty() { "-" } else { service }, rest.unwrap_or(message))
}
