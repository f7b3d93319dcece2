// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Events
import Foundation
import Glibc
import NIOCore
import Routes
import Scripting

/// What the doctor does: one method for each thing that Fairlead needs.
struct Examination {
    let config: String
    let usesNetwork: Bool

    func run() async -> [DoctorFinding] {
        let (configuration, table) = configured()
        let settings = table?.server ?? ListenLine.settings(in: config)
        let data = GenerationBuilder.path(settings.data, besides: config)
        var findings = configuration
        findings.append(lua())
        findings += dataFolder(data)
        findings.append(openFiles(table))
        findings.append(clock(data))
        findings.append(await listening(settings, data))
        findings.append(mail(table))
        return findings
    }

    // MARK: routes.conf, secrets, plugins

    private func configured() -> ([DoctorFinding], RouteTable?) {
        let strict = Check.check(config, strictEnvironment: true)
        if let table = strict.table {
            let warnings = strict.findings.count
            let text =
                "\(table.topics.count { !$0.name.hasPrefix("$") }) topics, \(table.subscribers.count) subscribers"
            let configuration: DoctorFinding =
                warnings == 0
                ? .ok("configuration", "\(config): \(text)")
                : .warn(
                    "configuration", "\(config): \(text), \(warnings) warnings",
                    "`fairlead check \(config)` shows them")
            return (
                [
                    configuration, .ok("secrets", "every secret and variable of \(config) is there"),
                    .ok("plugins", "all load (\(GenerationBuilder.path(table.server.plugins, besides: config)))"),
                ], table
            )
        }
        let lenient = Check.check(config, strictEnvironment: false)
        guard let table = lenient.table else {
            let first = lenient.findings.first { $0.diagnostic.severity == .error } ?? lenient.findings.first
            return (
                [
                    .fail(
                        "configuration", first.map { Self.line($0.description) } ?? "\(config) is refused",
                        "`fairlead check \(config)` shows all that is wrong")
                ], nil
            )
        }
        let missing = strict.findings.filter { $0.diagnostic.severity == .error }.map { Self.line($0.description) }
        return (
            [
                .ok("configuration", config),
                .fail(
                    "secrets", missing.joined(separator: "; "),
                    "set them in the server's environment, or as files in $CREDENTIALS_DIRECTORY"),
                .ok("plugins", "all load (\(GenerationBuilder.path(table.server.plugins, besides: config)))"),
            ], table
        )
    }

    private static func line(_ text: String) -> String {
        text.split(separator: "\n").first.map(String.init) ?? text
    }

    private func lua() -> DoctorFinding {
        let release = LuaRelease.linked
        guard release < LuaRelease.advised else { return .ok("lua", "Lua \(release)") }
        return .warn(
            "lua", "Lua \(release)",
            "\(LuaRelease.advised) and later mend crashes that a plugin can cause: update the system's liblua5.4")
    }

    // MARK: the data folder

    /// Room below which a warning, and a failure, is due.
    private static let freeBytesWarned = 2 << 30
    private static let freeBytesFailed = 64 << 20
    /// A server that syncs slower than this answers publishers slowly.
    private static let syncWarned: Duration = .milliseconds(50)
    private static let syncRounds = 16

    private func dataFolder(_ path: String) -> [DoctorFinding] {
        var isFolder: ObjCBool = false
        let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        guard !exists || isFolder.boolValue else {
            return [.fail("data folder", "\(path) is a file", "name a folder with `data`, or move the file away")]
        }
        // Where there is none yet, `serve` makes it.
        var place = path
        while !FileManager.default.fileExists(atPath: place), place.contains("/"), place != "/" {
            place = URL(fileURLWithPath: place).deletingLastPathComponent().path
        }
        guard access(place, R_OK | W_OK | X_OK) == 0 else {
            return [
                .fail(
                    "data folder", "\(place) may not be read and written by user \(NSUserName())",
                    "chown \(NSUserName()) \(place), or name another folder with `data`")
            ]
        }
        var findings: [DoctorFinding] = [
            .ok("data folder", exists ? path : "\(path) will be made by the first start")
        ]
        var status = stat()
        if exists, stat(path, &status) == 0, status.st_mode & 0o007 != 0 {
            findings.append(
                .warn(
                    "permissions", "\(path) is open to every user of this machine",
                    "chmod o-rwx \(path): it holds every event"))
        } else {
            findings.append(.ok("permissions", "the folder is closed to other users"))
        }
        if exists, let stranger = notOurs(path) {
            findings.append(
                .fail(
                    "ownership", "\(stranger) may not be written by user \(NSUserName())",
                    "a server ran as another user once: chown -R \(NSUserName()) \(path)"))
        }
        findings += room(place)
        findings.append(fileSystem(place))
        findings.append(syncing(place))
        return findings
    }

    private func notOurs(_ path: String) -> String? {
        for name in ["lock", "ledger.db", "ledger.db-wal", "journal"] {
            let file = path + "/" + name
            if FileManager.default.fileExists(atPath: file), access(file, W_OK) != 0 { return file }
        }
        return nil
    }

