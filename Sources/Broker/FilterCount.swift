// SPDX-License-Identifier: Apache-2.0

package import Events
import Filtering
package import Routes

/// How many retained events a subscriber's block is true of.
package struct FilterCount: Hashable, Sendable {
    package var matching = 0
    /// Events looked at: all that its topics retain, or of each topic the newest ``Limits/filterCountEvents``.
    package var of = 0
}

extension Broker {
    /// Counts for each of `routes` the retained events that it would take. Reads the journal on a thread that may block;
    /// nothing is delivered.
    package func count(_ routes: [SubscriberRoute]) async throws(Failure) -> [FilterCount] {
        let names = await status().topics.map(\.name)
        let engine = engine
        return try await blocking { () throws(Failure) in
            var counts = routes.map { _ in FilterCount() }
            for name in names {
                let topic = Topic.named(name)
                let takers = routes.indices.filter { routes[$0].takes(from: topic) }
                guard !takers.isEmpty else { continue }
                let bounds = engine.bounds(of: topic)
                var at = max(bounds.first, bounds.end - min(bounds.end, Limits.filterCountEvents))
                let matcher = Matcher(takers.map { routes[$0].filter })
                let scratch = matcher.makeScratch()
                while let batch = try engine.read(
                    topic, from: at, maxRecords: Limits.catchUpEvents, maxBytes: Limits.catchUpBytes), batch.count > 0
                {
                    for index in 0..<batch.count {
                        matcher.match(batch[index], scratch) { counts[takers[$0]].matching += 1 }
                    }
                    for place in takers { counts[place].of += batch.count }
                    at = batch.last + 1
                }
            }
            return counts
        }
    }
}
