// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Synchronization

/// Tells systemd how the service stands: one datagram of `KEY=VALUE` lines to the socket that `NOTIFY_SOCKET` names
/// (https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html). Without that variable it does nothing.
final class SystemdNotifier: Sendable {
    private let address: [UInt8]?
    private let socket: Int32
    /// After STOPPING nothing else is said.
    private let isStopping = Mutex(false)

    /// How often systemd wants a sign of life at least; nil where it doesn't, or not of this process.
    let watchdogInterval: Duration?

    struct Refused: Error, CustomStringConvertible {
        var description: String
    }

    /// - Throws: where the socket that is named can't be one.
    init(environment: [String: String] = ProcessInfo.processInfo.environment) throws(Refused) {
        let isOurs = environment["WATCHDOG_PID"].map { Int32($0) == getpid() } ?? true
        watchdogInterval = environment["WATCHDOG_USEC"].flatMap { Int64($0) }
            .flatMap { isOurs && $0 > 0 ? .microseconds($0) : nil }
        guard let path = environment["NOTIFY_SOCKET"], !path.isEmpty else {
            (address, socket) = (nil, -1)
            return
        }
        // A leading @ stands for the zero byte of an abstract socket's name.
        let name = path.hasPrefix("@") ? [0] + Array(path.utf8.dropFirst()) : Array(path.utf8)
        guard path.hasPrefix("/") || path.hasPrefix("@"),
            name.count < MemoryLayout.size(ofValue: sockaddr_un().sun_path)
        else {
            throw Refused(description: "NOTIFY_SOCKET is \"\(path)\", which names no socket: systemd sets it itself")
        }
        address = name
        socket = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else {
            throw Refused(description: "no socket to notify systemd: \(String(cString: strerror(errno)))")
        }
    }

    deinit {
        if socket >= 0 { close(socket) }
    }

    func ready(_ status: String) { send(["READY=1", "STATUS=\(status)"]) }

    /// The time must be in the same datagram, or systemd waits in vain for the reload's end.
    func reloading() {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        send(["RELOADING=1", "MONOTONIC_USEC=\(time.tv_sec * 1_000_000 + time.tv_nsec / 1_000)"])
    }

    func alive() { send(["WATCHDOG=1"]) }

    func stopping(_ status: String) {
        send(["STOPPING=1", "STATUS=\(status)"])
        isStopping.withLock { $0 = true }
    }

    /// Best effort: a full socket or a systemd that has gone must not hold the server up.
    private func send(_ lines: [String]) {
        guard let address, !isStopping.withLock({ $0 }) else { return }
        // A line break would begin another assignment.
        let text = lines.map { $0.replacing("\n", with: " ") }.joined(separator: "\n")
        var target = sockaddr_un()
        target.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &target.sun_path) { $0.copyBytes(from: address) }
        // The name of an abstract socket has no end but the address's.
        let length = MemoryLayout<sockaddr_un>.offset(of: \.sun_path)! + address.count + (address.first == 0 ? 0 : 1)
        let bytes = Array(text.utf8)
        _ = withUnsafePointer(to: &target) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(
                    socket, bytes, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT), $0,
                    socklen_t(length))
            }
        }
    }
}
