// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Routes
import Scripting

struct Plugin: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Begin a plugin, or check plugins whether used or not.", subcommands: [New.self, Check.self])

    /// Where plugins are.
    struct FolderOptions: ParsableArguments {
        @Option(help: "The configuration, which says where plugins are.") var config = "routes.conf"
        @Option(help: "The folder of plugins, whatever the configuration says.") var plugins: String?

        /// As messages call it, relative to where the command runs.
        func folder(_ table: RouteTable?) -> String {
            if let plugins { return plugins.count > 1 && plugins.hasSuffix("/") ? String(plugins.dropLast()) : plugins }
            return PluginFolder.shown(table?.server.plugins ?? ServerSettings().plugins, besides: config)
        }

        /// nil where there is no configuration, and none was asked for.
        ///
        /// - Parameter warnsOfEnvironment: whether secrets and variables that are missing are said.
        func table(warnsOfEnvironment: Bool = false) throws -> RouteTable? {
            guard FileManager.default.fileExists(atPath: config) || config != "routes.conf" else { return nil }
            let compiled = RouteCompiler.compile(config, from: FileRouteSources(), strictEnvironment: false)
            if let table = compiled.table {
                let missing: [DiagnosticCode] = warnsOfEnvironment ? [.secretMissing, .environmentMissing] : []
                for diagnostic in compiled.diagnostics where missing.contains(diagnostic.code) {
                    Console.complain(diagnostic.description)
                }
                return table
            }
            guard plugins == nil else { return nil }
            for diagnostic in compiled.diagnostics { Console.complain(diagnostic.description) }
            Console.complain("\(config): refused; mend it, or say where plugins are with --plugins")
            throw ExitCode.refused
        }
    }

    struct New: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a plugin to begin with, and its test.",
            discussion: """
                Writes NAME.lua and NAME_test.lua into the folder of plugins, and types/fairlead.lua, from which editors with \
                lua-language-server know the API. Prints the block for routes.conf. Never overwrites a plugin.
                """)

        @Argument(help: "The plugin's name: letters, digits and _.") var name: String
        @OptionGroup var place: FolderOptions

        func run() async throws {
            guard PluginSkeleton.isName(name) else {
                Console.complain(
                    "\"\(name)\" is no name of a plugin; letters, digits and _, beginning with a letter, and neither "
                        + "lib, types nor ending in _test")
                throw ExitCode.refused
            }
            let table = try place.table()
            let folder = place.folder(table)
            let files = [
                ("\(name).lua", PluginSkeleton.plugin(name)), ("\(name)_test.lua", PluginSkeleton.test(name)),
            ]
            for path in files.map(\.0) + ["\(name)/init.lua"]
            where FileManager.default.fileExists(atPath: "\(folder)/\(path)") {
                Console.complain("\(folder)/\(path) is there already; choose another name, or remove it first")
                throw ExitCode.refused
            }
            do {
                try FileManager.default.createDirectory(atPath: "\(folder)/types", withIntermediateDirectories: true)
                for (path, text) in files + [(PluginFolder.annotations + "fairlead.lua", LuaAnnotations.text)] {
                    try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(path)"))
                }
            } catch {
                Console.complain("can't write to \(folder): \(error.localizedDescription)")
                throw ExitCode.failure
            }
            let topic = table?.topics.first { !$0.name.hasPrefix("$") }?.name ?? "orders"
            Console.say(
                """
                \(folder)/\(name).lua and \(folder)/\(name)_test.lua written. For routes.conf:

                \(PluginSkeleton.block(name, topic: topic))
                Then `fairlead test` runs its tests, and `fairlead run \(name) EVENT.json` shows what it does with an event.
                """)
        }
    }

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check plugins: syntax, names, settings, and the grants that they ask for.",
            discussion: """
                Follows all branches of their sources, not only what runs. Says for each what it needs and whether routes.conf \
                grants it. Exit code 2: something is wrong.

                With --json each finding is one object on a line of standard output, for editors, and nothing else is printed.
                """)

        @Argument(help: "Names of plugins; without any, all of the folder.", completion: .plugins) var names: [String] =
            []
        @OptionGroup var place: FolderOptions
        @Flag(help: "Print each finding as a JSON object.") var json = false

        func run() async throws {
            let table = try place.table()
            let path = place.folder(table)
            let folder: PluginFolder
            do {
                folder = try PluginFolder(path)
            } catch {
                Console.complain(error.description)
                throw ExitCode.refused
            }
            var refused = false
            let host = ScriptHost(services: .offline(), lanes: 1)
            for name in names.isEmpty ? folder.names : names {
                guard let source = folder.source(of: name) else {
                    report(Finding(PluginDiagnostic.missing(name, in: folder)))
                    refused = true
                    continue
                }
                let inspection = host.inspect(source)
                let users = (table?.subscribers ?? []).filter { $0.plugin == name }
                var findings = inspection.problems.map {
                    PluginDiagnostic.finding($0, in: folder.files, folder: path)
                }
                // What keeps everybody from using it is said once, at its own line.
                if findings.isEmpty {
                    findings += users.flatMap { fairlead.Check.problems(of: $0, in: folder, host: host) }
                }
                findings += inspection.names.map {
                    PluginDiagnostic.finding($0, in: folder.files, folder: path, asWarning: false)
                }
                for finding in findings { report(finding) }
                let isRefused = findings.contains { $0.diagnostic.severity == .error }
                if isRefused { refused = true }
                if !json {
                    Console.say(
                        PluginSummary(name: name, inspection: inspection, users: users, isRefused: isRefused).text)
                }
            }
            if refused { throw ExitCode.refused }
        }

        private func report(_ finding: Finding) {
            if json { Console.say(finding.diagnostic.json) } else { Console.complain(finding.description) }
        }
    }
}

/// What `plugin check` says of a plugin below its findings.
private struct PluginSummary {
    let name: String
    let inspection: PluginInspection
    let users: [SubscriberRoute]
    let isRefused: Bool

    var text: String {
        let version = inspection.version.map { " \($0)" } ?? ""
        let verdict = isRefused ? Console.styled("refused", .red) : Console.styled("ok", .green)
        var lines = ["\(name)\(version): \(verdict)"]
        for setting in inspection.settings {
            var words = [setting.name, setting.type]
            if setting.isRequired { words.append("required") }
            if let fallback = setting.fallback { words.append("default \(fallback)") }
            lines.append("  setting   " + words.joined(separator: ", ") + (setting.doc.map { ": \($0)" } ?? ""))
        }
        for item in inspection.requires.items { lines.append("  requires  \(item.description)\(state(of: item))") }
        if users.isEmpty {
            lines.append("  used by   nobody")
        } else {
            let names = users.map { user in user.name + (user.place.map { " (\($0))" } ?? "") }
            lines.append("  used by   " + names.joined(separator: ", "))
        }
        return lines.joined(separator: "\n")
    }

    private func state(of item: PluginRequirements.Item) -> String {
        guard !users.isEmpty else { return "" }
        let without = users.filter { user in
            guard case .run(_, let settings, _) = user.delivery,
                let grant = item.grant(with: settings.map(PluginSetting.init))
            else { return false }
            return !user.grants.map(PluginGrant.init).cover(grant)
        }.map(\.name)
        return without.isEmpty ? ": granted" : ": not granted to \(without.joined(separator: ", "))"
    }
}
