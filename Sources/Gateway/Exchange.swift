// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
import Hummingbird
import NIOCore

/// One request on its way through a handler: what the path and the query name, and its body.
struct Exchange: Sendable {
    let request: Request
    /// The parts of the path that stand for something, in order.
    let parameters: [String]

    var headers: HTTPFields { request.headers }

    /// The first value of `name` in the query, decoded; an empty string where it has none.
    func query(_ name: String) throws -> String? {
        guard let query = request.uri.query else { return nil }
        for pair in query.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard PercentText.decode(parts[0], plusIsSpace: true) == name else { continue }
            guard parts.count == 2 else { return "" }
            guard let value = PercentText.decode(parts[1], plusIsSpace: true) else {
                throw Problem.malformed("query parameter \"\(name)\" isn't percent-encoded UTF-8")
            }
            return value
        }
        return nil
    }

    func integer(_ name: String, default standard: Int, max: Int) throws -> Int {
        guard let text = try query(name) else { return standard }
        guard let value = Int(text), value > 0 else {
            throw Problem.malformed("query parameter \"\(name)\" is \"\(text)\"; it must be a number from 1 to \(max)")
        }
        return min(value, max)
    }

    func unsigned<Number: FixedWidthInteger>(_ name: String, as type: Number.Type = Number.self) throws -> Number? {
        guard let text = try query(name) else { return nil }
        guard let value = Number(text), value >= 0 else {
            throw Problem.malformed("query parameter \"\(name)\" is \"\(text)\"; it must be a whole number from 0")
        }
        return value
    }

    func wait() throws -> Duration {
        guard let text = try query("wait") else { return .zero }
        return try Self.wait(text, "query parameter \"wait\"")
    }

    static func wait(_ text: String, _ name: String) throws -> Duration {
        guard let wait = DurationText.parse(text) else {
            throw Problem.malformed("\(name) is \"\(text)\"; write a number and a unit, such as 20s or 500ms")
        }
        return min(wait, Limits.waitMax)
    }

    /// Reads the whole body, refusing as soon as it is known to be longer than `limit` bytes.
    func body(upTo limit: Int) async throws -> PaddedBytes {
        let announced = headers[.contentLength].flatMap { Int($0) }
        if let announced, announced > limit { throw tooLarge("\(announced)", limit) }
        var bytes = PaddedBytes(capacity: announced ?? 0)
        for try await chunk in request.body {
            if bytes.count + chunk.readableBytes > limit { throw tooLarge("more than \(limit)", limit) }
            chunk.withUnsafeReadableBytes { bytes.append($0) }
        }
        return bytes
    }

    /// The body as a JSON object; an absent one counts as empty.
    func object() async throws -> [String: JSONValue] {
        let bytes = try await body(upTo: Limits.controlBytesMax)
        if bytes.count == 0 { return [:] }
        if let text = headers[.contentType], let media = MediaType(text), !media.declaresJSON {
            var problem = Problem(
                .unsupportedMediaType, type: "unsupported-media-type", title: "Unsupported media type",
                detail: "Content-Type \"\(media.essence)\" isn't read here; send application/json")
            problem.headers[.accept] = "application/json"
            throw problem
        }
        guard case .object(let object) = try bytes.withBytes({ (body) throws(Failure) in try JSONValue(body) }) else {
            throw Problem.malformed("the body must be a JSON object")
        }
        return object
    }

    private func tooLarge(_ bytes: String, _ limit: Int) -> Problem {
        var problem = Problem(
            Failure(.tooLarge, "the body has \(bytes) bytes; the limit is \(limit); send it in several requests"))
        // What is left of the body isn't read for its own sake.
        problem.headers[.connection] = "close"
        return problem
    }
}

extension [String: JSONValue] {
    /// Refuses members that nobody would look at: a misspelt one must not be ignored.
    func allow(_ names: Set<String>) throws {
        if let unknown = keys.sorted().first(where: { !names.contains($0) }) {
            throw Problem.malformed(
                "unknown member \"\(unknown)\"; known are \(names.sorted().joined(separator: ", "))")
        }
    }

    func string(_ name: String) throws -> String? {
        switch self[name] {
        case nil, .null: return nil
        case .string(let text): return text
        default: throw Problem.malformed("member \"\(name)\" must be a string")
        }
    }

    func integer(_ name: String, default standard: Int, max: Int) throws -> Int {
        switch self[name] {
        case nil, .null: return standard
        case .number(let text):
            if let value = Int(text), value > 0 { return Swift.min(value, max) }
            fallthrough
        default: throw Problem.malformed("member \"\(name)\" must be a whole number from 1 to \(max)")
        }
    }

    /// False where it isn't given.
    func boolean(_ name: String) throws -> Bool {
        switch self[name] {
        case nil, .null: return false
        case .boolean(let value): return value
        default: throw Problem.malformed("member \"\(name)\" must be true or false")
        }
    }

    func array(_ name: String) throws -> [JSONValue] {
        switch self[name] {
        case nil, .null: return []
        case .array(let elements): return elements
        default: throw Problem.malformed("member \"\(name)\" must be an array")
        }
    }

    /// What `body` makes of each element of an array; a refusal says which one it is about.
    func each<Entry>(_ name: String, _ body: (JSONValue) throws -> Entry) throws -> [Entry] {
        try array(name).enumerated().map { index, element in
            do {
                return try body(element)
            } catch var problem as Problem {
                problem.errors = [(index, problem.detail)]
                throw problem
            }
        }
    }
}

extension HTTPField.Name {
    /// RFC 8288.
    static let link = Self("Link")!
}

extension Response {
    static func json(_ status: HTTPResponse.Status = .ok, _ bytes: [UInt8], headers: HTTPFields = [:]) -> Response {
        var headers = headers
        headers[.contentType] = "application/json"
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    static func json(_ status: HTTPResponse.Status = .ok, _ body: (inout JSONWriter) -> Void) -> Response {
        Answer.json(status, body).response
    }

    static func text(_ status: HTTPResponse.Status = .ok, _ text: String, type: String = "text/plain; charset=utf-8")
        -> Response
    {
        Response(
            status: status, headers: [.contentType: type], body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}
