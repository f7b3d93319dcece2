// SPDX-License-Identifier: Apache-2.0

// One subscriber: how it stands, what failed last, its dead letters, its runs of history; pause and resume.

import { get, path, query, send } from "/dashboard/api.js";
import {
  ask, button, chip, count, during, explain, facts, h, isInUse, panel, plural, rate, replace, setText, span, standing, svg, toast, trouble, when,
} from "/dashboard/dom.js";
import { live } from "/dashboard/live.js";
import { attemptList, groupTable } from "/dashboard/dead.js";
import { replayForm, runTable } from "/dashboard/history.js";

/** Seconds that the line spans at least: the first ones are not to look like a whole history. */
const sparkLeast = 30;

/** What was acknowledged lately, up to two minutes, as a line. */
function spark() {
  const [width, height] = [240, 44];
  const line = svg("polyline", { class: "spark" });
  const element = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, width, height, role: "img" }, line);
  const caption = h("figcaption");
  return {
    element: h("figure", {}, element, caption),
    update(points) {
      const top = Math.max(1, ...points);
      const seconds = Math.max(sparkLeast, points.length);
      const places = points.map((value, at) =>
        `${(width - (points.length - 1 - at) * (width / (seconds - 1))).toFixed(1)},${(height - 3 - (value / top) * (height - 8)).toFixed(1)}`);
      line.setAttribute("points", places.join(" "));
      setText(caption, `acknowledged, last ${span(seconds)}, at most ${rate(top)}`);
      element.setAttribute("aria-label", caption.textContent);
    },
  };
}

/** A reload that changed it, and what came of that when its deliveries failed. */
function badReload(bad) {
  const ends = {
    undone: `It went back to what it was in generation ${bad.previous}; the same files are tried again only with \`fairlead reload --force\`.`,
    paused: `It was paused${bad.obstacle ? `, and did not go back: ${bad.obstacle}` : ""}.`,
    kept: "It goes on as it was changed.",
  };
  return [
    h("p", { class: "failure" },
      h("a", { href: `#/generations/${bad.generation}` }, `Generation ${bad.generation}`),
      ` changed it, and ${plural(bad.failures, "attempt")} of ${plural(bad.deliveries, "delivery", "deliveries")} failed then. ${ends[bad.end] ?? ""}`),
    trouble(bad.error, bad.trace),
  ];
}

/** Different errors that are shown, of so many failed attempts. */
const errorsShown = 5;
const failuresRead = 50;

/** Failed attempts, the newest first: one for all that failed in the same way. */
function failureList(failures) {
  const alike = new Map();
  for (const one of failures) {
    const key = JSON.stringify([one.reason, one.trace]);
    const known = alike.get(key);
    if (known) known.more += 1;
    else alike.set(key, { ...one, more: 0 });
  }
  return attemptList([...alike.values()].slice(0, errorsShown), (one) => [
    h("a", { href: `#/events${query({ topic: one.topic, since: one.offset, until: one.offset + 1 })}` }, `${one.topic} ${count(one.offset)}`),
    one.more > 0 && h("span", {}, `and ${count(one.more)} before it alike`),
  ]);
}

export function subscriber({ name }) {
  const stands = h("div", { class: "standing" });
  const numbers = h("div", { class: "numbers" });
  const error = h("div");
  const reloaded = h("div");
  const reloadedPanel = panel("A reload that it failed after", reloaded);
  reloadedPanel.hidden = true;
  const letters = h("div");
  const runs = h("div");
  const settings = h("div");
  const chart = spark();
  const pause = button("Pause", () => setPaused());
  let shown = {};
  let isLoading = false;
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

  async function loadFailures({ lastError, lastTrace }) {
    const { failures } = await get(`${path("subscribers", name, "failures")}?limit=${failuresRead}`);
    if (failures.length > 0) replace(error, failureList(failures));
    // Not every error is that of an attempt.
    else replace(error, lastError ? trouble(lastError, lastTrace) : h("p", { class: "empty" }, "Nothing has failed that is remembered."));
  }

  async function loadSettings() {
    const graph = await get("/v1/routing");
    const route = graph.subscribers.find((one) => one.name === name);
    if (!route) return;
    replace(
      settings,
      facts([
        ["From", route.from.join(", ")],
        ["Where", h("code", { class: "long" }, route.where ?? "all")],
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
    const failure = JSON.stringify([status.lastError, status.lastTrace, status.retried, status.dead]);
    if (shown.failure !== failure && !isLoading && !isInUse(error)) {
      shown.failure = failure;
      isLoading = true;
      loadFailures(status).catch(explain).finally(() => (isLoading = false));
    }
    const reload = JSON.stringify(status.badReload ?? null);
    if (shown.reload !== reload) {
      shown.reload = reload;
      reloadedPanel.hidden = !status.badReload;
      replace(reloaded, status.badReload && badReload(status.badReload));
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
      h("section", { class: "panel" }, h("h2", {}, "Now"), h("div", { class: "split" }, numbers, chart.element)),
      reloadedPanel,
      panel("Last errors", error),
      panel("Dead letters", letters),
      h("section", { class: "panel" }, h("h2", {}, "Replays and imports"), runs, replayForm(name)),
      panel("Settings", settings),
    ),
    update,
  };
}
