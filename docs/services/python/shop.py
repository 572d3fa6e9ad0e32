"""A service with three routes, on a WSGI server. Usage: PORT=8080 shop.py NAME [URL of the next service]"""

import logging
import os
import sys
import urllib.request
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import tracelog

log = logging.getLogger("shop")
NAME, NEXT = (*sys.argv[1:], None, None)[:2]


def order(path):
    number = path.rsplit("/", 1)[-1]
    log.info("order opened", extra={"order": number})
    if NEXT:
        request = urllib.request.Request(NEXT + path, headers=tracelog.headers())
        with urllib.request.urlopen(request) as response:
            log.info("next service answered", extra={"order": number, "status": response.status})


def fields(_path):
    log.warning("naïve \"quotes\",\na line break, \x1b and 🧺", extra={
        "user": 7, "big": 2**64 - 1, "ratio": float("nan"), "list": [1, {"a": None}], "severity": "mine",
        "cut": "cut \ud83d", "labels": {"team": "data"},
        "httpRequest": {"requestMethod": "GET", "status": 200, "responseSize": "512", "latency": "0.005s"},
    })


def fail(_path):
    raise ValueError("disk full:\n0 bytes left")


ROUTES = {"orders": order, "fields": fields, "fail": fail}


def app(environ, start_response):
    path = environ["PATH_INFO"]
    ROUTES[path.split("/")[1]](path)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok\n"]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class Handler(WSGIRequestHandler):
    def log_message(self, *_):
        pass  # the filter logs each request


if __name__ == "__main__":
    tracelog.install(NAME, version="1.2")
    with Server(("127.0.0.1", int(os.environ.get("PORT", 8080))), Handler) as server:
        server.set_app(tracelog.WSGI(app))
        log.info("ready", extra={"address": "%s:%d" % server.server_address})
        server.serve_forever()
