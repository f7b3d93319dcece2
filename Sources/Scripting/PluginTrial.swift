// SPDX-License-Identifier: Apache-2.0

package import Events
package import Logging
import Synchronization

/// What one event made a plugin do, in order, and how it ended.
package struct PluginTrial: Sendable {
    package var outcome: Outcome = .returned
    package var trace: String?
    /// Whether the host had to stop the script, as it used up its processor time or its memory.
    package var wasKilled = false
    /// Of the handler alone.
    package var cpu: Duration = .zero
    package var acts: [Act] = []
    /// Committed with the acknowledgement; empty where there was none.
    package var effects = Effects()

    /// Secrets of the settings are shown by their names.
    package enum Act: Sendable {
        case http(Request)
        case mail(MailMessage)
        case file(FileAddition)
        case log(level: Logger.Level, message: String, fields: [(name: String, value: String)])
        case metric(name: String, amount: Double)
        case sleep(Duration)
    }

    package struct Request: Sendable {
        package var method: String
        package var url: String
        package var headers: [(name: String, value: String)]
        package var body: String
        /// The status, or why there was none.
        package var answer: String

        package init(
            method: String, url: String, headers: [(name: String, value: String)], body: String, answer: String
        ) {
            self.method = method
            self.url = url
            self.headers = headers
            self.body = body
            self.answer = answer
        }
    }
}

/// How a trial meets the outside.
package struct PluginTrialSettings: Sendable {
    /// What requests are answered with, where they are not sent.
    package var answer: Result<OutboundResponse, OutboundFailure> = .success(
        OutboundResponse(status: 200, headers: [], body: []))
    /// JSON by key: what the subscriber's state holds.
    package var state: [String: [UInt8]] = [:]
    /// Where requests and mail go; nil goes nowhere.
    package var outside: (http: any HTTPSender, mail: any MailSender)?

    package init() {}
}

extension ScriptHost {
    /// Loads a plugin, hands it one event, and notes what it does. Nothing leaves the process unless `settings` have an outside;
    /// state and publications are never written.
    package static func tryOut(
        _ binding: PluginBinding, _ delivery: Delivery, _ settings: PluginTrialSettings,
        environment: @escaping @Sendable (String) -> String?
    ) async throws(PluginError) -> PluginTrial {
        let world = TrialWorld(settings, secrets: binding.settings.flatMap { $0.value.secrets })
        var services = ScriptServices(
            state: world, http: world, mail: world, files: world, clock: world,
            logger: Logger(label: "trial") { _ in TrialWorld.LogNotes(world: world) },
            environment: environment, metric: { _, name, amount in world.note(.metric(name: name, amount: amount)) })
        if settings.outside == nil { services.advance = { world.sleep($0) } }
        let host = ScriptHost(services: services, lanes: 1)
        let destination = try await host.load(binding)
        let before = await destination.spent
        let slot = SettlementSlot()
        destination.start { slot.put($0) }
        destination.deliver([delivery])
        let settlement = await slot.next()
        let after = await destination.spent
        // What `stop` does is no answer to the event.
        var trial = world.trial
        await destination.stop(.removed, deadline: .zero)
        trial.outcome = settlement.outcome
        trial.trace = settlement.trace
        trial.wasKilled = settlement.wasKilled
        trial.effects = settlement.effects ?? Effects()
        trial.cpu = after - before
        return trial
    }
}

extension LuaDestination {
    /// Processor time of the plugin's own code so far.
    var spent: Duration {
        get async {
            await withCheckedContinuation { continuation in
                runner.lane.submit { [runner] in continuation.resume(returning: runner.spent) }
            }
        }
    }
}

/// The outside as a trial sees it: everything is noted, and goes on only where the trial has an outside.
final class TrialWorld: StateReader, HTTPSender, MailSender, FileAppending, Clock, Sendable {
    private struct Notes {
        var trial = PluginTrial()
        var slept: Duration = .zero
        /// Where the time stands still; nil where it goes on.
        var time: Timestamp?
        /// In place of the settings' answer.
        var answer: (@Sendable (OutboundRequest) -> Result<OutboundResponse, OutboundFailure>)?
    }

