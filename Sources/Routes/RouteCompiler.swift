// SPDX-License-Identifier: Apache-2.0

import Events

/// What became of a configuration.
package struct CompiledRoutes: Sendable {
    /// nil where there is any error.
    package var table: RouteTable?
    /// By file, line and column; at most ``Limits/routesErrorsMax`` errors.
    package var diagnostics: [Diagnostic]
    /// Every file that was read, the first one first.
    package var files: [String]
}

package enum RouteCompiler {
    /// Reads `path` and what it includes, and checks and resolves all of it. Where `strictEnvironment` is false, a
    /// missing variable or secret is a warning and stands for an empty text.
    package static func compile(
        _ path: String, from sources: some RouteSources, strictEnvironment: Bool
    ) -> CompiledRoutes {
        var loader = Loader(sources)
        let statements = loader.load(path)
        let resolver = Resolver(sources, isStrict: strictEnvironment, loader.diagnostics)
        let table = resolver.resolve(statements)
        return CompiledRoutes(
            table: resolver.diagnostics.hasErrors ? nil : table,
            diagnostics: resolver.diagnostics.sorted(by: loader.files),
            files: loader.files)
    }
}

/// Reads the files, each include in the place of its statement.
struct Loader<Sources: RouteSources> {
    private let sources: Sources
    private(set) var diagnostics = Diagnostics()
    private(set) var files: [String] = []
    private var known: Set<String> = []
    private var bytesLeft = Limits.routesBytesMax
    private var statementsLeft = Limits.routesStatementsMax

    init(_ sources: Sources) {
        self.sources = sources
    }

    private static func mayEndStatement(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "\n") || byte == UInt8(ascii: ";") || byte == UInt8(ascii: "{")
    }

    mutating func load(_ path: String) -> [Statement] {
        load(path, from: nil, chain: [])
    }

    /// `chain`: the files that are being read now, outermost first.
    private mutating func load(
        _ path: String, from include: (source: SourceText, range: Range<Int>)?, chain: [String]
    ) -> [Statement] {
        guard !diagnostics.isFull else { return [] }
        func report(_ code: DiagnosticCode, _ message: String, _ hint: String?) {
            if let include {
                diagnostics.error(code, message, hint: hint, in: include.source, include.range)
            } else {
                diagnostics.add(Diagnostic(.error, code, message, hint: hint))
            }
        }
        if chain.contains(path) {
            let cycle = (chain.drop { $0 != path } + [path]).joined(separator: " includes ")
            report(.includeCycle, "files include each other in a circle", cycle)
            return []
        }
        guard !known.contains(path) || chain.isEmpty else {
            report(.duplicate, "\(path) is included twice", "remove one of the two")
            return []
        }
        guard files.count < Limits.routesFilesMax else {
            report(.tooLarge, "more than \(Limits.routesFilesMax) files", nil)
            return []
        }
        files.append(path)
        known.insert(path)
        let bytes: [UInt8]
        do {
            bytes = try sources.bytes(of: path)
        } catch {
            report(.unreadable, "can't read \(path): \(error)", nil)
            return []
        }
        guard bytes.count <= bytesLeft else {
            report(
                .tooLarge, "\(path) is \(bytes.count) bytes; all files together may have \(Limits.routesBytesMax)", nil)
            return []
        }
        bytesLeft -= bytes.count
        let ends = bytes.count { Self.mayEndStatement($0) }
        guard ends <= statementsLeft else {
            report(
                .tooLarge,
                "\(path) has some \(ends) lines, `;` and blocks; all files together may have "
                    + "\(Limits.routesStatementsMax)", nil)
            return []
        }
        statementsLeft -= ends
        let source = SourceText(path: path, bytes: bytes)
        guard isText(source) else { return [] }
        var parser = Parser(source, diagnostics)
        let statements = parser.parse()
        diagnostics = parser.diagnostics
        guard statements.contains(where: { $0.keyword == "include" }) else { return statements }
        var result: [Statement] = []
        for statement in statements {
            if statement.keyword == "include" {
                result += included(by: statement, chain + [path])
            } else {
                result.append(statement)
            }
        }
        return result
    }

    private mutating func included(by statement: Statement, _ chain: [String]) -> [Statement] {
        // Anything but one text is the schema's to report.
        guard statement.arguments.count == 1, statement.block == nil,
            case .string(let pattern) = statement.arguments[0].value
        else { return [statement] }
        let source = statement.source
        let range = statement.arguments[0].range
        let joined = RelativePath.join(pattern, toFolderOf: source.path)
        do {
            let found = try sources.files(matching: joined)
            if found.isEmpty, !pattern.contains("*"), !pattern.contains("?"), !pattern.contains("[") {
                diagnostics.error(
                    .includeMissing, "there is no file \"\(joined)\"",
                    hint: "a pattern such as conf.d/*.conf may match none",
                    in: source, range)
            }
            return found.flatMap { load($0, from: (source, range), chain: chain) }
        } catch {
            diagnostics.error(.includeMissing, "can't list \"\(joined)\": \(error)", in: source, range)
            return []
        }
    }

    private mutating func isText(_ source: SourceText) -> Bool {
        if let line = source.firstLine(longerThan: Limits.routesLineBytesMax) {
            var diagnostic = Diagnostic(
                .error, .tooLarge,
                "\(source.path):\(line): the line is longer than \(Limits.routesLineBytesMax) bytes",
                hint: "put large texts into files: file(\"path\")")
            // Without the line, which is too long to show.
            diagnostic.place = Place(file: source.path, line: line, column: 1)
            diagnostics.add(diagnostic)
            return false
        }
        let bad = source.bytes.withUnsafeBufferPointer { UTF8Check.firstInvalid($0) }
        guard let bad else { return true }
        let what = source.bytes[bad] == 0 ? "a NUL byte" : "not UTF-8"
        diagnostics.error(
            .notText, source.bytes[bad] == 0 ? "the file holds a NUL byte" : "the file is not UTF-8",
            hint: what == "a NUL byte" ? "is it a text file?" : "save it as UTF-8", in: source, bad..<bad + 1)
        return false
    }
}

enum RelativePath {
    /// Relative paths are those of the folder that `file` is in.
    static func join(_ path: String, toFolderOf file: String) -> String {
        guard !path.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return path }
        return file[...slash] + path
    }
}

enum UTF8Check {
    /// The first byte that is NUL or starts no well-formed UTF-8 sequence (Unicode 15, table 3-7).
    static func firstInvalid(_ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
        var at = 0
        while at < bytes.count {
            let first = bytes[at]
            if first < 0x80 {
                if first == 0 { return at }
                at += 1
                continue
            }
            let length: Int
            var low: UInt8 = 0x80
            var high: UInt8 = 0xBF
            switch first {
            case 0xC2...0xDF: length = 2
            case 0xE0...0xEF:
                length = 3
                if first == 0xE0 { low = 0xA0 }
                if first == 0xED { high = 0x9F }
            case 0xF0...0xF4:
                length = 4
                if first == 0xF0 { low = 0x90 }
                if first == 0xF4 { high = 0x8F }
            default: return at
            }
            guard at + length <= bytes.count, bytes[at + 1] >= low, bytes[at + 1] <= high else { return at }
            var next = at + 2
            while next < at + length {
                guard bytes[next] & 0xC0 == 0x80 else { return at }
                next += 1
            }
            at += length
        }
        return nil
    }
}
