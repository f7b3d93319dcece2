// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
import NIOCore

/// Answers publish requests on the connection's own event loop, from the bytes that came: most of what a request with one
/// event costs elsewhere is being taken apart and handed from handler to handler, and its task. Every other request goes
/// on to the responder, and so does a publish request that is unusual: one that would be refused for who sends it, with a
/// query, without a length, or longer than the loop should be busy with.
///
/// It stands before the HTTP parser, and hands that each request as a whole number of bytes, so that it knows where the
/// next begins. Once a head is not ``PlainRequest``, everything that comes on its connection is the parser's.
///
/// Answers leave in the order of their requests: while one of its own is under way, whatever comes in waits, and while the
/// responder has a request, everything goes to the responder.
final class PublishHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    private enum State {
        /// At the beginning of a request, or within its head.
        case head
        /// Of a publish request, until all of it is here.
        case body(Publishing)
        case answering(Publishing)
        /// So many bytes are the rest of a request for the responder.
        case passing(Int)
        /// Where requests begin and end is for the parser to say.
        case foreign
        /// Its own last answer has left.
        case over
    }

    private struct Publishing {
        var topic: String
        var request: EventRequest
        var began: ContinuousClock.Instant
        var headLength: Int
        var length: Int
        /// How many bytes of the body are here.
        var seen = 0
        var isLast: Bool
    }

    /// What comes in while an answer is under way.
    private enum Held {
        case event(Any)
        case error(any Error)
    }

    private let publish: Publish
    private let access: AccessControl
    private let metrics: GatewayMetrics
    private let guards: ConnectionGuards
    private let arrivals: ArrivalHandler
    private let responder: RequestGuard

    private var context: ChannelHandlerContext?
    private var state = State.head
    private var plain = PlainRequest()
    private var bytes = ByteBuffer()
    private var body = PaddedBytes()
    private var held = CircularBuffer<Held>()
    private var isReadHeld = false
    /// Whether those behind have been handed something since they were last told that there is no more for now.
    private var hasPassedOn = false
    /// Whether the next request waits until the client has taken answers.
    private var isStalled = false
    private var heldCloses: [(mode: CloseMode, promise: EventLoopPromise<Void>?)] = []
    private var familiarHost: [UInt8] = []
    private var date = HTTPDate()

    /// - Parameter responder: stands before all that answers the other requests of this connection.
    init(
        publish: Publish, access: AccessControl, metrics: GatewayMetrics, guards: ConnectionGuards,
        arrivals: ArrivalHandler, responder: RequestGuard
    ) {
        self.publish = publish
        self.access = access
        self.metrics = metrics
        self.guards = guards
        self.arrivals = arrivals
        self.responder = responder
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        end()
    }

    private var isAnswering: Bool {
        if case .answering = state { true } else { false }
    }

    /// Whether bytes that are here wait for an answer to be finished, or to be taken.
    private var isWaiting: Bool { isAnswering || isStalled }

    // MARK: What comes in

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .foreign = state { return context.fireChannelRead(data) }
        var new = unwrapInboundIn(data)
        if bytes.readableBytes == 0 {
            bytes = new
        } else {
            // Else what has been read would stay in front of a client that never pauses.
            bytes.discardReadBytes()
            bytes.writeBuffer(&new)
        }
        advance(context)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        hasPassedOn = false
        context.fireChannelReadComplete()
    }

    /// Those behind act on what they were handed only when they are told that there is no more for now.
    private func completeReading(_ context: ChannelHandlerContext) {
        guard hasPassedOn else { return }
        hasPassedOn = false
        context.fireChannelReadComplete()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard !isAnswering else { return held.append(.error(error)) }
        context.fireErrorCaught(error)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard !isAnswering else { return held.append(.event(event)) }
        pass(event, context)
    }

    /// The connection ends, or the server: half a request is the parser's to refuse, or to wait for.
    private func pass(_ event: Any, _ context: ChannelHandlerContext) {
        if event as? ChannelEvent == .inputClosed || event is ChannelShouldQuiesceEvent, bytes.readableBytes > 0 {
            state = .foreign
            advance(context)
            completeReading(context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    /// The connection is gone: nobody waits for what is under way.
    private func end() {
        state = .over
        bytes = ByteBuffer()
        held.removeAll()
        for held in heldCloses { held.promise?.succeed() }
        heldCloses.removeAll()
    }

    /// Takes what has come, up to a publish request that is under way.
    private func advance(_ context: ChannelHandlerContext) {
        while bytes.readableBytes > 0 {
            switch state {
            case .head:
                switch bytes.withUnsafeReadableBytes({ plain.read($0) }) {
                case .foreign: state = .foreign
                case .partial where bytes.readableBytes > Limits.plainHeadBytesMax: state = .foreign
                case .partial: return
                case .whole:
                    // Answers that nobody takes must not pile up.
                    isStalled = !context.channel.isWritable
                    if isStalled { return }
                    begin()
                }
            case .body(let publishing):
                guard isWhole(publishing) else { return }
                return handle(publishing, context)
            case .passing(let left):
                let part = bytes.readSlice(length: min(left, bytes.readableBytes))!
                state = part.readableBytes == left ? .head : .passing(left - part.readableBytes)
                drop()
                hasPassedOn = true
                context.fireChannelRead(wrapInboundOut(part))
            case .foreign:
                let rest = bytes
                bytes = ByteBuffer()
                hasPassedOn = true
                return context.fireChannelRead(wrapInboundOut(rest))
            case .answering: return
            case .over: return bytes.clear()
            }
        }
    }

    /// Gives memory back that nothing is in any more.
    private func drop() {
        if bytes.readableBytes == 0 { bytes = ByteBuffer() }
    }

    private func begin() {
        guard responder.isIdle, let publishing = bytes.withUnsafeReadableBytes({ publishing(from: $0) }) else {
            return state = .passing(plain.length)
        }
        arrivals.pace.headEnded(now: .now())
        state = .body(publishing)
    }

    private func isWhole(_ publishing: Publishing) -> Bool {
        var publishing = publishing
        let seen = min(bytes.readableBytes, publishing.length) - publishing.headLength
        arrivals.pace.body(seen - publishing.seen)
        publishing.seen = seen
        state = .body(publishing)
        return publishing.headLength + seen == publishing.length
    }

    /// What the head in `bytes` says, where it is a publish request to be answered here. What may not be is the responder's
    /// to refuse, before its body is kept.
    private func publishing(from bytes: UnsafeRawBufferPointer) -> Publishing? {
        func part(_ range: Range<Int>) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[range]) }
        func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
        guard PlainRequest.isEqual(part(plain.method), "post"), let name = Self.topic(in: part(plain.target)),
            (1...Limits.publishOnLoopBytesMax).contains(plain.contentLength)
        else { return nil }
        var publishing = Publishing(
            topic: text(plain.target.lowerBound + name.lowerBound..<plain.target.lowerBound + name.upperBound),
            request: EventRequest(contentType: nil), began: .now, headLength: plain.headLength, length: plain.length,
            isLast: false)
        var host: Range<Int>?
        var authorization: String?
        for field in plain.fields {
            let name = part(field.name)
            switch name.count {
            case 4 where PlainRequest.isEqual(name, "host"):
                guard host == nil else { return nil }
                host = field.value
            case 6 where PlainRequest.isEqual(name, "origin"): return nil
            case 10 where PlainRequest.isEqual(name, "connection"):
                if PlainRequest.isEqual(part(field.value), "close") {
                    publishing.isLast = true
                } else if !PlainRequest.isEqual(part(field.value), "keep-alive") {
                    return nil
                }
            case 12 where PlainRequest.isEqual(name, "content-type"):
                guard publishing.request.contentType == nil else { return nil }
                publishing.request.contentType = text(field.value)
            case 13 where PlainRequest.isEqual(name, "authorization"):
                guard authorization == nil else { return nil }
                authorization = text(field.value)
            case 14 where PlainRequest.isEqual(name, "sec-fetch-site"): return nil
            case 3... where PlainRequest.isEqual(UnsafeRawBufferPointer(rebasing: name[..<3]), "ce-"):
                let attribute = String(decoding: name[3...].lazy.map(PlainRequest.lowercased), as: UTF8.self)
                publishing.request.attributes.append((attribute, text(field.value)))
            default: break
            }
        }
        guard let host, isServed(part(host)) else { return nil }
        do {
            try access.check(authorization, .publish, publishing.topic)
        } catch {
            return nil
        }
        return publishing
    }

    /// Whether `host` names this server. One that always will is remembered.
    private func isServed(_ host: UnsafeRawBufferPointer) -> Bool {
        if !familiarHost.isEmpty, host.elementsEqual(familiarHost) { return true }
        let text = String(decoding: host, as: UTF8.self)
        guard let name = RequestCheck.host(of: text) else { return false }
        if guards.isOwn(name) {
            familiarHost = Array(host)
            return true
        }
        do {
            try guards.checkHost(text)
            return true
        } catch {
            return false
        }
    }

    /// The name in `/v1/topics/NAME/events`, where it needs no decoding.
    private static func topic(in target: UnsafeRawBufferPointer) -> Range<Int>? {
        let before: StaticString = "/v1/topics/", behind: StaticString = "/events"
        let begin = before.utf8CodeUnitCount
        let name = begin..<max(begin, target.count - behind.utf8CodeUnitCount)
        guard !name.isEmpty, target.starts(with: UnsafeBufferPointer(start: before.utf8Start, count: begin)),
            target[name.upperBound...].elementsEqual(
                UnsafeBufferPointer(start: behind.utf8Start, count: behind.utf8CodeUnitCount)),
            target[name].allSatisfy({
                $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "%") && $0 != UInt8(ascii: "?")
            })
        else { return nil }
        return name
    }

    // MARK: The answer

    private func handle(_ publishing: Publishing, _ context: ChannelHandlerContext) {
        bytes.moveReaderIndex(forwardBy: publishing.headLength)
        let length = publishing.length - publishing.headLength
        bytes.withUnsafeReadableBytes { body.append(UnsafeRawBufferPointer(rebasing: $0[..<length])) }
        bytes.moveReaderIndex(forwardBy: length)
        drop()
        arrivals.pace.requestEnded(now: .now())
        arrivals.isAnswering = true
        state = .answering(publishing)
        let loop = context.eventLoop
        let me = NIOLoopBound(self, eventLoop: loop)
        publish.publish(to: publishing.topic, publishing.request, body) { answer in
            // Also where it is called on this loop, at once: the answer may bring the next request, and so on without end.
            loop.execute {
                guard let context = me.value.context else { return }
                me.value.answer(answer, context)
            }
        }
    }

    private func answer(_ answer: Answer, _ context: ChannelHandlerContext) {
        guard case .answering(let publishing) = state else { return }
        body.removeAll(keepingUpTo: Limits.publishBufferBytesKept)
        metrics.answered(
            method: .post, route: Publish.path, status: answer.status, after: .now - publishing.began)
        let buffer = encoded(answer, context.channel.allocator)
        arrivals.pace.wrote(buffer.readableBytes)
        arrivals.pace.answered(now: .now())
        arrivals.isAnswering = false
        if publishing.isLast {
            state = .over
            let me = NIOLoopBound(context, eventLoop: context.eventLoop)
            context.writeAndFlush(wrapOutboundOut(.byteBuffer(buffer))).whenComplete { _ in
                me.value.close(promise: nil)
            }
        } else {
            state = .head
            context.writeAndFlush(wrapOutboundOut(.byteBuffer(buffer)), promise: nil)
        }
        release(context)
    }

    private func encoded(_ answer: Answer, _ allocator: ByteBufferAllocator) -> ByteBuffer {
        var buffer = allocator.buffer(capacity: Limits.answerHeadBytes + answer.body.count)
        buffer.writeStaticString("HTTP/1.1 ")
        buffer.writeString(String(answer.status.code))
        buffer.writeStaticString(" ")
        buffer.writeString(answer.status.reasonPhrase)
        for field in answer.headers {
            buffer.writeStaticString("\r\n")
            buffer.writeString(field.name.rawName)
            buffer.writeStaticString(": ")
            buffer.writeString(field.value)
        }
        buffer.writeStaticString("\r\nContent-Length: ")
        buffer.writeString(String(answer.body.count))
        buffer.writeStaticString("\r\nDate: ")
        buffer.writeString(date.now())
        buffer.writeStaticString("\r\n\r\n")
        buffer.writeBytes(answer.body)
        return buffer
    }

    /// What has come meanwhile goes its way, up to the next publish request.
    private func release(_ context: ChannelHandlerContext) {
        advance(context)
        completeReading(context)
        while !isWaiting, let next = held.popFirst() {
            switch next {
            case .event(let event): pass(event, context)
            case .error(let error): context.fireErrorCaught(error)
            }
        }
        guard !isWaiting else { return }
        let closes = heldCloses
        heldCloses.removeAll()
        for held in closes { context.close(mode: held.mode, promise: held.promise) }
        if closes.isEmpty, isReadHeld {
            isReadHeld = false
            context.read()
        }
    }

    // MARK: What goes out

    func read(context: ChannelHandlerContext) {
        // A client that sends on and on without reading its answers is made to wait.
        guard !isWaiting || (bytes.readableBytes == 0 && held.isEmpty) else { return isReadHeld = true }
        context.read()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        context.fireChannelWritabilityChanged()
        guard isStalled, context.channel.isWritable else { return }
        isStalled = false
        release(context)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard isAnswering else { return context.close(mode: mode, promise: promise) }
        // The client has stopped sending, not listening.
        heldCloses.append((mode, promise))
    }
}
