-- SPDX-License-Identifier: Apache-2.0
-- What broke or wedged other hosts, each by name. The soak run and the tests of the sandbox run them all; `event.data.run`
-- says which. Those of `loops` use up processor time, those of `hogs` memory; those of `waits` wait inside.

local loops, hogs, waits = {}, {}, {}

local function loop() while true do end end

loops["a plain loop"] = loop

loops["pcall of a loop, for ever"] = function() while true do pcall(loop) end end

loops["an xpcall handler that loops"] = function() xpcall(loop, loop) end

loops["short coroutines, nested six deep"] = function()
  local function nest(depth)
    for _ = 1, 30 do if depth > 0 then coroutine.wrap(function() nest(depth - 1) end)() end end
  end
  while true do nest(6) end
end

loops["a pattern that tries every way"] = function()
  return ("a"):rep(30):find(("a?"):rep(30) .. ("a"):rep(30) .. "b")
end

loops["a pattern that tries every way, in gsub"] = function()
  return ("a"):rep(400):gsub(("a-"):rep(40) .. "b", "")
end

loops["a loop in a callback of gsub"] = function() return ("a"):gsub("a", loop) end

loops["a loop in a comparison of sort"] = function() table.sort({2, 1, 3}, loop) end

loops["string.rep of nothing"] = function() while true do string.rep("", 1 << 36) end end

loops["table.move over nothing"] = function() table.move({}, 1, 1 << 34, 2) end

loops["table.remove that is lied to"] = function()
  while true do table.remove(setmetatable({}, {__len = function() return 1 << 40 end}), 1) end
end

loops["table.insert into a long list"] = function()
  local list = {}
  while true do for i = 1, 1000 do table.insert(list, 1, i) end if #list > 20000 then list = {} end end
end

loops["table.concat over and over"] = function()
  local list = {}
  for i = 1, 20000 do list[i] = "abc" end
  while true do table.concat(list, ",") end
end

loops["table.unpack over and over"] = function() while true do select("#", table.unpack({}, 1, 90000)) end end

loops["a <close> variable that loops"] = function() local _ <close> = setmetatable({}, {__close = loop}) end

loops["a <close> variable that loops after the stop"] = function()
  local _ <close> = setmetatable({}, {__close = loop})
  loop()
end

local saved
loops["closing what was stopped in an earlier call"] = function()
  if saved then pcall(coroutine.close, saved) end
  saved = coroutine.create(function()
    local _ <close> = setmetatable({}, {__close = loop})
    loop()
  end)
  coroutine.resume(saved)
end

local handler
loops["closing the handler of an earlier call"] = function()
  if handler then pcall(coroutine.close, handler) end
  handler = coroutine.running()
  local _ <close> = setmetatable({}, {__close = loop})
  loop()
end

loops["doubling a string and letting it go"] = function()
  while true do
    local s = "x"
    for _ = 1, 20 do s = s .. s end
  end
end

loops["writing JSON"] = function(_, ctx)
  local list = {}
  for i = 1, 10000 do list[i] = i end
  while true do ctx.json.encode(list) end
end

loops["writing long strings as JSON"] = function(_, ctx)
  local s = ("\1"):rep(1 << 18)
  while true do ctx.json.encode(s) end
end

loops["reading JSON"] = function(_, ctx)
  local text = "[" .. ("[1,2],"):rep(10000) .. "1]"
  while true do ctx.json.decode(text) end
end

loops["answers at once"] = function(_, ctx) while true do ctx.state.get("a") end end

hogs["string.rep, caught"] = function()
  local kept = {}
  while true do pcall(function() kept[#kept + 1] = ("x"):rep(1 << 20) end) end
end

hogs["a list that grows"] = function()
  local list = {}
  while true do list[#list + 1] = {} end
end

hogs["a string that doubles, caught"] = function()
  local s = "x"
  while true do pcall(function() s = s .. s end) end
end

hogs["coroutines at the limit"] = function()
  local kept = {}
  while true do pcall(function() while true do kept[#kept + 1] = coroutine.create(loop) end end) end
end

hogs["host calls at the limit"] = function(event, ctx)
  local kept = {}
  while true do
    pcall(function()
      while true do
        kept[#kept + 1] = ctx.json.decode('[[["a", {"b": [1, 2, 3]}]]]')
        kept[#kept + 1] = event.id .. #kept
        kept[#kept + 1] = ctx.json.encode(kept[1])
        kept[#kept + 1] = ctx.crypto.hex(ctx.crypto.random(100))
        kept[#kept + 1] = ctx.retry{reason = ctx.uuid()}
        kept[#kept + 1] = table.pack(("a,b,c"):gsub(",", string.upper))
        kept[#kept + 1] = ("%s|%5d"):format(event, #kept)
      end
    end)
  end
end

hogs["deep recursion"] = function()
  local function deeper(n) return 1 + deeper({n}) end
  return deeper(1)
end

waits["every want"] = function(_, ctx)
  ctx.state.put("a", {b = {1, 2.5, ctx.null}}, {ttl = "1h"})
  ctx.state.add("n", 2)
  ctx.state.get("a", 1)
  ctx.state.delete("a")
  ctx.state.list("a", {limit = 3})
  ctx.publish("orders", {a = 1}, {type = "x"})
  ctx.mail.send{to = "a@example.com", subject = "s", text = "t"}
  ctx.sleep("10ms")
  local answer = ctx.http.post("http://example.com", {json = {a = 1}})
  answer.json()
end

waits["inside coroutines and pcall"] = function(_, ctx)
  local inner = coroutine.wrap(function()
    pcall(function() ctx.sleep(1) coroutine.yield(ctx.state.get("a")) end)
    return ctx.state.list("a")
  end)
  return inner(), inner() and nil
end

local asleep
waits["resuming what waits"] = function(_, ctx)
  if asleep then
    pcall(coroutine.resume, asleep)
    pcall(coroutine.close, asleep)
  end
  asleep = coroutine.running()
  ctx.sleep(1)
  local _ <close> = setmetatable({}, {__close = function() pcall(ctx.sleep, 1) end})
  ctx.sleep(1)
end

waits["a <close> variable that loops when the call is given up"] = function(_, ctx)
  local _ <close> = setmetatable({}, {__close = loop})
  ctx.sleep(1)
end

local kinds = {loops, hogs, waits}
return {
  handle = function(event, ctx)
    if event.data.names then
      local names = {}
      for name in pairs(kinds[event.data.names]) do names[#names + 1] = name end
      table.sort(names)
      return ctx.retry{reason = table.concat(names, "\n")}
    end
    for _, kind in ipairs(kinds) do
      local run = kind[event.data.run]
      if run then return run(event, ctx) end
    end
  end,
}
