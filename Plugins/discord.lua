-- Says something on Discord, by a channel's webhook.
--
--   subscriber discord {
--     from  orders
--     where type = 'order.placed'
--     run   discord {
--       webhook secret("DISCORD_WEBHOOK_URL")
--       text    "Order **{{data.order_id}}** over {{data.total}} {{data.currency}}"
--     }
--     allow http "discord.com"
--     rate  30/m
--   }

local template = require "template"
local timestamp = require "timestamp"

-- Characters, as Discord counts them.
local TEXT_MAX, TITLE_MAX, FIELD_MAX, DESCRIPTION_MAX = 2000, 256, 1024, 4096

local text, title, description
local fields = {}

local function init(ctx)
  local config = ctx.config
  text = template.compile(config.text, template.discord)
  title = template.optional(config.title, template.discord)
  description = template.optional(config.description, template.discord)
  for name, value in pairs(config.fields or {}) do
    fields[#fields + 1] = { name = name, render = template.compile(tostring(value), template.discord) }
  end
  table.sort(fields, function(a, b) return a.name < b.name end)
end

local function embed(event, ctx)
  local card = {
    title = template.need(title, event, ctx), description = template.need(description, event, ctx),
    color = ctx.config.color and tonumber(ctx.config.color:sub(2), 16), timestamp = timestamp(event.time),
  }
  if not card.title and not card.description and #fields == 0 then return nil end
  if card.title then card.title = template.cut(card.title, TITLE_MAX) end
  if card.description then card.description = template.cut(card.description, DESCRIPTION_MAX) end
  for i, field in ipairs(fields) do
    card.fields = card.fields or {}
    card.fields[i] = {
      name = field.name, value = template.cut(template.need(field.render, event, ctx), FIELD_MAX), inline = true }
  end
  return card
end

local function handle(event, ctx)
  local config = ctx.config
  local card = embed(event, ctx)
  -- A failed post raises, and the raise knows whether another attempt makes sense.
  ctx.http.post(config.webhook, { json = {
    content = template.cut(template.need(text, event, ctx), TEXT_MAX),
    username = config.username, avatar_url = config.avatar, embeds = card and { card },
    -- Whom a text mentions is not for an event's data to say.
    allowed_mentions = { parse = config.mentions },
  } })
end

return {
  api = 1, version = "1.0.0",
  config = {
    webhook = { type = "secret", required = true },
    text = { type = "string", default = "{{type}} from {{source}}" },
    title = { type = "string" },
    description = { type = "string" },
    fields = { type = "map", max = 25 },
    color = { type = "string", pattern = "^#%x%x%x%x%x%x$" },
    username = { type = "string", max = 80 },
    avatar = { type = "url" },
    mentions = { type = "list<string>", default = {} },
  },
  requires = { http = { "$webhook" } },
  init = init, handle = handle,
}
