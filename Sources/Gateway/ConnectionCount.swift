// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOCore

/// Who holds how many connections. An address of version 6 counts with its /64, which one host has for itself; loopback has
/// no bound of its own, as a proxy on this machine brings everybody.
struct ConnectionCount {
    struct Peer: Hashable {
        /// 4 bytes or 8; empty where the connection has no address.
        var prefix: [UInt8]
        var isLoopback: Bool
    }

    private let total: Int
    private let perAddress: Int
    private let loopbackReserve: Int
    private(set) var count = 0
    private var counts: [Peer: Int] = [:]

    init(_ bounds: ConnectionBounds) {
        total = bounds.total
        perAddress = bounds.perAddress
        loopbackReserve = bounds.loopbackReserve
    }

    /// Counts a connection, or says why there is none for it.
    mutating func open(_ peer: Peer) -> Refusals.Reason? {
        guard count < (peer.isLoopback ? total : total - loopbackReserve) else { return .connections }
        let held = counts[peer, default: 0]
        guard peer.isLoopback || held < perAddress else { return .connectionsOfAddress }
        counts[peer] = held + 1
        count += 1
        return nil
    }

    mutating func close(_ peer: Peer) {
        guard let held = counts[peer] else { return }
        counts[peer] = held == 1 ? nil : held - 1
        count -= 1
    }
}

extension ConnectionCount.Peer {
    init(_ address: SocketAddress?) {
        var bytes = [UInt8](repeating: 0, count: 16)
        let text = address?.ipAddress ?? ""
        if inet_pton(AF_INET, text, &bytes) == 1 {
            self.init(v4: Array(bytes[..<4]))
        } else if inet_pton(AF_INET6, text, &bytes) == 1 {
            if bytes[..<10].allSatisfy({ $0 == 0 }), bytes[10] == 0xFF, bytes[11] == 0xFF {
                self.init(v4: Array(bytes[12...]))
            } else {
                let isLoopback = bytes[..<15].allSatisfy { $0 == 0 } && bytes[15] == 1
                self.init(prefix: Array(bytes[..<8]), isLoopback: isLoopback)
            }
        } else {
            self.init(prefix: [], isLoopback: false)
        }
    }

    private init(v4 bytes: [UInt8]) {
        self.init(prefix: bytes, isLoopback: bytes[0] == 127)
    }
}
