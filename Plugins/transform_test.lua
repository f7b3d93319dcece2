local t = require "fairlead.test"

local function load(settings)
  settings.to = "partners"
  return t.load("transform", settings, { publish = { "partners" } })
end

local order = t.event {
  id = "e-1", type = "order.placed", source = "/shop", topic = "orders", key = "k", time = "2024-01-01T00:00:00.5Z",
  data = { order_id = "o-1", total = 12.5, customer = { email = "a@b", country = "DE" }, items = { { sku = "MUG" } } },
}

t.test("without settings an event is copied", function()
  local result = load {}:handle(order)
  t.eq(result.reason, nil)
  local sent = result.published[1]
  t.eq(sent.topic, "partners")
  t.eq(sent.type, "order.placed")
  t.eq(sent.id, "e-1")
  t.eq(sent.source, "/subscribers/transform")
  t.eq(sent.key, "k")
  t.eq(sent.time, "2024-01-01T00:00:00.500Z")
  t.eq(sent.data, {
    order_id = "o-1", total = 12.5, customer = { email = "a@b", country = "DE" }, items = { { sku = "MUG" } } })
end)

t.test("fields are kept, renamed, dropped and set", function()
  local sent = load {
    keep = { "order_id", "customer", "missing.field" }, rename = { ["buyer"] = "customer" }, drop = { "buyer.email" },
    set = { shop = "north", amount = "{{data.total}}", label = "{{data.order_id}} ({{data.note | none}})", n = 3 },
    type = "partner.{{type}}", subject = "{{data.order_id}}", key = "{{data.customer.country}}",
  }:handle(order).published[1]
  t.eq(sent.data, {
    order_id = "o-1", buyer = { country = "DE" }, shop = "north", amount = 12.5, label = "o-1 (none)", n = 3 })
  t.eq(sent.type, "partner.order.placed")
  t.eq(sent.subject, "o-1")
  t.eq(sent.key, "DE")
end)

t.test("a list that is moved stays a list", function()
  local sent = load { keep = { "order_id" }, set = { ["cart.items"] = "{{data.items}}" } }:handle(order).published[1]
  t.eq(sent.data, { order_id = "o-1", cart = { items = { { sku = "MUG" } } } })
end)

t.test("a value that is missing is a dead letter that names it", function()
  local result = load { set = { email = "{{data.mail}}" } }:handle(order)
  t.eq(result.outcome, "dead")
  t.match(result.reason, "data%.mail is missing")
  t.eq(#result.published, 0)
end)

t.test("it does not feed itself", function()
  local result = load {}:handle(t.event { topic = "partners", data = {} })
  t.eq(result.outcome, "dead")
  t.match(result.reason, "for ever")
end)

t.test("an event without data is passed on", function()
  t.eq(load {}:handle(t.event { id = "e-9" }).published[1].id, "e-9")
  t.eq(load { drop = { "a.b" }, rename = { c = "d" } }:handle(t.event { id = "e-9" }).published[1].data, nil)
  t.eq(load { set = { a = 1 } }:handle(t.event {}).published[1].data, { a = 1 })
end)
