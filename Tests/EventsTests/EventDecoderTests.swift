// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

struct EventDecoderTests {
    struct FixedClock: Events.Clock {
        func now() -> Timestamp { Timestamp(milliseconds: 1_773_065_100_000) }
    }

    static func decode(_ body: [UInt8], _ request: EventRequest) throws(Failure) -> RecordBatch {
        let bytes = PaddedBytes(body)
        let decoder = EventDecoder(topic: .named("orders"), key: nil, clock: FixedClock())
        return try bytes.withBytes { (body) throws(Failure) in try decoder.decode(body, request) }
    }

    static func events(_ batch: RecordBatch) -> [Event] { (0..<batch.count).map { batch[$0].event } }

    static func refusal(_ body: String, _ request: EventRequest) -> Failure? {
        do {
            _ = try decode(Array(body.utf8), request)
            return nil
        } catch {
            return error
        }
    }

    func check(_ vector: EventVector) {
        let request = EventRequest(contentType: vector.contentType, attributes: vector.headers.map { ($0.0, $0.1) })
        switch vector.expectation {
        case .events(let expected):
            do {
                #expect(Self.events(try Self.decode(vector.body, request)) == expected)
            } catch {
                Issue.record("refused: \(error)")
            }
        case .refused(let code, let text, let index):
            do {
                let events = Self.events(try Self.decode(vector.body, request))
                Issue.record("accepted as \(events)")
            } catch {
                #expect(error.code == code)
                #expect(error.message.contains(text), "the message was: \(error.message)")
                #expect(error.index == index)
            }
        }
    }

    @Test(arguments: structuredVectors)
    func structuredModeReadsOrRefuses(_ vector: EventVector) { check(vector) }

    @Test(arguments: typeVectors)
    func theJSONFormatsTypesAreReadOrRefused(_ vector: EventVector) { check(vector) }

    @Test(arguments: batchVectors)
    func batchModeReadsOrRefuses(_ vector: EventVector) { check(vector) }

    @Test(arguments: binaryVectors)
    func binaryModeReadsOrRefuses(_ vector: EventVector) { check(vector) }

    @Test func plainJSONIsWrapped() throws {
        let batch = try Self.decode(Array(" {\"total\": 250}\n".utf8), EventRequest(contentType: "application/json"))
        let event = batch[0].event
        #expect(event.type == "orders")
        #expect(event.source == "/topics/orders")
        #expect(event.attributes == [])
        #expect(event.data == .json(Array("{\"total\": 250}".utf8)))
        #expect(event.id.utf8.count == 26)
    }

    @Test func theQueryNamesAPlainEvent() throws {
        let request = EventRequest(
            contentType: "application/vnd.shop+json", type: "order.placed", source: "/shop", subject: "o-1")
        let event = try Self.decode(Array("[]".utf8), request)[0].event
        #expect(event.type == "order.placed")
        #expect(event.source == "/shop")
        #expect(event["subject"] == "o-1")
        #expect(event["datacontenttype"] == "application/vnd.shop+json")
    }

    @Test func anEmptyTypeInTheQueryIsRefused() {
        let refusal = Self.refusal("{}", EventRequest(contentType: "application/json", type: ""))
        #expect(refusal?.message == #"attribute "type" is empty; give it a value or leave it out"#)
    }

