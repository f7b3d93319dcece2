// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

/// One request and what must become of it: CloudEvents 1.0.2 in our own cases.
struct EventVector: Sendable, CustomTestStringConvertible {
    enum Expectation: Sendable {
        case events([Event])
        /// Code, a part of the message, and the index where one must be given.
        case refused(Failure.Code, String, index: Int? = nil)
    }

    var name: String
    var contentType: String?
    var headers: [(String, String)]
    var body: [UInt8]
    var expectation: Expectation

    init(
        _ name: String, _ contentType: String?, headers: [(String, String)] = [], _ body: String,
        _ expectation: Expectation
    ) {
        self.init(name, contentType, headers: headers, bytes: Array(body.utf8), expectation)
    }

    init(
        _ name: String, _ contentType: String?, headers: [(String, String)] = [], bytes: [UInt8],
        _ expectation: Expectation
    ) {
        self.name = name
        self.contentType = contentType
        self.headers = headers
        self.body = bytes
        self.expectation = expectation
    }

    var testDescription: String { name }
}

private let structured = "application/cloudevents+json"
private let batch = "application/cloudevents-batch+json"
private let least: [(String, String)] = [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "t")]

/// A structured event with `members` beside what every event has.
private func event(_ members: String = "") -> String {
    #"{"specversion":"1.0","id":"1","source":"/s","type":"t""# + (members.isEmpty ? "" : "," + members) + "}"
}

private func expected(_ attributes: [(String, AttributeValue)] = [], _ data: EventData = .none)
    -> EventVector.Expectation
{
    .events([
        Event(id: "1", source: "/s", type: "t", attributes: attributes.map { Event.Attribute($0.0, $0.1) }, data: data)
    ])
}

private func json(_ text: String) -> EventData { .json(Array(text.utf8)) }
private func text(_ text: String) -> EventData { .text(Array(text.utf8)) }

