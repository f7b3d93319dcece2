// SPDX-License-Identifier: Apache-2.0

/// A record's place in its topic: from 0, rising by one, never reused.
package typealias Offset = UInt64
