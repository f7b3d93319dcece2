// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
package import Events
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix

/// Sends requests to the outside over pooled connections. Redirects are answers like any other: nothing is followed,
/// so that what was allowed is what is reached.
///
/// What may reach the public Internet only has connections of its own. Each is looked at once it stands and before a byte
/// of a request is written: the address looked at is the one connected to, so no answer of DNS can come in between.
package final class HTTPClientSender: HTTPSender {
    private let anywhere: HTTPClient
    private let publicOnly: HTTPClient

    package init() {
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        configuration.timeout.connect = .seconds(10)
        // Whoever sends decides about trying again, and wants to know at once that nobody listens.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = Limits.outboundConnectionsPerHostMax
        anywhere = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        configuration.http1_1ConnectionDebugInitializer = { Self.refuseLocalPeer($0) }
        configuration.http2ConnectionDebugInitializer = { Self.refuseLocalPeer($0) }
        publicOnly = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    /// Closes the connections. Nothing may be sent after that; must be called before the sender is let go.
    package func shutdown() async throws {
        // Both, whatever becomes of the first.
        async let first: Void = anywhere.shutdown()
        async let second: Void = publicOnly.shutdown()
        _ = try await (first, second)
    }

    private struct LocalPeer: Error {
        var address: String
    }

    private static func refuseLocalPeer(_ channel: any Channel) -> EventLoopFuture<Void> {
        let address = channel.remoteAddress
        if let address, address.isPublic { return channel.eventLoop.makeSucceededVoidFuture() }
        let refusal = LocalPeer(address: address?.ipAddress ?? "an unknown address")
        channel.close(promise: nil)
        return channel.eventLoop.makeFailedFuture(refusal)
    }

    package func send(_ request: OutboundRequest) async throws(OutboundFailure) -> OutboundResponse {
        guard request.timeout > .zero else { throw .timeout }
        do {
            let client = request.reach == .publicOnly ? publicOnly : anywhere
            let response = try await client.execute(
                Self.clientRequest(request), deadline: .now() + TimeAmount(request.timeout))
            var body: [UInt8] = []
            for try await chunk in response.body {
                guard body.count + chunk.readableBytes <= request.responseBytesMax else {
                    if request.cutsResponse {
                        body.append(contentsOf: chunk.readableBytesView.prefix(request.responseBytesMax - body.count))
                        break
                    }
                    throw OutboundFailure.responseTooLarge(limit: request.responseBytesMax)
                }
                body.append(contentsOf: chunk.readableBytesView)
            }
            return OutboundResponse(
                status: Int(response.status.code),
                headers: response.headers.map { (name: $0.name.lowercased(), value: $0.value) }, body: body)
        } catch {
            throw Self.failure(error, url: request.url)
        }
    }

    private static func clientRequest(_ request: OutboundRequest) -> HTTPClientRequest {
        var out = HTTPClientRequest(url: request.url)
        out.method = HTTPMethod(rawValue: request.method)
        for header in request.headers { out.headers.add(name: header.name, value: header.value) }
        if !request.body.isEmpty || ["POST", "PUT", "PATCH"].contains(request.method) {
            out.body = .bytes(ByteBuffer(bytes: request.body))
        }
        return out
    }

    private static func failure(_ error: any Error, url: String) -> OutboundFailure {
        switch error {
        case let failure as OutboundFailure: return failure
        case let local as LocalPeer: return .localAddress(host: host(url), address: local.address)
        case let error as HTTPClientError:
            switch error {
            case .deadlineExceeded, .readTimeout, .writeTimeout, .connectTimeout, .tlsHandshakeTimeout,
                .getConnectionFromPoolTimeout:
                return .timeout
            case .invalidURL, .emptyHost, .emptyScheme, .missingSocketPath:
                return .badRequest("\"\(shown(url))\" isn't a URL that can be sent to")
            default:
                if error.shortDescription.contains("Unsupported scheme") {
                    return .badRequest("\"\(shown(url))\" has a scheme other than http and https")
                }
                return .connection("connection to \(host(url)) failed: \(error.shortDescription)")
            }
        case let error as NIOConnectionError:
            return .connection("no connection to \(host(url)): \(reason(error))")
        case let error as IOError:
            return .connection(
                "no connection to \(host(url)): \(String(cString: strerror(error.errnoCode)).lowercased())")
        case is CancellationError: return .connection("the request to \(host(url)) was given up")
        case is HTTPParserError: return .connection("\(host(url)) doesn't answer in HTTP")
        default: return .connection("connection to \(host(url)) failed: \(error)")
        }
    }

    private static func reason(_ error: NIOConnectionError) -> String {
        if let dns = error.dnsAError ?? error.dnsAAAAError, error.connectionErrors.isEmpty {
            return "its name can't be resolved (\(dns))"
        }
        guard let first = error.connectionErrors.first?.error else { return "its name has no address" }
        return (first as? IOError).map { String(cString: strerror($0.errnoCode)).lowercased() } ?? "\(first)"
    }

    /// Scheme, host and port: a path may hold a secret, as those of Slack do.
    private static func host(_ url: String) -> String {
        let parts = url.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
        return parts.count > 2 ? parts[..<3].joined(separator: "/") : "the endpoint"
    }

    private static func shown(_ url: String) -> String { String(url.prefix(40)) + (url.count > 40 ? "…" : "") }
}
