// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import HTTPTypes
import Hummingbird

/// What is running, and the switches on it.
struct Admin: Sendable {
    let broker: any BrokerSurface
    let reload: @Sendable (_ force: Bool) async -> ReloadVerdict
    let plan: @Sendable () async -> PlanVerdict
    let plugins: @Sendable () async -> [PluginStatus]
    let clock: any Events.Clock

    func status(_ exchange: Exchange) async throws -> Response {
        let status = await broker.status()
        let now = clock.now()
        return .json { json in
            json.field("generation", status.generation)
            json.field("started", status.started)
            json.field("time", now)
            Self.write(status.topics, to: &json)
            Self.write(status.subscribers, now: now, to: &json)
            Self.write(status.orphans, to: &json)
        }
    }

    func topics(_ exchange: Exchange) async throws -> Response {
        let status = await broker.status()
        return .json { Self.write(status.topics, to: &$0) }
    }

    func subscribers(_ exchange: Exchange) async throws -> Response {
        let status = await broker.status()
        let now = clock.now()
        return .json { Self.write(status.subscribers, now: now, to: &$0) }
    }

    func pluginList(_ exchange: Exchange) async throws -> Response {
        let plugins = await plugins()
        return .json { json in
            json.array("plugins") { json in
                for plugin in plugins {
                    json.object { json in
                        json.field("name", plugin.name)
                        json.field("path", plugin.path)
                        json.field("version", ifPresent: plugin.version)
                        json.array("subscribers") { json in
                            for subscriber in plugin.subscribers { json.value(subscriber) }
                        }
                    }
                }
            }
        }
    }

    func pause(_ exchange: Exchange) async throws -> Response {
        let request = try await exchange.object()
        try request.allow(["reason"])
        try await broker.pause(exchange.parameters[0], reason: try request.string("reason") ?? "")
        return Response(status: .noContent)
    }

    func resume(_ exchange: Exchange) async throws -> Response {
        try await broker.resume(exchange.parameters[0])
        return Response(status: .noContent)
    }

    /// Removes what is kept of a subscriber that no configuration has any more.
    func forget(_ exchange: Exchange) async throws -> Response {
        try await broker.forget(exchange.parameters[0])
        return Response(status: .noContent)
    }

    /// Answers when the verdict is there, with `force=true` after trying again what was undone: 200 applied, 422 refused, 409 needs a restart.
    func reload(_ exchange: Exchange) async throws -> Response {
        let force = try exchange.query("force")
        guard [nil, "true", "false"].contains(force) else {
            throw Problem.malformed("query parameter \"force\" is \"\(force ?? "")\"; it must be true or false")
        }
        switch await reload(force == "true") {
        case .applied(let generation, let changes):
            return .json { json in
                json.field("generation", generation)
                json.array("changes") { json in
                    for change in changes { json.value(change) }
                }
            }
        case .refused(let diagnostics): throw Self.refusal(diagnostics)
        case .restartNeeded(let diagnostics):
            var problem = Problem(
                .conflict, type: "restart-needed", title: "Restart needed",
                detail: diagnostics.first ?? "a change needs a restart; the running configuration goes on")
            problem.diagnostics = diagnostics
            throw problem
        }
    }

    /// What a reload would do now: 200 with the plan, 422 refused.
    func plan(_ exchange: Exchange) async throws -> Response {
        switch await plan() {
        case .planned(let plan): return .json { plan.write(to: &$0) }
        case .refused(let diagnostics): throw Self.refusal(diagnostics)
        }
    }

    private static func refusal(_ diagnostics: [String]) -> Problem {
        var problem = Problem(
            .unprocessableContent, type: "reload-refused", title: "Reload refused",
            detail: diagnostics.first ?? "the new configuration has errors; the running one goes on")
        problem.diagnostics = diagnostics
        return problem
    }

    private static func write(_ topics: [TopicStatus], to json: inout JSONWriter) {
        json.array("topics") { json in
            for topic in topics {
                json.object { json in
                    json.field("name", topic.name)
                    json.field("first", topic.first)
                    json.field("end", topic.end)
                    json.field("events", topic.end - min(topic.first, topic.end))
                    json.field("bytes", topic.bytes)
                }
            }
        }
    }

    private static func write(_ orphans: [OrphanStatus], to json: inout JSONWriter) {
        json.array("orphans") { json in
            for orphan in orphans {
                json.object { json in
                    json.field("name", orphan.name)
                    json.field("since", orphan.since)
                    json.field("until", orphan.until)
                    json.field("deferred", orphan.deferred)
                    json.field("dead", orphan.dead)
                }
            }
        }
    }

    private static func write(_ subscribers: [SubscriberStatus], now: Timestamp, to json: inout JSONWriter) {
        json.array("subscribers") { json in
            for subscriber in subscribers {
                json.object { json in
                    json.field("name", subscriber.name)
                    json.field("method", subscriber.method)
                    json.field("state", subscriber.state)
                    if let pause = subscriber.pause {
                        json.object("pause") { json in
                            json.field("cause", pause.cause)
                            if let since = pause.since { json.field("since", since) }
                            if !pause.reason.isEmpty { json.field("reason", pause.reason) }
                        }
                    }
                    json.field("backlog", subscriber.backlog)
                    json.field("inFlight", subscriber.inFlight)
                    json.field("retrying", subscriber.retrying)
                    json.field("dead", subscriber.dead)
                    if let oldest = subscriber.oldestUnsettled {
                        json.field("oldestUnsettled", oldest)
                        json.field("oldestUnsettledSeconds", max(0, (now - oldest).milliseconds / 1_000))
                    }
                    json.field("acked", subscriber.acked)
                    json.field("retried", subscriber.retried)
                    json.field("dropped", subscriber.dropped)
                    json.field("lastError", ifPresent: subscriber.lastError)
                    json.field("lastTrace", ifPresent: subscriber.lastTrace)
                    if let until = subscriber.until { json.field("until", until) }
                    if let bad = subscriber.badReload { json.object("badReload") { bad.write(to: &$0) } }
                    if !subscriber.history.isEmpty {
                        json.array("history") { json in
                            for progress in subscriber.history { json.object { progress.write(to: &$0) } }
                        }
                    }
                }
            }
        }
    }
}

/// How a reload ended.
package enum ReloadVerdict: Hashable, Sendable {
    /// The new generation runs; `changes` name what it changed, in words.
    case applied(generation: Int, changes: [String])
    /// Everything is as it was. The texts say why.
    case refused(diagnostics: [String])
    /// Everything is as it was. The texts name what only a restart can change.
    case restartNeeded(diagnostics: [String])
}

package struct PluginStatus: Hashable, Sendable {
    package var name: String
    package var path: String
    package var version: String?
    package var subscribers: [String]

    package init(name: String, path: String, version: String?, subscribers: [String]) {
        self.name = name
        self.path = path
        self.version = version
        self.subscribers = subscribers
    }
}
