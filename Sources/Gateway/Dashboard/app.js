// SPDX-License-Identifier: Apache-2.0

// The frame: which view the address names, the token, and what is said about the connection.

import { forgetToken, hasToken, useTokenPrompt } from "/dashboard/api.js";
import { announce, ask, button, chip, count, failure, h, plural, replace, setText, standing } from "/dashboard/dom.js";
import { live } from "/dashboard/live.js";
import { routing } from "/dashboard/routing.js";
import { subscriber } from "/dashboard/subscriber.js";
import { dead, letter } from "/dashboard/dead.js";
import { tail } from "/dashboard/tail.js";
import { event, events } from "/dashboard/events.js";
import { history } from "/dashboard/history.js";
import { generations } from "/dashboard/generations.js";

const views = [
  { name: "", title: "Routing", view: routing },
  { name: "dead", title: "Dead letters", view: dead, one: letter },
  { name: "tail", title: "Tail", view: tail, one: tail },
  { name: "events", title: "Events", view: events, one: event },
  { name: "history", title: "History", view: history },
  { name: "generations", title: "Generations", view: generations, one: generations },
  { name: "subscriber", title: "Subscriber", one: subscriber, hidden: true },
];

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const link = document.getElementById("link");
const deadBadge = h("span", { class: "badge", hidden: true });
let current = null;

const links = views.filter((one) => !one.hidden).map((one) => ({
  name: one.name,
  element: h("a", { href: `#/${one.name}` }, one.title, one.name === "dead" && deadBadge),
}));
replace(nav, links.map((one) => one.element));

/** `#/dead/7?group=x` → ["dead", "7"] and its parameters. */
function address() {
  const [route, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: route.split("/").map(decodeURIComponent), parameters: new URLSearchParams(search) };
}

function show(isFirst) {
  const { parts: [name, ...rest], parameters } = address();
  const found = views.find((one) => one.name === name) ?? views[0];
  const make = rest.length > 0 && found.one ? found.one : found.view ?? routing;
  current?.close?.();
  current = make({ name: rest[0], parameters });
  document.title = `${current.title} · Fairlead`;
  for (const one of links) {
    if (one.name === (found.hidden ? "" : found.name)) one.element.setAttribute("aria-current", "page");
    else one.element.removeAttribute("aria-current");
  }
  replace(main, h("h1", { class: current.quietTitle ? "unseen" : null }, current.title), current.element);
  current.update?.(live);
  // A reader is told where it is now; at the start the browser does that.
  if (!isFirst) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

document.getElementById("skip").addEventListener("click", (click) => {
  // The address belongs to the views.
  click.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => show(false));

// The connection

const linkState = h("span");
const generation = h("a", { href: "#/generations", title: "The running generation" });
const out = button("Forget token", () => {
  forgetToken();
  location.reload();
});
replace(link, linkState, generation, out);

let said = null;
const before = new Map();

live.watch(() => {
  const { name, why } = live.state;
  if (said !== name) {
    said = name;
    const words = { live: "live", lost: "no connection", connecting: "connecting" };
    replace(linkState, chip(name === "live" ? "live" : name === "lost" ? "down" : "busy", words[name]));
    linkState.title = why ?? "";
    if (name === "lost") announce("The connection to the server is lost; what is shown may be old.");
  }
  document.body.classList.toggle("stale", name === "lost");
  out.hidden = !hasToken();
  if (!live.status) return;
  setText(generation, `generation ${live.status.generation}`);
  const letters = live.status.subscribers.reduce((sum, one) => sum + one.dead, 0);
  deadBadge.hidden = letters === 0;
  setText(deadBadge, count(letters));
  deadBadge.setAttribute("aria-label", plural(letters, "dead letter"));
  tellChanges();
  current?.update?.(live);
});

/** For who can't see colours change: states that changed, and dead letters that came. */
function tellChanges() {
  const news = [];
  for (const one of live.status.subscribers) {
    const last = before.get(one.name);
    const state = standing(one);
    if (last && last.state !== state) news.push(`${one.name} is ${state}`);
    if (last && one.dead > last.dead) news.push(`${one.name} has ${plural(one.dead, "dead letter")}`);
    before.set(one.name, { state, dead: one.dead });
  }
  if (news.length > 0) announce(news.slice(0, 5).join("; "));
}

useTokenPrompt(async (message) => {
  const answer = await ask({
    title: "This server asks for a token",
    text: message ?? "One with the scope read shows everything but files; with admin you can change things too. It is kept until this tab is closed.",
    fields: [{ name: "token", label: "Token", type: "password", required: true }],
    action: "Go on",
  });
  if (answer === null) throw new Error("no token was given; reload the page to be asked again");
  return answer.token.trim();
});

try {
  show(true);
} catch (error) {
  replace(main, failure(error));
}
live.start();
