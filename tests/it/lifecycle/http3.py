"""Sends requests over one connection of HTTP/3, all at the same time.

    http3.py PORT    reads the requests from stdin and writes the responses to stdout, both as JSON

A request has the members method, path, headers and body. With `"cancelled": true` its stream is reset after half a
second. A response has the members status and headers; that of a cancelled request is null.
"""

import asyncio
import json
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.responses = {}
        self.ends = {}

    def quic_event_received(self, event):
        for event in self.http.handle_event(event):
            end = self.ends.get(getattr(event, "stream_id", None))
            if isinstance(event, HeadersReceived):
                fields = [(name.decode(), value.decode()) for name, value in event.headers]
                self.responses.setdefault(event.stream_id, fields)
            if isinstance(event, (HeadersReceived, DataReceived)) and event.stream_ended and end and not end.done():
                end.set_result(None)

    def send(self, request):
        stream = self._quic.get_next_available_stream_id()
        self.ends[stream] = asyncio.get_running_loop().create_future()
        fields = [(":method", request["method"]), (":scheme", "https"), (":authority", "shop"), (":path", request["path"])]
        fields = [(name.encode(), value.encode()) for name, value in fields + request["headers"]]
        body = request["body"].encode()
        self.http.send_headers(stream, fields, end_stream=not body)
        if body:
            self.http.send_data(stream, body, end_stream=True)
        return stream

    async def response(self, request, stream):
        if request["cancelled"]:
            await asyncio.sleep(0.5)
            self._quic.reset_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
            self._quic.stop_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
            self.transmit()
            return None
        await self.ends[stream]
        fields = self.responses[stream]
        return {"status": int(dict(fields)[":status"]), "headers": fields}


async def run(port, requests):
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE, server_name="localhost")
    async with connect("127.0.0.1", port, configuration=configuration, create_protocol=Client) as client:
        streams = [client.send(request) for request in requests]
        client.transmit()
        waits = [client.response(request, stream) for request, stream in zip(requests, streams)]
        return await asyncio.wait_for(asyncio.gather(*waits), 30)


requests = json.load(sys.stdin)
json.dump(asyncio.run(run(int(sys.argv[1]), requests)), sys.stdout)
