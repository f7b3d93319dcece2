-- Tells about the first event of a group at once, then about all that follow in one message per interval.
--
--   subscriber failures {
--     from  payments
--     where type = 'payment.failed'
--     run   throttle_digest {
--       group    "{{data.shop}}"
--       line     "{{data.order_id}}: {{data.reason | no reason given}}"
--       interval 15m
--       slack    secret("SLACK_WEBHOOK_URL")
--     }
--     batch 500 every 5s
--     allow http "hooks.slack.com"
--   }
--
-- What waits is counted in the state, committed with the acks of its events: each counts once. The last event of a group
-- that has to wait is not counted but put back until the group is due, and so is the clock: it comes when nothing else does.

local notify = require "notify"
local template = require "template"
local timestamp = require "timestamp"

local name_of, line_of

local function init(ctx)
  notify.check(ctx.config)
  name_of = template.compile(ctx.config.group, template.line)
  line_of = template.compile(ctx.config.line)
end

-- The batch's events by group, each with its place in the batch.
local function sort(events, ctx)
  local groups, names = {}, {}
  for i, event in ipairs(events) do
    local name = template.cut(name_of(event, ctx) or "", 100)
    if not groups[name] then
      groups[name] = {}
      names[#names + 1] = name
    end
    table.insert(groups[name], { place = i, event = event })
  end
  return groups, names
end

local function count(group, event, ctx)
  local time = timestamp(event.time or ctx.now())
  group.count = group.count + 1
  group.first, group.last = group.first or time, time
  group.id = group.id or ("%s/%d"):format(event.topic, event.offset)
  if #group.lines < ctx.config.lines then group.lines[#group.lines + 1] = (line_of(event, ctx)) or event.type end
end

local function message(name, group, ctx)
  local lines = { table.unpack(group.lines) }
  if group.count > #lines then lines[#lines + 1] = ("… and %d more"):format(group.count - #lines) end
  local title = ctx.config.title .. (name ~= "" and ": " .. name or "")
  return {
    subject = ("%s (%d)"):format(title, group.count), text = table.concat(lines, "\n"), type = ctx.config.type,
    id = name .. ":" .. group.id, key = name ~= "" and name or nil,
    data = { group = name, count = group.count, first = group.first, last = group.last, lines = group.lines },
  }
end

local function handle_batch(events, ctx)
  local config, now = ctx.config, ctx.now()
  local groups, names = sort(events, ctx)
  local outcomes = {}
  for _, name in ipairs(names) do
    local members, key = groups[name], "group:" .. name
    local group = ctx.state.get(key) or { count = 0, told = 0, lines = ctx.json.array() }
    local due = group.told + config.interval
    if config.count > 0 and group.count + #members >= config.count then due = now end

    if due <= now then
      for _, member in ipairs(members) do count(group, member.event, ctx) end
      local ok, failure = pcall(notify.send, ctx, message(name, group, ctx))
      if ok then
        -- A group that is quiet for an interval is forgotten: its next event is told about at once either way.
        ctx.state.put(key, { count = 0, told = now, lines = ctx.json.array() }, { ttl = config.interval })
      else
        -- Nothing of this group was counted then; the others go on.
        for _, member in ipairs(members) do
          outcomes[member.place] = ctx.retry { after = type(failure) == "userdata" and failure.after or nil, reason = tostring(failure) }
        end
      end
    else
      local last, clock = #members, group.clock
      -- With a clock out already, all of them can be counted, unless one of these is that clock.
      for _, member in ipairs(members) do clock = clock and member.event.attempt == 1 end
      if not clock then
        outcomes[members[last].place] = ctx.retry { after = math.max(1, due - now), reason = "waits for the next digest" }
        last = last - 1
      end
      if last > 0 then
        for i = 1, last do count(group, members[i].event, ctx) end
        group.clock = true
        ctx.state.put(key, group)
      end
    end
    for _, member in ipairs(members) do outcomes[member.place] = outcomes[member.place] or true end
  end
  return outcomes
end

local config = {
  group = { type = "string", default = "" },
  line = { type = "string", default = "{{type}} {{subject |}}" },
  title = { type = "string", default = "Digest" },
  type = { type = "string", default = "digest" },
  interval = { type = "duration", default = "15m", min = "1s", max = "1h" },
  count = { type = "integer", default = 0, min = 0 },
  lines = { type = "integer", default = 20, min = 0, max = 100 },
}
for name, field in pairs(notify.config) do config[name] = field end

return {
  api = 1, version = "1.0.0", config = config, requires = notify.requires, init = init, handle_batch = handle_batch,
}
