// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation

/// How HTTP requests of a rehearsal are answered: `POST hooks.slack.com 200 {"ok":true}`, one rule a line, the first that fits.
struct HTTPStubs: Sendable {
    private(set) var rules: [Rule] = []

    struct Rule: Sendable {
        /// nil fits every method.
        var method: String?
        /// A host with or without its port, or the beginning of a URL without its scheme; `*` fits every request.
        var place: String
        var answer: Result<OutboundResponse, OutboundFailure>
        var text: String
    }

    /// Adds a rule as `--http` has it.
    mutating func add(_ text: String) throws(Failure) {
        let words = text.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: true).map(String.init)
        func refuse(_ why: String) -> Failure {
            Failure(
                .malformed,
                "--http \(text): \(why); write METHOD HOST STATUS [BODY], as in 'POST hooks.slack.com 429', with * for any "
                    + "method or host, and timeout or refused in place of a status")
        }
        guard words.count >= 3 else { throw refuse("it has \(words.count) words") }
        let method = words[0].uppercased()
        guard method == "*" || method.utf8.allSatisfy({ (0x41...0x5A).contains($0) }) else {
            throw refuse("\"\(words[0])\" is no method")
        }
        let answer: Result<OutboundResponse, OutboundFailure>
        switch words[2] {
        case "timeout": answer = .failure(.timeout)
        case "refused": answer = .failure(.connection("refused, as --http says"))
        default:
            guard let status = Int(words[2]), (100...599).contains(status) else {
                throw refuse("\"\(words[2])\" is no status of 100 to 599")
            }
            let body = words.count > 3 ? Array(words[3].utf8) : []
            answer = .success(OutboundResponse(status: status, headers: [], body: body))
        }
        var place = words[1].lowercased()
        for scheme in ["https://", "http://"] where place.hasPrefix(scheme) { place.removeFirst(scheme.count) }
        rules.append(Rule(method: method == "*" ? nil : method, place: place, answer: answer, text: text))
    }

    /// Where no rule fits: a success without content.
    static let standard: Result<OutboundResponse, OutboundFailure> = .success(
        OutboundResponse(
            status: 200, headers: [(name: "content-type", value: "application/json")], body: Array("{}".utf8)))

    func answer(to request: OutboundRequest) -> Result<OutboundResponse, OutboundFailure> {
        let place = request.url.split(separator: "://", maxSplits: 1).last.map { $0.lowercased() } ?? ""
        let rule = rules.first { rule in
            guard rule.method == nil || rule.method == request.method else { return false }
            guard rule.place != "*", place.hasPrefix(rule.place) else { return rule.place == "*" }
            // A host is meant whole: `example.com` is not the beginning of `example.com.evil`.
            let next = place.dropFirst(rule.place.count).first
            return rule.place.contains("/") || next == nil || [":", "/", "?", "#"].contains(next)
        }
        return rule?.answer ?? Self.standard
    }
}
