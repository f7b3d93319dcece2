// SPDX-License-Identifier: Apache-2.0

package import Events
import Filtering

extension TopicRoute {
    /// What finds an event's key as this topic's `key` line says; nil where it has none.
    package var keyExtractor: (any KeyExtractor)? {
        switch key {
        case .attribute(let name): AttributeKey(name)
        case .data(let path): DataKey(path)
        case nil: nil
        }
    }
}
