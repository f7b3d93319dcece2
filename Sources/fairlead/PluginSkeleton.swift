// SPDX-License-Identifier: Apache-2.0

/// What `fairlead plugin new` writes.
enum PluginSkeleton {
    static func isName(_ name: String) -> Bool {
        guard let first = name.unicodeScalars.first, first.properties.isAlphabetic, first.isASCII else { return false }
        return name.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
                || $0 == UInt8(ascii: "_")
        } && !name.hasSuffix("_test") && name != "lib" && name != "types"
    }

    static func plugin(_ name: String) -> String {
        """
        -- \(name): says in the log what came, and counts it by type.
        --
        --   subscriber \(name) {
        --     from orders
        --     run  \(name) { greeting "hello" }
        --   }

        ---@param event fairlead.Event
        ---@param ctx fairlead.Ctx
        local function handle(event, ctx)
          -- Not for us: done, and counted apart.
          if event.data == nil then return ctx.drop("it has no data") end

          -- State is the subscriber's own. What is written is committed together with the acknowledgement, or not at all.
          local count = ctx.state.add("count:" .. event.type)
          ctx.log.info(ctx.config.greeting, { type = event.type, count = count })

          -- To reach the outside, take it into `requires` below and write `allow http "api.example.com"` in routes.conf:
          --   ctx.http.post("https://api.example.com/orders", { json = event.data })
          -- A failed request raises, and the raise knows whether another attempt makes sense.

          -- Returning nothing acknowledges. Otherwise:
          --   return ctx.retry { after = "30s", reason = "not open yet" }
          --   return ctx.dead("no such customer")
        end

        ---@type fairlead.Plugin
        return {
          api = 1, version = "0.1.0",
          config = {
            greeting = { type = "string", default = "hello", doc = "what the log says" },
          },
          -- requires = { http = { "api.example.com" } },
          handle = handle,
        }

        """
    }

    static func test(_ name: String) -> String {
        """
        local t = require "fairlead.test"

        t.test("events are counted by type", function()
          local plugin = t.load("\(name)", { greeting = "hi" })
          plugin:put("count:order.placed", 41)
          local result = plugin:handle(t.event { type = "order.placed", data = { total = 250 } })
          t.eq(result.outcome, "ack")
          t.eq(plugin:get("count:order.placed"), 42)
        end)

        t.test("an event without data is dropped", function()
          local result = t.load("\(name)"):handle(t.event { type = "order.placed" })
          t.eq(result.outcome, "drop")
          t.match(result.reason, "no data")
        end)

        """
    }

    static func block(_ name: String, topic: String) -> String {
        """
        subscriber \(name) {
          from \(topic)
          run  \(name) { greeting "hello" }
        }

        """
    }
}
