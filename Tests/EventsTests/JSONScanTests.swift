// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

/// Finding where a value ends, and taking JSON apart.
struct JSONScanTests {
    /// A random JSON text of at most `depth` levels, full of what could mislead a scan.
    static func text(_ random: inout Seeded, depth: Int) -> String {
        func string() -> String {
            let pieces = [
                "a", "[", "]", "{", "}", ",", ":", " ", "\\\"", "\\\\", "\\n", "\\u0022", "é", "😀", "0123456789",
            ]
            let count = Int.random(in: 0...12, using: &random)
            return "\"" + (0..<count).map { _ in pieces.randomElement(using: &random)! }.joined() + "\""
        }
        func space() -> String { ["", "", " ", "\n\t"].randomElement(using: &random)! }
        switch Int.random(in: 0...(depth > 0 ? 7 : 4), using: &random) {
        case 0: return string()
        case 1: return "-12.5e3"
        case 2: return "true"
        case 3: return "null"
        case 4: return string()
        case 5:
            let count = Int.random(in: 0...4, using: &random)
            return "[" + space()
                + (0..<count).map { _ in text(&random, depth: depth - 1) + space() }.joined(separator: ",") + "]"
        default:
            let count = Int.random(in: 0...4, using: &random)
            return "{" + space()
                + (0..<count).map { at in
                    "\"\(at)\\\"\"" + space() + ":" + space() + text(&random, depth: depth - 1)
                }.joined(separator: ",") + space() + "}"
        }
    }

    @Test func dataIsFoundWhateverIsInIt() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = Seeded(seed: seed)
        for _ in 0..<2_000 {
            let data = Self.text(&random, depth: 4)
            let event =
                "{\"data\":\(data),\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"z\":\"last\"}"
            let batch = try EventDecoderTests.decode(
                Array("[\(event) , \(event)]".utf8), EventRequest(contentType: "application/cloudevents-batch+json"))
            #expect(batch.count == 2, "seed \(seed)")
            for at in 0..<batch.count {
                let event = batch[at].event
                #expect(event.data == .json(Array(data.utf8)), "seed \(seed)")
                #expect(event["z"] == "last", "seed \(seed)")
            }
        }
    }

    @Test func everyLengthOfStringIsFoundWhole() throws {
        for length in 0...70 {
            for tail in ["", "\\\"", "\\\\", "\\\\\\\""] {
                let text = "\"" + String(repeating: "x", count: length) + tail + "\""
                let event =
                    "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"data\":\(text),\"z\":\"1\"}"
                let decoded = try Event(json: Array(event.utf8))
                #expect(decoded.data == .json(Array(text.utf8)), "length \(length)")
                #expect(decoded["z"] == "1")
            }
        }
    }

    static func value(_ text: String) throws(Failure) -> JSONValue {
        let bytes = PaddedBytes(Array(text.utf8))
        return try bytes.withBytes { (bytes) throws(Failure) in try JSONValue(bytes) }
    }

    @Test func jsonIsTakenApart() throws {
        #expect(
            try Self.value(#" {"a":[1,-2.5e1,true,false,null,"x\n\u20ac",[],{}],"\u0062":{"c":"d"}} "#)
                == .object([
                    "a": .array([
                        .number("1"), .number("-2.5e1"), .boolean(true), .boolean(false), .null, .string("x\n€"),
                        .array([]), .object([:]),
                    ]),
                    "b": .object(["c": .string("d")]),
                ]))
    }

    @Test(arguments: [
        ("{\"a\":1,\"a\":2}", "member \"a\" occurs twice"), ("{\"id\":1,\"id\":2}", "occurs twice"),
        ("", "not valid JSON at byte 0: the text ends too early"), ("[1,", "not valid JSON at byte 3"),
        ("\"\\ud800\"", "half a surrogate pair"),
    ])
    func brokenJSONIsNotTakenApart(_ text: String, _ message: String) {
        do {
            let value = try Self.value(text)
            Issue.record("read as \(value)")
        } catch {
            #expect(error.message.contains(message), "\(error.message)")
        }
    }
}
