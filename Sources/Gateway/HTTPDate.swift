// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The time for a `Date` header (RFC 9110, section 5.6.7), written once a second.
struct HTTPDate {
    private var second: time_t = 0
    private var text = ""

    mutating func now() -> String {
        let now = time(nil)
        guard now != second else { return text }
        second = now
        text = Self.text(now)
        return text
    }

    static func text(_ second: time_t) -> String {
        var parts = tm()
        var second = second
        gmtime_r(&second, &parts)
        // Two bytes more than `Sun, 06 Nov 1994 08:49:37 GMT` and its end.
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { buffer in
            // The program sets no locale, so the names are English.
            strftime(buffer.baseAddress!, buffer.count, "%a, %d %b %Y %H:%M:%S GMT", &parts)
            return String(cString: buffer.baseAddress!)
        }
    }
}
