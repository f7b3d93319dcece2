// SPDX-License-Identifier: Apache-2.0

package enum HostName {
    /// 127.0.0.0/8, ::1, and localhost with the names below it (RFC 1122 3.2.1.3, RFC 4291 2.5.3, RFC 6761 6.3).
    package static func isLoopback(_ host: String) -> Bool {
        let host = host.lowercased()
        if host == "::1" || host == "localhost" || host.hasSuffix(".localhost") { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
