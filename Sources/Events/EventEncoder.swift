// SPDX-License-Identifier: Apache-2.0

import CFairlead

/// Writes events out: the CloudEvents JSON format, and binary mode for HTTP. Data is copied as it was received.
package enum EventEncoder {
    package static let structuredContentType = "application/cloudevents+json; charset=utf-8"
    package static let batchContentType = "application/cloudevents-batch+json; charset=utf-8"

    /// Appends the record as one JSON object.
    package static func append(_ record: Record, to out: inout [UInt8]) {
        out.append(contentsOf: "{\"specversion\":\"1.0\"".utf8)
        var at: UInt32 = 0
        var attribute = fl_attribute()
        var media: MediaType?
        while fl_record_next_attribute(record.bytes, &at, &attribute) != 0 {
            let name = UnsafeRawBufferPointer(start: attribute.name.bytes, count: attribute.name.length)
            let value = UnsafeRawBufferPointer(start: attribute.value.bytes, count: attribute.value.length)
            out.append(contentsOf: ",\"".utf8)
            out.append(contentsOf: name)
            out.append(contentsOf: "\":".utf8)
            if Int(attribute.type) == FL_ATTRIBUTE_STRING {
                JSONText.append(value, to: &out)
            } else {
                out.append(contentsOf: value)
            }
            if fl_member_role_of(attribute.name.bytes, attribute.name.length) == FL_MEMBER_DATACONTENTTYPE {
                media = MediaType(String(decoding: value, as: UTF8.self))
            }
        }
        let isJSON = media?.declaresJSON ?? true
        let data = record.data
        switch Int(record.dataKind) {
        case FL_DATA_NONE: break
        case FL_DATA_JSON where isJSON:
            out.append(contentsOf: ",\"data\":".utf8)
            out.append(contentsOf: data)
        case FL_DATA_JSON, FL_DATA_TEXT:
            out.append(contentsOf: ",\"data\":".utf8)
            JSONText.append(data, to: &out)
        default:
            out.append(contentsOf: ",\"data_base64\":\"".utf8)
            Base64.append(data, to: &out)
            out.append(UInt8(ascii: "\""))
        }
        out.append(UInt8(ascii: "}"))
    }

    /// Appends the record as one JSON object without a line break in it.
    package static func appendLine(_ record: Record, to out: inout [UInt8]) {
        let start = out.count
        append(record, to: &out)
        // Between JSON's tokens a line break is as good as a space, and inside a string it can't be.
        for at in start..<out.count where out[at] == newline || out[at] == UInt8(ascii: "\r") {
            out[at] = UInt8(ascii: " ")
        }
    }

    package static func append(_ event: Event, to out: inout [UInt8]) {
        append(record(event), to: &out)
    }

    /// Binary mode: the `ce-` headers and Content-Type; the body is the record's data as it is.
    package static func binaryHeaders(_ record: Record) -> [(name: String, value: String)] {
        var headers = [(name: "ce-specversion", value: "1.0")]
        var contentType: String?
        for attribute in record.attributeTexts {
            if attribute.name == "datacontenttype" {
                contentType = attribute.value
            } else {
                headers.append(("ce-\(attribute.name)", HeaderText.encode(attribute.value)))
            }
        }
        if contentType == nil, Int(record.dataKind) == FL_DATA_JSON { contentType = "application/json" }
        if let contentType { headers.append(("content-type", contentType)) }
        return headers
    }

    private static func record(_ event: Event) -> Record {
        var builder = RecordBatchBuilder(topic: scratch, key: nil, capacity: event.data.bytes.count + 512)
        builder.append(event)
        return builder.finish()[0]
    }

    /// Never seen outside: a record needs a topic, an event on its way to text has none.
    private static let scratch = Topic.named("$encoder")
}

extension Record {
    /// Every attribute with its canonical string, `id`, `source` and `type` first.
    package var attributeTexts: [(name: String, value: String)] {
        var at: UInt32 = 0
        var attribute = fl_attribute()
        var texts: [(name: String, value: String)] = []
        while fl_record_next_attribute(bytes, &at, &attribute) != 0 {
            texts.append(
                (
                    String(decoding: UnsafeRawBufferPointer(span: attribute.name)!, as: UTF8.self),
                    String(decoding: UnsafeRawBufferPointer(span: attribute.value)!, as: UTF8.self)
                ))
        }
        return texts
    }
}

extension Event {
    /// From the CloudEvents JSON format, with the same checks as a published event.
    package init(json: some Collection<UInt8>) throws(Failure) {
        let bytes = PaddedBytes(json)
        let decoder = EventDecoder(topic: Topic.named("$decoder"), key: nil)
        let batch = try bytes.withBytes { (body) throws(Failure) in
            try decoder.decode(body, EventRequest(contentType: "application/cloudevents+json"))
        }
        self = batch[0].event
    }

    /// In the CloudEvents JSON format.
    package var json: [UInt8] {
        var out: [UInt8] = []
        EventEncoder.append(self, to: &out)
        return out
    }
}
