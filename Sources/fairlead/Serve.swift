// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Broker
import Events
import Foundation
import Gateway
import Glibc
import Journal
import Ledger
import Logging
import Metrics
import Routes
import Scripting
import ServiceLifecycle
import Synchronization
import UnixSignals

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the server.",
        discussion: """
            SIGHUP, `fairlead reload` or POST /v1/reload load a changed routes.conf and changed plugins; with --watch every \
            change does. SIGTERM and SIGINT finish what is in flight, then end; a second one doesn't wait. Under systemd it says \
            when it is ready, reloads, stops, and that it is alive. A configuration that is wrong at start ends with exit code 78 \
            and says why.
            """)

    @Argument(help: "The configuration.", completion: .routes) var config = "routes.conf"
    @Option(help: "From which level on to log: trace, debug, info, notice, warning, error, critical.")
    var logLevel = "info"
    @Option(help: "How to log: text or json.") var logFormat: LineLogHandler.Format = .text
    @Flag(help: "Reload whenever routes.conf, an include or a plugin changes, and print the verdicts: for development.")
    var watch = false
    @Option(help: "How long SIGTERM waits for what is in flight, such as 10s.") var drain = "10s"

    func validate() throws {
        guard DurationText.parse(drain) != nil else {
            throw ValidationError("--drain is \"\(drain)\"; write a number and a unit, such as 10s or 500ms")
        }
        guard Logger.Level(rawValue: logLevel) != nil else {
            let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("no log level \"\(logLevel)\"; there are \(levels)")
        }
    }

    /// Joins the parts. In this order: signals first, since until they are trapped a SIGHUP ends the process; then the
    /// data folder's lock; then storage, which must be recovered before anything is routed; then plugins; last the
    /// listener, so that nobody gets an answer before everything works.
    func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        let hangups = await UnixSignalsSequence(trapping: .sighup)
        let (format, level) = (logFormat, Logger.Level(rawValue: logLevel) ?? .info)
        LoggingSystem.bootstrap { _ in LineLogHandler(format: format, logLevel: level) }
        let notifier = try Self.unwrap { () throws(SystemdNotifier.Refused) in try SystemdNotifier() }
        let prometheus = PrometheusMetrics()
        MetricsSystem.bootstrap(prometheus)
        let log = Logger(label: "fairlead")
        let clock = SteadyClock { behind in
            log.warning(
                "The clock was set back. Retries, leases and delays go on in their time, and records get times that don't fall, until it has caught up or Fairlead is restarted",
                metadata: ["behind": "\(DurationText.format(behind))"])
        }

        let first = RouteCompiler.compile(config, from: FileRouteSources(), strictEnvironment: true)
        guard let table = first.table else { throw Self.refuse(first.diagnostics.map(\.description), config) }

        let sender = HTTPClientSender()
        do {
            try await serve(table, sender, hangups, notifier, prometheus, clock, log)
        } catch {
            // The client insists on being closed, whatever else went wrong.
            try await sender.shutdown()
            throw error
        }
        try await sender.shutdown()
        log.notice("Stopped")
    }

    private func serve(
        _ table: RouteTable, _ sender: HTTPClientSender, _ hangups: UnixSignalsSequence,
        _ notifier: SystemdNotifier, _ prometheus: PrometheusMetrics, _ clock: SteadyClock, _ log: Logger
    ) async throws {
        // What is shown to others, signed, or put into a mail has the time that everybody else has.
        let wall = SystemClock()
        let mail = CurrentMail()
        let outsideWorld = ScriptWorld(
            sender: sender, mail: mail,
            files: FileAppender(base: GenerationBuilder.path("", besides: config), clock: wall),
            clock: wall, log: log)
        let path = GenerationBuilder.path(table.server.data, besides: config)
        let folder = try Self.unwrap { () throws(DataFolder.Refusal) in try DataFolder(path) }
        let storage = try Self.unwrap { () throws(Failure) in
            try Storage(folder: folder, clock: clock, wall: wall, log: log)
        }
        let credentials = try table.server.tls.map { tls in
            try Self.unwrap { () throws(Failure) in
                try TLSCredentials(
                    certificate: GenerationBuilder.path(tls.certificate, besides: config),
                    key: GenerationBuilder.path(tls.key, besides: config))
            }
        }
        let broker = Broker(engine: storage.engine, clock: clock, log: log)
        // What it found and mended is in the log.
        _ = try Self.unwrap { () throws(Failure) in
            try storage.journal.open { batches in broker.appended(batches) }
                + storage.imported.open { batches in broker.appended(batches) }
        }

        var scriptServices = outsideWorld.services(state: storage.ledger)
        scriptServices.kept = { broker.kept(in: $0) }
        let host = ScriptHost(services: scriptServices)
        let builder = GenerationBuilder(
            config: config, host: host, sender: sender, clock: wall, ledger: storage.ledger)
        let access = AccessControl()
        let server = Server(
            builder: builder, broker: broker, mail: mail, access: access, tls: credentials, ledger: storage.ledger,
            clock: wall, log: log)
        do {
            try await server.start()
        } catch let refusal as GenerationBuilder.Refusal {
            throw Self.refuse(refusal.diagnostics, config)
        } catch let failure as Failure {
            Console.complain("can't start: \(failure.message)")
            throw ExitCode.failure
        }

        let reloader = Reloader(log: log) { request in
            notifier.reloading()
            let verdict = await server.change(request)
            notifier.ready(await server.summary)
            return verdict
        }
        let gateway = Gateway(
            broker: broker,
            settings: .init(
                host: table.server.host, port: table.server.port, version: Fairlead.version, tls: credentials),
            prometheus: prometheus, logger: log, access: access,
            reload: { wait, force in
                await reloader.verdict(
                    of: ReloadRequest(trigger: "HTTP", wait: wait ?? Limits.reloadWait, force: force))
            },
            rollback: { generation, wait in
                await reloader.verdict(
                    of: ReloadRequest(
                        kind: .rollback(to: generation), trigger: "rollback", wait: wait ?? Limits.reloadWait))
            },
            config: { await server.config },
            plan: { await server.plan() },
            plugins: { await server.plugins },
            why: { (id, source, topic) throws(Failure) in try await server.why(id, source: source, topic: topic) },
            generations: { (limit) throws(Failure) in try await server.generations(limit: limit) },
            difference: { (number, other) throws(Failure) in try await server.difference(number, against: other) },
            routes: { await server.routes },
            attempts: { (limit) throws(Failure) in try await server.attempts(limit: limit) })
        var services: [any Service] = [
            BrokerService(broker: broker), HangupService(signals: hangups, reloader: reloader),
            ProbationService(broker: broker, server: server, reloader: reloader), gateway,
            SystemdService(
                notifier: notifier, gateway: gateway, broker: broker, status: { await server.summary }),
        ]
        if watch { services.append(WatchService(files: builder.watched, reloader: reloader)) }
        // What comes last stops first.
        services.append(
            DrainService(
                notifier: notifier, gateway: gateway, server: server, broker: broker,
                deadline: DurationText.parse(drain)!))
        do {
            try await run(
                ServiceGroup(
                    configuration: .init(
                        services: services.map { .init(service: $0) }, cancellationSignals: [.sigquit], logger: log)),
                broker, log)
        } catch {
            Console.complain("can't serve on \(table.server.host):\(table.server.port): \(error)")
            await broker.stop(deadline: .zero)
            throw ExitCode.failure
        }
        withExtendedLifetime(folder) {}
    }

    /// The first SIGTERM or SIGINT stops the services in order, a second one at once: what is in flight then is given back and
    /// delivered after the next start.
    private func run(_ services: ServiceGroup, _ broker: Broker, _ log: Logger) async throws {
        let terminations = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        let isStopping = Atomic(false)
        let running = Task { try await services.run() }
        let listening = Task {
            for await signal in terminations {
                if isStopping.exchange(true, ordering: .relaxed) {
                    log.notice("Stopping at once", metadata: ["signal": "\(signal)"])
                    await broker.hurry()
                    running.cancel()
                } else {
                    log.notice("Stopping", metadata: ["signal": "\(signal)", "drain": "\(drain)"])
                    await services.triggerGracefulShutdown()
                }
            }
        }
        defer { listening.cancel() }
        do {
            try await running.value
        } catch {
            guard isStopping.load(ordering: .relaxed) else { throw error }
            // Cut short, as it was asked to be.
            await broker.stop(deadline: .zero)
        }
    }

    private static func refuse(_ diagnostics: [String], _ config: String) -> ExitCode {
        for diagnostic in diagnostics { Console.complain(diagnostic) }
        Console.complain("\(config) can't be used; nothing was started")
        return .badConfiguration
    }

    /// Ends the command in words where a part can't start.
    private static func unwrap<Value, Refusal: CustomStringConvertible>(
        _ body: () throws(Refusal) -> Value
    ) throws -> Value {
        do {
            return try body()
        } catch {
            Console.complain("can't start: \(error.description)")
            throw ExitCode.failure
        }
    }
}

