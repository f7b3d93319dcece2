// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AsyncHTTPClient
import Events
import Foundation
import Gateway
import Logging
import Routes
import Scripting

struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check a configuration and the plugins it uses, without a server.",
        discussion: """
            Needs no network. A missing environment variable or secret is a warning here and an error at start; \
            --strict-env makes it an error here as well. Exit code 2: refused.

            With --json each finding is one object on a line of standard output, for editors, and nothing else is printed.
            """)

    @Argument(help: "The configuration.", completion: .routes) var config = "routes.conf"
    @Flag(help: "Missing environment variables and secrets are errors.") var strictEnv = false
    @Flag(help: "Print each finding as a JSON object.") var json = false

    func run() async throws {
        let checked = Self.check(config, strictEnvironment: strictEnv)
        for finding in checked.findings {
            if json { Console.say(finding.diagnostic.json) } else { Console.complain(finding.description) }
        }
        guard let table = checked.table else {
            if !json { Console.complain("\(config): refused") }
            throw ExitCode.refused
        }
        if json { return }
        let plugins = Set(table.subscribers.compactMap(\.plugin))
        let counts = [
            (checked.files, "file"), (table.topics.count { !$0.name.hasPrefix("$") }, "topic"),
            (table.subscribers.count, "subscriber"), (plugins.count, "plugin"),
        ].map { "\($0) \($1)\($0 == 1 ? "" : "s")" }
        Console.say("\(config): ok (\(counts.joined(separator: ", ")))")
    }

    struct Checked {
        /// nil where anything is wrong.
        var table: RouteTable?
        var findings: [Finding]
        var files: Int
    }

    /// What `serve` and `reload` check too, with plugins in scratch states and without any effect.
    static func check(_ config: String, strictEnvironment: Bool) -> Checked {
        let compiled = RouteCompiler.compile(config, from: FileRouteSources(), strictEnvironment: strictEnvironment)
        var checked = Checked(
            table: compiled.table, findings: compiled.diagnostics.map { Finding($0) }, files: compiled.files.count)
        guard let table = compiled.table else { return checked }
        let folder: PluginFolder
        do {
            folder = try PluginFolder(GenerationBuilder.path(table.server.plugins, besides: config))
        } catch {
            checked.findings.append(Finding(.plugin(error.description)))
            checked.table = nil
            return checked
        }
        let host = ScriptHost(services: .offline())
        for route in table.subscribers {
            let problems = problems(of: route, in: folder, host: host)
            if !problems.isEmpty { checked.table = nil }
            checked.findings += problems
        }
        checked.findings += names(
            of: table, in: folder, shownAs: PluginFolder.shown(table.server.plugins, besides: config), host: host)
        return checked
    }

    /// Names in the plugins in use that mean nothing: warnings, since what has them may never run.
    private static func names(
        of table: RouteTable, in folder: PluginFolder, shownAs path: String, host: ScriptHost
    ) -> [Finding] {
        let plugins = Set(table.subscribers.compactMap(\.plugin)).sorted()
        var found: Set<NameFinding> = []
        // A file of `lib` may be seen by several.
        return plugins.compactMap { folder.source(of: $0) }.flatMap { host.unknownNames(in: $0) }
            .filter { found.insert($0).inserted }
            .map {
                PluginDiagnostic.finding($0, in: folder.files, folder: path, asWarning: true)
            }
    }

    /// What is wrong with the plugin of a subscriber that has one.
    static func problems(of route: SubscriberRoute, in folder: PluginFolder, host: ScriptHost) -> [Finding] {
        guard case .run(let name, _, _) = route.delivery else { return [] }
        guard let source = folder.source(of: name) else {
            return [PluginDiagnostic.missing(name, of: route, in: folder)]
        }
        return host.check(PluginBinding(route, source)).map { PluginDiagnostic.finding($0, of: route) }
    }
}

extension SubscriberRoute {
    /// The plugin that it runs, where it does.
    var plugin: String? { if case .run(let plugin, _, _) = delivery { plugin } else { nil } }
}

extension ScriptServices {
    /// For checks: nothing is read, sent or written.
    static func offline() -> ScriptServices {
        ScriptServices(
            state: NoState(), http: NoNetwork(), mail: NoMail(), files: NoFiles(), clock: SystemClock(),
            logger: Logger(label: "check") { _ in SwiftLogNoOpLogHandler() },
            environment: { ProcessInfo.processInfo.environment[$0] }, metric: { _, _, _ in })
    }

    private struct NoState: StateReader {
        func value(subscriber: String, key: String) throws -> [UInt8]? { nil }
        func usage(subscriber: String) throws -> StateUsage { StateUsage() }
        func values(
            subscriber: String, prefix: String, after: String?, limit: Int
        ) throws -> [(key: String, value: [UInt8])] { [] }
    }

    private struct NoNetwork: HTTPSender {
        func send(_ request: OutboundRequest) async throws(OutboundFailure) -> OutboundResponse {
            throw .connection("a check sends nothing")
        }
    }

    private struct NoMail: MailSender {
        func send(_ message: MailMessage) async throws(MailFailure) {
            throw .refused("a check sends no mail")
        }
    }

    private struct NoFiles: FileAppending {
        func append(_ addition: FileAddition) async throws(FileFailure) -> FileAppended {
            throw .refused("a check writes nothing")
        }
    }
}
