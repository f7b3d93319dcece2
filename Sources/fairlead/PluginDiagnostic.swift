// SPDX-License-Identifier: Apache-2.0

import Foundation
import Routes
import Scripting

/// What is wrong with a subscriber's plugin or endpoint, in the look of routes.conf's own diagnostics: with the line of
/// routes.conf that is concerned, and the plugin's file and line where the fault is there.
enum PluginDiagnostic {
    static func finding(_ problem: PluginProblem, of route: SubscriberRoute) -> Finding {
        var message = problem.message
        if let file = problem.file { message = "\(file)\(problem.line.map { ":\($0)" } ?? ""): \(message)" }
        // A syntax error's trace has no line of the plugin's.
        let trace = problem.trace.flatMap { $0.contains(".lua:") ? $0 : nil }
        return finding(
            message, remedy: problem.remedy, trace: trace, at: place(of: problem.setting, in: route), of: route)
    }

    static func finding(_ message: String, of route: SubscriberRoute) -> Finding {
        finding(message, remedy: nil, trace: nil, at: route.place, of: route)
    }

    static func missing(_ name: String, of route: SubscriberRoute, in folder: PluginFolder) -> Finding {
        let near = folder.names.first { $0.lowercased().hasPrefix(name.lowercased().prefix(3)) }
        return finding(
            "no plugin \"\(name)\": there is neither \(name).lua nor \(name)/init.lua in \(folder.path)",
            remedy: near.map { "did you mean \"\($0)\"?" } ?? "put the file there, or name one of: "
                + (folder.names.isEmpty ? "(the folder is empty)" : folder.names.joined(separator: ", ")),
            trace: nil, at: route.place, of: route)
    }

    private static func finding(
        _ message: String, remedy: String?, trace: String?, at place: Place?, of route: SubscriberRoute
    ) -> Finding {
        Finding(
            .plugin(
                "subscriber \"\(route.name)\": \(message)", hint: remedy, at: place,
                sourceLine: place.flatMap(line(of:))),
            trace: trace)
    }

    private static func place(of setting: String?, in route: SubscriberRoute) -> Place? {
        guard let setting, case .run(_, let settings, _) = route.delivery else { return route.place }
        var found = route.place
        var level = settings
        for part in setting.split(separator: ".") {
            guard let next = level.first(where: { $0.name == part }) else { break }
            found = next.place ?? found
            if case .block(let inner) = next.value { level = inner } else { break }
        }
        return found
    }

    private static func line(of place: Place) -> String? {
        guard let data = FileManager.default.contents(atPath: place.file) else { return nil }
        let lines = data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        guard place.line <= lines.count else { return nil }
        return String(decoding: lines[place.line - 1], as: UTF8.self).trimmingCharacters(in: .newlines)
    }
}
