import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The trace headers of a request, and the ids of the first valid one, in the order of the filter. */
final class Trace {
    /** All that the filter can write, and what belongs to a request beside its trace. */
    private static final List<String> HEADERS = List.of(
            "traceparent", "tracestate", "baggage", "x-request-id", "x-cloud-trace-context", "grpc-trace-bin",
            "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags");

    private static final Pattern B3 = Pattern.compile(
            "(?!0+-)([0-9a-f]{16}|[0-9a-f]{32})-(?!0{16})([0-9a-f]{16})(?:-([01d]|true|false)(?:-[0-9a-f]{16})?)?");
    private static final Pattern TRACEPARENT = Pattern.compile(
            "(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?");
    private static final Pattern CLOUD_TRACE =
            Pattern.compile("(?!0{32})([0-9a-f]{32})(?:/([0-9]{0,20}))?(?:;o=([0-9]?))?");

    private static final ThreadLocal<Trace> CURRENT = new ThreadLocal<>();

    /** The headers for an outgoing request. */
    final Map<String, String> headers = new LinkedHashMap<>();
    /** Hexadecimal, or null. */
    String traceId;
    /** Hexadecimal, or null. */
    String spanId;
    boolean isSampled;

    /** Returns the trace of the request that this thread works for, or null. */
    static Trace current() {
        return CURRENT.get();
    }

    /** Returns the headers for an outgoing request. Outside of a request there are none. */
    static Map<String, String> currentHeaders() {
        Trace trace = current();
        return trace == null ? Map.of() : trace.headers;
    }

    /** Binds a trace to this thread; null is none. Returns the one before, for the caller to bind again at the end. */
    static Trace bind(Trace trace) {
        Trace before = CURRENT.get();
        CURRENT.set(trace);
        return before;
    }

    /** Returns a task for another thread, with the trace of this one. */
    static Runnable wrap(Runnable task) {
        Trace trace = current();
        return () -> {
            Trace before = bind(trace);
            try {
                task.run();
            } finally {
                bind(before);
            }
        };
    }

    /** Reads the trace of a request. {@code lines} returns the values of a header, or null. */
    Trace(Function<String, List<String>> lines) {
        for (String name : HEADERS) {
            List<String> values = lines.apply(name);
            String value = values == null ? "" : String.join(",", values);
            // No valid header is longer or has other characters, which an HTTP client may reject.
            if (!value.isEmpty() && value.length() <= 8192 && value.chars().allMatch(c -> c >= 0x20 && c <= 0x7e)) {
                headers.put(name, value);
            }
        }
        readIds();
    }

    private void readIds() {
        List<String> multi = new ArrayList<>(List.of(header("x-b3-traceid"), header("x-b3-spanid"),
                header("x-b3-flags").equals("1") ? "d" : header("x-b3-sampled")));
        multi.removeIf(String::isEmpty);
        for (String value : List.of(header("b3"), String.join("-", multi))) {
            Matcher found = B3.matcher(value.toLowerCase(Locale.ROOT));
            if (found.matches()) {
                traceId = "0".repeat(32 - found.group(1).length()) + found.group(1);
                spanId = found.group(2);
                isSampled = List.of("1", "d", "true").contains(String.valueOf(found.group(3)));
                return;
            }
        }
        Matcher found = TRACEPARENT.matcher(header("traceparent"));
        if (found.matches()) {
            traceId = found.group(1);
            spanId = found.group(2);
            isSampled = Integer.parseInt(found.group(3), 16) % 2 == 1;
            return;
        }
        found = CLOUD_TRACE.matcher(header("x-cloud-trace-context").toLowerCase(Locale.ROOT));
        if (found.matches()) {
            traceId = found.group(1);
            isSampled = number(found.group(3)).testBit(0);
            BigInteger span = number(found.group(2)); // decimal in this header only
            if (span.signum() > 0 && span.bitLength() <= 64) {
                spanId = String.format("%016x", span);
            }
        }
    }

    private String header(String name) {
        return headers.getOrDefault(name, "");
    }

    private static BigInteger number(String digits) {
        return digits == null || digits.isEmpty() ? BigInteger.ZERO : new BigInteger(digits);
    }
}
