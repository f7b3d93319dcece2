// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering

extension Resolver {
    func collectLets(_ statements: [Statement]) {
        for statement in statements where statement.keyword == "let" && !diagnostics.isFull {
            guard statement.arguments.count == 2 else { continue }
            guard case .word(let name) = statement.arguments[0].value else { continue }
            let at = Declared(source: statement.source, range: statement.arguments[0].range)
            if let first = lets[name] {
                diagnostics.error(
                    .duplicate, "`let \(name)` is already there",
                    hint: "rename one (the first is at \(first.at.place))", related: first.at.related("the first"),
                    in: at.source, at.range)
            } else {
                lets[name] = (statement.arguments[1], at)
            }
        }
    }

    func read(_ argument: Argument, as type: ArgumentType, in source: SourceText) -> ShapeMatch.Reading {
        switch type {
        case .name, .topicName, .topicPattern, .environmentName, .keyPath:
            guard case .word(let word) = argument.value else { return .refused(.otherType) }
            return readName(word, as: type, argument.range, source)
        default: break
        }
        // A `let` stands for its value wherever a value is expected.
        if case .word(let word) = argument.value, let named = lets[word] {
            guard !brokenLets.contains(word) else { return .refused(.reported) }
            guard openLets.insert(word).inserted else {
                return .refused(.bad(.unknownLet, "`let \(word)` refers to itself", hint: nil))
            }
            defer { openLets.remove(word) }
            guard openLets.count <= Limits.routesDepthMax else {
                return .refused(
                    .bad(
                        .tooDeep, "`let`s refer to each other more than \(Limits.routesDepthMax) deep",
                        hint: "write the value itself"))
            }
            return read(named.argument, as: type, in: named.at.source)
        }
        switch argument.value {
        case .word(let word):
            return readWord(word, as: type)
        case .string(let text):
            return readText(text, as: type, isQuoted: true)
        case .list(let items):
            guard type == .value else { return .refused(.otherType) }
            var values: [SettingValue] = []
            for item in items {
                switch read(item, as: .value, in: source) {
                case .value(.setting(let value)): values.append(value)
                case .value: return .refused(.otherType)
                case .refused(let refusal): return .refused(refusal)
                }
            }
            return .value(.setting(.list(values)))
        case .call(let name, let arguments):
            return readCall(name, arguments, argument.range, as: type, in: source)
        }
    }

    // MARK: names

    private func readName(
        _ word: String, as type: ArgumentType, _ range: Range<Int>, _ source: SourceText
    ) -> ShapeMatch.Reading {
        switch type {
        case .name:
            guard Self.isSegment(Substring(word)), word.utf8.count <= Limits.nameBytesMax else {
                return .refused(badName(word, "a name", example: "order_history"))
            }
            return .value(.name(word))
        case .topicName:
            let name = word.hasPrefix("$") ? word.dropFirst() : Substring(word)
            guard Self.segments(name).allSatisfy(Self.isSegment), word.utf8.count <= Limits.nameBytesMax else {
                return .refused(badName(word, "a topic's name", example: "orders.eu"))
            }
            return .value(.name(word))
        case .topicPattern:
            let name = word.hasPrefix("$") ? word.dropFirst() : Substring(word)
            let segments = Self.segments(name)
            let isPattern = !word.hasPrefix("$")
            for (index, segment) in segments.enumerated() {
                if Self.isSegment(segment) || segment == "*" && isPattern { continue }
                if segment == "**", isPattern, index == segments.count - 1 { continue }
                return .refused(badName(word, "a topic", example: "orders, orders.* or **"))
            }
            return .value(.name(word))
        case .environmentName:
            guard let first = word.utf8.first, !(first >= 0x30 && first <= 0x39),
                word.utf8.allSatisfy({
                    $0 == 0x5F || ($0 | 0x20) >= 0x61 && ($0 | 0x20) <= 0x7A || $0 >= 0x30 && $0 <= 0x39
                })
            else { return .refused(badName(word, "a variable's name", example: "SLACK_CHANNEL")) }
            return .value(.name(word))
        default:
            do {
                let (path, end) = try FilterParser.path(source.bytes, from: range.lowerBound)
                guard end == range.upperBound else {
                    return .refused(
                        .bad(.wrongArgument, "`\(word)` is no path", hint: "write a path such as data.order_id"))
                }
                switch path {
                case .attribute(let name): return .value(.keyPath(.attribute(name)))
                case .data(let path) where path.hasEvery:
                    return .refused(
                        .bad(.wrongArgument, "a key is one value, and `[*]` has many", hint: "name one element: [0]"))
                case .data(let path): return .value(.keyPath(.data(path)))
                case .topic, .received:
                    return .refused(
                        .bad(.wrongArgument, "`\(word)` can't be a key", hint: "write an attribute or data.…"))
                }
            } catch {
                return .refused(.bad(.wrongArgument, error.message, hint: error.hint))
            }
        }
    }

