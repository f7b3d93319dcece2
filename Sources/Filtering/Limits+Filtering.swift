// SPDX-License-Identifier: Apache-2.0

package import Events

extension Limits {
    /// Bytes of one filter's text: a screenful, while parsing stays trivial.
    package static let filterBytesMax = 4 << 10

    /// Predicates in one filter; each may cost tens of nanoseconds an event.
    package static let filterPredicatesMax = 256

    /// Nesting of parentheses and `not` in a filter: bounds the recursion of parser and compiler.
    package static let filterDepthMax = 32

    /// Values in one `in (…)` list. SNS and EventBridge stop at 150 and 1,000.
    package static let filterListMax = 1_000

    /// Steps of a path into the data; deeper JSON is refused at publish.
    package static let filterPathStepsMax = jsonDepthMax

    /// Filters under one key of the index that are simply asked; a longer list gets an index of its own. Around here
    /// looking a second value up is cheaper than asking.
    package static let filterIndexListMax = 64

    /// Keys that an event meets in a row before the list it comes to is asked: lists of lists, and so on.
    package static let filterIndexDepthMax = 4

    /// Filings of one filter, on average, in lists of lists: bounds what filters with many alternatives cost.
    package static let filterIndexRefilingsMax = 8

    /// The largest `[n]`: finding it walks the array.
    package static let filterIndexMax = 100_000
}
