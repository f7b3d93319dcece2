// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import HTTPTypes
import Hummingbird

/// What is running, and the switches on it.
struct Admin: Sendable {
    let broker: any BrokerSurface
    let config: @Sendable () async -> ConfigStatus
    let plan: @Sendable () async -> PlanVerdict
    let plugins: @Sendable () async -> [PluginStatus]
    let clock: any Events.Clock

    func status(_ exchange: Exchange) async throws -> Response { .json(.ok, await snapshot()) }

    /// What `/v1/status` says, in one line.
    func snapshot() async -> [UInt8] {
        let status = await broker.status()
        let plugins = await plugins()
        let config = await config()
        let now = clock.now()
        return JSONWriter.object { json in
            json.field("generation", status.generation)
            json.object("config") { config.write(to: &$0) }
            json.array("ending") { json in for generation in status.ending { json.value(generation) } }
            json.field("started", status.started)
            json.field("time", now)
            Self.write(status.topics, to: &json)
            Self.write(status.subscribers, now: now, to: &json)
            Self.write(status.orphans, to: &json)
            Self.write(plugins, to: &json)
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

    /// A subscriber's last failed attempts.
    func failures(_ exchange: Exchange) async throws -> Response {
        let limit = try exchange.integer("limit", default: Limits.failuresDefault, max: Limits.pageMax)
        let failures = try await broker.failures(of: exchange.parameters[0], limit: limit)
        return .json { json in
            json.array("failures") { json in
                for failure in failures {
                    json.object { json in
                        json.field("topic", Topic.named(failure.topic).shownName)
                        json.field("offset", failure.offset)
                        failure.write(to: &json)
                    }
                }
            }
        }
    }

    func pluginList(_ exchange: Exchange) async throws -> Response {
        let plugins = await plugins()
        return .json { Self.write(plugins, to: &$0) }
    }

    private static func write(_ plugins: [PluginStatus], to json: inout JSONWriter) {
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

    /// What a reload would do now: 200 with the plan, 422 refused.
    func plan(_ exchange: Exchange) async throws -> Response {
        switch await plan() {
        case .planned(let plan): return .json { plan.write(to: &$0) }
        case .refused(let diagnostics): throw Problem.reloadRefused(diagnostics)
        }
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
                    json.field("history", orphan.history)
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
