// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Glibc

/// Turns a publish request into records: CloudEvents 1.0.2 in binary, structured and batch mode, plain JSON, and
/// NDJSON. All or nothing: the first event that is wrong refuses the request.
///
/// JSON is checked completely here, so that whatever reads a record later need not. Data is kept byte for byte.
package struct EventDecoder: Sendable {
    private let topic: Topic
    private let key: (any KeyExtractor)?
    private let clock: any Clock
    private let eventBytesMax: Int

    /// `clock` gives the time in the ids of events that come without one.
    package init(
        topic: Topic, key: (any KeyExtractor)?, clock: any Clock = SystemClock(),
        eventBytesMax: Int = Limits.eventBytesMax
    ) {
        self.topic = topic
        self.key = key
        self.clock = clock
        self.eventBytesMax = eventBytesMax
    }

    /// `body` has ``FL_RECORD_PADDING`` readable bytes behind it: ``PaddedBytes``.
    ///
    /// - Throws: ``Failure`` with code `malformed`, `tooLarge` or `unsupportedMediaType`; its index is the event's
    ///   place in a batch or among the lines.
    package func decode(_ body: UnsafeRawBufferPointer, _ request: EventRequest) throws(Failure) -> RecordBatch {
        let packing = try EventPacking(of: request)
        // A record costs some fifty bytes more than it takes as JSON, or less, when its names are shorter.
        var builder = RecordBatchBuilder(topic: topic, key: key, capacity: body.count + body.count / 4 + 512)
        switch packing {
        case .binary: try appendBinary(body, request, to: &builder)
        case .structured:
            let event = trimmed(body)
            try check(event, index: nil, at: 0)
            try appendStructured(event, index: nil, at: 0, to: &builder)
        case .batch: try appendBatch(body, to: &builder)
        case .json:
            let data = trimmed(body)
            try check(data, index: nil, at: 0)
            var wrapper = try PlainWrapper(request, topic: topic, time: clock.now())
            wrapper.append(data, to: &builder)
        case .lines: try appendLines(body, request, to: &builder)
        }
        return builder.finish()
    }

    // MARK: The packings

    private func appendBatch(
        _ body: UnsafeRawBufferPointer, to builder: inout RecordBatchBuilder
    ) throws(Failure) {
        let start = body.baseAddress!
        var array = fl_json_array_of(body.asBytes, body.count)
        var element = fl_span()
        var index = 0
        while true {
            let step = fl_json_array_next(&array, &element)
            if step == 0 { return }
            let position = UnsafeRawPointer(array.at) - start
            guard step > 0 else {
                throw Failure(
                    .malformed,
                    index == 0 && array.begun == 0
                        ? "a batch is a JSON array of events; byte \(position) isn't \"[\""
                        : "the batch's array is broken at byte \(position): \",\" or \"]\" is expected behind an event",
                    index: index)
            }
            guard index < Limits.batchEventsMax else { throw Self.tooMany() }
            let event = UnsafeRawBufferPointer(span: element)!
            let at = event.baseAddress! - start
            try check(event, index: index, at: at)
            try appendStructured(event, index: index, at: at, to: &builder)
            index += 1
        }
    }

    private func appendLines(
        _ body: UnsafeRawBufferPointer, _ request: EventRequest, to builder: inout RecordBatchBuilder
    ) throws(Failure) {
        var wrapper = try PlainWrapper(request, topic: topic, time: clock.now())
        var at = 0
        var index = 0
        var lineNumber = 0
        while at < body.count {
            let end = lineEnd(body, from: at)
            let line = trimmed(UnsafeRawBufferPointer(rebasing: body[at..<end]))
            at = end + 1
            lineNumber += 1
            if line.isEmpty { continue }
            guard index < Limits.batchEventsMax else { throw Self.tooMany() }
            do {
                try check(line, index: index, at: 0)
                if line[0] == UInt8(ascii: "{") {
                    let members = try JSONMembers(of: line, index: index, at: 0)
                    if members.isCloudEvent {
                        try StructuredEvent(members, index: index).append(to: &builder)
                        index += 1
                        continue
                    }
                }
                wrapper.append(line, to: &builder)
            } catch {
                throw Failure(error.code, "line \(lineNumber): \(error.message)", index: error.index)
            }
            index += 1
        }
    }

    private func appendStructured(
        _ event: UnsafeRawBufferPointer, index: Int?, at: Int, to builder: inout RecordBatchBuilder
    ) throws(Failure) {
        try StructuredEvent(JSONMembers(of: event, index: index, at: at), index: index).append(to: &builder)
    }

    private func appendBinary(
        _ body: UnsafeRawBufferPointer, _ request: EventRequest, to builder: inout RecordBatchBuilder
    ) throws(Failure) {
        let event = try BinaryEvent(request)
        try checkSize(body.count, index: nil)
        try event.append(body, to: &builder)
    }

    // MARK: Shared checks

    /// Refuses what isn't JSON; `at` is where `text` starts in the body.
    private func check(_ text: UnsafeRawBufferPointer, index: Int?, at: Int) throws(Failure) {
        try checkSize(text.count, index: index)
        try Self.check(text, index: index, at: at)
    }

    private func checkSize(_ bytes: Int, index: Int?) throws(Failure) {
        guard bytes > eventBytesMax else { return }
        throw Failure(.tooLarge, "the event has \(bytes) bytes; the limit is \(eventBytesMax)", index: index)
    }

    static func check(_ text: UnsafeRawBufferPointer, index: Int?, at: Int) throws(Failure) {
        let verdict = fl_json_check(text.asBytes, text.count, Limits.jsonDepthMax)
        if verdict.status != FL_JSON_OK { throw failure(verdict, index: index, at: at) }
    }

    static func failure(_ verdict: fl_json_verdict, index: Int?, at: Int) -> Failure {
        let reason = String(cString: verdict.reason)
        let position = at + Int(verdict.position)
        return switch verdict.status {
        case FL_JSON_MEMORY: Failure(.overloaded, "no memory to read the event; try again", index: index)
        case FL_JSON_DEPTH:
            Failure(
                .malformed, "\(reason) at byte \(position); the limit is \(Limits.jsonDepthMax) levels", index: index)
        case FL_JSON_NO_OBJECT:
            Failure(.malformed, "an event is a JSON object; byte \(position) isn't \"{\"", index: index)
        case FL_JSON_UTF8:
            Failure(.malformed, "\(reason) at byte \(position); send JSON as UTF-8", index: index)
        default: Failure(.malformed, "not valid JSON at byte \(position): \(reason)", index: index)
        }
    }

    private static func tooMany() -> Failure {
        Failure(
            .tooLarge,
            "the request has more than \(Limits.batchEventsMax) events; send them in several requests",
            index: Limits.batchEventsMax)
    }
}

let newline = UInt8(ascii: "\n")

/// Where the line that starts at `at` ends: at its line break, or at the end of the text.
private func lineEnd(_ text: UnsafeRawBufferPointer, from at: Int) -> Int {
    let start = text.baseAddress! + at
    guard let found = memchr(start, Int32(newline), text.count - at) else { return text.count }
    return at + (UnsafeRawPointer(found) - start)
}

/// Without JSON's white space at either end.
func trimmed(_ text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D }
    var start = 0
    var end = text.count
    while start < end, isSpace(text[start]) { start += 1 }
    while end > start, isSpace(text[end - 1]) { end -= 1 }
    return UnsafeRawBufferPointer(rebasing: text[start..<end])
}
