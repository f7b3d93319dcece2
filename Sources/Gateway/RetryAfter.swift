// SPDX-License-Identifier: Apache-2.0

package import Events

/// The Retry-After header (RFC 9110 section 10.2.3): seconds, or a date.
package enum RetryAfter {
    /// nil where it says neither; never negative.
    package static func parse(_ text: String, now: Timestamp) -> Duration? {
        if let seconds = Double(text), seconds.isFinite, seconds >= 0, seconds < 1e9 {
            return .milliseconds(Int64(seconds * 1_000))
        }
        return date(text).map { max(.zero, $0 - now) }
    }

    /// `Sun, 06 Nov 1994 08:49:37 GMT`: the one form that may be sent (RFC 9110 section 5.6.7).
    private static func date(_ text: String) -> Timestamp? {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[0].hasSuffix(","), parts[5] == "GMT",
            let month = months.firstIndex(where: { $0 == parts[2] })
        else { return nil }
        let number = month < 9 ? "0\(month + 1)" : "\(month + 1)"
        return RFC3339.parse("\(parts[3])-\(number)-\(parts[1])T\(parts[4])Z".utf8)
    }
}
