// SPDX-License-Identifier: Apache-2.0

// Dead letters: what failed alike, one with all of its attempts, mended, sent again behind a canary, discarded.

import { get, isObject, next, parse, path, query, request, send, write } from "/dashboard/api.js";
import {
  ask, button, chip, count, during, explain, facts, failure, field, h, panel, plural, pre, progress, replace, setText, shorten,
  table, toast, trouble, when,
} from "/dashboard/dom.js";
import { live } from "/dashboard/live.js";

/** How often a run that sends letters again is asked about. */
const runEvery = 400;

const groupLink = (one) => `#/dead${query({ subscriber: one.subscriber, group: one.group })}`;

export function groupTable(groups) {
  return table(
    "Dead letters by what they have in common",
    [["Subscriber"], ["Reason", "wide"], ["At"], ["Count", "number"], ["First"], ["Last"]],
    groups.map((one) => [
      h("a", { href: `#/subscriber/${encodeURIComponent(one.subscriber)}` }, one.subscriber),
      h("a", { href: groupLink(one), class: "reason", title: one.reason }, shorten(one.reason, 160)),
      one.place ? h("code", {}, one.place) : "–",
      count(one.count), when(one.first), when(one.last),
    ]),
    "There are no dead letters.",
  );
}

/** Sends letters again and shows how it goes, until it is over. */
function redriver(selection, over) {
  const report = h("div", { class: "run", role: "status" });
  const canary = h("input", { type: "checkbox", checked: true });
  const speed = h("input", { placeholder: "as fast as it takes them", spellcheck: "false", size: 22 });
  const start = h("button", { type: "submit", class: "primary" }, "Send again");
  const isMany = selection.ids === undefined;
  const form = h(
    "form",
    { class: "fields line" },
    isMany && h("label", { class: "check" }, canary, "Canary: one first, the others only if it is acknowledged"),
    isMany && field("At most", speed),
    h("div", { class: "actions" }, start),
  );

  async function follow(run) {
    for (;;) {
      const words = `${count(run.succeeded)} of ${count(run.total)} acknowledged`
        + (run.failed > 0 ? `, ${count(run.failed)} failed again` : "") + (run.skipped > 0 ? `, ${count(run.skipped)} skipped` : "");
      replace(
        report,
        chip(run.state === "stopped" ? "failed" : run.state === "running" ? "behind" : "live", run.state),
        progress(run.succeeded + run.failed + run.skipped, run.total, words),
        run.state === "stopped" && h("p", { class: "failure" }, `It stopped at letter ${run.stoppedBy}: ${run.reason}`),
        run.state === "running" && button("Stop", () => send("DELETE", path("dead", "redrives", String(run.run))).catch(explain)),
      );
      if (run.state !== "running") return;
      await new Promise((done) => setTimeout(done, runEvery));
      run = await get(path("dead", "redrives", String(run.run)));
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    during(start, async () => {
      const body = { ...selection };
      if (isMany && canary.checked) body.canary = true;
      if (isMany && speed.value.trim() !== "") body.rate = speed.value.trim();
      await follow(await send("POST", "/v1/dead/redrive", body));
      await over();
    });
  });
  return h("div", {}, form, report);
}

async function discard(selection, what, element, over) {
  const answer = await ask({
    title: `Discard ${what}`, text: "It is not delivered, and what waits behind its key goes on. It stays readable, with the reason.",
    fields: [{ name: "reason", label: "Why", required: true }], action: "Discard", danger: true,
  });
  if (answer === null) return;
  await during(element, async () => {
    const done = await send("POST", "/v1/dead/discard", { ...selection, reason: answer.reason });
    toast(`${plural(done.discarded, "dead letter")} discarded`);
    await over();
  });
}

