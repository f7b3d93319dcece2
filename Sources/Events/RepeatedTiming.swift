// SPDX-License-Identifier: Apache-2.0

/// A histogram of durations that takes many equal ones for the price of one.
package protocol RepeatedTiming: AnyObject, Sendable {
    func record(nanoseconds: Int64, times: Int)
}
