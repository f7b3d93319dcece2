// SPDX-License-Identifier: Apache-2.0

import Events

/// A message as it goes over the wire: RFC 5322 with MIME (RFC 2045 to 2047), lines ended by CRLF.
struct ComposedMail {
    /// Bare addresses.
    var sender: String
    var recipients: [String]
    var bytes: [UInt8]

    /// Bytes of one encoded word with its `=?UTF-8?B?` and `?=`, by RFC 2047 section 2.
    private static let encodedWordMax = 75
    /// Characters of a line of base64, by RFC 2045 section 6.8.
    private static let base64Line = 76

    init(_ message: MailMessage, from fallback: String?, at time: Timestamp) throws(MailFailure) {
        guard let from = message.from ?? fallback else {
            throw .refused("the message names no sender; add from to the call or to the mail block of routes.conf")
        }
        let fields: [(String, [String])] = [
            ("from", [from]), ("to", message.to), ("cc", message.cc), ("reply_to", message.replyTo.map { [$0] } ?? []),
        ]
        for (name, values) in fields {
            for value in values where !Self.isLine(value) {
                throw .refused("\(name) has a line break or another control character in it")
            }
        }
        guard Self.isLine(message.subject) else {
            throw .refused("subject has a line break or another control character in it")
        }
        sender = try Self.parse(from, "from").address
        recipients = []
        for value in message.to { recipients.append(try Self.parse(value, "to").address) }
        for value in message.cc { recipients.append(try Self.parse(value, "cc").address) }
        guard !recipients.isEmpty else { throw .refused("the message has no recipient") }

        let id = message.id ?? Event.randomID()
        let domain = sender.split(separator: "@").last.map(String.init) ?? "localhost"
        var lines = [
            "Date: \(time.rfc5322)",
            "Message-ID: <\(id)@\(domain)>",
            "From: \(try Self.header(from, "from"))",
            "To: \(try message.to.map { address throws(MailFailure) in try Self.header(address, "to") }.joined(separator: ",\r\n "))",
        ]
        if !message.cc.isEmpty {
            lines.append(
                "Cc: \(try message.cc.map { address throws(MailFailure) in try Self.header(address, "cc") }.joined(separator: ",\r\n "))"
            )
        }
        if let replyTo = message.replyTo { lines.append("Reply-To: \(try Self.header(replyTo, "reply_to"))") }
        lines.append("Subject: \(Self.encode(message.subject))")
        lines.append("MIME-Version: 1.0")
        var text = lines.joined(separator: "\r\n") + "\r\n"
        switch (message.text, message.html) {
        case (let plain?, let html?):
            let boundary = "=_fairlead_\(Event.randomID())"
            text += "Content-Type: multipart/alternative; boundary=\"\(boundary)\"\r\n\r\n"
            text += "--\(boundary)\r\n" + Self.part("plain", plain)
            text += "--\(boundary)\r\n" + Self.part("html", html)
            text += "--\(boundary)--\r\n"
        case (nil, let html?): text += Self.part("html", html)
        case (let plain, nil): text += Self.part("plain", plain ?? "")
        }
        bytes = Array(text.utf8)
    }

    private static func isLine(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F && !(0x80...0x9F).contains($0.value) }
    }

    private static func part(_ kind: String, _ text: String) -> String {
        var body = ""
        let encoded = Base64.encode(Array(text.utf8))
        var rest = Substring(encoded)
        while !rest.isEmpty {
            body += rest.prefix(base64Line) + "\r\n"
            rest = rest.dropFirst(base64Line)
        }
        return "Content-Type: text/\(kind); charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\(body)"
    }

    /// `Ann <ann@example.com>` or `ann@example.com`.
    private static func parse(_ text: String, _ field: String) throws(MailFailure) -> (name: String, address: String) {
        var name = ""
        var address = Substring(text)
        if let open = text.lastIndex(of: "<"), text.hasSuffix(">") {
            name = String(text[..<open]).trimmed
            address = text[text.index(after: open)...].dropLast()
        }
        if name.hasPrefix("\""), name.hasSuffix("\""), name.count >= 2 { name = String(name.dropFirst().dropLast()) }
        let trimmed = String(address).trimmed
        let parts = trimmed.split(separator: "@", omittingEmptySubsequences: false)
        let good =
            parts.count == 2 && !parts[0].isEmpty && !parts[1].isEmpty
            && trimmed.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"<>,;:\"()[]\\".utf8.contains($0) }
        guard good else { throw .refused("\(field) \"\(text)\" is no mail address") }
        return (name, trimmed)
    }

    private static func header(_ text: String, _ field: String) throws(MailFailure) -> String {
        let (name, address) = try parse(text, field)
        guard !name.isEmpty else { return address }
        let plain = name.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F }
        let quoted = name.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }.joined()
        return (plain ? "\"\(quoted)\"" : encode(name)) + " <\(address)>"
    }

    /// RFC 2047 where the text isn't ASCII; each word holds whole characters.
    private static func encode(_ text: String) -> String {
        // A long line of ASCII is folded by the same means.
        if text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }), text.utf8.count <= 900, !text.contains("=?") {
            return text
        }
        let most = (encodedWordMax - "=?UTF-8?B??=".utf8.count) / 4 * 3
        var words: [String] = []
        var chunk: [UInt8] = []
        for scalar in text.unicodeScalars {
            let bytes = Array(String(scalar).utf8)
            if chunk.count + bytes.count > most {
                words.append("=?UTF-8?B?\(Base64.encode(chunk))?=")
                chunk = []
            }
            chunk += bytes
        }
        if !chunk.isEmpty { words.append("=?UTF-8?B?\(Base64.encode(chunk))?=") }
        return words.joined(separator: "\r\n ")
    }
}

enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// RFC 4648, section 4, with padding.
    static func encode(_ bytes: [UInt8]) -> String {
        var out: [UInt8] = []
        out.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let b = start + 1 < bytes.count ? bytes[start + 1] : 0
            let c = start + 2 < bytes.count ? bytes[start + 2] : 0
            let group = UInt32(bytes[start]) << 16 | UInt32(b) << 8 | UInt32(c)
            out.append(alphabet[Int(group >> 18)])
            out.append(alphabet[Int(group >> 12 & 63)])
            out.append(start + 1 < bytes.count ? alphabet[Int(group >> 6 & 63)] : UInt8(ascii: "="))
            out.append(start + 2 < bytes.count ? alphabet[Int(group & 63)] : UInt8(ascii: "="))
        }
        return String(decoding: out, as: UTF8.self)
    }
}

extension String {
    /// Without blanks at either end.
    var trimmed: String {
        let start = drop { $0 == " " || $0 == "\t" }
        return String(start.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
    }
}

extension Timestamp {
    /// `Mon, 02 Jan 2006 15:04:05 +0000`.
    var rfc5322: String {
        let days = milliseconds.flooredDivision(by: 86_400_000).quotient
        // 1970-01-01 was a Thursday.
        let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][Int(days.flooredDivision(by: 7).remainder)]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let iso = Array(rfc3339)
        let month = months[(Int(String(iso[5...6])) ?? 1) - 1]
        return "\(weekday), \(String(iso[8...9])) \(month) \(String(iso[0...3])) \(String(iso[11...18])) +0000"
    }
}
