// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
import Hummingbird

/// Changes of the running configuration. Each call answers when the verdict is there: 200 applied, 422 refused, 409 needs a
/// restart, 504 not ready in time.
struct Reloads: Sendable {
    /// How long it may take, nil for what is usual, and whether what was undone is tried again.
    let reload: @Sendable (_ wait: Duration?, _ force: Bool) async -> ReloadVerdict
    let rollback: @Sendable (_ generation: Int?, _ wait: Duration?) async -> ReloadVerdict

    func reload(_ exchange: Exchange) async throws -> Response {
        let request = try await exchange.object()
        try request.allow(["wait", "force"])
        let force = try request.boolean("force")
        return try Self.response(to: await reload(try Self.wait(request), force))
    }

    func rollback(_ exchange: Exchange) async throws -> Response {
        let request = try await exchange.object()
        try request.allow(["generation", "wait"])
        // 0 can't be written.
        let generation = try request.integer("generation", default: 0, max: .max)
        return try Self.response(to: await rollback(generation == 0 ? nil : generation, try Self.wait(request)))
    }

    private static func wait(_ request: [String: JSONValue]) throws -> Duration? {
        guard let text = try request.string("wait") else { return nil }
        guard let wait = DurationText.parse(text), wait > .zero, wait <= Limits.reloadWaitMax else {
            throw Problem.malformed(
                "member \"wait\" is \"\(text)\"; write a number and a unit, such as 30s, up to "
                    + DurationText.format(Limits.reloadWaitMax))
        }
        return wait
    }

    private static func response(to verdict: ReloadVerdict) throws -> Response {
        switch verdict {
        case .applied(let generation, let changes):
            return .json { json in
                json.field("generation", generation)
                json.array("changes") { json in
                    for change in changes { json.value(change) }
                }
            }
        case .refused(let diagnostics): throw Problem.reloadRefused(diagnostics)
        case .restartNeeded(let diagnostics):
            var problem = Problem(
                .conflict, type: "restart-needed", title: "Restart needed",
                detail: diagnostics.first ?? "a change needs a restart; the running configuration goes on")
            problem.diagnostics = diagnostics
            throw problem
        case .timedOut(let wait, let diagnostics):
            var problem = Problem(
                .gatewayTimeout, type: "reload-timed-out", title: "Reload timed out",
                detail:
                    "the new configuration was not ready within \(DurationText.format(wait)); the running one goes on")
            problem.diagnostics = diagnostics
            throw problem
        }
    }
}

extension Problem {
    static func reloadRefused(_ diagnostics: [String]) -> Problem {
        var problem = Problem(
            .unprocessableContent, type: "reload-refused", title: "Reload refused",
            detail: diagnostics.first ?? "the new configuration has errors; the running one goes on")
        problem.diagnostics = diagnostics
        return problem
    }
}
