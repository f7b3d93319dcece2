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
            SIGHUP, `fairlead reload` or POST /v1/reload load a changed routes.conf and changed plugins. SIGTERM and SIGINT \
            finish what is in flight, then end. A configuration that is wrong at start ends with exit code 78 and says why.
            """)

    @Argument(help: "The configuration.") var config = "routes.conf"
    @Option(help: "From which level on to log: trace, debug, info, notice, warning, error, critical.")
    var logLevel = "info"
    @Option(help: "How to log: text or json.") var logFormat: LineLogHandler.Format = .text

    func validate() throws {
        guard Logger.Level(rawValue: logLevel) != nil else {
            let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("no log level \"\(logLevel)\"; there are \(levels)")
        }
    }

    /// How long SIGTERM waits for what is in flight.
    static let drainDeadline: Duration = .seconds(10)

    /// Joins the parts. In this order: signals first, since until they are trapped a SIGHUP ends the process; then the
    /// data folder's lock; then storage, which must be recovered before anything is routed; then plugins; last the
    /// listener, so that nobody gets an answer before everything works.
    func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        let hangups = await UnixSignalsSequence(trapping: .sighup)
        let (format, level) = (logFormat, Logger.Level(rawValue: logLevel) ?? .info)
        LoggingSystem.bootstrap { _ in LineLogHandler(format: format, logLevel: level) }
        let prometheus = PrometheusMetrics()
        MetricsSystem.bootstrap(prometheus)
        let log = Logger(label: "fairlead")
        let clock = SystemClock()

        let first = RouteCompiler.compile(config, from: FileRouteSources(), strictEnvironment: true)
        guard let table = first.table else { throw Self.refuse(first.diagnostics.map(\.description), config) }

        let sender = HTTPClientSender()
        do {
            try await serve(table, sender, hangups, prometheus, clock, log)
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
        _ prometheus: PrometheusMetrics,
        _ clock: any Events.Clock, _ log: Logger
    ) async throws {
        let mail = CurrentMail()
        let outsideWorld = ScriptWorld(
            sender: sender, mail: mail,
            files: FileAppender(base: GenerationBuilder.path("", besides: config), clock: clock),
            clock: clock, log: log)
        let path = GenerationBuilder.path(table.server.data, besides: config)
        let folder = try Self.unwrap { () throws(DataFolder.Refusal) in try DataFolder(path) }
        let storage = try Self.unwrap { () throws(Failure) in
            try Storage(folder: folder, clock: clock, log: log)
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
            config: config, host: host, sender: sender, clock: clock, ledger: storage.ledger)
        let access = AccessControl()
        let server = Server(
            builder: builder, broker: broker, mail: mail, access: access, tls: credentials, ledger: storage.ledger,
            clock: clock, log: log)
        do {
            try await server.start()
        } catch let refusal as GenerationBuilder.Refusal {
            throw Self.refuse(refusal.diagnostics, config)
        } catch let failure as Failure {
            Console.complain("can't start: \(failure.message)")
            throw ExitCode.failure
        }

        let reloader = Reloader { trigger in await server.reload(trigger: trigger) }
        let gateway = Gateway(
            broker: broker,
            settings: .init(
                host: table.server.host, port: table.server.port, version: Fairlead.version, tls: credentials),
            prometheus: prometheus, logger: log, access: access,
            reload: { await reloader.reload(trigger: "HTTP") },
            plan: { await server.plan() },
            plugins: { await server.plugins },
            why: { (id, source, topic) throws(Failure) in try await server.why(id, source: source, topic: topic) },
            generations: { (limit) throws(Failure) in try await server.generations(limit: limit) },
            difference: { (number, other) throws(Failure) in try await server.difference(number, against: other) },
            routes: { await server.routes })
        let services = ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: BrokerService(broker: broker, deadline: Self.drainDeadline)),
                    .init(service: HangupService(signals: hangups, reloader: reloader)),
                    .init(service: gateway),
                ],
                gracefulShutdownSignals: [.sigterm, .sigint], cancellationSignals: [.sigquit], logger: log))
        do {
            try await services.run()
        } catch {
            Console.complain("can't serve on \(table.server.host):\(table.server.port): \(error)")
            await broker.stop(deadline: .zero)
            throw ExitCode.failure
        }
        withExtendedLifetime(folder) {}
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

    init(folder: DataFolder, clock: any Events.Clock, log: Logger) throws(Failure) {
        let path = folder.path + "/journal"
        journal = Journal(folder: path, clock: clock, log: log, scope: .published)
        imported = Journal(folder: path, clock: clock, log: log, scope: .imported)
        ledger = try Ledger(path: folder.path + "/ledger.db", clock: clock, log: log)
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

/// Stops the broker when the listener and the signals have stopped.
struct BrokerService: Service, CustomStringConvertible {
    let broker: Broker
    let deadline: Duration
    var description: String { "broker" }

    func run() async throws {
        try? await gracefulShutdown()
        await broker.stop(deadline: deadline)
    }
}

extension LineLogHandler.Format: ExpressibleByArgument {}
