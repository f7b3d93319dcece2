// SPDX-License-Identifier: Apache-2.0

package import Events

extension Ledger {
    /// What would bring these keys back to what they hold now, whatever is written to them after. Blocks.
    package func restoring(_ keys: [String], of subscriber: String) throws(Failure) -> [StateWrite] {
        try flush()
        let now = clock.now()
        return try read { [self] db in
            try Set(keys).sorted().map { key in
                guard let value = try storedValue(db, Array(key.utf8), of: subscriber), value.isLive(at: now) else {
                    return .delete(key: key)
                }
                return .put(key: key, value: value.json, expires: value.expires)
            }
        }
    }
}
