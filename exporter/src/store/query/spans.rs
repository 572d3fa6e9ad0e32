//! The spans of a trace.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use logtracer_core::SpanId;
use rusqlite::OptionalExtension;

use super::{Snapshot, TraceSeq, sql_limit};
use crate::otlp::in_place::{ResourceRef, ScopeRef, SpanRef};
use crate::otlp::shared_span::server_span_id;
use crate::store::service_name::name_of;

/// The place of a span in its trace: by start time, then by id. As text, `START-SPANID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanKey {
    start_ns: i64,
    pub(crate) span_id: SpanId,
}

impl fmt::Display for SpanKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start_ns, self.span_id)
    }
}

impl FromStr for SpanKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (start, id) = text.rsplit_once('-').ok_or(())?;
        Ok(Self { start_ns: start.parse().map_err(drop)?, span_id: id.parse().map_err(drop)? })
    }
}

/// A stored span.
pub(crate) struct SpanRow<'a> {
    pub(crate) span: SpanRef<'a>,
    /// The row of the table `origin`.
    pub(crate) origin: i64,
}

/// The resource and the instrumentation scope that emitted a span or a log record.
pub(crate) struct EmitterRow<'a> {
    pub(crate) resource: ResourceRef<'a>,
    pub(crate) scope: ScopeRef<'a>,
}

impl<'a> EmitterRow<'a> {
    /// Returns the name of the service. A long name is truncated, as the store does.
    pub(crate) fn service_name(&self) -> Cow<'a, str> {
        name_of(self.resource)
    }
}

