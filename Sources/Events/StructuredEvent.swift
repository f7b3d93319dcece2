// SPDX-License-Identifier: Apache-2.0

import CFairlead

/// One event in the CloudEvents JSON format (1.0.2), checked, not yet copied.
struct StructuredEvent {
    private let members: JSONMembers
    private let index: Int?
    /// Places in `members`, -1 where there is none; a JSON null counts as none.
    private var id = -1
    private var source = -1
    private var type = -1
    private var data = -1
    private var base64 = -1
    /// nil means JSON.
    private var media: MediaType?

    init(_ members: JSONMembers, index: Int?) throws(Failure) {
        self.members = members
        self.index = index
        var specversion = -1
        var attributes = 0
        for place in members.list.indices {
            let member = members.list[place]
            if member.role == FL_MEMBER_DATA.rawValue {
                data = place
                continue
            }
            if member.kind == FL_JSON_NULL.rawValue {
                if member.role == 0 { try AttributeCheck.name(member.nameBytes, index: index) }
                continue
            }
            attributes += 1
            switch fl_member_role(rawValue: UInt32(member.role)) {
            case FL_MEMBER_ID: id = place
            case FL_MEMBER_SOURCE: source = place
            case FL_MEMBER_TYPE: type = place
            case FL_MEMBER_SPECVERSION: specversion = place
            case FL_MEMBER_DATA_BASE64: base64 = place
            case FL_MEMBER_TIME: try AttributeCheck.time(string(place), index: index)
            case FL_MEMBER_DATASCHEMA: try AttributeCheck.dataschema(string(place), index: index)
            case FL_MEMBER_SUBJECT: _ = try string(place)
            case FL_MEMBER_DATACONTENTTYPE:
                media = try AttributeCheck.contentType(string(place), index: index)
            default:
                try AttributeCheck.name(member.nameBytes, index: index)
                try checkExtension(member, at: place)
            }
        }
        try AttributeCheck.count(attributes, index: index)
        try AttributeCheck.specversion(specversion < 0 ? nil : string(specversion), index: index)
        try checkRequired(id, "id")
        try checkRequired(source, "source")
        try checkRequired(type, "type")
        if data >= 0, base64 >= 0 {
            throw Failure(.malformed, "the event has both \"data\" and \"data_base64\"; send one", index: index)
        }
    }

    func append(to builder: inout RecordBatchBuilder) throws(Failure) {
        builder.begin()
        builder.attribute("id", members.list[id].textBytes)
        builder.attribute("source", members.list[source].textBytes)
        builder.attribute("type", members.list[type].textBytes)
        for member in members.list where member.kind != FL_JSON_NULL.rawValue {
            switch fl_member_role(rawValue: UInt32(member.role)) {
            case FL_MEMBER_DATACONTENTTYPE, FL_MEMBER_SUBJECT, FL_MEMBER_TIME, FL_MEMBER_DATASCHEMA:
                builder.attribute(member.nameBytes, member.textBytes)
            case FL_MEMBER_OTHER:
                switch fl_json_kind(rawValue: UInt32(member.kind)) {
                case FL_JSON_BOOLEAN:
                    builder.attribute(member.nameBytes, member.rawBytes, type: FL_ATTRIBUTE_BOOLEAN)
                case FL_JSON_NUMBER_VALUE:
                    builder.attribute(member.nameBytes, member.canonicalInteger, type: FL_ATTRIBUTE_INTEGER)
                default: builder.attribute(member.nameBytes, member.textBytes)
                }
            default: break
            }
        }
        try appendData(to: &builder)
    }

