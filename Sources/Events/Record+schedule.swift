// SPDX-License-Identifier: Apache-2.0

import CFairlead

/// The two extension attributes that say when an event is for: `deliverafter`, not before, and `expirytime`, not after. Each
/// is a duration from when the event was accepted, `30s`, or a moment, `2026-03-09T14:05:00Z`.
package enum ScheduleAttribute: String, CaseIterable, Sendable {
    case deliverAfter = "deliverafter"
    case expiryTime = "expirytime"

    init?(_ name: UnsafeRawBufferPointer) {
        guard let found = Self.allCases.first(where: { $0.rawValue.utf8.elementsEqual(name) }) else { return nil }
        self = found
    }

    /// Nil where `value` is neither a duration nor a moment.
    static func time(_ value: UnsafeRawBufferPointer, from accepted: Timestamp) -> Timestamp? {
        RFC3339.parse(value) ?? DurationText.parse(String(decoding: value, as: UTF8.self)).map { accepted + $0 }
    }

    /// - Throws: where it says no time.
    func check(_ value: UnsafeRawBufferPointer, index: Int?) throws(Failure) {
        guard Self.time(value, from: Timestamp(milliseconds: 0)) != nil else {
            throw Failure(
                .malformed,
                "attribute \"\(rawValue)\" is \"\(AttributeCheck.excerpt(value))\"; write a duration such as 30s, or a "
                    + "moment such as 2026-03-09T14:05:00Z", index: index)
        }
        guard let duration = DurationText.parse(String(decoding: value, as: UTF8.self)) else { return }
        guard duration <= Limits.scheduleMax else {
            throw Failure(
                .malformed,
                "attribute \"\(rawValue)\" is \"\(AttributeCheck.excerpt(value))\"; the limit is "
                    + DurationText.format(Limits.scheduleMax), index: index)
        }
    }
}

extension Record {
    /// Before which it isn't to be delivered, where its publisher said so.
    package var deliverAt: Timestamp? { moment("deliverafter") }

    /// From which on it isn't to be delivered any more, where its publisher said so.
    package var expires: Timestamp? { moment("expirytime") }

    private func moment(_ name: StaticString) -> Timestamp? {
        // The three required attributes are all that most events have, and perhaps a subject.
        guard fl_record_attribute_count(bytes) > 3 else { return nil }
        let span = fl_record_attribute(bytes, name.utf8Start, name.utf8CodeUnitCount)
        guard let value = UnsafeRawBufferPointer(span: span) else { return nil }
        // It was checked when it was published; what came in before there was a check says nothing.
        return ScheduleAttribute.time(value, from: time)
    }
}
