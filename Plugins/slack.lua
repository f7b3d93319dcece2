-- Says something on Slack, or on anything that takes Slack's incoming webhooks.
--
--   subscriber slack {
--     from  orders
--     where type = 'order.placed' and data.total >= 100
--     run   slack { webhook secret("SLACK_WEBHOOK_URL"); channel "#sales" }
--     allow http "hooks.slack.com"
--   }

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

local function handle(event, ctx)
  -- A failed post raises, and the raise knows whether another attempt makes sense.
  ctx.http.post(ctx.config.webhook, { json = { channel = ctx.config.channel, text = describe(event) } })
end

return {
  api = 1, version = "1.0.0",
  config = {
    webhook = { type = "secret", required = true },
    channel = { type = "string", default = "#sales", pattern = "^[#@]" },
  },
  handle = handle,
}