/** All groups, or the letters of one group or subscriber. */
export function dead({ parameters }) {
  const selection = {};
  for (const name of ["subscriber", "group"]) if (parameters.has(name)) selection[name] = parameters.get(name);
  const isOne = selection.group !== undefined;
  const state = h(
    "select",
    { "aria-label": "State" },
    ["open", "underway", "resolved", "any"].map((one) => h("option", { value: one }, one)),
  );
  const groups = h("div");
  const letters = h("div");
  const more = button("Older ones", () => during(more, () => list(following)), { hidden: true });
  const tools = h("div", { class: "bar" });
  let following = null;
  let rows = [];
  let known = "";
  let drop = null;

  async function list(from) {
    const response = await request("GET", from ?? `/v1/dead${query({ ...selection, state: state.value })}`);
    const page = parse(await response.text()).dead;
    rows = from ? [...rows, ...page] : page;
    following = next(response);
    more.hidden = following === null;
    replace(
      letters,
      table(
        "Dead letters",
        [["Letter"], ["Subscriber"], ["Event"], ["Reason", "wide"], ["Attempts", "number"], ["When"], ["State"]],
        rows.map((one) => [
          h("a", { href: `#/dead/${one.id}` }, String(one.id)),
          h("a", { href: `#/subscriber/${encodeURIComponent(one.subscriber)}` }, one.subscriber),
          h("code", { title: `${one.topic} ${one.offset}` }, shorten(one.event.id, 28)),
          h("span", { title: one.reason }, shorten(one.reason, 140)),
          count(one.attempts), when(one.time),
          one.resolution ?? (one.mended && one.state === "open" ? "mended" : one.state),
        ]),
        state.value === "open" ? "There are no dead letters." : "There are none.",
      ),
    );
  }

  async function load() {
    const open = await get(`/v1/dead/groups${query({ subscriber: selection.subscriber, group: selection.group })}`);
    replace(groups, groupTable(open.groups));
    const sum = open.groups.reduce((all, one) => all + one.count, 0);
    if (isOne || selection.subscriber) {
      if (sum > 0 && drop === null) {
        drop = button("", () => discard(selection, "all of these dead letters", drop, load), { class: "danger" });
        replace(tools, redriver(selection, load), drop);
      }
      if (drop) setText(drop, `Discard all ${count(sum)}`);
    }
    await list(null);
  }

  const refresh = () => load().catch((error) => replace(letters, failure(error)));
  state.addEventListener("change", refresh);
  return {
    title: isOne ? "A group of dead letters" : selection.subscriber ? `Dead letters of ${selection.subscriber}` : "Dead letters",
    element: h(
      "div",
      {},
      (isOne || selection.subscriber) && h("p", {}, h("a", { href: "#/dead" }, "All dead letters")),
      panel(isOne ? "What they have in common" : "By what they have in common", groups, tools),
      h("section", { class: "panel" }, h("div", { class: "bar" }, h("h2", {}, "Letters"), state), letters, more),
    ),
    update({ status }) {
      if (!status) return;
      const counts = JSON.stringify(status.subscribers.filter((one) => one.dead > 0).map((one) => [one.name, one.dead]));
      if (counts === known) return;
      known = counts;
      refresh();
    },
  };
}

/** What turns `old` into `new`, as a merge patch has it (RFC 7396). */
export function mergePatch(old, wanted) {
  if (!isObject(old) || !isObject(wanted)) return wanted;
  const patch = {};
  for (const name of Object.keys(old)) if (!(name in wanted)) patch[name] = null;
  for (const [name, value] of Object.entries(wanted)) {
    if (write(old[name]) !== write(value)) patch[name] = name in old ? mergePatch(old[name], value) : value;
  }
  return patch;
}

/** A merge patch can't put a null somewhere: there it means to remove. */
function putsNull(old, wanted) {
  if (wanted === null) return old !== null;
  if (!isObject(wanted)) return false;
  // An object that takes the place of something else is merged into nothing, which drops its nulls.
  return Object.entries(wanted).some(([name, value]) => putsNull(isObject(old) ? old[name] : undefined, value));
}

