-- Says something on Slack, or on anything that takes Slack's incoming webhooks.
--
--   subscriber slack {
--     from  orders
--     where type = 'order.placed' and data.total >= 100
--     run   slack {
--       webhook secret("SLACK_WEBHOOK_URL")
--       channel "#sales"
--       text    "Order *{{data.order_id}}* from {{data.customer.name | somebody}}: {{data.total}} {{data.currency}}"
--     }
--     allow http "hooks.slack.com"
--   }

local template = require "template"

-- Without a `text` of its own.
local function describe(event)
  local data = type(event.data) == "table" and event.data or {}
  if event.type == "order.placed" then
    return ("Order %s: %s %s"):format(data.order_id, data.total, data.currency or "")
  elseif event.type == "stock.low" then
    return ("Only %d left of %s"):format(data.left, data.sku)
  elseif event.type == "fairlead.delivery.dead" then
    return ("Dead letter of %s: %s"):format(data.subscriber, data.reason)
  end
  return ("%s from %s"):format(event.type, event.source)
end

local text, blocks, thread

local function init(ctx)
  local config = ctx.config
  text = config.text and template.compile(config.text, template.slack)
    or function(event, ctx) return template.slack(describe(event), false, ctx.json) end
  blocks = template.optional(config.blocks, template.json)
  thread = template.optional(config.thread)
end

local function handle(event, ctx)
  local config = ctx.config
  local message = {
    -- Slack shows it in notifications where there are blocks, and cuts off what is longer.
    text = template.cut(template.need(text, event, ctx), 40000),
    channel = config.channel, username = config.username, thread_ts = template.need(thread, event, ctx),
  }
  local icon = config.icon
  if icon then message[icon:find("^https?://") and "icon_url" or "icon_emoji"] = icon end
  local made = template.need(blocks, event, ctx)
  if made then
    local ok, list = pcall(ctx.json.decode, made)
    if not ok then return ctx.dead("`blocks` made no JSON of this event: " .. tostring(list)) end
    message.blocks = list
  end
  -- A failed post raises, and the raise knows whether another attempt makes sense.
  ctx.http.post(config.webhook, { json = message })
end

return {
  api = 1, version = "2.0.0",
  config = {
    webhook = { type = "secret", required = true },
    channel = { type = "string", default = "#sales", pattern = "^[#@]" },
    text = { type = "string" },
    blocks = { type = "string", pattern = "^%s*%[" },
    username = { type = "string", max = 80 },
    icon = { type = "string", pattern = "^[:h]" },
    thread = { type = "string" },
  },
  requires = { http = { "$webhook" } },
  init = init, handle = handle,
}
