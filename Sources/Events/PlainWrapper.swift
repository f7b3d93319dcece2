// SPDX-License-Identifier: Apache-2.0

import CFairlead

/// Makes an event of plain JSON, which has no attributes of its own: `type` is the query's or the topic's name,
/// `source` the query's or the topic's path, `id` a fresh one.
struct PlainWrapper {
    private let type: [UInt8]
    private let source: [UInt8]
    private let subject: [UInt8]?
    /// Set where the data isn't simply `application/json`, which an event without it means anyway.
    private let contentType: [UInt8]?
    private let schedule: [(name: ScheduleAttribute, value: [UInt8])]
    private var ids: ULIDGenerator

    init(_ request: EventRequest, topic: Topic, time: Timestamp) throws(Failure) {
        type = try Self.checked(request.type, "type") ?? Array(topic.shownName.utf8)
        source = try Self.checked(request.source, "source") ?? Array("/topics/\(topic.shownName)".utf8)
        subject = try Self.checked(request.subject, "subject")
        schedule = try request.schedule.map { (name, text) throws(Failure) in
            let bytes = Array(text.utf8)
            try bytes.withRawBytes { (value) throws(Failure) in try name.check(value, index: nil) }
            return (name, bytes)
        }
        let media = request.contentType.flatMap { MediaType($0) }
        contentType =
            media.flatMap { $0.declaresJSON && $0.essence != "application/json" ? Array($0.essence.utf8) : nil }
        ids = ULIDGenerator(time: time)
    }

    /// `data` is JSON that has been checked.
    mutating func append(_ data: UnsafeRawBufferPointer, to builder: inout RecordBatchBuilder) {
        builder.begin()
        ids.next { builder.attribute("id", $0) }
        source.withUnsafeBytes { builder.attribute("source", $0) }
        type.withUnsafeBytes { builder.attribute("type", $0) }
        subject?.withUnsafeBytes { builder.attribute("subject", $0) }
        contentType?.withUnsafeBytes { builder.attribute("datacontenttype", $0) }
        for (name, value) in schedule {
            var name = name.rawValue
            name.withUTF8 { name in
                value.withUnsafeBytes { builder.attribute(UnsafeRawBufferPointer(name), $0) }
            }
        }
        builder.end(data: data, kind: FL_DATA_JSON)
    }

    private static func checked(_ text: String?, _ name: String) throws(Failure) -> [UInt8]? {
        guard let text else { return nil }
        let bytes = Array(text.utf8)
        try bytes.withRawBytes { (value) throws(Failure) in
            try AttributeCheck.text(value, of: name, index: nil)
        }
        return bytes
    }
}
