// SPDX-License-Identifier: Apache-2.0

// The status as it streams in, and the rates that follow from it.

import { request } from "/dashboard/api.js";

/** Seconds over which a rate is taken: calm enough to read. */
const window = 8;
/** Seconds of rates that are kept to be drawn. */
const kept = 120;
const reopenAfter = 2000;

class Live {
  status = null;
  /** `connecting`, `live` or `lost`, with why. */
  state = { name: "connecting" };
  topicRates = new Map();
  subscriberRates = new Map();
  /** By subscriber: events acknowledged in each second. */
  past = new Map();
  #samples = [];
  #watchers = new Set();
  #abort = null;

  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  subscriber(name) {
    return this.status?.subscribers.find((one) => one.name === name);
  }

  start() {
    document.addEventListener("visibilitychange", () => {
      // Nobody looks: the server has only so many streams.
      if (document.hidden) this.#abort?.abort();
      else if (!this.#abort) this.#run();
    });
    this.#run();
  }

  async #run() {
    const abort = new AbortController();
    this.#abort = abort;
    while (!abort.signal.aborted) {
      try {
        const response = await request("GET", "/v1/live", { signal: abort.signal });
        this.#become({ name: "live" });
        await this.#read(response.body.getReader());
        this.#become({ name: "lost", why: "the server has closed the stream" });
      } catch (error) {
        if (abort.signal.aborted) break;
        this.#become({ name: "lost", why: error.message });
      }
      await new Promise((done) => setTimeout(done, reopenAfter));
    }
    if (this.#abort === abort) this.#abort = null;
  }

  async #read(reader) {
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const events = text.split("\n\n");
      text = events.pop();
      for (const event of events) {
        const data = event.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
        if (data.length > 0) this.#take(JSON.parse(data.join("\n")));
      }
    }
  }

  #take(status) {
    // Counters begin anew with the process.
    if (this.status && this.status.started !== status.started) {
      this.#samples = [];
      this.past.clear();
    }
    const sample = {
      time: Date.parse(status.time) / 1000,
      topics: new Map(status.topics.map((one) => [one.name, one.end])),
      subscribers: new Map(status.subscribers.map((one) => [one.name, one.acked])),
    };
    const before = this.#samples.at(-1);
    for (const [name, acked] of sample.subscribers) {
      const last = before?.subscribers.get(name);
      if (last === undefined) continue;
      const line = this.past.get(name) ?? [];
      line.push(Math.max(0, acked - last) / Math.max(0.2, sample.time - before.time));
      if (line.length > kept) line.shift();
      this.past.set(name, line);
    }
    this.#samples.push(sample);
    while (this.#samples.length > 2 && this.#samples[1].time <= sample.time - window) this.#samples.shift();
    this.topicRates = this.#rates((one) => one.topics);
    this.subscriberRates = this.#rates((one) => one.subscribers);
    this.status = status;
    this.#tell();
  }

  #rates(of) {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    const seconds = last.time - first.time;
    const rates = new Map();
    if (seconds <= 0) return rates;
    for (const [name, value] of of(last)) {
      const old = of(first).get(name);
      if (old !== undefined) rates.set(name, Math.max(0, value - old) / seconds);
    }
    return rates;
  }

  #become(state) {
    this.state = state;
    this.#tell();
  }

  #tell() {
    for (const watcher of this.#watchers) watcher(this);
  }
}

export const live = new Live();