    @Test func linesArePlainDataOrEvents() throws {
        let body = """
            {"a":1}

              [2] \r
            {"specversion":"1.0","id":"7","source":"/s","type":"t","data":3}
            {"data":{"specversion":"1.0"}}
            "last"
            """
        let batch = try Self.decode(Array(body.utf8), EventRequest(contentType: "application/x-ndjson"))
        let events = Self.events(batch)
        #expect(
            events.map { String(decoding: $0.data.bytes, as: UTF8.self) } == [
                "{\"a\":1}", "[2]", "3", "{\"data\":{\"specversion\":\"1.0\"}}", "\"last\"",
            ])
        #expect(events.map(\.type) == ["orders", "orders", "t", "orders", "orders"])
        #expect(Set(events.map(\.id)).count == 5)
    }

    @Test func aBadLineIsNamedByLineAndIndex() {
        let body = "{\"a\":1}\n\n{\"a\":}\n"
        let refusal = Self.refusal(body, EventRequest(contentType: "application/x-ndjson"))
        #expect(refusal?.message == "line 3: not valid JSON at byte 5: a value is expected here")
        #expect(refusal?.index == 1)
    }

    @Test func aBadEventAmongLinesIsNamedToo() {
        let body = "{\"specversion\":\"1.0\",\"id\":\"\"}"
        let refusal = Self.refusal(body, EventRequest(contentType: "application/x-ndjson"))
        #expect(refusal?.message == "line 1: attribute \"id\" is empty; give it a value or leave it out")
        #expect(refusal?.index == 0)
    }

    @Test(arguments: ["application/x-www-form-urlencoded", "text/plain", "application/octet-stream", "nonsense"])
    func otherContentTypesAreRefused(_ contentType: String) {
        let refusal = Self.refusal("{}", EventRequest(contentType: contentType))
        #expect(refusal?.code == .unsupportedMediaType)
        #expect(refusal?.message.contains("send one of application/json, application/x-ndjson") == true)
    }

    @Test func noContentTypeIsRefused() {
        let refusal = Self.refusal("{}", EventRequest(contentType: nil))
        #expect(refusal?.code == .unsupportedMediaType)
        #expect(refusal?.message.hasPrefix("the request has neither a Content-Type nor ce- headers") == true)
    }

    @Test func tooLargeAnEventIsRefused() {
        let body = "\"" + String(repeating: "x", count: Limits.eventBytesMax) + "\""
        let refusal = Self.refusal(body, EventRequest(contentType: "application/json"))
        #expect(refusal?.code == .tooLarge)
        #expect(refusal?.message == "the event has 1048578 bytes; the limit is 1048576")
    }

    @Test func theLargestEventIsRead() throws {
        let body = "\"" + String(repeating: "x", count: Limits.eventBytesMax - 2) + "\""
        let batch = try Self.decode(Array(body.utf8), EventRequest(contentType: "application/json"))
        #expect(batch[0].data.count == Limits.eventBytesMax)
    }

    @Test func tooManyEventsAreRefused() {
        let body = String(repeating: "1\n", count: Limits.batchEventsMax + 1)
        let refusal = Self.refusal(body, EventRequest(contentType: "application/x-ndjson"))
        #expect(refusal?.code == .tooLarge)
        #expect(refusal?.message == "the request has more than 10000 events; send them in several requests")
    }

    @Test func tooManyAttributesAreRefused() {
        let extensions = (0..<Limits.attributesMax).map { "\"x\($0)\":\"1\"" }.joined(separator: ",")
        let body = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\(extensions)}"
        let refusal = Self.refusal(body, EventRequest(contentType: "application/cloudevents+json"))
        #expect(refusal?.message == "the event has 68 attributes; the limit is 64")
    }

    /// The checker and what explains its refusals count levels alike.
    @Test(arguments: [1, 2, 61, 62, 63, 64, 65, 66, 1_000, 100_000])
    func nestingIsBounded(_ levels: Int) throws {
        let body = String(repeating: "[", count: levels) + String(repeating: "]", count: levels)
        let refusal = Self.refusal(body, EventRequest(contentType: "application/json"))
        // The innermost, being empty, doesn't count.
        if levels <= Limits.jsonDepthMax {
            #expect(refusal == nil)
        } else {
            #expect(refusal?.code == .malformed)
            #expect(
                refusal?.message.hasPrefix("nesting is too deep at byte 63") == true, "\(refusal?.message ?? "read")")
        }
    }

    @Test(arguments: ["1e999", "-1e999", "123456789012345678901234567890"])
    func numbersThatNothingHoldsAreRefused(_ number: String) {
        let refusal = Self.refusal("{\"n\": \(number)}", EventRequest(contentType: "application/json"))
        #expect(
            refusal?.message
                == "not valid JSON at byte 6: a number fits neither 64-bit integer nor double; send it as a string")
    }

    @Test(arguments: [
        ("{\"a\" 1}", 5), ("{\"a\":1 \"b\":2}", 7), ("[1 2]", 3), ("[1,]", 3), ("tru", 0), ("nul", 0), ("01", 0),
        ("1.", 2), ("1e", 2), ("-", 1), ("\"\\x\"", 1), ("\"a\u{1}\"", 2), ("{} {}", 3), ("{a:1}", 1), ("'a'", 0),
        ("[", 1), ("\"\\u12\"", 1), ("+1", 0), ("NaN", 0), ("{\"a\":1,}", 7), ("\u{FEFF}{}", 0),
    ])
    func brokenJSONIsRefusedWhereItBreaks(_ text: String, _ position: Int) {
        let refusal = Self.refusal(text, EventRequest(contentType: "application/json"))
        #expect(refusal?.code == .malformed)
        #expect(
            refusal?.message.hasPrefix("not valid JSON at byte \(position): ") == true, "\(refusal?.message ?? "read")")
    }

    @Test func aRefusedRequestLeavesTheDecoderUsable() throws {
        #expect(Self.refusal("{", EventRequest(contentType: "application/json")) != nil)
        #expect(Self.refusal("{}", EventRequest(contentType: "application/json")) == nil)
    }

    /// Mutated valid requests and plain noise: each is read or refused, never more.
    @Test(arguments: [
        "application/json", "application/x-ndjson", "application/cloudevents+json",
        "application/cloudevents-batch+json",
    ])
    func randomBytesNeverTrap(_ contentType: String) {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = Seeded(seed: seed)
        let samples = (structuredVectors + batchVectors).map(\.body).filter { !$0.isEmpty }
        var read = 0
        var refused = 0
        for _ in 0..<4_000 {
            var body: [UInt8]
            if Bool.random(using: &random) {
                body = samples.randomElement(using: &random)!
                for _ in 0..<Int.random(in: 0...4, using: &random) where !body.isEmpty {
                    let at = Int.random(in: 0..<body.count, using: &random)
                    switch Int.random(in: 0...2, using: &random) {
                    case 0: body[at] = UInt8.random(in: 0...255, using: &random)
                    case 1: body.remove(at: at)
                    default: body.insert("{}[]\",:\\\n".utf8.randomElement(using: &random)!, at: at)
                    }
                }
            } else {
                body = (0..<Int.random(in: 0...200, using: &random)).map { _ in
                    Bool.random(using: &random)
                        ? UInt8.random(in: 0...255, using: &random)
                        : "{}[]\",:\\ 1e-t\n".utf8.randomElement(using: &random)!
                }
            }
            do {
                let batch = try Self.decode(body, EventRequest(contentType: contentType))
                for event in Self.events(batch) { _ = event.json }
                read += 1
            } catch {
                #expect(!error.message.isEmpty)
                refused += 1
            }
        }
        #expect(refused > 0, "seed \(seed)")
        #expect(read + refused == 4_000, "seed \(seed)")
    }
}

/// Repeats its numbers for one seed (splitmix64, https://prng.di.unimi.it/splitmix64.c).
struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
