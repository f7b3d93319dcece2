// SPDX-License-Identifier: Apache-2.0

// Elements and words. Whatever is shown becomes text nodes and attributes; nothing is ever parsed as markup.

import { Refusal } from "/dashboard/api.js";

const svgSpace = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);
export const svg = (tag, properties, ...children) =>
  fill(document.createElementNS(svgSpace, tag), properties, children);

export function replace(element, ...children) {
  element.replaceChildren();
  add(element, children);
}

let isPressed = false;
addEventListener("pointerdown", () => (isPressed = true), true);
for (const name of ["pointerup", "pointercancel"]) {
  // The click comes after it.
  addEventListener(name, () => setTimeout(() => (isPressed = false)), true);
}

/** Whether somebody is about to use what is in there: it stays as it is then. */
export const isInUse = (element) => isPressed || element.contains(document.activeElement);

/** Sets a text only where it changed, so that a selection and a reader's place stay. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Words

export const count = (number) => Number(number).toLocaleString("en-GB");

export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return "–";
  if (perSecond === 0) return "0/s";
  if (perSecond < 0.95) return `${Math.max(1, Math.round(perSecond * 60))}/min`;
  if (perSecond < 9.95) return `${perSecond.toFixed(1)}/s`;
  return `${count(Math.round(perSecond))}/s`;
}

export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (number >= 1000 && unit < units.length - 1) {
    number /= 1000;
    unit += 1;
  }
  return `${unit === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)} ${units[unit]}`;
}

export function span(seconds) {
  if (seconds < 1) return "< 1 s";
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

export const shorten = (text, length) => (text.length > length ? `${text.slice(0, Math.max(1, length - 1))}…` : text);

export function when(text) {
  const date = new Date(text);
  const two = (number) => String(number).padStart(2, "0");
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const isToday = date.toDateString() === new Date().toDateString();
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return h("time", { datetime: text, title: text }, isToday ? clock : `${day} ${clock}`);
}

// Pieces

const shapes = {
  live: ["circle", { cx: 6, cy: 6, r: 4.5 }],
  behind: ["path", { d: "M6 1 11.5 11H.5z" }],
  stalled: ["path", { d: "M6 1 11.5 11H.5z" }],
  busy: ["path", { d: "M6 .5 11.5 6 6 11.5.5 6z" }],
  delayed: ["circle", { cx: 6, cy: 6, r: 4, class: "hollow" }],
  paused: ["path", { d: "M1.5 1h3.5v10H1.5zM7 1h3.5v10H7z" }],
  down: ["path", { d: "M2 0 6 4 10 0 12 2 8 6 12 10 10 12 6 8 2 12 0 10 4 6 0 2z" }],
};
shapes.gone = shapes.down;
shapes.quarantined = shapes.down;
shapes.failed = shapes.down;

/** The state to show: a subscriber whose deliveries fail isn't as well as it says, though it goes on. */
export const standing = (status) => (status.state === "live" && status.retrying > 0 ? "retrying" : status.state);

/** How urgent a state is: colours go by it, and shapes and words say the same. */
export function tone(state) {
  if (state === "live") return "good";
  if (["down", "gone", "quarantined", "failed"].includes(state)) return "bad";
  if (["paused", "delayed"].includes(state)) return "calm";
  return "warn";
}

export function shape(state) {
  const [tag, properties] = shapes[state] ?? shapes.busy;
  return svg(tag, { ...properties, class: `shape ${properties.class ?? ""}` });
}

export function chip(state, word = state) {
  return h(
    "span",
    { class: `chip ${tone(state)}` },
    svg("svg", { viewBox: "0 0 12 12", width: 10, height: 10, "aria-hidden": "true" }, shape(state)),
    word,
  );
}

export const button = (text, onclick, properties) => h("button", { type: "button", onclick, ...properties }, text);
export const pre = (text, properties) => h("pre", { tabindex: 0, ...properties }, text);

/** What went wrong, and below it where: the frames of a stack, one in a line. */
export function trouble(reason, trace) {
  const frames = (trace ?? "").split("\n").map((line) => line.trim()).filter((line) => line !== "");
  return pre([reason, ...frames.map((line) => `    ${line}`)].join("\n"), { class: "trace" });
}

export function facts(entries) {
  return h(
    "dl",
    { class: "facts" },
    entries.filter((entry) => entry && entry[1] !== undefined && entry[1] !== null && entry[1] !== "")
      .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

/** `columns`: [title, class]; each row is an array of cells. */
export function table(caption, columns, rows, empty) {
  if (rows.length === 0) return h("p", { class: "empty" }, empty);
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, columns.map(([title, kind]) => h("th", { scope: "col", class: kind }, title)))),
      h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, at) => h("td", { class: columns[at][1] }, cell))))),
    ),
  );
}

export function panel(title, ...content) {
  return h("section", { class: "panel" }, h("h2", {}, title), content);
}

export function field(label, input, hint) {
  return h("label", { class: "field" }, h("span", {}, label), input, hint && h("small", {}, hint));
}

export function progress(done, total, words) {
  const share = total > 0 ? Math.min(1, done / total) : 1;
  return h(
    "div",
    { class: "progress" },
    h("progress", { max: 1, value: share, "aria-label": words }),
    h("span", {}, words),
  );
}

// What people are told

export function toast(text, kind = "good") {
  const note = h("div", { class: `toast ${kind}` }, text);
  const stays = kind === "bad" ? 12_000 : 5_000;
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), stays);
}

export function announce(text) {
  setText(document.getElementById("announcer"), text);
}

export function explain(error) {
  if (error.name === "AbortError") return;
  toast(error instanceof Refusal ? error.message : `the server can't be reached (${error.message})`, "bad");
}

/** A paragraph in the place of what couldn't be read. */
export function failure(error) {
  return h("p", { class: "failure", role: "alert" }, error.message);
}

/** Runs `work` while the button waits; a refusal is shown. */
export async function during(element, work) {
  const hadFocus = document.activeElement === element;
  element.disabled = true;
  try {
    await work();
  } catch (error) {
    explain(error);
  } finally {
    element.disabled = false;
    // It lost the focus by waiting.
    if (hadFocus && document.activeElement === document.body) element.focus();
  }
}

/**
 * Asks in a dialog. `fields`: {name, label, hint, value, type, required}. Comes back with the values, or null where the person
 * thought better of it.
 */
export function ask({ title, text, fields = [], action, danger }) {
  return new Promise((resolve) => {
    const inputs = fields.map((one) => [
      one.name,
      h("input", {
        name: one.name, type: one.type ?? "text", value: one.value, required: one.required, autocomplete: "off",
        spellcheck: "false",
      }),
      one,
    ]);
    const form = h(
      "form",
      { method: "dialog" },
      h("h2", { id: "ask-title" }, title),
      text && h("p", {}, text),
      inputs.map(([, input, one]) => field(one.label, input, one.hint)),
      h(
        "div",
        { class: "actions" },
        h("button", { type: "submit", class: danger ? "danger" : "primary" }, action),
        button("Cancel", () => dialog.close("")),
      ),
    );
    const dialog = h("dialog", { "aria-labelledby": "ask-title" }, form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      dialog.close("done");
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "done" ? Object.fromEntries(inputs.map(([name, input]) => [name, input.value])) : null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
