// SPDX-License-Identifier: Apache-2.0

import Foundation
import Journal

extension ReloadStorm {
    enum Change: CaseIterable {
        case syntaxError, pluginSyntaxError, missingPlugin, restartOnly
        case initThrows, initLoops, initHangs, migrationFails
        case nothing, setting, edit, migration, rollback, hangups
        case add, removeForGood, removeAndReturn, rename, broken
    }

    /// How a reload is asked for.
    enum Trigger: CaseIterable {
        case http, command, signal
    }

    enum Verdict: String, CaseIterable {
        case applied, refused, restartNeeded = "restart_needed", timedOut = "timed_out"

        var status: Int {
            switch self {
            case .applied: 200
            case .refused: 422
            case .restartNeeded: 409
            case .timedOut: 504
            }
        }

        var exitCode: Int32 {
            switch self {
            case .applied: 0
            case .refused: 2
            case .restartNeeded: 3
            case .timedOut: 4
            }
        }
    }

    func make(_ change: Change) async throws {
        switch change {
        case .syntaxError: try await refuse(routes: shop.routes.replacing("run tuned", with: "rum tuned"))
        case .pluginSyntaxError: try await refuse(plugin: "steady", "return function(event, ctx)\n  local x = = 1\nend")
        case .missingPlugin:
            try await refuse(routes: shop.routes + "\nsubscriber lost { from orders; run nowhere }")
        case .restartOnly:
            try await refuse(routes: shop.routes + "\ndata \"elsewhere\"", .restartNeeded)
        case .initThrows: try await refuse(plugin: "tuned", Self.starting("error('no such luck')"))
        case .initLoops: try await refuse(plugin: "edited", Self.starting("while true do end"))
        case .initHangs:
            try await refuse(plugin: "tuned", Self.starting("ctx.sleep(3600)"), .timedOut, wait: "300ms")
        case .migrationFails:
            var next = shop
            next.stateVersion += 1
            let plugin = next.plugins["edited"]!.replacing(
                "state.put('migrations'", with: "error('torn'); state.put('x'")
            try await refuse(plugin: "edited", plugin)
        case .nothing: try await reload(.applied)
        case .setting: try await tune()
        case .edit: try await edit()
        case .migration:
            shop.stateVersion += 1
            migrations += 1
            try await edit()
        case .rollback: try await goBack()
        case .hangups: try await hangUp()
        case .add: try await add()
        case .removeForGood: try await remove(isForgotten: true)
        case .removeAndReturn:
            try await remove(isForgotten: false)
            try await add()
        case .rename:
            shop.walks += 1
            try write()
            try await reload(.applied)
        case .broken: try await breakWobbly()
        }
    }

    // MARK: Refused

    private static func starting(_ body: String) -> String {
        "return { init = function(ctx) \(body) end, handle = function() end }"
    }

    private func refuse(routes: String, _ verdict: Verdict = .refused) async throws {
        try write(routes: routes)
        try await reload(verdict)
        try write()
    }

    private func refuse(
        plugin name: String, _ source: String, _ verdict: Verdict = .refused, wait: String? = nil
    ) async throws {
        try write(plugin: name, source)
        try await reload(verdict, wait: wait)
        try write()
    }

    // MARK: Applied

    private func tune() async throws {
        shop.step += 1
        try write()
        try await reload(.applied)
        try await untilState("tuned", "step", shop.step)
    }

    private func edit() async throws {
        shop.edition += 1
        try write()
        try await reload(.applied)
        try await untilState("edited", "edition", shop.edition)
    }

    private func goBack() async throws {
        try await tune()
        let answer = try await server.post("/v1/rollback", "{}")
        try took(answer.status, answer.text, .applied)
        try await untilState("tuned", "step", shop.step - 1)
        try await reload(.applied)
        try await untilState("tuned", "step", shop.step)
    }

    /// They come faster than they can be dealt with; whoever asks at the end is answered when all are.
    private func hangUp() async throws {
        let before = try await counts()
        for _ in 0..<20 {
            shop.step += 1
            try write()
            server.signal(SIGHUP)
        }
        asked += 1
        let answer = try await server.post("/v1/reload", "{}")
        let after = try await counts()
        let applied = after[.applied]! - before[.applied]!
        if answer.status != 200 || applied < 1 || applied > 21 {
            complaints.append("20 hangups and a reload: \(applied) were applied; \(answer.text)")
        }
        if after.filter({ $0.key != .applied }) != before.filter({ $0.key != .applied }) {
            complaints.append("of 20 hangups some were refused: \(after), before \(before)")
        }
        verdicts[Verdict.applied.rawValue, default: 0] += applied
        generation += applied
        try await checkGeneration()
        try await untilState("tuned", "step", shop.step)
    }

    // MARK: Subscribers that come and go

