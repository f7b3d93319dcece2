// SPDX-License-Identifier: Apache-2.0

package import Events

/// What an attempt kept of the HTTP answer that it failed at: its reason says which request it was, and the status with the
/// beginning of the body, or that there was no answer. Of answers that nothing failed at nothing is kept.
package struct RecordedAnswer: Hashable, Sendable {
    package var method: String
    /// `https://hooks.slack.com`; the rest of a URL may be a secret, and is in no reason.
    package var origin: String
    package var ending: Ending

    package enum Ending: Hashable, Sendable {
        case status(Int, body: String)
        case noAnswer
        case noConnection(String)
    }

    /// nil where the attempt didn't fail at a request of `ctx.http`.
    package init?(reason: String) {
        let pattern = #/(?<method>[A-Z]+) (?<origin>https?:\/\/[^\s\/]+): (?<rest>.*)/#.dotMatchesNewlines()
        guard let match = reason.firstMatch(of: pattern) else { return nil }
        method = String(match.method)
        origin = String(match.origin)
        let rest = match.rest
        if rest.hasPrefix("no answer within ") {
            ending = .noAnswer
        } else if rest.hasPrefix("no connection: ") {
            ending = .noConnection(String(rest.dropFirst("no connection: ".count)))
        } else if let status = Int(rest.prefix(3)), (100...599).contains(status),
            rest.dropFirst(3).isEmpty || rest.dropFirst(3).hasPrefix(": ")
        {
            ending = .status(status, body: String(rest.dropFirst(5)))
        } else {
            return nil
        }
    }

    /// The answer, where it is one to such a request.
    package func answer(to request: OutboundRequest) -> Result<OutboundResponse, OutboundFailure>? {
        guard request.method == method, URLParts(request.url)?.origin == origin else { return nil }
        switch ending {
        case .status(let status, let body):
            return .success(OutboundResponse(status: status, headers: [], body: Array(body.utf8)))
        case .noAnswer: return .failure(.timeout)
        case .noConnection(let why): return .failure(.connection(why))
        }
    }
}
