// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering

#if canImport(Glibc)
    import Glibc
#endif

/// Measures matching at growing numbers of subscribers and prints one line for each kind and number. The last lines say
/// which bars were kept; the exit code is 1 where one was not. An argument names the one kind to measure.
///
/// Every filter matches some events and every event some filters, so what is measured includes true matches.
@main
struct MatchingBench {
    static let counts = [10, 100, 1_000, 10_000, 100_000]

    /// Bars: what 10,000 selective subscribers may cost beside 10, bytes of a filter, seconds to build 100,000.
    static let costRatioMax = 1.5
    static let filterBytesMax = 1_024.0
    static let buildSecondsMax = 2.0

    struct Result {
        var kind: Workload
        var count: Int
        var candidates: Double
        var matches: Double
        var nanoseconds: Double
        var buildSeconds: Double
        var filterBytes: Double
    }

    static func main() {
        let asked = CommandLine.arguments.dropFirst().first
        let kinds = Workload.allCases.filter { asked == nil || $0.rawValue == asked }
        guard !kinds.isEmpty else {
            print("no kind \"\(asked ?? "")\"; there are: \(Workload.allCases.map(\.rawValue).joined(separator: ", "))")
            exit(2)
        }
        print(
            row(["kind", "subscribers", "candidates/event", "matches/event", "ns/event", "build ms", "bytes/filter"]))
        var results: [Result] = []
        for kind in kinds {
            for count in counts {
                let result = measure(kind, count)
                results.append(result)
                print(
                    row([
                        kind.rawValue, "\(count)", rounded(result.candidates), rounded(result.matches),
                        rounded(result.nanoseconds), rounded(result.buildSeconds * 1_000), rounded(result.filterBytes),
                    ]))
            }
        }
        exit(verdict(results) ? 0 : 1)
    }

    private static func verdict(_ results: [Result]) -> Bool {
        var isKept = true
        func say(_ text: String, _ value: Double, _ bar: Double) {
            isKept = isKept && value <= bar
            print("\(value <= bar ? "kept    " : "MISSED  ")\(text): \(rounded(value)), bar \(rounded(bar))")
        }
        let selective = results.filter { $0.kind == .selective }
        if let few = selective.first(where: { $0.count == 10 }),
            let many = selective.first(where: { $0.count == 10_000 })
        {
            say("10,000 selective subscribers beside 10", many.nanoseconds / few.nanoseconds, costRatioMax)
        }
        // Small numbers drown in the allocator's own pages.
        let large = results.filter { $0.count >= 10_000 }
        say("bytes of a filter", large.map(\.filterBytes).max() ?? 0, filterBytesMax)
        say("seconds to build", results.map(\.buildSeconds).max() ?? 0, buildSecondsMax)
        return isKept
    }

    private static func measure(_ kind: Workload, _ count: Int) -> Result {
        let filters = (0..<count).map { try! Filter.parse(kind.filter($0, of: count)) }
        let events = (0..<eventCount).map { kind.event($0, of: count) }
        trim()
        let before = residentBytes()
        let started = ContinuousClock.now
        let matcher = Matcher(filters)
        let built = ContinuousClock.now - started
        trim()
        let after = residentBytes()

        let scratch = matcher.makeScratch()
        var candidates = 0
        var matches = 0
        for event in events {
            candidates += matcher.candidateCount(event, scratch)
            matcher.match(event, scratch) { _ in matches += 1 }
        }
        // The best of several rounds: other work on the machine only ever adds.
        var best = Double.infinity
        var spent = Duration.zero
        var rounds = 0
        while rounds < 3 || spent < .milliseconds(300) && rounds < 200 {
            let start = ContinuousClock.now
            for event in events { matcher.match(event, scratch) { _ in matches &+= 1 } }
            let took = ContinuousClock.now - start
            best = min(best, seconds(took) * 1e9 / Double(events.count))
            spent += took
            rounds += 1
        }
        let measured = rounds + 1
        return withExtendedLifetime(filters) {
            Result(
                kind: kind, count: count, candidates: Double(candidates) / Double(events.count),
                matches: Double(matches) / Double(events.count * measured), nanoseconds: best,
                buildSeconds: seconds(built), filterBytes: Double(max(0, after - before)) / Double(count))
        }
    }

    /// Enough that the events' own differences even out.
    private static let eventCount = 512

    private static func seconds(_ duration: Duration) -> Double {
        Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
    }

    /// Gives freed memory back, so that what is resident is in use. glibc's `malloc_trim` isn't among the imported names.
    private static func trim() {
        typealias Trim = @convention(c) (Int) -> CInt
        guard let address = dlsym(nil, "malloc_trim") else { return }
        _ = unsafeBitCast(address, to: Trim.self)(0)
    }

    /// The second number of `/proc/self/statm` counts pages.
    private static func residentBytes() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var buffer = [CChar](repeating: 0, count: 128)
        guard fgets(&buffer, 128, file) != nil else { return 0 }
        let text = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let numbers = text.split(separator: " ").compactMap { Int($0) }
        return numbers.count > 1 ? numbers[1] * Int(sysconf(Int32(_SC_PAGESIZE))) : 0
    }

    private static func rounded(_ value: Double) -> String {
        let tenths = (value * 10).rounded() / 10
        return tenths >= 1_000 ? "\(Int(tenths))" : "\(tenths)"
    }

    private static func row(_ cells: [String]) -> String {
        cells.enumerated().map { place, cell in
            let padding = String(repeating: " ", count: max(0, (place == 0 ? 14 : 17) - cell.count))
            return place == 0 ? cell + padding : padding + cell
        }.joined()
    }
}
