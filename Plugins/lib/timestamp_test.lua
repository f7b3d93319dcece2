local t = require "fairlead.test"
local timestamp = require "timestamp"

t.test("a time is text in UTC with milliseconds", function()
  t.eq(timestamp(1704067200), "2024-01-01T00:00:00.000Z")
  t.eq(timestamp(1704067200.25), "2024-01-01T00:00:00.250Z")
  t.eq(timestamp(1704067199.9996), "2024-01-01T00:00:00.000Z")
  t.eq(timestamp(nil), nil)
end)
