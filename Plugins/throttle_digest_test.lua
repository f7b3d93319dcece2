local t = require "fairlead.test"

local hook = "https://hooks.slack.com/services/x"

local function load(settings)
  settings.line = settings.line or "{{data.order_id}}"
  return t.load("throttle_digest", settings, { http = { "hooks.slack.com", "example.com" }, mail = true, publish = { "digests" } })
end

local function failed(shop, id) return t.event { type = "payment.failed", data = { shop = shop, order_id = id } } end

t.test("the first is told at once, the rest once per interval, and each counts once", function()
  local digest = load { group = "{{data.shop}}", interval = "10m", publish = "digests", title = "Failed" }
  local first = digest:handle_batch { failed("north", "o-1") }
  t.eq(first.outcomes, { "ack" })
  t.eq(first.published[1].data.count, 1)
  t.eq(first.published[1].key, "north")
  t.eq(first.published[1].type, "digest")

  digest:advance(60)
  local held = failed("north", "o-4")
  local quiet = digest:handle_batch { failed("north", "o-2"), failed("north", "o-3"), held }
  t.eq(quiet.outcomes, { "ack", "ack", "retry" })
  t.eq(#quiet.published, 0)
  t.eq(digest:get("group:north").count, 2)

  -- With a clock out, more are only counted.
  digest:advance(60)
  t.eq(digest:handle_batch({ failed("north", "o-5") }).outcomes, { "ack" })

  digest:advance(480)
  local told = digest:handle_batch { held }
  t.eq(told.outcomes, { "ack" })
  t.eq(told.published[1].data.count, 4)
  t.eq(told.published[1].data.lines, { "o-2", "o-3", "o-5", "o-4" })
end)

t.test("an event that waits says for how long", function()
  local digest = load { interval = "10m", publish = "digests" }
  digest:handle_batch { failed("north", "o-1") }
  digest:advance(240)
  local result = digest:handle_batch { failed("north", "o-2") }
  t.eq(result.outcome, "retry")
  t.eq(result.after, 360)
  t.eq(result.reason, "waits for the next digest")
end)

t.test("groups don't wait for each other", function()
  local digest = load { group = "{{data.shop}}", interval = "10m", slack = hook, channel = "#alerts" }
  digest:on("POST", hook, { status = 200 })
  digest:handle_batch { failed("north", "o-1") }
  local result = digest:handle_batch { failed("north", "o-2"), failed("south", "o-3"), failed("south", "o-4") }
  t.eq(result.outcomes, { "retry", "ack", "ack" })
  t.eq(result.calls[1].json, { channel = "#alerts", text = "*Digest: south (2)*\no-3\no-4" })
end)

t.test("enough of them are told about before the interval is over", function()
  local digest = load { interval = "10m", count = 3, publish = "digests" }
  digest:handle_batch { failed("north", "o-1") }
  t.eq(digest:handle_batch({ failed("north", "o-2"), failed("north", "o-3") }).outcomes, { "ack", "retry" })
  local result = digest:handle_batch { failed("north", "o-4"), failed("north", "o-5") }
  t.eq(result.published[1].data.count, 3)
end)

t.test("when it can't be told, nothing is counted and all of it comes again", function()
  local digest = load { group = "{{data.shop}}", slack = hook }
  digest:on("POST", hook, { status = 429, headers = { ["Retry-After"] = "30" } })
  local result = digest:handle_batch { failed("north", "o-1"), failed("north", "o-2") }
  t.eq(result.outcomes, { "retry", "retry" })
  t.eq(result.after, 30)
  t.eq(digest:get("group:north"), nil)
  digest:on("POST", hook, { status = 200 })
  t.eq(digest:handle_batch({ failed("north", "o-1"), failed("north", "o-2") }).calls[1].json.text, "*Digest: north (2)*\no-1\no-2")
end)

t.test("a mail and a request can tell it too, and long lists are cut short", function()
  local digest = load { mail_to = "owner@example.com", http = "https://example.com/hook", lines = 2 }
  digest:on("POST", "https://example.com/hook", { status = 204 })
  local events = {}
  for i = 1, 5 do events[i] = failed("north", "o-" .. i) end
  local result = digest:handle_batch(events)
  t.eq(result.mail[1].to, { "owner@example.com" })
  t.eq(result.mail[1].subject, "Digest (5)")
  t.eq(result.mail[1].text, "o-1\no-2\n… and 3 more")
  t.eq(result.calls[1].json.data.count, 5)
  t.eq(result.calls[1].headers["idempotency-key"], ":test/0")
end)

t.test("one that would tell nobody is refused when it is loaded", function()
  local ok, problem = pcall(load, {})
  t.eq(ok, false)
  t.match(tostring(problem), "nobody would be told")
end)

t.test("a clock that comes early is put back again", function()
  local digest = load { interval = "10m", publish = "digests" }
  digest:handle_batch { failed("north", "o-1") }
  digest:handle_batch { failed("north", "o-2"), failed("north", "o-3") }
  digest:advance(599)
  local clock = failed("north", "o-3")
  clock.attempt = 2
  t.eq(digest:handle_batch({ clock }).outcomes, { "retry" })
  digest:advance(1)
  t.eq(digest:handle_batch({ clock }).published[1].data.count, 2)
end)
