// SPDX-License-Identifier: Apache-2.0

import Events
import NIOCore

extension Limits {
    /// Connections at once. Each costs about 20 KiB; where fewer files may be open, ``openFilesReserve`` decides.
    static let connectionsMax = 8_192

    /// Open files that connections leave to the journal, the ledger, mail and webhooks.
    static let openFilesReserve = 256

    /// Of all connections, those that only loopback gets: whoever administers the machine gets in while it is flooded.
    static let loopbackConnectionsReserve = 32

    /// What part of all connections one address may hold: a quarter, as many publishers stand behind one NAT.
    static let connectionsPerAddressDivisor = 4

    /// From the first byte of a request, or from the connection's beginning, to the end of its headers; the TLS handshake is
    /// in it. Thirty times what the slowest common links take.
    static let headerTime: TimeAmount = .seconds(30)

    /// What a body may take beyond its bytes at ``bodyBytesPerSecondMin``: a stalled link comes back within it.
    static let bodyGrace: TimeAmount = .seconds(30)

    /// Slowest that a body may come, in the mean. Below it a connection is held rather than used.
    static let bodyBytesPerSecondMin = 4 << 10

    /// One whole request, its body at whatever speed: 16 MiB at 19 KiB/s.
    static let requestTime: TimeAmount = .minutes(15)

    /// How long an answer's bytes may wait for a client that takes fewer than ``answerBytesPerSecondMin``. A window of TCP
    /// opens in large steps, so that it isn't shorter.
    static let answerWindow: TimeAmount = .seconds(60)
    static let answerBytesPerSecondMin = 500

    /// How often a connection is looked at: the deadlines above are exact to this.
    static let connectionLook: TimeAmount = .seconds(2)

    /// Bytes on the wire beyond a body's own, of which `chunkOverheadMax` for each of its bytes are fair: the frames of
    /// chunks of one byte, each in a TLS record of its own. What is beyond is chunk extensions without end.
    static let chunkOverheadSlack = 1 << 20
    static let chunkOverheadMax = 64

    /// How long a refused client may go on sending, so that it reads the refusal before the connection breaks off.
    static let refusalLinger: TimeAmount = .milliseconds(500)

    /// Each kind of refusal is logged once in this time, with how many there were.
    static let refusalLogEvery: Duration = .seconds(10)
}