let structuredVectors: [EventVector] = [
    EventVector("the least", structured, event(), expected()),
    EventVector("a charset", "application/cloudevents+json; charset=UTF-8", event(), expected()),
    EventVector("a content type in capitals", "Application/CloudEvents+JSON", event(), expected()),
    EventVector("white space around it", structured, " \r\n\t" + event() + "\n", expected()),
    EventVector(
        "every attribute", structured,
        event(
            #""subject":"s","time":"2026-03-09T14:05:00.5+01:00","dataschema":"urn:x","datacontenttype":"application/json","data":1"#
        ),
        expected(
            [
                ("subject", .string("s")), ("time", .string("2026-03-09T14:05:00.5+01:00")),
                ("dataschema", .string("urn:x")), ("datacontenttype", .string("application/json")),
            ], json("1"))),
    EventVector(
        "extensions keep their types", structured,
        event(#""a":"x","b":true,"c":false,"d":-2147483648,"e":2147483647,"f":"","g":-0"#),
        expected([
            ("a", .string("x")), ("b", .boolean(true)), ("c", .boolean(false)), ("d", .integer(.min)),
            ("e", .integer(.max)), ("f", .string("")), ("g", .integer(0)),
        ])),
    EventVector(
        "a null attribute is no attribute", structured, event(#""subject":null,"time":null,"x":null"#), expected()),
    EventVector(
        "data is kept byte for byte", structured, event(#""data" : { "b" : 1.0 ,"a":[ ] } "#),
        expected([], json(#"{ "b" : 1.0 ,"a":[ ] }"#))),
    EventVector("null data is data", structured, event(#""data":null"#), expected([], json("null"))),
    EventVector(
        "a string of JSON stays a string", structured, event(#""data":"{\"a\":1}""#),
        expected([], json(#""{\"a\":1}""#))),
    EventVector(
        "text data has its escapes undone", structured,
        event(#""datacontenttype":"text/plain","data":"a\nb\u20ac\ud83d\ude00""#),
        expected([("datacontenttype", .string("text/plain"))], text("a\nb€😀"))),
    EventVector(
        "a suffix declares JSON", structured, event(#""datacontenttype":"image/JSON; q=1","data":[1]"#),
        expected([("datacontenttype", .string("image/JSON; q=1"))], json("[1]"))),
    EventVector(
        "null data of a text type is none", structured, event(#""datacontenttype":"text/plain","data":null"#),
        expected([("datacontenttype", .string("text/plain"))])),
    EventVector(
        "binary data", structured, event(#""data_base64":"AAEC/w==""#), expected([], .binary([0, 1, 2, 255]))),
    EventVector("null binary data is none", structured, event(#""data_base64":null"#), expected()),
    EventVector(
        "brackets and quotes inside strings", structured, event(#""data":{"a":"}]\"{[,\\"},"z":"1""#),
        expected([("z", .string("1"))], json(#"{"a":"}]\"{[,\\"}"#))),
    EventVector(
        "escaped names", structured,
        #"{"specversion":"1.0","\u0069d":"\u0031","source":"\/s","type":"t"}"#, expected()),
    EventVector(
        "unicode values", structured, event(#""subject":"größe 😀 \ud83d\ude00""#),
        expected([("subject", .string("größe 😀 😀"))])),
    EventVector(
        "no specversion", structured, #"{"id":"1","source":"/s","type":"t"}"#,
        .refused(.malformed, #"required attribute "specversion" is missing"#)),
    EventVector(
        "no id", structured, #"{"specversion":"1.0","source":"/s","type":"t"}"#,
        .refused(.malformed, #"required attribute "id" is missing"#)),
    EventVector(
        "a null source", structured, #"{"specversion":"1.0","id":"1","source":null,"type":"t"}"#,
        .refused(.malformed, #"required attribute "source" is missing"#)),
    EventVector(
        "an empty type", structured, #"{"specversion":"1.0","id":"1","source":"/s","type":""}"#,
        .refused(.malformed, #"attribute "type" is empty"#)),
    EventVector(
        "a number as id", structured, #"{"specversion":"1.0","id":1,"source":"/s","type":"t"}"#,
        .refused(.malformed, #"attribute "id" must be a string, not 1"#)),
    EventVector(
        "another version", structured, #"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#,
        .refused(.malformed, #"specversion "0.3" isn't read"#)),
    EventVector(
        "an empty subject", structured, event(#""subject":"""#), .refused(.malformed, #""subject" is empty"#)),
    EventVector(
        "a time that is none", structured, event(#""time":"yesterday""#),
        .refused(.malformed, #""time" is "yesterday", which isn't RFC 3339"#)),
    EventVector(
        "a 30th of February", structured, event(#""time":"2026-02-30T00:00:00Z""#),
        .refused(.malformed, "isn't RFC 3339")),
    EventVector(
        "a relative schema", structured, event(#""dataschema":"/schema""#),
        .refused(.malformed, "must be an absolute URI")),
    EventVector(
        "a content type that is none", structured, event(#""datacontenttype":"json""#),
        .refused(.malformed, "must be a media type")),
    EventVector(
        "a name in capitals", structured, event(#""orderId":"1""#),
        .refused(.malformed, #""orderId" isn't an attribute name"#)),
    EventVector(
        "a fraction", structured, event(#""x":1.5"#), .refused(.malformed, #"extension "x" is 1.5"#)),
    EventVector(
        "too large an integer", structured, event(#""x":2147483648"#),
        .refused(.malformed, #"extension "x" is 2147483648"#)),
    EventVector(
        "an object", structured, event(#""x":{}"#), .refused(.malformed, #"extension "x" is an object or array"#)),
    EventVector(
        "an attribute twice", structured, event(#""x":"1","x":"2""#), .refused(.malformed, #""x" occurs twice"#)),
    EventVector("id twice", structured, event(#""id":"2""#), .refused(.malformed, "occurs twice")),
    EventVector(
        "a control character", structured, event(#""x":"a\u0007""#),
        .refused(.malformed, #"attribute "x" has a control character or noncharacter at byte 1"#)),
    EventVector(
        "a noncharacter", structured, event(#""x":"\uffff""#), .refused(.malformed, "noncharacter at byte 0")),
    EventVector("half a pair", structured, event(#""x":"\ud800""#), .refused(.malformed, "half a surrogate pair")),
    EventVector(
        "data and data_base64", structured, event(#""data":1,"data_base64":"AA==""#),
        .refused(.malformed, #"both "data" and "data_base64""#)),
    EventVector("bad base64", structured, event(#""data_base64":"A*==""#), .refused(.malformed, "isn't base64")),
    EventVector(
        "an object as text", structured, event(#""datacontenttype":"text/plain","data":{}"#),
        .refused(.malformed, #""data" of type text/plain must be a JSON string"#)),
    EventVector(
        "an array where an event belongs", structured, "[]", .refused(.malformed, "an event is a JSON object")),
    EventVector("nothing", structured, "", .refused(.malformed, "the text ends too early")),
    EventVector(
        "cut off", structured, #"{"specversion":"1.0","id":"1"#,
        .refused(.malformed, "not valid JSON at byte 28: a string isn't closed")),
    EventVector(
        "a trailing comma", structured, #"{"id":"1",}"#,
        .refused(.malformed, "at byte 10: a member's name in double quotes is expected here")),
    EventVector(
        "bytes that aren't UTF-8", structured, bytes: Array(#"{"id":""#.utf8) + [0xC0, 0xA0] + Array(#""}"#.utf8),
        .refused(.malformed, "a byte isn't UTF-8 at byte 7")),
    EventVector("avro", "application/cloudevents+avro", "", .refused(.unsupportedMediaType, "isn't read; send")),
    EventVector(
        "another charset", "application/cloudevents+json; charset=iso-8859-1", event(),
        .refused(.unsupportedMediaType, "charset \"iso-8859-1\" isn't read")),
]

let batchVectors: [EventVector] = [
    EventVector("an empty batch", batch, " [ ] ", .events([])),
    EventVector(
        "two", batch, "[\(event(#""data":[1]"#)) ,\n\(event())]",
        .events([
            Event(id: "1", source: "/s", type: "t", data: json("[1]")), Event(id: "1", source: "/s", type: "t"),
        ])),
    EventVector(
        "the second is wrong", batch, #"[\#(event()),{"specversion":"1.0"}]"#,
        .refused(.malformed, #"required attribute "id" is missing"#, index: 1)),
    EventVector("the third is broken", batch, "[\(event()),\(event()),{]", .refused(.malformed, "not valid", index: 2)),
    EventVector("a number in it", batch, "[1]", .refused(.malformed, "an event is a JSON object", index: 0)),
    EventVector("a missing comma", batch, "[\(event())\(event())]", .refused(.malformed, "array is broken", index: 1)),
    EventVector("no end", batch, "[\(event())", .refused(.malformed, "array is broken", index: 1)),
    EventVector("more behind it", batch, "[\(event())] x", .refused(.malformed, "array is broken", index: 1)),
    EventVector("no array", batch, event(), .refused(.malformed, "a batch is a JSON array of events", index: 0)),
    EventVector(
        "a batch in avro", "application/cloudevents-batch+avro", "", .refused(.unsupportedMediaType, "isn't read")),
]

let binaryVectors: [EventVector] = [
    EventVector("the least", nil, headers: least, "", expected()),
    EventVector(
        "JSON", "application/json", headers: least, "{\"a\": 1}",
        expected([("datacontenttype", .string("application/json"))], json("{\"a\": 1}"))),
    EventVector(
        "JSON without data", "application/json", headers: least, "",
        expected([("datacontenttype", .string("application/json"))])),
    EventVector(
        "text", "text/plain; charset=utf-8", headers: least, "grüß",
        expected([("datacontenttype", .string("text/plain; charset=utf-8"))], text("grüß"))),
    EventVector(
        "bytes", "application/octet-stream", headers: least, bytes: [0, 255],
        expected([("datacontenttype", .string("application/octet-stream"))], .binary([0, 255]))),
    EventVector(
        "text that isn't UTF-8 is bytes", "text/plain", headers: least, bytes: [0xFF],
        expected([("datacontenttype", .string("text/plain"))], .binary([0xFF]))),
    EventVector("no content type", nil, headers: least, bytes: [0x61], expected([], .binary([0x61]))),
    EventVector(
        "percent encoding", nil, headers: least + [("subject", "Euro%20%E2%82%AC%20%f0%9f%98%80"), ("x", "%61")], "",
        expected([("subject", .string("Euro € 😀")), ("x", .string("a"))])),
    EventVector(
        "decoded once", nil, headers: least + [("x", "%2541")], "", expected([("x", .string("%41"))])),
    EventVector(
        "a quoted value", nil, headers: least + [("x", #""a \"b\" \\ %41""#)], "",
        expected([("x", .string(#"a "b" \ A"#))])),
    EventVector(
        "overlong UTF-8", nil, headers: least + [("x", "%C0%A0")], "",
        .refused(.malformed, "header ce-x isn't UTF-8 after percent-decoding")),
    EventVector("a lone percent", nil, headers: least + [("x", "100%")], "", .refused(.malformed, "sent as %25")),
    EventVector("no closing quote", nil, headers: least + [("x", "\"a")], "", .refused(.malformed, "no closing quote")),
    EventVector(
        "no id", nil, headers: least.filter { $0.0 != "id" }, "", .refused(.malformed, "header ce-id is missing")),
    EventVector(
        "no specversion", nil, headers: least.filter { $0.0 != "specversion" }, "",
        .refused(.malformed, "header ce-specversion is missing")),
    EventVector(
        "ce-datacontenttype", nil, headers: least + [("datacontenttype", "a/b")], "",
        .refused(.malformed, "ce-datacontenttype isn't allowed")),
    EventVector("ce-data", nil, headers: least + [("data", "1")], "", .refused(.malformed, "ce-data isn't allowed")),
    EventVector("a header twice", nil, headers: least + [("id", "2")], "", .refused(.malformed, "ce-id occurs twice")),
    EventVector(
        "a name with a dash", nil, headers: least + [("a-b", "2")], "", .refused(.malformed, "isn't an attribute name")),
    EventVector(
        "broken JSON", "application/json", headers: least, "{", .refused(.malformed, "not valid JSON at byte 1")),
    EventVector("a bad time", nil, headers: least + [("time", "now")], "", .refused(.malformed, "isn't RFC 3339")),
    EventVector(
        "structured wins over headers", structured, headers: least, event(#""subject":"body""#),
        expected([("subject", .string("body"))])),
    EventVector(
        "hexadecimal in both cases", nil, headers: least + [("x", "%c3%BC%C3%bc")], "",
        expected([("x", .string("üü"))])),
    EventVector(
        "what need not be encoded and is", nil, headers: least + [("x", "%7E%21%2F")], "",
        expected([("x", .string("~!/"))])),
    EventVector("half a code point", nil, headers: least + [("x", "%E2%82")], "", .refused(.malformed, "isn't UTF-8")),
    EventVector("a surrogate", nil, headers: least + [("x", "%ED%A0%80")], "", .refused(.malformed, "isn't UTF-8")),
    EventVector(
        "one hexadecimal digit", nil, headers: least + [("x", "%4")], "", .refused(.malformed, "sent as %25")),
    EventVector(
        "a control character that was encoded", nil, headers: least + [("x", "a%0Ab")], "",
        .refused(.malformed, "has a control character or noncharacter at byte 1")),
    EventVector(
        "an empty id", nil, headers: least.map { $0.0 == "id" ? ("id", "") : $0 }, "",
        .refused(.malformed, #"attribute "id" is empty"#)),
    EventVector(
        "an extension that is empty", nil, headers: least + [("x", "")], "", expected([("x", .string(""))])),
    EventVector(
        "true and 5 in headers are text", nil, headers: least + [("b", "true"), ("n", "5")], "",
        expected([("b", .string("true")), ("n", .string("5"))])),
    EventVector(
        "a trace is carried as it came", nil,
        headers: least + [("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")], "",
        expected([("traceparent", .string("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))])),
    EventVector(
        "a suffix of JSON in capitals", "Application/Vnd.Shop+JSON", headers: least, "[1]",
        expected([("datacontenttype", .string("Application/Vnd.Shop+JSON"))], json("[1]"))),
    EventVector(
        "a name in capitals", nil, headers: least + [("Order", "1")], "",
        .refused(.malformed, "isn't an attribute name")),
]

/// What the JSON format says of types, beside ``structuredVectors``.
let typeVectors: [EventVector] = [
    EventVector(
        "the least integer's neighbour", structured, event(#""x":-2147483649"#),
        .refused(.malformed, #"extension "x" is -2147483649"#)),
    EventVector("an exponent", structured, event(#""x":1e2"#), .refused(.malformed, #"extension "x" is 1e2"#)),
    EventVector("an array", structured, event(#""x":[1]"#), .refused(.malformed, "is an object or array")),
    EventVector(
        "a boolean as subject", structured, event(#""subject":true"#),
        .refused(.malformed, "must be a string, not true")),
    EventVector("a number as base64", structured, event(#""data_base64":1"#), .refused(.malformed, "isn't base64")),
    EventVector(
        "base64 without padding", structured, event(#""data_base64":"AA""#), .refused(.malformed, "isn't base64")),
    EventVector("no bytes in base64", structured, event(#""data_base64":"""#), expected([], .binary([]))),
    EventVector(
        "base64 of JSON stays bytes", structured, event(#""datacontenttype":"application/json","data_base64":"e30=""#),
        expected([("datacontenttype", .string("application/json"))], .binary([0x7B, 0x7D]))),
    EventVector(
        "null beside data", structured, event(#""data":1,"data_base64":null"#), expected([], json("1"))),
    EventVector("false is data", structured, event(#""data":false"#), expected([], json("false"))),
    EventVector(
        "a large number in data is kept", structured, event(#""data":12345678901234567890.10"#),
        expected([], json("12345678901234567890.10"))),
    EventVector(
        "a long name", structured, event(#""averylongextensionnamethatpassestwenty":"1""#),
        expected([("averylongextensionnamethatpassestwenty", .string("1"))])),
    EventVector("an empty name", structured, event(#""":"1""#), .refused(.malformed, "isn't an attribute name")),
]
