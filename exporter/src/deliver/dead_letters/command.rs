//! `logtracer-exporter dead-letters`: list, retry, discard.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use rusqlite::{Connection, params_from_iter};
use serde_json::{Value, json};

use super::{Letter, SELECT, letter, path, schema};
use crate::otlp::Signal;
use crate::storage::sqlite;

/// What to do with what sinks have refused for good
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum DeadLetters {
    /// Show them: number, time, sink, what it is, and why it was refused
    List {
        /// Only those of this sink
        #[arg(long, value_name = "NAME")]
        sink: Option<String>,
        /// One JSON object a line, with the whole spans as OTLP
        #[arg(long)]
        json: bool,
    },
    /// Have them tried again: by the exporter that runs on this data directory, or by the next one
    Retry(Which),
    /// Delete them
    Discard(Which),
}

/// Which letters.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[group(required = true, multiple = true)]
pub struct Which {
    /// Their numbers, as `list` shows them
    #[arg(value_name = "NUMBER", conflicts_with_all = ["all", "sink"])]
    ids: Vec<i64>,
    /// All of them
    #[arg(long, conflicts_with = "sink")]
    all: bool,
    /// All of this sink
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

/// Does it, and tells what was done.
pub(crate) fn run(command: &DeadLetters, dir: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let path = path(dir);
    if !path.exists() {
        if dir.join("outbox.db").exists() {
            writeln!(out, "no dead letters")?;
            return Ok(());
        }
        bail!("no exporter has worked in {} (--data-dir)", dir.display());
    }
    let connection = sqlite::open(&path, &schema::KIND)?;
    let written = match command {
        DeadLetters::List { sink, json } => list(&connection, sink.as_deref(), *json, out),
        DeadLetters::Retry(which) => {
            let changed = change(&connection, "UPDATE letter SET is_asked = 1", which)?;
            writeln!(out, "{changed} to be tried again").map_err(Into::into)
        }
        DeadLetters::Discard(which) => {
            let changed = change(&connection, "DELETE FROM letter", which)?;
            writeln!(out, "{changed} discarded").map_err(Into::into)
        }
    };
    match written {
        // The reader has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn list(connection: &Connection, sink: Option<&str>, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let mut statement = connection.prepare(&format!("{SELECT} WHERE ?1 IS NULL OR sink = ?1 ORDER BY id"))?;
    let mut rows = statement.query([sink])?;
    let mut is_empty = true;
    while let Some(row) = rows.next().context("cannot read the dead letters")? {
        let letter = letter(row)?;
        if json {
            writeln!(out, "{}", object(&letter))?;
        } else {
            writeln!(out, "{}", line(&letter))?;
        }
        is_empty = false;
    }
    if is_empty && !json {
        writeln!(out, "no dead letters")?;
    }
    Ok(())
}

/// Applies the statement to these letters; how many there were.
fn change(connection: &Connection, statement: &str, which: &Which) -> anyhow::Result<usize> {
    if let Some(sink) = &which.sink {
        return Ok(connection.execute(&format!("{statement} WHERE sink = ?"), [sink])?);
    }
    if which.all {
        return Ok(connection.execute(statement, [])?);
    }
    let places = vec!["?"; which.ids.len()].join(", ");
    let known: Vec<i64> = connection
        .prepare(&format!("SELECT id FROM letter WHERE id IN ({places})"))?
        .query_map(params_from_iter(&which.ids), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if let Some(unknown) = which.ids.iter().find(|id| !known.contains(id)) {
        bail!("there is no dead letter {unknown}; nothing was changed");
    }
    let sql = format!("{statement} WHERE id IN ({places})");
    Ok(connection.execute(&sql, params_from_iter(&which.ids))?)
}

fn line(letter: &Letter) -> String {
    let asked = if letter.is_asked { "  (to be tried again)" } else { "" };
    let Letter { id, sink, .. } = letter;
    let (kept, what, reason) = (kept(letter), what(letter), letter.reason.escape_debug());
    format!("{id}  {kept}  {sink}  {what}  {reason}{asked}")
}

fn kept(letter: &Letter) -> String {
    Timestamp::from_millisecond(letter.kept_ms).map_or_else(|_| "?".to_owned(), |time| format!("{time:.0}"))
}

/// A single span by its ids and name, anything else by its number of items.
fn what(letter: &Letter) -> String {
    if letter.signal == Signal::Traces
        && letter.items == 1
        && let Ok(request) = ExportTraceServiceRequest::decode(&letter.body[..])
        && let Some(span) = request
            .resource_spans
            .iter()
            .flat_map(|resource| &resource.scope_spans)
            .find_map(|scope| scope.spans.first())
    {
        let name = span.name.chars().take(80).collect::<String>();
        return format!("{}/{} {:?}", hex::encode(&span.trace_id), hex::encode(&span.span_id), name);
    }
    match letter.signal {
        Signal::Traces => format!("{} spans", letter.items),
        Signal::Logs => format!("{} log records", letter.items),
    }
}

fn object(letter: &Letter) -> Value {
    let request = match letter.signal {
        Signal::Traces => ExportTraceServiceRequest::decode(&letter.body[..])
            .ok()
            .and_then(|request| serde_json::to_value(request).ok()),
        Signal::Logs => ExportLogsServiceRequest::decode(&letter.body[..])
            .ok()
            .and_then(|request| serde_json::to_value(request).ok()),
    };
    json!({
        "id": letter.id,
        "sink": letter.sink,
        "kept": kept(letter),
        "items": letter.items,
        "reason": letter.reason,
        "retry": letter.is_asked,
        "request": request,
    })
}
