# SPDX-License-Identifier: Apache-2.0
"""Publishes with the PyPI client `cloudevents`, receives by push and by pull, and compares.

usage: cloudevents_client.py SERVER_PORT PUSH_PORT...

Each push port is one that a subscriber of the server pushes to; the subscriber `books` pulls.
"""

import json
import queue
import sys
import threading
import urllib.request
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_http_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

SERVER = int(sys.argv[1])
PUSH = [int(port) for port in sys.argv[2:]]
DEADLINE = 30


def request(path, body, headers):
    url = f"http://127.0.0.1:{SERVER}{path}"
    call = urllib.request.Request(url, data=body, headers=headers, method="POST")
    with urllib.request.urlopen(call, timeout=DEADLINE) as answer:
        return answer.status, answer.read()


def event(number, data, **more):
    attributes = {
        "id": f"py-{number}",
        "source": "/python",
        "type": "order.placed",
        "specversion": "1.0",
        "time": datetime(2026, 3, 9, 14, 5, number, tzinfo=timezone.utc),
        "datacontenttype": "application/json",
    }
    attributes.update(more)
    return CloudEvent({k: v for k, v in attributes.items() if v is not None}, data)


EVENTS = [
    event(1, {"total": 250, "name": "größe 😀"}),
    event(2, {"nested": [1, 2.5, None, True]}, subject='Euro € 😀 100% "quoted"'),
    event(3, b"\x00\x01\xff", datacontenttype="application/octet-stream"),
    event(4, "plain text, grüß", datacontenttype="text/plain"),
    event(5, [1, 2, 3], partitionkey="k 1", dataschema="https://shop.example/schema#1"),
]


def fields(one):
    """What must be the same on the other side."""
    attributes = dict(one.get_attributes())
    data = one.get_data()
    # A binary message has no types of its own: bytes and text are told apart by their media type only.
    if attributes.get("datacontenttype") == "text/plain" and isinstance(data, bytes):
        data = data.decode()
    return attributes, data


def compare(name, got, expected):
    if fields(got) != fields(expected):
        sys.exit(f"{name}: {fields(got)} came, {fields(expected)} was sent")


received = {port: queue.Queue() for port in PUSH}


class Endpoint(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        received[self.server.server_address[1]].put(HTTPMessage(headers=headers, body=body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


for port in PUSH:
    server = ThreadingHTTPServer(("127.0.0.1", port), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()

# Each event in both modes, and all of them as a batch: the client has no batch mode, but its structured events are
# what a batch is made of.
sent = []
for one in EVENTS:
    for pack in (to_binary_event, to_structured_event):
        message = pack(one)
        status, answer = request("/v1/topics/orders/events", message.body, message.headers)
        if status != 202 or json.loads(answer)["accepted"] != 1:
            sys.exit(f"{pack.__name__} was answered {status} {answer!r}")
        sent.append(one)
batch = b"[" + b",".join(to_structured_event(one).body for one in EVENTS) + b"]"
status, answer = request("/v1/topics/orders/events", batch, {"Content-Type": "application/cloudevents-batch+json"})
if status != 202 or json.loads(answer)["accepted"] != len(EVENTS):
    sys.exit(f"the batch was answered {status} {answer!r}")
sent += EVENTS

expected = {one.get_id(): one for one in EVENTS}
for port in PUSH:
    for _ in sent:
        message = received[port].get(timeout=DEADLINE)
        # The client takes any message with a ce- header for a binary one, whatever its Content-Type.
        got = from_http_event(message)
        compare(f"push to {port}", got, expected[got.get_id()])

pulled = 0
while pulled < len(sent):
    status, answer = request(
        "/v1/subscribers/books/pull", b'{"max":100,"wait":"20s"}', {"Content-Type": "application/json"})
    deliveries = json.loads(answer)["deliveries"]
    if not deliveries:
        sys.exit(f"{pulled} of {len(sent)} events were pulled")
    for delivery in deliveries:
        got = JSONFormat().read(CloudEvent, json.dumps(delivery["event"]).encode())
        compare("pull", got, expected[got.get_id()])
    pulled += len(deliveries)
    leases = json.dumps({"ack": [delivery["lease"] for delivery in deliveries]}).encode()
    request("/v1/subscribers/books/settle", leases, {"Content-Type": "application/json"})
print(f"{len(sent)} events, pushed to {len(PUSH)} endpoints and pulled")
