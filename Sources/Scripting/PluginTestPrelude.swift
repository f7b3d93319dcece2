// SPDX-License-Identifier: Apache-2.0

/// The Lua side of plugin tests: what `require "fairlead.test"` gives.
///
///     local t = require "fairlead.test"
///
///     t.test("a rate limit is retried when Slack says", function()
///       local slack = t.load("slack", { webhook = "https://hooks.slack.com/x" }, { http = { "hooks.slack.com" } })
///       slack:on("POST", "https://hooks.slack.com/*", { status = 429, headers = { ["retry-after"] = "30" } })
///       local result = slack:handle(t.event { type = "order.placed", data = { order_id = "o-1", total = 250 } })
///       t.eq(result.outcome, "retry")
///       t.eq(result.after, 30)
///       t.eq(result.calls[1].json.text, "Order o-1: 250.00")
///     end)
enum PluginTestPrelude {
    static let main = """
        local t = require "fairlead.test"
        require "fairlead.file"
        return t.entry
        """

    static let module = """
        local host = require "fairlead.test.host"
        local t, cases, json = {}, {}, nil

        -- Raised where the test asks, not here.
        local function ask(...)
          local ok, result = pcall(host, ...)
          if ok then return result end
          error((tostring(result):gsub("^Plugins/fairlead/test:%d+: ", "")), 3)
        end

        function t.test(name, body)
          assert(type(name) == "string" and type(body) == "function", "t.test(name, function() ... end)")
          cases[#cases + 1] = { name = name, body = body }
        end

        local function show(value, depth)
          if type(value) == "string" then return ("%q"):format(value) end
          if type(value) ~= "table" or (depth or 0) > 4 then return tostring(value) end
          local keys, parts = {}, {}
          for key in pairs(value) do keys[#keys + 1] = key end
          table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
          for _, key in ipairs(keys) do
            parts[#parts + 1] = (type(key) == "number" and "" or tostring(key) .. " = ") .. show(value[key], (depth or 0) + 1)
          end
          return "{ " .. table.concat(parts, ", ") .. " }"
        end

        local function same(a, b)
          if type(a) ~= "table" or type(b) ~= "table" then return a == b end
          for key, value in pairs(a) do if not same(value, b[key]) then return false end end
          for key in pairs(b) do if a[key] == nil then return false end end
          return true
        end

        function t.eq(found, expected, what)
          if not same(found, expected) then
            error((what and what .. ": " or "") .. "expected " .. show(expected) .. ", found " .. show(found), 2)
          end
        end

        function t.ok(value, what)
          if not value then error(what or "expected something true, found " .. show(value), 2) end
        end

        function t.match(text, pattern)
          if type(text) ~= "string" or not text:find(pattern) then
            error("expected a text that matches " .. show(pattern) .. ", found " .. show(text), 2)
          end
        end

        local count = 0
        function t.event(fields)
          count = count + 1
          local event = { id = "event-" .. count, source = "/test", type = "test", topic = "test" }
          for key, value in pairs(fields or {}) do event[key] = value end
          return event
        end

        local Plugin = {}
        Plugin.__index = Plugin

        function t.load(name, settings, allow)
          local id = ask("load", name, settings or {}, allow or {})
          return setmetatable({ id = id }, Plugin)
        end

        function Plugin:on(method, url, response)
          ask("on", self.id, method, url, response)
          return self
        end

        local function packed(event)
          local copy = {}
          for key, value in pairs(event) do copy[key] = value end
          if copy.data ~= nil then copy.data = json.encode(copy.data) end
          return copy
        end

        function Plugin:handle(event)
          local result = ask("handle", self.id, packed(event))
          return result
        end

        function Plugin:handle_batch(events)
          local all = {}
          for i, event in ipairs(events) do all[i] = packed(event) end
          local result = ask("handle_batch", self.id, all)
          return result
        end

        function Plugin:put(key, value) ask("put", self.id, key, json.encode(value)) end
        function Plugin:get(key) local value = ask("get", self.id, key) return value end
        function Plugin:advance(seconds) ask("advance", self.id, seconds) end

        function t.entry(ctx, index)
          json = ctx.json
          t.json = json
          if index == 0 then
            local names = {}
            for i, case in ipairs(cases) do names[i] = case.name end
            host("cases", names)
          else
            cases[index].body(t)
          end
        end

        return t
        """
}
