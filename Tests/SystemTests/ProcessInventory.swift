// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What the kernel says a process has.
struct ProcessInventory: CustomStringConvertible {
    var files: Int
    var threads: Int
    /// MiB in memory.
    var resident: Double

    init(of process: Process) throws {
        let folder = "/proc/\(process.processIdentifier)"
        files = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/fd").count
        let status = try String(contentsOfFile: "\(folder)/status", encoding: .utf8)
        func number(_ name: String) -> Int {
            let line = status.split(separator: "\n").first { $0.hasPrefix("\(name):") } ?? ""
            return line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0
        }
        threads = number("Threads")
        resident = Double(number("VmRSS")) / 1_024
    }

    var description: String { "\(files) files, \(threads) threads, \(Int(resident)) MiB" }

    /// Processes that wanted to run, for each processor, in the last minute.
    static var load: Double {
        let text = (try? String(contentsOfFile: "/proc/loadavg", encoding: .utf8)) ?? ""
        let load = text.split(separator: " ").first.flatMap { Double($0) } ?? .infinity
        return load / Double(ProcessInfo.processInfo.activeProcessorCount)
    }
}
