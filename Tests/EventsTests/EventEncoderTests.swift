// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

struct EventEncoderTests {
    static let events: [Event] = [
        Event(id: "1", source: "/s", type: "t"),
        Event(
            id: "a\"b\\c", source: "/s", type: "größe 😀",
            attributes: [
                .init("subject", .string("x")), .init("n", .integer(-7)), .init("b", .boolean(true)),
                .init("time", .string("2026-03-09T14:05:00Z")),
            ], data: .json(Array("{ \"a\" : [1,\n2] }".utf8))),
        Event(
            id: "1", source: "/s", type: "t", attributes: [.init("datacontenttype", .string("text/plain"))],
            data: .text(Array("line\nnext \"quoted\" \\ tab\t\u{1} €".utf8))),
        Event(id: "1", source: "/s", type: "t", data: .binary(Array(0...255))),
        Event(id: "1", source: "/s", type: "t", data: .json(Array("null".utf8))),
        Event(
            id: "1", source: "/s", type: "t", attributes: [.init("datacontenttype", .string("application/json"))],
            data: .json(Array("\"text\"".utf8))),
    ]

    static func record(_ event: Event) -> Record {
        var builder = RecordBatchBuilder(topic: .named("orders"), key: nil, capacity: 64)
        builder.append(event)
        return builder.finish()[0]
    }

    @Test(arguments: events)
    func structuredEventsComeBackAsTheyWere(_ event: Event) throws {
        #expect(try Event(json: event.json) == event)
    }

    @Test(arguments: events)
    func binaryEventsComeBackAsTheyWere(_ event: Event) throws {
        let record = Self.record(event)
        let headers = EventEncoder.binaryHeaders(record)
        let request = EventRequest(
            contentType: headers.first { $0.name == "content-type" }?.value,
            attributes: headers.filter { $0.name.hasPrefix("ce-") }.map { (String($0.name.dropFirst(3)), $0.value) })
        let back = try EventDecoderTests.decode(Array(record.data), request)[0].event
        #expect(back.id == event.id)
        #expect(back.type == event.type)
        #expect(back.data == event.data)
        for attribute in event.attributes {
            #expect(back[attribute.name] == attribute.value.canonical)
        }
    }

    @Test func theJSONIsExact() {
        let event = Event(
            id: "1", source: "/s", type: "t", attributes: [.init("n", .integer(5)), .init("x", .string("a\"b"))],
            data: .json(Array("{\"a\": 1.0}".utf8)))
        #expect(
            String(decoding: event.json, as: UTF8.self)
                == #"{"specversion":"1.0","id":"1","source":"/s","type":"t","n":5,"x":"a\"b","data":{"a": 1.0}}"#)
    }

    @Test func aLineHasNoLineBreak() {
        let record = Self.record(Self.events[1])
        var out: [UInt8] = []
        EventEncoder.appendLine(record, to: &out)
        #expect(!out.contains(0x0A))
        #expect(String(decoding: out, as: UTF8.self).hasSuffix(#""data":{ "a" : [1, 2] }}"#))
    }

    @Test func jsonWithoutATypeIsSentAsJSON() {
        let headers = EventEncoder.binaryHeaders(Self.record(Self.events[1]))
        #expect(headers.contains { $0 == ("content-type", "application/json") })
        #expect(headers.contains { $0 == ("ce-type", "gr%C3%B6%C3%9Fe%20%F0%9F%98%80") })
        #expect(!EventEncoder.binaryHeaders(Self.record(Self.events[3])).contains { $0.name == "content-type" })
    }

    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ])
    func base64AsInRFC4648(_ plain: String, _ encoded: String) {
        #expect(Base64.encode(plain.utf8) == encoded)
        #expect(Base64.decode(encoded) == Array(plain.utf8))
        #expect(Base64.decode(encoded.filter { $0 != "=" }, paddingRequired: false) == Array(plain.utf8))
    }

    @Test(arguments: ["A", "AA", "AAA", "AA=", "=AAA", "A===", "AA=A", "AAAA=", "AA==AA==", "A-_A", "AA A"])
    func whatIsNotBase64IsRefused(_ text: String) {
        #expect(Base64.decode(text) == nil)
    }

    @Test(arguments: [
        ("1970-01-01T00:00:00Z", 0), ("2026-03-09T14:05:00.5+01:00", 1_773_061_500_500),
        ("2000-02-29t23:59:60z", 951_868_800_000), ("1969-12-31T23:59:59.999Z", -1),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000), ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ])
    func timesAreReadAndWritten(_ text: String, _ milliseconds: Int64) {
        #expect(RFC3339.parse(text.utf8) == Timestamp(milliseconds: milliseconds))
        #expect(RFC3339.parse(RFC3339.format(Timestamp(milliseconds: milliseconds)).utf8)?.milliseconds == milliseconds)
    }

    @Test(arguments: [
        "", "2026", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00",
        "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00+1:00", "2026-01-01T00:00:00Zx", "2026-00-10T00:00:00Z",
    ])
    func whatIsNoTimeIsRefused(_ text: String) {
        #expect(RFC3339.parse(text.utf8) == nil)
    }

    @Test func idsRiseAndDiffer() {
        var ids = ULIDGenerator(time: Timestamp(milliseconds: 1_469_918_176_385))
        let made = (0..<1_000).map { _ in ids.next() as String }
        #expect(made == made.sorted())
        #expect(Set(made).count == 1_000)
        // The specification's example has this time.
        #expect(made[0].hasPrefix("01ARYZ6S41"))
        #expect(Int(made[0].utf8.count) == ULIDGenerator.length)
    }
}
