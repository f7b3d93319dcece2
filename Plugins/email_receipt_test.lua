local t = require "fairlead.test"

local function order(fields)
  local data = {
    order_id = "o-7", currency = "EUR", total = 52.5, customer = { name = "Ada", email = "ada@example.com" },
    items = { { sku = "MUG-01", name = "Mug", quantity = 3, price = 17.5 } },
  }
  for key, value in pairs(fields or {}) do data[key] = value end
  return t.event { type = "order.placed", data = data }
end

t.test("a receipt names the customer, the items and the total", function()
  local receipts = t.load("email_receipt", { from = "shop@example.com" }, { mail = true })
  local result = receipts:handle(order())
  t.eq(result.outcome, "ack")
  t.eq(#result.mail, 1)
  local mail = result.mail[1]
  t.eq(mail.to, { "ada@example.com" })
  t.eq(mail.from, "shop@example.com")
  t.eq(mail.subject, "Your order o-7")
  t.match(mail.text, "^Dear Ada,")
  t.match(mail.text, "3 x Mug  17%.50 EUR")
  t.match(mail.text, "Total: 52%.50 EUR$")
end)

t.test("a currency without cents is shown without", function()
  local receipts = t.load("email_receipt", { from = "shop@example.com", currencies = { "JPY" } }, { mail = true })
  local result = receipts:handle(order { currency = "JPY", total = 7200 })
  t.match(result.mail[1].text, "Total: 7200 JPY$")
end)

t.test("an unknown currency is a dead letter that says what to do", function()
  local receipts = t.load("email_receipt", { from = "shop@example.com" }, { mail = true })
  local result = receipts:handle(order { currency = "SEK" })
  t.eq(result.outcome, "dead")
  t.match(result.reason, "o%-7 is in SEK.*add it to `currencies` in routes%.conf")
  t.eq(#result.mail, 0)
end)