/// Journal and ledger in the data folder.
struct Storage {
    let journal: Journal
    let imported: Journal
    let ledger: Ledger
    let engine: EmbeddedEngine

    /// Plugins' state expires by `wall`, which is also what says when it should.
    init(
        folder: DataFolder, clock: SteadyClock, wall: SystemClock, log: Logger
    ) throws(Failure) {
        let path = folder.path + "/journal"
        journal = Journal(folder: path, clock: clock, log: log, scope: .published)
        imported = Journal(folder: path, clock: clock, log: log, scope: .imported)
        ledger = try Ledger(path: folder.path + "/ledger.db", clock: wall, log: log)
        engine = EmbeddedEngine(journal: journal, imported: imported, ledger: ledger, log: log)
    }
}

/// What plugins reach of the outside.
struct ScriptWorld {
    let sender: any HTTPSender
    let mail: CurrentMail
    let files: FileAppender
    let clock: any Events.Clock
    let log: Logger

    func services(state: any StateReader) -> ScriptServices {
        ScriptServices(
            state: state, http: sender, mail: mail, files: files, clock: clock, logger: log,
            environment: { ProcessInfo.processInfo.environment[$0] },
            metric: { subscriber, name, amount in
                FloatingPointCounter(
                    label: "fairlead_plugin_metric_total", dimensions: [("subscriber", subscriber), ("name", name)]
                ).increment(by: amount)
            })
    }
}

