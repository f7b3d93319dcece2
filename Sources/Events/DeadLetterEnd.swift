// SPDX-License-Identifier: Apache-2.0

/// How a dead letter ended.
package enum DeadLetterEnd: Hashable, Sendable {
    /// Sent again, and acknowledged or dropped.
    case acknowledged
    /// Sent again, and given up again: another dead letter took its place.
    case failedAgain
    /// Given up by hand, with a reason.
    case discarded(String)
    /// Its record is gone.
    case lost

    package var name: String {
        switch self {
        case .acknowledged: "acknowledged"
        case .failedAgain: "failed again"
        case .discarded: "discarded"
        case .lost: "lost"
        }
    }

    package var note: String? {
        if case .discarded(let reason) = self { reason } else { nil }
    }

    package init?(name: String, note: String?) {
        switch name {
        case "acknowledged": self = .acknowledged
        case "failed again": self = .failedAgain
        case "discarded": self = .discarded(note ?? "")
        case "lost": self = .lost
        default: return nil
        }
    }
}
