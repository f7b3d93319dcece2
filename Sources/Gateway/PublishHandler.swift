// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore
import NIOHTTPTypes

/// Answers publish requests on the connection's own event loop, with no task: most of what a request with one event
/// costs is the task, its streams and its hops. Every other request goes on to the responder, and so does a publish
/// request that is unusual: refused, with a query, of unknown length, or longer than the loop should be busy with.
///
/// Answers leave in the order of their requests: while one of its own is under way, whatever else comes in waits, and
/// while the responder has a request, everything goes to the responder. A connection that ends with an answer is closed
/// by the ``RequestGuard`` before it.
final class PublishHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    /// What comes in while an answer is under way.
    private enum Held {
        case part(HTTPRequestPart)
        case event(Any)
        case error(any Error)
    }

    private struct Taken {
        var topic: String
        var headers: HTTPFields
        var began: ContinuousClock.Instant
        /// Whether all of it is here, and only its answer is missing.
        var isWhole = false
    }

    private let publish: Publish
    private let access: AccessControl
    private let metrics: GatewayMetrics

    private var context: ChannelHandlerContext?
    private var taken: Taken?
    private var body = PaddedBytes()
    private var held = CircularBuffer<Held>()
    private var isReadHeld = false
    private var heldCloses: [(mode: CloseMode, promise: EventLoopPromise<Void>?)] = []
    /// Requests that the responder has not answered.
    private var passed = 0
    private var date = HTTPDate()

    init(publish: Publish, access: AccessControl, metrics: GatewayMetrics) {
        self.publish = publish
        self.access = access
        self.metrics = metrics
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        end()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        guard taken?.isWhole != true else { return held.append(.part(part)) }
        take(part, context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard taken?.isWhole != true else { return held.append(.error(error)) }
        context.fireErrorCaught(error)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard taken?.isWhole != true else { return held.append(.event(event)) }
        context.fireUserInboundEventTriggered(event)
    }

    func read(context: ChannelHandlerContext) {
        // A client that sends on and on without reading its answers is made to wait.
        guard held.isEmpty else { return isReadHeld = true }
        context.read()
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        // The responder also answers what was no request.
        if case .end = unwrapOutboundIn(data), passed > 0 { passed -= 1 }
        context.write(data, promise: promise)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard taken?.isWhole == true else { return context.close(mode: mode, promise: promise) }
        // The client has stopped sending, not listening.
        heldCloses.append((mode, promise))
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    /// The connection is gone: nobody waits for what is under way.
    private func end() {
        taken = nil
        held.removeAll()
        for held in heldCloses { held.promise?.succeed() }
        heldCloses.removeAll()
    }

    private func take(_ part: HTTPRequestPart, _ context: ChannelHandlerContext) {
        switch part {
        case .head(let head):
            guard passed == 0, let topic = Self.topic(of: head), isAllowed(head, to: topic) else {
                passed += 1
                return context.fireChannelRead(wrapInboundOut(part))
            }
            taken = Taken(topic: topic, headers: head.headerFields, began: .now)
        case .body(let chunk):
            guard taken != nil else { return context.fireChannelRead(wrapInboundOut(part)) }
            chunk.withUnsafeReadableBytes { body.append($0) }
        case .end:
            guard taken != nil else { return context.fireChannelRead(wrapInboundOut(part)) }
            taken?.isWhole = true
            handle(context)
        }
    }

    /// What may not be is the responder's to refuse, before its body is kept.
    private func isAllowed(_ head: HTTPRequest, to topic: String) -> Bool {
        do {
            try CrossSite.check(head)
            try access.check(head.headerFields[.authorization], .publish, topic)
            return true
        } catch {
            return false
        }
    }

    private func handle(_ context: ChannelHandlerContext) {
        guard let taken else { return }
        let loop = context.eventLoop
        let me = NIOLoopBound(self, eventLoop: loop)
        publish.publish(to: taken.topic, taken.headers, body) { answer in
            // Also where it is called on this loop, at once: the answer may bring the next request, and so on without end.
            loop.execute {
                guard let context = me.value.context else { return }
                me.value.answer(answer, context)
            }
        }
    }

    private func answer(_ answer: Answer, _ context: ChannelHandlerContext) {
        guard let taken else { return }
        self.taken = nil
        body.removeAll(keepingUpTo: Limits.publishBufferBytesKept)
        metrics.answered(method: .post, route: Publish.path, status: answer.status, after: .now - taken.began)
        var headers = answer.headers
        headers[.contentLength] = String(answer.body.count)
        headers[.date] = date.now()
        var buffer = context.channel.allocator.buffer(capacity: answer.body.count)
        buffer.writeBytes(answer.body)
        context.write(
            wrapOutboundOut(.head(HTTPResponse(status: answer.status, headerFields: headers))), promise: nil)
        context.write(wrapOutboundOut(.body(buffer)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        release(context)
    }

    /// What was held goes its way, up to the next publish request.
    private func release(_ context: ChannelHandlerContext) {
        while taken?.isWhole != true, let next = held.popFirst() {
            switch next {
            case .part(let part): take(part, context)
            case .event(let event): context.fireUserInboundEventTriggered(event)
            case .error(let error): context.fireErrorCaught(error)
            }
        }
        guard taken?.isWhole != true else { return }
        let closes = heldCloses
        heldCloses.removeAll()
        for held in closes { context.close(mode: held.mode, promise: held.promise) }
        if closes.isEmpty, isReadHeld {
            isReadHeld = false
            context.read()
        }
    }

    /// The topic of a request that is answered here.
    private static func topic(of head: HTTPRequest) -> String? {
        let before = "/v1/topics/", behind = "/events"
        guard head.method == .post, let path = head.path, path.hasPrefix(before), path.hasSuffix(behind),
            let length = head.headerFields[.contentLength].flatMap({ Int($0) }),
            length <= Limits.publishOnLoopBytesMax
        else { return nil }
        let name = path.utf8.dropFirst(before.utf8.count).dropLast(behind.utf8.count)
        let isPlain = name.allSatisfy { byte in
            byte != UInt8(ascii: "/") && byte != UInt8(ascii: "%") && byte != UInt8(ascii: "?")
        }
        return isPlain && !name.isEmpty ? String(Substring(name)) : nil
    }
}
