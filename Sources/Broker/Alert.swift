// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger
import Logging

extension BrokerCore {
    /// Dead letters that nobody had dealt with were removed by `keep`.
    func deadLettersExpired(_ counts: [String: Int]) {
        for (name, count) in counts.sorted(by: { $0.key < $1.key }) {
            subscribers[name]?.counts.dead -= count
            log.warning(
                "Dead letters that nobody dealt with are past `keep` and removed",
                metadata: ["subscriber": "\(name)", "count": "\(count)"])
            alert("fairlead.dead.expired", subscriber: name, ExpiredLetters(subscriber: name, count: count))
        }
    }

    private struct ExpiredLetters: Encodable {
        var subscriber: String
        var count: Int
    }

    /// Publishes what an operator should look at on `$alert`.
    ///
    /// - Parameter event: the first part of the event's id; the type where it isn't given.
    func alert(_ type: String, as event: String? = nil, subscriber name: String, _ data: some Encodable) {
        let publication = Publication.system(
            .alert, type: type, id: "\(event ?? type)-\(name)-\(clock.now().milliseconds)", subscriber: name, data: data
        )
        if let subscriber = subscribers[name] {
            commit(subscriber, LedgerRound(), Effects(publications: [publication]))
        } else {
            engine.commit(LedgerChange(subscriber: name, publications: [publication])) { [post] _ in
                post { core in core.drainOutbox() }
            }
        }
    }
}
