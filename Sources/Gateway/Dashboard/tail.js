// SPDX-License-Identifier: Apache-2.0

// A topic as it grows.

import { next, parse, query, request, write } from "/dashboard/api.js";
import { button, count, field, h, plural, pre, replace, setText, shorten, when } from "/dashboard/dom.js";
import { live } from "/dashboard/live.js";

/** Events that stay on the page. */
const kept = 200;
const page = 100;
/** Between two answers: a busy topic is read, not chased. */
const pause = 250;
const reopenAfter = 2000;

export function tail({ name, parameters }) {
  const topic = h("select", {});
  const where = h("input", { class: "mono", value: parameters.get("where") ?? "", placeholder: "type = 'order.placed' and data.total > 100", spellcheck: "false" });
  const apply = h("button", { type: "submit" }, "Apply");
  const hold = button("Hold", () => setHeld(!isHeld));
  const state = h("span", { class: "note", role: "status" });
  const list = h("ol", { class: "events", "aria-label": "Events, the newest first" });
  const form = h("form", { class: "fields line" }, field("Topic", topic), field("Where", where), h("div", { class: "actions" }, apply, hold));
  let abort = null;
  let isHeld = false;
  let seen = 0;
  let waiting = [];
  const chosen = name ?? "";

  function setHeld(held) {
    isHeld = held;
    setText(hold, held ? "Go on" : "Hold");
    if (!held) show(waiting.splice(0));
    tell();
  }

  function tell(words) {
    setText(state, words ?? (isHeld ? `held; ${plural(waiting.length, "event")} came meanwhile` : `${plural(seen, "event")} since it was opened`));
  }

  function show(records) {
    for (const one of records.slice(-kept)) list.prepend(entry(one, chosen));
    while (list.childElementCount > kept) list.lastElementChild.remove();
  }

  async function follow() {
    abort?.abort();
    abort = new AbortController();
    const { signal } = abort;
    const first = `/v1/topics/${encodeURIComponent(chosen)}/events`;
    const filter = where.value.trim();
    replace(list);
    seen = 0;
    tell("waiting for events");
    // The last few that are there, then what comes.
    const known = live.status.topics.find((one) => one.name === chosen);
    let address = `${first}${query({ from: Math.max(known?.first ?? 0, (known?.end ?? 0) - 20), max: page, where: filter, wait: "20s" })}`;
    while (!signal.aborted) {
      try {
        const response = await request("GET", address, { signal });
        const records = (await response.text()).split("\n").filter((line) => line !== "").map(parse);
        const link = next(response);
        if (link) address = `${link}&wait=20s`;
        seen += records.length;
        if (isHeld) waiting = [...waiting, ...records].slice(-kept);
        else show(records);
        tell();
        await new Promise((done) => setTimeout(done, pause));
      } catch (error) {
        if (signal.aborted) return;
        tell(error.message);
        // A filter that is wrong is not made right by waiting.
        if (error.status === 400 || error.status === 404) return;
        await new Promise((done) => setTimeout(done, reopenAfter));
      }
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const address = `#/tail/${encodeURIComponent(topic.value)}${query({ where: where.value.trim() })}`;
    if (location.hash === address) follow();
    else location.hash = address;
  });
  topic.addEventListener("change", () => form.requestSubmit());

  return {
    title: "Tail",
    element: h("div", {}, h("section", { class: "panel" }, form, state), list),
    update({ status }) {
      if (!status) return;
      if (topic.childElementCount !== status.topics.length) {
        replace(topic, status.topics.map((one) => h("option", { value: one.name, selected: one.name === chosen }, one.name)));
      }
      if (abort) return;
      if (chosen === "") {
        const first = status.topics.find((one) => !one.name.startsWith("$")) ?? status.topics[0];
        if (first) location.replace(`#/tail/${encodeURIComponent(first.name)}`);
        abort = new AbortController();
      } else {
        follow();
      }
    },
    close: () => abort?.abort(),
  };
}

/** One event in a list: a line, and all of it below. */
export function entry(one, topic) {
  const event = one.event;
  const data = event.data === undefined ? "" : typeof event.data === "string" ? event.data : write(event.data);
  const all = h("div");
  const details = h(
    "details",
    {},
    h(
      "summary",
      {},
      when(one.time ?? one.received), h("span", { class: "number offset" }, count(one.offset)), h("strong", {}, event.type),
      h("code", { class: "data" }, shorten(data, 200)),
    ),
    all,
  );
  details.addEventListener("toggle", () => {
    if (!details.open || all.childElementCount > 0) return;
    replace(
      all,
      pre(write(event, 2)),
      h("p", {}, h("a", { href: `#/events/${encodeURIComponent(event.id)}${query({ topic, source: event.source })}` }, "Who got it, and why")),
    );
  });
  return h("li", {}, details);
}
