// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering

/// Turns statements into a ``RouteTable``: checks them against the schema, evaluates values, and makes sure that every
/// name refers to something.
///
/// Used once, by one thread.
final class Resolver {
    let sources: any RouteSources
    let isStrict: Bool
    var diagnostics: Diagnostics
    var table = RouteTable()

    struct Declared {
        var source: SourceText
        var range: Range<Int>
        var place: Place { source.place(of: range.lowerBound) }

        func related(_ message: String) -> [Diagnostic.Related] {
            [Diagnostic.Related(message, in: source, range)]
        }
    }

    /// A named retry policy, and where its lines stand, by keyword.
    struct Policy {
        var policy: RetryPolicy
        var at: Declared
        var places: [String: Place]
    }

    var lets: [String: (argument: Argument, at: Declared)] = [:]
    var topicNames: [String: Declared?] = [:]
    var policies: [String: Policy] = [:]
    var subscriberNames: [String: Declared] = [:]
    var tokenNames: [String: Declared] = [:]
    /// Which token a secret's value is of.
    var tokenSecrets: [String: String] = [:]
    /// By name, where in the table a subscriber is.
    var subscriberIndex: [String: Int] = [:]
    lazy var topicIndex = TopicIndex(topicNames.keys.sorted())
    /// Values already reported as missing, so that one use is reported once.
    var reported: Set<String> = []
    /// The `let`s whose value has been reported as bad.
    var brokenLets: Set<String> = []
    /// The `let`s being looked up now.
    var openLets: Set<String> = []

    init(_ sources: any RouteSources, isStrict: Bool, _ diagnostics: Diagnostics) {
        self.sources = sources
        self.isStrict = isStrict
        self.diagnostics = diagnostics
    }

    static let systemTopics = ["$dead", "$config", "$alert"]

    func resolve(_ statements: [Statement]) -> RouteTable {
        collectLets(statements)
        let checked = check(statements, in: .top)
        // Names first, so that anything may refer to what stands further down.
        for name in Self.systemTopics { topicNames.updateValue(nil, forKey: name) }
        for entry in checked where entry.keyword.name == "topic" && !diagnostics.isFull { declareTopic(entry) }
        for entry in checked where entry.keyword.name == "retry" && !diagnostics.isFull { declarePolicy(entry) }
        for entry in checked where entry.keyword.name == "subscriber" && !diagnostics.isFull {
            declareSubscriber(entry)
        }
        for entry in checked where !diagnostics.isFull {
            switch entry.keyword.name {
            case "listen":
                if case .address(let host, let port) = entry.values[0].value {
                    table.server.host = host
                    table.server.port = port
                }
            case "data": table.server.data = entry.string(0)
            case "plugins": table.server.plugins = entry.string(0)
            case "insecure": table.server.insecure = entry.string(0) == "yes"
            case "tls": resolveTLS(entry)
            case "event": resolveEvent(entry)
            case "keep": resolveKeep(entry)
            case "mail": resolveMail(entry)
            case "topic": resolveTopic(entry)
            case "subscriber": resolveSubscriber(entry)
            case "test": resolveTest(entry)
            default: break
            }
        }
        // After the subscribers, whose names they refer to.
        for entry in checked where entry.keyword.name == "token" && !diagnostics.isFull { resolveToken(entry) }
        if !statements.contains(where: { $0.keyword == "token" }) { refuseOpenListening(checked) }
        for name in Self.systemTopics where !table.topics.contains(where: { $0.name == name }) {
            var topic = TopicRoute(name: name)
            topic.retainAge = Self.systemTopicRetention
            table.topics.append(topic)
        }
        if !diagnostics.hasErrors { lint(checked) }
        return table
    }

    /// What system topics keep where routes.conf doesn't say: long enough to look into it after a holiday.
    static let systemTopicRetention: Duration = .seconds(30 * 86_400)

    // MARK: checking against the schema

    struct Checked {
        var statement: Statement
        var keyword: Keyword
        var values: [PlacedBound]

        func string(_ index: Int) -> String {
            switch values[index].value {
            case .string(let text), .name(let text), .word(let text): text
            default: ""
            }
        }
    }

