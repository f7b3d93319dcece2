// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Routes

extension CompletionKind {
    /// Topics and subscribers are those of the routes.conf that the command line names.
    static var topics: CompletionKind {
        .custom { arguments, _, _ in configured(arguments).map { $0.topics.map(\.name) } ?? [] }
    }

    static var subscribers: CompletionKind {
        .custom { arguments, _, _ in configured(arguments).map { $0.subscribers.map(\.name) } ?? [] }
    }

    static var plugins: CompletionKind {
        .custom { arguments, _, _ in
            guard let table = configured(arguments) else { return [] }
            let folder = GenerationBuilder.path(table.server.plugins, besides: config(in: arguments))
            return (try? PluginFolder(folder).names) ?? []
        }
    }

    static var routes: CompletionKind { .file(extensions: ["conf"]) }

    private static func config(in arguments: [String]) -> String {
        guard let option = arguments.firstIndex(of: "--config"), option + 1 < arguments.count else {
            return "routes.conf"
        }
        return arguments[option + 1]
    }

    private static func configured(_ arguments: [String]) -> RouteTable? {
        RouteCompiler.compile(config(in: arguments), from: FileRouteSources(), strictEnvironment: false).table
    }
}
