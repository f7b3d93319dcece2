// SPDX-License-Identifier: Apache-2.0

import DequeModule
package import Events

/// The offset that the next routed record of a topic gets; shared by the feeds that keep up with it, so that a record
/// that doesn't concern a subscriber costs that subscriber nothing. Owned by the broker's thread.
package final class TopicEnd {
    package let topic: Topic
    package var offset: Offset

    package init(topic: Topic, offset: Offset) {
        self.topic = topic
        self.offset = offset
    }
}

/// How far a subscriber has come in one topic.
package struct Feed {
    package let end: TopicEnd
    /// Where reading goes on; nil while the feed is live, which is to say that it has taken in everything up to the end.
    package internal(set) var behindAt: Offset?
    /// The record where reading goes on isn't due before this moment, by `deliver after`.
    package internal(set) var notBefore: Timestamp?
    /// Some record from `next` on is in flight already, leased before a restart.
    var hasLeased = false
    /// Matching records taken in, in order of offset; the first is never done (``trim()``).
    var outstanding: Deque<Entry> = []
    /// How many of `outstanding` are done.
    var doneAhead = 0
    /// Ranges that the ledger says were settled before the restart, and that were not reached yet.
    var resumed: [ClosedRange<Offset>]

    struct Entry {
        var offset: Offset
        var isDone: Bool
    }

    package init(end: TopicEnd, position: Offset, settled: [ClosedRange<Offset>] = []) {
        self.end = end
        behindAt = position < end.offset ? position : nil
        resumed = settled
    }

    /// The first offset not taken in yet.
    package var next: Offset { behindAt ?? end.offset }

    /// Everything below is done or deferred.
    package var position: Offset { outstanding.first?.offset ?? next }

    /// Ranges above the position that are done or deferred; records between them that matched nothing may be inside.
    package var settled: [ClosedRange<Offset>] {
        var ranges: [ClosedRange<Offset>] = []
        if doneAhead > 0 {
            var start: Offset?
            var last: Offset = 0
            for entry in outstanding {
                if entry.isDone {
                    start = start ?? entry.offset
                    last = entry.offset
                } else if let first = start {
                    ranges.append(first...last)
                    start = nil
                }
            }
            if let first = start { ranges.append(first...last) }
        }
        return ranges + resumed.filter { $0.upperBound >= next }.map { max($0.lowerBound, next)...$0.upperBound }
    }

    /// Whether the ledger says that `offset`, which is the one just taken in, was settled before the restart.
    mutating func wasSettled(_ offset: Offset) -> Bool {
        while let range = resumed.first, range.upperBound < offset { resumed.removeFirst() }
        return resumed.first?.contains(offset) ?? false
    }

    /// Everything below `offset` was taken in.
    mutating func advance(to offset: Offset) {
        notBefore = nil
        behindAt = offset < end.offset ? offset : nil
    }

    /// Whether `offset` was taken in and is neither done nor deferred.
    func isOutstanding(_ offset: Offset) -> Bool {
        place(of: offset).map { !outstanding[$0].isDone } ?? false
    }

    mutating func finish(_ offset: Offset) {
        if hasLeased, offset >= next, outstanding.last.map({ $0.offset < offset }) ?? true {
            // Leased before a restart, and not read again yet.
            settleAhead(offset)
            return
        }
        guard let first = outstanding.first else { return }
        if first.offset == offset {
            outstanding.removeFirst()
            trim()
            return
        }
        guard let place = place(of: offset), !outstanding[place].isDone else { return }
        outstanding[place].isDone = true
        doneAhead += 1
    }

    private func place(of offset: Offset) -> Int? {
        var low = 0
        var high = outstanding.count
        while low < high {
            let middle = (low + high) / 2
            if outstanding[middle].offset < offset { low = middle + 1 } else { high = middle }
        }
        return low < outstanding.count && outstanding[low].offset == offset ? low : nil
    }

    private mutating func settleAhead(_ offset: Offset) {
        let place = resumed.firstIndex { $0.upperBound >= offset } ?? resumed.count
        guard place == resumed.count || !resumed[place].contains(offset) else { return }
        var range = offset...offset
        var replaced = place..<place
        if place > 0, resumed[place - 1].upperBound + 1 == offset {
            range = resumed[place - 1].lowerBound...offset
            replaced = (place - 1)..<place
        }
        if place < resumed.count, resumed[place].lowerBound == offset + 1 {
            range = range.lowerBound...resumed[place].upperBound
            replaced = replaced.lowerBound..<(place + 1)
        }
        resumed.replaceSubrange(replaced, with: [range])
    }

    mutating func trim() {
        while let first = outstanding.first, first.isDone {
            outstanding.removeFirst()
            doneAhead -= 1
        }
    }
}
