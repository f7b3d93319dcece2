// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Testing

/// The data folder on disks that fill up, and what is in it that shouldn't be.
@Suite(.timeLimit(.minutes(5))) struct DiskTests {
    private static let routes = """
        topic orders { retain 30d }
        subscriber accounting { from orders; pull { lease 30s }; start earliest }
        """

    /// Whether this user may mount a file system: a small one is what a full disk is tried on.
    private static let mayMount: Bool = {
        guard geteuid() == 0 else { return false }
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("fairlead-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        guard let disk = try? SmallDisk(at: folder, mebibytes: 1) else { return false }
        disk.unmount()
        return true
    }()

    /// A file system in memory, of a fixed size.
    private final class SmallDisk {
        let folder: URL

        struct Refused: Error {}

        init(at folder: URL, mebibytes: Int) throws {
            self.folder = folder
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            guard mount("tmpfs", folder.path, "tmpfs", 0, "size=\(mebibytes)m") == 0 else { throw Refused() }
        }

        func unmount() { umount2(folder.path, Int32(MNT_DETACH)) }
        deinit { unmount() }
    }

    private func events(_ count: Int, _ bytes: Int) -> String {
        let filler = String(repeating: "x", count: bytes)
        return String(repeating: "{\"total\":1,\"note\":\"\(filler)\"}\n", count: count)
    }

    @Test(.enabled(if: mayMount)) func aFullDiskRefusesPublishersAndHurtsNobodyElseAndRecoversByItself() async throws {
        let server = try RunningServer(routes: Self.routes)
        let disk = try SmallDisk(at: server.folder.appendingPathComponent("data"), mebibytes: 24)
        let ballast = disk.folder.appendingPathComponent("ballast")
        try Data(repeating: 1, count: 8 << 20).write(to: ballast)
        try await server.start()

        var accepted = 0
        var refusal: Loopback.Answer?
        for _ in 0..<200 where refusal == nil {
            let answer = try await server.post(
                "/v1/topics/orders/events", events(100, 1_000), type: "application/x-ndjson")
            if answer.status == 202 { accepted += 100 } else { refusal = answer }
        }
        let refused = try #require(refusal)
        #expect(refused.status == 503)
        #expect(refused.head.lowercased().contains("retry-after: "))
        #expect(refused.text.contains("the disk is full, topic"), "\(refused.text)")
        #expect(refused.text.contains("free space, then publish again"))

        // What is there is delivered and settled, though nothing can be written down now.
        var taken = 0
        while taken < accepted {
            let pulled = try await server.post("/v1/subscribers/accounting/pull", #"{"max":500,"wait":"5s"}"#)
            let leases = (try pulled.object["deliveries"] as? [[String: Any]] ?? []).compactMap {
                $0["lease"] as? String
            }
            guard !leases.isEmpty else { break }
            taken += leases.count
            let list = leases.map { "\"\($0)\"" }.joined(separator: ",")
            let settled = try await server.post("/v1/subscribers/accounting/settle", "{\"ack\":[\(list)]}")
            #expect(settled.status == 200)
        }
        #expect(taken == accepted)

        try FileManager.default.removeItem(at: ballast)
        try await eventually("the server takes events again") {
            let answer = try await server.post(
                "/v1/topics/orders/events", self.events(1, 10), type: "application/x-ndjson")
            return answer.status == 202
        }
        server.signal(SIGTERM)
        try await eventually("the process has ended") { !server.process.isRunning }
        #expect(server.process.terminationStatus == 0)
        let verified = try await server.command("verify")
        #expect(verified.code == 0, "\(verified.output)\(verified.errors)")
        // The settlements of the time without room were kept, and written when there was some.
        try await server.start()
        let pulled = try await server.post("/v1/subscribers/accounting/pull", #"{"max":500,"wait":"2s"}"#)
        let left = try pulled.object["deliveries"] as? [[String: Any]] ?? []
        #expect(left.count >= 1 && left.count <= 5, "\(left.count) deliveries came again")
        server.signal(SIGTERM)
        try await eventually("the process has ended") { !server.process.isRunning }
        disk.unmount()
    }

    @Test(.enabled(if: mayMount)) func aReloadOnAFullDiskIsRefusedAndWorksWhenThereIsRoom() async throws {
        let routes = Self.routes + "\nsubscriber script { from orders; run script; start earliest }"
        let server = try RunningServer(routes: routes, plugins: ["script": "return function() end"])
        let disk = try SmallDisk(at: server.folder.appendingPathComponent("data"), mebibytes: 96)
        defer { disk.unmount() }
        try await server.start()
        #expect(try await server.post("/v1/topics/orders/events", "{}").status == 202)
        try await eventually("it is done") { try await server.acked("script") == 1 }
        let ballast = disk.folder.appendingPathComponent("ballast")
        try Data().write(to: ballast)
        let handle = try FileHandle(forWritingTo: ballast)
        // As much as there is room for, to the last block.
        for size in [1 << 20, 4_096] {
            while (try? handle.write(contentsOf: Data(repeating: 1, count: size))) != nil {}
        }
        try handle.close()
        // Its files go into the ledger, which has no room for them.
        try server.write(plugin: "script", "return function() end --" + String(repeating: "x", count: 3 << 20))
        let refused = try await server.command("reload")
        #expect(refused.code == 2, "\(refused.output)\(refused.errors)")
        #expect(
            refused.errors.contains("a generation that can't be written down doesn't take over"), "\(refused.errors)")
        let status = try await server.get("/v1/status").object
        #expect(status["generation"] as? Int == 1)
        let pulled = try await server.post("/v1/subscribers/accounting/pull", #"{"max":5,"wait":"10s"}"#)
        #expect((try pulled.object["deliveries"] as? [[String: Any]])?.count == 1, "the old generation serves on")

        try FileManager.default.removeItem(at: ballast)
        try await eventually("the ledger works again, and a reload with it", within: .seconds(60)) {
            try await server.command("reload").code == 0
        }
        #expect(try await server.get("/v1/status").object["generation"] as? Int == 2)
        let listed = try await server.command("generations").output
        #expect(!listed.contains("applying") && !listed.contains("interrupted"), "\(listed)")
        server.signal(SIGTERM)
        try await eventually("the process has ended") { !server.process.isRunning }
    }

    /// A data folder with a few events and a cleanly stopped server.
    private func stopped(_ routes: String = routes) async throws -> RunningServer {
        let server = try RunningServer(routes: routes)
        try await server.start()
        for _ in 0..<3 {
            let answer = try await server.post(
                "/v1/topics/orders/events", events(20, 200), type: "application/x-ndjson")
            #expect(answer.status == 202)
        }
        server.signal(SIGTERM)
        try await eventually("the process has ended") { !server.process.isRunning }
        return server
    }

    private func segment(_ server: RunningServer) throws -> URL {
        let topic = server.folder.appendingPathComponent("data/journal/orders")
        let name = try #require(
            try FileManager.default.contentsOfDirectory(atPath: topic.path).sorted().first { $0.hasSuffix(".log") })
        return topic.appendingPathComponent(name)
    }

    private func overwrite(_ file: URL, at position: UInt64, _ bytes: [UInt8]) throws {
        let handle = try FileHandle(forUpdating: file)
        try handle.seek(toOffset: position)
        try handle.write(contentsOf: Data(bytes))
        try handle.close()
    }

    @Test func verifySaysWhatIsDamagedAndForWhomAndRepairsIt() async throws {
        let server = try await stopped()
        let sound = try await server.command("verify")
        #expect(sound.code == 0, "\(sound.output)\(sound.errors)")
        #expect(sound.output.contains("60 records"))
        #expect(sound.output.contains(": sound"))

        // The second record: its data.
        try overwrite(try segment(server), at: 64 + 500, [1, 2, 3, 4])
        let damaged = try await server.command("verify", "data")
        #expect(damaged.code == 1)
        #expect(damaged.output.contains("can't be read, those around them can"), "\(damaged.output)")
        #expect(damaged.output.contains("offsets 1 to 1"), "\(damaged.output)")
        #expect(damaged.output.contains("not settled by: accounting"))
        #expect(damaged.output.contains("--repair would keep the segment as ….damaged"))

        let json = try await server.command("verify", "--json")
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        #expect(object["isSound"] as? Bool == false)
        let finding = try #require((object["findings"] as? [[String: Any]])?.first)
        #expect(finding["kind"] as? String == "damagedRecords")
        #expect(finding["first"] as? Int == 1)
        #expect(finding["subscribers"] as? [String] == ["accounting"])

        let repaired = try await server.command("verify", "--repair")
        #expect(repaired.code == 0, "\(repaired.output)\(repaired.errors)")
        #expect(repaired.output.contains("mended "))
        let again = try await server.command("verify")
        #expect(again.code == 0, "\(again.output)")
        #expect(again.output.contains("left out since a repair"))

        try await server.start()
        let pulled = try await server.post("/v1/subscribers/accounting/pull", #"{"max":100,"wait":"5s"}"#)
        #expect((try pulled.object["deliveries"] as? [[String: Any]])?.count == 59)
        // Beside a server it reads; it repairs nothing there.
        let beside = try await server.command("verify")
        #expect(beside.code == 0, "\(beside.output)\(beside.errors)")
        #expect(beside.output.contains("a server is running"))
        let refused = try await server.command("verify", "--repair")
        #expect(refused.code == 2)
        #expect(refused.errors.contains("is in use by another fairlead"), "\(refused.errors)")
    }

    @Test func verifyWithoutADataFolderIsRefused() async throws {
        let server = try RunningServer(routes: Self.routes)
        let refused = try await server.command("verify", "nowhere")
        #expect(refused.code == 2)
        #expect(refused.errors.contains("there is no data folder nowhere"))
    }

    @Test(arguments: ["something else altogether, and long enough to be taken for a header of it", ""])
    func aLedgerThatIsNoneKeepsTheServerFromStarting(_ contents: String) async throws {
        let server = try await stopped()
        let ledger = server.folder.appendingPathComponent("data/ledger.db")
        try Data(contents.utf8).write(to: ledger)
        for suffix in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: ledger.path + suffix) }
        if contents.isEmpty {
            // An empty file is an empty database: subscribers begin as new ones.
            try await server.start()
            return
        }
        let refused = try await RunningServer.command(["serve", "routes.conf"], in: server.folder)
        #expect(refused.code == 1)
        #expect(refused.errors.contains("is no SQLite database"), "\(refused.errors)")
        #expect(refused.errors.contains("move it away"))
        let repaired = try await server.command("verify", "--repair")
        #expect(repaired.code == 0, "\(repaired.output)\(repaired.errors)")
        try await server.start()
        #expect(FileManager.default.fileExists(atPath: ledger.path + ".damaged"))
    }

    @Test func filesOfStrangersInTheJournalStopNothing() async throws {
        let server = try await stopped()
        let journal = server.folder.appendingPathComponent("data/journal")
        try Data("x".utf8).write(to: journal.appendingPathComponent("README"))
        try Data("x".utf8).write(to: journal.appendingPathComponent("orders/notes.txt"))
        try FileManager.default.createDirectory(
            at: journal.appendingPathComponent("lost+found"), withIntermediateDirectories: true)
        try await server.start()
        #expect(server.output.contains("README is no file of the journal's and was left alone"))
        #expect(server.output.contains("notes.txt is no file of the journal's and was left alone"))
        let pulled = try await server.post("/v1/subscribers/accounting/pull", #"{"max":100,"wait":"5s"}"#)
        #expect((try pulled.object["deliveries"] as? [[String: Any]])?.count == 60)
    }

    @Test func aTopicWhoseFilesWereRemovedIsNamedAndGoesOnAtItsNewStart() async throws {
        let server = try await stopped()
        try await server.start()
        let taken = try await server.command("pull", "accounting", "--max", "10")
        #expect(taken.code == 0, "\(taken.errors)")
        server.signal(SIGTERM)
        try await eventually("the process has ended") { !server.process.isRunning }
        try FileManager.default.removeItem(at: server.folder.appendingPathComponent("data/journal/orders"))
        let verified = try await server.command("verify")
        #expect(verified.code == 1)
        #expect(
            verified.output.contains(#"subscriber "accounting" is in topic "orders" at 10"#), "\(verified.output)")
        try await server.start()
        #expect(server.output.contains("A topic ends before a subscriber's position"))
        let answer = try await server.post("/v1/topics/orders/events", events(1, 10), type: "application/x-ndjson")
        #expect(answer.status == 202)
        let pulled = try await server.post("/v1/subscribers/accounting/pull", #"{"max":100,"wait":"5s"}"#)
        #expect((try pulled.object["deliveries"] as? [[String: Any]])?.count == 1)
    }
}
