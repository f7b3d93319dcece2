// SPDX-License-Identifier: Apache-2.0

// One subscriber: how it stands, what failed last, its dead letters, its runs of history; pause and resume.

import { get, path, query, send } from "/dashboard/api.js";
import {
  ask, button, chip, count, during, explain, facts, h, isInUse, panel, rate, replace, setText, span, standing, svg, toast, trouble, when,
} from "/dashboard/dom.js";
import { live } from "/dashboard/live.js";
import { groupTable } from "/dashboard/dead.js";
import { replayForm, runTable } from "/dashboard/history.js";

/** The last two minutes as a line. */
function spark() {
  const [width, height] = [240, 36];
  const line = svg("polyline", { class: "spark" });
  const element = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" }, line);
  return {
    element,
    update(points) {
      const top = Math.max(1, ...points);
      const places = points.map((value, at) =>
        `${(width - (points.length - 1 - at) * (width / 119)).toFixed(1)},${(height - 2 - (value / top) * (height - 4)).toFixed(1)}`);
      line.setAttribute("points", places.join(" "));
      element.setAttribute("aria-label", `Acknowledged in the last two minutes, at most ${rate(top)}`);
    },
  };
}

export function subscriber({ name }) {
  const stands = h("div", { class: "standing" });
  const numbers = h("div", { class: "numbers" });
  const error = h("div");
  const letters = h("div");
  const runs = h("div");
  const settings = h("div");
  const chart = spark();
  const pause = button("Pause", () => setPaused());
  let shown = {};
  let dead = -1;

  async function setPaused() {
    const isPaused = Boolean(live.subscriber(name)?.pause);
    if (isPaused) {
      await during(pause, async () => {
        await send("POST", path("subscribers", name, "resume"));
        toast(`${name} goes on`);
      });
      return;
    }
    const answer = await ask({
      title: `Pause ${name}`,
      text: "Nothing more is delivered to it until it is resumed. Nothing is lost: what comes meanwhile waits.",
      fields: [{ name: "reason", label: "Why (shown to others)" }],
      action: "Pause",
    });
    if (answer === null) return;
    await during(pause, async () => {
      await send("POST", path("subscribers", name, "pause"), { reason: answer.reason });
      toast(`${name} is paused`);
    });
  }

  async function loadLetters() {
    const { groups } = await get(`/v1/dead/groups${query({ subscriber: name })}`);
    replace(letters, groupTable(groups));
  }

  async function loadSettings() {
    const graph = await get("/v1/routing");
    const route = graph.subscribers.find((one) => one.name === name);
    if (!route) return;
    replace(
      settings,
      facts([
        ["From", route.from.join(", ")],
        ["Where", h("code", {}, route.where ?? "all")],
        ["Delivered by", route.target ? `${route.method} ${route.target}` : route.method],
        ["Order", route.ordered ? "by key, one at a time" : "none"],
        ["Batch", route.batch && `${count(route.batch.count)} every ${route.batch.every}`],
        ["Lease", route.lease],
        ["Attempts", route.attempts ?? "without end"],
        ["Publishes to", route.publishes.join(", ")],
        ["Stands at", route.place && h("code", {}, route.place)],
      ]),
    );
  }

  function update() {
    const status = live.subscriber(name);
    if (!status) {
      if (live.status) replace(stands, h("p", { class: "failure" }, `The running generation has no subscriber "${name}".`));
      return;
    }
    const key = JSON.stringify([standing(status), status.pause, status.until]);
    if (shown.standing !== key) {
      shown.standing = key;
      const halt = status.pause;
      replace(
        stands,
        chip(standing(status)),
        halt && h("span", {}, `by ${halt.cause}`, halt.since && [" since ", when(halt.since)], halt.reason && `: ${halt.reason}`),
        status.until && h("span", {}, "tried again at ", when(status.until)),
      );
      setText(pause, halt ? "Resume" : "Pause");
    }
    replace(
      numbers,
      facts([
        ["Rate", rate(live.subscriberRates.get(name))],
        ["Waiting", count(status.backlog)],
        ["Oldest unsettled", status.oldestUnsettledSeconds === undefined ? "none" : span(status.oldestUnsettledSeconds)],
        ["In flight", count(status.inFlight)],
        ["Retrying", count(status.retrying)],
        ["Dead letters", count(status.dead)],
        ["Acknowledged", count(status.acked)],
        ["Retried", count(status.retried)],
        ["Dropped", count(status.dropped)],
      ]),
    );
    chart.update(live.past.get(name) ?? []);
    const failure = JSON.stringify([status.lastError, status.lastTrace]);
    if (shown.failure !== failure) {
      shown.failure = failure;
      replace(
        error,
        status.lastError ? trouble(status.lastError, status.lastTrace)
          : h("p", { class: "empty" }, "Nothing has failed since the start."),
      );
    }
    if (dead !== status.dead) {
      dead = status.dead;
      loadLetters().catch(explain);
    }
    const history = JSON.stringify(status.history ?? []);
    if (shown.history !== history && !isInUse(runs)) {
      shown.history = history;
      replace(runs, runTable((status.history ?? []).map((run) => ({ ...run, subscriber: name })), "No replay or import is under way."));
    }
  }

  loadSettings().catch(explain);
  return {
    title: name,
    element: h(
      "div",
      {},
      h("div", { class: "bar" }, stands, pause),
      h("section", { class: "panel" }, h("h2", {}, "Now"), h("div", { class: "split" }, numbers, h("figure", {}, chart.element, h("figcaption", {}, "acknowledged, last two minutes")))),
      panel("Last error", error),
      panel("Dead letters", letters),
      h("section", { class: "panel" }, h("h2", {}, "Replays and imports"), runs, replayForm(name)),
      panel("Settings", settings),
    ),
    update,
  };
}
