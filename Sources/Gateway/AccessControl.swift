// SPDX-License-Identifier: Apache-2.0

import Crypto
import Events
import Foundation
import HTTPTypes
package import Routes
import Synchronization

/// Who may do what: the tokens of the running generation. Without any, everybody may do everything; routes.conf then
/// listens on loopback only, unless it insists.
///
/// A token comes as `Authorization: Bearer …` (RFC 6750). Only digests are kept and compared, all of them each time, so
/// that how long a refusal takes says nothing about the tokens.
package final class AccessControl: Sendable {
    /// What a request needs.
    enum Need: Sendable {
        /// For probes, which carry no token.
        case nothing
        /// Publishing to the topic that the path names.
        case publish
        /// Pulling for the subscriber that the path names.
        case pull
        case read
        case admin
    }

    private struct Token: Sendable {
        var digest: SHA256.Digest
        var route: TokenRoute
    }

    private let tokens = Mutex<[Token]>([])

    package init() {}

    /// Takes the tokens of a new generation; requests that begin from now on go by them.
    package func use(_ routes: [TokenRoute]) {
        let new = routes.map { Token(digest: SHA256.hash(data: Data($0.secret.value.utf8)), route: $0) }
        tokens.withLock { $0 = new }
    }

    /// Whether everybody may do everything.
    var isOpen: Bool { tokens.withLock { $0.isEmpty } }

    /// - Parameter name: the topic or subscriber that the path names, if it names one.
    /// - Throws: 401 without a known token, 403 with one that may not do this.
    func check(_ authorization: String?, _ need: Need, _ name: String?) throws(Problem) {
        if case .nothing = need { return }
        let tokens = tokens.withLock { $0 }
        guard !tokens.isEmpty else { return }
        guard let authorization else {
            throw Self.unauthorized("send a token that routes.conf knows: Authorization: Bearer TOKEN")
        }
        let parts = authorization.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else {
            throw Self.unauthorized("the Authorization header must be: Bearer TOKEN")
        }
        let digest = SHA256.hash(data: Data(parts[1].drop { $0 == " " }.utf8))
        var found: TokenRoute?
        for token in tokens where token.digest == digest { found = token.route }
        guard let token = found else { throw Self.unauthorized("no token of routes.conf is the one that was sent") }
        guard token.allows(need, name) else {
            throw Problem(
                .forbidden, type: "forbidden", title: "Forbidden",
                detail: "token \"\(token.name)\" may not \(need.words(name)); routes.conf says what it may")
        }
    }

    private static func unauthorized(_ detail: String) -> Problem {
        var problem = Problem(.unauthorized, type: "unauthorized", title: "Unauthorized", detail: detail)
        problem.headers[.wwwAuthenticate] = "Bearer"
        return problem
    }
}

extension TokenRoute {
    fileprivate func allows(_ need: AccessControl.Need, _ name: String?) -> Bool {
        switch need {
        case .nothing: true
        case .publish: name.map { name in publish.contains { $0.matches(name) } } ?? false
        case .pull: name.map(pull.contains) ?? false
        case .read: read || admin
        case .admin: admin
        }
    }
}

extension AccessControl.Need {
    fileprivate func words(_ name: String?) -> String {
        switch self {
        case .nothing: "do this"
        case .publish: "publish to topic \"\(name ?? "")\""
        case .pull: "pull for subscriber \"\(name ?? "")\""
        case .read: "read"
        case .admin: "administer"
        }
    }
}
