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

    /// Why an event can't have this attribute in a topic that drops events after `kept`, settled or not; nil where it can,
    /// and for names that say nothing about time.
    package static func refusal(
        of name: String, _ value: String, in topic: String, keeping kept: Duration?, now: Timestamp
    ) -> Failure? {
        guard let attribute = Self(rawValue: name) else { return nil }
        return Array(value.utf8).withUnsafeBytes { bytes in
            do throws(Failure) {
                try attribute.check(bytes, index: nil)
            } catch {
                return error
            }
            return attribute.refusal(of: bytes, in: topic, keeping: kept, now: now, index: nil)
        }
    }

    /// - Parameter kept: nil where the topic keeps events until they are settled.
    fileprivate func refusal(
        of value: UnsafeRawBufferPointer, in topic: String, keeping kept: Duration?, now: Timestamp, index: Int?
    ) -> Failure? {
        guard self == .deliverAfter, let kept, let due = Self.time(value, from: now), due - now >= kept else {
            return nil
        }
        return Failure(
            .malformed,
            "attribute \"\(rawValue)\" is \"\(AttributeCheck.excerpt(value))\", and topic \"\(topic)\" drops its events after "
                + "\(DurationText.format(kept)), before this one is delivered; let it wait for less, or raise the topic's `retain`",
            index: index)
    }
}

extension Record {
    /// Why its topic, which drops events after `kept`, can't take it, before it is stamped: its publisher has it wait for
    /// longer.
    package func delayRefusal(keeping kept: Duration, now: Timestamp, index: Int?) -> Failure? {
        guard let value = value("deliverafter") else { return nil }
        return ScheduleAttribute.deliverAfter.refusal(
            of: value, in: topic.name, keeping: kept, now: now, index: index)
    }

    /// Before which it isn't to be delivered, where its publisher said so.
    package var deliverAt: Timestamp? { moment("deliverafter") }

    /// From which on it isn't to be delivered any more, where its publisher said so.
    package var expires: Timestamp? { moment("expirytime") }

    private func moment(_ name: StaticString) -> Timestamp? {
        // It was checked when it was published; what came in before there was a check says nothing.
        value(name).flatMap { ScheduleAttribute.time($0, from: time) }
    }

    private func value(_ name: StaticString) -> UnsafeRawBufferPointer? {
        // The three required attributes are all that most events have, and perhaps a subject.
        guard fl_record_attribute_count(bytes) > 3 else { return nil }
        return UnsafeRawBufferPointer(span: fl_record_attribute(bytes, name.utf8Start, name.utf8CodeUnitCount))
    }
}
