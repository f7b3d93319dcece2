// SPDX-License-Identifier: Apache-2.0

import Events
import NIOCore

extension Limits {
    /// Bytes of a request's body that isn't events: settlements of the largest pull, and room.
    static let controlBytesMax = 4 << 20

    /// Deliveries in one pull or settle request: with a mean event they fill a few megabytes.
    package static let pullEventsMax = 10_000

    /// Deliveries of one pull request that doesn't say.
    static let pullEventsDefault = 100

    /// Connections to one host at once; what waits beyond them waits in vain. A subscriber's `concurrency` is the bound
    /// that its owner chose, so this one only keeps a process inside its open files.
    static let outboundConnectionsPerHostMax = 4_096

    /// Longest that a pull or tail request waits: below the idle timeouts of common proxies (60 s).
    package static let waitMax: Duration = .seconds(55)

    /// Bytes of the name of an import's contents: any digest fits.
    static let importFileBytesMax = 128

    /// Records in one answer of a tail.
    static let tailEventsMax = 1_000

    /// Dead letters on one page.
    static let pageMax = 1_000
    static let pageDefault = 100

    /// Failed attempts in one answer that doesn't say: what somebody looks through.
    static let failuresDefault = 20

    /// Bytes of all headers of one request: as much as common proxies let through, twice.
    static let headerBytesMax = 64 << 10

    /// Bytes of a publish request that is decoded on its connection's event loop: some hundred microseconds of work.
    static let publishOnLoopBytesMax = 512 << 10

    /// Bytes of a head that is not whole, and is read from its first byte on whenever more of it come.
    static let plainHeadBytesMax = 8 << 10

    /// About as many as an answer has before its body.
    static let answerHeadBytes = 160

    /// Bytes that a connection keeps for its next publish request: many connections with single events cost little.
    static let publishBufferBytesKept = 16 << 10

    /// Headers of one request: every attribute of the widest event, and room for what proxies add.
    static let headersMax = 200

    /// A connection on which nothing is under way for this long is closed; above the wait of common clients' pools.
    static let connectionIdle: TimeAmount = .seconds(120)

    /// What a client is told to wait when there is no room for its events now: about one group commit of a busy disk.
    static let retryAfterSeconds = 1

    /// Bytes of an endpoint's answer that are read; of it only the status, the headers and a short excerpt count.
    static let webhookResponseBytesMax = 4 << 10

    /// Bytes of events in one request of a `batch`; a larger event travels alone. What common servers take as a body
    /// without being told to.
    static let webhookBatchBytesMax = 1 << 20

    /// How long an endpoint is left alone that answers 429 and doesn't say.
    static let busyDefault: Duration = .seconds(10)

    /// Bytes that a secret needs to have to be looked for in an endpoint's answer: a shorter one is found in every text.
    static let secretBytesMin = 4

    /// Bytes of an endpoint's answer that go into the reason of a failed attempt.
    static let webhookExcerptBytesMax = 200

    /// The longest that a reload may be given: whoever waits that long has found a plugin that must be mended.
    package static let reloadWaitMax: Duration = .seconds(600)

    /// Values of one metric's labels; beyond that a bug is making labels of data, and further series are not kept.
    static let seriesMax = 10_000
}