    /// The statements that are right in themselves; the others have been reported.
    func check(_ statements: [Statement], in context: BlockKind) -> [Checked] {
        var first: [String: Statement] = [:]
        var result: [Checked] = []
        for statement in statements where !diagnostics.isFull {
            guard let keyword = Schema.keyword(statement.keyword, in: context) else {
                reportUnknown(statement, in: context)
                continue
            }
            let name = keyword.hasForms ? statement.form : keyword.name
            if !keyword.isRepeatable, let first = first[name] {
                diagnostics.error(
                    .repeated, "`\(name)` stands twice here",
                    hint: "remove one (the first is at \(first.place))", related: first.related("the first"),
                    in: statement.source, statement.range)
                continue
            }
            if !keyword.isRepeatable { first[name] = statement }
            if keyword.takesFilter {
                if statement.filter != nil {
                    result.append(Checked(statement: statement, keyword: keyword, values: []))
                }
                continue
            }
            guard let values = match(statement, keyword) else { continue }
            if let block = statement.block, keyword.block == nil {
                diagnostics.error(
                    .blockUnexpected, "`\(keyword.name)` takes no block", hint: "write: \(usage(keyword))",
                    in: statement.source, block.open)
                continue
            }
            if statement.block == nil, keyword.needsBlock, !statement.isDamaged {
                diagnostics.error(
                    .blockMissing, "`\(keyword.name)` needs a block", hint: "write: \(usage(keyword))",
                    in: statement.source, statement.range)
                continue
            }
            result.append(Checked(statement: statement, keyword: keyword, values: values))
        }
        return result
    }

    func usage(_ keyword: Keyword) -> String {
        let arguments =
            keyword.takesFilter ? "FILTER" : keyword.name == "let" ? "NAME = VALUE" : keyword.shape.text
        let block = keyword.block == nil ? "" : keyword.needsBlock ? " { … }" : " [{ … }]"
        return keyword.name + (arguments.isEmpty ? "" : " \(arguments)") + block
    }

    private func reportUnknown(_ statement: Statement, in context: BlockKind) {
        let name = statement.keyword
        let here = Schema.keywords(in: context).map(\.name)
        if let elsewhere = Schema.contexts[name] {
            diagnostics.error(
                .misplaced, "`\(name)` does not belong in \(context.name)",
                hint: "it belongs in \(elsewhere.map(\.name).joined(separator: " or "))", in: statement.source,
                statement.range)
            return
        }
        let hint =
            if let nearest = Suggestion.nearest(to: name, in: here) {
                "did you mean \"\(nearest)\"?"
            } else if context == .unknown || here.isEmpty {
                "nothing is expected here"
            } else {
                "expected \(Self.listed(here))"
            }
        diagnostics.error(
            .unknownKeyword, "unknown keyword \"\(Self.shortened(name))\" in \(context.name)", hint: hint,
            in: statement.source, statement.range)
    }

    private func match(_ statement: Statement, _ keyword: Keyword) -> [PlacedBound]? {
        var match = ShapeMatch(statement.arguments) { argument, type in
            self.read(argument, as: type, in: statement.source)
        }
        let next = match.match(keyword.shape, 0)
        if let next, next == statement.arguments.count { return match.bound }
        if case .reported = match.refusal {
            if keyword.name == "let", case .word(let name)? = statement.arguments.first?.value {
                brokenLets.insert(name)
            }
            return nil
        }
        if keyword.name == "let", case .word(let name)? = statement.arguments.first?.value { brokenLets.insert(name) }
        if statement.isDamaged, match.furthest >= statement.arguments.count { return nil }
        let source = statement.source
        let at = next.map { max($0, match.furthest) } ?? match.furthest
        if case .bad(let code, let message, let hint) = match.refusal {
            diagnostics.error(code, message, hint: hint, in: source, statement.arguments[match.furthest].range)
        } else if at >= statement.arguments.count {
            diagnostics.error(
                .missingArgument, "`\(keyword.name)` needs \(Self.alternatives(match.expected))",
                hint: "write: \(usage(keyword))", in: source, statement.range)
        } else if next != nil, match.furthest < at || match.expected.isEmpty {
            let shown = shown(statement.arguments[at])
            diagnostics.error(
                .tooManyArguments, "`\(keyword.name)` takes no \(shown) here", hint: "write: \(usage(keyword))",
                in: source,
                statement.arguments[at].range)
        } else {
            diagnostics.error(
                .wrongArgument,
                "expected \(Self.alternatives(match.expected)), found \(shown(statement.arguments[at]))",
                hint: "write: \(usage(keyword))", in: source, statement.arguments[at].range)
        }
        return nil
    }

    /// An argument as a message names it.
    func shown(_ argument: Argument) -> String {
        switch argument.value {
        case .word(let word): "`\(Self.shortened(word))`"
        case .string: "a text in quotes"
        case .call(let name, _): "\(name)(…)"
        case .list: "a list"
        }
    }

    static func shortened(_ text: String) -> String {
        text.count > 60 ? text.prefix(60) + "…" : text
    }

    static func alternatives(_ names: [String]) -> String {
        names.count < 2 ? names.first ?? "nothing" : names.dropLast().joined(separator: ", ") + " or " + names.last!
    }

    static func listed(_ names: [String]) -> String {
        names.map { "`\($0)`" }.joined(separator: ", ")
    }
}
