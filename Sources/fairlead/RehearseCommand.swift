// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Events
import Foundation
import Glibc
import Journal
import Ledger
import Routes
import Scripting

struct Rehearse: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Run a changed configuration over past events, with every effect captured, and show what would differ.",
        discussion: """
            Reads the data folder beside the running server, or without one, and changes nothing. What changed since the \
            running generation is run twice over the retained events: as that generation has it (its files are in the \
            ledger), and as the files here have it; with the same state, the same time, the same answers. Requests, mail, \
            publications, files and state writes go nowhere; the difference between the two is the report.

            --http 'POST hooks.slack.com 429' says how requests are answered: METHOD, HOST or the beginning of a URL, \
            STATUS (or timeout, or refused), BODY. The first that fits counts; else 200 {}. Where a delivery failed at a \
            request, the answer is as recorded.

            --since and --until take how long ago (7d) or a time (2026-03-09T14:05:00Z). --fail-on takes changed, matches, \
            outcomes, effects, errors (more or other failures than before), cpu (more events that the host stops), never.

            Exit code 0: no difference that --fail-on names. 1: there is one. 2: the configuration is refused, or there is \
            nothing to compare with.
            """)

    @Option(help: "The candidate.") var config = "routes.conf"
    @Option(help: "The data folder. Default: what the candidate says.") var data: String?
    @Option(help: "Events from then on.") var since = "7d"
    @Option(help: "Events up to then. Default: the end.") var until: String?
    @Option(help: "Of each topic the newest so many events.") var limit = 10_000
    @Option(help: "Only one event in so many.") var sample = 1
    @Option(help: "Only this subscriber, changed or not. May be given several times.") var subscriber: [String] = []
    @Option(help: "The generation to compare with. Default: the newest.") var against: Int?
    @Option(help: "What both sides' state begins with: now (a copy of what is kept) or empty.") var state = Start.now
    @Option(help: ArgumentHelp("How requests are answered.", valueName: "rule")) var http: [String] = []
    @Option(help: "A file with such rules, one a line; lines with # say nothing.") var httpFile: String?
    @Option(help: ArgumentHelp("What to fail on.", valueName: "kinds")) var failOn = "changed"
    @Flag(help: "Print the report as JSON.") var json = false

    enum Start: String, ExpressibleByArgument, CaseIterable {
        case now, empty
    }

    func validate() throws {
        guard limit > 0 else { throw ValidationError("--limit is a number above 0") }
        guard sample > 0 else { throw ValidationError("--sample is a number above 0") }
        _ = try kinds()
    }

    private func kinds() throws -> Set<RehearsalReport.Policy.Kind> {
        Set(
            try failOn.split(separator: ",").map { word in
                guard let kind = RehearsalReport.Policy.Kind(rawValue: String(word)) else {
                    let all = RehearsalReport.Policy.Kind.allCases.map(\.rawValue).joined(separator: ", ")
                    throw ValidationError("--fail-on \(word): there are \(all)")
                }
                return kind
            })
    }

    func run() async throws {
        do {
            try await rehearse()
        } catch let refusal as Rehearsal.Refusal {
            for diagnostic in refusal.diagnostics { Console.complain(diagnostic) }
            Console.complain("\(config): refused")
            throw ExitCode.refused
        } catch let failure as Failure {
            Console.complain(failure.message)
            throw ExitCode.refused
        } catch let error as StorageError {
            Console.complain("the journal can't be read: \(error)")
            throw ExitCode.failure
        }
    }

    private func rehearse() async throws {
        var options = Rehearsal.Options()
        let now = SystemClock().now()
        options.window.since = try Self.moment(since, "--since", now)
        if let until { options.window.until = try Self.moment(until, "--until", now) }
        options.window.limit = limit
        options.every = sample
        options.startsEmpty = state == .empty
        options.subscribers = subscriber
        options.stubs = try stubs()

        let (candidate, findings) = RehearsedGeneration.candidate(config)
        for finding in findings { Console.complain(finding.description) }
        guard let candidate else { throw Rehearsal.Refusal(diagnostics: []) }
        let folder = data ?? GenerationBuilder.path(candidate.table.server.data, besides: config)
        guard FileManager.default.fileExists(atPath: folder + "/ledger.db") else {
            throw Failure(
                .notFound,
                "there is no ledger in \(folder): a server that has run leaves one; name its data folder with --data")
        }
        let ledger = try LedgerReader(path: folder + "/ledger.db")
        guard let generation = try ledger.generation(against) else {
            throw Failure(
                .notFound,
                against.map { "there is no generation \($0); `fairlead generations` lists them" }
                    ?? "the ledger in \(folder) knows of no generation yet: start the server once")
        }
        let baseline = try RehearsedGeneration.stored(generation, ledger)
        try checkNames(candidate, baseline)

        let rehearsal = Rehearsal(
            of: candidate, after: baseline, ledger, JournalReader(folder: folder + "/journal"), options)
        let result = try await rehearsal.run { done, total in
            Console.progress(done, of: total, "\(done) of \(total) events")
        }
        Console.progress(nil)
        try ledger.close()
        var report = RehearsalReport(
            result: result, candidate: config, baseline: baseline.name, window: window, startsEmpty: state == .empty)
        report.policy.kinds = try kinds()
        report.width = Self.columns
        Console.say(json ? try report.json() : report.text)
        if !report.reasonsToFail.isEmpty { throw ExitCode.failure }
    }

    /// What was looked at, as a sentence goes on after "of".
    private var window: String {
        func shown(_ point: String) -> String { DurationText.parse(point) == nil ? point : "\(point) ago" }
        var text =
            until.map { "\(shown(since)) to \(shown($0))" }
            ?? (DurationText.parse(since) == nil ? "what came since \(since)" : "the last \(since)")
        if sample > 1 { text += ", one in \(sample)" }
        return text
    }

    /// A line longer than 120 columns is hard to follow, and below 80 nothing fits.
    private static var columns: Int {
        guard let columns = Terminal.columns(of: STDOUT_FILENO) else { return 100 }
        return min(120, max(80, columns))
    }

    private func stubs() throws -> HTTPStubs {
        var stubs = HTTPStubs()
        for rule in http { try stubs.add(rule) }
        guard let httpFile else { return stubs }
        guard let bytes = FileManager.default.contents(atPath: httpFile) else {
            throw Failure(.notFound, "can't read \(httpFile)")
        }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let rule = line.trimmingCharacters(in: .whitespaces)
            if !rule.isEmpty, !rule.hasPrefix("#") { try stubs.add(rule) }
        }
        return stubs
    }

    private func checkNames(_ candidate: RehearsedGeneration, _ baseline: RehearsedGeneration) throws {
        let known = Set(candidate.table.subscribers.map(\.name) + baseline.table.subscribers.map(\.name))
        for name in subscriber where !known.contains(name) {
            throw Failure(
                .unknownSubscriber,
                "there is no subscriber \"\(name)\" in \(config) nor in \(baseline.name); there are "
                    + known.sorted().joined(separator: ", "))
        }
    }

    private static func moment(_ text: String, _ option: String, _ now: Timestamp) throws -> Timestamp {
        if let ago = DurationText.parse(text) { return now - ago }
        if let time = RFC3339.parse(text.utf8) { return time }
        if let day = RFC3339.parse("\(text)T00:00:00Z".utf8) { return day }
        throw Failure(
            .malformed,
            "\(option) \(text): write how long ago (7d, 12h), a time (2026-03-09T14:05:00Z) or a day (2026-03-09)")
    }
}
