//! Spans of a trace that have the id of a stored one.
//!
//! | the arriving span | what is stored |
//! |---|---|
//! | equals the stored one | one span |
//! | is a part of it: the same service, and no contradiction | one span, with what both state |
//! | is the server's half of a call, and the stored one the client's, or the other way round | the server's span gets an id of its own, below the client's |
//! | is another span | it gets an id of its own |
//!
//! The other id is always the same ([`server_span_id`]), so a span that arrives again is found.

use logtracer_core::SpanId;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use rusqlite::{OptionalExtension, Transaction, params};

use super::origins::Origins;
use super::service_name::UNKNOWN;
use super::span_summary::SpanSummary;
use super::summary::TraceRow;
use crate::otlp::in_place::SpanRef;
use crate::otlp::shared_span::{server_span_id, with_ids};
use crate::otlp::span_parts;

/// A span that is to be stored.
pub(super) struct Arriving<'a> {
    pub(super) span_id: SpanId,
    /// The row of the table `origin`.
    pub(super) origin: i64,
    /// The row of the service's name in the table `content`.
    pub(super) service: i64,
    pub(super) service_name: &'a str,
    pub(super) body: &'a [u8],
}

/// What has become of a span.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Placed {
    New,
    /// A stored span has a further part.
    Merged {
        body: Vec<u8>,
        service_name: String,
    },
    Known,
    /// Two spans are stored under its ids already, or it would be too large.
    Dropped,
}

/// Longer parts are not merged, because they are decoded.
const MAX_PARTS_BYTES: usize = 256 << 10;

pub(super) const INSERT_SPAN: &str = "INSERT OR IGNORE INTO span VALUES (?, ?, ?, ?, ?)";

struct Stored {
    origin: i64,
    body: Vec<u8>,
}

/// Stores a span whose id is taken.
pub(super) fn place(
    tx: &Transaction<'_>,
    origins: &mut Origins,
    trace: &mut TraceRow,
    span: &Arriving<'_>,
) -> rusqlite::Result<Placed> {
    let Some(stored) = read(tx, trace.seq, span.span_id)? else { return Ok(Placed::Dropped) };
    if let Some(placed) = merge_or_ignore(tx, origins, trace, &stored, span)? {
        return Ok(placed);
    }
    let half_id = server_span_id(span.span_id);
    let kinds = [SpanRef::new(&stored.body).kind, SpanRef::new(span.body).kind];
    let is_client = |kind| kind == i32::from(SpanKind::Client);
    let is_server = |kind| kind == i32::from(SpanKind::Server);
    if is_server(kinds[0]) && is_client(kinds[1]) {
        return make_room(tx, origins, trace, stored, span, half_id);
    }
    let parent = (is_client(kinds[0]) && is_server(kinds[1])).then_some(span.span_id);
    let body = with_ids(span.body, half_id, parent);
    place_half(tx, origins, trace, &Arriving { span_id: half_id, body: &body, ..*span })
}

/// Stores the client's half of a call in place of the server's, which gets an id of its own.
fn make_room(
    tx: &Transaction<'_>,
    origins: &mut Origins,
    trace: &mut TraceRow,
    server: Stored,
    client: &Arriving<'_>,
    half_id: SpanId,
) -> rusqlite::Result<Placed> {
    let (service, service_name) = origins.service_of(tx, server.origin)?;
    let body = with_ids(&server.body, half_id, Some(client.span_id));
    trace.remove_span(&SpanSummary::new(&SpanRef::new(&server.body)));
    let half = Arriving {
        span_id: half_id,
        origin: server.origin,
        service,
        service_name: &service_name,
        body: &body,
    };
    let placed = place_half(tx, origins, trace, &half)?;
    replace(tx, trace.seq, client.span_id, client.origin, client.body)?;
    trace.add_span(&SpanSummary::new(&SpanRef::new(client.body)), client.service, client.body);
    Ok(if placed == Placed::Dropped { Placed::Dropped } else { Placed::New })
}

/// Stores a span under its second id.
fn place_half(
    tx: &Transaction<'_>,
    origins: &mut Origins,
    trace: &mut TraceRow,
    span: &Arriving<'_>,
) -> rusqlite::Result<Placed> {
    if let Some(stored) = read(tx, trace.seq, span.span_id)? {
        return Ok(merge_or_ignore(tx, origins, trace, &stored, span)?.unwrap_or(Placed::Dropped));
    }
    let summary = SpanSummary::new(&SpanRef::new(span.body));
    tx.prepare_cached(INSERT_SPAN)?.execute(params![
        trace.seq,
        key(span.span_id),
        span.origin,
        summary.start_ns,
        span.body
    ])?;
    trace.add_span(&summary, span.service, span.body);
    Ok(Placed::New)
}

/// Ignores a span that is stored, or merges a part of one. Returns `None` if it is another span.
fn merge_or_ignore(
    tx: &Transaction<'_>,
    origins: &mut Origins,
    trace: &mut TraceRow,
    stored: &Stored,
    span: &Arriving<'_>,
) -> rusqlite::Result<Option<Placed>> {
    if stored.body == span.body && stored.origin == span.origin {
        return Ok(Some(Placed::Known));
    }
    let (stored_id, stored_service) = origins.service_of(tx, stored.origin)?;
    let is_of_service =
        stored_service == span.service_name || [&stored_service[..], span.service_name].contains(&UNKNOWN);
    let (old, new) = (SpanRef::new(&stored.body), SpanRef::new(span.body));
    if !is_of_service || !span_parts::are_parts(&old, &new) {
        return Ok(None);
    }
    if stored.body.len() + span.body.len() > MAX_PARTS_BYTES {
        return Ok(Some(Placed::Dropped));
    }
    let (Ok(old), Ok(new)) = (Span::decode(&stored.body[..]), Span::decode(span.body)) else {
        return Ok(Some(Placed::Dropped));
    };
    let merged = span_parts::merge(old, new).encode_to_vec();
    let (origin, service) =
        if stored_service == UNKNOWN { (span.origin, span.service) } else { (stored.origin, stored_id) };
    if merged == stored.body && origin == stored.origin {
        return Ok(Some(Placed::Known));
    }
    replace(tx, trace.seq, span.span_id, origin, &merged)?;
    trace.remove_span(&SpanSummary::new(&SpanRef::new(&stored.body)));
    trace.add_span(&SpanSummary::new(&SpanRef::new(&merged)), service, &merged);
    let is_named = stored_service != UNKNOWN;
    let service_name = if is_named { stored_service } else { span.service_name.to_owned() };
    Ok(Some(Placed::Merged { body: merged, service_name }))
}

fn read(tx: &Transaction<'_>, trace: i64, span_id: SpanId) -> rusqlite::Result<Option<Stored>> {
    tx.prepare_cached("SELECT origin, body FROM span WHERE trace = ? AND span_id = ?")?
        .query_row([trace, key(span_id)], |row| Ok(Stored { origin: row.get(0)?, body: row.get(1)? }))
        .optional()
}

fn replace(
    tx: &Transaction<'_>,
    trace: i64,
    span_id: SpanId,
    origin: i64,
    body: &[u8],
) -> rusqlite::Result<()> {
    let start_ns = SpanSummary::new(&SpanRef::new(body)).start_ns;
    tx.prepare_cached("UPDATE span SET origin = ?, start_ns = ?, body = ? WHERE trace = ? AND span_id = ?")?
        .execute(params![origin, start_ns, body, trace, key(span_id)])?;
    Ok(())
}

fn key(span_id: SpanId) -> i64 {
    span_id.get().cast_signed()
}
