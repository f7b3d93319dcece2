// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOSSL

/// Stands between the parser and whoever answers: refuses what is no request that all would read alike, ends connections
/// that are held rather than used, and hands a body on in as few parts as it was read in.
///
/// A refusal is the connection's last answer; it leaves behind those to the requests before it.
final class RequestGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private enum Input {
        case open
        /// The request under way is the last.
        case last
        /// Nothing is taken any more.
        case over
    }

    private let guards: ConnectionGuards
    private let arrivals: ArrivalHandler
    private let peer: String

    private var input = Input.open
    /// Whether the head of a request has been read, and its end has not.
    private var isInRequest = false
    private var unanswered = 0
    /// Bytes that are still read of a body whose request has been answered.
    private var unwanted: Int?
    private var chunk: ByteBuffer?
    private var refusal: Problem?
    private var looking: RepeatedTask?

    init(_ guards: ConnectionGuards, arrivals: ArrivalHandler, peer: String) {
        self.guards = guards
        self.arrivals = arrivals
        self.peer = peer
    }

    /// Whether every request that it was given has been answered, and another may come.
    var isIdle: Bool { input == .open && unanswered == 0 && !isInRequest }

    func channelActive(context: ChannelHandlerContext) {
        let look = guards.bounds.look
        let me = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        looking = context.eventLoop.scheduleRepeatedTask(initialDelay: look, delay: look) { _ in
            let (handler, context) = me.value
            handler.look(context)
        }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        stop()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { stop() }

    private func stop() {
        looking?.cancel()
        looking = nil
    }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): take(head, context)
        case .body(let bytes): take(bytes, context)
        case .end(let trailers):
            arrivals.pace.requestEnded(now: .now())
            guard input != .over, isInRequest else { return }
            pass(context)
            isInRequest = false
            let wasAnswered = unwanted != nil
            unwanted = nil
            context.fireChannelRead(wrapInboundOut(.end(trailers)))
            if input == .last {
                input = .over
                if wasAnswered { context.close(promise: nil) }
            }
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        pass(context)
        context.fireChannelReadComplete()
    }

    private func take(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        arrivals.pace.headEnded(now: .now())
        guard input == .open else { return }
        var head = head
        do {
            try RequestCheck.check(&head)
            try guards.checkHost(head.headers.first(name: "Host"))
        } catch {
            let reason: Refusals.Reason = error.type == ConnectionGuards.foreignHost ? .foreignHost : .malformed
            return refuse(error, reason, context)
        }
        isInRequest = true
        unanswered += 1
        if !head.isKeepAlive { input = .last }
        context.fireChannelRead(wrapInboundOut(.head(head)))
    }

    private func take(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        arrivals.pace.body(bytes.readableBytes)
        guard input != .over, isInRequest else { return }
        if let left = unwanted {
            unwanted = left - bytes.readableBytes
            if left < bytes.readableBytes { context.close(promise: nil) }
            return
        }
        guard chunk != nil else { return chunk = bytes }
        var bytes = bytes
        chunk?.writeBuffer(&bytes)
    }

    private func pass(_ context: ChannelHandlerContext) {
        guard let whole = chunk else { return }
        chunk = nil
        if unwanted == nil { context.fireChannelRead(wrapInboundOut(.body(whole))) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? HTTPParserError {
            guard input == .open || isInRequest else { return }
            let (problem, reason) = RequestCheck.problem(error)
            guard isInRequest else { return refuse(problem, reason, context) }
            // In the middle of a body: whoever reads it answers.
            guards.refusals.count(reason, from: peer, problem.detail)
            pass(context)
            input = .last
        } else if error is NIOSSLError || error is BoringSSLError {
            guards.refusals.count(.tls, from: peer, "the TLS handshake failed")
        }
        context.fireErrorCaught(error)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if refusal == nil, input == .over, unanswered == 0, event as? ChannelEvent == .inputClosed {
            return context.close(promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
    }

    // MARK: Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head):
            if head.status.code >= 200, head.headers[canonicalForm: "Connection"].contains("close"), input == .open {
                input = isInRequest ? .last : .over
            }
        case .body(let bytes):
            arrivals.pace.wrote(bytes.readableBytes)
        case .end:
            unanswered -= 1
            arrivals.pace.answered(now: .now())
            // Whoever answered isn't going to read the rest; the client must send it to get to the answer.
            if isInRequest, unanswered == 0 { unwanted = Limits.requestBytesMax }
            if unanswered == 0, refusal != nil || (input != .open && !isInRequest) {
                let promise = promise ?? context.eventLoop.makePromise()
                let me = NIOLoopBound((self, context), eventLoop: context.eventLoop)
                promise.futureResult.whenComplete { _ in
                    let (handler, context) = me.value
                    handler.end(context)
                }
                return context.writeAndFlush(data, promise: promise)
            }
        }
        context.write(data, promise: promise)
    }

    /// The last answer of somebody else has left.
    private func end(_ context: ChannelHandlerContext) {
        if let refusal {
            send(refusal, context)
        } else {
            context.close(promise: nil)
        }
    }

    private func refuse(_ problem: Problem, _ reason: Refusals.Reason, _ context: ChannelHandlerContext) {
        guards.refusals.count(reason, from: peer, problem.detail)
        input = .over
        guard unanswered == 0 else { return refusal = problem }
        send(problem, context)
    }

    private func send(_ problem: Problem, _ context: ChannelHandlerContext) {
        refusal = nil
        let body = problem.document
        var head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: problem.status.code))
        head.headers = [
            "Content-Type": Problem.contentType, "Content-Length": String(body.count), "Connection": "close",
        ]
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: body)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        // Closed at once, what the client is still sending would make its side forget the answer.
        let me = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: Limits.refusalLinger) { me.value.close(promise: nil) }
    }

    // MARK: Time

    private func look(_ context: ChannelHandlerContext) {
        if isIdle, !arrivals.isAnswering, arrivals.pace.isIdle(.now()) {
            stop()
            return context.close(promise: nil)
        }
        let buffered = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        guard let reason = arrivals.pace.check(.now(), isReading: arrivals.isReading, buffered: buffered) else {
            return
        }
        if case .slowHeader = reason, input == .open, unanswered == 0, !arrivals.isAnswering {
            stop()
            return refuse(
                Problem(
                    .requestTimeout, type: "timeout", title: "Request timeout",
                    detail: "the headers didn't arrive within \(guards.bounds.headerTime.nanoseconds / 1_000_000_000) s"
                ),
                reason, context)
        }
        guards.refusals.count(reason, from: peer, "the connection was cut")
        stop()
        context.close(promise: nil)
    }
}

/// Sees the bytes as they come, before TLS and HTTP make something of them.
final class ArrivalHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    /// Shared with the connection's ``RequestGuard``, on the same event loop.
    var pace: ConnectionPace
    /// Whether the server waits for bytes.
    private(set) var isReading = false
    /// Whether a request that never reaches the ``RequestGuard`` is under way.
    var isAnswering = false

    init(_ bounds: ConnectionBounds) {
        pace = ConnectionPace(bounds, now: .now())
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        pace.arrived(unwrapInboundIn(data).readableBytes, now: .now())
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        isReading = true
        context.read()
    }
}
