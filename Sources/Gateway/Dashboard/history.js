// SPDX-License-Identifier: Apache-2.0

// The past, delivered again: replays and imports, how they go, and new ones.

import { get, path, send } from "/dashboard/api.js";
import { ask, button, chip, count, during, explain, field, h, isInUse, panel, progress, replace, span, table, toast, when } from "/dashboard/dom.js";
import { live } from "/dashboard/live.js";

const words = { running: "behind", finished: "live", done: "live", cancelled: "paused" };

function describe(run) {
  const where = run.where ? ` where ${run.where}` : "";
  if (run.kind === "import") return `${run.topic}, ${count(run.taken ?? 0)} taken${run.complete ? "" : ", more to come"}`;
  return (run.topics ?? []).map((one) => `${one.topic} ${count(one.from)}–${count(one.until)}`).join(", ") + where;
}

export function runTable(runs, empty) {
  return table(
    "Replays and imports",
    [["Subscriber"], ["Run"], ["State"], ["Of", "wide"], ["Progress"], ["Begun"], [""]],
    runs.map((run) => {
      const cancel = button("Cancel", () => stop());
      async function stop() {
        const answer = await ask({
          title: `Cancel the ${run.kind} ${run.id}`, text: "What was delivered stays delivered; the rest is not sent.",
          action: "Cancel it", danger: true,
        });
        if (answer === null) return;
        // The row goes; the focus isn't to hold it.
        document.activeElement?.blur();
        await during(cancel, async () => {
          await send("DELETE", path("subscribers", run.subscriber, "replays", String(run.id)));
          toast(`The ${run.kind} ${run.id} is cancelled`);
        });
      }
      const rest = run.state !== "running" || run.remainingSeconds === undefined ? "" : `, ${span(run.remainingSeconds)} left`;
      const speed = run.perSecond ? `, ${count(run.perSecond)}/s` : "";
      return [
        h("a", { href: `#/subscriber/${encodeURIComponent(run.subscriber)}` }, run.subscriber),
        `${run.kind} ${run.id}`,
        chip(words[run.state] ?? "busy", run.state),
        describe(run),
        progress(run.passed, run.total, `${count(run.passed)} of ${count(run.total)}${speed}${rest}`),
        when(run.begun),
        run.state === "running" ? cancel : run.ended ? when(run.ended) : "",
      ];
    }),
    empty,
  );
}

/** A new replay; without a name, of a subscriber that is chosen. */
export function replayForm(name) {
  const choice = name === undefined ? h("select", { required: true }) : null;
  const from = h("input", { required: true, value: "1h", spellcheck: "false" });
  const to = h("input", { placeholder: "now", spellcheck: "false" });
  const where = h("input", { class: "mono", placeholder: "data.total >= 100", spellcheck: "false" });
  const speed = h("input", { placeholder: "100/s", spellcheck: "false" });
  const start = h("button", { type: "submit" }, "Start replay");
  const form = h(
    "form",
    { class: "fields" },
    choice && field("Subscriber", choice),
    field("From", from, "earliest, an offset, a time, or how long ago"),
    field("To", to),
    field("Where", where),
    field("At most", speed),
    h("div", { class: "actions" }, start),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const subscriber = name ?? choice.value;
    const body = { from: from.value.trim() };
    for (const [key, input] of [["to", to], ["where", where], ["rate", speed]]) {
      if (input.value.trim() !== "") body[key] = input.value.trim();
    }
    await during(start, async () => {
      const run = await send("POST", path("subscribers", subscriber, "replay"), body);
      toast(`Replay ${run.id} to ${subscriber} has begun`);
    });
  });
  form.offer = (names) => {
    if (choice && choice.childElementCount !== names.length) replace(choice, names.map((one) => h("option", {}, one)));
  };
  return form;
}

export function history() {
  const running = h("div");
  const over = h("div");
  let shown = "";
  let under = -1;

  async function load() {
    const names = (live.status?.subscribers ?? []).map((one) => one.name);
    const all = await Promise.all(
      names.map(async (name) => (await get(path("subscribers", name, "replays"))).replays.map((run) => ({ ...run, subscriber: name }))),
    );
    const ended = all.flat().filter((run) => run.state !== "running").sort((a, b) => b.id - a.id);
    replace(over, runTable(ended, "There were none that are still remembered."));
  }

  const form = replayForm();
  function update({ status }) {
    if (!status) return;
    form.offer(status.subscribers.map((one) => one.name));
    const runs = status.subscribers.flatMap((one) => (one.history ?? []).map((run) => ({ ...run, subscriber: one.name })));
    const text = JSON.stringify(runs);
    if (text !== shown && !isInUse(running)) {
      shown = text;
      replace(running, runTable(runs, "None is under way."));
    }
    if (under !== runs.length) {
      under = runs.length;
      load().catch(explain);
    }
  }

  return {
    title: "Replays and imports",
    element: h(
      "div",
      {},
      panel("Under way", running),
      panel("A new replay", form),
      panel("Over", over),
    ),
    update,
  };
}
