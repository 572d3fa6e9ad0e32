import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.Collections;
import java.util.Map;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.descriptor.web.FilterDef;
import org.apache.tomcat.util.descriptor.web.FilterMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The same service on Tomcat, with SLF4J and Logback. Usage: PORT=8080 SERVICE_NAME=shop LogbackShop NAME [URL] */
public final class LogbackShop extends HttpServlet {
    private static final Logger LOG = LoggerFactory.getLogger("shop");
    private static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    private final String next;

    private LogbackShop(String next) {
        this.next = next;
    }

    public static void main(String[] arguments) throws Exception {
        JsonLine.checkFormat(); // Logback would only print the error, and log nothing
        Thread.setDefaultUncaughtExceptionHandler(
                (thread, error) -> LOG.error("uncaught exception in " + thread.getName(), error));

        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(Files.createTempDirectory("shop").toString());
        tomcat.setPort(Integer.parseInt(System.getenv().getOrDefault("PORT", "8080")));
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        tomcat.getConnector().setProperty("maxHttpHeaderSize", "32768"); // baggage alone can have 8 KiB, the default
        tomcat.getConnector().setThrowOnFailure(true);
        Context context = tomcat.addContext("", null);
        Tomcat.addServlet(context, "shop", new LogbackShop(arguments.length > 1 ? arguments[1] : null));
        context.addServletMapping("/*", "shop");

        FilterDef filter = new FilterDef();
        filter.setFilterName("trace");
        filter.setFilter(new TraceFilter());
        context.addFilterDef(filter);
        FilterMap everywhere = new FilterMap();
        everywhere.setFilterName("trace");
        everywhere.addURLPattern("/*");
        context.addFilterMap(everywhere);

        tomcat.start();
        LOG.info("ready", Map.of("address", "127.0.0.1:" + tomcat.getConnector().getLocalPort()));
    }

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String path = request.getPathInfo();
        switch (path.split("/")[1]) {
            case "orders":
                order(path);
                break;
            case "fields":
                fields();
                break;
            default:
                throw new IllegalStateException("disk full:\n0 bytes left", new IOException("no space"));
        }
        response.getWriter().println("ok");
    }

    private void order(String path) throws IOException {
        String order = path.substring(path.lastIndexOf('/') + 1);
        LOG.info("order opened", Map.of("order", order));
        if (next != null) {
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(next + path));
            Trace.currentHeaders().forEach(request::setHeader);
            try {
                int status = CLIENT.send(request.build(), BodyHandlers.ofString()).statusCode();
                LOG.info("next service answered", Map.of("order", order, "status", status));
            } catch (InterruptedException error) {
                throw new IOException(error);
            }
        }
    }

    private static void fields() {
        LOG.warn("naïve \"quotes\",\na line break, \u001b and 🧺", Map.of(
                "user", 7, "big", BigInteger.TWO.pow(64).subtract(BigInteger.ONE), "ratio", Double.NaN,
                "list", Arrays.asList(1, Collections.singletonMap("a", null)), "severity", "mine", "cut", "cut \ud83d",
                "labels", Map.of("team", "data"),
                "httpRequest",
                Map.of("requestMethod", "GET", "status", 200, "responseSize", "512", "latency", "0.005s")));
    }
}
