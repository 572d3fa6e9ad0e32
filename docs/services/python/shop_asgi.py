"""The same service on an ASGI server. Usage: pip install uvicorn; PORT=8080 shop_asgi.py NAME [URL]"""

import asyncio
import os
import socket

import uvicorn

import tracelog
from shop import NAME, ROUTES, log


async def app(scope, receive, send):
    assert scope["type"] == "http"
    path = scope["path"]
    await asyncio.to_thread(ROUTES[path.split("/")[1]], path)  # the thread has the trace, too
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"ok\n"})


if __name__ == "__main__":
    tracelog.install(NAME, version="1.2")
    listener = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", 8080))))
    log.info("ready", extra={"address": "%s:%d" % listener.getsockname()})
    # `log_config=None` leaves the loggers of uvicorn as they are, so that they write JSON, too.
    config = uvicorn.Config(tracelog.ASGI(app), lifespan="off", log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