    private func room(_ path: String) -> [DoctorFinding] {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else {
            return [.fail("disk", "\(path): \(String(cString: strerror(errno)))", "see that the disk is mounted")]
        }
        let free = Int(status.f_bavail) * Int(status.f_frsize)
        let text = "\(free >> 20) MiB free for \(path)"
        let remedy = "free space, or give topics a `retain`; publishers are refused while the disk is full"
        var findings: [DoctorFinding] = [
            free < Self.freeBytesFailed
                ? .fail("disk", text, remedy)
                : free < Self.freeBytesWarned ? .warn("disk", text, remedy) : .ok("disk", text)
        ]
        // Some file systems have no fixed number of them.
        if status.f_files > 0 {
            let text = "\(status.f_favail) of \(status.f_files) free"
            let isShort = status.f_favail < 1_000
            findings.append(
                isShort
                    ? .fail("inodes", text, "remove small files, or use another file system")
                    : .ok("inodes", text))
        }
        return findings
    }

    /// File systems that forget, or whose syncs or locks can't be relied on, by the name that the kernel gives them.
    private static let untrusted = [
        "tmpfs": "it is memory: everything is gone after a restart of the machine",
        "ramfs": "it is memory: everything is gone after a restart of the machine",
        "overlay": "a container's own layer: everything is gone with the container",
        "nfs": "locks and syncs depend on the server, and SQLite's log needs shared memory",
        "nfs4": "locks and syncs depend on the server, and SQLite's log needs shared memory",
        "cifs": "locks and syncs depend on the server, and SQLite's log needs shared memory",
        "smb3": "locks and syncs depend on the server, and SQLite's log needs shared memory",
        "9p": "syncs depend on the host, and SQLite's log needs shared memory",
        "fuse.sshfs": "locks and syncs depend on the server, and SQLite's log needs shared memory",
    ]

