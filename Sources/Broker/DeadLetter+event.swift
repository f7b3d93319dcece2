// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger

extension Deferred {
    init(_ row: LedgerRound.DeferredRow) {
        self.init(
            topic: row.id.topic.name, offset: row.id.offset, attempts: row.deferral.attempts, due: row.deferral.due,
            key: row.deferral.key, reason: row.deferral.reason, trace: row.trace, replay: row.deferral.replay,
            deadLetter: row.deferral.deadLetter)
    }
}

extension NewDeadLetter {
    init(_ burial: LedgerRound.Burial) {
        let record = burial.delivery.record
        self.init(
            topic: record.topic.name, offset: record.offset, reason: burial.reason, trace: burial.trace,
            attempts: burial.delivery.attempt, time: burial.time, generation: burial.delivery.generation,
            previous: burial.previous,
            record: Array(UnsafeRawBufferPointer(start: record.bytes, count: record.byteCount)))
    }
}

extension Publication {
    /// The announcement of a dead letter on `$dead`: who gave up on which event, why, and after how many attempts.
    static func deadLetter(_ burial: LedgerRound.Burial, subscriber: String) -> Publication {
        let record = burial.delivery.record
        let announcement = Announcement(
            subscriber: subscriber, topic: record.topic.shownName, import: record.topic.importNumber,
            offset: record.offset, key: record.key, reason: burial.reason, trace: burial.trace,
            attempts: burial.delivery.attempt,
            event: .init(id: record.id, source: record.source, type: record.type))
        return .system(
            .dead, type: "fairlead.delivery.dead",
            id: "dead-\(subscriber)-\(record.topic.name)-\(record.offset)-\(burial.time.milliseconds)",
            subscriber: subscriber, data: announcement)
    }

    private struct Announcement: Encodable {
        var subscriber: String
        var topic: String
        /// The import that the event came with, where it did.
        var `import`: Int64?
        var offset: Offset
        var key: String?
        var reason: String
        var trace: String?
        var attempts: Int
        var event: Name

        struct Name: Encodable {
            var id: String
            var source: String
            var type: String
        }
    }
}

extension Outcome {
    /// A reason that a plugin made of a whole response body is cut.
    var withBoundedReason: Outcome {
        func cut(_ reason: String) -> String {
            reason.utf8.count <= Limits.reasonBytesMax
                ? reason : String(decoding: reason.utf8.prefix(Limits.reasonBytesMax), as: UTF8.self) + "…"
        }
        switch self {
        case .ack, .returned: return self
        case .retry(let after, let reason): return .retry(after: after, reason: cut(reason))
        case .dead(let reason): return .dead(reason: cut(reason))
        case .drop(let reason): return .drop(reason: cut(reason))
        }
    }
}