impl Snapshot<'_> {
    /// Returns the keys of the earliest spans, or of those from a key on.
    pub(crate) fn span_keys(
        &self,
        trace: TraceSeq,
        from: Option<SpanKey>,
        limit: usize,
    ) -> rusqlite::Result<Vec<SpanKey>> {
        let (start, id) = from.map_or((i64::MIN, i64::MIN), |key| (key.start_ns, signed(key.span_id)));
        self.0
            .prepare_cached(
                "SELECT start_ns, span_id FROM span WHERE trace = ? AND (start_ns, span_id) >= (?, ?)
                 ORDER BY start_ns, span_id LIMIT ?",
            )?
            .query_map([trace.0, start, id, sql_limit(limit)], |row| Ok((row.get(0)?, row.get(1)?)))?
            .filter_map(|row| match row {
                Ok((start_ns, id)) => {
                    SpanId::new(i64::cast_unsigned(id)).map(|span_id| Ok(SpanKey { start_ns, span_id }))
                }
                Err(error) => Some(Err(error)),
            })
            .collect()
    }

    /// Returns the key of a span, or `None` if it is not stored.
    pub(crate) fn span_key(&self, trace: TraceSeq, span_id: SpanId) -> rusqlite::Result<Option<SpanKey>> {
        self.0
            .prepare_cached("SELECT start_ns FROM span WHERE trace = ? AND span_id = ?")?
            .query_row([trace.0, signed(span_id)], |row| Ok(SpanKey { start_ns: row.get(0)?, span_id }))
            .optional()
    }

    /// Returns the row of the table `origin` of a span, or `None` if the span is not stored.
    pub(crate) fn span_origin(&self, trace: TraceSeq, span_id: SpanId) -> rusqlite::Result<Option<i64>> {
        self.0
            .prepare_cached("SELECT origin FROM span WHERE trace = ? AND span_id = ?")?
            .query_row([trace.0, signed(span_id)], |row| row.get(0))
            .optional()
    }

    /// Reads a span, or returns `None` if it is not stored.
    pub(crate) fn span<T>(
        &self,
        trace: TraceSeq,
        span_id: SpanId,
        read: impl FnOnce(SpanRow<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        let mut statement =
            self.0.prepare_cached("SELECT origin, body FROM span WHERE trace = ? AND span_id = ?")?;
        let mut rows = statement.query([trace.0, signed(span_id)])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let span = SpanRef::new(row.get_ref(1)?.as_blob()?);
        read(SpanRow { span, origin: row.get(0)? }).map(Some)
    }

    /// Visits each span in the order of the signed ids, with the row of the table `origin`. Of a trace with more spans than
    /// the limit, the earliest ones are visited.
    ///
    /// One scan reads each row once: a search for each span would read the trace several times.
    pub(crate) fn each_span(
        &self,
        trace: TraceSeq,
        limit: usize,
        mut visit: impl FnMut(SpanId, i64, &SpanRef<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let end: Option<(i64, i64)> = self
            .0
            .prepare_cached(
                "SELECT start_ns, span_id FROM span WHERE trace = ? ORDER BY start_ns, span_id LIMIT 1 OFFSET ?",
            )?
            .query_row([trace.0, sql_limit(limit)], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (start, id) = end.unzip();
        let mut statement = self.0.prepare_cached(
            "SELECT span_id, origin, body FROM span
             WHERE trace = ?1 AND (?2 IS NULL OR (start_ns, span_id) < (?2, ?3)) ORDER BY span_id",
        )?;
        let mut rows = statement.query((trace.0, start, id))?;
        while let Some(row) = rows.next()? {
            if let Some(span_id) = SpanId::new(row.get::<_, i64>(0)?.cast_unsigned()) {
                visit(span_id, row.get(1)?, &SpanRef::new(row.get_ref(2)?.as_blob()?))?;
            }
        }
        Ok(())
    }

    /// Returns the ids of the spans after this one, with their rows of the table `origin`, in the order of the signed ids.
    pub(crate) fn spans_after(
        &self,
        trace: TraceSeq,
        after: Option<SpanId>,
        limit: usize,
    ) -> rusqlite::Result<Vec<(SpanId, i64)>> {
        let sql = "SELECT span_id, origin FROM span WHERE trace = ?1 AND (?2 IS NULL OR span_id > ?2) ORDER BY span_id LIMIT ?3";
        self.0
            .prepare_cached(sql)?
            .query_map((trace.0, after.map(signed), sql_limit(limit)), |row| Ok((row.get(0)?, row.get(1)?)))?
            .filter_map(|row| match row {
                Ok((id, origin)) => SpanId::new(i64::cast_unsigned(id)).map(|id| Ok((id, origin))),
                Err(error) => Some(Err(error)),
            })
            .collect()
    }

    /// Reads an emitter, or returns `None` if it is not stored.
    pub(crate) fn emitter<T>(
        &self,
        origin: i64,
        read: impl FnOnce(EmitterRow<'_>) -> T,
    ) -> rusqlite::Result<Option<T>> {
        let sql = "SELECT resource.body, scope.body FROM origin
             JOIN content AS resource ON resource.id = origin.resource
             JOIN content AS scope ON scope.id = origin.scope
             WHERE origin.id = ?";
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query([origin])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let resource = ResourceRef(row.get_ref(0)?.as_blob()?);
        let scope = ScopeRef::new(row.get_ref(1)?.as_blob()?);
        Ok(Some(read(EmitterRow { resource, scope })))
    }

    /// Returns the parent of a span. If client and server of a call share an id (Zipkin, Envoy), the parent is the
    /// server's half for what the server calls, in whatever order the spans have arrived.
    pub(crate) fn parent(
        &self,
        trace: TraceSeq,
        span_id: SpanId,
        row: &SpanRow<'_>,
        names: &mut ServiceNames,
    ) -> rusqlite::Result<Option<SpanId>> {
        let Some(parent) = row.span.parent_span_id else { return Ok(None) };
        let server = server_span_id(parent);
        if span_id == server || span_id == parent {
            return Ok(Some(parent));
        }
        let Some(server_origin) = self.span_origin(trace, server)? else { return Ok(Some(parent)) };
        let service = names.of_origin(self, row.origin)?;
        if service == names.of_origin(self, server_origin)? {
            return Ok(Some(server));
        }
        let is_of_client = match self.span_origin(trace, parent)? {
            Some(client) => names.of_origin(self, client)? == service,
            None => false,
        };
        Ok(Some(if is_of_client { parent } else { server }))
    }
}

fn signed(id: SpanId) -> i64 {
    id.get().cast_signed()
}

/// The names of services by the row of the table `origin`, as far as they were needed.
#[derive(Debug, Default)]
pub(crate) struct ServiceNames(HashMap<i64, Arc<str>>);

impl ServiceNames {
    /// More names are forgotten. One has at most 200 characters.
    const MAX: usize = 256;

    /// Returns the name of an emitter's service.
    pub(crate) fn of_origin(&mut self, snapshot: &Snapshot<'_>, origin: i64) -> rusqlite::Result<Arc<str>> {
        if let Some(name) = self.0.get(&origin) {
            return Ok(name.clone());
        }
        let name: Arc<str> =
            snapshot.emitter(origin, |emitter| emitter.service_name().into())?.unwrap_or_default();
        if self.0.len() >= Self::MAX {
            self.0.clear();
        }
        self.0.insert(origin, name.clone());
        Ok(name)
    }
}
