// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Gateway

struct PlainRequestTests {
    private static let publish =
        "POST /v1/topics/orders/events HTTP/1.1\r\nHost: localhost\r\nce-id:\t 1 \r\ncontent-LENGTH: 2\r\nA_b.c-1: \r\n\r\n"

    private func read(_ text: String) -> (PlainRequest.Reading, PlainRequest) {
        var request = PlainRequest()
        let reading = Array(text.utf8).withUnsafeBytes { request.read($0) }
        return (reading, request)
    }

    @Test func aHeadIsReadWhereItLies() {
        let text = Array((Self.publish + "{}GET ").utf8)
        let (reading, request) = read(Self.publish + "{}GET ")
        func part(_ range: Range<Int>) -> String { String(decoding: text[range], as: UTF8.self) }
        #expect(reading == .whole)
        #expect(part(request.method) == "POST")
        #expect(part(request.target) == "/v1/topics/orders/events")
        #expect(
            request.fields.map { "\(part($0.name))=\(part($0.value))" } == [
                "Host=localhost", "ce-id=1", "content-LENGTH=2", "A_b.c-1=",
            ])
        #expect(request.headLength == Self.publish.utf8.count)
        #expect(request.length == Self.publish.utf8.count + 2)
    }

    @Test func whatCouldBecomeAHeadIsWaitedFor() {
        for count in 0..<Self.publish.count {
            #expect(read(String(Self.publish.prefix(count))).0 == .partial, "\(count) bytes")
        }
    }

    @Test func nothingOfTheHeadBeforeIsLeft() {
        var request = PlainRequest()
        _ = Array(Self.publish.utf8).withUnsafeBytes { request.read($0) }
        let reading = Array("GET / HTTP/1.1\r\n\r\n".utf8).withUnsafeBytes { request.read($0) }
        #expect(reading == .whole && request.fields.isEmpty && request.contentLength == 0)
    }

    /// Each is read in two ways by somebody, or says that more follows than `Content-Length` does.
    @Test(arguments: [
        "\r\nGET / HTTP/1.1\r\n\r\n", "get / HTTP/1.1\r\n\r\n", " GET / HTTP/1.1\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n",
        "GET /\tHTTP/1.1\r\n\r\n", "GET /a#b HTTP/1.1\r\n\r\n", "GET /\u{e9} HTTP/1.1\r\n\r\n",
        "GET * HTTP/1.1\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1 \r\n\r\n", "GET / HTTP/1.1\n\r\n",
        "GET / HTTP/1.1\r\r\n", "GET / HTTP/1.1\r\nA : 1\r\n\r\n", "GET / HTTP/1.1\r\n A: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nA: 1\r\n b\r\n\r\n", "GET / HTTP/1.1\r\n: 1\r\n\r\n", "GET / HTTP/1.1\r\nA: 1\n\r\n",
        "GET / HTTP/1.1\r\nA: 1\rB: 2\r\n\r\n", "GET / HTTP/1.1\r\nA: \0\r\n\r\n",
        "GET / HTTP/1.1\r\nA: \u{e9}\r\n\r\n",
        "GET / HTTP/1.1\r\nA(b): 1\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: \r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1000000000000000\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", "GET / HTTP/1.1\r\nTRANSFER-ENCODING: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", "GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
        "GET / HTTP/1.1\r\nTE: trailers\r\n\r\n", "GET / HTTP/1.1\r\nTrailer: a\r\n\r\n",
        "GET / HTTP/1.1\r\n" + String(repeating: "A: 1\r\n", count: 201) + "\r\n",
    ])
    func whatIsNotPlainIsForTheParser(_ text: String) {
        #expect(read(text).0 == .foreign)
    }
}
