// SPDX-License-Identifier: Apache-2.0

import Events
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// One connection's handlers for what the ``PublishHandler`` does not answer, in the order of the bytes: HTTP, who waits
/// with a body, the end of the server, and requests as Hummingbird serves them.
struct GatewayChannel: HTTPChannelHandler {
    typealias Value = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>

    let responder: Responder

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            var limits = NIOHTTPDecoderLimitConfiguration()
            limits.maxHeaderFieldSize = Limits.attributeValueBytesMax * 3
            limits.maxHeaderListSize = Limits.headerBytesMax
            limits.maxHeaderFieldCount = Limits.headersMax
            try pipeline.configureHTTPServerPipeline(
                // What follows takes one request at a time by itself, answers what isn't HTTP, and writes valid headers.
                withPipeliningAssistance: false, withErrorHandling: false, withOutboundHeaderValidation: false,
                withEncoderConfiguration: .init(), withDecoderLimitConfiguration: limits)
            try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: false))
            try pipeline.addHandler(ContinueHandler(bodyBytesMax: Limits.requestBytesMax))
            try pipeline.addHandler(
                // How long a connection may be idle is the guard's to know, who also knows of publish requests.
                HTTPConnectionStateHandler(idleTimeout: nil, logger: logger))
            return try NIOAsyncChannel(
                wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
        }
    }

    func handle(value: Value, logger: Logger) async {
        await handleHTTP(asyncChannel: value, logger: logger)
    }
}
