// SPDX-License-Identifier: Apache-2.0

/// A refusal as people read it: what was refused, the value, the bound, and what to do. Lower case, no full stop.
package struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable {
        /// The caller's bytes are wrong and will stay wrong.
        case malformed
        case tooLarge
        case unsupportedMediaType
        case unknownTopic
        case unknownSubscriber
        case notFound
        case conflict
        /// Right, but not now; try again.
        case overloaded
        case storage
        case forbidden
    }

    package var code: Code
    package var message: String
    /// Which event of a batch, from 0.
    package var index: Int?

    package init(_ code: Code, _ message: String, index: Int? = nil) {
        self.code = code
        self.message = message
        self.index = index
    }

    package var description: String { message }
}
