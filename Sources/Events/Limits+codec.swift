// SPDX-License-Identifier: Apache-2.0

extension Limits {
    /// Bytes of a value that a refusal repeats to its sender: enough to recognise it.
    package static let refusalExcerptBytesMax = 60
}
