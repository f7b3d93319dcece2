-- Writes events to files, one line of JSON each (NDJSON).
--
--   subscriber archive {
--     from  orders
--     run   file_append { file "orders-%Y-%m-%d.ndjson"; max_size "100MB" }
--     allow file "data/exports"
--     start earliest
--   }

local timestamp = require "timestamp"

-- About how many bytes of lines are written at once; more is written in several goes.
local CHUNK = 1024 * 1024

local function init(ctx)
  local ok, problem = pcall(os.date, "!" .. ctx.config.file, 0)
  if not ok then error("file: " .. problem, 0) end
end

local function line(event, ctx)
  local fields = {}
  for name, value in pairs(event) do fields[name] = value end
  -- These are about the delivery; what tells two copies of an event apart from two events is `topic` and `offset`.
  fields.attempt, fields.replay = nil, nil
  fields.time = timestamp(event.time)
  return ctx.json.encode(fields)
end

-- Takes whatever is waiting: many lines then cost one wait for the disk. Everything is on disk when this returns; if it
-- fails, all of these events come again.
local function handle_batch(events, ctx)
  local config = ctx.config
  local name = os.date("!" .. config.file, math.floor(ctx.now()))
  local lines, bytes = {}, 0
  local function write()
    if #lines == 0 then return end
    local _, set_aside = ctx.file.append(name, table.concat(lines, "\n"), {
      max_size = config.max_size, folder = config.folder,
    })
    if set_aside then ctx.log.info("a full file was set aside", { file = name, now = set_aside }) end
    lines, bytes = {}, 0
  end
  for _, event in ipairs(events) do
    local text = line(event, ctx)
    if bytes + #text > CHUNK then write() end
    lines[#lines + 1], bytes = text, bytes + #text + 1
  end
  write()
end

return {
  api = 1, version = "1.0.0",
  config = {
    file = { type = "string", default = "events-%Y-%m-%d.ndjson", pattern = "^[%w_%-./%%]+$" },
    max_size = { type = "size", min = "1MB" },
    folder = { type = "string" },
  },
  requires = { file = true },
  init = init, handle_batch = handle_batch,
}
