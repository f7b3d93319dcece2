// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import HTTPTypes
import Hummingbird

/// A refusal as it goes out: RFC 9457, `application/problem+json`. `type` is a stable word that programs may test;
/// `detail` is for people.
struct Problem: Error {
    var status: HTTPResponse.Status
    var type: String
    var title: String
    var detail: String
    /// Which events of a batch are wrong, and how.
    var errors: [(index: Int, detail: String)] = []
    /// One per message, as `/v1/reload` gives them.
    var diagnostics: [String] = []
    var headers = HTTPFields()

    init(_ status: HTTPResponse.Status, type: String, title: String, detail: String) {
        self.status = status
        self.type = type
        self.title = title
        self.detail = detail
    }

    init(_ failure: Failure) {
        switch failure.code {
        case .malformed:
            self.init(.badRequest, type: "malformed", title: "Malformed request", detail: failure.message)
        case .tooLarge:
            self.init(.contentTooLarge, type: "too-large", title: "Too large", detail: failure.message)
        case .unsupportedMediaType:
            self.init(
                .unsupportedMediaType, type: "unsupported-media-type", title: "Unsupported media type",
                detail: failure.message)
            headers[.accept] = EventPacking.accepted
        case .unknownTopic:
            self.init(.notFound, type: "unknown-topic", title: "Unknown topic", detail: failure.message)
        case .unknownSubscriber:
            self.init(.notFound, type: "unknown-subscriber", title: "Unknown subscriber", detail: failure.message)
        case .notFound:
            self.init(.notFound, type: "not-found", title: "Not found", detail: failure.message)
        case .conflict:
            self.init(.conflict, type: "conflict", title: "Conflict", detail: failure.message)
        case .overloaded:
            self.init(.serviceUnavailable, type: "overloaded", title: "Overloaded", detail: failure.message)
            headers[.retryAfter] = String(Limits.retryAfterSeconds)
        case .storage:
            self.init(.serviceUnavailable, type: "storage", title: "Storage failed", detail: failure.message)
            headers[.retryAfter] = String(Limits.retryAfterSeconds)
        case .forbidden:
            self.init(.forbidden, type: "forbidden", title: "Forbidden", detail: failure.message)
        }
        if let index = failure.index { errors = [(index, failure.message)] }
    }

    static func unknownTopic(_ name: String) -> Problem {
        Problem(Failure(.unknownTopic, "no topic \"\(name)\"; declare it in routes.conf: topic \(name) { }"))
    }

    static func malformed(_ detail: String) -> Problem {
        Problem(Failure(.malformed, detail))
    }

    static let contentType = "application/problem+json"

    /// The body.
    var document: [UInt8] {
        JSONWriter.object { json in
            json.field("type", "urn:fairlead:problem:\(type)")
            json.field("title", title)
            json.field("status", status.code)
            json.field("detail", detail)
            if !errors.isEmpty {
                json.array("errors") { json in
                    for error in errors {
                        json.object { json in
                            json.field("index", error.index)
                            json.field("detail", error.detail)
                        }
                    }
                }
            }
            if !diagnostics.isEmpty {
                json.array("diagnostics") { json in
                    for diagnostic in diagnostics { json.value(diagnostic) }
                }
            }
        }
    }

    var response: Response { answer.response }

    var answer: Answer {
        var fields = headers
        fields[.contentType] = Self.contentType
        return Answer(status: status, headers: fields, body: document)
    }
}
