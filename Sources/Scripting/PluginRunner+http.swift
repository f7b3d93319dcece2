// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

extension PluginRunner {
    private struct Request {
        var outbound: OutboundRequest
        var raises = true
        /// For messages: the URL may be a secret, its origin is named in a grant anyway.
        var label: String
    }

    private struct Refusal: Error {
        var message: String
    }

    func performHTTP(_ want: Want, _ call: PluginCall, _ slot: UInt32) -> Answer? {
        call.httpCalls += 1
        guard call.httpCalls <= Limits.pluginHTTPCallsMax else {
            return .error("one call may send \(Limits.pluginHTTPCallsMax) HTTP requests; this is one more")
        }
        let request: Request
        do {
            request = try build(want)
        } catch {
            return .error(error.message)
        }
        let id = call.id
        let http = services.http
        let clock = services.clock
        call.wait = Task {
            let answer: Answer
            do throws(OutboundFailure) {
                answer = Self.answer(try await http.send(request.outbound), request, clock.now())
            } catch {
                answer = Self.answer(error, request)
            }
            self.complete(slot, id, self.withoutSecrets(answer))
        }
        return nil
    }

    private func build(_ want: Want) throws(Refusal) -> Request {
        let method = want[0].text?.uppercased() ?? "GET"
        guard method.utf8.allSatisfy({ (0x41...0x5A).contains($0) }), !method.isEmpty else {
            throw Refusal(message: "ctx.http: \"\(method)\" is no method")
        }
        guard let url = want[1].revealed else {
            throw Refusal(message: "ctx.http: the url is \(want[1].isNone ? "missing" : "a " + want[1].typeName)")
        }
        guard let parts = URLParts(url) else {
            throw Refusal(message: "ctx.http: \(want[1].text.map { "\"\($0)\"" } ?? "the url") is no http or https URL")
        }
        guard let reach = grants.reach(to: parts.host, port: parts.port) else {
            throw Refusal(message: refusal("HTTP to \(parts.authority)", allow: "http \"\(parts.authority)\""))
        }
        var request = Request(
            outbound: OutboundRequest(
                method: method, url: url, timeout: binding.timeout, responseBytesMax: Limits.pluginResponseBytesMax,
                reach: reach),
            label: "\(method) \(parts.origin)")
        var headers: [(name: String, value: String)] = []
        var isJSON = false
        for (name, value) in want[2].pairs ?? [] {
            switch (name, value) {
            case ("json", .string(let bytes)), ("json", .secret(_, let bytes)):
                request.outbound.body = bytes
                isJSON = true
            case ("body", .string(let bytes)), ("body", .secret(_, let bytes)):
                if want[2]["json"].isNone { request.outbound.body = bytes }
                if !want[2]["json"].isNone { throw Refusal(message: "ctx.http: json and body exclude each other") }
            case ("headers", _): headers += try self.headers(value)
            case ("raise", .boolean(let flag)): request.raises = flag
            case ("timeout", _):
                guard let seconds = value.double ?? value.text.flatMap(ConfigSchema.seconds), seconds > 0 else {
                    throw Refusal(message: "ctx.http: timeout is a number of seconds above 0, or text such as \"5s\"")
                }
                request.outbound.timeout = min(.seconds(seconds), binding.timeout)
            default:
                let known = LuaAPI.httpOptions.map(\.name)
                if known.contains(name) { throw Refusal(message: "ctx.http: \(name) can't be a \(value.typeName)") }
                let near = name.nearest(of: known).map { "; did you mean \"\($0)\"?" } ?? ""
                throw Refusal(
                    message:
                        "ctx.http has no option \"\(name)\"\(near) (its options are \(known.joined(separator: ", ")))")
            }
        }
        guard request.outbound.body.count <= Limits.pluginRequestBytesMax else {
            throw Refusal(
                message:
                    "ctx.http: the body is \(request.outbound.body.count) bytes; the limit is \(Limits.pluginRequestBytesMax)"
            )
        }
        if isJSON, !headers.contains(where: { $0.name.lowercased() == "content-type" }) {
            headers.append(("content-type", "application/json"))
        }
        request.outbound.headers = headers
        return request
    }

    private func headers(_ value: PackedValue) throws(Refusal) -> [(name: String, value: String)] {
        guard let pairs = value.pairs else {
            throw Refusal(message: "ctx.http: headers is a \(value.typeName), not a table")
        }
        var headers: [(name: String, value: String)] = []
        for (name, value) in pairs.sorted(by: { $0.key < $1.key }) {
            guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ":") }) else {
                throw Refusal(message: "ctx.http: \"\(name)\" is no header's name")
            }
            guard let text = value.revealed ?? value.double.map(\.plain) else {
                throw Refusal(message: "ctx.http: header \(name) can't be a \(value.typeName)")
            }
            guard text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
                throw Refusal(message: "ctx.http: header \(name) has a line break or another control character in it")
            }
            headers.append((name, text))
        }
        return headers
    }

    private static func answer(_ response: OutboundResponse, _ request: Request, _ now: Timestamp) -> Answer {
        let value = PackedValue.map([
            ("status", .integer(Int64(response.status))),
            ("body", .string(response.body)),
            ("headers", .map(response.headers.map { ($0.name, .text($0.value)) })),
        ])
        if !request.raises || (200..<300).contains(response.status) { return .values([value]) }
        let excerpt = String(decoding: response.body.prefix(200), as: UTF8.self)
        let message = "\(request.label): \(response.status)" + (excerpt.isEmpty ? "" : ": \(excerpt)")
        let mayPass = response.status == 408 || response.status == 429 || response.status >= 500
        guard mayPass else {
            return .failure(
                outcome: FL_LUA_DEAD, after: nil, message: message, status: response.status, response: value)
        }
        let header = response.headers.first { $0.name.lowercased() == "retry-after" }?.value
        let after = header.flatMap { retryAfter($0, now) }
        return .failure(
            outcome: FL_LUA_RETRY, after: after.map { min(max(0, $0), Limits.retryAfterMax.seconds) }, message: message,
            status: response.status, response: value)
    }

    private static func answer(_ failure: OutboundFailure, _ request: Request) -> Answer {
        let message: String
        var outcome = FL_LUA_RETRY
        switch failure {
        case .connection(let text): message = "\(request.label): no connection: \(text)"
        case .timeout: message = "\(request.label): no answer within \(request.outbound.timeout.milliseconds) ms"
        case .responseTooLarge(let limit):
            message = "\(request.label): the response is larger than \(limit) bytes"
            outcome = FL_LUA_DEAD
        case .badRequest(let text):
            message = "\(request.label): \(text)"
            outcome = FL_LUA_DEAD
        case .localAddress(_, let address):
            let authority = URLParts(request.outbound.url)?.authority ?? "host"
            message =
                "\(request.label): refused, as its name leads to the local address \(address); if it is meant to, write "
                + "`allow http \"\(HostPattern.localPrefix)\(authority)\"`"
            outcome = FL_LUA_DEAD
        }
        if !request.raises { return .values([.none, .text(message)]) }
        return .failure(outcome: outcome, after: nil, message: message)
    }

    /// A server may quote what it was sent, and the script may keep the message: in its state, in an event, in a mail.
    private func withoutSecrets(_ answer: Answer) -> Answer {
        guard case .failure(let outcome, let after, let message, let status, let response) = answer else {
            return answer
        }
        return .failure(
            outcome: outcome, after: after, message: redact(message), status: status, response: response)
    }

    /// Seconds from now of a Retry-After header: a number, or an HTTP date (RFC 9110, section 10.2.3).
    static func retryAfter(_ text: String, _ now: Timestamp) -> Double? {
        if let seconds = Double(text) { return seconds.isFinite ? seconds : nil }
        // Sun, 06 Nov 1994 08:49:37 GMT
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[5] == "GMT", let day = Int64(parts[1]), let year = Int64(parts[3]) else {
            return nil
        }
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let clock = parts[4].split(separator: ":").compactMap { Int64($0) }
        guard let month = months.firstIndex(of: String(parts[2])), clock.count == 3 else { return nil }
        let y = month < 2 ? year - 1 : year
        let dayOfYear = (153 * Int64(month > 1 ? month - 2 : month + 10) + 2) / 5 + day - 1
        let days = y * 365 + y / 4 - y / 100 + y / 400 + dayOfYear - 719_468
        let at = (days * 86_400 + clock[0] * 3_600 + clock[1] * 60 + clock[2]) * 1_000
        return Double(at - now.milliseconds) / 1_000
    }
}

extension PackedValue {
    /// A string's or a secret's text, for where secrets may go.
    var revealed: String? {
        switch self {
        case .string(let bytes), .secret(_, let bytes): String(decoding: bytes, as: UTF8.self)
        default: nil
        }
    }
}
