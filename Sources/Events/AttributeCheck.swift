// SPDX-License-Identifier: Apache-2.0

import CFairlead

/// The rules of CloudEvents 1.0.2 for context attributes, the same for every way an event comes in.
enum AttributeCheck {
    static func name(_ name: UnsafeRawBufferPointer, index: Int?) throws(Failure) {
        if name.count > Limits.attributeNameBytesMax {
            throw Failure(
                .malformed,
                "attribute name \"\(excerpt(name))\" has \(name.count) bytes; the limit is "
                    + "\(Limits.attributeNameBytesMax)", index: index)
        }
        if fl_event_name_is_valid(name.asBytes, name.count) == 0 {
            throw Failure(
                .malformed,
                "\"\(excerpt(name))\" isn't an attribute name: only a-z and 0-9; what the event carries goes into "
                    + "\"data\"", index: index)
        }
    }

    /// The value of an attribute that is a string; `name` says which.
    static func text(
        _ value: UnsafeRawBufferPointer, of name: String, mayBeEmpty: Bool = false, index: Int?
    ) throws(Failure) {
        if value.isEmpty, !mayBeEmpty {
            throw Failure(.malformed, "attribute \"\(name)\" is empty; give it a value or leave it out", index: index)
        }
        if value.count > Limits.attributeValueBytesMax {
            throw Failure(
                .malformed,
                "attribute \"\(name)\" has \(value.count) bytes; the limit is \(Limits.attributeValueBytesMax)",
                index: index)
        }
        let end = fl_event_text_end(value.asBytes, value.count)
        if end < value.count {
            throw Failure(
                .malformed,
                "attribute \"\(name)\" has a control character or noncharacter at byte \(end); CloudEvents strings "
                    + "have none", index: index)
        }
    }

    static func required(_ value: UnsafeRawBufferPointer?, _ name: String, index: Int?) throws(Failure)
        -> UnsafeRawBufferPointer
    {
        guard let value else {
            throw Failure(.malformed, "required attribute \"\(name)\" is missing", index: index)
        }
        try text(value, of: name, index: index)
        return value
    }

    static func specversion(_ value: UnsafeRawBufferPointer?, index: Int?) throws(Failure) {
        let value = try required(value, "specversion", index: index)
        guard value.elementsEqual("1.0".utf8) else {
            throw Failure(
                .malformed, "specversion \"\(excerpt(value))\" isn't read; the version is \"1.0\"", index: index)
        }
    }

    static func time(_ value: UnsafeRawBufferPointer, index: Int?) throws(Failure) {
        guard RFC3339.parse(value) != nil else {
            throw Failure(
                .malformed,
                "attribute \"time\" is \"\(excerpt(value))\", which isn't RFC 3339; write it as 2026-03-09T14:05:00Z",
                index: index)
        }
    }

    /// An absolute URI starts with a scheme (RFC 3986 section 3.1).
    static func dataschema(_ value: UnsafeRawBufferPointer, index: Int?) throws(Failure) {
        let scheme = value.prefix { $0 != UInt8(ascii: ":") }
        let isLetter = { (byte: UInt8) in (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) }
        let isScheme =
            scheme.count < value.count && scheme.first.map(isLetter) == true
            && scheme.allSatisfy {
                isLetter($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || "+-.".utf8.contains($0)
            }
        guard isScheme else {
            throw Failure(
                .malformed,
                "attribute \"dataschema\" is \"\(excerpt(value))\"; it must be an absolute URI, with its scheme",
                index: index)
        }
    }

    static func contentType(_ value: UnsafeRawBufferPointer, index: Int?) throws(Failure) -> MediaType {
        guard let media = MediaType(String(decoding: value, as: UTF8.self)) else {
            throw Failure(
                .malformed,
                "attribute \"datacontenttype\" is \"\(excerpt(value))\"; it must be a media type such as "
                    + "application/json", index: index)
        }
        return media
    }

    static func count(_ count: Int, index: Int?) throws(Failure) {
        if count > Limits.attributesMax {
            throw Failure(
                .malformed, "the event has \(count) attributes; the limit is \(Limits.attributesMax)", index: index)
        }
    }

    /// Enough of a value to recognise it, fit for a line of text.
    static func excerpt(_ value: UnsafeRawBufferPointer) -> String {
        let text = String(decoding: value.prefix(Limits.refusalExcerptBytesMax), as: UTF8.self)
        let shown = String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 0x20 ? "\u{FFFD}" : $0 }))
        return value.count > Limits.refusalExcerptBytesMax ? shown + "…" : shown
    }
}

extension UnsafeRawBufferPointer {
    /// As C takes it.
    var asBytes: UnsafePointer<UInt8>? { baseAddress?.assumingMemoryBound(to: UInt8.self) }
}

extension [UInt8] {
    /// `withUnsafeBytes` that keeps the error's type.
    func withRawBytes<Result, Refusal: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Refusal) -> Result
    ) throws(Refusal) -> Result {
        try withUnsafeBufferPointer { (buffer) throws(Refusal) in try body(UnsafeRawBufferPointer(buffer)) }
    }
}
