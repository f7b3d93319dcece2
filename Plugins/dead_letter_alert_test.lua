local t = require "fairlead.test"

local hook = "https://hooks.slack.com/services/x"

local function load(settings)
  return t.load("dead_letter_alert", settings, { http = { "hooks.slack.com" }, mail = true })
end

local function letter(subscriber, reason, offset)
  return t.event {
    type = "fairlead.delivery.dead", topic = "$dead",
    data = {
      subscriber = subscriber, topic = "orders", offset = offset, reason = reason, attempts = 8,
      event = { id = "e-" .. offset, source = "/shop", type = "order.placed" },
    },
  }
end

t.test("letters are grouped by subscriber and reason, the most first", function()
  local alert = load { slack = hook, channel = "#oncall" }:on("POST", hook, { status = 200 })
  local result = alert:handle_batch {
    letter("crm", "POST https://crm.example.com: 400", 3), letter("receipts", "order o-1 is in SEK", 4),
    letter("receipts", "order o-2 is in SEK", 5),
  }
  t.eq(result.outcomes, { "ack", "ack", "ack" })
  t.eq(#result.calls, 1)
  local text = result.calls[1].json.text
  t.match(text, "^%*3 dead letters%*\n2 x receipts: order o%-1 is in SEK\n")
  t.match(text, "first: event e%-4, offset 4 of orders, after 8 attempts\n1 x crm: ")
  t.match(text, "fairlead dead list")
end)

t.test("its own dead letters are passed over", function()
  local result = load { mail_to = "a@b" }:handle_batch { letter("dead_letter_alert", "mail not sent", 1) }
  t.eq(result.outcome, "ack")
  t.eq(#result.mail, 0)
end)

t.test("many reasons are cut short", function()
  local events = {}
  for i = 1, 5 do events[i] = letter("s" .. i, "x", i) end
  local mail = load { mail_to = "oncall@example.com", lines = 2 }:handle_batch(events).mail[1]
  t.eq(mail.subject, "5 dead letters")
  t.match(mail.text, "1 x s2: x\n.*\n… and 3 more reasons\n")
end)

t.test("when nobody can be told, it is tried again", function()
  local alert = load { slack = hook }:on("POST", hook, { fail = "timeout" })
  t.eq(alert:handle_batch({ letter("crm", "x", 1) }).outcome, "retry")
end)
