local t = require "fairlead.test"

local webhook = "https://discord.com/api/webhooks/1/x"

local function load(settings)
  settings.webhook = webhook
  return t.load("discord", settings, { http = { "discord.com" } })
end

local order = t.event { type = "order.placed", data = { order_id = "o-1", total = 250, note = "*@everyone*" } }

t.test("a text is filled in, without markup or mentions from the event", function()
  local discord = load { text = "**{{data.order_id}}** {{data.note}}", username = "Shop" }
  local result = discord:on("POST", webhook, { status = 204 }):handle(order)
  t.eq(result.outcome, "ack")
  t.eq(result.calls[1].json, {
    content = "**o-1** \\*@everyone\\*", username = "Shop", allowed_mentions = { parse = {} } })
end)

t.test("a card has a title, a colour and fields", function()
  local discord = load { title = "Order {{data.order_id}}", color = "#36a64f", fields = { Total = "{{data.total}}", By = "us" } }
  local card = discord:on("POST", webhook, { status = 204 }):handle(order).calls[1].json.embeds[1]
  t.eq(card.title, "Order o-1")
  t.eq(card.color, 0x36a64f)
  t.eq(card.fields, { { name = "By", value = "us", inline = true }, { name = "Total", value = "250", inline = true } })
end)

t.test("a long text is cut at what Discord takes", function()
  local discord = load { text = "{{data.long}}" }:on("POST", webhook, { status = 204 })
  local sent = discord:handle(t.event { data = { long = ("ä"):rep(3000) } }).calls[1].json.content
  t.eq(utf8.len(sent), 2000)
end)

t.test("when Discord is busy, it is tried again when Discord says", function()
  local discord = load {}:on("POST", webhook, { status = 429, headers = { ["Retry-After"] = "2.5" } })
  local result = discord:handle(order)
  t.eq(result.outcome, "retry")
  t.eq(result.after, 2.5)
end)
