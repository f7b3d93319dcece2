// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Gateway
import Ledger
import Routes

extension Server {
    /// What is routed where.
    var routes: RunningRoutes? {
        running.map { RunningRoutes(generation: $0.generation.number, table: $0.generation.table) }
    }

    /// The files of a generation against those of another, or of the one before it; nil where one of them isn't kept.
    func difference(_ number: Int, against other: Int?) async throws(Failure) -> GenerationDifference? {
        let ledger = ledger
        return try await broker.blocking { () throws(Failure) in
            guard let new = try ledger.generation(number) else { return nil }
            let old = try ledger.generation(other ?? number - 1)
            if other != nil, old == nil { return nil }
            var difference = GenerationDifference(number: number, against: old?.number)
            let (before, after) = (old?.details.files ?? [:], new.details.files)
            for path in Set(before.keys).union(after.keys).sorted() where before[path] != after[path] {
                difference.files.append(
                    .init(
                        path: path,
                        change: before[path] == nil ? .added : after[path] == nil ? .removed : .changed,
                        diff: try Self.diff(before[path], after[path], path: path, ledger)))
            }
            return difference
        }
    }

    /// Of two files by the hashes of their contents. Blocks.
    private static func diff(
        _ old: String?, _ new: String?, path: String, _ ledger: Ledger
    ) throws(Failure) -> String? {
        func text(_ hash: String?) throws(Failure) -> [UInt8]? {
            guard let hash else { return [] }
            return try ledger.configFile(hash)
        }
        guard let old = try text(old), let new = try text(new),
            max(old.count, new.count) <= Limits.differenceBytesMax
        else { return nil }
        return unifiedDiff(old, new, path: path)
    }
}
