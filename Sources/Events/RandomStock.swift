// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// Random bits of the kernel, taken a block at a time: a request with one event needs some, and a system call for each
/// costs as much as reading the event.
final class RandomStock: Sendable {
    static let shared = RandomStock()

    /// As many bytes as `getentropy` gives at once (getentropy(3)).
    private static let blockBytes = 256

    private struct State {
        var words: [UInt64] = []
    }

    private let state = Mutex(State())

    /// Two words that nobody else gets.
    func next() -> (UInt64, UInt64) {
        state.withLock { state in
            if state.words.count < 2 { Self.fill(&state.words) }
            return (state.words.removeLast(), state.words.removeLast())
        }
    }

    private static func fill(_ words: inout [UInt64]) {
        words = Array(repeating: 0, count: blockBytes / MemoryLayout<UInt64>.size)
        let failure = words.withUnsafeMutableBytes { getentropy($0.baseAddress!, $0.count) }
        // It fails only where the kernel has no such call, or more is asked for.
        precondition(failure == 0, "the kernel gives random bytes")
    }
}
