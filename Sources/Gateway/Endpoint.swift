// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird

/// One line of the table of what the server answers: a method, a path and who handles it.
struct Endpoint: Sendable {
    typealias Handler = @Sendable (Exchange) async throws -> Response

    let method: HTTPRequest.Method
    /// As in the manual, `/v1/topics/{topic}/events`; also the label on metrics.
    let path: String
    let need: AccessControl.Need
    let handle: Handler
    private let segments: [Segment]

    private enum Segment: Sendable {
        case literal(Substring)
        case parameter
    }

    init(
        _ method: HTTPRequest.Method, _ path: String, needs need: AccessControl.Need, _ handle: @escaping Handler
    ) {
        self.method = method
        self.path = path
        self.need = need
        self.handle = handle
        segments = path.split(separator: "/").map { $0.hasPrefix("{") ? .parameter : .literal($0) }
    }

    /// What stands for the path's parameters, still percent-encoded; nil where the path is another.
    func parameters(in path: [Substring]) -> [Substring]? {
        guard path.count == segments.count else { return nil }
        var parameters: [Substring] = []
        for (part, segment) in zip(path, segments) {
            switch segment {
            case .literal(let text): if part != text { return nil }
            case .parameter: parameters.append(part)
            }
        }
        return parameters
    }
}
