// SPDX-License-Identifier: Apache-2.0

// The routing as a picture: topics on the left, filters between, subscribers on the right.

import { count, plural, rate, setText, shape, shorten, standing, svg, tone } from "/dashboard/dom.js";

const row = 50;
const box = 40;
/** Below this width filters move into their subscribers. */
const wide = 720;
/** Width of a letter, about: texts are cut before they are drawn. */
const letter = { plain: 6.9, small: 6.1, mono: 6.7 };
const fit = (text, width, size) => shorten(text, Math.floor(width / size));

/** Edges grow with what passes, slowly: from a trickle to thousands a second. */
const weight = (perSecond) => (perSecond > 0 ? Math.min(5, 1.6 + Math.log10(1 + perSecond)) : 1.2);

const curve = (x1, y1, x2, y2) => {
  const middle = (x1 + x2) / 2;
  return `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`;
};

/** Topics beside what takes from them, none on another. */
function placeTopics(topics, subscribers, centre) {
  const wanted = topics.map((topic) => {
    const rows = subscribers.flatMap((one, at) => (one.topics.includes(topic.name) ? [centre(at)] : []));
    return { topic, y: rows.length > 0 ? rows.reduce((a, b) => a + b) / rows.length : Infinity };
  });
  wanted.sort((a, b) => a.y - b.y);
  let free = box / 2 + 4;
  for (const one of wanted) {
    one.y = Math.max(free, Number.isFinite(one.y) ? one.y : free);
    free = one.y + row;
  }
  return { places: new Map(wanted.map((one) => [one.topic.name, one.y])), end: free };
}

