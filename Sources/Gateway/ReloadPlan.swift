// SPDX-License-Identifier: Apache-2.0

/// What a reload would do to the running server, found out without doing it.
package struct ReloadPlan: Hashable, Sendable {
    /// The running generation, which the plan starts from.
    package var generation = 0
    package var added: [Change] = []
    package var changed: [Change] = []
    package var removed: [String] = []
    package var unchanged: [String] = []
    package var addedTopics: [String] = []
    package var changedTopics: [String] = []
    package var removedTopics: [String] = []
    /// Settings of the top level that change, such as `mail`.
    package var settings: [String] = []
    /// What only a restart can change: where there is any, a reload is refused as a whole.
    package var restartOnly: [String] = []
    /// Subscribers that the ledger knows and the new configuration doesn't.
    package var orphans: [String] = []

    package struct Change: Hashable, Sendable {
        package var subscriber: String
        /// Why it is restarted, in the words of routes.conf; of one that is added, where it starts.
        package var reasons: [String]
        /// Of a filter that is new or changed: how many retained events it takes, took before, and there are.
        package var matches: Int?
        package var matchedBefore: Int?
        package var of: Int?

        package init(
            subscriber: String, reasons: [String], matches: Int? = nil, matchedBefore: Int? = nil, of: Int? = nil
        ) {
            self.subscriber = subscriber
            self.reasons = reasons
            self.matches = matches
            self.matchedBefore = matchedBefore
            self.of = of
        }
    }

    package init() {}

    func write(to json: inout JSONWriter) {
        func list(_ names: [String], _ json: inout JSONWriter) { for name in names { json.value(name) } }
        func list(_ changes: [Change], _ json: inout JSONWriter) {
            for change in changes {
                json.object { json in
                    json.field("subscriber", change.subscriber)
                    json.array("reasons") { list(change.reasons, &$0) }
                    json.field("matches", ifPresent: change.matches)
                    json.field("matchedBefore", ifPresent: change.matchedBefore)
                    json.field("of", ifPresent: change.of)
                }
            }
        }
        json.field("generation", generation)
        json.array("added") { list(added, &$0) }
        json.array("changed") { list(changed, &$0) }
        json.array("removed") { list(removed, &$0) }
        json.array("unchanged") { list(unchanged, &$0) }
        json.array("addedTopics") { list(addedTopics, &$0) }
        json.array("changedTopics") { list(changedTopics, &$0) }
        json.array("removedTopics") { list(removedTopics, &$0) }
        json.array("settings") { list(settings, &$0) }
        json.array("restartOnly") { list(restartOnly, &$0) }
        json.array("orphans") { list(orphans, &$0) }
    }
}

package enum PlanVerdict: Hashable, Sendable {
    case planned(ReloadPlan)
    /// A reload would be refused. The texts say why.
    case refused(diagnostics: [String])
}
