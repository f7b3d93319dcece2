// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What the kernel says a process has.
struct ProcessInventory: CustomStringConvertible {
    var files: Int
    /// How many threads there are of each name.
    var names: [String: Int] = [:]
    /// MiB in memory.
    var resident: Double

    var threads: Int { names.values.reduce(0, +) }

    init(of process: Process) throws {
        let folder = "/proc/\(process.processIdentifier)"
        files = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/fd").count
        let status = try String(contentsOfFile: "\(folder)/status", encoding: .utf8)
        func number(_ name: String) -> Int {
            let line = status.split(separator: "\n").first { $0.hasPrefix("\(name):") } ?? ""
            return line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0
        }
        for thread in try FileManager.default.contentsOfDirectory(atPath: "\(folder)/task") {
            // One may end meanwhile.
            guard let name = try? String(contentsOfFile: "\(folder)/task/\(thread)/comm", encoding: .utf8) else {
                continue
            }
            names[name.trimmingCharacters(in: .newlines), default: 0] += 1
        }
        resident = Double(number("VmRSS")) / 1_024
    }

    var description: String {
        let named = names.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
        return "\(files) files, \(threads) threads (\(named)), \(Int(resident)) MiB"
    }

    /// Processes that wanted to run, for each processor, in the last minute.
    static var load: Double {
        let text = (try? String(contentsOfFile: "/proc/loadavg", encoding: .utf8)) ?? ""
        let load = text.split(separator: " ").first.flatMap { Double($0) } ?? .infinity
        return load / Double(ProcessInfo.processInfo.activeProcessorCount)
    }
}
