// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
import NIOHTTP1

/// What the parser lets through, and what a proxy in front of the server may read otherwise (RFC 9112 sections 3.2, 6.1,
/// 11.2). Both must see the same requests in the same bytes, else one client puts words into another's mouth.
enum RequestCheck {
    /// Brings a target in absolute form into origin form: its host counts, not the `Host` header (RFC 9112 section 3.2.2).
    ///
    /// - Throws: what the client is told; the connection ends with it.
    static func check(_ head: inout HTTPRequestHead) throws(Problem) {
        try checkLength(head)
        try checkTarget(&head)
        try checkHost(head)
    }

    private static func checkLength(_ head: HTTPRequestHead) throws(Problem) {
        let codings = head.headers["Transfer-Encoding"]
        let lengths = head.headers["Content-Length"]
        guard codings.isEmpty || lengths.isEmpty else {
            throw refused("Content-Length and Transfer-Encoding can't stand together; send one of them")
        }
        guard lengths.count <= 1 else { throw refused("Content-Length stands there \(lengths.count) times") }
        if let length = lengths.first {
            guard !length.isEmpty, length.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) else {
                throw refused("Content-Length must be a number, in digits")
            }
        }
        guard !codings.isEmpty else { return }
        guard head.version == .http1_1 else {
            throw refused("HTTP/1.0 knows no Transfer-Encoding; send Content-Length")
        }
        guard codings.count == 1, codings[0].lowercased() == "chunked" else {
            throw Problem(
                .notImplemented, type: "unsupported-coding", title: "Unsupported transfer coding",
                detail: "only Transfer-Encoding: chunked is read here; send the body as it is")
        }
    }

    private static func checkTarget(_ head: inout HTTPRequestHead) throws(Problem) {
        guard head.uri.utf8.allSatisfy({ 0x21...0x7E ~= $0 && $0 != UInt8(ascii: "#") }) else {
            throw refused("the target may hold printable ASCII without \"#\" only; percent-encode the rest")
        }
        if head.uri.hasPrefix("/") { return }
        guard let scheme = head.uri.firstRange(of: "://"),
            ["http", "https"].contains(head.uri[..<scheme.lowerBound].lowercased())
        else { throw refused("the target must begin with \"/\"; this is no proxy") }
        let rest = head.uri[scheme.upperBound...]
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let path = rest[end...]
        head.headers.replaceOrAdd(name: "Host", value: String(rest[..<end]))
        head.uri = path.hasPrefix("/") ? String(path) : "/" + path
    }

    private static func checkHost(_ head: HTTPRequestHead) throws(Problem) {
        let hosts = head.headers["Host"]
        guard hosts.count <= 1 else { throw refused("Host stands there \(hosts.count) times; send it once") }
        guard let host = hosts.first else {
            guard head.version != .http1_1 else { throw refused("HTTP/1.1 needs a Host header") }
            return
        }
        guard Self.host(of: host) != nil else {
            throw refused("Host must be a name or address, and a port where it has one")
        }
    }

    /// `Shop.example:8443` → `shop.example`, `[::1]:80` → `::1`; nil where it is none.
    static func host(of authority: String) -> String? {
        let bytes = Array(authority.utf8)
        var name = bytes[...]
        var port: ArraySlice<UInt8>?
        if bytes.first == UInt8(ascii: "[") {
            guard let end = bytes.firstIndex(of: UInt8(ascii: "]")) else { return nil }
            name = bytes[1..<end]
            guard !name.isEmpty, name.allSatisfy({ isHexadecimal($0) || $0 == 0x3A || $0 == 0x2E }) else { return nil }
            let rest = bytes[(end + 1)...]
            if let first = rest.first {
                guard first == UInt8(ascii: ":") else { return nil }
                port = rest.dropFirst()
            }
        } else {
            if let colon = bytes.firstIndex(of: UInt8(ascii: ":")) {
                name = bytes[..<colon]
                port = bytes[(colon + 1)...]
            }
            guard !name.isEmpty, name.allSatisfy(isOfName) else { return nil }
        }
        if let port {
            guard port.count <= 5, port.allSatisfy({ 0x30...0x39 ~= $0 }) else { return nil }
        }
        return String(decoding: name, as: UTF8.self).lowercased()
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        0x30...0x39 ~= byte || 0x41...0x46 ~= byte || 0x61...0x66 ~= byte
    }

    /// Letters, digits, and what names in use have besides: `-`, `.`, `_`, `~`.
    private static func isOfName(_ byte: UInt8) -> Bool {
        0x30...0x39 ~= byte || 0x41...0x5A ~= byte || 0x61...0x7A ~= byte || [0x2D, 0x2E, 0x5F, 0x7E].contains(byte)
    }

    static func refused(_ detail: String) -> Problem { .malformed(detail) }

    /// What the parser didn't take.
    static func problem(_ error: HTTPParserError) -> (problem: Problem, reason: Refusals.Reason) {
        switch error {
        case .headerOverflow:
            let problem = Problem(
                .requestHeaderFieldsTooLarge, type: "header-too-large", title: "Header too large",
                detail:
                    "the target and the headers have more than the \(Limits.headerBytesMax) bytes, or more than the "
                    + "\(Limits.headersMax) headers, that are read")
            return (problem, .headerTooLarge)
        case .invalidVersion:
            let problem = Problem(
                .httpVersionNotSupported, type: "http-version", title: "HTTP version not supported",
                detail: "this port speaks HTTP/1.1")
            return (problem, .malformed)
        default:
            return (refused("the bytes are no HTTP/1.1 request"), .malformed)
        }
    }
}
