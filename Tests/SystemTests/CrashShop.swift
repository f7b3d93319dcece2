// SPDX-License-Identifier: Apache-2.0

import Foundation
import Journal

/// The configuration that is killed: every way to deliver, each of which leaves something behind that tells exactly what
/// it did.
enum CrashShop {
    static let skus = ["MUG-01", "TEE-02", "CAP-03", "PEN-04", "BAG-05"]
    static let stock = 1_000_000
    /// Keys whose events all go well in the end.
    static let keys = (0..<9).map { "o-\($0)" }
    /// The key of which `keeper` gives some up.
    static let poison = "o-bad"

    /// `keeper`, `hook` and `collector` are the ordered ones: a plugin, an endpoint, a client. `inventory` is the shop's own.
    /// `adding` and `reading` count with eight calls beside each other: by `add`, and by the read and write that would
    /// lose updates if nobody noticed.
    static func routes(hook port: Int) -> String {
        """
        topic orders { retain 30d; key data.order_id; dedupe 1h }
        topic stock { retain 30d }
        topic counted { retain 30d }
        topic kept { retain 30d }
        retry quick { attempts 1000; backoff 5ms to 50ms; timeout 5s }
        subscriber inventory {
          from orders
          run inventory { low_water 5; initial \(stock) }
          ordered
          allow publish stock
          start earliest
          retry quick
        }
        subscriber adding { from orders; run adding; concurrency 8; start earliest; allow publish counted; retry quick }
        subscriber reading { from orders; run reading; concurrency 8; start earliest; retry quick }
        subscriber keeper {
          from orders
          run keeper { life env("LIFE", "none") }
          ordered
          concurrency 8
          start earliest
          allow publish kept
          allow file "trail"
          retry quick
        }
        subscriber hook {
          from orders
          push "http://127.0.0.1:\(port)/hook" { breaker off; header "x-life" env("LIFE", "none") }
          ordered
          concurrency 8
          start earliest
          retry quick
        }
        subscriber collector { from orders; pull { lease 400ms }; ordered; start earliest; retry quick }
        subscriber historian { from orders; run historian; concurrency 4; start earliest; retry quick }
        subscriber second { from counted, kept; run second; start earliest; retry quick }
        subscriber nobody { from orders; where data.n < 0; pull; start earliest }
        """
    }

    static let adding = """
        return function(event, ctx)
          ctx.sleep(event.data.pause)
          if event.attempt <= event.data.fails then return ctx.retry { reason = "not yet" } end
          for _, item in ipairs(event.data.items) do ctx.state.add(item.sku, item.quantity) end
          ctx.publish("counted", { id = event.id }, { type = "counted" })
        end
        """

    static let reading = """
        return function(event, ctx)
          for _, item in ipairs(event.data.items) do
            local sold = ctx.state.get(item.sku, 0)
            ctx.sleep(event.data.pause)
            ctx.state.put(item.sku, sold + item.quantity)
          end
        end
        """

    /// `chain` can only come out right where each event of the key counted once and in its turn. The file has every call,
    /// those that a kill made void included.
    static let keeper = """
        local busy = {}

        return function(event, ctx)
          local key = event.key
          local outcome = "settled"
          if event.data.fate == "dead" then
            outcome = "dead"
          elseif event.attempt <= event.data.fails then
            outcome = "again"
          end
          local beside = busy[key]
          busy[key] = event.id
          local early = ctx.now() * 1000 < event.data.sent + event.data.delay
          ctx.sleep(event.data.pause)
          ctx.file.append("trail.ndjson", {
            life = ctx.config.life, id = event.id, key = key, outcome = outcome, beside = beside, early = early,
          })
          busy[key] = nil
          if outcome == "dead" then return ctx.dead("no good") end
          if outcome == "again" then return ctx.retry { reason = "not yet" } end
          local chain = ctx.state.get("chain:" .. key, 0)
          ctx.state.put("chain:" .. key, (chain * 31 + event.data.n) % \(chainModulus))
          ctx.state.add("count:" .. key, 1)
          ctx.publish("kept", { id = event.id, key = key }, { type = "kept" })
        end
        """

    static let chainModulus = 1_000_000_007

    /// What ``keeper`` has under `chain:` after these events of a key.
    static func chain(_ numbers: some Sequence<Int>) -> Int {
        numbers.reduce(0) { ($0 * 31 + $1) % chainModulus }
    }

    static let historian = """
        return function(event, ctx)
          local kind = event.replay and "replayed" or "live"
          ctx.state.add(kind, 1)
          ctx.state.add(kind .. ".sum", event.data.n)
        end
        """

    static let second = "return function(event, ctx) ctx.state.add(event.type, 1) end"

    static var plugins: [String: String] {
        get throws {
            let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent()
            return [
                "inventory": try String(
                    contentsOf: repository.appendingPathComponent("Plugins/inventory.lua"), encoding: .utf8),
                "adding": adding, "reading": reading, "keeper": keeper, "historian": historian, "second": second,
            ]
        }
    }
}

/// An event as it is published: what is to happen to it stands in its data.
struct CrashOrder {
    var id: String
    var key: String
    var n: Int
    /// Attempts that fail before one goes well.
    var fails = 0
    var isDead = false
    /// Milliseconds for which it isn't to be delivered.
    var delay = 0
    var pause = 0.0
    var items: [(sku: String, quantity: Int)] = []

    init(_ id: String, key: String, isDead: Bool = false, n: Int = 1) {
        self.id = id
        self.key = key
        self.isDead = isDead
        self.n = n
        items = [(CrashShop.skus[0], 1)]
    }

    init(_ id: String, random: inout SeededRandom) {
        self.id = id
        key = random.chance(10) ? CrashShop.poison : CrashShop.keys.randomElement(using: &random)!
        n = Int.random(in: 0..<1_000_000, using: &random)
        fails = random.chance(15) ? Int.random(in: 1...3, using: &random) : 0
        isDead = key == CrashShop.poison && random.chance(15)
        delay = random.chance(4) ? Int.random(in: 20...200, using: &random) : 0
        pause = Double(Int.random(in: 0...3, using: &random)) / 1_000
        items = (0..<Int.random(in: 1...2, using: &random)).map { _ in
            (CrashShop.skus.randomElement(using: &random)!, Int.random(in: 1...3, using: &random))
        }
    }

    var json: String {
        let items = items.map { #"{"sku":"\#($0.sku)","quantity":\#($0.quantity)}"# }.joined(separator: ",")
        let later = delay > 0 ? #","deliverafter":"\#(delay)ms""# : ""
        let sent = Int(Date().timeIntervalSince1970 * 1_000)
        return #"{"specversion":"1.0","id":"\#(id)","source":"/test","type":"order.placed"\#(later),"#
            + #""data":{"order_id":"\#(key)","n":\#(n),"fails":\#(fails),"fate":"\#(isDead ? "dead" : "ack")","#
            + #""delay":\#(delay),"sent":\#(sent),"pause":\#(pause),"items":[\#(items)]}}"#
    }
}
