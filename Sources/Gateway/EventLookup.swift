// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
import Hummingbird

/// Single events by their id, and what became of them; the generations that routed them.
struct EventLookup: Sendable {
    let why: @Sendable (_ id: String, _ source: String?, _ topic: String?) async throws(Failure) -> EventTrace?
    let generations: @Sendable (_ limit: Int) async throws(Failure) -> [GenerationSummary]
    let attempts: @Sendable (_ limit: Int) async throws(Failure) -> [ReloadAttemptSummary]

    func event(_ exchange: Exchange) async throws -> Response {
        let trace = try await find(exchange)
        return .json { trace.writeEvent(to: &$0) }
    }

    func why(_ exchange: Exchange) async throws -> Response {
        let trace = try await find(exchange)
        return .json { trace.write(to: &$0) }
    }

    func list(_ exchange: Exchange) async throws -> Response {
        let limit = try exchange.integer("limit", default: Limits.pageDefault, max: Limits.pageMax)
        let generations = try await generations(limit)
        let attempts = try await attempts(limit)
        return .json { json in
            json.array("generations") { json in
                for generation in generations {
                    json.object { json in
                        json.field("number", generation.number)
                        json.field("hash", generation.hash)
                        json.field("time", generation.time)
                        json.field("trigger", generation.trigger)
                        json.field("verdict", generation.verdict)
                        json.field("running", generation.isRunning)
                        json.field("origin", ifPresent: generation.origin)
                        json.array("changes") { json in for change in generation.changes { json.value(change) } }
                        json.array("versions") { json in
                            for (subscriber, version) in generation.versions.sorted(by: { $0.key < $1.key }) {
                                json.object { json in
                                    json.field("subscriber", subscriber)
                                    json.field("version", version)
                                }
                            }
                        }
                    }
                }
            }
            json.array("refused") { json in
                for attempt in attempts { json.object { attempt.write(to: &$0) } }
            }
        }
    }

    private func find(_ exchange: Exchange) async throws -> EventTrace {
        let id = exchange.parameters[0]
        let trace = try await why(id, try exchange.query("source"), try exchange.query("topic"))
        guard let trace else {
            throw Failure(
                .notFound, "no event with the id \"\(id)\" is kept: it was never accepted, or retention has removed it")
        }
        return trace
    }
}
