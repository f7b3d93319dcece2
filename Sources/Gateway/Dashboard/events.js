// SPDX-License-Identifier: Apache-2.0

// Events that were, by id, time and filter; and what became of one.

import { get, next, parse, path, query, request, write } from "/dashboard/api.js";
import { attemptList } from "/dashboard/dead.js";
import { button, chip, count, during, facts, failure, field, h, panel, pre, replace, setText, when } from "/dashboard/dom.js";
import { entry } from "/dashboard/tail.js";

export function events({ parameters }) {
  const id = h("input", { required: true, class: "mono", spellcheck: "false", placeholder: "order-4711" });
  const topic = h("select", { required: true });
  const since = h("input", { value: parameters.get("since") ?? "1h", spellcheck: "false" });
  const until = h("input", { value: parameters.get("until") ?? "", placeholder: "now", spellcheck: "false" });
  const where = h("input", { class: "mono", value: parameters.get("where") ?? "", placeholder: "data.total >= 100", spellcheck: "false" });
  const search = h("button", { type: "submit", class: "primary" }, "Search");
  const list = h("ol", { class: "events", "aria-label": "Events found, the newest first" });
  const state = h("p", { class: "note", role: "status" });
  const more = button("Go on searching", () => during(more, () => find(following)), { hidden: true });
  let following = null;
  let found = 0;
  let scanned = 0;

  const byID = h("form", { class: "fields line" }, field("Event id", id), h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Find")));
  byID.addEventListener("submit", (event) => {
    event.preventDefault();
    location.hash = `#/events/${encodeURIComponent(id.value.trim())}`;
  });

  async function find(from) {
    const response = await request(
      "GET",
      from ?? `/v1/events${query({ topic: topic.value, since: since.value.trim(), until: until.value.trim(), where: where.value.trim() })}`,
    );
    const answer = parse(await response.text());
    if (!from) {
      replace(list);
      [found, scanned] = [0, 0];
    }
    for (const one of answer.events) list.append(entry(one, answer.topic));
    found += answer.events.length;
    scanned += answer.scanned;
    following = next(response);
    more.hidden = following === null;
    setText(state, `${count(found)} of ${count(scanned)} that were looked at${following ? "; there are older ones" : ""}`);
  }

  const form = h(
    "form",
    { class: "fields" },
    field("Topic", topic), field("Since", since, "a time, a day, or how long ago"), field("Until", until), field("Where", where),
    h("div", { class: "actions" }, search),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    during(search, () => find(null));
  });

  return {
    title: "Events",
    element: h(
      "div",
      {},
      panel("By id", byID),
      panel("By time and filter", form, state),
      list, more,
    ),
    update({ status }) {
      if (!status || topic.childElementCount === status.topics.length) return;
      const first = status.topics.find((one) => !one.name.startsWith("$"));
      const chosen = parameters.get("topic") ?? first?.name;
      const isFirst = topic.childElementCount === 0;
      replace(topic, status.topics.map((one) => h("option", { value: one.name, selected: one.name === chosen }, one.name)));
      // An address that names a topic says what to look for.
      if (isFirst && parameters.has("topic")) during(search, () => find(null));
    },
  };
}

const verdicts = { true: "live", false: "paused", unknown: "busy" };
const states = { acked: "live", settled: "live", dead: "failed", retrying: "busy", inFlight: "behind", waiting: "behind" };

/** The filter, and each of its terms with the values that decided; a filter of one term is its own. */
function reason(one) {
  if (!one.filter) return h("p", {}, one.reason ?? "It takes all of this topic.");
  const { text, terms, place } = one.filter;
  const where = place && h("small", {}, ` ${place}`);
  const isOneTerm = terms.length === 1 && terms[0].text === text;
  return h(
    "div",
    {},
    !isOneTerm && h("p", {}, h("code", {}, text), where),
    h(
      "ul",
      { class: "terms" },
      terms.map((term) =>
        h("li", {}, chip(verdicts[term.verdict] ?? "busy", term.verdict), h("code", {}, term.text),
          term.values.length > 0 && h("span", { class: "note" }, `in this event: ${term.values.join(", ")}`), isOneTerm && where)),
    ),
  );
}

/** One event, and for each subscriber whether it was for it, which term decided, and how its attempts ended. */
export function event({ name: id, parameters }) {
  const content = h("div");
  async function load() {
    const trace = await get(`${path("events", id, "why")}${query({ source: parameters.get("source"), topic: parameters.get("topic") })}`);
    const matched = trace.subscribers.filter((one) => one.matched);
    const others = trace.subscribers.filter((one) => !one.matched);
    const block = (one) =>
      h(
        "article",
        { class: "why" },
        h(
          "div",
          { class: "bar start" },
          h("h3", {}, h("a", { href: `#/subscriber/${encodeURIComponent(one.name)}` }, one.name)),
          one.matched ? chip("live", "matched") : chip("paused", "not matched"),
          one.state && chip(states[one.state] ?? "busy", one.state),
          one.due && h("span", {}, "due ", when(one.due)),
          one.deadLetter !== undefined && h("a", { href: `#/dead/${one.deadLetter}` }, `dead letter ${one.deadLetter}`),
          one.later && h("span", { class: "note" }, "added after the event was routed"),
        ),
        reason(one),
        one.attempts && one.attempts.length > 0 && attemptList(one.attempts),
      );
    replace(
      content,
      h("p", {}, h("a", { href: "#/events" }, "Search for others")),
      panel(
        "The event",
        facts([
          ["Topic", h("a", { href: `#/tail/${encodeURIComponent(trace.topic)}` }, trace.topic)],
          ["Offset", count(trace.offset)],
          ["Received", when(trace.received)],
          ["Key", trace.key && h("code", {}, trace.key)],
          ["Routed by generation", trace.generation],
        ]),
        trace.recomputed && h("p", { class: "note" }, "The configuration that routed it isn't kept; matches are told by the running one."),
        pre(write(trace.event, 2)),
      ),
      panel(`Its subscribers (${count(matched.length)})`, matched.length > 0 ? matched.map(block) : h("p", { class: "empty" }, "It was for nobody.")),
      others.length > 0 && panel(`Not for these (${count(others.length)})`, others.map(block)),
    );
  }
  load().catch((error) => replace(content, h("p", {}, h("a", { href: "#/events" }, "Search for others")), failure(error)));
  return { title: `Event ${id}`, element: content };
}