    private static let extrasMax = 3

    private func add() async throws {
        if shop.extras.count >= Self.extrasMax { try await remove(isForgotten: true) }
        let isNew = orphans.isEmpty
        let number = isNew ? nextExtra : orphans.removeFirst()
        if isNew { nextExtra += 1 }
        let first = try await server.end(of: "orders")
        shop.extras.append(number)
        try write()
        try await reload(.applied)
        if isNew {
            lives[number] = Life(begin: first...(try await server.end(of: "orders")))
        } else {
            // It goes on where it was.
            lives[number]?.end = nil
        }
    }

    private func remove(isForgotten: Bool) async throws {
        if shop.extras.isEmpty { try await add() }
        let number = shop.extras.remove(at: Int.random(in: shop.extras.indices, using: &random))
        try write()
        try await reload(.applied)
        lives[number]?.end = try await server.end(of: "orders")
        guard isForgotten else { return orphans.append(number) }
        let answer = try await Loopback.send("DELETE", server.port, "/v1/subscribers/\(StormShop.extra(number))")
        if answer.status != 204 { complaints.append("\(number) can't be forgotten: \(answer.text)") }
    }

    // MARK: Broken by an edit

    private func breakWobbly() async throws {
        let body = StormShop.broken.randomElement(using: &random)!
        try write(plugin: "wobbly", StormShop.plugin("-- \(shop.mended)\n    \(body)"))
        try await reload(.applied, isLast: false)
        try await eventually("it goes back", within: Self.patience) {
            let wobbly = try await self.server.subscriber("wobbly")
            return (wobbly["badReload"] as? [String: Any])?["end"] as? String == "undone"
        }
        generation += 1
        undone += 1
        try await checkGeneration()
        if random.chance(50) {
            // The same again changes nothing.
            try await reload(.applied)
            let wobbly = try await server.subscriber("wobbly")
            if wobbly["badReload"] == nil { complaints.append("wobbly was tried again with the same file") }
        }
        shop.mended += 1
        try write()
        try await reload(.applied)
        if try await server.subscriber("wobbly")["badReload"] is [String: Any] {
            complaints.append("wobbly is mended and still said to be bad")
        }
    }

    // MARK: Reloading

    /// - Parameter isLast: whether nothing follows it by itself.
    private func reload(_ verdict: Verdict, wait: String? = nil, isLast: Bool = true) async throws {
        let trigger = wait == nil ? Trigger.allCases.randomElement(using: &random)! : .http
        switch trigger {
        case .http:
            let answer = try await server.post("/v1/reload", wait.map { #"{"wait":"\#($0)"}"# } ?? "{}")
            try took(answer.status, answer.text, verdict)
        case .command:
            let result = try await server.command("reload")
            asked += 1
            count(verdict)
            if result.code != verdict.exitCode {
                throw RunningServer.Gone(
                    description: "exit code \(result.code) for \(verdict): \(result.output)\(result.errors)")
            }
        case .signal:
            let before = try await counts()
            server.signal(SIGHUP)
            try await eventually("the hangup is dealt with", within: Self.patience) {
                try await self.counts() != before
            }
            asked += 1
            count(verdict)
            var expected = before
            expected[verdict]! += 1
            let after = try await counts()
            if after != expected { complaints.append("a hangup made of \(before) \(after), not one \(verdict)") }
        }
        if isLast { try await checkGeneration() }
    }

    private func took(_ status: Int, _ text: String, _ verdict: Verdict) throws {
        asked += 1
        count(verdict)
        if status != verdict.status {
            throw RunningServer.Gone(description: "status \(status) for \(verdict): \(text)")
        }
    }

    private func count(_ verdict: Verdict) {
        verdicts[verdict.rawValue, default: 0] += 1
        if verdict == .applied { generation += 1 }
    }

    /// Reloads so far, as `/metrics` has them.
    func counts() async throws -> [Verdict: Int] {
        let text = try await server.get("/metrics").text
        var counts: [Verdict: Int] = [:]
        for verdict in Verdict.allCases {
            let name = "fairlead_config_reload_total{result=\"\(verdict.rawValue)\"} "
            let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
            counts[verdict] = line.flatMap { Int($0.dropFirst(name.count)) } ?? 0
        }
        return counts
    }

    private func checkGeneration() async throws {
        let running = try await server.get("/v1/status").object["generation"] as? Int
        if running != generation {
            complaints.append("generation \(running ?? 0) runs after \(asked) reloads, not \(generation)")
            generation = running ?? generation
        }
    }

    private func untilState(_ subscriber: String, _ key: String, _ value: Int) async throws {
        try await eventually("\(subscriber) has \(key) \(value)", within: Self.patience) {
            try await self.server.state(subscriber, key) == value
        }
    }
}
