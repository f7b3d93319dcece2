// SPDX-License-Identifier: Apache-2.0

package import Events

extension Limits {
    /// Bytes of a lane's stack. Lua's own C stack limit is 200 nested calls; with JSON 64 levels deep and patterns
    /// 200 deep inside, well below 1 MiB.
    package static let laneStackBytes = 2 << 20

    /// Threads that run Lua. Each subscriber has one of its own up to here; an idle one costs its stack's address space and
    /// about 50 KiB of memory.
    package static let lanesMax = 64

    /// Events handed to C at once, and nanoseconds after which one subscriber lets the next have the lane.
    package static let laneTurnEvents = 256
    package static let laneTurnNanoseconds: UInt64 = 20_000_000

    /// Bytes of the version that a plugin gives itself: it is kept with each generation, for each subscriber.
    package static let pluginVersionBytesMax = 64

    /// Time for loading a plugin and for its `init` and `stop`, as processor time.
    package static let pluginLoadCPU: Duration = .seconds(1)
    /// Longest that `init` may wait for others.
    package static let pluginInitTimeout: Duration = .seconds(10)
    /// Longest that `migrate` may take, for which its subscriber stands still.
    package static let pluginMigrateTimeout: Duration = .seconds(10)
    /// State keys that one `migrate` may write: all of it is one transaction.
    package static let pluginMigrateWritesMax = 10_000
    /// Longest that `stop` may take: best effort, never needed for correctness.
    package static let pluginStopTimeout: Duration = .seconds(5)

    /// Processor time of one case of a plugin's tests, and its longest wait.
    package static let pluginTestCPU: Duration = .seconds(1)
    package static let pluginTestTimeout: Duration = .seconds(30)

    /// Longest wait that a server's Retry-After can ask for: a wrong header must not park an event for days.
    package static let retryAfterMax: Duration = .seconds(3_600)
    /// Requests of one call of a handler; more is a loop gone wrong.
    package static let pluginHTTPCallsMax = 50
    /// Bytes of a request's body: four times the largest event. Longer ones are uploads, for which this is no tool.
    package static let pluginRequestBytesMax = 4 << 20
    /// Bytes of a response's body that a plugin gets.
    package static let pluginResponseBytesMax = 1 << 20
    /// Appends of one call of a handler, and bytes of each: a batch of events is written by one of them.
    package static let pluginFileAppendsMax = 100
    package static let pluginFileAppendBytesMax = 4 << 20
    /// Folders below the granted one that a file's name may go through, and bytes of each part of it as file systems
    /// have them.
    package static let pluginFileDepthMax = 8
    package static let pluginFileNameBytesMax = 255
    /// The least size at which a file may be set aside: below, an event or two would make a file each.
    package static let pluginFileSizeMin = 1 << 10
    /// Events that one call of a handler may publish.
    package static let pluginPublicationsMax = 100
    /// State keys that one call of a handler may write.
    package static let pluginStateWritesMax = 1_000
    /// Bytes of one state value as JSON.
    package static let pluginStateValueBytesMax = 256 << 10
    /// Keys whose last writes are remembered while calls that read state run beside each other; a few megabytes.
    static let stateHistoryKeysMax = 20_000
    /// Entries that one `state.list` returns.
    package static let pluginStateListMax = 1_000
    /// Bytes of an error's text that are kept; an error may quote what it was given.
    package static let pluginReasonBytesMax = 2 << 10
}
