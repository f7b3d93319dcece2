// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Synchronization

extension BrokerSimulation {
    /// A client of the pull subscriber does one thing: it pulls, or it settles one of its leases.
    package func useClient(allowFailures: Bool) {
        let now = clock.now()
        let held = client.held.withLock { $0 }
        guard let mine = held.isEmpty || random.next() % 2 == 0 ? nil : held[Int(random.next() % UInt64(held.count))]
        else {
            pull(max: Int(random.next() % 3) + 1, wait: random.next() % 4 == 0 ? .seconds(2) : .zero)
            return
        }
        let roll = random.next() % 10
        let action: LeaseSettlement.Action =
            switch allowFailures ? roll : 9 {
            case 0: .dead(reason: "poison")
            case 1, 2: .retry(after: nil, reason: "not now")
            case 3: .extend
            default: .ack
            }
        let isExtension = if case .extend = action { true } else { false }
        if !isExtension { client.held.withLock { $0.removeAll { $0.lease == mine.lease } } }
        let isAck = if case .ack = action { true } else { false }
        let lane = lane(of: mine.id, "pulled")
        let (client, engine, model, latest) = (client, engine, Unchecked(model), clock.latest)
        core.settleLeases("pulled", [LeaseSettlement(lease: mine.lease, action: action)]) { result in
            guard case .success(let results) = result else { return }
            if results == [.done], isAck, mine.isReplay == (lane != nil) {
                model.value.acked(mine.id, by: "pulled", in: lane)
            }
            if results != [.done] {
                // A lease may only be gone that has run out, or whose row a power cut took.
                client.held.withLock { $0.removeAll { $0.lease == mine.lease } }
                if mine.expires > latest, !mine.isVoid {
                    model.value.breach("leases hold through crashes: \(mine) answered \(results)")
                }
            } else if isExtension {
                client.held.withLock { held in
                    for index in held.indices where held[index].lease == mine.lease {
                        held[index].expires = now + .seconds(2)
                        if engine.isFailing { held[index].isVoid = true }
                    }
                }
            }
        }
    }

    private func pull(max: Int, wait: Duration) {
        let (client, clock, engine, model) = (client, clock, engine, Unchecked(model))
        let isTooMuch = core.pollers >= bounds.pollersMax
        let isRefused = Unchecked(Flag())
        let me = Unchecked(self)
        _ = core.pull("pulled", max: max, wait: wait) { result in
            switch result {
            case .failure(let failure):
                if failure.code == .overloaded { isRefused.value.isSet = true }
            case .success(let leases):
                client.granted.withLock { $0 += leases.count }
                for lease in leases {
                    me.value.granted(lease)
                    client.held.withLock { held in
                        let id = lease.delivery.id
                        if let other = held.first(where: { $0.id == id && $0.expires > clock.latest && !$0.isVoid }) {
                            model.value.breach("\(id.offset) is leased twice: \(other)")
                        }
                        held.append(
                            .init(
                                lease: lease.id, id: id, expires: lease.expires, isReplay: lease.delivery.replay,
                                isVoid: engine.isFailing))
                    }
                }
            }
        }
        if isRefused.value.isSet { count(\.refusedPulls) }
        if isRefused.value.isSet != isTooMuch {
            model.value.breach("P7: \(core.pollers) requests waited, and one more was refused: \(!isTooMuch)")
        }
    }

    private final class Flag {
        var isSet = false
    }

    private func granted(_ lease: Lease) {
        let delivery = lease.delivery
        let began = delivery.began
        let facts = model.facts[delivery.id.topic.name]
        if let expires = facts?[delivery.id.offset]?.expires, !delivery.replay, expires <= began {
            model.breach("pulled was given \(delivery.id.offset) after its time")
        }
    }

    /// Pulls and acknowledges all that there is now; false where there was nothing.
    func finishClient() -> Bool {
        guard core.subscribers["pulled"] != nil else { return false }
        if client.held.withLock({ !$0.isEmpty }) {
            useClient(allowFailures: false)
            return true
        }
        // Those that still wait take what there is.
        if core.pollers > 0 { return false }
        let before = client.granted.withLock { $0 }
        pull(max: 10, wait: .zero)
        while step(allowFailures: false) {}
        return client.granted.withLock { $0 } > before
    }
}