    private func badName(_ word: String, _ what: String, example: String) -> ShapeMatch.Refusal {
        let lower = word.lowercased()
        let hint =
            lower != word && Self.segments(Substring(lower)).allSatisfy(Self.isSegment)
            ? "write \(lower)" : "lower-case letters, digits, `_` and `-`, for instance \(example)"
        return .bad(.badName, "`\(Self.shortened(word))` can't be \(what)", hint: hint)
    }

    static func segments(_ name: Substring) -> [Substring] {
        name.split(separator: ".", omittingEmptySubsequences: false)
    }

    static func isSegment(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, first != UInt8(ascii: "-") else { return false }
        return text.utf8.allSatisfy {
            $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z") || $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")
                || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-")
        }
    }

    // MARK: words and texts

    private func readWord(_ word: String, as type: ArgumentType) -> ShapeMatch.Reading {
        switch type {
        case .duration:
            return quantity(Quantity.duration(word), word, "duration", unit: ("s", "seconds"), ("ms", "milliseconds")) {
                .duration($0)
            }
        case .size:
            return quantity(Quantity.size(word), word, "size", unit: ("MiB", "mebibytes"), ("B", "bytes")) { .size($0) }
        case .rate:
            return quantity(Quantity.rate(word), word, "rate", unit: ("/s", "per second"), ("/m", "per minute")) {
                .rate($0)
            }
        case .percent:
            return quantity(Quantity.percent(word), word, "percentage", unit: ("%", "per cent"), nil) { .percent($0) }
        case .integer(let range):
            guard word.first?.isNumber == true || word.hasPrefix("-") else { return .refused(.otherType) }
            let digits = word.hasPrefix("-") ? String(word.dropFirst()) : word
            guard let magnitude = Quantity.whole(digits) else {
                return .refused(
                    .bad(
                        .wrongArgument, "`\(Self.shortened(word))` is not a whole number",
                        hint: "write a number without a unit"))
            }
            let value = word.hasPrefix("-") ? -magnitude : magnitude
            guard range.contains(value) else {
                let bound =
                    range.upperBound == .max
                    ? "at least \(range.lowerBound)" : "from \(range.lowerBound) to \(range.upperBound)"
                return .refused(.bad(.outOfRange, "\(value) is out of range", hint: "write a number \(bound)"))
            }
            return .value(.integer(value))
        case .address: return readAddress(word)
        case .value: return setting(word)
        case .secret:
            return .refused(
                .bad(.wrongArgument, "a secret never stands in the file", hint: #"write secret("NAME") or env("NAME")"#)
            )
        case .string, .text, .url, .time:
            return .refused(
                Quantity.whole(word) == nil && !word.contains { "/.@".contains($0) }
                    ? .otherType
                    : .bad(
                        .wrongArgument, "expected \(type.name), found `\(Self.shortened(word))`",
                        hint: "put it in quotes: \"\(Self.shortened(word))\""))
        default: return .refused(.otherType)
        }
    }

    /// A text in quotes, or what a variable holds.
    private func readText(_ text: String, as type: ArgumentType, isQuoted: Bool) -> ShapeMatch.Reading {
        switch type {
        case .string, .text: return .value(.string(text))
        case .url:
            guard text.hasPrefix("http://") || text.hasPrefix("https://"), !text.contains(" "),
                text.split(separator: "/").count > 1
            else {
                return .refused(
                    .bad(.wrongArgument, "\"\(Self.shortened(text))\" is no URL", hint: "write \"https://host/path\""))
            }
            guard !text.split(separator: "/", omittingEmptySubsequences: false)[2].contains("@") else {
                return .refused(
                    .bad(
                        .wrongArgument, "a URL can't hold a user's name or password",
                        hint: #"send them as: header "authorization" secret("NAME")"#))
            }
            return .value(.string(text))
        case .time:
            guard Instant.microseconds(text) != nil else {
                return .refused(
                    .bad(
                        .wrongArgument, "\"\(Self.shortened(text))\" is no time", hint: #"write "2026-03-09T14:05:00Z""#
                    ))
            }
            return .value(.string(text))
        case .address: return readAddress(text)
        case .value: return .value(.setting(.string(text)))
        case .secret:
            return isQuoted
                ? .refused(
                    .bad(
                        .wrongArgument, "a secret never stands in the file",
                        hint: #"write secret("NAME") or env("NAME")"#))
                : .value(.secret(Secret(name: "", value: text)))
        default:
            // A variable's text is read as what is expected; a quoted number is a mistake with a simple way out.
            let reading = readWord(text, as: type)
            guard isQuoted else { return reading }
            if case .value = reading {
                return .refused(
                    .bad(.wrongArgument, "expected \(type.name), found a text in quotes", hint: "write \(text)"))
            }
            return .refused(.otherType)
        }
    }

    private func quantity<Value>(
        _ reading: Quantity.Reading<Value>, _ word: String, _ what: String, unit: (String, String),
        _ other: (String, String)?,
        _ bound: (Value) -> Bound
    ) -> ShapeMatch.Reading {
        switch reading {
        case .value(let value): return .value(bound(value))
        case .noUnit:
            let second = other.map { " or \(word)\($0.0) (\($0.1))" } ?? ""
            return .refused(
                .bad(.unitMissing, "a \(what) needs a unit", hint: "write \(word)\(unit.0) (\(unit.1))\(second)"))
        case .tooLarge:
            return .refused(.bad(.outOfRange, "\(Self.shortened(word)) is too large for a \(what)", hint: nil))
        case .unknownUnit(let given):
            let units =
                switch what {
                case "duration": "ms, s, m, h, d"
                case "size": "B, KB, MB, GB, TB (1000), KiB, MiB, GiB, TiB (1024)"
                case "rate": "/s, /m, /h, /d"
                default: "%"
                }
            // `5GB` where a duration is expected may fit another choice.
            if what == "duration", case .value = Quantity.size(word) { return .refused(.otherType) }
            if what == "duration", given != ".", case .unknownUnit(".") = Quantity.size(word) {
                return .refused(.otherType)
            }
            if what == "size", case .value = Quantity.duration(word) { return .refused(.otherType) }
            let message =
                given == "."
                ? "a \(what) is a whole number of units" : "unknown unit \"\(Self.shortened(given))\" of a \(what)"
            return .refused(.bad(.unitMissing, message, hint: "units: \(units)"))
        case .notNumeric: return .refused(.otherType)
        }
    }

    private func readAddress(_ word: String) -> ShapeMatch.Reading {
        guard let colon = word.lastIndex(of: ":") else {
            return .refused(
                .bad(
                    .wrongArgument, "`\(Self.shortened(word))` has no port",
                    hint: "write host:port, for instance 127.0.0.1:8080"))
        }
        var host = String(word[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        guard let port = Quantity.whole(word[word.index(after: colon)...]), port <= 65_535, !host.isEmpty,
            !host.contains("/")
        else {
            return .refused(
                .bad(
                    .wrongArgument, "`\(Self.shortened(word))` is no address",
                    hint: "write host:port, for instance 127.0.0.1:8080"))
        }
        return .value(.address(host, port))
    }

    /// A bare word among a plugin's settings.
    private func setting(_ word: String) -> ShapeMatch.Reading {
        if word == "true" || word == "false" { return .value(.setting(.boolean(word == "true"))) }
        let isNegative = word.hasPrefix("-")
        let digits = isNegative ? String(word.dropFirst()) : word
        guard digits.first?.isASCII == true, digits.first?.isNumber == true else {
            return .value(.setting(.name(word)))
        }
        let plain = digits.filter { $0 != "_" }
        if let value = Int64((isNegative ? "-" : "") + plain) { return .value(.setting(.integer(value))) }
        if plain.contains("."), let value = Double(plain), value.isFinite {
            return .value(.setting(.number(isNegative ? -value : value)))
        }
        if !isNegative {
            if case .value(let value) = Quantity.duration(word) { return .value(.setting(.duration(value))) }
            if case .value(let value) = Quantity.size(word) { return .value(.setting(.size(value))) }
            if case .value(let value) = Quantity.rate(word) { return .value(.setting(.rate(value))) }
            if case .value(let value) = Quantity.percent(word) { return .value(.setting(.percent(value))) }
        }
        return .refused(
            .bad(
                .wrongArgument, "`\(Self.shortened(word))` is no number with a known unit",
                hint: "put text in quotes: \"\(Self.shortened(word))\""))
    }

    // MARK: env, secret, file

    private func readCall(
        _ name: String, _ arguments: [Argument], _ range: Range<Int>, as type: ArgumentType, in source: SourceText
    ) -> ShapeMatch.Reading {
        let functions = ["env", "secret", "file"]
        guard functions.contains(name) else {
            let hint =
                Suggestion.nearest(to: name, in: functions).map { "did you mean \($0)(…)?" }
                ?? "there are env, secret and file"
            return .refused(.bad(.unknownFunction, "unknown function `\(Self.shortened(name))`", hint: hint))
        }
        guard case .string(let subject)? = arguments.first?.value, !subject.isEmpty,
            arguments.count == 1 || name == "env" && arguments.count == 2
        else {
            let usage =
                name == "env"
                ? #"env("NAME") or env("NAME", default)"# : name == "secret" ? #"secret("NAME")"# : #"file("path")"#
            return .refused(.bad(.wrongArgument, "`\(name)` needs a name in quotes", hint: "write \(usage)"))
        }
        let use = "\(source.path):\(range.lowerBound)"
        switch name {
        case "env":
            if let text = sources.environment(subject) {
                if type == .secret { return .value(.secret(Secret(name: subject, value: text))) }
                return fitting(
                    readText(text, as: type, isQuoted: false), "the variable \(subject)", type,
                    "env(\(JSONText.quoted(subject)))")
            }
            if arguments.count == 2 { return read(arguments[1], as: type, in: source) }
            missing(
                .environmentMissing, "the variable \(subject) is not set",
                hint: "set it in the server's environment, or write env(\"\(subject)\", default)", range, source, use)
            return .value(standIn(for: type))
        case "secret":
            guard type == .secret || type == .value else {
                return .refused(.bad(.wrongArgument, "a secret can't stand here", hint: "expected \(type.name)"))
            }
            var value = ""
            do {
                if let found = try sources.secret(subject) {
                    value = found
                } else {
                    missing(
                        .secretMissing, "the secret \(subject) is missing",
                        hint: "put it into the file $CREDENTIALS_DIRECTORY/\(subject), or set the variable \(subject)",
                        range,
                        source, use)
                }
            } catch {
                missing(
                    .secretMissing, "the secret \(subject) can't be read: \(error)",
                    hint: "look at the file's permissions",
                    range, source, use)
            }
            let secret = Secret(name: subject, value: value)
            return .value(type == .secret ? .secret(secret) : .setting(.secret(secret)))
        default:
            let path = RelativePath.join(subject, toFolderOf: source.path)
            do {
                let bytes = try sources.bytes(of: path)
                guard bytes.count <= Limits.eventBytesMax, let text = String(validating: bytes, as: UTF8.self) else {
                    return .refused(
                        .bad(
                            .fileMissing, "\(path) is no UTF-8 text of at most \(Limits.eventBytesMax) bytes", hint: nil
                        ))
                }
                // A file ends in a line break that is no part of its secret or number.
                let value = type == .text || type == .string || type == .value ? text : Self.withoutLineBreak(text)
                return fitting(
                    readText(value, as: type, isQuoted: false), "the file \(path)", type,
                    "file(\(JSONText.quoted(subject)))")
            } catch {
                return .refused(
                    .bad(
                        .fileMissing, "can't read \(path): \(error)", hint: "the path is relative to this file's folder"
                    ))
            }
        }
    }

    /// The variable or the file that a value comes from, through `let` as well; nil where it stands in the configuration.
    func origin(of argument: Argument) -> String? {
        switch argument.value {
        case .call(_, let arguments):
            if case .string(let subject)? = arguments.first?.value { subject } else { nil }
        case .word(let word): lets[word].flatMap { origin(of: $0.argument) }
        case .string, .list: nil
        }
    }

    private static func withoutLineBreak(_ text: String) -> String {
        text.last?.isNewline == true ? String(text.dropLast()) : text
    }

    /// What was read from outside may be a secret: it is never repeated, here or later.
    private func fitting(
        _ reading: ShapeMatch.Reading, _ origin: String, _ type: ArgumentType, _ call: String
    ) -> ShapeMatch.Reading {
        switch reading {
        case .value(.setting(let value)): return .value(.setting(.read(call, value)))
        case .value: return reading
        case .refused(let refusal):
            var code = DiagnosticCode.wrongArgument
            if case .bad(let precise, _, _) = refusal { code = precise }
            return .refused(.bad(code, "\(origin) does not hold \(type.name)", hint: nil))
        }
    }

    private func missing(
        _ code: DiagnosticCode, _ message: String, hint: String, _ range: Range<Int>, _ source: SourceText,
        _ use: String
    ) {
        guard reported.insert(use).inserted else { return }
        diagnostics.add(Diagnostic(isStrict ? .error : .warning, code, message, hint: hint, in: source, range))
    }

    /// What stands for a value that could not be read, so that the rest can still be checked.
    private func standIn(for type: ArgumentType) -> Bound {
        switch type {
        case .duration: .duration(.seconds(1))
        case .size: .size(1 << 20)
        case .rate: .rate(Rate(count: 1, per: .seconds(1)))
        case .percent: .percent(0)
        case .integer(let range): .integer(range.lowerBound)
        case .secret: .secret(Secret(name: "", value: ""))
        case .address: .address("127.0.0.1", 0)
        case .value: .setting(.string(""))
        case .time: .string("1970-01-01T00:00:00Z")
        default: .string("")
        }
    }
}
