// SPDX-License-Identifier: Apache-2.0

import Broker

/// A publish request as somebody's broken client sends it: a right one of any content mode, changed here and there.
struct FuzzedRequest {
    /// As it comes; nil where there is none.
    var contentType: [UInt8]?
    var headers: [(name: String, value: [UInt8])] = []
    var body: [UInt8]

    private static let attributes = [
        #""subject":"a""#, #""time":"2026-03-09T14:05:00.5Z""#, #""dataschema":"https://example.com/s""#,
        #""datacontenttype":"application/json""#, #""datacontenttype":"text/plain""#, #""ext":5"#, #""flag":true"#,
        #""traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01""#, #""nothing":null"#,
        #""deliverafter":"30s""#, #""expirytime":"2030-01-01T00:00:00Z""#,
    ]
    private static let data = [
        #""data":{"total":250,"items":[1,2.5,"\u00e9"]}"#, #""data":null"#, #""data":"text""#, #""data":[]"#,
        #""data_base64":"aGVsbG8=""#, #""data":{"data":{"id":"x"}}"#,
    ]
    private static let values = [
        "a", "gr%C3%BC%C3%9Fe", "%41%42", "%zz", "%", "%4", "%C3", "%00", "%0D%0A", "\"quoted\"", "\"qu\\\"oted\"",
        "\"open",
        "a b", "2026-03-09T14:05:00Z", "https://example.com/", "", "30s", "-1", "99999999999999999999", "%F0%9F%98%80",
        "%ED%A0%80", "1.0",
    ]
    private static let types = [
        "application/json", "application/json; charset=utf-8", "application/json;charset=\"UTF-8\"", "text/plain",
        "application/octet-stream", "application/vnd.shop+json", "application/x-ndjson",
        "application/cloudevents+json; charset=utf-8", "application/cloudevents-batch+json",
        "application/cloudevents+json",
        "application/cloudevents+xml", "APPLICATION/JSON", "application/json; charset=latin1", "text", "/", ";",
        "a/b;c",
    ]
    private static let tokens = [
        "{", "}", "[", "]", "\"", ",", ":", "\\", "\\u", "\\ud800", "null", "0", "-", "e", "1e999", "\n", "\r", "\u{0}",
        " ",
        "\u{FEFF}", "\"id\"", "\"specversion\":\"1.0\"", "\"data\":", "\"source\":\"\"", "\u{10FFFF}",
    ]