    private let notes = Mutex(Notes())
    private let settings: PluginTrialSettings
    private let secrets: [(name: String, value: [UInt8])]

    init(_ settings: PluginTrialSettings, secrets: [(name: String, value: [UInt8])]) {
        self.settings = settings
        self.secrets = secrets
    }

    var trial: PluginTrial { notes.withLock { $0.trial } }
    func note(_ act: PluginTrial.Act) { notes.withLock { $0.trial.acts.append(act) } }

    func now() -> Timestamp {
        let (time, slept) = notes.withLock { ($0.time, $0.slept) }
        return (time ?? SystemClock().now()) + slept
    }

    /// Forgets what was noted; from now on it is `time`, and requests are answered by `answer`.
    func begin(
        at time: Timestamp,
        answering answer: @escaping @Sendable (OutboundRequest) -> Result<OutboundResponse, OutboundFailure>
    ) {
        notes.withLock { $0 = Notes(time: time, answer: answer) }
    }

    func sleep(_ duration: Duration) {
        notes.withLock { notes in
            notes.slept += duration
            notes.trial.acts.append(.sleep(duration))
        }
    }

    func value(subscriber: String, key: String) throws -> [UInt8]? { settings.state[key] }

    func values(
        subscriber: String, prefix: String, after: String?, limit: Int
    ) throws -> [(key: String, value: [UInt8])] {
        settings.state.filter { key, _ in key.hasPrefix(prefix) && after.map { key > $0 } ?? true }
            .orderedByKey(limit: limit)
    }

    func usage(subscriber: String) throws -> StateUsage {
        StateUsage(of: settings.state)
    }

    func send(_ request: OutboundRequest) async throws(OutboundFailure) -> OutboundResponse {
        var noted = PluginTrial.Request(
            method: request.method, url: request.url.redacting(secrets),
            headers: request.headers.map { ($0.name, shown($0.name, $0.value)) },
            body: String(decoding: request.body, as: UTF8.self).redacting(secrets), answer: "")
        do throws(OutboundFailure) {
            let response: OutboundResponse
            if let outside = settings.outside {
                response = try await outside.http.send(request)
            } else {
                let answer = notes.withLock { $0.answer }
                response = try (answer?(request) ?? settings.answer).get()
            }
            noted.answer = String(response.status)
            note(.http(noted))
            return response
        } catch {
            noted.answer = error.words.redacting(secrets)
            note(.http(noted))
            throw error
        }
    }

    /// What is made of a secret before it is sent, as base64 does, isn't found by its value.
    private func shown(_ name: String, _ value: String) -> String {
        let redacted = value.redacting(secrets)
        let carriesCredentials = ["authorization", "proxy-authorization", "cookie"].contains(name.lowercased())
        return carriesCredentials && redacted == value ? "(not shown)" : redacted
    }

    func send(_ message: MailMessage) async throws(MailFailure) {
        note(.mail(message))
        if let outside = settings.outside { try await outside.mail.send(message) }
    }

    /// Never written: a trial leaves no lines in files that others read.
    func append(_ addition: FileAddition) async throws(FileFailure) -> FileAppended {
        note(.file(addition))
        return FileAppended(size: addition.bytes.count)
    }

    struct LogNotes: LogHandler {
        let world: TrialWorld
        var logLevel: Logger.Level = .trace
        var metadata: Logger.Metadata = [:]
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let fields = (event.metadata ?? [:]).filter { !PluginRunner.logFields.contains($0.key) }
                .sorted { $0.key < $1.key }
            world.note(
                .log(level: event.level, message: "\(event.message)", fields: fields.map { ($0.key, "\($0.value)") }))
        }
    }
}

extension OutboundFailure {
    fileprivate var words: String {
        switch self {
        case .connection(let text), .badRequest(let text): text
        case .timeout: "timeout"
        case .localAddress(let host, let address): "\(host) has the local address \(address)"
        case .responseTooLarge(let limit): "the response is larger than \(limit) bytes"
        }
    }
}
