// SPDX-License-Identifier: Apache-2.0

/// Sends HTTP requests to the outside. Whoever runs plugins or pushes events takes one; the real one is the Gateway's.
package protocol HTTPSender: Sendable {
    /// Sends once and follows no redirect. Never throws for a status: any response is a response.
    func send(_ request: OutboundRequest) async throws(OutboundFailure) -> OutboundResponse
}

package struct OutboundRequest: Hashable, Sendable {
    package var method: String
    package var url: String
    package var headers: [(name: String, value: String)] {
        get { pairs.map { ($0.name, $0.value) } }
        set { pairs = newValue.map { Header(name: $0.name, value: $0.value) } }
    }
    package var body: [UInt8]
    package var timeout: Duration
    /// Bytes of response body kept; a longer one fails with ``OutboundFailure/responseTooLarge(limit:)``.
    package var responseBytesMax: Int
    /// Only the first ``responseBytesMax`` bytes of the body matter: a longer one is cut off, and is no failure.
    package var cutsResponse = false
    package var reach: Reach
    private var pairs: [Header] = []

    private struct Header: Hashable, Sendable {
        var name: String
        var value: String
    }

    /// Which addresses the URL's host may turn out to have.
    package enum Reach: Sendable {
        /// Those of the public Internet only: a name that somebody else's DNS sends into the local network is refused.
        case publicOnly
        /// Any: whoever runs the server named this host as a local one.
        case anywhere
    }

    package init(
        method: String, url: String, headers: [(name: String, value: String)] = [], body: [UInt8] = [],
        timeout: Duration, responseBytesMax: Int, reach: Reach = .anywhere
    ) {
        self.method = method
        self.url = url
        self.body = body
        self.timeout = timeout
        self.responseBytesMax = responseBytesMax
        self.reach = reach
        self.headers = headers
    }
}

package struct OutboundResponse: Sendable {
    package var status: Int
    /// Names in lower case.
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]

    package init(status: Int, headers: [(name: String, value: String)], body: [UInt8]) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}

package enum OutboundFailure: Error, Hashable, Sendable {
    /// No connection, or it broke; the text says which and to where.
    case connection(String)
    case timeout
    case responseTooLarge(limit: Int)
    /// Not a URL that can be sent to.
    case badRequest(String)
    /// The name has a local address, and the request's ``OutboundRequest/Reach`` is public. Nothing was sent.
    case localAddress(host: String, address: String)
}
