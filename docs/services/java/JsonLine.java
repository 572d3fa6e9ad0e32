import java.io.PrintWriter;
import java.io.StringWriter;
import java.math.BigInteger;
import java.time.Instant;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeFormatterBuilder;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** A log line in the format of LOGGING_FORMAT: `stackdriver`, the default, or `local`. */
final class JsonLine {
    private static final String FORMAT = System.getenv().getOrDefault("LOGGING_FORMAT", "");
    private static final boolean IS_LOCAL = FORMAT.equals("local");
    private static final String GOOGLE = IS_LOCAL ? "" : "logging.googleapis.com/";
    private static final String SAMPLED = IS_LOCAL ? "traceSampled" : GOOGLE + "trace_sampled";
    private static final String PROJECT = System.getenv("GOOGLE_CLOUD_PROJECT");
    private static final String TRACE_PREFIX =
            IS_LOCAL || PROJECT == null || PROJECT.isEmpty() ? "" : "projects/" + PROJECT + "/traces/";
    /** RFC 3339 in UTC, always with nanoseconds: `Instant.toString` omits zeros. */
    private static final DateTimeFormatter TIME = new DateTimeFormatterBuilder().appendInstant(9).toFormatter();
    private static final Set<String> RESERVED = Set.of("severity", "message", "time", "timestamp", "timestampSeconds",
            "timestampNanos", "stack_trace", "serviceContext", GOOGLE + "sourceLocation", GOOGLE + "trace",
            GOOGLE + "spanId", SAMPLED);

    private final Map<String, Object> members = new LinkedHashMap<>();

    /** Throws an exception if LOGGING_FORMAT has another value. */
    static void checkFormat() {
        if (!Set.of("stackdriver", "local", "").contains(FORMAT)) {
            throw new IllegalArgumentException("LOGGING_FORMAT: expected stackdriver or local, found " + FORMAT);
        }
    }

    JsonLine(String severity, String message, Instant time) {
        members.put("severity", severity);
        members.put("message", message);
        members.put("time", TIME.format(time));
    }

    JsonLine source(StackTraceElement place) {
        Map<String, Object> source = new LinkedHashMap<>();
        source.put("file", place.getFileName());
        source.put("line", String.valueOf(place.getLineNumber()));
        source.put("function", place.getClassName() + "." + place.getMethodName());
        members.put(GOOGLE + "sourceLocation", source);
        return this;
    }

    /** Adds the ids of a trace. Each can be null. */
    JsonLine trace(String traceId, String spanId, boolean isSampled) {
        if (traceId != null) {
            members.put(GOOGLE + "trace", TRACE_PREFIX + traceId);
            if (spanId != null) {
                members.put(GOOGLE + "spanId", spanId);
            }
            members.put(SAMPLED, isSampled);
        }
        return this;
    }

    /** Adds an exception with its causes, for Error Reporting. */
    JsonLine error(Throwable error, String service, String version) {
        if (error != null) {
            StringWriter text = new StringWriter();
            error.printStackTrace(new PrintWriter(text, true));
            members.put("stack_trace", text.toString());
            members.put("serviceContext", Map.of("service", service, "version", version));
        }
        return this;
    }

    JsonLine fields(Map<?, ?> fields) {
        fields.forEach((key, value) -> {
            String name = String.valueOf(key);
            if (name.equals("labels") && value instanceof Map) {
                Map<String, String> labels = new LinkedHashMap<>();
                ((Map<?, ?>) value).forEach((label, text) -> labels.put(String.valueOf(label), String.valueOf(text)));
                members.put(GOOGLE + "labels", labels);
            } else {
                boolean isReserved = RESERVED.contains(name) || name.startsWith("fields.")
                        || name.startsWith("logging.googleapis.com/");
                members.put(isReserved ? "fields." + name : name, value);
            }
        });
        return this;
    }

    /** Returns the line with its line break. */
    @Override
    public String toString() {
        StringBuilder out = new StringBuilder();
        write(out, members, 0);
        return out.append('\n').toString();
    }

    private static void write(StringBuilder out, Object value, int depth) {
        if (value == null || value instanceof Boolean) {
            out.append(value);
        } else if (value instanceof Number && isExact((Number) value)) {
            out.append(value);
        } else if (value instanceof Map && depth < 8) {
            String separator = "{";
            for (Map.Entry<?, ?> member : ((Map<?, ?>) value).entrySet()) {
                writeText(out.append(separator), String.valueOf(member.getKey()));
                write(out.append(':'), member.getValue(), depth + 1);
                separator = ",";
            }
            out.append(separator.equals("{") ? "{}" : "}");
        } else if (value instanceof Iterable && depth < 8) {
            String separator = "[";
            for (Object member : (Iterable<?>) value) {
                write(out.append(separator), member, depth + 1);
                separator = ",";
            }
            out.append(separator.equals("[") ? "[]" : "]");
        } else {
            writeText(out, String.valueOf(value));
        }
    }

    /** Cloud Logging keeps numbers as doubles. All others become texts. */
    private static boolean isExact(Number value) {
        if (value instanceof Double || value instanceof Float) {
            return Double.isFinite(value.doubleValue());
        }
        return (value instanceof Integer || value instanceof Long || value instanceof Short || value instanceof Byte)
                && BigInteger.valueOf(value.longValue()).bitLength() <= 53;
    }

    private static void writeText(StringBuilder out, String text) {
        out.append('"');
        text.codePoints().forEach(c -> {
            if (c == '"' || c == '\\') {
                out.append('\\').append((char) c);
            } else if (c == '\n') {
                out.append("\\n");
            } else if (c < 0x20) {
                out.append(String.format("\\u%04x", c));
            } else if (c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE) {
                out.append('\ufffd'); // half of a pair
            } else {
                out.appendCodePoint(c);
            }
        });
        out.append('"');
    }
}
