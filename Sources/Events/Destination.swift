// SPDX-License-Identifier: Apache-2.0

/// Where a subscriber's deliveries are carried out: a Lua lane, an HTTP endpoint. The broker calls it and knows no more.
package protocol Destination: AnyObject, Sendable {
    /// Starts these deliveries. Never blocks. Each is answered exactly once through the sink given to
    /// ``start(settle:)``, at the latest when the subscriber's timeout has passed; several answers may come in one call.
    func deliver(_ deliveries: [Delivery])

    /// Called once, before the first delivery. `settle` may be called from any thread.
    func start(settle: @escaping @Sendable (Settlements) -> Void)

    /// Finishes what is running within `deadline`, then gives the rest back as `returned`. When this is back,
    /// no further answer comes and nothing of the destination runs any more. May be asked again with another deadline:
    /// the earlier one counts.
    func stop(_ reason: StopReason, deadline: Duration) async
}

package enum StopReason: String, Sendable {
    case reload, shutdown, removed
}

/// Reads a subscriber's durable state as it stands after the last settlement that the broker has accepted.
package protocol StateReader: Sendable {
    /// JSON text, or nil where the key is missing or expired. May block on the disk: not for the cooperative pool.
    func value(subscriber: String, key: String) throws -> [UInt8]?
    /// How much is committed; what has expired counts until it is removed.
    func usage(subscriber: String) throws -> StateUsage
    /// Up to `limit` entries whose key starts with `prefix`, in order of key, after `after` where given.
    func values(
        subscriber: String, prefix: String, after: String?, limit: Int
    ) throws -> [(key: String, value: [UInt8])]
}
