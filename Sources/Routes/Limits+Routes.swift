// SPDX-License-Identifier: Apache-2.0

package import Events

extension Limits {
    /// Bytes of routes.conf with all it includes: 100,000 subscribers fit.
    package static let routesBytesMax = 32 << 20

    /// Line breaks, `;` and `{` of routes.conf with all it includes, which bounds its statements: 100,000 subscribers of a
    /// handful of lines fit, and whatever is wrong is said within a second.
    package static let routesStatementsMax = 1_000_000

    /// Bytes of one line: a diagnostic shows and counts along it.
    package static let routesLineBytesMax = 64 << 10

    /// Files that one configuration consists of.
    package static let routesFilesMax = 10_000

    /// Blocks within blocks: bounds the parser's recursion.
    package static let routesDepthMax = 32

    /// Errors reported in one run; further ones are mostly echoes.
    package static let routesErrorsMax = 50

    /// Warnings shown in one run; more are rarely read, and each holds its line.
    package static let routesWarningsMax = 200

    /// Arguments of one statement.
    package static let routesArgumentsMax = 1_000

    /// Columns that a block on one line may reach before the formatter breaks it: two such files fit beside each other.
    package static let formatColumnsMax = 100

    /// The column, from 0, that the formatter leaves comments behind statements at; further out only behind long lines.
    package static let formatCommentColumnMax = 60

    /// Columns of the longest keyword that others' arguments are aligned with: one long name should not move them all.
    package static let formatKeywordColumnsMax = 24

    /// Lines between the first and the last change of two texts that are compared one by one, at a cost that may grow
    /// with their square; of more, all are shown as replaced.
    package static let diffLinesMax = 5_000

    /// Members of one object of a test's event, each of which is looked for among the others.
    package static let routesTestMembersMax = 1_000

    /// Deliveries in flight for one subscriber.
    package static let concurrencyMax = 10_000

    /// Events in one `batch`.
    package static let batchPolicyCountMax = 10_000

    /// Failures in a row that `breaker` may wait for: each costs an event one of its attempts.
    package static let breakerFailuresMax = 10_000

    /// Shortest time between probes of an endpoint that is down: it is not to be kept there by them.
    package static let breakerProbeMin: Duration = .milliseconds(100)

    /// Bytes of a host's name (RFC 1035 section 2.3.4).
    package static let hostNameBytesMax = 253

    /// Longest duration in routes.conf, a hundred years: sums with it stay within a timestamp.
    package static let durationMax: Duration = .seconds(100 * 366 * 86_400)
}
