// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Simulation
import Synchronization

/// Plays histories of the simulation, many at once, and tells which seeds break a promise.
@main struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Play seeded histories of a broker with failures of every kind, each step checked.")

    @Option(help: "How many seeds to play.") var seeds: UInt64 = 1_000
    @Option(help: "The first of them.") var first: UInt64 = 1
    @Option(help: "Play this one again.") var seed: UInt64?
    @Option(help: "How many to play at once.") var jobs = ProcessInfo.processInfo.activeProcessorCount
    @Option(help: "Seconds between two lines of progress.") var progress = 30

    /// Failing seeds that are shown; more of them say nothing new.
    private static let shownMax = 20

    private struct Total {
        var report = Scenario.Report()
        var histories = 0
        var failed = 0
    }

    func validate() throws {
        guard jobs > 0, progress > 0, seeds > 0 else {
            throw ValidationError("--seeds, --jobs and --progress are at least 1")
        }
    }

    func run() throws {
        try Self.startWithFixedHashing()
        let range = seed.map { $0...$0 } ?? first...(first + seeds - 1)
        let jobs = seed == nil ? jobs : 1
        Playing.prepare(jobs)
        let next = Atomic(range.lowerBound)
        let total = Mutex(Total())
        let began = ContinuousClock.now
        let threads = (0..<jobs).map { job in
            Thread {
                while case let seed = next.add(1, ordering: .relaxed).oldValue, seed <= range.upperBound {
                    Playing.seeds[job] = seed
                    for scenario in Scenario.allCases { Self.add(scenario.play(seed), scenario, seed, to: total) }
                }
                Playing.seeds[job] = .max
            }
        }
        for thread in threads {
            // A history is a few calls deep; a debug build's frames are large.
            thread.stackSize = 16 << 20
            thread.start()
        }
        var shown = began
        while !threads.allSatisfy(\.isFinished) {
            Thread.sleep(forTimeInterval: 0.05)
            guard ContinuousClock.now - shown > .seconds(progress) else { continue }
            shown = .now
            let done = min(Playing.seeds.min() ?? 0, range.upperBound + 1)
            Self.show(total.withLock { $0 }, began, "all seeds below \(done) are played; go on with --first \(done)")
        }
        let result = total.withLock { $0 }
        Self.show(result, began, "seeds \(range.lowerBound) to \(range.upperBound)")
        for (name, count) in result.report.faults.list { print("  \(name): \(count)") }
        print("  deliveries that came too late to be made: \(result.report.expired)")
        print("broken promises: \(result.failed)")
        if result.failed > 0 { throw ExitCode.failure }
    }

    private static func add(
        _ report: Scenario.Report, _ scenario: Scenario, _ seed: UInt64, to total: borrowing Mutex<Total>
    ) {
        let failed = total.withLock { total in
            total.histories += 1
            total.report.steps += report.steps
            total.report.accepted += report.accepted
            total.report.expired += report.expired
            total.report.faults += report.faults
            if !report.breaches.isEmpty { total.failed += 1 }
            return total.failed
        }
        guard !report.breaches.isEmpty, failed <= shownMax else { return }
        print("seed \(seed), \(scenario.rawValue):")
        for breach in report.breaches { print("  \(breach)") }
        print("  again: \(CommandLine.arguments[0]) --seed \(seed)")
        fflush(nil)
    }

    private static func show(_ total: Total, _ began: ContinuousClock.Instant, _ what: String) {
        let seconds = Int((ContinuousClock.now - began).components.seconds)
        print(
            "\(what); \(total.histories) histories, \(total.report.steps) steps, \(total.report.accepted) events, "
                + "\(total.failed) failed, \(seconds) s")
        fflush(nil)
    }

    /// Else the order of dictionaries would differ from run to run, and a seed would not replay exactly.
    private static func startWithFixedHashing() throws {
        let name = "SWIFT_DETERMINISTIC_HASHING"
        guard getenv(name) == nil else { return }
        setenv(name, "1", 1)
        var arguments = CommandLine.arguments.map { strdup($0) } + [nil]
        execv("/proc/self/exe", &arguments)
        throw ValidationError("it can't be started again with \(name)=1: \(String(cString: strerror(errno)))")
    }
}

/// What each thread plays at the moment, for a history that ends in a trap.
enum Playing {
    // One thread writes each; whoever reads for progress or in a signal handler takes what is there.
    nonisolated(unsafe) static var seeds = UnsafeMutableBufferPointer<UInt64>(start: nil, count: 0)

    static func prepare(_ jobs: Int) {
        seeds = .allocate(capacity: jobs)
        seeds.initialize(repeating: 0)
        for signal in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT] {
            Foundation.signal(signal) { number in
                for seed in Playing.seeds where seed != .max { Playing.tell(seed) }
                Foundation.signal(number, SIG_DFL)
                raise(number)
            }
        }
    }

    /// Without memory of its own: it runs in a signal handler.
    private static func tell(_ seed: UInt64) {
        write("trapped while it played seed ")
        var divisor: UInt64 = 1
        while seed / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            var digit = UInt8(ascii: "0") + UInt8(seed / divisor % 10)
            _ = Foundation.write(2, &digit, 1)
            divisor /= 10
        }
        write("\n")
    }

    private static func write(_ text: StaticString) {
        _ = Foundation.write(2, text.utf8Start, text.utf8CodeUnitCount)
    }
}
