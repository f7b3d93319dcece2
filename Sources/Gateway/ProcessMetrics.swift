// SPDX-License-Identifier: Apache-2.0

import Events
import Glibc

/// The process as the system sees it, read from `/proc` (proc(5)) when asked; what can't be read is left out.
enum ProcessMetrics {
    static func render(as format: PrometheusMetrics.Format = .prometheus) -> String {
        var text = ""
        func metric(_ name: String, _ kind: String, _ help: String, _ value: Double?) {
            guard let value else { return }
            text += format.heading(name, kind, help) + "\(name) \(PrometheusMetrics.number(value))\n"
        }
        metric("process_cpu_seconds_total", "counter", "User and system time spent, in seconds.", cpuSeconds())
        metric("process_max_fds", "gauge", "Most file descriptors that may be open.", maximumDescriptors())
        metric("process_open_fds", "gauge", "Open file descriptors.", openDescriptors())
        metric("process_resident_memory_bytes", "gauge", "Resident memory, in bytes.", residentBytes())
        metric(
            "process_start_time_seconds", "gauge", "When the process started, in seconds since 1970.", startSeconds())
        return text
    }

    private static func cpuSeconds() -> Double? {
        var time = timespec()
        guard clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0 else { return nil }
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static func maximumDescriptors() -> Double? {
        var limit = rlimit()
        return getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 ? Double(limit.rlim_cur) : nil
    }

    private static func openDescriptors() -> Double? {
        guard let folder = opendir("/proc/self/fd") else { return nil }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        // Without ".", ".." and the one that is open to count.
        return Double(count - 3)
    }

    private static func residentBytes() -> Double? {
        guard let pages = read("/proc/self/statm")?.split(separator: " ").dropFirst().first.flatMap({ Double($0) })
        else { return nil }
        return pages * Double(sysconf(Int32(_SC_PAGESIZE)))
    }

    /// Boot time plus the process's start since then in clock ticks: field 22 of `stat`, the 20th behind the name.
    private static func startSeconds() -> Double? {
        guard let stat = read("/proc/self/stat"), let name = stat.lastIndex(of: ")"),
            let boot = read("/proc/stat")?.split(separator: "\n").first(where: { $0.hasPrefix("btime ") })
        else { return nil }
        let fields = stat[stat.index(after: name)...].split(separator: " ")
        guard fields.count > 19, let ticks = Double(fields[19]), let bootSeconds = Double(boot.dropFirst(6)) else {
            return nil
        }
        return bootSeconds + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    private static func read(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = fread(&chunk, 1, chunk.count, file)
            if count == 0 { break }
            bytes.append(contentsOf: chunk[..<count])
        }
        return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
    }
}
