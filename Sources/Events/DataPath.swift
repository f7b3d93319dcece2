// SPDX-License-Identifier: Apache-2.0

/// A place inside an event's JSON data: `data.items[*].sku` is `.key("items"), .every, .key("sku")`.
package struct DataPath: Hashable, Sendable {
    package enum Step: Hashable, Sendable {
        case key(String)
        /// From 0.
        case index(Int)
        /// Each element of an array: `[*]`.
        case every
    }

    package var steps: [Step]

    package init(_ steps: [Step]) {
        self.steps = steps
    }
}
