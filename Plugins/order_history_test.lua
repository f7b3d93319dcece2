local t = require "fairlead.test"

local function order(kind, id, total)
  return t.event {
    type = kind, time = "2026-03-01T10:00:00Z",
    data = { order_id = id, currency = "EUR", total = total, customer = { id = "c-1" } },
  }
end

t.test("orders and refunds of a customer add up, the latest first", function()
  local history = t.load("order_history", { keep = 2 })
  history:handle(order("order.placed", "o-1", 10.5))
  history:handle(order("order.placed", "o-2", 20))
  history:handle(order("order.refunded", "o-1", 10.5))
  local ada = history:get("customer:c-1")
  t.eq(ada.orders, 2)
  t.eq(ada.spent, { EUR = 20.0 })
  t.eq(#ada.latest, 2, "only as many as `keep` says")
  t.eq(ada.latest[1], { order_id = "o-1", type = "order.refunded", at = 1772359200.0 })
end)

t.test("an order of nobody is dropped", function()
  local history = t.load("order_history")
  t.eq(history:handle(t.event { type = "order.placed", data = { order_id = "o-3" } }).outcome, "drop")
end)
