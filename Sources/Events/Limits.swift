// SPDX-License-Identifier: Apache-2.0

/// Every bound of Fairlead, with its unit and its reason. A target's own bounds stand in `Limits+target.swift` beside
/// the code they bound, as extensions of this type.
package enum Limits {
    /// Bytes of one event as received. CloudEvents 1.0.2 makes intermediaries forward 64 KiB at least; 1 MiB is
    /// what SQS and Pub/Sub users expect to fit.
    package static let eventBytesMax = 1 << 20

    /// The lowest that `event max` may make of it: what CloudEvents 1.0.2 ("Size Limits") makes intermediaries forward.
    package static let eventBytesMaxLeast = 64 << 10

    /// Entries and bytes of one subscriber's state: an index of what a shop sells, not its archive.
    package static let stateEntriesMax = 1_000_000
    package static let stateBytesMax = 512 << 20

    /// Bytes of a number as JSON, at most.
    package static let stateNumberBytes = 25

    /// Bytes of one publish request's body: a batch of large events, while one request can't hold much memory.
    package static let requestBytesMax = 16 << 20

    /// Events in one publish request; with `requestBytesMax` this bounds what one group commit holds.
    package static let batchEventsMax = 10_000

    /// Attributes of one event, extensions included. The record keeps the count in one byte.
    package static let attributesMax = 64

    /// Bytes of an attribute's name. CloudEvents says SHOULD be 20 at most; the record keeps the length in one byte.
    package static let attributeNameBytesMax = 64

    /// Bytes of an attribute's value; header values of this size pass through common proxies.
    package static let attributeValueBytesMax = 16 << 10

    /// Bytes of an event's key. Pub/Sub's bound for ordering keys.
    package static let keyBytesMax = 1 << 10

    /// Bytes of a word in a secret URL or header that is taken for a secret by itself: `services` and `Bearer` are none.
    package static let secretPartBytesMin = 12

    /// Characters of a secret at the end of an excerpt that are taken for its beginning: fewer are found by chance.
    package static let secretCutCharactersMin = 6

    /// Nesting of JSON anywhere; deeper is refused at publish, so that no later stage recurses further.
    package static let jsonDepthMax = 64

    /// Longest that an event may ask to be delivered later, or to live: a year and a day. A topic's `retain` ends before it.
    package static let scheduleMax: Duration = .seconds(366 * 86_400)

    /// Bytes of a topic's or subscriber's name: it is a folder's name and a label on metrics.
    package static let nameBytesMax = 128

    /// Characters of a dead letter's reason that its group is made from; what comes after is detail.
    package static let groupedReasonCharacters = 300

    /// How far the wall clock may be set back before it is worth a line in the log: more than keeping it right takes.
    package static let clockSlackNanoseconds: Int64 = 1_000_000_000
}
