"""Pictures of the viewer: screenshots.py EXPORTER FOLDER.

Starts the exporter, sends it invented traces and log lines, and takes pictures with Chromium.
"""

import base64
import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.request

CALLS = {
    "gateway": ["shop"],
    "shop": ["cart", "payments", "catalog"],
    "cart": ["redis-proxy"],
    "payments": ["fraud", "bank"],
    "catalog": ["search"],
}
ROUTES = {
    "gateway": ["/basket/{id}", "/checkout", "/products/{id}"],
    "shop": ["/basket/{id}", "/checkout", "/products/{id}"],
    "cart": ["/cart/{id}"],
    "payments": ["/payments"],
    "catalog": ["/products/{id}"],
    "fraud": ["/score"],
    "bank": ["/charge"],
    "search": ["/query"],
    "redis-proxy": ["/get"],
}
PICTURES = [
    ("viewer-list.png", "/", 1280, 760),
    ("viewer-trace.png", "/trace/{trace}", 1440, 900),
    ("viewer-logs.png", "/logs?severity=WARNING", 1280, 600),
    ("viewer-services.png", "/services", 1280, 820),
]

# The same pictures each time, apart from their times.
chance = random.Random(4711)


def digits(count):
    return "".join(chance.choice("0123456789abcdef") for _ in range(count))


def attribute(key, value):
    kind = "intValue" if isinstance(value, int) else "stringValue"
    return {"key": key, "value": {kind: str(value)}}


class Shop:
    """Spans and log records by service."""

    def __init__(self):
        self.spans = {}
        self.records = {}

    def call(self, trace, parent, service, start, fails):
        """Adds a span and those below it. Returns its duration in nanoseconds and whether it failed."""
        span, route = digits(16), chance.choice(ROUTES[service])
        duration = chance.lognormvariate(1.6, 0.7) * 1e6
        failed, below = fails and service in ("bank", "search"), start + duration * 0.2
        for called in CALLS.get(service, []):
            if called != "redis-proxy" and chance.random() < 0.25 and not fails:
                continue
            took, broken = self.call(trace, span, called, below, fails)
            below += took + 2e5
            failed = failed or (broken and service != "shop")
        duration = max(duration, below - start + duration * 0.3)
        status = 503 if failed and service == "bank" else 502 if failed else 200
        self.spans.setdefault(service, []).append({
            "traceId": trace,
            "spanId": span,
            "parentSpanId": parent,
            "name": "GET " + route,
            "kind": 2,
            "startTimeUnixNano": str(int(start)),
            "endTimeUnixNano": str(int(start + duration)),
            "attributes": [
                attribute("http.request.method", "GET"),
                attribute("http.route", route),
                attribute("http.response.status_code", status),
                attribute("url.path", route.replace("{id}", str(chance.randrange(9999)))),
                attribute("user.id", "user-%d" % chance.randrange(5000)),
            ],
            "status": {"code": 2, "message": "the bank does not respond"} if failed else {},
        })
        texts = {
            "cart": "loaded basket with %d items" % chance.randrange(1, 12),
            "catalog": "SELECT * FROM products WHERE id = %d" % chance.randrange(9999),
            "payments": "charging order %d" % chance.randrange(10**6),
        }
        if failed and service == "payments":
            self.log(trace, span, service, start + duration * 0.9, 17, "card declined: the bank does not respond")
        elif service in texts:
            self.log(trace, span, service, start + duration * 0.5, chance.choice([9, 9, 9, 13]), texts[service])
        return duration, failed

    def log(self, trace, span, service, at, severity, text):
        self.records.setdefault(service, []).append({
            "timeUnixNano": str(int(at)),
            "severityNumber": severity,
            "body": {"stringValue": text},
            "traceId": trace,
            "spanId": span,
        })

    def send(self, url):
        """Sends what was added, and begins again."""
        resource = lambda service: {"attributes": [attribute("service.name", service)]}
        spans = [{"resource": resource(name), "scopeSpans": [{"spans": spans}]} for name, spans in self.spans.items()]
        records = [
            {"resource": resource(name), "scopeLogs": [{"logRecords": records}]}
            for name, records in self.records.items()
        ]
        post(url + "/v1/traces", {"resourceSpans": spans})
        post(url + "/v1/logs", {"resourceLogs": records})
        self.__init__()


def post(url, body, method=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.loads(response.read() or "{}")


def fill(url):
    """Sends an hour of traces. Returns the id of one whose payment fails."""
    shop, now, shown = Shop(), time.time_ns(), ""
    for number in range(400):
        trace, fails = digits(32), chance.random() < 0.06 or number == 395
        shop.call(trace, "", "gateway", now - (400 - number) * 9e9, fails)
        if number == 395:
            shown = trace
        if number % 50 == 49:
            shop.send(url)
    return shown


def photograph(view, trace, folder):
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        started = next(line for line in driver.stdout if "successfully on port" in line)
        url = "http://127.0.0.1:%s/session" % started.split("port ")[-1].strip().rstrip(".")
        for name, path, width, height in PICTURES:
            arguments = [
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--window-size=%d,%d" % (width, height),
            ]
            options = {"goog:chromeOptions": {"args": arguments}}
            session = post(url, {"capabilities": {"alwaysMatch": options}})["value"]["sessionId"]
            page = "%s/%s" % (url, session)
            post(page + "/url", {"url": view + path.format(trace=trace)})
            time.sleep(1)
            picture = post(page + "/screenshot", None, "GET")["value"]
            with open("%s/%s" % (folder, name), "wb") as file:
                file.write(base64.b64decode(picture))
            post(page, None, "DELETE")
            print("screenshots: %s/%s" % (folder, name))
    finally:
        driver.terminate()
        driver.wait()


def main():
    program, folder = sys.argv[1:]
    with tempfile.TemporaryDirectory() as data:
        anywhere = "127.0.0.1:0"
        options = ["--http", anywhere, "--grpc", anywhere, "--view", anywhere, "--data-dir", data]
        exporter = subprocess.Popen([program, *options], stdout=subprocess.PIPE, text=True)
        try:
            lines = (json.loads(line) for line in exporter.stdout)
            ready = next(line for line in lines if line["message"].endswith("ready"))
            trace = fill("http://" + ready["http"])
            # The store is behind the receiver.
            time.sleep(3)
            photograph("http://" + ready["view"], trace, folder)
        finally:
            exporter.terminate()
            exporter.wait()


main()