/// The mail sender of the running generation: `mail` may change with a reload.
final class CurrentMail: MailSender {
    private struct State {
        var settings: MailSettings?
        var sender: (any MailSender)?
    }

    private let state = Mutex(State())

    /// `directory` is the folder of a directory setting, made absolute.
    func use(_ settings: MailSettings, directory: (String) -> String, clock: any Events.Clock) {
        state.withLock { state in
            guard state.settings != settings else { return }
            state.settings = settings
            switch settings {
            case .directory(let folder):
                state.sender = MailFolder(directory(folder), clock: clock)
            case .smtp(let host, let port, let user, let password, let from):
                state.sender = MailServer(
                    host: host, port: port, user: user, password: password?.value, from: from, clock: clock)
            }
        }
    }

    func send(_ message: MailMessage) async throws(MailFailure) {
        guard let sender = state.withLock({ $0.sender }) else {
            preconditionFailure("mail is set up before the first plugin runs")
        }
        try await sender.send(message)
    }
}

/// Closes the broker when the listener and the signals have stopped; what was in flight has been waited for by then.
struct BrokerService: Service, CustomStringConvertible {
    let broker: Broker
    var description: String { "broker" }

    func run() async throws {
        try? await gracefulShutdown()
        await broker.stop(deadline: .zero)
    }
}

extension LineLogHandler.Format: ExpressibleByArgument {}
