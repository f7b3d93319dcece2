local t = require "fairlead.test"

local function order(id, currency, total, customer)
  return t.event {
    type = "order.placed",
    data = { order_id = id, currency = currency, total = total, customer = { id = customer } },
  }
end

t.test("one mail sums up the batch", function()
  local digest = t.load("digest", { to = "owner@example.com" }, { mail = true })
  local result = digest:handle_batch {
    order("o-1", "EUR", 10.5, "c-1"), order("o-2", "EUR", 20, "c-2"), order("o-3", "USD", 15, "c-1"),
  }
  t.eq(result.outcomes, { "ack", "ack", "ack" })
  t.eq(#result.mail, 1)
  t.eq(result.mail[1].to, { "owner@example.com" })
  t.eq(result.mail[1].subject, "3 orders")
  t.match(result.mail[1].text, "3 orders of 2 customers")
  t.match(result.mail[1].text, "30%.50 EUR")
  t.match(result.mail[1].text, "15%.00 USD")
  t.match(result.mail[1].text, "The biggest was o%-2: 20 EUR")
end)
