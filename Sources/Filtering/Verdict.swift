// SPDX-License-Identifier: Apache-2.0

/// What a predicate says of an event: Kleene's three values.
package enum Verdict: UInt8, Sendable, BitwiseCopyable {
    case isFalse = 0
    case isTrue = 1
    case unknown = 2

    init(_ value: Bool) {
        self = value ? .isTrue : .isFalse
    }

    var negated: Verdict {
        switch self {
        case .isFalse: .isTrue
        case .isTrue: .isFalse
        case .unknown: .unknown
        }
    }
}

extension Verdict {
    package var text: String {
        switch self {
        case .isFalse: "false"
        case .isTrue: "true"
        case .unknown: "unknown"
        }
    }
}
