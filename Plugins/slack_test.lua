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

t.test("a text of one's own is filled in, and calls nobody by accident", function()
  local slack = t.load("slack", {
    webhook = webhook, text = "*{{data.order_id}}* {{data.note}}", username = "Shop", icon = ":tada:",
  }, { http = { "hooks.slack.com" } }):on("POST", webhook, { status = 200 })
  local result = slack:handle(t.event { data = { order_id = "o-1", note = "<!channel> & co" } })
  t.eq(result.calls[1].json, {
    channel = "#sales", text = "*o-1* &lt;!channel&gt; &amp; co", username = "Shop", icon_emoji = ":tada:" })
end)

t.test("blocks are JSON with the event's values in it, and may go into a thread", function()
  local slack = t.load("slack", {
    webhook = webhook, icon = "https://example.com/i.png", thread = "{{data.thread}}",
    blocks = [=[[{ "type": "section", "text": { "type": "mrkdwn", "text": "Order {{data.order_id}}" } }]]=],
  }, { http = { "hooks.slack.com" } }):on("POST", webhook, { status = 200 })
  local sent = slack:handle(t.event { data = { order_id = 'o"1', thread = "17.5" } }).calls[1].json
  t.eq(sent.blocks, { { type = "section", text = { type = "mrkdwn", text = 'Order o"1' } } })
  t.eq(sent.icon_url, "https://example.com/i.png")
  t.eq(sent.thread_ts, "17.5")
end)

t.test("an event without what the text needs is a dead letter that names it", function()
  local slack = t.load("slack", { webhook = webhook, text = "{{data.order_id}}" }, { http = { "hooks.slack.com" } })
  local result = slack:handle(t.event { data = {} })
  t.eq(result.outcome, "dead")
  t.match(result.reason, "data%.order_id is missing")
end)

t.test("a wrong template is refused when the plugin is loaded", function()
  local ok, problem = pcall(t.load, "slack", { webhook = webhook, text = "{{data" }, { http = { "hooks.slack.com" } })
  t.eq(ok, false)
  t.match(tostring(problem), "without }}")
end)
