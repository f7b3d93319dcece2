// SPDX-License-Identifier: Apache-2.0

import CFairlead

/// One event in binary mode: attributes in headers, data in the body.
struct BinaryEvent {
    private var attributes: [(name: String, value: [UInt8])] = []
    private let media: MediaType?

    init(_ request: EventRequest) throws(Failure) {
        var known: [String: [UInt8]] = [:]
        for (name, text) in request.attributes {
            if name == "datacontenttype" {
                throw Failure(.malformed, "header ce-datacontenttype isn't allowed; send Content-Type instead")
            }
            if name == "data" {
                throw Failure(.malformed, "header ce-data isn't allowed; the data is the request's body")
            }
            try Array(name.utf8).withRawBytes { (bytes) throws(Failure) in
                try AttributeCheck.name(bytes, index: nil)
            }
            let value: [UInt8]
            do {
                value = try HeaderText.decode(text)
            } catch {
                throw Failure(.malformed, "header ce-\(name) \(error.reason)")
            }
            let mayBeEmpty = !["id", "source", "type", "specversion", "subject", "time", "dataschema"].contains(name)
            try value.withRawBytes { (bytes) throws(Failure) in
                try AttributeCheck.text(bytes, of: name, mayBeEmpty: mayBeEmpty, index: nil)
                if name == "time" { try AttributeCheck.time(bytes, index: nil) }
                if let schedule = ScheduleAttribute(rawValue: name) { try schedule.check(bytes, index: nil) }
                if name == "dataschema" { try AttributeCheck.dataschema(bytes, index: nil) }
            }
            guard known.updateValue(value, forKey: name) == nil else {
                throw Failure(.malformed, "header ce-\(name) occurs twice")
            }
            if !["id", "source", "type", "specversion"].contains(name) { attributes.append((name, value)) }
        }
        for name in ["specversion", "id", "source", "type"] where known[name] == nil {
            throw Failure(
                .malformed,
                "header ce-\(name) is missing; a binary event has ce-specversion, ce-id, ce-source and ce-type")
        }
        try known["specversion"]!.withRawBytes { (bytes) throws(Failure) in
            try AttributeCheck.specversion(bytes, index: nil)
        }
        attributes.insert(
            contentsOf: ["id", "source", "type"].map { ($0, known[$0]!) }, at: 0)
        // The packing has found it to be a media type.
        media = request.contentType.flatMap { MediaType($0) }
        if let contentType = request.contentType { attributes.append(("datacontenttype", Array(contentType.utf8))) }
        try AttributeCheck.count(attributes.count, index: nil)
    }

    func append(_ body: UnsafeRawBufferPointer, to builder: inout RecordBatchBuilder) throws(Failure) {
        var data = body
        let kind: Int
        if body.isEmpty {
            kind = FL_DATA_NONE
        } else if let media, media.declaresJSON {
            data = trimmed(body)
            try EventDecoder.check(data, index: nil, at: 0)
            kind = FL_DATA_JSON
        } else if let media, media.isText, media.isUTF8, fl_is_utf8(body.asBytes, body.count) != 0 {
            kind = FL_DATA_TEXT
        } else {
            kind = FL_DATA_BINARY
        }
        builder.begin()
        for (name, value) in attributes {
            var name = name
            name.withUTF8 { name in
                value.withUnsafeBytes { builder.attribute(UnsafeRawBufferPointer(name), $0) }
            }
        }
        builder.end(data: data, kind: kind)
    }
}
