#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same work for Fairlead and for the systems people would pick instead, by turns, in one run on one machine.

    Benchmarks/Peers/run.py --load .build/bench --fairlead .build/release/fairlead --output results.json

Writes every round's figure; report.py makes tables and plots of them."""

import argparse
import datetime
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import servers

LATENCY_SECONDS = 10
LATENCY_RATES = (1_000, 10_000, 50_000)


class Bench:
    def __init__(self, options, folder):
        self.options = options
        self.folder = pathlib.Path(folder)
        self.program = os.path.join(options.load, "load")
        self.sink = subprocess.Popen([os.path.join(options.load, "sink")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     text=True)
        self.sink_port = int(self.sink.stdout.readline())
        everyone = [servers.Fairlead(folder, options.fairlead, self.sink_port), servers.Nats(folder),
                    servers.RedisAlways(folder), servers.RedisEverySecond(folder), servers.RabbitMQ(folder)]
        wanted = options.system or [each.name for each in everyone]
        self.servers = [each for each in everyone if each.name in wanted]
        self.results = []

    def load(self, server, work, topic, **values):
        words = [self.program, server.load, work, "port", str(server.port), "topic", topic]
        for name, value in values.items():
            words += [name, str(value)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            raise Refused(done.stderr.strip())
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def record(self, work, server, **figures):
        self.results.append({"work": work, "system": server.name, **figures})
        shown = "  ".join(f"{name} {value:,.2f}" if isinstance(value, float) else f"{name} {value:,}"
                          for name, value in figures.items())
        print(f"{work:24} {server.name:16} {shown}", flush=True)

    def measured(self, work, server, events, act):
        """`act` answers the load generator's figures; a rate, and the server's processor time for each event, are kept."""
        cpu, since = server.cpu(), time.monotonic()
        figures = act()
        spent = time.monotonic() - since if figures is None else figures["seconds"]
        self.record(work, server, rate=events / spent, cpu_us=(server.cpu() - cpu) * 1e6 / events,
                    load_us=(figures or {}).get("load_cpu", 0.0) * 1e6 / events)

    def publish(self, server, work, topic, size, batch, connections, events):
        self.load(server, "prepare", topic, subscribers=1 if server.load == "rabbitmq" else 0)
        self.measured(work, server, events, lambda: self.load(
            server, "publish", topic, size=size, batch=batch, connections=connections, events=events))

    def receive(self, server, events):
        self.load(server, "prepare", "pulled")
        self.load(server, "publish", "pulled", events=events)
        self.measured("receive", server, events,
                      lambda: self.load(server, "receive", "pulled", events=events, connections=4))

    def push(self, server, events):
        if server.load != "fairlead":
            return
        def act():
            before, since = server.acked("pusher"), time.monotonic()
            self.load(server, "publish", "pushed", events=events)
            self.wait(lambda: server.acked("pusher") >= before + events)
            return {"seconds": time.monotonic() - since}
        self.measured("push", server, events, act)

    def script(self, server, events):
        """Events that are there already, handled by the system's own Lua."""
        if server.load == "fairlead":
            server.call("POST", "/v1/subscribers/handler/pause")
            before = server.acked("handler")
            self.load(server, "publish", "handled", events=events)
            def act():
                since = time.monotonic()
                server.call("POST", "/v1/subscribers/handler/resume")
                self.wait(lambda: server.acked("handler") >= before + events)
                return {"seconds": time.monotonic() - since}
            self.measured("script", server, events, act)
        elif server.load == "redis":
            self.load(server, "prepare", "handled")
            self.load(server, "publish", "handled", events=events)
            self.measured("script", server, events,
                          lambda: self.load(server, "script", "handled", events=events, connections=2))

    def passing(self, server, events):
        """Publish, filter, handle, settle: Lua inside Fairlead, C with simdjson beside the others."""
        if server.load == "fairlead":
            def act():
                before, since = server.acked("passer"), time.monotonic()
                self.load(server, "publish", "passed", events=events)
                self.wait(lambda: server.acked("passer") >= before + events)
                return {"seconds": time.monotonic() - since}
        else:
            self.load(server, "prepare", "passed")
            def act():
                return self.load(server, "pass", "passed", events=events)
        self.measured("pass", server, events, act)

    def fan(self, server, subscribers, events):
        topic = f"fan{subscribers}"
        self.load(server, "prepare", topic, subscribers=subscribers)
        self.measured(topic, server, events * subscribers, lambda: self.load(
            server, "fan", topic, subscribers=subscribers, events=events, connections=4))

    def latency(self, server, rate, work=None, seconds=LATENCY_SECONDS):
        self.load(server, "prepare", "latency")
        figures = self.load(server, "latency", "latency", rate=rate, seconds=seconds)
        self.record(work or f"latency-{rate}", server, **{name: figures[name] for name in ("p50", "p99", "p999", "max")})

    def backlog(self, server, events):
        """What nobody has received for long: memory, live latency beside it, start-up with it, and its drain."""
        self.load(server, "prepare", "backlog")
        empty = server.memory()
        self.load(server, "publish", "backlog", events=events)
        self.record("backlog-memory", server, empty_mb=empty / 1e6, full_mb=server.memory() / 1e6)
        self.latency(server, 1_000, "backlog-latency", 5)
        server.stop()
        self.record("backlog-start", server, seconds=server.start())
        self.measured("backlog-drain", server, events,
                      lambda: self.load(server, "receive", "backlog", events=events, connections=4))
        self.record("backlog-drained", server, full_mb=server.memory() / 1e6)

    @staticmethod
    def wait(is_done, limit=600):
        until = time.monotonic() + limit
        while not is_done():
            if time.monotonic() > until:
                raise Refused(f"not done within {limit} s")
            time.sleep(0.005)

    def works(self):
        events = self.options.events
        yield "publish-256", lambda each: self.publish(each, "publish-256", "plain", 256, 500, 8, events)
        yield "publish-2048", lambda each: self.publish(each, "publish-2048", "plain", 2048, 500, 8, events // 4)
        yield "single-256", lambda each: self.publish(each, "single-256", "plain", 256, 1, 64, events // 10)
        yield "single-2048", lambda each: self.publish(each, "single-2048", "plain", 2048, 1, 64, events // 10)
        yield "receive", lambda each: self.receive(each, events)
        yield "push", lambda each: self.push(each, events // 10)
        yield "script", lambda each: self.script(each, events)
        yield "pass", lambda each: self.passing(each, events)
        yield "fan5", lambda each: self.fan(each, 5, events // 10)
        yield "fan50", lambda each: self.fan(each, 50, events // 100)
        for rate in LATENCY_RATES:
            yield f"latency-{rate}", lambda each, rate=rate: self.latency(each, rate)

    def run(self):
        self.calibrate()
        for name, act in self.works():
            if self.options.only and not any(text in name for text in self.options.only):
                continue
            for number in range(self.options.rounds + 1):
                # One after the other, the first of each round another: what the machine does meanwhile meets all alike.
                turn = self.servers[number % len(self.servers):] + self.servers[:number % len(self.servers)]
                kept = len(self.results)
                for server in turn:
                    server.start()
                    try:
                        act(server)
                    except Refused as reason:
                        print(f"{name:24} {server.name:16} {reason}", flush=True)
                        self.results.append({"work": name, "system": server.name, "refused": str(reason)})
                    finally:
                        server.stop()
                        if number == self.options.rounds or server.load != "fairlead":
                            server.remove()
                if number == 0:
                    # Files, caches and compilers are warm after it.
                    del self.results[kept:]
        if not self.options.only or "backlog" in self.options.only:
            for server in self.servers:
                server.start()
                try:
                    self.backlog(server, self.options.backlog)
                except Refused as reason:
                    self.results.append({"work": "backlog", "system": server.name, "refused": str(reason)})
                finally:
                    server.remove()
        self.calibrate()

    def calibrate(self):
        done = subprocess.run([os.path.join(self.options.load, "calibrate"), str(self.folder)], capture_output=True, text=True,
                              check=True)
        self.results.append({"work": "calibration", "system": "machine", **json.loads(done.stdout)})
        print("calibration", done.stdout.strip(), flush=True)
        idle = subprocess.run([self.program, "fairlead", "idle"], capture_output=True, text=True, check=True)
        figures = json.loads(idle.stdout)
        self.results.append({"work": "load-idle", "system": "machine", "rate": figures["events"] / figures["seconds"]})

    def close(self):
        for server in self.servers:
            server.remove()
        self.sink.kill()
        self.sink.wait()


class Refused(Exception):
    pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", default=".build/bench", help="where load, sink and calibrate are")
    parser.add_argument("--fairlead", default=".build/release/fairlead")
    parser.add_argument("--events", type=int, default=1_000_000, help="of a round of the fastest works")
    parser.add_argument("--backlog", type=int, default=10_000_000, help="events nobody received")
    parser.add_argument("--rounds", type=int, default=3, help="after one that warms up")
    parser.add_argument("--only", action="append", help="works whose name contains this; may be repeated")
    parser.add_argument("--system", action="append", help="only this system; may be repeated")
    parser.add_argument("--folder", help="where the systems keep their files: the disk that is measured")
    parser.add_argument("--output", default="results.json")
    options = parser.parse_args()
    # Ended from outside, it still stops what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bench = Bench(options, folder)
        try:
            bench.run()
        finally:
            bench.close()
    pathlib.Path(options.output).write_text(json.dumps({
        "date": datetime.date.today().isoformat(), "processors": os.cpu_count(), "events": options.events,
        "backlog": options.backlog, "rounds": options.rounds, "results": bench.results}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
