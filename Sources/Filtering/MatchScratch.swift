// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

/// The memory of one thread's matching: values, verdicts and a JSON parser, kept from event to event. Used by one
/// thread at a time; any matcher may use it.
package final class MatchScratch {
    let reader = DataReader()
    /// One for each slot of the matcher's program.
    private(set) var values: UnsafeMutablePointer<fl_value>
    /// For each predicate `stamp * 4 + verdict` as of the event it was last tested on.
    private(set) var verdicts: UnsafeMutablePointer<UInt64>
    /// The event in which each filter was last looked at.
    private(set) var seen: UnsafeMutablePointer<UInt64>
    /// Counts events; 0 is none.
    var stamp: UInt64 = 0
    /// Whether the data's values of this event have been extracted.
    var hasData = false
    /// What matching has met since it was asked last.
    var tally = MatchTally()
    /// Groups of the index that keys of this event led to and that have not been looked at.
    var groups: [Int32] = []
    /// Text made by functions, for the left and the right side of a comparison.
    var made: (left: TextBuffer, right: TextBuffer) = (TextBuffer(), TextBuffer())
    /// Text made by a function to be looked up. Filters are asked meanwhile, and use the other two.
    let lookedUp = TextBuffer()
    private let topicText = TextBuffer()
    private var topic: (Topic, fl_value)?
    /// The filter of a one-off call, compiled.
    var oneOff: (filter: Filter, matcher: Matcher)?
    private var owner: UInt64 = 0

    package init() {
        values = .allocate(capacity: 0)
        verdicts = .allocate(capacity: 0)
        seen = .allocate(capacity: 0)
    }

    deinit {
        values.deallocate()
        verdicts.deallocate()
        seen.deallocate()
    }

    /// What was met since the last call.
    package func takeTally() -> MatchTally {
        defer { tally = MatchTally() }
        return tally
    }

    func topicName(_ topic: Topic) -> fl_value {
        if let (known, value) = self.topic, known === topic { return value }
        let value = topicText.hold(topic.shownName)
        self.topic = (topic, value)
        return value
    }

    /// Makes room for the matcher called `owner`.
    func prepare(for owner: UInt64, slots: Int, tests: Int, filters: Int) {
        guard self.owner != owner else { return }
        self.owner = owner
        values.deallocate()
        verdicts.deallocate()
        seen.deallocate()
        values = .allocate(capacity: slots)
        values.initialize(repeating: fl_value(), count: slots)
        verdicts = .allocate(capacity: tests)
        verdicts.initialize(repeating: 0, count: tests)
        seen = .allocate(capacity: filters)
        seen.initialize(repeating: 0, count: filters)
        stamp = 0
    }
}

/// What the filters of a topic cost and could not judge.
package struct MatchTally: Sendable, Equatable {
    /// Filters that were asked.
    package var candidates = 0
    /// Comparisons with a value of another kind than the filter's.
    package var mismatches = 0
    /// Events whose data a filter asked for and that have no JSON.
    package var opaque = 0
}

/// Bytes that grow and stay.
final class TextBuffer {
    private(set) var bytes: UnsafeMutablePointer<UInt8> = .allocate(capacity: 64)
    private var capacity = 64

    deinit {
        bytes.deallocate()
    }

    /// Copies `string` here; the value is valid until the next.
    func hold(_ string: String) -> fl_value {
        var string = string
        return string.withUTF8 { text in
            reserve(text.count)
            if let start = text.baseAddress { bytes.update(from: start, count: text.count) }
            var value = fl_value()
            value.kind = UInt8(FL_VALUE_STRING)
            value.length = UInt32(text.count)
            value.bytes = UnsafePointer(bytes)
            return value
        }
    }

    func reserve(_ count: Int) {
        guard count > capacity else { return }
        bytes.deallocate()
        capacity = max(count, capacity * 2)
        bytes = .allocate(capacity: capacity)
    }
}
