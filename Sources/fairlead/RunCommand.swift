// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Events
import Foundation
import Gateway
import Routes
import Scripting

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Hand one event to a plugin and show what it does, without doing it.",
        discussion: """
            Needs no server. EVENT is a file with one event, as `fairlead publish` takes it: a CloudEvent, or plain data. \
            Settings, grants and limits are those of the subscriber of routes.conf that runs the plugin; where there is none, \
            what the plugin itself requires is granted.

            HTTP requests are answered as --answer says, mail goes nowhere, sleeping takes no time, state is what --state says. With \
            --really requests and mail go out; state and publications are shown only, since a server commits them together \
            with the acknowledgement.

            Exit code 1: the event would be tried again or become a dead letter. 2: the plugin or the event is refused.
            """)

    @Argument(help: "The plugin's name.", completion: .plugins) var plugin: String
    @Argument(help: "The file with the event; - is standard input.", completion: .file()) var event = "-"
    @Option(help: "Settings, grants and limits of this subscriber.") var subscriber: String?
    @Option(help: ArgumentHelp("A setting: JSON, or text.", valueName: "key=value")) var set: [String] = []
    @Option(help: ArgumentHelp("A grant, as routes.conf has it: `http api.example.com`.", valueName: "grant"))
    var allow: [String] = []
    @Option(help: ArgumentHelp("What the state holds.", valueName: "key=JSON")) var state: [String] = []
    @Option(
        help: ArgumentHelp(
            "How requests are answered: a status and perhaps a body, or `timeout`, or `refused`.",
            valueName: "status[:body]"))
    var answer = "200"
    @Option(help: "The topic. Default: the first that the subscriber takes from.") var topic: String?
    @Option(help: "The event's type, for plain data. Default: the topic's name.") var type: String?
    @Option(help: "Which attempt it is.") var attempt = 1
    @Flag(help: "Send requests and mail.") var really = false
    @Flag(help: "Print what happened as one JSON object.") var json = false
    @OptionGroup var place: Plugin.FolderOptions

    func run() async throws {
        let table = try place.table(warnsOfEnvironment: !json)
        var files: [String: [UInt8]] = [:]
        do {
            let folder = try PluginFolder(place.folder(table))
            files = folder.files
            let route = try route(in: table)
            let topic = self.topic ?? route?.from.map(\.text).first { !$0.contains("*") } ?? "test"
            let record = try EventFile(event).record(on: topic, type: type, of: table)
            let binding = try binding(route, in: folder)
            var settings = PluginTrialSettings()
            settings.answer = try answered()
            settings.state = try given()
            let sender = really ? HTTPClientSender() : nil
            if let sender {
                let mail = CurrentMail()
                mail.use(
                    table?.mail ?? RouteTable().mail,
                    directory: { GenerationBuilder.path($0, besides: place.config) }, clock: SystemClock())
                settings.outside = (sender, mail)
            }
            let result: Result<PluginTrial, PluginError>
            do throws(PluginError) {
                result = .success(
                    try await ScriptHost.tryOut(
                        binding, Delivery(record: record, attempt: attempt), settings,
                        environment: { ProcessInfo.processInfo.environment[$0] }))
            } catch {
                result = .failure(error)
            }
            try await sender?.shutdown()
            let report = TrialReport(
                plugin: plugin, route: route, record: record, attempt: attempt, isReal: really, trial: try result.get())
            Console.say(json ? report.json : report.text)
            if !report.isDone { throw ExitCode.failure }
        } catch let error as PluginError {
            for problem in error.problems {
                Console.complain(PluginDiagnostic.finding(problem, in: files, folder: place.folder(table)).description)
            }
            throw ExitCode.refused
        } catch let error as Failure {
            Console.complain(error.message)
            throw ExitCode.refused
        } catch let error as PluginFolder.Unreadable {
            Console.complain(error.description)
            throw ExitCode.refused
        }
    }

    private static func refused(_ message: String) -> Failure { Failure(.malformed, message) }

    private func route(in table: RouteTable?) throws(Failure) -> SubscriberRoute? {
        let users = (table?.subscribers ?? []).filter { $0.plugin == plugin }
        if let subscriber {
            guard let named = users.first(where: { $0.name == subscriber }) else {
                let names = users.isEmpty ? "none does" : "those that do: \(users.map(\.name).joined(separator: ", "))"
                throw Self.refused("no subscriber \"\(subscriber)\" runs \(plugin) in \(place.config); \(names)")
            }
            return named
        }
        guard users.count < 2 else {
            let names = users.map(\.name).joined(separator: ", ")
            throw Self.refused("several subscribers run \(plugin): \(names); choose one with --subscriber")
        }
        return users.first
    }

    private func binding(_ route: SubscriberRoute?, in folder: PluginFolder) throws(Failure) -> PluginBinding {
        guard let source = folder.source(of: plugin) else {
            throw Self.refused(PluginDiagnostic.missing(plugin, in: folder).description)
        }
        var binding = route.map { PluginBinding($0, source) } ?? PluginBinding(subscriber: plugin, source: source)
        // One event is all that comes, so nothing waits for a batch to fill.
        binding.batch = nil
        for text in allow { binding.grants.append(try Self.grant(text)) }
        for text in set {
            let (key, value) = try Self.pair(text, option: "--set")
            binding.settings.removeAll { $0.name == key }
            binding.settings.append(PluginSetting(key, Self.value(value)))
        }
        if route == nil {
            let requires = ScriptHost(services: .offline(), lanes: 1).inspect(source).requires
            binding.grants += requires.grants(with: binding.settings)
        }
        return binding
    }

    private static func pair(_ text: String, option: String) throws(Failure) -> (key: String, value: String) {
        guard let equals = text.firstIndex(of: "="), equals > text.startIndex else {
            throw refused("\(option) \(text): write key=value")
        }
        return (String(text[..<equals]), String(text[text.index(after: equals)...]))
    }

    private static func grant(_ text: String) throws(Failure) -> PluginGrant {
        let words = text.split(separator: " ", maxSplits: 1).map { $0.trimmingCharacters(in: ["\"", " "]) }
        switch (words.first, words.count) {
        case ("mail", 1): return .mail
        case ("http", 2): return .http(words[1])
        case ("publish", 2): return .publish(words[1])
        case ("env", 2): return .env(words[1])
        case ("file", 2): return .file(words[1])
        default:
            throw refused("--allow \(text): write mail, or `http HOST`, `publish TOPIC`, `env NAME`, `file FOLDER`")
        }
    }

    /// JSON where it is, else text; durations and sizes are text, as in a plugin's defaults.
    private static func value(_ text: String) -> PluginValue {
        guard let value = try? JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed) else {
            return .string(text)
        }
        return PluginValue(json: value)
    }

    private func given() throws(Failure) -> [String: [UInt8]] {
        var state: [String: [UInt8]] = [:]
        for text in self.state {
            let (key, value) = try Self.pair(text, option: "--state")
            guard (try? JSONSerialization.jsonObject(with: Data(value.utf8), options: .fragmentsAllowed)) != nil else {
                throw Self.refused("--state \(text): the value is no JSON; text needs quotes, as in '\(key)=\"…\"'")
            }
            state[key] = Array(value.utf8)
        }
        return state
    }

    private func answered() throws(Failure) -> Result<OutboundResponse, OutboundFailure> {
        if answer == "timeout" { return .failure(.timeout) }
        if answer == "refused" { return .failure(.connection("refused, as --answer says")) }
        let parts = answer.split(separator: ":", maxSplits: 1)
        guard let first = parts.first, let status = Int(first), (100...599).contains(status) else {
            throw Self.refused(
                """
                --answer \(answer): write a status of 100 to 599 and perhaps a body (429, 200:{\"ok\":true}), \
                or timeout, or refused
                """
            )
        }
        let body = parts.count > 1 ? Array(parts[1].utf8) : []
        return .success(OutboundResponse(status: status, headers: [], body: body))
    }
}

extension PluginValue {
    /// A value that JSONSerialization has read.
    fileprivate init(json value: Any) {
        switch value {
        case let number as NSNumber:
            // What NSNumber says of itself, so that `true` stays no number and `5` an integer.
            switch String(cString: number.objCType) {
            case "c", "B": self = .boolean(number.boolValue)
            case "d", "f": self = .number(number.doubleValue)
            default: self = .integer(number.int64Value)
            }
        case let text as String: self = .string(text)
        case let list as [Any]: self = .list(list.map(PluginValue.init(json:)))
        case let object as [String: Any]:
            self = .block(object.sorted { $0.key < $1.key }.map { PluginSetting($0.key, PluginValue(json: $0.value)) })
        default: self = .string("null")
        }
    }
}
