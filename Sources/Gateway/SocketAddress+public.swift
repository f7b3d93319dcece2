// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOCore

extension SocketAddress {
    /// Whether it is an address of the public Internet: in none of the blocks that are set aside for hosts, local networks,
    /// documentation or tests, cloud metadata services among them
    /// (https://www.iana.org/assignments/iana-ipv4-special-registry, https://www.iana.org/assignments/iana-ipv6-special-registry).
    var isPublic: Bool {
        guard let ipAddress else { return false }
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, ipAddress, &bytes) == 1 {
            return Self.isPublic(v4: bytes[..<4].reduce(0) { $0 << 8 | UInt32($1) })
        }
        return inet_pton(AF_INET6, ipAddress, &bytes) == 1 && Self.isPublic(v6: bytes)
    }

    private static func isPublic(v4 address: UInt32) -> Bool {
        !localBlocks.contains { address >> (32 - $0.bits) == $0.network >> (32 - $0.bits) }
    }

    private static let localBlocks: [(network: UInt32, bits: UInt32)] = [
        (0x0000_0000, 8),  // this network
        (0x0A00_0000, 8),  // private
        (0x6440_0000, 10),  // shared, behind carriers' NAT
        (0x7F00_0000, 8),  // loopback
        (0xA9FE_0000, 16),  // link-local; metadata services
        (0xAC10_0000, 12),  // private
        (0xC000_0000, 24),  // protocol assignments
        (0xC000_0200, 24),  // documentation
        (0xC058_6300, 24),  // former 6to4 relays
        (0xC0A8_0000, 16),  // private
        (0xC612_0000, 15),  // benchmarks
        (0xC633_6400, 24),  // documentation
        (0xCB00_7100, 24),  // documentation
        (0xE000_0000, 4),  // multicast
        (0xF000_0000, 4),  // reserved; broadcast
    ]

    private static func isPublic(v6 bytes: [UInt8]) -> Bool {
        func v4(at index: Int) -> UInt32 { bytes[index..<index + 4].reduce(0) { $0 << 8 | UInt32($1) } }
        // Those that stand for an address of version 4: mapped, translated (RFC 6052), 6to4.
        if bytes[..<10].allSatisfy({ $0 == 0 }), bytes[10] == 0xFF, bytes[11] == 0xFF {
            return isPublic(v4: v4(at: 12))
        }
        if bytes[..<12] == [0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0] { return isPublic(v4: v4(at: 12)) }
        if bytes[0] == 0x20, bytes[1] == 0x02 { return isPublic(v4: v4(at: 2)) }
        // Global unicast is 2000::/3; all else is loopback, local, multicast or unassigned.
        guard bytes[0] & 0xE0 == 0x20 else { return false }
        // 2001::/23 is for protocols (Teredo among them), 2001:db8::/32 and 3fff::/20 for documentation.
        if bytes[0] == 0x20, bytes[1] == 0x01 {
            return bytes[2] >= 0x02 && !(bytes[2] == 0x0D && bytes[3] == 0xB8)
        }
        return !(bytes[0] == 0x3F && bytes[1] == 0xFF && bytes[2] < 0x10)
    }
}
