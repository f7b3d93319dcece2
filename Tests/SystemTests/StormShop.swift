// SPDX-License-Identifier: Apache-2.0

/// The configuration that ``ReloadStorm`` changes: what stands in its files now, and what was made of it so far.
struct StormShop {
    /// Those that no reload changes, one of each kind: two plugins, an endpoint that takes what comes, an ordered one, and a client.
    static let unchanged = ["steady", "keeper", "pager", "hook", "collector"]

    /// As many as the client may be given at once.
    static let keys = (0..<40).map { "o-\($0)" }

    let sink: Int
    /// A setting of `tuned`.
    var step = 1
    /// What stands in the plugin of `edited`, and the version of its state.
    var edition = 1
    var stateVersion = 1
    /// What stands in the plugin of `wobbly`.
    var mended = 1
    /// How often `walker` was given another name.
    var walks = 0
    /// Numbers of the subscribers that were added and are there.
    var extras: [Int] = []

    var walker: String { "walker_\(walks)" }

    init(sink: Int) { self.sink = sink }

    var routes: String {
        let was = walks > 0 ? "; was walker_\(walks - 1)" : ""
        let extras = extras.map {
            "subscriber \(Self.extra($0)) { from orders; run extra { name \"\($0)\" }; allow publish seen; retry quick }"
        }
        return """
            topic orders { retain 30d; key data.order_id }
            topic seen { retain 30d }
            retry quick { attempts 1000; backoff 5ms to 50ms; timeout 20s }
            retry twice { attempts 2; backoff 5ms to 50ms; timeout 20s }
            subscriber steady { from orders; run steady; concurrency 8; retry quick }
            subscriber keeper { from orders; run keeper; ordered; concurrency 8; retry quick }
            subscriber pager {
              from orders
              push "http://127.0.0.1:\(sink)/pager" { breaker off }
              concurrency 16
              retry quick
            }
            subscriber hook {
              from orders
              push "http://127.0.0.1:\(sink)/hook" { breaker off; header "x-life" "1" }
              ordered
              concurrency 8
              retry quick
            }
            subscriber collector { from orders; pull { lease 400ms }; ordered; retry quick }
            subscriber tuned { from orders; run tuned { step \(step) }; concurrency 4; retry quick }
            subscriber edited { from orders; run edited; concurrency 4; retry quick }
            subscriber wobbly { from orders; run wobbly; concurrency 4; retry twice }
            subscriber \(walker) { from orders; run steady; concurrency 4; retry quick\(was) }
            \(extras.joined(separator: "\n"))
            """
    }

    static func extra(_ number: Int) -> String { "extra_\(number)" }

    /// Subscribers that run a plugin.
    var running: Int { 6 + extras.count }

    var plugins: [String: String] {
        [
            "steady": Self.counting(),
            "keeper": Self.keeper,
            "tuned": Self.counting(
                "ctx.state.put('step', ctx.config.step)", more: "config = { step = { type = 'integer' } },"),
            "edited": Self.counting(
                "ctx.state.put('edition', \(edition))",
                more: """
                    state_version = \(stateVersion),
                    migrate = function(state, from) state.put('migrations', (state.get('migrations') or 0) + 1) end,
                    """),
            "wobbly": Self.counting("-- \(mended)\n"),
            "extra": Self.plugin(
                "ctx.publish('seen', { offset = event.offset, name = ctx.config.name }, { type = 'seen' })",
                more: "config = { name = { type = 'string' } },"),
        ]
    }

    // MARK: Plugins

    /// Says so when it begins and when it ends, so that what is left over can be counted.
    static func plugin(_ handle: String, more: String = "") -> String {
        """
        return {
          \(more)
          init = function(ctx) ctx.log.warn("\(begins)") end,
          stop = function(ctx, why) ctx.log.warn("\(ends)") end,
          handle = function(event, ctx)
            \(handle)
          end,
        }
        """
    }

    static let begins = "an instance begins"
    static let ends = "an instance ends"

    /// What it counts comes out right only where each event was handled once, and at its first attempt.
    private static func counting(_ first: String = "", more: String = "") -> String {
        plugin(
            """
            \(first)
            ctx.state.add("count:" .. event.key, 1)
            ctx.state.add("sum:" .. event.key, event.data.n * 100 + event.attempt)
            """, more: more)
    }

    private static let keeper = plugin(
        """
        if event.attempt <= event.data.fails then return ctx.retry { reason = "not yet" } end
        local chain = ctx.state.get("chain:" .. event.key, 0)
        ctx.state.put("chain:" .. event.key, (chain * 31 + event.data.n) % \(CrashShop.chainModulus))
        ctx.state.add("count:" .. event.key, 1)
        """)

    /// What breaks `wobbly`: each of them writes what must not be there afterwards.
    static let broken = [
        "ctx.state.add('count:' .. event.key, 1) error('no such luck')",
        "ctx.state.add('count:' .. event.key, 1) return event.data.nothing.total",
        "ctx.state.add('sum:' .. event.key, 1) return false",
        "ctx.state.add('sum:' .. event.key, 1) return ctx.retry { reason = 'not today' }",
    ]
}
