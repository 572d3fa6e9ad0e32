import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.logging.ErrorManager;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogManager;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;

/**
 * Writes the records of {@code java.util.logging} to stdout. A {@code Map} among the parameters of a record has fields:
 * {@code log.log(Level.INFO, "order opened", Map.of("order", 7))}.
 */
final class JsonHandler extends Handler {
    private final OutputStream out = new FileOutputStream(FileDescriptor.out);
    private final SimpleFormatter messages = new SimpleFormatter();
    private final String service;
    private final String version;

    private JsonHandler(String service, String version) {
        this.service = service;
        this.version = version;
    }

    /** Makes all loggers write JSON lines, also for exceptions that nobody catches. */
    static void install(String service, String version) {
        JsonLine.checkFormat();
        LogManager.getLogManager().reset();
        Logger root = Logger.getLogger("");
        root.addHandler(new JsonHandler(service, version));
        Thread.setDefaultUncaughtExceptionHandler(
                (thread, error) -> root.log(Level.SEVERE, "uncaught exception in " + thread.getName(), error));
    }

    @Override
    public void publish(LogRecord record) {
        JsonLine line = new JsonLine(severity(record.getLevel()), messages.formatMessage(record), record.getInstant());
        String called = record.getSourceClassName(); // found by its first use, in the thread that logs
        StackWalker.getInstance().walk(frames -> frames
                .filter(frame -> frame.getClassName().equals(called)).findFirst())
                .ifPresent(frame -> line.source(frame.toStackTraceElement()));
        Trace trace = Trace.current();
        if (trace != null) {
            line.trace(trace.traceId, trace.spanId, trace.isSampled);
        }
        line.error(record.getThrown(), service, version);
        for (Object parameter : record.getParameters() == null ? new Object[0] : record.getParameters()) {
            if (parameter instanceof Map) {
                line.fields((Map<?, ?>) parameter);
            }
        }
        byte[] bytes = line.toString().getBytes(StandardCharsets.UTF_8);
        synchronized (out) {
            try {
                out.write(bytes);
            } catch (IOException error) {
                reportError("stdout", error, ErrorManager.WRITE_FAILURE);
            }
        }
    }

    private static String severity(Level level) {
        int value = level.intValue();
        return value >= 1000 ? "ERROR" : value >= 900 ? "WARNING" : value >= 800 ? "INFO" : "DEBUG";
    }

    @Override
    public void flush() {}

    @Override
    public void close() {}
}
