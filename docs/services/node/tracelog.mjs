// Log lines with the trace of the request, and headers that pass it on. Needs only Node (18 or newer).

import { AsyncLocalStorage } from "node:async_hooks";

// All that the filter can write, and what belongs to a request beside its trace.
const HEADERS = [
  "traceparent", "tracestate", "baggage", "x-request-id", "x-cloud-trace-context", "grpc-trace-bin",
  "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
];

const current = new AsyncLocalStorage();

/** Returns the headers for an outgoing request. Outside of a request there are none. */
export function headers() {
  return { ...current.getStore()?.headers };
}

/** Returns a handler for `http.createServer` in which, and in all that it starts, the trace is that of the request. */
export function traced(handler) {
  return (request, response) => run(request, async () => {
    try {
      await handler(request, response);
    } catch (error) {
      log.error("unhandled exception", { error });
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end();
    }
  });
}

/** Calls a function with the trace of a request. For Express: `app.use((request, response, next) => run(request, next))`. */
export function run(request, callback) {
  return current.run(new Trace(request.headers), callback);
}

// === the trace of a request ===

const B3 = /^(?!0+-)([0-9a-f]{16}|[0-9a-f]{32})-(?!0{16})([0-9a-f]{16})(?:-([01d]|true|false)(?:-[0-9a-f]{16})?)?$/i;
const TRACEPARENT =
  /^(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;
const CLOUD_TRACE = /^(?!0{32})([0-9a-f]{32})(?:\/([0-9]{0,20}))?(?:;o=([0-9]?))?$/i;

/** The trace headers of a request, and the ids of the first valid one, in the order of the filter. */
class Trace {
  headers = {};
  traceId;
  spanId;
  isSampled = false;

  constructor(incoming) {
    for (const name of HEADERS) {
      const value = incoming[name];
      // No valid header is longer or has other characters, which an HTTP client may reject.
      if (value?.length <= 8192 && /^[\x20-\x7e]*$/.test(value)) this.headers[name] = value;
    }
    this.#readIds();
  }

  #readIds() {
    const get = (name) => this.headers[name] ?? "";
    const state = get("x-b3-flags") === "1" ? "d" : get("x-b3-sampled");
    const multi = [get("x-b3-traceid"), get("x-b3-spanid"), state].filter(Boolean).join("-");
    let found;
    if ((found = get("b3").match(B3) ?? multi.match(B3))) {
      this.traceId = found[1].toLowerCase().padStart(32, "0");
      this.spanId = found[2].toLowerCase();
      this.isSampled = ["1", "d", "true"].includes(found[3]?.toLowerCase());
    } else if ((found = get("traceparent").match(TRACEPARENT))) {
      [, this.traceId, this.spanId] = found;
      this.isSampled = (parseInt(found[3], 16) & 1) === 1;
    } else if ((found = get("x-cloud-trace-context").match(CLOUD_TRACE))) {
      const span = BigInt(found[2] || 0); // decimal in this header only, and too large for a number
      this.traceId = found[1].toLowerCase();
      if (span > 0n && span < 1n << 64n) this.spanId = span.toString(16).padStart(16, "0");
      this.isSampled = (Number(found[3] || 0) & 1) === 1;
    }
  }
}

// === log lines ===

const format = process.env.LOGGING_FORMAT || "stackdriver";
if (!["stackdriver", "local"].includes(format)) {
  throw new Error(`LOGGING_FORMAT: expected stackdriver or local, found ${JSON.stringify(format)}`);
}
const isLocal = format === "local";
const project = process.env.GOOGLE_CLOUD_PROJECT;
const tracePrefix = project && !isLocal ? `projects/${project}/traces/` : "";
const google = isLocal ? "" : "logging.googleapis.com/";
const SAMPLED = isLocal ? "traceSampled" : `${google}trace_sampled`;
const RESERVED = new Set([
  "severity", "message", "time", "timestamp", "timestampSeconds", "timestampNanos", "stack_trace", "serviceContext",
  `${google}sourceLocation`, `${google}trace`, `${google}spanId`, SAMPLED,
]);

let serviceContext = {};

/** Sets the name and the version of the service for Error Reporting. */
export function install(service, version) {
  serviceContext = { service, version };
  for (const event of ["uncaughtException", "unhandledRejection"]) {
    process.on(event, (error) => {
      log.critical(event, { error });
      process.exit(1);
    });
  }
}

const at = (severity) => (message, fields) => write(severity, message, fields);

/** A logger: `log.info("order opened", { order: "7" })`. The field `error` is for an exception. */
export const log = {
  debug: at("DEBUG"), info: at("INFO"), warn: at("WARNING"), error: at("ERROR"), critical: at("CRITICAL"),
};

/** Returns the fields of the current trace. */
export function traceFields() {
  const trace = current.getStore();
  if (!trace?.traceId) return {};
  return {
    [`${google}trace`]: tracePrefix + trace.traceId,
    ...(trace.spanId && { [`${google}spanId`]: trace.spanId }),
    [SAMPLED]: trace.isSampled,
  };
}

/** Returns the fields of an exception for Error Reporting. */
export function errorFields(error) {
  let text = error instanceof Error ? error.stack : String(error);
  for (let cause = error?.cause, depth = 0; cause && depth < 8; cause = cause.cause, depth++) {
    text += `\nCaused by: ${cause.stack ?? cause}`;
  }
  return { stack_trace: text, serviceContext };
}

function write(severity, message, given) {
  const { error, labels, ...fields } = given ?? {};
  const line = {
    severity,
    message: String(message),
    time: new Date().toISOString(),
    [`${google}sourceLocation`]: sourceLocation(),
    ...traceFields(),
    ...(error !== undefined && errorFields(error)),
    ...(labels && { [`${google}labels`]: texts(labels) }),
  };
  for (const [name, value] of Object.entries(fields)) {
    const isReserved = RESERVED.has(name) || name.startsWith("fields.") || name.startsWith("logging.googleapis.com/");
    line[isReserved ? `fields.${name}` : name] = value;
  }
  process.stdout.write(`${JSON.stringify(plain(line))}\n`);
}

/** Returns the place where the logger was called. */
function sourceLocation() {
  const holder = {};
  Error.captureStackTrace(holder, write);
  const [, caller = ""] = holder.stack.split("\n").slice(1);
  const [, called, file, line] = caller.match(/at (?:(.*?) \()?(?:file:\/\/)?(.*?):(\d+):\d+\)?$/) ?? [];
  return { file, line, function: called };
}

function texts(labels) {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]));
}

/** Returns what JSON can hold of a value: large integers as texts, and no halves of surrogate pairs. */
function plain(value, depth = 0) {
  if (typeof value === "string") return value.replace(/\p{Surrogate}/gu, "\ufffd");
  if (typeof value === "bigint" || (typeof value === "number" && !Number.isFinite(value))) return String(value);
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Error || depth === 8) return String(value);
  if (typeof value.toJSON === "function") return plain(value.toJSON(), depth + 1);
  if (Array.isArray(value)) return value.map((member) => plain(member, depth + 1));
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [plain(name), plain(member, depth + 1)]));
}
