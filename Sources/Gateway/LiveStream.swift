// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
import Hummingbird
import NIOCore
import ServiceLifecycle
import Synchronization

/// `/v1/live`: what `/v1/status` says, once a second, as server-sent events.
struct LiveStream: Sendable {
    let admin: Admin
    private let open = OpenStreams()

    init(admin: Admin) {
        self.admin = admin
    }

    func stream(_ exchange: Exchange) async throws -> Response {
        // Nobody would read the answer to HEAD to its end.
        guard exchange.request.method == .get else { return Response(status: .ok, headers: Self.headers) }
        guard open.begin() else {
            throw Failure(
                .overloaded,
                "\(Limits.liveStreamsMax) live streams are open already; close one, or ask /v1/status from time to time"
            )
        }
        let hold = OpenStreams.Hold(open)
        return Response(
            status: .ok, headers: Self.headers,
            body: ResponseBody { [admin] writer in
                defer { withExtendedLifetime(hold) {} }
                try await writer.write(ByteBuffer(string: "retry: \(Limits.liveRetry.milliseconds)\n\n"))
                do {
                    while true {
                        var event = ByteBuffer(string: "event: status\ndata: ")
                        event.writeBytes(await admin.snapshot())
                        event.writeString("\n\n")
                        try await writer.write(event)
                        try await cancelWhenGracefulShutdown { try await Task.sleep(for: Limits.liveEvery) }
                    }
                } catch is CancellationError {
                    // The server stops: the stream has an orderly end, and whoever watches comes back.
                }
                try await writer.finish(nil)
            })
    }

    private static let headers: HTTPFields = [
        .contentType: "text/event-stream", .cacheControl: "no-store", .xContentTypeOptions: "nosniff",
        // Else proxies collect the stream before they pass it on.
        .init("X-Accel-Buffering")!: "no",
    ]
}

/// Counts the streams, so that they stay few.
private final class OpenStreams: Sendable {
    private let count = Mutex(0)

    func begin() -> Bool {
        count.withLock { count in
            guard count < Limits.liveStreamsMax else { return false }
            count += 1
            return true
        }
    }

    /// One of them, until it is let go: also where the answer is never written.
    final class Hold: Sendable {
        private let streams: OpenStreams

        init(_ streams: OpenStreams) {
            self.streams = streams
        }

        deinit { streams.count.withLock { $0 -= 1 } }
    }
}

extension Limits {
    /// Live streams at once: each costs a status a second. Enough for a wall of screens.
    static let liveStreamsMax = 16

    /// How often a live stream tells the status.
    static let liveEvery: Duration = .seconds(1)

    /// When a browser whose stream broke off opens it again.
    static let liveRetry: Duration = .seconds(2)
}
