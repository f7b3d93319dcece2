// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
import HummingbirdCore
import Logging
import Metrics
import NIOCore
import NIOHTTP1
import NIOHTTPTypesHTTP1
import NIOSSL
import Routes
import Synchronization

/// Puts around another channel what no client gets past: the bounds on connections, TLS, and the ``RequestGuard``.
struct GuardedChannel<Base: ServerChildChannel>: ServerChildChannel {
    typealias Value = Base.Value

    let base: Base
    let guards: ConnectionGuards
    /// nil serves plain HTTP.
    let tls: TLSCredentials?
    /// Between the bytes and their parser.
    let publishHandler: @Sendable (ArrivalHandler, RequestGuard) -> PublishHandler

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        let address = channel.remoteAddress
        let peer = address?.ipAddress ?? "unknown"
        let refusal = guards.open(ConnectionCount.Peer(address), channel)
        if let refusal { guards.refusals.count(refusal, from: peer, "too many connections are open") }
        return channel.eventLoop.makeCompletedFuture {
            let arrivals = ArrivalHandler(guards.bounds)
            if refusal != nil { try channel.pipeline.syncOperations.addHandler(TurnAwayHandler(isPlain: tls == nil)) }
            try channel.pipeline.syncOperations.addHandler(arrivals)
            if let tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls.context)) }
            return NIOLoopBound(arrivals, eventLoop: channel.eventLoop)
        }.flatMap { (arrivals: NIOLoopBound<ArrivalHandler>) in
            base.setup(channel: channel, logger: logger).flatMapThrowing { value in
                let pipeline = channel.pipeline.syncOperations
                let requests = RequestGuard(guards, arrivals: arrivals.value, peer: peer)
                try pipeline.addHandler(
                    requests, position: .before(pipeline.handler(type: HTTP1ToHTTPServerCodec.self)))
                try pipeline.addHandler(
                    publishHandler(arrivals.value, requests),
                    position: .before(pipeline.handler(type: HTTPResponseEncoder.self)))
                return value
            }
        }
    }

    func handle(value: Value, logger: Logger) async {
        await base.handle(value: value, logger: logger)
    }
}

/// What all connections share.
final class ConnectionGuards: Sendable {
    static let foreignHost = "foreign-host"

    let bounds: ConnectionBounds
    let refusals: Refusals
    private let host: String
    private let access: AccessControl
    private let count: Mutex<ConnectionCount>

    init(_ bounds: ConnectionBounds, host: String, access: AccessControl, refusals: Refusals) {
        self.bounds = bounds
        self.host = host.lowercased()
        self.access = access
        self.refusals = refusals
        count = Mutex(ConnectionCount(bounds))
    }

    /// Counts a connection until it is closed, or says why there is none for it.
    func open(_ peer: ConnectionCount.Peer, _ channel: any Channel) -> Refusals.Reason? {
        let (refusal, open) = count.withLock { ($0.open(peer), $0.count) }
        guard refusal == nil else { return refusal }
        refusals.opened(open)
        channel.closeFuture.whenComplete { [self] _ in
            refusals.opened(
                count.withLock { count in
                    count.close(peer)
                    return count.count
                })
        }
        return nil
    }

    /// Whether requests that name this host are served, whatever tokens there are.
    func isOwn(_ name: String) -> Bool { name == host || HostName.isLoopback(name) }

    /// Where loopback is open to everybody, a browser on this machine must not be led here under another name: a page of
    /// `evil.example` whose name comes to mean 127.0.0.1 could read and do all (DNS rebinding).
    func checkHost(_ authority: String?) throws(Problem) {
        guard HostName.isLoopback(host), access.isOpen, let authority, let name = RequestCheck.host(of: authority),
            !isOwn(name)
        else { return }
        throw Problem(
            .forbidden, type: Self.foreignHost, title: "Forbidden",
            detail: "without tokens only loopback names are served, such as Host: localhost; declare a token in "
                + "routes.conf, or have the proxy send that name")
    }
}

/// Tells a client for whom there is no connection, and closes.
private final class TurnAwayHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = IOData

    private let isPlain: Bool

    init(isPlain: Bool) {
        self.isPlain = isPlain
    }

    func channelActive(context: ChannelHandlerContext) {
        guard isPlain else { return context.close(promise: nil) }
        let answer =
            "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: \(Limits.retryAfterSeconds)\r\n"
            + "Content-Length: 0\r\n\r\n"
        let me = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(.byteBuffer(ByteBuffer(string: answer)))).whenComplete { _ in
            me.value.close(promise: nil)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}
}
