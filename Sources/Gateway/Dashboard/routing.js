// SPDX-License-Identifier: Apache-2.0

// The first view: figures, the picture, and the same as tables.

import { get } from "/dashboard/api.js";
import { bytes, chip, count, explain, h, isInUse, panel, rate, replace, setText, shorten, span, standing, table } from "/dashboard/dom.js";
import { live } from "/dashboard/live.js";
import { picture } from "/dashboard/picture.js";

/** Subscribers in one picture: more is a wall. The field above it finds the others. */
const drawn = 60;

/** What most needs somebody first. */
const urgency = (one) =>
  (one.dead > 0 || one.badReload ? 4 : 0) + (standing(one) === "live" ? 0 : 8) + (one.backlog > 1000 ? 2 : 0);

export function routing() {
  const tiles = ["published", "acknowledged", "waiting", "dead letters", "oldest unsettled"].map((name) => {
    const value = h("strong", {}, "–");
    return { name, value, element: h("div", { class: "tile" }, value, h("span", {}, name)) };
  });
  const search = h("input", { type: "search", placeholder: "Name or topic", "aria-label": "Show only names or topics with" });
  const canvas = h("div", { class: "canvas" });
  const note = h("p", { class: "note", hidden: true });
  const subscribers = h("div");
  const topics = h("div");
  let graph = null;
  let image = null;
  let width = 0;
  let isClosed = false;
  let asked = 0;

  const fits = (one) => {
    const text = search.value.trim().toLowerCase();
    return text === "" || [one.name, ...one.topics].some((name) => name.toLowerCase().includes(text));
  };

  function draw() {
    width = Math.floor(canvas.clientWidth);
    if (!graph || width === 0) return;
    const found = graph.subscribers.filter(fits);
    const names = new Set(found.flatMap((one) => one.topics));
    image = picture(
      {
        subscribers: found.slice(0, drawn),
        topics: search.value.trim() === "" ? graph.topics : graph.topics.filter((one) => names.has(one.name)),
      },
      width,
    );
    replace(canvas, image.element);
    note.hidden = found.length <= drawn;
    setText(note, `${count(drawn)} of ${count(found.length)} subscribers are drawn; all are in the table.`);
    if (live.status) image.update(live);
  }

  async function load(generation) {
    if (asked === generation) return;
    asked = generation;
    try {
      graph = await get("/v1/routing");
      if (!isClosed) draw();
    } catch (error) {
      asked = 0;
      explain(error);
    }
  }

  search.addEventListener("input", () => {
    draw();
    update(live);
  });
  const sizes = new ResizeObserver(() => {
    if (Math.floor(canvas.clientWidth) !== width) draw();
  });
  sizes.observe(canvas);

  let lastRows = "";
  function update({ status, topicRates, subscriberRates }) {
    if (!status) return;
    load(status.generation);
    const sum = (rates) => [...rates.values()].reduce((a, b) => a + b, 0);
    const published = status.topics.filter((one) => !one.name.startsWith("$")).map((one) => topicRates.get(one.name) ?? 0);
    const oldest = Math.max(-1, ...status.subscribers.map((one) => one.oldestUnsettledSeconds ?? -1));
    const letters = status.subscribers.reduce((a, one) => a + one.dead, 0);
    const values = [
      rate(published.reduce((a, b) => a + b, 0)), rate(sum(subscriberRates)),
      count(status.subscribers.reduce((a, one) => a + one.backlog, 0)), count(letters), oldest < 0 ? "none" : span(oldest),
    ];
    tiles.forEach((tile, at) => setText(tile.value, values[at]));
    tiles[3].element.classList.toggle("bad", letters > 0);
    image?.update(live);
    // A table under somebody's focus or pointer isn't exchanged while nothing changed.
    const shown = status.subscribers.filter((one) => fits({ name: one.name, topics: graph?.subscribers.find((other) => other.name === one.name)?.topics ?? [] }));
    const rows = JSON.stringify([shown, [...subscriberRates].map(([name, value]) => [name, rate(value)])]);
    if (rows !== lastRows && !isInUse(subscribers)) {
      lastRows = rows;
      replace(subscribers, subscriberTable(shown, subscriberRates));
      replace(topics, topicTable(status.topics, topicRates));
    }
  }

  const element = h(
    "div",
    {},
    h("div", { class: "tiles" }, tiles.map((tile) => tile.element)),
    h(
      "section",
      { class: "panel" },
      h("div", { class: "bar" }, h("h2", {}, "Who gets what"), search),
      canvas, note,
    ),
    panel("Subscribers", subscribers),
    panel("Topics", topics),
  );
  return {
    title: "Routing", quietTitle: true, element, update,
    close() {
      isClosed = true;
      sizes.disconnect();
    },
  };
}

function subscriberTable(all, rates) {
  const sorted = [...all].sort((a, b) => urgency(b) - urgency(a) || a.name.localeCompare(b.name));
  return table(
    "Subscribers",
    [["Name"], ["State"], ["Rate", "number"], ["Waiting", "number"], ["Oldest", "number"], ["In flight", "number"],
      ["Retrying", "number"], ["Dead", "number"], ["Last error", "wide"]],
    sorted.map((one) => [
      h("a", { href: `#/subscriber/${encodeURIComponent(one.name)}` }, one.name),
      [chip(standing(one)), one.badReload && [" ", chip("failed", one.badReload.end === "undone" ? "reload undone" : "bad reload")]],
      rate(rates.get(one.name)),
      count(one.backlog),
      one.oldestUnsettledSeconds === undefined ? "–" : span(one.oldestUnsettledSeconds),
      count(one.inFlight),
      count(one.retrying),
      one.dead > 0 ? h("a", { class: "bad", href: `#/dead?subscriber=${encodeURIComponent(one.name)}` }, count(one.dead)) : "0",
      one.lastError ? h("span", { title: one.lastError }, shorten(one.lastError, 90)) : "–",
    ]),
    "There are no subscribers.",
  );
}

function topicTable(all, rates) {
  return table(
    "Topics",
    [["Name"], ["Rate", "number"], ["Events kept", "number"], ["Size", "number"], ["Next offset", "number"]],
    all.map((one) => [
      h("a", { href: `#/tail/${encodeURIComponent(one.name)}` }, one.name),
      rate(rates.get(one.name)), count(one.events), bytes(one.bytes), count(one.end),
    ]),
    "There are no topics.",
  );
}
