local t = require "fairlead.test"

local function load(settings) return t.load("file_append", settings, { file = { "data/exports" } }) end

local function lines(text)
  local found = {}
  for line in text:gmatch("[^\n]+") do found[#found + 1] = t.json.decode(line) end
  return found
end

t.test("each event is a line that can be told from every other", function()
  local result = load { max_size = "5MB" }:handle_batch {
    t.event { id = "e-1", type = "order.placed", topic = "orders", data = { n = 1, text = "two\nlines" } },
    t.event { id = "e-2", type = "order.placed", topic = "orders", key = "k", shop = "north" },
  }
  t.eq(result.outcomes, { "ack", "ack" })
  t.eq(#result.files, 1, "one append for both")
  t.eq(result.files[1].folder, "data/exports")
  t.eq(result.files[1].name, "events-2024-01-01.ndjson")
  t.eq(result.files[1].max_size, 5000000)
  local first, second = table.unpack(lines(result.files[1].text))
  t.eq(first.id, "e-1")
  t.eq(first.offset, 0)
  t.eq(first.topic, "orders")
  t.eq(first.data, { n = 1, text = "two\nlines" })
  t.eq(second.offset, 1)
  t.eq(second.key, "k")
  t.eq(second.shop, "north")
  t.eq(second.attempt, nil)
end)

t.test("a new day is a new file", function()
  local archive = load { file = "%Y/%m/%d.ndjson" }
  t.eq(archive:handle_batch { t.event {} }.files[1].name, "2024/01/01.ndjson")
  archive:advance(86400)
  t.eq(archive:handle_batch { t.event {} }.files[1].name, "2024/01/02.ndjson")
end)

t.test("much is written in several goes", function()
  local events = {}
  for i = 1, 5 do events[i] = t.event { data = { text = ("x"):rep(300000) } } end
  local result = load {}:handle_batch(events)
  t.eq(#result.files, 2)
  t.eq(#lines(result.files[1].text) + #lines(result.files[2].text), 5)
end)

t.test("when the disk is full, all of it is tried again", function()
  local archive = load {}:on("APPEND", "events-2024-01-01.ndjson", { fail = "No space left on device" })
  local result = archive:handle_batch { t.event {}, t.event {} }
  t.eq(result.outcomes, { "retry", "retry" })
  t.match(result.reason, "No space left")
end)

t.test("a name that leads out of the folder is a dead letter", function()
  t.eq(load { file = "../%Y" }:handle_batch({ t.event {} }).outcome, "dead")
end)

t.test("a name with a wrong time in it is refused when the plugin is loaded", function()
  local ok, problem = pcall(load, { file = "%Q.ndjson" })
  t.eq(ok, false)
  t.match(tostring(problem), "file: .*%%Q")
end)
