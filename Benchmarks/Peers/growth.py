#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How Fairlead's cost grows with what there is: subscribers, topics, plugins, backlog, bytes of an event.

    Benchmarks/Peers/growth.py --load .build/bench --fairlead .build/release/fairlead --output growth.json"""

import argparse
import json
import pathlib
import signal
import sys
import tempfile
import time

import run
import servers

CURVES = {
    "subscribers": {"title": "Publish → settled, events/s", "across": "subscribers, each event matches one", "unit": "/s"},
    "subscribers-memory": {"title": "Memory, MB", "across": "subscribers, pull, with filters", "unit": "MB"},
    "topics": {"title": "Durable publish, events/s", "across": "topics, by turns", "unit": "/s"},
    "topics-memory": {"title": "Memory, MB", "across": "topics", "unit": "MB"},
    "plugins": {"title": "Publish → Lua → settled, events/s", "across": "subscribers in Lua, each event matches one", "unit": "/s"},
    "plugins-memory": {"title": "Memory, MB", "across": "subscribers in Lua", "unit": "MB"},
    "plugins-reload": {"title": "Reload after an edit of one plugin, s", "across": "subscribers in Lua", "unit": "s"},
    "backlog": {"title": "Publish → Lua → settled, events/s", "across": "events that another subscriber has not taken", "unit": "/s"},
    "backlog-memory": {"title": "Memory, MB", "across": "events that a subscriber has not taken", "unit": "MB"},
    "payload": {"title": "Durable publish, MB/s", "across": "bytes of an event", "unit": "MB/s"},
}


class Grown(servers.Fairlead):
    """A server with a configuration made for one point of a curve."""

    def __init__(self, folder, program, lines, plugins=None):
        super().__init__(folder, program, 9)
        self.lines = lines
        self.plugins = plugins or {}

    def routes(self):
        return [f"listen 127.0.0.1:{self.port}", 'data "data"', 'plugins "Plugins"'] + self.lines

    def command(self):
        command = super().command()
        for name, text in self.plugins.items():
            (self.folder / "Plugins" / f"{name}.lua").write_text(text)
        return command


HANDLER = "return function(event, ctx)\n  local line = event.data.order_id .. event.data.currency\n  return #line > 0\nend\n"


class Growth(run.Bench):
    def point(self, curve, x, y):
        self.results.append({"work": curve, "x": x, "y": y})
        print(f"{curve:20} {x:>8,} {y:,.3f}", flush=True)

    def server(self, lines, plugins=None):
        return Grown(self.folder, self.options.fairlead, lines, plugins)

    def within(self, server, act):
        server.start()
        try:
            act()
        finally:
            server.remove()

    def settled(self, server, topic, name, events):
        before, since = server.acked(name), time.monotonic()
        self.load(server, "publish", topic, events=events)
        self.wait(lambda: server.acked(name) >= before + events)
        return events / (time.monotonic() - since)

    def subscribers(self, count):
        """Only the last one's filter is true."""
        lines = ["topic t { retain 1d }"]
        lines += [f"subscriber s{i} {{ from t; where data.order_id = 'o-{i}'; pull }}" for i in range(count - 1)]
        lines.append("subscriber last { from t; where data.order_id = 'o-123456'; run handler }")
        server = self.server(lines)
        def act():
            self.load(server, "publish", "t", events=20_000)
            self.point("subscribers", count, self.settled(server, "t", "last", self.options.events))
            self.point("subscribers-memory", count, server.memory() / 1e6)
        self.within(server, act)

    def topics(self, count):
        server = self.server([f"topic t{i} {{ retain 1d }}" for i in range(count)])
        def act():
            self.load(server, "publish", "t", topics=count, events=500 * count)
            figures = self.load(server, "publish", "t", topics=count, events=self.options.events)
            self.point("topics", count, self.options.events / figures["seconds"])
            self.point("topics-memory", count, server.memory() / 1e6)
        self.within(server, act)

    def scripts(self, count):
        lines = ["topic t { retain 1d }"]
        plugins = {f"p{i}": HANDLER for i in range(count)}
        lines += [f"subscriber s{i} {{ from t; where data.order_id = 'o-{i}'; run p{i} }}" for i in range(count - 1)]
        lines.append(f"subscriber last {{ from t; where data.order_id = 'o-123456'; run p{count - 1} }}")
        server = self.server(lines, plugins)
        def act():
            self.load(server, "publish", "t", events=20_000)
            self.point("plugins", count, self.settled(server, "t", "last", self.options.events))
            self.point("plugins-memory", count, server.memory() / 1e6)
            (server.folder / "Plugins" / "p0.lua").write_text("-- edited\n" + HANDLER)
            since = time.monotonic()
            status, text = server.call("POST", "/v1/reload")
            if status != 200:
                raise run.Refused(text.decode())
            self.point("plugins-reload", count, time.monotonic() - since)
        self.within(server, act)

    def backlog(self, count):
        """One subscriber handles all that comes, beside one that takes nothing."""
        server = self.server(["topic t { retain 1d }", "subscriber waiting { from t; pull }",
                              "subscriber last { from t; run handler }"])
        def act():
            self.settled(server, "t", "last", count)
            self.point("backlog", count, self.settled(server, "t", "last", self.options.events))
            self.point("backlog-memory", count, server.memory() / 1e6)
        self.within(server, act)

    def payload(self, size):
        batch = max(1, min(500, (1 << 20) // size))
        events = max(2_000, min(self.options.events, (1 << 30) // size))
        server = self.server(["topic t { retain 1d }"])
        def act():
            self.load(server, "publish", "t", size=size, batch=batch, events=min(events, 20_000))
            figures = self.load(server, "publish", "t", size=size, batch=batch, events=events)
            self.point("payload", size, events * size / figures["seconds"] / 1e6)
        self.within(server, act)

    def run(self):
        for _ in range(self.options.rounds):
            for count in (1, 10, 100, 1_000, 10_000):
                self.subscribers(count)
            for count in (1, 10, 100, 1_000):
                self.topics(count)
            for count in (1, 10, 100, 1_000):
                self.scripts(count)
            for count in (10_000, 100_000, 1_000_000, 5_000_000):
                self.backlog(count)
            for size in (128, 512, 2_048, 8_192, 32_768):
                self.payload(size)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", default=".build/bench")
    parser.add_argument("--fairlead", default=".build/release/fairlead")
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder")
    parser.add_argument("--output", default="growth.json")
    options = parser.parse_args()
    options.system = ["none"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        growth = Growth(options, folder)
        try:
            growth.run()
        finally:
            growth.close()
    pathlib.Path(options.output).write_text(
        json.dumps({"curves": CURVES, "rounds": options.rounds, "results": growth.results}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