    private func fileSystem(_ path: String) -> DoctorFinding {
        guard let mounts = try? String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8) else {
            return .warn("file system", "not known: /proc can't be read", "see that it is a local disk")
        }
        let name = Self.fileSystem(of: URL(fileURLWithPath: path).resolvingSymlinksInPath().path, mounts)
        guard let why = Self.untrusted[name] else { return .ok("file system", name) }
        return .warn("file system", "\(name): \(why)", "put `data` on a local disk")
    }

    /// The type of the mount that `path` is on: that with the longest mount point before it, the last of equals
    /// (proc_pid_mountinfo(5)).
    private static func fileSystem(of path: String, _ mounts: String) -> String {
        var best = (length: -1, name: "unknown")
        for line in mounts.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 6, let dash = fields.firstIndex(of: "-"), dash + 1 < fields.count else { continue }
            // Blanks in a mount point are written as octal numbers.
            let point = fields[4].replacingOccurrences(of: "\\040", with: " ")
            let isAbove = point == "/" || path == point || path.hasPrefix(point + "/")
            if isAbove, point.utf8.count >= best.length { best = (point.utf8.count, String(fields[dash + 1])) }
        }
        return best.name
    }

    /// A few writes with fdatasync, as each group commit does one.
    private func syncing(_ path: String) -> DoctorFinding {
        let name = "\(path)/.fairlead-doctor-\(getpid())"
        let descriptor = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            return .fail(
                "sync", "can't write into \(path): \(String(cString: strerror(errno)))", "see to permissions and space")
        }
        defer {
            close(descriptor)
            unlink(name)
        }
        var times: [Duration] = []
        let block = [UInt8](repeating: 0x5A, count: 4_096)
        for round in 0..<Self.syncRounds {
            let start = ContinuousClock.now
            let isWritten = pwrite(descriptor, block, block.count, round * block.count) == block.count
            guard isWritten, fdatasync(descriptor) == 0 else {
                return .fail("sync", "fdatasync: \(String(cString: strerror(errno)))", "check the disk")
            }
            times.append(ContinuousClock.now - start)
        }
        times.sort()
        let median = times[times.count / 2]
        let text = "fdatasync takes \(Self.text(median)), \(Self.text(times[times.count - 1])) at most"
        if median > Self.syncWarned {
            return .warn(
                "sync", text, "a publisher waits for one: a faster disk, larger batches, or `sync interval` for a topic"
            )
        }
        return .ok("sync", text)
    }

    private static func text(_ duration: Duration) -> String {
        "\((duration / .milliseconds(1) * 100).rounded() / 100) ms"
    }

    // MARK: the machine

    private func openFiles(_ table: RouteTable?) -> DoctorFinding {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return .fail("open files", String(cString: strerror(errno)), "see ulimit -n")
        }
        // Each topic has its active segment, an index and some for its readers; each connection is one.
        let needed = (table?.topics.count ?? 4) * 10 + 1_024
        let text = "\(limit.rlim_cur) allowed"
        return limit.rlim_cur < rlim_t(needed)
            ? .warn(
                "open files", "\(text); \(needed) may be needed",
                "raise it: `ulimit -n 65536`, or LimitNOFILE=65536 in the unit")
            : .ok("open files", text)
    }

    /// How far a record may be ahead before the clock is thought to have been set back.
    private static let clockTolerance: TimeInterval = 5

    /// 2024: no clock that is right shows less.
    private static let earliest = Date(timeIntervalSince1970: 1_704_067_200)

    private func clock(_ data: String) -> DoctorFinding {
        let now = Date()
        guard now > Self.earliest else {
            return .fail("clock", "it says \(now.ISO8601Format())", "set it; run chrony or systemd-timesyncd")
        }
        if let last = lastWritten(data), last > now.addingTimeInterval(Self.clockTolerance) {
            let seconds = Int(last.timeIntervalSince(now))
            return .warn(
                "clock", "it was set back: the journal was written \(seconds) s in its future",
                "new records carry the last one's time until the clock has caught up; set it right")
        }
        return .ok("clock", now.ISO8601Format())
    }

    private func lastWritten(_ data: String) -> Date? {
        guard let files = FileManager.default.enumerator(atPath: data + "/journal") else { return nil }
        var last: Date?
        for case let name as String in files where name.hasSuffix(".log") {
            let attributes = try? FileManager.default.attributesOfItem(atPath: data + "/journal/" + name)
            guard let date = attributes?[.modificationDate] as? Date else { continue }
            last = max(last ?? date, date)
        }
        return last
    }

    // MARK: the server, and what it reaches

    private func listening(_ settings: ServerSettings, _ data: String) async -> DoctorFinding {
        let place = "\(settings.host):\(settings.port)"
        guard Self.isTaken(settings.host, settings.port) else { return .ok("port", "\(place) is free") }
        let host = settings.host.contains(":") ? "[\(settings.host)]" : settings.host
        let client = ServerClient(
            base: "\(settings.tls == nil ? "http" : "https")://\(host):\(settings.port)",
            certificate: settings.tls.map { GenerationBuilder.path($0.certificate, besides: config) })
        guard let health = await client.probe("/readyz") else {
            return .fail(
                "port", "something else than Fairlead listens on \(place)",
                "end it (`ss -ltnp` names it), or change `listen`")
        }
        return health == 200
            ? .ok("server", "runs on \(place) and is ready")
            : .fail("server", "runs on \(place) and isn't ready (\(health))", "look at its log, and at \(place)/readyz")
    }

    /// Whether binding is refused as somebody has the port.
    private static func isTaken(_ host: String, _ port: Int) -> Bool {
        let isSix = host.contains(":")
        let probe = socket(isSix ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard probe >= 0 else { return false }
        defer { close(probe) }
        var yes: Int32 = 1
        setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        func bound<Address>(_ address: inout Address) -> Bool {
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(probe, $0, socklen_t(MemoryLayout<Address>.size)) == 0
                }
            }
        }
        if isSix {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = in_port_t(port).bigEndian
            inet_pton(AF_INET6, host, &address.sin6_addr)
            return !bound(&address) && errno == EADDRINUSE
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        inet_pton(AF_INET, host == "localhost" ? "127.0.0.1" : host, &address.sin_addr)
        return !bound(&address) && errno == EADDRINUSE
    }

    private func mail(_ table: RouteTable?) -> DoctorFinding {
        guard let table else { return .warn("mail", "not looked at", "mend the configuration first") }
        switch table.mail {
        case .directory(let folder):
            let path = GenerationBuilder.path(folder, besides: config)
            guard FileManager.default.fileExists(atPath: path) else {
                return .ok("mail", "goes into \(path), which the first message makes")
            }
            return access(path, W_OK) == 0
                ? .ok("mail", "goes into \(path)")
                : .fail("mail", "\(path) may not be written", "chown \(NSUserName()) \(path)")
        case .smtp(let host, let port, _, _, _):
            guard usesNetwork else { return .ok("mail", "\(host):\(port), not tried (--network does)") }
            return Self.reaches(host, port)
                ? .ok("mail", "\(host):\(port) answers")
                : .fail(
                    "mail", "\(host):\(port) can't be reached", "see `mail` in \(config), the network and firewalls")
        }
    }

    private static let connectMilliseconds: Int32 = 5_000

    private static func reaches(_ host: String, _ port: Int) -> Bool {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &found) == 0 else { return false }
        defer { freeaddrinfo(found) }
        var next = found
        while let address = next?.pointee {
            let descriptor = socket(address.ai_family, address.ai_socktype | Int32(SOCK_NONBLOCK.rawValue), 0)
            if descriptor >= 0 {
                defer { close(descriptor) }
                if connect(descriptor, address.ai_addr, address.ai_addrlen) == 0 { return true }
                var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                var failure: Int32 = 0
                var length = socklen_t(MemoryLayout<Int32>.size)
                if errno == EINPROGRESS, poll(&waiting, 1, connectMilliseconds) == 1,
                    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &length) == 0, failure == 0
                {
                    return true
                }
            }
            next = address.ai_next
        }
        return false
    }
}
