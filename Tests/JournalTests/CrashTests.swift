// SPDX-License-Identifier: Apache-2.0

import Events
import Journal
import Synchronization
import Testing

/// The journal against a model, on a disk that loses power and fails at random. Each seed is one run and repeats exactly.
@Suite(.timeLimit(.minutes(5))) struct CrashTests {
    /// What one topic must hold.
    private struct Expected {
        /// Ids by offset, acknowledged: they must be there.
        var acknowledged: [Offset: String] = [:]
        /// Handed over in this life and refused or not answered: the first of them may be there.
        var uncertain: [Offset: Set<String>] = [:]
    }

    private final class Answers: Sendable {
        let all = Mutex<[(index: Int, result: Result<ClosedRange<Offset>, Failure>)]>([])
    }

    @Test(arguments: 0..<8) func whatWasAcknowledgedIsThereAfterEveryCrash(_ block: Int) throws {
        for seed in UInt64(block * 250)..<UInt64(block * 250 + 250) {
            do {
                try run(seed: seed, faults: seed % 3 == 0)
            } catch {
                Issue.record("seed \(seed): \(error)")
                return
            }
        }
    }

    struct Mismatch: Error, CustomStringConvertible {
        var description: String
    }

    private func run(seed: UInt64, faults: Bool) throws {
        var random = SeededRandom(seed: seed)
        let storage = SimulatedStorage(seed: seed &* 31 + 7)
        let clock = TestClock()
        let topics = [Topic.named("orders"), Topic.named("stock")]
        var expected: [Topic: Expected] = [:]
        var name = 0
        for _ in 0..<Int.random(in: 2...6, using: &random) {
            let journal = Journal(
                folder: "journal", storage: storage, clock: clock, log: quietLogger(),
                segmentBytesMax: 2_048 << Int.random(in: 0...3, using: &random), writing: .manual)
            let notes = try journal.open()
            if let loss = notes.first(where: \.isLoss) { throw Mismatch(description: "reports a loss: \(loss)") }
            for topic in topics {
                try journal.create(topic)
                try check(journal, topic, &expected[topic, default: Expected()])
            }
            if faults {
                storage.fail(.sync, percent: 3)
                storage.fail(.write, percent: 3)
                storage.fail(.allocate, percent: 3)
            }
            for _ in 0..<Int.random(in: 1...25, using: &random) {
                clock.advance(.milliseconds(Int.random(in: -5...50, using: &random)))
                let answers = Answers()
                var handed: [RecordBatch] = []
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    name += 1
                    let batch = batch(
                        topics.randomElement(using: &random)!, "n\(name)", count: Int.random(in: 1...6, using: &random),
                        dataBytes: Int.random(in: 0...900, using: &random))
                    let index = handed.count
                    handed.append(batch)
                    journal.append(batch) { result in answers.all.withLock { $0.append((index, result)) } }
                }
                while journal.step() {}
                for (index, result) in answers.all.withLock({ $0 }) {
                    let batch = handed[index]
                    if case .success(let range) = result {
                        for (offset, place) in zip(range, 0..<batch.count) {
                            expected[batch.topic]!.acknowledged[offset] = batch[place].id
                            expected[batch.topic]!.uncertain[offset] = nil
                        }
                    } else {
                        for place in 0..<batch.count {
                            expected[batch.topic]!.uncertain[batch[place].offset, default: []].insert(batch[place].id)
                        }
                    }
                }
                for topic in topics { try checkReadable(journal, topic, expected[topic]!) }
            }
            storage.clearFaults()
            // In flight when the power goes: written or not, never answered.
            if random.chance(70) {
                let last = batch(topics[0], "f\(name)", count: 3, dataBytes: 700)
                storage.failNext(.sync)
                journal.append(last) { _ in }
                journal.step()
                for place in 0..<last.count {
                    expected[topics[0]]!.uncertain[last[place].offset, default: []].insert(last[place].id)
                }
            }
            storage.clearFaults()
            if random.chance(80) { storage.crash() } else { journal.close() }
        }
    }

    /// After opening: all that was acknowledged, in order, and beyond it nothing but the beginning of what was in flight.
    private func check(_ journal: Journal, _ topic: Topic, _ expected: inout Expected) throws {
        let records = try journal.records(topic)
        var found: [Offset: String] = [:]
        for (record, next) in zip(records, records.dropFirst()) where record.offset >= next.offset {
            throw Mismatch(description: "\(topic): offset \(next.offset) after \(record.offset)")
        }
        for record in records { found[record.offset] = record.id }
        for (offset, id) in expected.acknowledged where found[offset] != id {
            throw Mismatch(description: "\(topic): offset \(offset) is \(found[offset] ?? "gone"), not \(id)")
        }
        let last = expected.acknowledged.keys.max()
        for (offset, id) in found where expected.acknowledged[offset] == nil {
            guard expected.uncertain[offset]?.contains(id) == true, last.map({ offset > $0 }) ?? true else {
                throw Mismatch(description: "\(topic): offset \(offset) holds \(id), which nobody expects")
            }
            // It was recovered: from now on it stays.
            expected.acknowledged[offset] = id
        }
        expected.uncertain = [:]
    }

    /// While it runs: exactly what was acknowledged, here of the last part.
    private func checkReadable(_ journal: Journal, _ topic: Topic, _ expected: Expected) throws {
        let start = expected.acknowledged.keys.max().map { $0 < 20 ? 0 : $0 - 20 } ?? 0
        let found = try journal.records(topic, from: start).map(\.offset)
        let wanted = expected.acknowledged.keys.filter { $0 >= start }.sorted()
        guard found == wanted else { throw Mismatch(description: "\(topic): reads \(found), acknowledged \(wanted)") }
    }
}