    init(_ random: inout SeededGenerator) {
        let mode = Int.random(in: 0..<6, using: &random)
        switch mode {
        case 0:
            contentType = Array("application/cloudevents+json".utf8)
            body = Self.event(&random)
        case 1:
            contentType = Array("application/cloudevents-batch+json".utf8)
            let events = (0..<Int.random(in: 0...4, using: &random)).map { _ in Self.event(&random) }
            body = Array("[".utf8) + Array(events.joined(separator: Array(",".utf8))) + Array("]".utf8)
        case 2, 3:
            contentType =
                Int.random(in: 0..<8, using: &random) == 0
                ? nil : Array(Self.types.randomElement(using: &random)!.utf8)
            for name in ["specversion", "id", "source", "type"] {
                headers.append((name: "ce-\(name)", value: Array((name == "specversion" ? "1.0" : "a").utf8)))
            }
            for name in ["subject", "time", "dataschema", "ext", "deliverafter", "expirytime"]
            where Int.random(in: 0..<4, using: &random) == 0 {
                headers.append(
                    (name: "ce-\(name)", value: Array(Self.values.randomElement(using: &random)!.utf8)))
            }
            body = Bool.random(using: &random) ? Array(#"{"total":250}"#.utf8) : Self.noise(&random)
        case 4:
            contentType = Array("application/x-ndjson".utf8)
            let lines = (0..<Int.random(in: 0...4, using: &random)).map { index in
                index.isMultiple(of: 2) ? Self.event(&random) : Array(#"{"total":250}"#.utf8)
            }
            body = Array(lines.joined(separator: Array("\n".utf8)))
        default:
            contentType = Array("application/json".utf8)
            body = Array(#"{"total":250,"items":[{"sku":"a\u0062"},null]}"#.utf8)
        }
        for _ in 0..<Int.random(in: 0...3, using: &random) { mutate(&random) }
    }

    private static func event(_ random: inout SeededGenerator) -> [UInt8] {
        var members = [#""specversion":"1.0""#, #""id":"1""#, #""source":"/s""#, #""type":"t""#]
        for attribute in attributes where Int.random(in: 0..<6, using: &random) == 0 { members.append(attribute) }
        if Bool.random(using: &random) { members.append(data.randomElement(using: &random)!) }
        members.shuffle(using: &random)
        return Array("{\(members.joined(separator: ","))}".utf8)
    }

    private static func noise(_ random: inout SeededGenerator) -> [UInt8] {
        (0..<Int.random(in: 0...80, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    private mutating func mutate(_ random: inout SeededGenerator) {
        switch Int.random(in: 0..<10, using: &random) {
        case 0: contentType = Array(Self.types.randomElement(using: &random)!.utf8)
        case 1:
            guard let place = headers.indices.randomElement(using: &random) else { return }
            headers[place].value = Array(Self.values.randomElement(using: &random)!.utf8)
        case 2:
            guard let place = headers.indices.randomElement(using: &random) else { return }
            if Bool.random(using: &random) { headers.remove(at: place) } else { headers.append(headers[place]) }
        case 3:
            // What may stand in a header; the rest is refused before anybody looks at the event.
            guard let place = headers.indices.randomElement(using: &random) else { return }
            let bytes: [UInt8] = [
                UInt8.random(in: 0x21...0x7E, using: &random), UInt8.random(in: 0x80...0xFF, using: &random),
            ]
            headers[place].value.insert(
                bytes.randomElement(using: &random)!,
                at: Int.random(in: 0...headers[place].value.count, using: &random))
        case 4:
            headers.append(
                (
                    name: "ce-\(["data", "datacontenttype", "x_y", "X", "0", "id"].randomElement(using: &random)!)",
                    value: Array(Self.values.randomElement(using: &random)!.utf8)
                ))
        case 5:
            guard let at = body.indices.randomElement(using: &random) else { return }
            body[at] = UInt8.random(in: 0...255, using: &random)
        case 6:
            guard let at = body.indices.randomElement(using: &random) else { return }
            body.removeSubrange(at..<min(body.count, at + Int.random(in: 1...8, using: &random)))
        case 7:
            guard let at = body.indices.randomElement(using: &random) else { return }
            let part = Array(body[at..<min(body.count, at + Int.random(in: 1...40, using: &random))])
            body.insert(contentsOf: part, at: Int.random(in: 0...body.count, using: &random))
        default:
            body.insert(
                contentsOf: Array(Self.tokens.randomElement(using: &random)!.utf8),
                at: Int.random(in: 0...body.count, using: &random))
        }
    }

    // MARK: On the wire

    /// The ways that a request takes through the server. All must answer the same.
    enum Way: CaseIterable {
        /// On the connection's event loop.
        case loop
        /// The same bytes but for one letter of the path, which only the responder reads.
        case responder
        /// Without its length, in chunks of any size.
        case chunks
    }

    func bytes(_ way: Way, _ random: inout SeededGenerator) -> [UInt8] {
        let topic = way == .responder ? "%6frders" : "orders"
        var out = Array("POST /v1/topics/\(topic)/events HTTP/1.1\r\nHost: localhost\r\n".utf8)
        func field(_ name: String, _ value: [UInt8]) { out += Array("\(name): ".utf8) + value + Array("\r\n".utf8) }
        if let contentType { field("Content-Type", contentType) }
        for (name, value) in headers { field(name, value) }
        guard way == .chunks else {
            field("Content-Length", Array(String(body.count).utf8))
            return out + Array("\r\n".utf8) + body
        }
        field("Transfer-Encoding", Array("chunked".utf8))
        out += Array("\r\n".utf8)
        var rest = body[...]
        while !rest.isEmpty {
            let chunk = rest.prefix(Int.random(in: 1...max(1, rest.count), using: &random))
            rest = rest.dropFirst(chunk.count)
            out += Array((String(chunk.count, radix: 16) + "\r\n").utf8) + chunk + Array("\r\n".utf8)
        }
        return out + Array("0\r\n\r\n".utf8)
    }

    /// As somebody reads it who has to mend what it found.
    var shown: String {
        let fields = headers.map { "\($0.name): \(String(decoding: $0.value, as: UTF8.self))" }
        let type = contentType.map { "Content-Type: \(String(decoding: $0, as: UTF8.self))" } ?? "no Content-Type"
        return ([type] + fields + ["", String(decoding: body, as: UTF8.self)]).joined(separator: "\n")
    }
}
