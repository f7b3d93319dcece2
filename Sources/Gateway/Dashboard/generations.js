// SPDX-License-Identifier: Apache-2.0

// The configurations that were loaded, what each changed, and what a reload would change now.

import { get, path, send } from "/dashboard/api.js";
import { button, chip, count, during, explain, failure, h, panel, pre, replace, table, toast, when } from "/dashboard/dom.js";

function diffText(text) {
  return h(
    "pre",
    { class: "diff", tabindex: 0 },
    // Without the two lines that name the file.
    text.trimEnd().split("\n").slice(2).map((line) => {
      const kind = line.startsWith("+") ? "added" : line.startsWith("-") ? "removed" : line.startsWith("@@") ? "place" : "";
      return h("span", { class: kind }, `${line}\n`);
    }),
  );
}

function changeList(plan) {
  const lines = [
    ...plan.added.map((one) => [one.subscriber, "added", [...one.reasons, matches(one)]]),
    ...plan.changed.map((one) => [one.subscriber, "changed", [...one.reasons, matches(one)]]),
    ...plan.removed.map((name) => [name, "removed", []]),
    ...plan.addedTopics.map((name) => [`topic ${name}`, "added", []]),
    ...plan.changedTopics.map((name) => [`topic ${name}`, "changed", []]),
    ...plan.removedTopics.map((name) => [`topic ${name}`, "removed", []]),
    ...plan.settings.map((name) => [name, "changed", []]),
    ...plan.restartOnly.map((name) => [name, "needs a restart", []]),
  ];
  if (lines.length === 0) return h("p", { class: "empty" }, "Nothing: the files are as they were loaded.");
  return table("What a reload would change", [["What"], ["How"], ["Why", "wide"]], lines.map(([name, how, why]) => [name, how, why.filter(Boolean).join("; ")]), "");
}

function matches(change) {
  if (change.matches === undefined) return "";
  const before = change.matchedBefore === undefined ? "" : `, ${count(change.matchedBefore)} before`;
  return `takes ${count(change.matches)} of the last ${count(change.of)} events${before}`;
}

export function generations({ name: number }) {
  const list = h("div");
  const difference = h("div");
  const plan = h("div");
  const refusal = (error) => [failure(error), (error.problem?.diagnostics ?? []).map((text) => pre(text, { class: "trace" }))];
  const look = button("What would a reload change?", () => during(look, async () => {
    try {
      replace(plan, changeList(await get("/v1/plan")));
    } catch (error) {
      replace(plan, refusal(error));
    }
  }));
  const reload = button("Reload", () => during(reload, async () => {
    try {
      const done = await send("POST", "/v1/reload");
      replace(plan);
      toast(`Generation ${done.generation}: ${done.changes.join(", ")}`);
    } catch (error) {
      replace(plan, refusal(error));
    }
  }), { class: "primary" });
  let known = -1;

  async function load() {
    const all = (await get("/v1/generations")).generations;
    replace(
      list,
      table(
        "Generations",
        [["Number"], ["Loaded"], ["By"], ["Verdict"], ["Changes", "wide"], ["Files"]],
        all.map((one) => [
          String(one.number), when(one.time), one.trigger,
          one.running ? chip("live", "running") : one.verdict,
          one.changes.join(", ") || "–",
          h("a", { href: `#/generations/${one.number}`, "aria-current": String(one.number) === number ? "true" : null }, "diff"),
        ]),
        "None is remembered.",
      ),
    );
  }

  async function compare() {
    const found = await get(path("generations", number, "diff"));
    replace(
      difference,
      h(
        "section",
        { class: "panel" },
        h("h2", {}, found.against === undefined ? `Files of generation ${number}` : `Generation ${number} against ${found.against}`),
        found.files.length === 0 && h("p", { class: "empty" }, "The files are the same."),
        found.files.map((file) =>
          h(
            "details",
            { open: file.change === "changed" },
            h("summary", {}, h("code", {}, file.path), " ", file.change),
            file.diff === undefined ? h("p", { class: "empty" }, "Its text is too long to show, or no longer kept.") : diffText(file.diff),
          )),
      ),
    );
  }

  if (number !== undefined) compare().catch((error) => replace(difference, failure(error)));
  return {
    title: "Generations",
    element: h("div", {}, h("div", { class: "bar start" }, reload, look), plan, difference, panel("Loaded", list)),
    update({ status }) {
      if (!status || known === status.generation) return;
      known = status.generation;
      load().catch(explain);
    },
  };
}