/** @returns {{element: SVGElement, update: (live) => void}} */
export function picture(graph, width) {
  const isWide = width >= wide;
  const subscribers = graph.subscribers;
  const taken = new Set(subscribers.flatMap((one) => one.topics));
  const topics = graph.topics.filter((one) => taken.has(one.name) || !one.system);
  const centre = (at) => at * row + box / 2 + 4;
  const { places, end } = placeTopics(topics, subscribers, centre);
  const height = Math.max(subscribers.length * row, end - box / 2) + 4;

  const topicWidth = isWide ? 150 : Math.max(76, Math.round(width * 0.24));
  const subscriberWidth = isWide ? Math.min(330, Math.max(250, width * 0.3)) : width - topicWidth - Math.max(58, width * 0.14);
  const subscriberX = width - subscriberWidth - 1;
  // From the topics to the filters, and on from there with the rate.
  const between = subscriberX - topicWidth;
  const longest = Math.max(3, ...subscribers.map((one) => one.where?.length ?? 3));
  const filterWidth = isWide ? Math.min(between - 210, longest * letter.mono + 24) : 0;
  const filterX = isWide ? topicWidth + Math.round((between - filterWidth) * 0.55) : 0;

  const updates = [];
  const edges = svg("g", { class: "edges" });
  const nodes = svg("g", {});

  for (const topic of topics) {
    const y = places.get(topic.name);
    const rateText = svg("text", { x: 14, y: y + 13, class: "small number" });
    const node = svg(
      "a",
      { class: "node topic", href: `#/tail/${encodeURIComponent(topic.name)}` },
      svg("title"),
      svg("rect", { x: 1, y: y - box / 2, width: topicWidth - 2, height: box, rx: box / 2 }),
      svg("text", { x: 14, y: y - 2, class: "name" }, fit(topic.name, topicWidth - 22, letter.plain)),
      rateText,
    );
    nodes.append(node);
    updates.push((live) => {
      const words = rate(live.topicRates.get(topic.name));
      setText(rateText, isWide ? `${words} published` : words);
      setText(node.querySelector("title"), `Topic ${topic.name}: ${words} published. Open its tail`);
    });
  }

  subscribers.forEach((one, at) => {
    const y = centre(at);
    const lines = one.topics.map((name) => {
      const line = svg("path", {
        d: curve(topicWidth - 1, places.get(name), isWide ? filterX : subscriberX, y), class: "edge",
      });
      edges.append(line);
      return [name, line];
    });
    let label;
    let last;
    if (isWide) {
      const filter = one.where ?? "all";
      nodes.append(
        svg(
          "g",
          { class: `node filter ${one.where ? "" : "open"}` },
          svg("title", {}, one.where ? `${one.name} takes those where ${one.where}` : `${one.name} takes all`),
          svg("rect", { x: filterX, y: y - 13, width: filterWidth, height: 26, rx: 5 }),
          svg("text", { x: filterX + 9, y: y + 4, class: "mono" }, fit(filter, filterWidth - 16, letter.mono)),
        ),
      );
      last = svg("path", { d: `M${filterX + filterWidth} ${y}H${subscriberX}`, class: "edge" });
      edges.append(last);
      label = svg("text", { x: (filterX + filterWidth + subscriberX) / 2, y: y - 6, class: "small number label" });
    } else {
      label = svg("text", { x: subscriberX - 5, y: y - 6, class: "small number label end" });
    }
    nodes.append(label);

    const mark = svg("g", { transform: `translate(${subscriberX + 11} ${y - 13})` });
    const detail = svg("text", { x: subscriberX + 11, y: y + 13, class: "small" });
    const title = svg("title");
    const frame = svg("rect", { x: subscriberX, y: y - box / 2, width: subscriberWidth, height: box, rx: 7 });
    const backlog = svg("text", { x: subscriberX + subscriberWidth - 10, y: y - 2, class: "small number end" });
    const letters = svg("text", { x: subscriberX + subscriberWidth - 10, y: y + 13, class: "small number end bad" });
    const nameText = svg("text", { x: subscriberX + 29, y: y - 2, class: "name" });
    const node = svg(
      "a",
      { class: "node subscriber", href: `#/subscriber/${encodeURIComponent(one.name)}` },
      title, frame, mark,
      nameText,
      detail, backlog, letters,
    );
    nodes.append(node);
    const batch = one.batch ? `, ${count(one.batch.count)} every ${one.batch.every}` : "";
    const how = one.method === "pull" ? "pull" : `${one.method} ${one.target}${batch}`;
    const sends = one.publishes.length > 0 ? `  → ${one.publishes.join(", ")}` : "";
    let drawn = null;
    updates.push((live) => {
      const status = live.subscriber(one.name);
      if (!status) return;
      const perSecond = live.subscriberRates.get(one.name) ?? 0;
      const stands = standing(status);
      if (drawn !== stands) {
        drawn = stands;
        mark.replaceChildren(shape(stands));
        node.setAttribute("class", `node subscriber ${tone(stands)}`);
      }
      setText(label, rate(perSecond));
      setText(backlog, status.backlog > 0 ? `${count(status.backlog)}${isWide ? " waiting" : ""}` : "");
      setText(nameText, fit(one.name, subscriberWidth - 44 - backlog.textContent.length * letter.small, letter.plain));
      setText(letters, status.dead > 0 ? `${count(status.dead)} dead` : "");
      const state = stands === "live" ? "" : stands === "retrying" ? `${count(status.retrying)} retrying · ` : `${stands} · `;
      const second = isWide ? `${state}${how}${sends}` : `${state}${one.where ?? how}`;
      const room = subscriberWidth - 24 - (status.dead > 0 ? letters.textContent.length * letter.small + 8 : 0);
      setText(detail, fit(second, room, letter.small));
      for (const [name, line] of lines) {
        // What a topic gives to one of its subscribers isn't counted; whether anything moves is seen.
        const moves = perSecond > 0 && (live.topicRates.get(name) > 0 || lines.length === 1);
        line.setAttribute("stroke-width", weight(moves && !isWide ? perSecond : moves ? 1 : 0));
        line.classList.toggle("moves", moves);
      }
      if (last) {
        last.setAttribute("stroke-width", weight(perSecond));
        last.classList.toggle("moves", perSecond > 0);
      }
      setText(
        title,
        `Subscriber ${one.name}, ${stands}: ${rate(perSecond)}, ${count(status.backlog)} waiting, `
          + `${plural(status.dead, "dead letter")}. From ${one.from.join(", ")}${one.where ? ` where ${one.where}` : ""}. `
          + `${how}${sends}`,
      );
    });
  });

  return {
    element: svg(
      "svg",
      { class: "picture", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Topics, filters and subscribers" },
      edges, nodes,
    ),
    update: (live) => updates.forEach((one) => one(live)),
  };
}
