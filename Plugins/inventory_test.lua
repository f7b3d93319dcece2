local t = require "fairlead.test"

local function load(settings)
  return t.load("inventory", settings or { low_water = 5, initial = 10 }, { publish = { "stock" } })
end

local function order(kind, quantity)
  return t.event { type = kind, data = { order_id = "o-1", items = { { sku = "MUG-01", quantity = quantity } } } }
end

t.test("an order takes from the shelf, a refund puts back", function()
  local inventory = load()
  t.eq(inventory:handle(order("order.placed", 3)).outcome, "ack")
  t.eq(inventory:get("stock:MUG-01"), 7)
  inventory:handle(order("order.refunded", 2))
  t.eq(inventory:get("stock:MUG-01"), 9)
end)

t.test("what runs low is said once, when it gets there", function()
  local inventory = load()
  t.eq(#inventory:handle(order("order.placed", 4)).published, 0)
  local published = inventory:handle(order("order.placed", 1)).published
  t.eq(#published, 1)
  t.eq(published[1].topic, "stock")
  t.eq(published[1].type, "stock.low")
  t.eq(published[1].data, { sku = "MUG-01", left = 5, order_id = "o-1" })
  t.eq(#inventory:handle(order("order.placed", 1)).published, 0, "it is low already")
end)

t.test("an order without items changes nothing", function()
  local inventory = load()
  t.eq(inventory:handle(t.event { type = "order.placed", data = { order_id = "o-2" } }).outcome, "ack")
  t.eq(inventory:get("stock:MUG-01"), nil)
end)
