// SPDX-License-Identifier: Apache-2.0

package import Events
package import Journal
package import Ledger

/// Finds the outbox rows whose event is in its topic already: the process ended between the append and the row's removal, or a
/// power cut brought rows back whose removal wasn't synced.
///
/// A row knows where its topic ended when it was made, so its record stands at or after that, or nowhere. From the lowest such
/// place of the rows not yet found the topic is read until all are found. So what is read is what came into the topic
/// between the making of a row and its append, and for rows without a record, from their making to the crash.
package struct OutboxRecovery {
    private let journal: Journal
    private let ledger: Ledger

    package struct Report: Hashable, Sendable {
        /// Rows whose event is in its topic.
        package var found: [UInt64] = []
        package var rows = 0
        package var recordsRead = 0
    }

    package init(_ journal: Journal, _ ledger: Ledger) {
        self.journal = journal
        self.ledger = ledger
    }

    /// Before anything is appended. Blocks.
    package func search() throws(Failure) -> Report {
        var report = Report()
        for (name, marks) in try ledger.outboxMarks() {
            report.rows += marks.count
            let topic = Topic.named(name)
            guard let bounds = journal.bounds(topic) else { continue }
            if marks.contains(where: { $0.topicEnd > bounds.end }) {
                try ledger.lowerOutboxEnds(of: name, to: bounds.end)
            }
            try search(topic, marks, &report)
        }
        return report
    }

    private func search(_ topic: Topic, _ marks: [OutboxMark], _ report: inout Report) throws(Failure) {
        var wanted = Dictionary(uniqueKeysWithValues: marks.map { ($0.id, $0.topicEnd) })
        var at: Offset = 0
        while let lowest = wanted.values.min() {
            at = max(at, lowest)
            guard
                let batch = try journal.read(
                    topic, from: at, maxRecords: Limits.catchUpEvents, maxBytes: Limits.catchUpBytes), batch.count > 0
            else { return }
            report.recordsRead += batch.count
            for index in 0..<batch.count {
                if let row = batch[index].outbox, wanted.removeValue(forKey: row) != nil { report.found.append(row) }
            }
            at = batch.last + 1
        }
    }
}
