//! `logtracer-exporter dead-letters`: list, retry, discard.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use rusqlite::{Connection, params, params_from_iter};
use serde_json::{Value, json};

use super::{Letter, SELECT, letter, path, schema};
use crate::otlp::Signal;
use crate::otlp::in_place::MessageJson;
use crate::storage::sqlite;

/// List, retry or discard the items that sinks have rejected permanently
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum DeadLettersCommand {
    /// List them: number, time, sink, content, and reason of the rejection
    List {
        /// Only the dead letters of this sink
        #[arg(long, value_name = "NAME")]
        sink: Option<String>,
        /// Print one JSON object per line, with the whole request as OTLP
        #[arg(long)]
        json: bool,
    },
    /// Deliver them again: by the exporter that runs on this data directory, or by the next one
    Retry(Which),
    /// Delete them
    Discard(Which),
}

/// A selection of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[group(required = true, multiple = true)]
pub struct Which {
    /// Their numbers, as printed by `list`
    #[arg(value_name = "NUMBER", conflicts_with_all = ["all", "sink"])]
    ids: Vec<i64>,
    /// All dead letters
    #[arg(long, conflicts_with = "sink")]
    all: bool,
    /// All dead letters of this sink
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

/// Runs the command, and prints what was done.
pub(crate) fn run(command: &DeadLettersCommand, dir: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let path = path(dir);
    if !path.exists() {
        if dir.join("outbox.db").exists() {
            writeln!(out, "no dead letters")?;
            return Ok(());
        }
        bail!("no exporter data in {} (--data-dir)", dir.display());
    }
    let connection = sqlite::open(&path, &schema::KIND)?;
    let written = match command {
        DeadLettersCommand::List { sink, json } => list(&connection, sink.as_deref(), *json, out),
        DeadLettersCommand::Retry(which) => {
            let changed = change(&connection, "UPDATE letter SET is_asked = 1", which)?;
            writeln!(out, "{changed} queued for a retry").map_err(Into::into)
        }
        DeadLettersCommand::Discard(which) => {
            let changed = change(&connection, "DELETE FROM letter", which)?;
            writeln!(out, "{changed} discarded").map_err(Into::into)
        }
    };
    match written {
        // The reader has closed the pipe.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn list(connection: &Connection, sink: Option<&str>, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let mut last = 0;
    loop {
        // A slow reader of the output must not lock the file against the exporter.
        let letters = page(connection, sink, last).context("failed to read the dead letters")?;
        for letter in &letters {
            if json {
                writeln!(out, "{}", object(letter))?;
            } else {
                writeln!(out, "{}", line(letter))?;
            }
        }
        match letters.last() {
            Some(letter) => last = letter.id,
            None => break,
        }
    }
    if last == 0 && !json {
        writeln!(out, "no dead letters")?;
    }
    Ok(())
}

/// Returns the next dead letters after this number.
fn page(connection: &Connection, sink: Option<&str>, after: i64) -> rusqlite::Result<Vec<Letter>> {
    connection
        .prepare_cached(&format!(
            "{SELECT} WHERE id > ?1 AND (?2 IS NULL OR sink = ?2) ORDER BY id LIMIT 16"
        ))?
        .query_map(params![after, sink], letter)?
        .collect()
}

/// Returns the names of the sinks that have dead letters.
fn sinks(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT DISTINCT sink FROM letter ORDER BY sink")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Applies the statement to the selected letters, and returns their number.
fn change(connection: &Connection, statement: &str, which: &Which) -> anyhow::Result<usize> {
    if let Some(sink) = &which.sink {
        let changed = connection.execute(&format!("{statement} WHERE sink = ?"), [sink])?;
        let others = if changed == 0 { sinks(connection)? } else { Vec::new() };
        if !others.is_empty() {
            bail!("no dead letter of the sink {sink:?}, but of {}; nothing was changed", others.join(", "));
        }
        return Ok(changed);
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
        bail!("no dead letter {unknown}; nothing was changed");
    }
    let sql = format!("{statement} WHERE id IN ({places})");
    Ok(connection.execute(&sql, params_from_iter(&which.ids))?)
}

fn line(letter: &Letter) -> String {
    let retry = if letter.retry { "  (queued for a retry)" } else { "" };
    let Letter { id, sink, .. } = letter;
    let (time, content, reason) = (time(letter), content(letter), letter.reason.escape_debug());
    format!("{id}  {time}  {sink}  {content}  {reason}{retry}")
}

fn time(letter: &Letter) -> String {
    Timestamp::from_millisecond(letter.stored_ms).map_or_else(|_| "?".to_owned(), |time| format!("{time:.0}"))
}

/// Describes a single span by its ids and name, anything else by its number of items.
fn content(letter: &Letter) -> String {
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
    let request = serde_json::to_value(MessageJson::request(letter.signal, &letter.body)).ok();
    json!({
        "id": letter.id,
        "sink": letter.sink,
        "kept": time(letter),
        "items": letter.items,
        "reason": letter.reason,
        "retry": letter.retry,
        "request": request,
    })
}
