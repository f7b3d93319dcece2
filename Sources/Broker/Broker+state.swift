// SPDX-License-Identifier: Apache-2.0

package import Events
import Ledger

extension Broker {
    /// Up to `limit` entries of a subscriber's state whose key starts with `prefix`, in order of key, after `after`.
    package func stateEntries(
        of subscriber: String, prefix: String, after: String?, limit: Int
    ) async throws(Failure) -> [StateEntry] {
        try await known(subscriber)
        return try await blocking { () throws(Failure) in
            try self.reading {
                try self.engine.state.values(subscriber: subscriber, prefix: prefix, after: after, limit: limit)
            }.map { StateEntry(key: $0.key, value: $0.value) }
        }
    }

    /// nil where the key is missing or expired.
    package func stateValue(of subscriber: String, key: String) async throws(Failure) -> [UInt8]? {
        try await known(subscriber)
        return try await blocking { () throws(Failure) in
            try self.reading { try self.engine.state.value(subscriber: subscriber, key: key) }
        }
    }

    /// Changes a subscriber's state by hand; returns when it is written. A call of the handler that is running now may
    /// still overwrite it with what it saw before: pause the subscriber first where that matters.
    package func writeState(of subscriber: String, _ write: StateWrite) async throws(Failure) {
        try await known(subscriber)
        var change = LedgerChange(subscriber: subscriber)
        change.state = [write]
        change.needsSync = true
        await on { core in core.subscribers[subscriber]?.probation?.hasWritten = true }
        let written = change
        _ = try await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<LedgerCommit, Failure>, Never>) in
            engine.commit(written) { continuation.resume(returning: $0) }
        }.get()
    }

    /// A misspelt name would read as an empty state, and be written to for nobody.
    private func known(_ subscriber: String) async throws(Failure) {
        guard try await knownSubscribers().contains(subscriber) else {
            throw Failure(
                .unknownSubscriber, "no subscriber \"\(subscriber)\" is known; `fairlead status` shows those there are")
        }
    }

    private func reading<Value>(_ body: () throws -> Value) throws(Failure) -> Value {
        do {
            return try body()
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(.storage, "the state can't be read: \(error)")
        }
    }
}

/// One key of a subscriber's state; the value is JSON text.
package struct StateEntry: Hashable, Sendable {
    package var key: String
    package var value: [UInt8]

    package init(key: String, value: [UInt8]) {
        self.key = key
        self.value = value
    }
}
