local t = require "fairlead.test"
local paths = require "paths"

t.test("a path is read, set and removed", function()
  local data = { customer = { email = "a@b" }, total = 1 }
  t.eq(paths.get(data, "customer.email"), "a@b")
  t.eq(paths.get(data, "customer.name.first"), nil)
  t.eq(paths.get(data, "total.cents"), nil)
  paths.set(data, "shop.city.name", "Kiel")
  paths.set(data, "total", 2)
  paths.remove(data, "customer.email")
  paths.remove(data, "nothing.there")
  t.eq(data, { customer = {}, total = 2, shop = { city = { name = "Kiel" } } })
end)

t.test("a value in the way is replaced", function()
  local data = { a = 1 }
  paths.set(data, "a.b", 2)
  t.eq(data, { a = { b = 2 } })
end)

t.test("a copy leaves the first alone, and an empty list a list", function()
  local first = t.json.decode('{"a":{"b":[]},"c":[1,2]}')
  local copy = paths.copy(first, t.json)
  copy.a.x = 1
  t.eq(first.a.x, nil)
  t.eq(t.json.encode(copy.a.b), "[]")
end)

t.test("an empty part is refused", function()
  local ok, problem = pcall(paths.get, {}, "a..b")
  t.eq(ok, false)
  t.match(problem, "'a%.%.b' is no path")
end)
