"""Sends a trace, and log records, with OpenTelemetry's own exporters. Prints the trace id.

    clients.py PROTOCOL ENDPOINT TOKEN     PROTOCOL: http, http-gzip, grpc, grpc-gzip, zipkin
"""

import logging
import sys

import grpc
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.exporter.zipkin.json import ZipkinExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

protocol, endpoint, token = sys.argv[1:]
headers = {"authorization": f"Bearer {token}"}
compressed = protocol.endswith("-gzip")
logs = None
if protocol.startswith("http"):
    compression = Compression.Gzip if compressed else Compression.NoCompression
    spans = HttpSpans(endpoint=f"{endpoint}/v1/traces", headers=headers, compression=compression)
    logs = HttpLogs(endpoint=f"{endpoint}/v1/logs", headers=headers, compression=compression)
elif protocol.startswith("grpc"):
    compression = grpc.Compression.Gzip if compressed else grpc.Compression.NoCompression
    spans = GrpcSpans(endpoint=endpoint, insecure=True, headers=headers, compression=compression)
    logs = GrpcLogs(endpoint=endpoint, insecure=True, headers=headers, compression=compression)
else:
    import requests

    session = requests.Session()
    session.headers.update(headers)
    spans = ZipkinExporter(endpoint=f"{endpoint}/api/v2/spans", session=session)

resource = Resource.create({"service.name": f"python {protocol}"})
provider = TracerProvider(resource=resource)
provider.add_span_processor(BatchSpanProcessor(spans))
tracer = provider.get_tracer("clients", "1")
log = logging.getLogger("clients")
if logs:
    log_provider = LoggerProvider(resource=resource)
    log_provider.add_log_record_processor(BatchLogRecordProcessor(logs))
    log.addHandler(LoggingHandler(logger_provider=log_provider))

with tracer.start_as_current_span("GET /basket", kind=trace.SpanKind.SERVER) as root:
    root.set_attribute("http.request.method", "GET")
    log.warning("basket is %s", "empty")
    for n in range(99):
        with tracer.start_as_current_span(f"query {n}", kind=trace.SpanKind.CLIENT) as span:
            span.set_attribute("n", n)
            span.add_event("sent", {"naïve": "ü"})
            if n == 42:
                span.set_status(trace.StatusCode.ERROR, "no such table")

for name, signal_provider in [("spans", provider)] + ([("logs", log_provider)] if logs else []):
    if not signal_provider.force_flush():
        sys.exit(f"the {name} were not accepted")
    signal_provider.shutdown()
print(f"{root.get_span_context().trace_id:032x}")
