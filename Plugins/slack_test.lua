local t = require "fairlead.test"

local webhook = "https://hooks.slack.com/services/x"

local function load()
  return t.load("slack", { webhook = webhook, channel = "#sales" }, { http = { "hooks.slack.com" } })
end

local order = t.event { type = "order.placed", data = { order_id = "o-1", total = 250, currency = "EUR" } }

t.test("an order is told to the channel", function()
  local slack = load():on("POST", webhook, { status = 200 })
  local result = slack:handle(order)
  t.eq(result.outcome, "ack")
  t.eq(result.calls[1].json, { channel = "#sales", text = "Order o-1: 250 EUR" })
end)

t.test("low stock and dead letters have words of their own", function()
  local slack = load():on("POST", webhook, { status = 200 })
  local low = slack:handle(t.event { type = "stock.low", data = { sku = "MUG-01", left = 4 } })
  t.eq(low.calls[1].json.text, "Only 4 left of MUG-01")
  local dead = slack:handle(t.event {
    type = "fairlead.delivery.dead", data = { subscriber = "receipts", reason = "no address" } })
  t.eq(dead.calls[1].json.text, "Dead letter of receipts: no address")
end)

t.test("when Slack is busy, it is tried again when Slack says", function()
  local slack = load():on("POST", webhook, { status = 429, headers = { ["Retry-After"] = "30" } })
  local result = slack:handle(order)
  t.eq(result.outcome, "retry")
  t.eq(result.after, 30)
end)

t.test("a webhook that Slack no longer knows is a dead letter", function()
  local slack = load():on("POST", webhook, { status = 404 })
  t.eq(slack:handle(order).outcome, "dead")
end)