    private func appendData(to builder: inout RecordBatchBuilder) throws(Failure) {
        if base64 >= 0 {
            let member = members.list[base64]
            guard member.kind == FL_JSON_STRING.rawValue, let bytes = Base64.decode(member.textBytes) else {
                throw Failure(
                    .malformed, "\"data_base64\" isn't base64 (RFC 4648 section 4, with padding)", index: index)
            }
            bytes.withUnsafeBytes { builder.end(data: $0, kind: FL_DATA_BINARY) }
            return
        }
        guard data >= 0 else {
            builder.end(data: UnsafeRawBufferPointer(start: nil, count: 0), kind: FL_DATA_NONE)
            return
        }
        let member = members.list[data]
        guard let media, !media.declaresJSON else {
            builder.end(data: member.rawBytes, kind: FL_DATA_JSON)
            return
        }
        switch fl_json_kind(rawValue: UInt32(member.kind)) {
        case FL_JSON_STRING: builder.end(data: member.textBytes, kind: FL_DATA_TEXT)
        case FL_JSON_NULL: builder.end(data: UnsafeRawBufferPointer(start: nil, count: 0), kind: FL_DATA_NONE)
        default:
            throw Failure(
                .malformed,
                "\"data\" of type \(media.essence) must be a JSON string; send bytes as \"data_base64\", or JSON with "
                    + "\"datacontenttype\": \"application/json\"", index: index)
        }
    }

    private func string(_ place: Int) throws(Failure) -> UnsafeRawBufferPointer {
        let member = members.list[place]
        guard member.kind == FL_JSON_STRING.rawValue else {
            throw Failure(
                .malformed,
                "attribute \"\(AttributeCheck.excerpt(member.nameBytes))\" must be a string, not "
                    + "\(AttributeCheck.excerpt(member.rawBytes))", index: index)
        }
        let text = member.textBytes
        // The name is needed only for a refusal, and costs more than the check.
        if text.isEmpty || text.count > Limits.attributeValueBytesMax || !text.isPlain {
            try AttributeCheck.text(text, of: AttributeCheck.excerpt(member.nameBytes), index: index)
        }
        return text
    }

    private func checkRequired(_ place: Int, _ name: String) throws(Failure) {
        if place < 0 { _ = try AttributeCheck.required(nil, name, index: index) }
        _ = try string(place)
    }

    private func checkExtension(_ member: fl_json_member, at place: Int) throws(Failure) {
        for other in members.list[..<place]
        where other.name.length == member.name.length && other.nameBytes.elementsEqual(member.nameBytes) {
            throw Failure(
                .malformed, "attribute \"\(AttributeCheck.excerpt(member.nameBytes))\" occurs twice", index: index)
        }
        if let schedule = ScheduleAttribute(member.nameBytes) {
            try schedule.check(
                member.kind == FL_JSON_STRING.rawValue ? member.textBytes : member.rawBytes, index: index)
        }
        switch fl_json_kind(rawValue: UInt32(member.kind)) {
        case FL_JSON_BOOLEAN: break
        case FL_JSON_NUMBER_VALUE:
            guard Int32(String(decoding: member.rawBytes, as: UTF8.self)) != nil else {
                throw Failure(
                    .malformed,
                    "extension \"\(AttributeCheck.excerpt(member.nameBytes))\" is \(AttributeCheck.excerpt(member.rawBytes)); "
                        + "a number there is a whole one from \(Int32.min) to \(Int32.max); send others as strings",
                    index: index)
            }
        case FL_JSON_STRING:
            let text = member.textBytes
            if text.count > Limits.attributeValueBytesMax || !text.isPlain {
                try AttributeCheck.text(
                    text, of: AttributeCheck.excerpt(member.nameBytes), mayBeEmpty: true, index: index)
            }
        default:
            throw Failure(
                .malformed,
                "extension \"\(AttributeCheck.excerpt(member.nameBytes))\" is an object or array; an attribute is a "
                    + "string, a boolean or an integer, the rest goes into \"data\"", index: index)
        }
    }
}

extension fl_json_member {
    fileprivate var nameBytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: name.bytes, count: name.length) }
    fileprivate var rawBytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: raw.bytes, count: raw.length) }
    fileprivate var textBytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: text.bytes, count: text.length) }

    /// JSON writes an integer as CloudEvents does, but for `-0`.
    fileprivate var canonicalInteger: UnsafeRawBufferPointer {
        rawBytes.elementsEqual("-0".utf8) ? UnsafeRawBufferPointer(rebasing: rawBytes.dropFirst()) : rawBytes
    }
}

extension UnsafeRawBufferPointer {
    /// Nothing in it that CloudEvents strings may not contain.
    fileprivate var isPlain: Bool { fl_event_text_end(asBytes, count) == count }
}
