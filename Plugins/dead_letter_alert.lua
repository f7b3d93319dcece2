-- Tells people about dead letters: one message for all of a while, grouped by subscriber and reason.
--
--   subscriber oncall {
--     from  $dead
--     run   dead_letter_alert { slack secret("SLACK_WEBHOOK_URL"); channel "#oncall" }
--     batch 1000 every 5m
--     allow http "hooks.slack.com"
--   }

local notify = require "notify"
local template = require "template"

-- Reasons often quote the event or an answer; the start says enough.
local REASON_MAX = 200

local function init(ctx) notify.check(ctx.config) end

-- What is the same but for its numbers counts as one: "order o-1 is in SEK" and "order o-2 is in SEK".
local function kind_of(reason) return (reason:gsub("%d+", "#")) end

local function group(events, own)
  local groups, order = {}, {}
  for _, event in ipairs(events) do
    local letter = event.data
    -- An alert about a failed alert would fail too.
    if letter.subscriber ~= own then
      local reason = template.cut(tostring(letter.reason):match("^[^\n]*"), REASON_MAX)
      local key = letter.subscriber .. "\n" .. kind_of(reason)
      if not groups[key] then
        groups[key] = {
          subscriber = letter.subscriber, reason = reason, count = 0, attempts = letter.attempts,
          first = { topic = letter.topic, offset = letter.offset, event = letter.event and letter.event.id },
        }
        order[#order + 1] = groups[key]
      end
      groups[key].count = groups[key].count + 1
    end
  end
  table.sort(order, function(a, b)
    if a.count ~= b.count then return a.count > b.count end
    return a.subscriber < b.subscriber
  end)
  return order
end

local function handle_batch(events, ctx)
  local own = ctx.idempotency_key:match("^[^:]*")
  local groups = group(events, own)
  if #groups == 0 then return end

  local total, lines = 0, {}
  for i, entry in ipairs(groups) do
    total = total + entry.count
    if i <= ctx.config.lines then
      lines[#lines + 1] = ("%d x %s: %s"):format(entry.count, entry.subscriber, entry.reason)
      lines[#lines + 1] = ("    first: event %s, offset %d of %s, after %d attempts"):format(
        entry.first.event, entry.first.offset, entry.first.topic, entry.attempts)
    end
  end
  if #groups > ctx.config.lines then lines[#lines + 1] = ("… and %d more reasons"):format(#groups - ctx.config.lines) end
  lines[#lines + 1] = ctx.config.hint

  notify.send(ctx, {
    subject = total == 1 and "1 dead letter" or ("%d dead letters"):format(total),
    text = table.concat(lines, "\n"), type = "dead.letters", id = ctx.idempotency_key,
    data = { total = total, groups = groups },
  })
end

local config = {
  lines = { type = "integer", default = 10, min = 1, max = 100 },
  hint = { type = "string", default = "See them with `fairlead dead list`; mend the cause, then `fairlead dead redrive`." },
}
for name, field in pairs(notify.config) do config[name] = field end

return {
  api = 1, version = "1.0.0", config = config, requires = notify.requires, init = init, handle_batch = handle_batch,
}