function editor(one, saved) {
  const event = one.event;
  if (event.data_base64 !== undefined) return h("p", { class: "empty" }, "The data is bytes; mend it with `fairlead dead edit`.");
  const isText = typeof event.data === "string" && !/json/.test(event.datacontenttype ?? "json");
  const text = h("textarea", {
    rows: Math.min(24, Math.max(6, write(event.data, 2)?.split("\n").length ?? 1)), class: "mono", spellcheck: "false",
    "aria-label": "The event's data",
  });
  text.value = isText ? event.data : write(event.data ?? null, 2);
  const problem = h("p", { class: "failure", role: "alert", hidden: true });
  const save = h("button", { type: "submit", class: "primary" }, "Save");
  const form = h(
    "form",
    {},
    text, problem,
    h("div", { class: "actions" }, save, h("small", {}, "Id, source and key stay. The original is kept beside it.")),
  );
  const complain = (words) => {
    setText(problem, words);
    problem.hidden = words === "";
  };
  form.addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    complain("");
    let data;
    try {
      data = isText ? text.value : parse(text.value);
    } catch (error) {
      return complain(`This is no JSON: ${error.message}`);
    }
    if (write(data) === write(event.data)) return complain("Nothing is changed yet.");
    if (putsNull(event.data, data)) return complain("A null can't be put in here: publish a new event, or leave the member out.");
    during(save, async () => {
      await send("PATCH", path("dead", String(one.id)), { data: mergePatch(event.data, data) });
      toast(`Letter ${one.id} is mended; the original is kept`);
      await saved();
    });
  });
  return form;
}

/** `about(one)`: what else is said of an attempt, before and behind what is known of each. */
export function attemptList(attempts, about = () => []) {
  return h(
    "ol",
    { class: "attempts" },
    attempts.map((one) => {
      const [before, behind] = about(one);
      return h(
        "li",
        {},
        h(
          "div",
          { class: "bar start" },
          before,
          h("strong", {}, `Attempt ${one.attempt}`),
          chip(one.outcome === "ack" ? "live" : one.outcome === "dead" ? "failed" : one.outcome === "drop" ? "paused" : "busy", one.outcome),
          when(one.began),
          h("span", {}, `${count(one.milliseconds)} ms`),
          h("span", {}, `generation ${one.generation}`),
          one.version && h("span", {}, `version ${one.version}`),
          one.replay && h("span", {}, "replay"),
          behind,
        ),
        one.reason && trouble(one.reason, one.trace),
        one.published && h("p", {}, "Published ", one.published.map((made) => h("code", {}, `${made.topic} ${made.id} `))),
      );
    }),
  );
}

/** One letter. */
export function letter({ name: id }) {
  const content = h("div");
  let dead = -1;

  async function load() {
    const one = await get(path("dead", id));
    const isOpen = one.state === "open";
    const drop = button("Discard", () => discard({ ids: [one.id] }, `letter ${id}`, drop, load), { class: "danger" });
    replace(
      content,
      h("p", {}, h("a", { href: groupLink(one) }, "All that failed alike")),
      panel(
        "What happened",
        facts([
          ["State", chip(isOpen ? "failed" : one.state === "resolved" ? "live" : "busy", one.state)],
          ["How", one.resolution && `${one.resolution}${one.note ? `: ${one.note}` : ""}`],
          ["Subscriber", h("a", { href: `#/subscriber/${encodeURIComponent(one.subscriber)}` }, one.subscriber)],
          ["Event", h("a", { href: `#/events/${encodeURIComponent(one.event.id)}${query({ topic: one.topic, source: one.event.source })}` }, one.event.id)],
          ["Topic", `${one.topic}, offset ${count(one.offset)}`],
          ["Key", one.key && h("code", {}, one.key)],
          ["Type", h("code", {}, one.event.type)],
          ["Died", when(one.time)],
          ["Attempts", count(one.attempts)],
          ["At", one.place && h("code", {}, one.place)],
          ["Mended", one.mended && when(one.mended)],
        ]),
        trouble(one.reason, one.trace),
      ),
      panel("Attempts", one.history.length > 0 ? attemptList(one.history) : h("p", { class: "empty" }, "They are no longer kept.")),
      panel(one.mended ? "The data, as mended" : "The data", isOpen ? editor(one, load) : pre(write(one.event.data ?? null, 2))),
      one.original && panel("The event, as it was published", pre(write(one.original, 2))),
      isOpen && panel("And now", h("div", { class: "bar" }, redriver({ ids: [one.id] }, load), drop)),
    );
  }

  return {
    title: `Dead letter ${id}`,
    element: content,
    update() {
      if (dead !== -1) return;
      dead = 0;
      load().catch((error) => replace(content, failure(error)));
    },
  };
}
