# SPDX-License-Identifier: Apache-2.0
"""The systems under test: each a process of its own, on a folder and a port of its own, at its best settings for the work."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

START_SECONDS = 120
STOP_SECONDS = 60
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Starts lazily; `environment` and `command` are the subclass's."""

    name = ""
    load = ""
    durability = ""
    environment = {}

    def __init__(self, folder):
        # Absolute: it is the process's own folder, and stands in its settings as well.
        self.folder = pathlib.Path(folder).resolve() / self.name
        self.port = free_port()
        self.process = None
        self.log = None

    def start(self):
        """Seconds until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = open(self.folder / "output.log", "ab")
        since = time.monotonic()
        self.process = subprocess.Popen(
            self.command(), cwd=self.folder, env=os.environ | self.environment, stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log)
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() - since > START_SECONDS:
                raise SystemExit(f"{self.name} does not start; see {self.folder / 'output.log'}")
            time.sleep(0.002)
        return time.monotonic() - since

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        self.log.close()

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def is_ready(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def processes(self):
        """Its process and all below it."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    fields = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
                    parents[int(entry)] = int(fields[1])
                except OSError:
                    pass
        found, queue = [], [self.process.pid]
        while queue:
            one = queue.pop()
            found.append(one)
            queue += [child for child, parent in parents.items() if parent == one]
        return found

    def cpu(self):
        """Seconds of processor time so far."""
        total = 0
        for process in self.processes():
            try:
                fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
            except OSError:
                pass
        return total / TICKS

    def memory(self):
        """Bytes resident, without pages of files: what would be missing from the machine."""
        total = 0
        for process in self.processes():
            try:
                fields = pathlib.Path(f"/proc/{process}/statm").read_text().split()
                total += (int(fields[1]) - int(fields[2])) * PAGE
            except OSError:
                pass
        return total


class Fairlead(Server):
    name = load = "fairlead"
    durability = "fdatasync before each answer"

    def __init__(self, folder, program, sink_port):
        super().__init__(folder)
        self.program = os.path.abspath(program)
        self.sink_port = sink_port

    def routes(self):
        lines = [f"listen 127.0.0.1:{self.port}", 'data "data"', 'plugins "Plugins"']
        for topic in ("plain", "handled", "passed", "pushed"):
            lines.append(f"topic {topic} {{ retain 1d }}")
        for topic, count in (("pulled", 1), ("latency", 1), ("backlog", 1), ("fan5", 5), ("fan50", 50)):
            lines.append(f"topic {topic} {{ retain 1d }}")
            for index in range(count):
                lines.append(f"subscriber {topic}_s{index} {{ from {topic}; pull; start earliest }}")
        lines += [
            "subscriber backlog_live { from latency; pull }",
            "subscriber handler { from handled; run handler }",
            "subscriber passer { from passed; where data.total > 100 and data.currency = 'EUR'; run handler }",
            f'subscriber pusher {{ from pushed; push "http://127.0.0.1:{self.sink_port}/"; concurrency 64 }}',
        ]
        return lines

    def command(self):
        plugins = self.folder / "Plugins"
        plugins.mkdir(exist_ok=True)
        (plugins / "handler.lua").write_text(
            "return function(event, ctx)\n"
            "  local line = event.data.order_id .. event.data.currency\n"
            "  return #line > 0\n"
            "end\n")
        (self.folder / "routes.conf").write_text("\n".join(self.routes()) + "\n")
        return [self.program, "serve", "routes.conf", "--log-level", "warning"]

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, body)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, text

    def is_ready(self):
        try:
            return self.call("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def acked(self, subscriber):
        _, text = self.call("GET", "/v1/status")
        return next(each["acked"] for each in json.loads(text)["subscribers"] if each["name"] == subscriber)


class Nats(Server):
    name = load = "nats"
    durability = "written, synced every 2 minutes (its default)"

    def command(self):
        (self.folder / "nats.conf").write_text(
            f"listen: 127.0.0.1:{self.port}\n"
            f'jetstream {{ store_dir: "{self.folder}/store", max_mem: 4G, max_file: 100G }}\n')
        return ["nats-server", "-c", "nats.conf"]


class RedisAlways(Server):
    name = "redis-always"
    load = "redis"
    durability = "fdatasync before each answer (appendfsync always)"
    policy = "always"

    def command(self):
        return ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
                "--appendonly", "yes", "--appendfsync", self.policy]

    def is_ready(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as link:
                link.sendall(b"PING\r\n")
                return link.recv(64).startswith(b"+PONG")
        except OSError:
            return False


class RedisEverySecond(RedisAlways):
    name = "redis-everysec"
    durability = "written, synced every second (appendfsync everysec)"
    policy = "everysec"


class RabbitMQ(Server):
    name = load = "rabbitmq"
    durability = "quorum queue, publisher confirms"

    def __init__(self, folder):
        super().__init__(folder)
        self.epmd_port, self.distribution_port = free_port(), free_port()
        self.epmd = None

    @property
    def environment(self):
        return {
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "bench@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
        }

    def command(self):
        (self.folder / "rabbitmq.conf").write_text(
            "vm_memory_high_watermark.relative = 0.8\ndisk_free_limit.absolute = 1GB\n")
        (self.folder / "plugins").write_text("[].\n")
        if self.epmd is None:
            self.epmd = subprocess.Popen(["epmd", "-port", str(self.epmd_port)], stdout=self.log, stderr=self.log,
                                         env=os.environ | self.environment)
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]

    def is_ready(self):
        """It answers the protocol's first frame only once it is up."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as link:
                link.sendall(b"AMQP\x00\x00\x09\x01")
                return len(link.recv(8)) > 0
        except OSError:
            return False

    def remove(self):
        super().remove()
        if self.epmd is not None:
            self.epmd.terminate()
            self.epmd.wait()
            self.epmd = None
