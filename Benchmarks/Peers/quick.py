#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether Fairlead has become slower, in less than two minutes and on a machine that others may use too.

    Benchmarks/Peers/quick.py --load .build/bench/alone --fairlead .build/release/fairlead [--keep]

Each work's figure is the server's processor time for an event, counted in checksums of 256 bytes (calibrate.c) that the
same processors do in that time, before and after the work: what slows both alike cancels out. `quick.json` has the figures
of the version that was measured last with `--keep`; a figure 15 % above is pointed out, and is no error: the exit code is 0
as long as everything could be measured."""

import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile

import run

KEPT = pathlib.Path(__file__).with_name("quick.json")
TOLERANCE = 0.15
ROUNDS = 3


class Quick(run.Bench):
    def speed(self):
        """Checksums in a microsecond of one processor's time."""
        done = subprocess.run([os.path.join(self.options.load, "calibrate"), str(self.folder)], capture_output=True, text=True,
                              check=True)
        return json.loads(done.stdout)["own"] / 1e6

    def record(self, work, server, **figures):
        self.results.append({"work": work, "system": server.name, **figures})

    def works(self):
        events = self.options.events
        yield lambda each: self.publish(each, "publish-256", "plain", 256, 500, 8, events)
        yield lambda each: self.publish(each, "single-256", "plain", 256, 1, 64, events // 10)
        yield lambda each: self.receive(each, events)
        yield lambda each: self.push(each, events // 20)
        yield lambda each: self.script(each, events)
        yield lambda each: self.passing(each, events)
        yield lambda each: self.fan(each, 5, events // 5)

    def run(self):
        """By work: its figure, and events a second."""
        server = self.servers[0]
        server.start()
        figures = {}
        try:
            for act in self.works():
                before = self.speed()
                kept = len(self.results)
                for _ in range(ROUNDS + 1):
                    act(server)
                speed = (before + self.speed()) / 2
                rows = self.results[kept + 1:]
                figures[rows[0]["work"]] = {
                    "checksums": statistics.median(row["cpu_us"] for row in rows) * speed,
                    "rate": statistics.median(row["rate"] for row in rows),
                }
        finally:
            server.remove()
        return figures


def show(figures, kept):
    slower = []
    print(f"{'work':12} {'events/s':>10} {'checksums an event':>19} {'kept':>7} {'change':>7}")
    for work, figure in figures.items():
        cost = figure["checksums"]
        line = f"{work:12} {figure['rate']:10,.0f} {cost:19.1f}"
        if work in kept:
            change = cost / kept[work] - 1
            line += f" {kept[work]:7.1f} {change:+7.0%}"
            if change > TOLERANCE:
                line += "  slower"
                slower.append(work)
        print(line)
    if slower:
        print(f"{', '.join(slower)}: more than {TOLERANCE:.0%} above what was kept; measure again when nothing else runs")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", default=".build/bench/alone")
    parser.add_argument("--fairlead", default=".build/release/fairlead")
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--keep", action="store_true", help="these figures are what later ones are compared with")
    parser.add_argument("--folder")
    options = parser.parse_args()
    options.system = ["fairlead"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        quick = Quick(options, folder)
        try:
            figures = quick.run()
        finally:
            quick.close()
    show(figures, json.loads(KEPT.read_text()) if KEPT.exists() else {})
    if options.keep:
        KEPT.write_text(json.dumps({work: round(figure["checksums"], 2) for work, figure in figures.items()}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
