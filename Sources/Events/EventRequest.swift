// SPDX-License-Identifier: Apache-2.0

/// What a publish request says beside its body.
package struct EventRequest: Sendable {
    package var contentType: String?
    /// The `ce-*` headers: names in lower case without `ce-`, values as they came.
    package var attributes: [(name: String, value: String)]
    /// For plain JSON, which names nothing itself: `?type=`, `?source=`, `?subject=`.
    package var type: String?
    package var source: String?
    package var subject: String?
    /// `?deliverafter=` and `?expirytime=`, for plain JSON as well.
    package var schedule: [(ScheduleAttribute, String)] = []

    package init(
        contentType: String?, attributes: [(name: String, value: String)] = [], type: String? = nil,
        source: String? = nil, subject: String? = nil
    ) {
        self.contentType = contentType
        self.attributes = attributes
        self.type = type
        self.source = source
        self.subject = subject
    }
}

/// How events are packed into a request: CloudEvents 1.0.2, HTTP binding, section 3, and two forms for those who
/// have plain JSON.
package enum EventPacking: Hashable, Sendable {
    case binary
    case structured
    case batch
    case json
    case lines

    package static let accepted =
        "application/json, application/x-ndjson, application/cloudevents+json, application/cloudevents-batch+json"

    package init(of request: EventRequest) throws(Failure) {
        let text = request.contentType
        guard let text else {
            if !request.attributes.isEmpty {
                self = .binary
                return
            }
            throw Failure(
                .unsupportedMediaType,
                "the request has neither a Content-Type nor ce- headers; send one of \(Self.accepted)")
        }
        guard let media = MediaType(text) else {
            throw Failure(
                .unsupportedMediaType,
                "Content-Type \"\(Self.shown(text))\" isn't a media type; send one of \(Self.accepted)")
        }
        let packing: EventPacking
        if media.essence.hasPrefix("application/cloudevents-batch") {
            guard media.essence == "application/cloudevents-batch+json" else {
                throw Self.unknownFormat(media, instead: "application/cloudevents-batch+json")
            }
            packing = .batch
        } else if media.essence.hasPrefix("application/cloudevents") {
            guard media.essence == "application/cloudevents+json" else {
                throw Self.unknownFormat(media, instead: "application/cloudevents+json")
            }
            packing = .structured
        } else if !request.attributes.isEmpty {
            self = .binary
            return
        } else if ["application/x-ndjson", "application/ndjson", "application/jsonl"].contains(media.essence) {
            packing = .lines
        } else if media.declaresJSON {
            packing = .json
        } else {
            throw Failure(
                .unsupportedMediaType,
                "Content-Type \"\(Self.shown(media.essence))\" needs ce- headers that say what the event is; "
                    + "without them send one of \(Self.accepted)")
        }
        guard media.isUTF8 else {
            throw Failure(
                .unsupportedMediaType, "charset \"\(Self.shown(media.charset ?? ""))\" isn't read; send JSON as UTF-8")
        }
        self = packing
    }

    /// Whether a place tells which event is meant.
    package var holdsSeveral: Bool { self == .batch || self == .lines }

    private static func unknownFormat(_ media: MediaType, instead: String) -> Failure {
        Failure(
            .unsupportedMediaType, "event format \"\(shown(media.essence))\" isn't read; send \(instead)")
    }

    /// Short enough to be repeated to whoever sent it.
    private static func shown(_ text: String) -> String {
        text.count > 80 ? text.prefix(80) + "…" : text
    }
}
