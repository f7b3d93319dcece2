// SPDX-License-Identifier: Apache-2.0

package import Events
import HTTPTypes
package import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import ServiceLifecycle
import Synchronization

/// Everything HTTP that comes in: publish, pull, tail, dead letters, admin, health and metrics.
///
/// ``run()`` serves until graceful shutdown: then the listener closes, waiting requests are answered at once, and
/// those that run are finished.
package final class Gateway: Service, CustomStringConvertible {
    package struct Settings: Sendable {
        package var host: String
        /// 0 takes a free one; ``Gateway/port()`` tells which.
        package var port: Int
        package var version: String
        /// nil serves plain HTTP.
        package var tls: TLSCredentials?
        package var bounds: ConnectionBounds

        package init(
            host: String = "127.0.0.1", port: Int = 8080, version: String = "dev", tls: TLSCredentials? = nil,
            bounds: ConnectionBounds = ConnectionBounds()
        ) {
            self.host = host
            self.port = port
            self.version = version
            self.tls = tls
            self.bounds = bounds
        }
    }

    private let settings: Settings
    private let logger: Logger
    private let responder: GatewayResponder
    private let guards: ConnectionGuards
    private let publish: Publish
    private let draining = Draining()
    private let bound = BoundPort()

    /// - Parameters:
    ///   - access: who may do what.
    ///   - reload: does what SIGHUP does, within a time where one is given, and comes back with its verdict; with `force` it tries again
    ///     what was undone.
    ///   - rollback: goes back to a generation, the one before where none is given, likewise.
    ///   - config: how the running configuration stands, for `/v1/status`.
    ///   - plan: what a reload would do, for `/v1/plan`.
    ///   - plugins: what is loaded, for `/v1/plugins`.
    ///   - why: what became of the newest event with an id, a source and in a topic where given, for `/v1/events`.
    ///   - generations: those that were loaded, the newest first, for `/v1/generations`.
    ///   - difference: what a generation's files and those of another, or of the one before it, differ in.
    ///   - routes: what is routed where, for `/v1/routing`; nil while the server starts.
    ///   - attempts: reloads that did not take effect, the newest first, for the same.
    ///   - obstacle: what keeps the server from taking work, for `/readyz`; nil where nothing does.
    ///   - prometheus: what `/metrics` shows, and what the gateway counts with.
    package init(
        broker: any BrokerSurface, settings: Settings, prometheus: PrometheusMetrics, logger: Logger,
        clock: any Events.Clock = SystemClock(), access: AccessControl = AccessControl(),
        reload: @escaping @Sendable (_ wait: Duration?, _ force: Bool) async -> ReloadVerdict,
        rollback: @escaping @Sendable (Int?, Duration?) async -> ReloadVerdict = { _, _ in
            .refused(diagnostics: ["nothing is kept to go back to"])
        },
        config: @escaping @Sendable () async -> ConfigStatus = { ConfigStatus() },
        plan: @escaping @Sendable () async -> PlanVerdict = { .planned(ReloadPlan()) },
        plugins: @escaping @Sendable () async -> [PluginStatus] = { [] },
        why: @escaping @Sendable (String, String?, String?) async throws(Failure) -> EventTrace? = { _, _, _ in nil },
        generations: @escaping @Sendable (Int) async throws(Failure) -> [GenerationSummary] = { _ in [] },
        difference: @escaping @Sendable (Int, Int?) async throws(Failure) -> GenerationDifference? = { _, _ in nil },
        routes: @escaping @Sendable () async -> RunningRoutes? = { nil },
        attempts: @escaping @Sendable (Int) async throws(Failure) -> [ReloadAttemptSummary] = { _ in [] },
        obstacle: @escaping @Sendable () async -> String? = { nil }
    ) {
        self.settings = settings
        self.logger = logger
        let metrics = GatewayMetrics(factory: prometheus)
        guards = ConnectionGuards(
            settings.bounds, host: settings.host, access: access,
            refusals: Refusals(factory: prometheus, logger: logger))
        publish = Publish(broker: broker, metrics: metrics)
        let pull = Pull(broker: broker)
        let tail = Tail(broker: broker)
        let dead = DeadLetters(broker: broker)
        let states = PluginStates(broker: broker)
        let histories = Histories(broker: broker, clock: clock)
        let admin = Admin(broker: broker, config: config, plan: plan, plugins: plugins, clock: clock)
        let reloads = Reloads(reload: reload, rollback: rollback)
        let lookup = EventLookup(why: why, generations: generations, attempts: attempts)
        let differences = GenerationDifferences(difference: difference)
        let graph = RoutingGraph(routes: routes)
        let search = EventSearch(broker: broker, clock: clock)
        let live = LiveStream(admin: admin)
        let dashboard = Dashboard()
        let health = Health(
            draining: draining, obstacle: obstacle, prometheus: prometheus, metrics: metrics, broker: broker,
            clock: clock, version: settings.version)
        let description = OpenAPI.document(version: settings.version)
        let endpoints = [
            Endpoint(.post, Publish.path, needs: .publish, publish.publish),
            Endpoint(.post, "/v1/subscribers/{name}/pull", needs: .pull, pull.pull),
            Endpoint(.post, "/v1/subscribers/{name}/settle", needs: .pull, pull.settle),
            Endpoint(.get, "/v1/subscribers/{name}/failures", needs: .read, admin.failures),
            Endpoint(.get, "/v1/subscribers/{name}/state", needs: .read, states.list),
            Endpoint(.get, "/v1/subscribers/{name}/state/{key}", needs: .read, states.get),
            Endpoint(.put, "/v1/subscribers/{name}/state/{key}", needs: .admin, states.put),
            Endpoint(.delete, "/v1/subscribers/{name}/state/{key}", needs: .admin, states.delete),
            Endpoint(.post, "/v1/subscribers/{name}/replay", needs: .admin, histories.replay),
            Endpoint(.get, "/v1/subscribers/{name}/replays", needs: .read, histories.list),
            Endpoint(.get, "/v1/subscribers/{name}/replays/{id}", needs: .read, histories.show),
            Endpoint(.delete, "/v1/subscribers/{name}/replays/{id}", needs: .admin, histories.cancel),
            Endpoint(.post, "/v1/subscribers/{name}/imports", needs: .admin, histories.beginImport),
            Endpoint(.post, "/v1/subscribers/{name}/imports/{id}", needs: .admin, histories.importEvents),
            Endpoint(.post, "/v1/subscribers/{name}/imports/{id}/complete", needs: .admin, histories.completeImport),
            Endpoint(.get, "/v1/topics/{topic}/events", needs: .read, tail.tail),
            Endpoint(.get, "/v1/topics", needs: .read, admin.topics),
            Endpoint(.get, "/v1/subscribers", needs: .read, admin.subscribers),
            Endpoint(.get, "/v1/status", needs: .read, admin.status),
            Endpoint(.get, "/v1/live", needs: .read, live.stream),
            Endpoint(.get, "/v1/routing", needs: .read, graph.show),
            Endpoint(.get, "/v1/plugins", needs: .read, admin.pluginList),
            Endpoint(.get, "/v1/dead", needs: .read, dead.list),
            Endpoint(.get, "/v1/dead/groups", needs: .read, dead.groups),
            Endpoint(.post, "/v1/dead/redrive", needs: .admin, dead.redrive),
            Endpoint(.post, "/v1/dead/discard", needs: .admin, dead.discard),
            Endpoint(.get, "/v1/dead/redrives/{run}", needs: .read, dead.redriveProgress),
            Endpoint(.delete, "/v1/dead/redrives/{run}", needs: .admin, dead.cancelRedrive),
            Endpoint(.get, "/v1/dead/{id}", needs: .read, dead.show),
            Endpoint(.patch, "/v1/dead/{id}", needs: .admin, dead.mend),
            Endpoint(.delete, "/v1/dead/{id}", needs: .admin, dead.discardOne),
            Endpoint(.post, "/v1/subscribers/{name}/pause", needs: .admin, admin.pause),
            Endpoint(.post, "/v1/subscribers/{name}/resume", needs: .admin, admin.resume),
            Endpoint(.delete, "/v1/subscribers/{name}", needs: .admin, admin.forget),
            Endpoint(.post, "/v1/reload", needs: .admin, reloads.reload),
            Endpoint(.post, "/v1/rollback", needs: .admin, reloads.rollback),
            Endpoint(.get, "/v1/plan", needs: .read, admin.plan),
            Endpoint(.get, "/v1/generations", needs: .read, lookup.list),
            Endpoint(.get, "/v1/generations/{number}/diff", needs: .admin, differences.show),
            Endpoint(.get, "/v1/events", needs: .read, search.search),
            Endpoint(.get, "/v1/events/{id}", needs: .read, lookup.event),
            Endpoint(.get, "/v1/events/{id}/why", needs: .read, lookup.why),
            Endpoint(.get, "/metrics", needs: .read, health.numbers),
            Endpoint(.get, "/healthz", needs: .nothing, health.alive),
            Endpoint(.get, "/readyz", needs: .nothing, health.ready),
            Endpoint(.get, "/dashboard/{file}", needs: .nothing, dashboard.file),
            Endpoint(.get, "/v1/openapi.json", needs: .nothing) { _ in .json(.ok, description) },
        ]
        // A browser gets the dashboard, which asks for a token itself.
        let front = Endpoint(.get, "/", needs: .nothing) { exchange in
            if Dashboard.isWanted(exchange) { return try dashboard.page(exchange) }
            try access.check(exchange.headers[.authorization], .read, nil)
            return health.front(endpoints)
        }
        responder = GatewayResponder(
            endpoints: endpoints + [front], access: access, idempotency: Idempotency(clock: clock), metrics: metrics,
            logger: logger)
    }

    package var description: String { "gateway" }

    /// The server without its listener, for tests of the routes.
    package var application: Application<GatewayResponder> {
        Application(
            responder: responder, server: server,
            configuration: .init(address: .hostname(settings.host, port: settings.port)),
            onServerRunning: { [bound, logger, settings] channel in
                let port = channel.localAddress?.port ?? settings.port
                logger.info("Listening", metadata: ["host": "\(settings.host)", "port": "\(port)"])
                bound.set(port)
            },
            logger: logger)
    }

    private var server: HTTPServerBuilder {
        HTTPServerBuilder { [guards, publish, responder, settings] serve in
            GuardedChannel(base: GatewayChannel(responder: serve), guards: guards, tls: settings.tls) {
                arrivals, requests in
                PublishHandler(
                    publish: publish, access: responder.access, metrics: responder.metrics, guards: guards,
                    arrivals: arrivals, responder: requests)
            }
        }
    }

    /// `/readyz` says no from now on; everything else is answered as before, so that whoever sends work here goes elsewhere
    /// before the listener closes.
    package func beginStop() { draining.begin() }

    /// - Throws: where the address can't be listened on.
    package func run() async throws {
        defer { bound.end() }
        try await withGracefulShutdownHandler {
            try await application.run()
        } onGracefulShutdown: { [draining] in
            draining.begin()
        }
    }

    /// The port that is listened on, as soon as it is; nil where ``run()`` ended without one.
    package func port() async -> Int? {
        await bound.value()
    }
}

/// A port that becomes known once.
private final class BoundPort: Sendable {
    private enum State {
        case waiting([CheckedContinuation<Int?, Never>])
        case known(Int?)
    }

    private let state = Mutex(State.waiting([]))

    func set(_ port: Int) { settle(port) }
    /// Whoever waits still, waits for nothing.
    func end() { settle(nil) }

    func value() async -> Int? {
        await withCheckedContinuation { continuation in
            let known: Int?? = state.withLock { state in
                switch state {
                case .known(let port): return .some(port)
                case .waiting(let others):
                    state = .waiting(others + [continuation])
                    return .none
                }
            }
            if let known { continuation.resume(returning: known) }
        }
    }

    private func settle(_ port: Int?) {
        let waiting = state.withLock { state in
            guard case .waiting(let waiting) = state else { return [CheckedContinuation<Int?, Never>]() }
            state = .known(port)
            return waiting
        }
        for continuation in waiting { continuation.resume(returning: port) }
    }
}
