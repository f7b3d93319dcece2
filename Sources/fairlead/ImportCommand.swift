// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AsyncHTTPClient
import Crypto
import Events
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat

struct Import: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Give one subscriber what happened before the router existed.",
        discussion: """
            FILE has one event on each line: a CloudEvent, whose own time it keeps, or plain JSON. Nobody but the \
            subscriber gets them; its filter holds, and its handler sees event.replay. The whole file is checked first, \
            and nothing of one with a bad line is taken. Run again after an interruption it goes on where it stopped: the \
            contents are known by their digest, and none is taken twice. It runs with a low priority, and the server takes \
            less at once while events are published: what is live goes first.
            """)

    @Argument(help: "The topic that the events are of.", completion: .topics) var topic: String
    @Argument(help: "The file, one event on each line.", completion: .file()) var file: String
    @Option(name: .customLong("only"), help: "The subscriber that gets them.", completion: .subscribers) var subscriber:
        String
    @Option(help: "The events' type, for plain JSON. Default: the topic's name.") var type: String?
    @Option(help: "Events in one request.") var batch = 250
    @Flag(help: "Don't wait until all are delivered.") var noWait = false
    @Flag(help: "What is live waits for the subscriber until the import is done or cancelled.") var first = false
    @OptionGroup var server: ServerOptions

    /// Bytes of one request; one larger event goes alone.
    private static let requestBytesMax = 4 << 20
    /// Lines between two looks at how far the check is.
    private static let checkedAtOnce = 20_000
    /// Bad lines that are shown.
    private static let complaintsMax = 20
    /// How often, and how long in between, a request is sent again while the server has no room.
    private static let busyRetries = 50
    private static let busyPause: Duration = .milliseconds(200)

    func validate() throws {
        guard batch > 0 else { throw ValidationError("--batch must be 1 or more") }
    }

    /// By how much its niceness rises: whatever else wants a processor gets about nine tenths of it.
    private static let niceness: Int32 = 10

    /// The threads there are; those to come inherit it from them.
    private static func lowerPriority() {
        let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")) ?? []
        for thread in threads.compactMap({ id_t($0) }) {
            // Where it is refused, the import is only less polite.
            let which = __priority_which_t(PRIO_PROCESS.rawValue)
            _ = setpriority(which, thread, getpriority(which, thread) + niceness)
        }
    }

    func run() async throws {
        Self.lowerPriority()
        let lines = try EventLines(file)
        let count = try check(lines)
        guard count > 0 else {
            Console.complain("\(file) has no events")
            throw ExitCode.refused
        }
        let path = "/v1/subscribers/\(subscriber.pathSegment)/imports"
        let data = try JSONSerialization.data(
            withJSONObject: ["topic": topic, "file": digest(of: lines), "events": count, "first": first]
                as [String: Any])
        let begun = try await server.client.send("POST", path, body: .bytes(ByteBuffer(data: data)))
        let run = try begun.decoded(HistoryRun.self)
        guard run.state == "running" else {
            if server.json {
                Console.say(String(decoding: begun.body, as: UTF8.self))
            } else {
                Console.say("\(file) was imported before, as import \(run.id): \(run.delivered) delivered")
            }
            return
        }
        let taken = run.taken ?? 0
        if taken > 0, !server.json { Console.say("import \(run.id) goes on behind its first \(taken) events") }
        try await send(lines, behind: taken, of: count, to: "\(path)/\(run.id)")
        let end = try JSONSerialization.data(withJSONObject: ["events": count])
        let complete = try await server.client.send(
            "POST", "\(path)/\(run.id)/complete", body: .bytes(ByteBuffer(data: end)))
        if !server.json { Console.say("\(count) events of \(topic) are in, for \(subscriber) alone") }
        try await HistoryRun.follow(complete, of: subscriber, server, waits: !noWait)
    }

    /// What decides whether it is the same import: the contents, and what plain JSON becomes.
    private func digest(of lines: EventLines) -> String {
        var hash = SHA256()
        hash.update(data: Data("\(type ?? "")\n".utf8))
        hash.update(data: lines.data)
        return hash.finalize().hexadecimal
    }

    /// Every line, as the server will read it; all bad ones are told, not the first.
    private func check(_ lines: EventLines) throws -> Int {
        let decoder = EventDecoder(topic: .named(topic), key: nil)
        var request = EventRequest(contentType: "application/x-ndjson")
        request.type = type
        var (count, bad) = (0, 0)
        for line in lines {
            do {
                try lines.data.withUnsafeBytes { all in
                    let bytes = PaddedBytes(UnsafeRawBufferPointer(rebasing: all[line.range]))
                    _ = try bytes.withBytes { (bytes) throws(Failure) in try decoder.decode(bytes, request) }
                }
                count += 1
            } catch let failure as Failure {
                bad += 1
                guard bad <= Self.complaintsMax else { continue }
                let message = failure.message.replacing("line 1: ", with: "", maxReplacements: 1)
                Console.complain("\(file):\(line.number): \(message)")
            }
            if (count + bad).isMultiple(of: Self.checkedAtOnce) {
                Console.progress(line.range.upperBound, of: lines.data.count, "\(count + bad) lines checked")
            }
        }
        Console.progress(nil)
        guard bad == 0 else {
            let more = bad > Self.complaintsMax ? " (the first \(Self.complaintsMax) are shown)" : ""
            Console.complain("\(bad) of \(count + bad) lines are no events\(more); nothing was imported")
            throw ExitCode.refused
        }
        return count
    }

    private func send(_ lines: EventLines, behind taken: Int, of count: Int, to path: String) async throws {
        var at = taken
        var body = Data()
        var pending = 0
        func flush() async throws {
            guard pending > 0 else { return }
            at = try await post(body, at: at, expecting: at + pending, to: path)
            body = Data()
            pending = 0
            Console.progress(at, of: count, "\(at) of \(count) sent")
        }
        for line in lines.dropFirst(taken) {
            if pending == batch || (pending > 0 && body.count + line.range.count > Self.requestBytesMax) {
                try await flush()
            }
            body.append(lines.data[line.range])
            body.append(UInt8(ascii: "\n"))
            pending += 1
        }
        try await flush()
        Console.progress(nil)
    }

    private func post(_ body: Data, at: Int, expecting end: Int, to path: String) async throws -> Int {
        struct Taken: Decodable {
            var taken: Int
        }
        var target = "\(path)?at=\(at)"
        if let type { target += "&type=\(type.queryValue)" }
        for attempt in 1... {
            let answer = try await server.client.sendUnchecked(
                "POST", target, body: .bytes(ByteBuffer(data: body)), contentType: "application/x-ndjson")
            if [429, 503].contains(answer.status), attempt < Self.busyRetries {
                try await Task.sleep(for: Self.busyPause)
                continue
            }
            guard answer.status < 300 else {
                Console.complain("the first \(at) events are in; run the same command again to go on")
                throw server.client.complain(answer)
            }
            let taken = try answer.decoded(Taken.self).taken
            guard taken == end else {
                Console.complain("the server has \(taken) events instead of \(end): somebody else sends to this import")
                throw ExitCode.failure
            }
            return taken
        }
        return at
    }
}

/// The lines of a file that hold something, in order; the file is mapped, not read.
struct EventLines: Sequence {
    let data: Data

    struct Line {
        /// From 1, blank lines counted.
        var number: Int
        var range: Range<Int>
    }

    init(_ path: String) throws {
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
        } catch {
            Console.complain("can't read \(path); give the path of a file with one event on each line")
            throw ExitCode.refused
        }
    }

    func makeIterator() -> AnyIterator<Line> {
        var at = 0
        var number = 0
        return AnyIterator {
            while at < data.count {
                let start = at
                let (end, isBlank) = data.withUnsafeBytes { bytes in
                    var end = start
                    var isBlank = true
                    while end < bytes.count, bytes[end] != UInt8(ascii: "\n") {
                        if bytes[end] > UInt8(ascii: " ") { isBlank = false }
                        end += 1
                    }
                    return (end, isBlank)
                }
                at = end + 1
                number += 1
                if !isBlank { return Line(number: number, range: start..<end) }
            }
            return nil
        }
    }
}
