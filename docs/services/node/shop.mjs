// A service with three routes. Usage: PORT=8080 node shop.mjs NAME [URL of the next service]

import http from "node:http";

import { headers, install, log, traced } from "./tracelog.mjs";

const [, , name, next] = process.argv;

const routes = {
  async orders(path) {
    const order = path.split("/").at(-1);
    log.info("order opened", { order });
    if (next) {
      const response = await fetch(next + path, { headers: headers() });
      await response.text();
      log.info("next service answered", { order, status: response.status });
    }
  },

  async fields() {
    log.warn('naïve "quotes",\na line break, \x1b and 🧺', {
      user: 7, big: 2n ** 64n - 1n, ratio: NaN, list: [1, { a: null }], severity: "mine",
      cut: "cut \ud83d", labels: { team: "data" },
      httpRequest: { requestMethod: "GET", status: 200, responseSize: "512", latency: "0.005s" },
    });
  },

  async fail() {
    throw new Error("disk full:\n0 bytes left");
  },
};

install(name, "1.2");
const server = http.createServer(traced(async (request, response) => {
  await routes[request.url.split("/")[1]](request.url);
  response.writeHead(200, { "Content-Type": "text/plain" }).end("ok\n");
}));
server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => {
  log.info("ready", { address: `127.0.0.1:${server.address().port}` });
});
