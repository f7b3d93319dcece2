-- Mails something about an event. For receipts with a list of items see email_receipt.lua, which is a plugin of its own.
--
--   subscriber shipped {
--     from  orders
--     where type = 'order.shipped' and exists data.customer.email
--     run   email {
--       from    "Shop <shop@example.com>"
--       to      "{{data.customer.email}}"
--       subject "Your order {{data.order_id}} is on its way"
--       text    "Dear {{data.customer.name | customer}},\n\nthe parcel's number is {{data.tracking}}."
--     }
--     allow mail
--   }

local template = require "template"

local to, cc = {}, {}
local subject, text, html, reply_to

local function init(ctx)
  local config = ctx.config
  if not config.text and not config.html then error("set text or html: a mail needs one of them", 0) end
  for i, address in ipairs(config.to) do to[i] = template.compile(address, template.line) end
  for i, address in ipairs(config.cc) do cc[i] = template.compile(address, template.line) end
  subject = template.compile(config.subject, template.line)
  reply_to = template.optional(config.reply_to, template.line)
  text = template.optional(config.text, template.text)
  html = template.optional(config.html, template.html)
end

local function addresses(templates, event, ctx)
  local list = {}
  for i, render in ipairs(templates) do list[i] = template.need(render, event, ctx) end
  return list
end

local function handle(event, ctx)
  -- What is no address, and an address with a line break in it, are refused there and end as dead letters.
  ctx.mail.send {
    from = ctx.config.from, to = addresses(to, event, ctx), cc = addresses(cc, event, ctx),
    reply_to = template.need(reply_to, event, ctx), subject = template.need(subject, event, ctx),
    text = template.need(text, event, ctx), html = template.need(html, event, ctx),
  }
end

return {
  api = 1, version = "1.0.0",
  config = {
    to = { type = "list<string>", required = true, min = 1 },
    cc = { type = "list<string>", default = {} },
    from = { type = "string", pattern = "@" },
    reply_to = { type = "string" },
    subject = { type = "string", required = true },
    text = { type = "string" },
    html = { type = "string" },
  },
  requires = { mail = true },
  init = init, handle = handle,
}
