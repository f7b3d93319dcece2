-- Texts with places in them: "Order {{data.order_id}} for {{data.customer.name | somebody}}".
--
-- A place is a path as in filters: `id`, `type`, `data.items[0].sku`, `data['a key']`. What stands behind `|` is used where
-- the event has nothing there, or null; without it, such an event is refused, since a text with a hole in it misleads.
-- How a value is written depends on where it goes: compile(text, template.html) escapes for HTML, and so on.

local timestamp = require "timestamp"

local template = {}

-- JSON's null, which is no value.
local function is_nothing(value) return value == nil or tostring(value) == "null" and type(value) == "userdata" end

-- "data.items[0]['a key']" as { "data", "items", 1, "a key" }.
local function parse_path(path)
  local steps, at = {}, 1
  while at <= #path do
    local name, stop = path:match("^%.?([%w_$-]+)()", at)
    local index, bracket = path:match("^%[(%d+)%]()", at)
    local quoted, close = path:match("^%[(['\"].-['\"])%]()", at)
    if name and (at == 1) == (path:sub(at, at) ~= ".") then
      steps[#steps + 1], at = name, stop
    elseif index and at > 1 then
      -- Filters count from 0, as JSON's readers do; Lua counts from 1.
      steps[#steps + 1], at = math.tointeger(index) + 1, bracket
    elseif quoted and at > 1 and quoted:sub(1, 1) == quoted:sub(-1) then
      steps[#steps + 1], at = quoted:sub(2, -2), close
    else
      error(("'%s' is no path; write it as in `where`: data.customer.email, data.items[0].sku, data['a key']"):format(path), 0)
    end
  end
  if #steps == 0 then error("a place is empty; write the path of a value: {{data.order_id}}", 0) end
  return steps
end

-- The value at a path, nil where there is none.
function template.path(path)
  local steps = parse_path(path)
  if path == "time" then return function(event) return timestamp(event.time) end end
  return function(event)
    local value = event
    for _, step in ipairs(steps) do
      -- An event itself is no table.
      if type(value) ~= "table" and value ~= event then return nil end
      value = value[step]
      if is_nothing(value) then return nil end
    end
    return value
  end
end

local function plain(value, _, json)
  if type(value) == "table" then return json.encode(value) end
  return tostring(value)
end

function template.text(value, _, json) return plain(value, nil, json) end

-- For one line: a subject, a header. Unicode has more control characters, which mail refuses.
function template.line(value, _, json) return (plain(value, nil, json):gsub("\xC2[\x80-\x9F]", " "):gsub("%c+", " ")) end

local html = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }
function template.html(value, _, json) return (plain(value, nil, json):gsub("[&<>\"']", html)) end

-- One part of a URL's path, or a value in its query: "a/b&c" stays one.
function template.url(value, _, json)
  return (plain(value, nil, json):gsub("[^%w%-%._~]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

-- Inside quotes the text of a string; elsewhere a whole value, so that numbers stay numbers.
function template.json(value, is_quoted, json)
  if not is_quoted then return json.encode(value) end
  return json.encode(plain(value, nil, json)):sub(2, -2)
end

-- Slack reads these three; escaped, nobody is called by <!channel> in an order's note.
function template.slack(value, _, json) return (plain(value, nil, json):gsub("[&<>]", html)) end

function template.discord(value, _, json) return (plain(value, nil, json):gsub("[\\`*_~|>#%[%]]", "\\%0")) end

-- Whether the text ends inside a JSON string, given whether it begins in one.
local function ends_quoted(text, is_quoted)
  for mark in text:gsub("\\.", ""):gmatch('"') do is_quoted = not is_quoted end
  return is_quoted
end

-- A function that makes the text of an event, or returns nil and what is missing. Raises where the template is wrong, so
-- compile in `init`: a reload with a wrong one is refused.
function template.compile(text, escape)
  escape = escape or template.text
  local pieces, at, is_quoted = {}, 1, false
  while true do
    local open, close = text:find("{{", at, true)
    local literal = text:sub(at, (open or 0) - 1)
    pieces[#pieces + 1] = { literal = literal }
    is_quoted = ends_quoted(literal, is_quoted)
    if not open then break end
    local stop, after = text:find("}}", close + 1, true)
    if not stop then error(("'%s' has a {{ without }}"):format(text), 0) end
    local inside = text:sub(close + 1, stop - 1)
    local path, fallback = inside:match("^(.-)%s*|%s?(.*)$")
    path = (path or inside):match("^%s*(.-)%s*$")
    pieces[#pieces + 1] = { get = template.path(path), path = path, fallback = fallback, is_quoted = is_quoted }
    at = after + 1
  end
  return function(event, ctx)
    local parts = {}
    for i, piece in ipairs(pieces) do
      local value = piece.literal
      if piece.get then
        value = piece.get(event)
        if value == nil then value = piece.fallback end
        if value == nil then
          return nil, ("%s is missing, which `%s` needs; give it a fallback, {{%s | none}}, or filter such events out")
            :format(piece.path, text, piece.path)
        end
        value = escape(value, piece.is_quoted, ctx.json)
      end
      parts[i] = value
    end
    return table.concat(parts)
  end
end

-- Like compile, for templates that may be left out: those make nil.
function template.optional(text, escape)
  if text == nil then return function() return nil end end
  return template.compile(text, escape)
end

-- The text, or the end of the call as a dead letter: more attempts would find the same.
function template.need(render, event, ctx)
  local text, missing = render(event, ctx)
  if missing then error(ctx.dead(missing), 0) end
  return text
end

-- At most `count` characters (not bytes), the last an ellipsis where something was cut.
function template.cut(text, count)
  local length = utf8.len(text)
  if not length or length <= count then return text end
  return text:sub(1, utf8.offset(text, count) - 1) .. "…"
end

return template
