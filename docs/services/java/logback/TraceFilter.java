import jakarta.servlet.Filter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.http.HttpServletRequest;
import java.io.IOException;
import java.util.Collections;
import org.slf4j.LoggerFactory;
import org.slf4j.MDC;

/** Binds the trace of each request to its thread, and its ids to the MDC. It has to be the first filter. */
public final class TraceFilter implements Filter {
    @Override
    public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        HttpServletRequest http = (HttpServletRequest) request;
        Trace trace = new Trace(name -> Collections.list(http.getHeaders(name)));
        Trace before = Trace.bind(trace);
        if (trace.traceId != null) {
            MDC.put("trace", trace.traceId);
            MDC.put("trace_sampled", String.valueOf(trace.isSampled));
            if (trace.spanId != null) {
                MDC.put("spanId", trace.spanId);
            }
        }
        try {
            chain.doFilter(request, response);
        } catch (IOException | ServletException | RuntimeException error) {
            LoggerFactory.getLogger(TraceFilter.class).error("unhandled exception", error);
            throw error;
        } finally {
            MDC.remove("trace");
            MDC.remove("trace_sampled");
            MDC.remove("spanId");
            Trace.bind(before);
        }
    }
}
