// SPDX-License-Identifier: Apache-2.0

// Requests to this server. A token, where the server has any, lives as long as the tab.

const tokenName = "fairlead.token";
let askForToken = null;

/** What the server refused, in its own words. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `the server answered ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

/** `ask(message)` comes back with a token, or throws where the person gave up. */
export function useTokenPrompt(ask) {
  askForToken = ask;
}

export const hasToken = () => sessionStorage.getItem(tokenName) !== null;
export const forgetToken = () => sessionStorage.removeItem(tokenName);

let asking = null;

/** One question for all requests that need its answer. */
function newToken(message) {
  asking ??= askForToken(message).then((token) => sessionStorage.setItem(tokenName, token)).finally(() => {
    asking = null;
  });
  return asking;
}

export async function request(method, path, { body, signal, type } = {}) {
  for (;;) {
    const token = sessionStorage.getItem(tokenName);
    const headers = {};
    if (token !== null) headers.Authorization = `Bearer ${token}`;
    if (body !== undefined) headers["Content-Type"] = type ?? "application/json";
    const response = await fetch(path, { method, headers, body, signal, cache: "no-store", credentials: "omit" });
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    if (response.status !== 401) throw new Refusal(response.status, problem);
    // Another request may have been given a better one meanwhile.
    if (sessionStorage.getItem(tokenName) === token) await newToken(token === null ? null : problem.detail);
  }
}

export async function get(path, signal) {
  return parse(await (await request("GET", path, { signal })).text());
}

export async function send(method, path, body) {
  const response = await request(method, path, { body: body === undefined ? undefined : write(body) });
  const text = await response.text();
  return text === "" ? null : parse(text);
}

/**
 * Reads JSON so that numbers keep the digits they were written with: 64-bit integers and prices like 10.50 go back into a
 * mended event as they came. Where the browser can't, they are ordinary numbers.
 */
export function parse(text) {
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" && JSON.rawJSON && context && context.source !== String(value)
      ? JSON.rawJSON(context.source)
      : value,
  );
}

export const write = (value, indent) => JSON.stringify(value, null, indent);

export const isObject = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(JSON.isRawJSON?.(value) ?? false);

export const path = (...parts) => `/v1/${parts.map(encodeURIComponent).join("/")}`;

export function query(values) {
  const parts = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return parts.length === 0 ? "" : `?${parts.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}`;
}

/** Where a listing goes on, from its Link header. */
export function next(response) {
  return /<([^>]*)>; rel="next"/.exec(response.headers.get("Link") ?? "")?.[1] ?? null;
}
