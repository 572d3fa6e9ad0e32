"""Log lines with the trace of the request, and headers that pass it on. Needs only the standard library."""

import contextvars
import datetime
import json
import logging
import math
import os
import re
import sys

# All that the filter can write, and what belongs to a request beside its trace.
HEADERS = (
    "traceparent", "tracestate", "baggage", "x-request-id", "x-cloud-trace-context", "grpc-trace-bin",
    "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
)

_current = contextvars.ContextVar("trace", default=None)


def headers():
    """Returns the headers for an outgoing request. Outside of a request there are none."""
    trace = _current.get()
    return dict(trace.headers) if trace else {}


# === the trace of a request ===

_B3 = re.compile(
    r"(?!0+-)([0-9a-f]{16}|[0-9a-f]{32})-(?!0{16})([0-9a-f]{16})(?:-([01d]|true|false)(?:-[0-9a-f]{16})?)?", re.I)
_TRACEPARENT = re.compile(
    r"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_CLOUD_TRACE = re.compile(r"(?!0{32})([0-9a-f]{32})(?:/([0-9]{0,20}))?(?:;o=([0-9]?))?", re.I)


class Trace:
    """The trace headers of a request, and the ids of the first valid one, in the order of the filter."""

    def __init__(self, pairs):
        self.headers = {}
        for name, value in pairs:
            # No valid header is longer or has other characters, which an HTTP client may reject.
            if name in HEADERS and len(value) <= 8192 and value.isascii() and value.isprintable():
                self.headers[name] = f"{self.headers[name]},{value}" if name in self.headers else value
        self.trace_id, self.span_id, self.is_sampled = self._ids()

    def _ids(self):
        get = lambda name: self.headers.get(name, "")
        state = "d" if get("x-b3-flags") == "1" else get("x-b3-sampled")
        multi = "-".join(filter(None, (get("x-b3-traceid"), get("x-b3-spanid"), state)))
        if found := _B3.fullmatch(get("b3")) or _B3.fullmatch(multi):
            return found[1].lower().zfill(32), found[2].lower(), (found[3] or "").lower() in ("1", "d", "true")
        if found := _TRACEPARENT.fullmatch(get("traceparent")):
            return found[1], found[2], int(found[3], 16) & 1 == 1
        if found := _CLOUD_TRACE.fullmatch(get("x-cloud-trace-context")):
            span = int(found[2] or 0)  # decimal in this header only
            return found[1].lower(), f"{span:016x}" if 0 < span < 1 << 64 else None, int(found[3] or 0) & 1 == 1
        return None, None, False


class WSGI:
    """Middleware for Flask, Django and others: binds the trace to the request until its body is sent."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        keys = ((name, "HTTP_" + name.upper().replace("-", "_")) for name in HEADERS)
        context = contextvars.copy_context()
        context.run(_current.set, Trace((name, environ[key]) for name, key in keys if key in environ))
        return _Body(context, _run(context, self.app, environ, start_response))


class _Body:
    def __init__(self, context, body):
        self.context, self.body, self.chunks = context, body, _run(context, iter, body)

    def __iter__(self):
        return self

    def __next__(self):
        return _run(self.context, next, self.chunks)

    def close(self):
        if hasattr(self.body, "close"):
            _run(self.context, self.body.close)


def _run(context, function, *arguments):
    try:
        return context.run(function, *arguments)
    except StopIteration:
        raise
    except Exception:
        context.run(logging.exception, "unhandled exception")
        raise


class ASGI:
    """Middleware for FastAPI, Starlette, Django and others: binds the trace to the task of the request.

    The server starts a task for each request. Its own line about an exception has the trace, too.
    """

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] in ("http", "websocket"):
            _current.set(Trace((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]))
        await self.app(scope, receive, send)


# === log lines ===

_SEVERITIES = {logging.CRITICAL: "CRITICAL", logging.ERROR: "ERROR", logging.WARNING: "WARNING", logging.INFO: "INFO"}
_ATTRIBUTES = {*vars(logging.makeLogRecord({})), "message", "asctime", "color_message"}
_GOOGLE = "logging.googleapis.com/"
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


def install(service, version="", level=logging.INFO):
    """Makes all loggers write JSON lines to stdout, also for warnings and for exceptions that nobody catches."""
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service, version))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = lambda *error: logging.critical("uncaught exception", exc_info=error)


class JsonFormatter(logging.Formatter):
    """Formats records in the format of LOGGING_FORMAT: `stackdriver`, the default, or `local`."""

    def __init__(self, service, version=""):
        super().__init__()
        self.service = {"service": service, **({"version": version} if version else {})}
        log_format = os.environ.get("LOGGING_FORMAT") or "stackdriver"
        if log_format not in ("stackdriver", "local"):
            raise ValueError(f"LOGGING_FORMAT: expected stackdriver or local, found {log_format!r}")
        is_local = log_format == "local"
        google = "" if is_local else _GOOGLE
        project = os.environ.get("GOOGLE_CLOUD_PROJECT")
        self.trace_prefix = f"projects/{project}/traces/" if project and not is_local else ""
        self.source, self.labels = google + "sourceLocation", google + "labels"
        self.trace, self.span = google + "trace", google + "spanId"
        self.sampled = "traceSampled" if is_local else google + "trace_sampled"
        self.reserved = {"severity", "message", "time", "timestamp", "timestampSeconds", "timestampNanos",
                         "stack_trace", "serviceContext", self.source, self.trace, self.span, self.sampled}

    def format(self, record):
        line = {
            "severity": next((name for level, name in _SEVERITIES.items() if record.levelno >= level), "DEBUG"),
            "message": record.getMessage(),
            "time": datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc).strftime(_TIME),
            self.source: {"file": record.pathname, "line": str(record.lineno), "function": record.funcName},
        }
        trace = _current.get()
        if trace and trace.trace_id:
            line[self.trace] = self.trace_prefix + trace.trace_id
            if trace.span_id:
                line[self.span] = trace.span_id
            line[self.sampled] = trace.is_sampled
        if record.exc_info and record.exc_info[0]:
            line["stack_trace"] = self.formatException(record.exc_info)  # for Error Reporting
            line["serviceContext"] = self.service
        for name, value in vars(record).items():  # those of `extra`
            if name == "labels" and isinstance(value, dict):
                line[self.labels] = {str(key): str(text) for key, text in value.items()}
            elif name not in _ATTRIBUTES:
                is_reserved = name in self.reserved or name.startswith((_GOOGLE, "fields."))
                line["fields." + name if is_reserved else name] = _json_value(value)
        return json.dumps(line, ensure_ascii=False)


def _json_value(value, depth=0):
    if isinstance(value, (str, bool)) or value is None:
        return value
    if isinstance(value, int):  # Cloud Logging keeps numbers as doubles
        return value if abs(value) < 1 << 53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else json.dumps(value)
    if isinstance(value, dict) and depth < 8:
        return {str(key): _json_value(member, depth + 1) for key, member in value.items()}
    if isinstance(value, (list, tuple)) and depth < 8:
        return [_json_value(member, depth + 1) for member in value]
    return str(value)
