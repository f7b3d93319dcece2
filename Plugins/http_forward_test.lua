local t = require "fairlead.test"

local function load(settings)
  settings.url = settings.url or "https://api.example.com/orders"
  return t.load("http_forward", settings, { http = { "api.example.com" } })
end

local order = t.event { id = "e-7", data = { order_id = "a/b?c=1&d", total = 12.5, note = 'say "hi"' } }

t.test("without a body the event's data is sent, with an idempotency key", function()
  local forward = load {}:on("POST", "https://api.example.com/orders", { status = 200 })
  local result = forward:handle(order)
  t.eq(result.outcome, "ack")
  t.eq(result.calls[1].json, { order_id = "a/b?c=1&d", total = 12.5, note = 'say "hi"' })
  t.eq(result.calls[1].headers["idempotency-key"], "http_forward:e-7")
  t.eq(result.calls[1].headers["content-type"], "application/json")
end)

t.test("a value stays one part of the URL, and one value of the JSON", function()
  local forward = load {
    url = "https://api.example.com/orders/{{data.order_id}}?note={{data.note}}", method = "PUT",
    headers = { ["X-Note"] = "{{data.note}}" }, body = '{"total":{{data.total}},"note":"Note: {{data.note}}"}',
    idempotency_header = "",
  }
  forward:on("PUT", "https://api.example.com/*", { status = 204 })
  local call = forward:handle(order).calls[1]
  t.eq(call.url, "https://api.example.com/orders/a%2Fb%3Fc%3D1%26d?note=say%20%22hi%22")
  t.eq(call.json, { total = 12.5, note = 'Note: say "hi"' })
  t.eq(call.headers["x-note"], 'say "hi"')
  t.eq(call.headers["idempotency-key"], nil)
end)

t.test("no value leads to another path", function()
  local forward = load { url = "https://api.example.com/v1/orders/{{data.order_id}}/notes?q={{data.order_id}}" }
  for _, id in ipairs { ".", ".." } do
    local result = forward:handle(t.event { data = { order_id = id } })
    t.eq(result.outcome, "dead")
    t.match(result.reason, "only dots")
    t.eq(#result.calls, 0)
  end
  forward:on("POST", "https://api.example.com/*", { status = 200 })
  t.eq(forward:handle(t.event { data = { order_id = "a..b" } }).outcome, "ack")
end)

t.test("the host can't come from the event", function()
  for _, url in ipairs { "https://{{data.host}}/x", "https://api.example.com{{data.host}}/", "{{data.url}}" } do
    local ok, problem = pcall(load, { url = url })
    t.eq(ok, false, url)
    -- Where it begins like a URL, its strange host is not granted either.
    if url:find("^{{") then t.match(tostring(problem), "the host may not come from the event") end
  end
end)

t.test("which status means what can be changed", function()
  local cases = {
    { 200, "ack" }, { 302, "dead" }, { 400, "dead" }, { 429, "retry" }, { 500, "retry" },
    { 409, "ack", { ack = "409" } }, { 404, "drop", { drop = { "404", "410" } } }, { 423, "retry", { retry = "4xx" } },
    { 501, "dead", { dead = { "501" } } }, { 202, "retry", { retry = { "202" } } }, { 422, "dead", { retry = "423" } },
  }
  for _, case in ipairs(cases) do
    local status, outcome, settings = case[1], case[2], case[3] or {}
    local forward = load(settings):on("POST", "https://api.example.com/orders", { status = status })
    t.eq(forward:handle(order).outcome, outcome, tostring(status))
  end
end)

t.test("Retry-After is kept to, and no answer is tried again", function()
  local busy = load { retry = "503" }
  busy:on("POST", "https://api.example.com/orders", { status = 503, headers = { ["Retry-After"] = "7" } })
  t.eq(busy:handle(order).after, 7)
  local gone = load {}:on("POST", "https://api.example.com/orders", { fail = "timeout" })
  t.eq(gone:handle(order).outcome, "retry")
end)

t.test("what is no JSON is not sent", function()
  local result = load { body = '{"a":{{data.total}}' }:handle(order)
  t.eq(result.outcome, "dead")
  t.match(result.reason, "made no JSON")
  t.eq(#result.calls, 0)
end)
