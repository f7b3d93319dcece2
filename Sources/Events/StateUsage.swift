// SPDX-License-Identifier: Apache-2.0

/// How much a subscriber's plugin keeps.
package struct StateUsage: Hashable, Sendable {
    package var entries: Int
    /// Of keys, and of values as JSON text.
    package var bytes: Int

    package init(entries: Int = 0, bytes: Int = 0) {
        self.entries = entries
        self.bytes = bytes
    }

    package init(of values: [String: [UInt8]]) {
        self.init(entries: values.count, bytes: values.reduce(0) { $0 + $1.key.utf8.count + $1.value.count })
    }
}

/// What brings a subscriber's state to the version of its plugin: all of it or nothing.
package struct StateMigration: Hashable, Sendable {
    package var version: Int
    package var writes: [StateWrite]

    package init(version: Int, writes: [StateWrite]) {
        self.version = version
        self.writes = writes
    }
}
