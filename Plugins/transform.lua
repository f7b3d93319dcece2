-- Reshapes events and publishes them to another topic: rename, drop, add, give them another type.
--
--   subscriber for_partners {
--     from  orders
--     where type = 'order.placed'
--     run   transform {
--       to   partner_orders
--       type "partner.order"
--       keep ["order_id", "total", "customer.country"]
--       set  { shop "north"; reference "{{source}}/{{data.order_id}}" }
--     }
--     allow publish partner_orders
--   }

local paths = require "paths"
local template = require "template"
local timestamp = require "timestamp"

local sets, event_type, subject, key = {}, nil, nil, nil

-- What a `set` line gives. "{{data.total}}" alone stays a number; a text around it makes it text.
local function value_of(written)
  if type(written) ~= "string" then return function() return written end end
  local path = written:match("^{{%s*([^{}|]-)%s*}}$")
  if path then
    local get = template.path(path)
    return function(event, ctx)
      local value = get(event)
      if value == nil then return nil, path .. " is missing; give it a fallback, {{" .. path .. " | none}}" end
      return paths.copy(value, ctx.json)
    end
  end
  return template.compile(written)
end

local function init(ctx)
  local config = ctx.config
  for path, written in pairs(config.set) do sets[#sets + 1] = { path = path, value = value_of(written) } end
  table.sort(sets, function(a, b) return a.path < b.path end)
  event_type = template.optional(config.type)
  subject = template.optional(config.subject)
  key = template.optional(config.key)
end

local function handle(event, ctx)
  local config = ctx.config
  if event.topic == config.to then
    return ctx.dead(("this would go round for ever: it takes from %s and publishes there"):format(config.to))
  end

  local before, after = event.data, {}
  if #config.keep > 0 then
    for _, path in ipairs(config.keep) do
      local value = paths.get(before, path)
      if value ~= nil then paths.set(after, path, paths.copy(value, ctx.json)) end
    end
  elseif type(before) == "table" then
    after = paths.copy(before, ctx.json)
  elseif before ~= nil and (#config.drop > 0 or #sets > 0) then
    return ctx.dead("the data is no JSON object, so that it has no fields to drop or set")
  elseif before ~= nil or #sets == 0 then
    after = before
  end
  for to, from in pairs(config.rename) do
    local value = paths.get(after, from)
    if value ~= nil then
      paths.remove(after, from)
      paths.set(after, to, value)
    end
  end
  for _, path in ipairs(config.drop) do paths.remove(after, path) end
  -- Their places are filled from the event as it came, whatever was dropped.
  for _, set in ipairs(sets) do paths.set(after, set.path, template.need(set.value, event, ctx)) end

  -- The id stays: where the other topic has `dedupe`, a replay adds nothing.
  ctx.publish(config.to, after, {
    id = event.id, time = timestamp(event.time), type = template.need(event_type, event, ctx) or event.type,
    subject = template.need(subject, event, ctx) or event.subject, key = template.need(key, event, ctx) or event.key,
  })
end

return {
  api = 1, version = "1.0.0",
  config = {
    to = { type = "topic", required = true },
    type = { type = "string" },
    subject = { type = "string" },
    key = { type = "string" },
    keep = { type = "list<string>", default = {} },
    rename = { type = "map<string>", default = {} },
    drop = { type = "list<string>", default = {} },
    set = { type = "map", default = {} },
  },
  requires = { publish = { "$to" } },
  init = init, handle = handle,
}
