// SPDX-License-Identifier: Apache-2.0

import Events
import Journal

/// The retained events of several topics, in the order in which they were accepted.
struct RetainedEvents {
    /// Which of them.
    struct Window {
        var since = Timestamp.distantPast
        var until = Timestamp.distantFuture
        /// Of each topic at most so many, the newest.
        var limit = Int.max
    }

    private struct Feed {
        var topic: String
        var at: Offset
        var end: Offset
        var batch: RecordBatch?
        var place = 0

        var head: Record? { batch.map { $0[place] } }
    }

    private let journal: JournalReader
    private var feeds: [Feed] = []
    /// As many as the offsets in the window say; what is damaged is among them.
    let total: Int

    init(_ journal: JournalReader, of topics: [String], _ window: Window) throws {
        self.journal = journal
        var total = 0
        for topic in topics {
            let first = try journal.offset(at: window.since, in: topic)
            let end =
                try window.until == .distantFuture
                ? journal.end(of: topic) : journal.offset(at: window.until, in: topic)
            guard first < end else { continue }
            let from = max(first, end - min(end, Offset(clamping: window.limit)))
            total += Int(end - from)
            feeds.append(Feed(topic: topic, at: from, end: end))
        }
        self.total = total
        for index in feeds.indices { try load(index) }
    }

    mutating func next() throws -> Record? {
        let earliest = feeds.indices.filter { feeds[$0].batch != nil }
            .min { feeds[$0].head!.time < feeds[$1].head!.time }
        guard let earliest else { return nil }
        let record = feeds[earliest].head!
        feeds[earliest].place += 1
        if feeds[earliest].place == feeds[earliest].batch!.count { try load(earliest) }
        return record.offset < feeds[earliest].end ? record : try next()
    }

    private mutating func load(_ index: Int) throws {
        let feed = feeds[index]
        feeds[index].place = 0
        feeds[index].batch =
            feed.at < feed.end
            ? try journal.read(feed.topic, from: feed.at, maxRecords: Self.readEvents, maxBytes: Self.readBytes) : nil
        if let batch = feeds[index].batch { feeds[index].at = batch.last + 1 }
    }

    /// Events and bytes of one read: as many as fit into a megabyte, so that many topics side by side stay small.
    private static let readEvents = 1_000
    private static let readBytes = 1 << 20
}
