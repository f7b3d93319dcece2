-- Tells people something: on Slack, by mail, by a webhook, or as an event, wherever the settings say. For plugins that
-- make one message of many events.

local template = require "template"

local notify = {}

-- Settings for a plugin's `config`, and what they require.
notify.config = {
  slack = { type = "secret" },
  channel = { type = "string", pattern = "^[#@]" },
  mail_to = { type = "list<string>" },
  mail_from = { type = "string", pattern = "@" },
  http = { type = "string" },
  publish = { type = "topic" },
}
notify.requires = { http = { "$slack", "$http" }, mail = "$mail_to", publish = { "$publish" } }

-- What Slack takes in one message, in characters.
local SLACK_MAX = 40000

-- For `init`: a plugin that would tell nobody is refused.
function notify.check(config)
  if not (config.slack or config.mail_to or config.http or config.publish) then
    error("nobody would be told: set slack, mail_to, http or publish", 0)
  end
end

-- Sends a message { subject, text, type, id, key, data } everywhere; raises at the first place that fails.
-- What is published counts only with the event's ack, so it stands last: it can't be told twice.
function notify.send(ctx, message)
  local config = ctx.config
  if config.slack then
    local text = ("*%s*\n%s"):format(template.slack(message.subject), template.slack(message.text))
    ctx.http.post(config.slack, { json = { channel = config.channel, text = template.cut(text, SLACK_MAX) } })
  end
  if config.mail_to then
    ctx.mail.send {
      from = config.mail_from, to = config.mail_to, subject = template.line(message.subject), text = message.text }
  end
  if config.http then
    ctx.http.post(config.http, {
      headers = { ["Idempotency-Key"] = message.id },
      json = { id = message.id, type = message.type, subject = message.subject, text = message.text, data = message.data },
    })
  end
  if config.publish then
    ctx.publish(config.publish, message.data, { id = message.id, type = message.type, key = message.key })
  end
end

return notify
