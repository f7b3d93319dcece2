local t = require "fairlead.test"
local template = require "template"

local event = {
  id = "e-1", type = "order.placed",
  data = { order_id = "o/1 & co", note = 'say "hi"\n<b>', total = 12.5, count = 3, paid = true,
    items = { { sku = "MUG-01" }, { sku = "TEA-07" } }, ["a key"] = "x" },
}

local function render(text, escape)
  return template.compile(text, escape)(event, { json = t.json })
end

t.test("places are filled by path", function()
  t.eq(render("{{type}} {{ data.total }} {{data.items[1].sku}} {{data['a key']}}"), "order.placed 12.5 TEA-07 x")
  t.eq(render("no place"), "no place")
  t.eq(template.compile("{{time}}")({ time = 1704067200 }, { json = t.json }), "2024-01-01T00:00:00.000Z")
  t.eq(render(""), "")
  t.eq(render("{{data.items[0]}}"), '{"sku":"MUG-01"}')
end)

t.test("a missing value needs a fallback", function()
  t.eq(render("{{data.name | somebody}}{{data.name |}}!"), "somebody!")
  local text, problem = render("Dear {{data.name}}")
  t.eq(text, nil)
  t.match(problem, "^data%.name is missing, which `Dear {{data%.name}}` needs")
  t.eq(render("{{data.total.cents | 0}} {{data.items[9].sku | none}}"), "0 none")
end)

t.test("a null is missing", function()
  local null = t.json.decode('{"a":null}')
  t.eq(template.compile("{{data.a | none}}")({ data = null }, { json = t.json }), "none")
end)

t.test("each destination has its escapes", function()
  t.eq(render("/{{data.order_id}}?n={{data.note}}", template.url), "/o%2F1%20%26%20co?n=say%20%22hi%22%0A%3Cb%3E")
  t.eq(render("<p>{{data.note}}</p>", template.html), "<p>say &quot;hi&quot;\n&lt;b&gt;</p>")
  t.eq(render("Order {{data.note}}", template.line), 'Order say "hi" <b>')
  t.eq(template.line("a\u{85}b\u{C5}\r\n\tc", nil, t.json), "a b\u{C5} c")
  t.eq(render("{{data.note}} <!here>", template.slack), 'say "hi"\n&lt;b&gt; <!here>')
  t.eq(template.discord("*a*_b_", nil, t.json), "\\*a\\*\\_b\\_")
end)

t.test("JSON keeps types outside quotes and escapes inside them", function()
  local text = render(
    [[{"n":{{data.count}},"paid":{{data.paid}},"id":{{data.order_id}},"text":"\" {{data.note}}","items":{{data.items}}}]],
    template.json)
  t.eq(t.json.decode(text), {
    n = 3, paid = true, id = "o/1 & co", text = '" say "hi"\n<b>', items = { { sku = "MUG-01" }, { sku = "TEA-07" } } })
end)

t.test("no value breaks out of its JSON", function()
  for _, value in ipairs { '"', '\\', '\\"', '","admin":true,"x":"', "\n\0\1", "{{id}}" } do
    local text = template.compile('{"a":"{{data.v}}","b":{{data.v}}}', template.json)({ data = { v = value } }, { json = t.json })
    t.eq(t.json.decode(text), { a = value, b = value })
  end
end)

t.test("a wrong template is refused when it is compiled", function()
  local function problem(text) local _, message = pcall(template.compile, text) return tostring(message) end
  t.match(problem("{{data.order"), "without }}")
  t.match(problem("{{}}"), "a place is empty")
  t.match(problem("{{data..x}}"), "'data%.%.x' is no path")
  t.match(problem("{{data.x y}}"), "is no path")
  t.match(problem("{{[0]}}"), "is no path")
end)

t.test("a text is cut by characters", function()
  t.eq(template.cut("äöü", 3), "äöü")
  t.eq(template.cut("äöüß", 3), "äö…")
end)
