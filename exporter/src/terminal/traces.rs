//! `logtracer-exporter traces`.

use std::io::Write;

use serde_json::Value;

use super::TracesOptions;
use super::client::Client;
use super::text::{Colour, Paint, clean, nanos, text, time};
use crate::view::format::{count, duration};

pub(super) async fn run(
    client: &Client,
    options: &TracesOptions,
    paint: Paint,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut left = options.limit.get();
    let mut cursor = options.cursor.clone();
    let mut printed = 0;
    loop {
        let limit = left.clamp(1, 1000).to_string();
        let mut query = options.query();
        query.push(("limit", &limit));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page = client.json("/api/traces", &query).await?;
        for trace in page["traces"].as_array().into_iter().flatten() {
            if options.output.json {
                writeln!(out, "{trace}")?;
            } else {
                print(trace, paint, out)?;
            }
            left = left.saturating_sub(1);
            printed += 1;
        }
        // A search that took long goes on.
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() || left == 0 {
            break;
        }
    }
    if options.output.json {
        return Ok(());
    }
    match cursor {
        Some(cursor) => writeln!(out, "{}", paint.paint(Colour::Dim, &format!("more: --cursor {cursor}")))?,
        None if printed == 0 => writeln!(out, "no traces")?,
        None => {}
    }
    Ok(())
}

fn print(trace: &Value, paint: Paint, out: &mut impl Write) -> anyhow::Result<()> {
    let errors = trace["error_count"].as_u64().unwrap_or(0);
    let name = match text(trace, "root_name") {
        "" => "log lines only".to_owned(),
        name => clean(name, 60),
    };
    let status = format!("{:<5}", clean(text(trace, "root_status"), 20));
    let status = if errors > 0 { paint.paint(Colour::Red, &status) } else { status };
    let errors = if errors > 0 { paint.paint(Colour::Red, &format!(" ✕{errors}")) } else { String::new() };
    writeln!(
        out,
        "{}  {}  {status} {:>10}  {} {}{errors}  {}",
        paint.paint(Colour::Dim, &time(nanos(trace, "start_unix_nano"))),
        text(trace, "trace_id"),
        duration(nanos(trace, "duration_nano")),
        paint.paint(Colour::Cyan, &clean(text(trace, "root_service"), 40)),
        paint.paint(Colour::Bold, &name),
        paint.paint(
            Colour::Dim,
            &format!(
                "{}, {}",
                count(trace["span_count"].as_u64().unwrap_or(0), "span"),
                count(trace["log_count"].as_u64().unwrap_or(0), "line")
            )
        ),
    )?;
    Ok(())
}
