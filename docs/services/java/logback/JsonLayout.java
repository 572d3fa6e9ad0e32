import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.classic.spi.ThrowableProxy;
import ch.qos.logback.core.LayoutBase;
import java.time.Instant;
import java.util.Map;

/**
 * Formats the events of Logback. A {@code Map} among the arguments of an event has fields:
 * {@code log.info("order opened", Map.of("order", 7))}.
 */
public final class JsonLayout extends LayoutBase<ILoggingEvent> {
    private String service = "";
    private String version = "";

    /** Sets the name of the service for Error Reporting. */
    public void setService(String service) {
        this.service = service;
    }

    /** Sets the version of the service for Error Reporting. */
    public void setVersion(String version) {
        this.version = version;
    }

    @Override
    public void start() {
        JsonLine.checkFormat();
        super.start();
    }

    @Override
    public String doLayout(ILoggingEvent event) {
        Instant time = Instant.ofEpochMilli(event.getTimeStamp());
        JsonLine line = new JsonLine(severity(event.getLevel()), event.getFormattedMessage(), time);
        if (event.getCallerData().length > 0) {
            line.source(event.getCallerData()[0]);
        }
        // Not `Trace.current()`: an AsyncAppender formats in another thread.
        Map<String, String> ids = event.getMDCPropertyMap();
        line.trace(ids.get("trace"), ids.get("spanId"), Boolean.parseBoolean(ids.get("trace_sampled")));
        if (event.getThrowableProxy() instanceof ThrowableProxy) {
            line.error(((ThrowableProxy) event.getThrowableProxy()).getThrowable(), service, version);
        }
        for (Object argument : event.getArgumentArray() == null ? new Object[0] : event.getArgumentArray()) {
            if (argument instanceof Map) {
                line.fields((Map<?, ?>) argument);
            }
        }
        return line.toString();
    }

    private static String severity(Level level) {
        switch (level.toInt()) {
            case Level.ERROR_INT:
                return "ERROR";
            case Level.WARN_INT:
                return "WARNING";
            case Level.INFO_INT:
                return "INFO";
            default:
                return "DEBUG";
        }
    }
}
