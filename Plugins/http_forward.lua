-- Sends each event to an HTTP API, in the form that the API wants. Where it takes CloudEvents as they are, `push` needs no
-- plugin.
--
--   subscriber crm {
--     from  orders
--     where type = 'order.placed'
--     run   http_forward {
--       method  PUT
--       url     "https://crm.example.com/v1/orders/{{data.order_id}}"
--       headers { Authorization secret("CRM_AUTHORIZATION") }
--       body    "{ \"total\": {{data.total}}, \"note\": \"From {{data.customer.name | somebody}}\" }"   # or file("crm.json")
--       ack     ["409"]
--     }
--     allow http "crm.example.com"
--   }

local template = require "template"

local url, body
local headers = {}

local function init(ctx)
  local config = ctx.config
  if type(config.url) == "string" then
    -- Where a request goes is for routes.conf to say: the host comes before the first place.
    local origin = config.url:match("^(.-){{")
    if origin and not origin:find("^https?://[^/?#]+[/?#]") then
      error("url: the host may not come from the event; write places only behind it", 0)
    end
    url = template.compile(config.url, template.url)
  else
    url = function() return config.url end
  end
  body = template.optional(config.body, config.content_type:find("json", 1, true) and template.json or template.text)
  for name, value in pairs(config.headers) do
    headers[name] = type(value) == "string" and template.compile(value, template.line) or function() return value end
  end
end

-- Whether the list has the status, "404", or its class, "4xx".
local function lists(list, status)
  for _, entry in ipairs(list) do
    if entry == tostring(status) or entry == ("%dxx"):format(status // 100) then return true end
  end
  return false
end

local function handle(event, ctx)
  local config = ctx.config
  local target = template.need(url, event, ctx)
  -- No escape keeps these from leading to another path than the one that is written down.
  if type(target) == "string" and (target .. "/"):gsub("[?#].*", "/"):find("/%.%.?/") then
    return ctx.dead("a value in the URL's path is only dots: " .. target)
  end
  local request = {
    method = config.method, url = target, headers = { ["Content-Type"] = config.content_type },
  }
  if config.idempotency_header ~= "" then request.headers[config.idempotency_header] = ctx.idempotency_key end
  for name, render in pairs(headers) do request.headers[name] = template.need(render, event, ctx) end
  if config.body then
    request.body = template.need(body, event, ctx)
    if config.content_type:find("json", 1, true) and not pcall(ctx.json.decode, request.body) then
      return ctx.dead("`body` made no JSON of this event: " .. request.body)
    end
  elseif config.method ~= "GET" and config.method ~= "DELETE" then
    request.json = event.data
  end

  -- By default 2xx is done, 408, 429, 5xx and no answer are tried again, the rest is a dead letter. The lists change that.
  local ok, result = pcall(ctx.http.request, request)
  local status = result.status
  if not status then error(result, 0) end
  if lists(config.ack, status) then return end
  if lists(config.drop, status) then return ctx.drop(("answered %d"):format(status)) end
  if lists(config.retry, status) then
    return ctx.retry { after = not ok and result.after or nil, reason = ("answered %d"):format(status) }
  end
  if lists(config.dead, status) then return ctx.dead(("answered %d"):format(status)) end
  if not ok then error(result, 0) end
end

local statuses = { type = "list<string>", default = {} }

return {
  api = 1, version = "1.0.0",
  config = {
    url = { type = "string", required = true },
    method = { type = "enum", values = { "GET", "POST", "PUT", "PATCH", "DELETE" }, default = "POST" },
    headers = { type = "map", default = {} },
    body = { type = "string" },
    content_type = { type = "string", default = "application/json" },
    idempotency_header = { type = "string", default = "Idempotency-Key" },
    ack = statuses, drop = statuses, retry = statuses, dead = statuses,
  },
  requires = { http = { "$url" } },
  init = init, handle = handle,
}
