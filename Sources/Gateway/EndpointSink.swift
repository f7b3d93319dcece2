// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
import Hummingbird
import ServiceLifecycle
import Logging
import NIOCore

/// An endpoint that can be pushed to, for trying things out: says what came, and answers as it was told to.
package struct EndpointSink: Service, CustomStringConvertible {
    private let port: Int
    private let status: Int
    private let say: @Sendable (String) -> Void

    package init(port: Int, status: Int, say: @escaping @Sendable (String) -> Void) {
        self.port = port
        self.status = status
        self.say = say
    }

    package var description: String { "sink" }

    package func run() async throws {
        let (status, say) = (status, say)
        let responder = CallbackResponder { (request: Request, _: BasicRequestContext) async throws -> Response in
            let body = try await request.body.collect(upTo: Limits.eventBytesMax)
            let attempt = request.headers[HTTPField.Name("webhook-id")!].map { " \($0)" } ?? ""
            let type = request.headers[HTTPField.Name("ce-type")!] ?? "-"
            let id = request.headers[HTTPField.Name("ce-id")!] ?? "-"
            say("\(status) \(request.method) \(request.uri.path) \(type) \(id)\(attempt) \(body.readableBytes) bytes")
            return Response(status: .init(code: status))
        }
        var log = Logger(label: "sink")
        log.logLevel = .error
        try await Application(
            responder: responder, configuration: .init(address: .hostname("127.0.0.1", port: port)), logger: log
        ).runService()
    }
}
