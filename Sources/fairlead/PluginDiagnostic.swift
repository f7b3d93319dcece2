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
        let (message, remedy) = missing(name, in: folder)
        return finding(message, remedy: remedy, trace: nil, at: route.place, of: route)
    }

    static func missing(_ name: String, in folder: PluginFolder) -> Diagnostic {
        let (message, remedy) = missing(name, in: folder)
        return .plugin(message, hint: remedy)
    }

    private static func missing(_ name: String, in folder: PluginFolder) -> (message: String, remedy: String) {
        let near = folder.names.first { $0.lowercased().hasPrefix(name.lowercased().prefix(3)) }
        return (
            "no plugin \"\(name)\": there is neither \(name).lua nor \(name)/init.lua in \(folder.path)",
            near.map { "did you mean \"\($0)\"?" } ?? "put the file there, or name one of: "
                + (folder.names.isEmpty ? "(the folder is empty)" : folder.names.joined(separator: ", "))
        )
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

    /// A name in a plugin's file, at its own line.
    ///
    /// - Parameter folder: as messages call the folder of plugins.
    static func finding(_ name: NameFinding, in files: [String: [UInt8]], folder: String, asWarning: Bool) -> Finding {
        let path = PluginSource.path(ofChunk: name.file)
        return Finding(
            .plugin(
                name.message, severity: asWarning || name.kind == .field ? .warning : .error,
                code: name.kind == .global ? .unknownGlobal : .unknownMember, hint: name.remedy,
                at: Place(file: "\(folder)/\(path)", line: name.line, column: name.column), length: name.length,
                sourceLine: files[path].flatMap { line(name.line, of: $0) }))
    }

    /// What is wrong with a plugin, whoever uses it: at its own line where that is known.
    static func finding(_ problem: PluginProblem, in files: [String: [UInt8]], folder: String) -> Finding {
        let path = problem.file.map(PluginSource.path(ofChunk:))
        let line = problem.line ?? 1
        let source = path.flatMap { files[$0] }.flatMap { self.line(line, of: $0) }
        let isPlaced = problem.line != nil && source != nil
        let unplaced = path.map { "\(folder)/\($0)\(problem.line.map { ":\($0)" } ?? ""): " } ?? ""
        let indent = source?.prefix { $0 == " " || $0 == "\t" }.count ?? 0
        let trace = problem.trace.flatMap { $0.contains(".lua:") ? $0 : nil }
        return Finding(
            .plugin(
                isPlaced ? problem.message : unplaced + problem.message,
                hint: problem.remedy,
                at: isPlaced ? Place(file: "\(folder)/\(path!)", line: line, column: indent + 1) : nil,
                length: max(1, (source?.count ?? 0) - indent), sourceLine: isPlaced ? source : nil),
            trace: trace)
    }

    private static func line(_ number: Int, of bytes: [UInt8]) -> String? {
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        guard lines.indices.contains(number - 1) else { return nil }
        return String(decoding: lines[number - 1], as: UTF8.self).trimmingCharacters(in: .newlines)
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
        return line(place.line, of: Array(data))
    }
}
