local t = require "fairlead.test"

local function load(settings)
  settings.to = settings.to or "{{data.email}}"
  settings.subject = settings.subject or "Order {{data.order_id}}"
  return t.load("email", settings, { mail = true })
end

local shipped = t.event { data = { email = "ada@example.com", order_id = "o-1", name = "Ada <3" } }

t.test("a mail is filled in, with its HTML escaped", function()
  local email = load {
    to = { "{{data.email}}", "Shop <shop@example.com>" }, cc = { "log@example.com" }, from = "shop@example.com",
    text = "Dear {{data.name}}", html = "<p>Dear {{data.name}}</p>",
  }
  local mail = email:handle(shipped).mail[1]
  t.eq(mail, {
    to = { "ada@example.com", "Shop <shop@example.com>" }, cc = { "log@example.com" }, from = "shop@example.com",
    subject = "Order o-1", text = "Dear Ada <3", html = "<p>Dear Ada &lt;3</p>" })
end)

t.test("no line break gets into a subject", function()
  local mail = load { text = "x" }:handle(t.event { data = { email = "a@b", order_id = "1\r\nBcc: x@y" } }).mail[1]
  t.eq(mail.subject, "Order 1 Bcc: x@y")
end)

t.test("without an address it is a dead letter that says so", function()
  local result = load { text = "x" }:handle(t.event { data = { order_id = "o-1" } })
  t.eq(result.outcome, "dead")
  t.match(result.reason, "data%.email is missing")
  t.eq(#result.mail, 0)
end)

t.test("a mail without a body is refused when the plugin is loaded", function()
  local ok, problem = pcall(load, {})
  t.eq(ok, false)
  t.match(tostring(problem), "set text or html")
end)
