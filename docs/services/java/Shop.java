import com.sun.net.httpserver.Filter;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.math.BigInteger;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.logging.Level;
import java.util.logging.Logger;

/** A service with three routes. Usage: PORT=8080 java -cp build Shop NAME [URL of the next service] */
final class Shop {
    private static final Logger LOG = Logger.getLogger("shop");
    private static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    public static void main(String[] arguments) throws IOException {
        JsonHandler.install(arguments[0], "1.2");
        String next = arguments.length > 1 ? arguments[1] : null;

        int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"));
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 128);
        server.setExecutor(Executors.newCachedThreadPool());
        List.of(server.createContext("/orders", exchange -> order(exchange, next)),
                        server.createContext("/fields", Shop::fields),
                        server.createContext("/fail", exchange -> fail()))
                .forEach(context -> context.getFilters().add(new TraceFilter()));
        server.start();
        LOG.log(Level.INFO, "ready", Map.of("address", "127.0.0.1:" + server.getAddress().getPort()));
    }

    /** Binds the trace of each request to its thread, and logs exceptions. */
    private static final class TraceFilter extends Filter {
        @Override
        public void doFilter(HttpExchange exchange, Chain chain) throws IOException {
            Trace before = Trace.bind(new Trace(exchange.getRequestHeaders()::get));
            try {
                chain.doFilter(exchange);
            } catch (Throwable error) {
                LOG.log(Level.SEVERE, "unhandled exception", error);
                exchange.sendResponseHeaders(500, -1);
            } finally {
                exchange.close();
                Trace.bind(before);
            }
        }

        @Override
        public String description() {
            return "trace";
        }
    }

    private static void order(HttpExchange exchange, String next) throws IOException {
        String path = exchange.getRequestURI().getPath();
        String order = path.substring(path.lastIndexOf('/') + 1);
        LOG.log(Level.INFO, "order opened", Map.of("order", order));
        if (next != null) {
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(next + path));
            Trace.currentHeaders().forEach(request::setHeader);
            try {
                int status = CLIENT.send(request.build(), BodyHandlers.ofString()).statusCode();
                LOG.log(Level.INFO, "next service answered", Map.of("order", order, "status", status));
            } catch (InterruptedException error) {
                throw new IOException(error);
            }
        }
        respond(exchange);
    }

    private static void fields(HttpExchange exchange) throws IOException {
        LOG.log(Level.WARNING, "naïve \"quotes\",\na line break, \u001b and 🧺", Map.of(
                "user", 7, "big", BigInteger.TWO.pow(64).subtract(BigInteger.ONE), "ratio", Double.NaN,
                "list", Arrays.asList(1, Collections.singletonMap("a", null)), "severity", "mine", "cut", "cut \ud83d",
                "labels", Map.of("team", "data"),
                "httpRequest",
                Map.of("requestMethod", "GET", "status", 200, "responseSize", "512", "latency", "0.005s")));
        respond(exchange);
    }

    private static void fail() {
        throw new IllegalStateException("disk full:\n0 bytes left", new IOException("no space"));
    }

    private static void respond(HttpExchange exchange) throws IOException {
        byte[] body = "ok\n".getBytes();
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
    }
}
