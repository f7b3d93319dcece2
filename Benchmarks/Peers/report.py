#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the tables and plots of docs/performance.md from what run.py and growth.py measured.

    Benchmarks/Peers/report.py results.json growth.json docs

The tables go between the lines `<!-- name -->` and `<!-- end name -->` of docs/performance.md, the plots into docs/images."""

import json
import pathlib
import re
import statistics
import sys

import plots

SYSTEMS = ("fairlead", "nats", "redis-always", "redis-everysec", "rabbitmq")
THROUGHPUT = {
    "publish-256": "Durable publish, 500 events of 256 B in flight on each of 8 connections",
    "publish-2048": "The same with 2 KB",
    "single-256": "One event of 256 B a request, 64 connections",
    "single-2048": "The same with 2 KB",
    "receive": "Receive and acknowledge, batches of 500, 4 connections",
    "push": "Push over HTTP, one event a request, 64 at once",
    "script": "Handled by the system's own Lua, events that are there already",
    "pass": "Publish → filter → handle → settled (Lua in Fairlead, C with simdjson beside the others)",
    "fan5": "Fan-out to 5 subscribers: deliveries",
    "fan50": "Fan-out to 50 subscribers: deliveries",
}


class Results:
    def __init__(self, path):
        self.file = json.loads(pathlib.Path(path).read_text())
        self.rows = self.file["results"]

    def values(self, work, system, name):
        return sorted(row[name] for row in self.rows if row["work"] == work and row["system"] == system and name in row)

    def median(self, work, system, name):
        values = self.values(work, system, name)
        return statistics.median(values) if values else None

    def refusal(self, work, system):
        return next((row["refused"] for row in self.rows if row["work"] == work and row["system"] == system and "refused" in row), None)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def throughput(results):
    parts = []
    for work, title in THROUGHPUT.items():
        own = results.median(work, "fairlead", "rate")
        rows = []
        for system in SYSTEMS:
            values = results.values(work, system, "rate")
            if not values:
                continue
            value = statistics.median(values)
            cpu = results.median(work, system, "cpu_us")
            rows.append([system, f"{value:,.0f}", f"{values[0]:,.0f} – {values[-1]:,.0f}",
                         "1" if system == "fairlead" else f"{own / value:.2f}" if own else "", f"{cpu:.1f}"])
        if rows:
            parts.append(f"**{title}**\n\n" + table(
                ["system", "events/s, median", "lowest – highest", "Fairlead is so many times as fast", "server's processor time, µs an event"], rows))
    return "\n\n".join(parts)


def latency(results):
    rows = []
    for work in sorted({row["work"] for row in results.rows if row["work"].startswith("latency-")}, key=lambda name: int(name[8:])):
        for system in SYSTEMS:
            if results.values(work, system, "p50"):
                rows.append([f"{int(work[8:]):,}/s", system] + [f"{results.median(work, system, name):.2f}" for name in ("p50", "p99", "p999", "max")])
            elif results.refusal(work, system):
                rows.append([f"{int(work[8:]):,}/s", system, "does not keep up", "", "", ""])
    return table(["events", "system", "p50 ms", "p99 ms", "p99.9 ms", "highest ms"], rows)


def backlog(results):
    rows = []
    for system in SYSTEMS:
        if results.refusal("backlog", system):
            rows.append([system, results.refusal("backlog", system), "", "", "", ""])
        elif results.values("backlog-memory", system, "full_mb"):
            find = lambda work, name: results.median(work, system, name)
            start = find("backlog-start", "seconds")
            drain = find("backlog-drain", "rate")
            rows.append([system, f"{find('backlog-memory', 'empty_mb'):.0f} → {find('backlog-memory', 'full_mb'):,.0f}",
                         f"{find('backlog-latency', 'p50'):.2f} / {find('backlog-latency', 'p99'):.2f}" if find("backlog-latency", "p50") else "",
                         f"{start:.2f}" if start else "", f"{drain:,.0f}" if drain else "",
                         f"{find('backlog-drained', 'full_mb'):,.0f}" if find("backlog-drained", "full_mb") else ""])
    return table(["system", "memory MB, empty → full", "live p50 / p99 ms at 1,000/s", "start s", "drained events/s", "memory MB then"], rows)


def replace(page, name, text):
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)", re.S)
    if not pattern.search(page):
        raise SystemExit(f"docs/performance.md has no place for {name}")
    return pattern.sub(lambda found: found.group(1) + "\n" + text + "\n\n" + found.group(2), page)


def main():
    results, growth, docs = Results(sys.argv[1]), Results(sys.argv[2]), pathlib.Path(sys.argv[3])
    page = (docs / "performance.md").read_text()
    page = replace(page, "throughput", throughput(results))
    page = replace(page, "latency", latency(results))
    page = replace(page, "backlog", backlog(results))
    groups = []
    for work, title in THROUGHPUT.items():
        rows = [(system, statistics.median(values), values[0], values[-1])
                for system in SYSTEMS if (values := results.values(work, system, "rate"))]
        if len(rows) > 1:
            groups.append((title, rows))
    images = docs / "images"
    images.mkdir(exist_ok=True)
    (images / "throughput.svg").write_text(plots.bars(groups, "/s"))
    curves = [(work, growth.file["curves"][work]) for work in growth.file["curves"]]
    rows = []
    charts = []
    for work, curve in curves:
        points = {}
        for row in growth.rows:
            if row["work"] == work:
                points.setdefault(row["x"], []).append(row["y"])
        line = [(x, statistics.median(values)) for x, values in sorted(points.items())]
        charts.append(plots.lines(curve["title"], curve["across"], {work: line}, curve["unit"]))
        rows.append([f"{curve['title']}; across: {curve['across']}"] + [", ".join(f"{plots.short(x)}: {plots.short(y)}" for x, y in line)])
    (images / "growth.svg").write_text(plots.grid(charts))
    page = replace(page, "growth", table(["curve", "figures"], rows))
    (docs / "performance.md").write_text(page)


if __name__ == "__main__":
    sys.exit(main())
