// SPDX-License-Identifier: Apache-2.0

import Broker
import Gateway
import ServiceLifecycle

/// Says READY when the listener listens, and from then on that the broker turns, where systemd wants to know.
struct SystemdService: Service, CustomStringConvertible {
    let notifier: SystemdNotifier
    let gateway: Gateway
    let broker: Broker
    let status: @Sendable () async -> String
    var description: String { "systemd" }

    func run() async throws {
        guard await gateway.port() != nil else { return try await gracefulShutdown() }
        notifier.ready(await status())
        guard let interval = notifier.watchdogInterval else { return try await gracefulShutdown() }
        await cancelWhenGracefulShutdown {
            while true {
                // Where its thread stands still, this never comes back, and systemd ends the process.
                await broker.turn()
                notifier.alive()
                do { try await Task.sleep(for: interval / 2) } catch { return }
            }
        }
    }
}

/// What stops first: says so, lets what is in flight finish, and only then lets the listener close.
struct DrainService: Service, CustomStringConvertible {
    let notifier: SystemdNotifier
    let gateway: Gateway
    let server: Server
    let broker: Broker
    let deadline: Duration
    var description: String { "drain" }

    func run() async throws {
        try? await gracefulShutdown()
        notifier.stopping("finishing what is in flight")
        gateway.beginStop()
        await server.beginStop()
        await broker.drain(within: deadline)
    }
}
