// SPDX-License-Identifier: Apache-2.0

import Events

/// Changes an event as RFC 7396 has it: members of the patch replace the event's, objects are merged, null removes.
enum EventPatch {
    /// - Throws: ``Failure`` where the result is no valid event, or where the event's data isn't JSON and the patch would
    ///   have to look into it.
    static func apply(_ patch: [String: JSONValue], to event: Event) throws(Failure) -> Event {
        guard !patch.isEmpty else {
            throw Failure(
                .malformed, "an empty patch changes nothing; send what to change, such as {\"data\":{\"total\":5}}")
        }
        var text: [UInt8] = []
        EventEncoder.append(event, to: &text)
        let whole = try PaddedBytes(text).withBytes { (bytes) throws(Failure) in try JSONValue(bytes) }
        let patched = whole.merging(.object(patch))
        var body: [UInt8] = []
        patched.append(to: &body)
        let decoder = EventDecoder(topic: .named("dead"), key: nil)
        let batch = try PaddedBytes(body).withBytes { (bytes) throws(Failure) in
            try decoder.decode(bytes, EventRequest(contentType: "application/cloudevents+json"))
        }
        return batch[0].event
    }
}
