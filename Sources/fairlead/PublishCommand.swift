// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat

struct Publish: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Publish events to a topic.",
        discussion: """
            FILE is JSON (one event's data, or one CloudEvent) or, where its name ends in .ndjson or --lines is given, \
            one of these on each line. Prints how many events are durable; with exit code 2, none is.
            """)

    @Argument(help: "The topic.", completion: .topics) var topic: String
    @Argument(help: "The file; - or nothing is standard input.", completion: .file()) var file = "-"
    @Option(help: "The events' type, for plain JSON. Default: the topic's name.") var type: String?
    @Option(help: "Deliver not before this time has passed, such as 30s, or this moment; for plain JSON.")
    var after: String?
    @Option(help: "Deliver not after this time has passed, such as 1h, or this moment; for plain JSON.")
    var expires: String?
    @Flag(help: "One event on each line.") var lines = false
    @Option(help: "Events in one request.") var batch = 500
    @OptionGroup var server: ServerOptions

    struct Accepted: Codable {
        var accepted: Int
        var first: UInt64?
        var last: UInt64?
        var duplicates: Int
    }

    func run() async throws {
        let data: Data
        if file == "-" {
            data = FileHandle.standardInput.readDataToEndOfFile()
        } else {
            guard let contents = FileManager.default.contents(atPath: file) else {
                Console.complain("can't read \(file); give the path of a JSON or NDJSON file, or - for standard input")
                throw ExitCode.refused
            }
            data = contents
        }
        var path = "/v1/topics/\(topic.pathSegment)/events"
        let query = [("type", type), ("deliverafter", after), ("expirytime", expires)]
            .compactMap { name, value in value.map { "\(name)=\($0.queryValue)" } }
        if !query.isEmpty { path += "?" + query.joined(separator: "&") }

        var total = Accepted(accepted: 0, first: nil, last: nil, duplicates: 0)
        if lines || file.hasSuffix(".ndjson") {
            let all = data.split(separator: UInt8(ascii: "\n")).filter { line in
                !line.allSatisfy { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\r") || $0 == UInt8(ascii: "\t") }
            }
            for start in stride(from: 0, to: all.count, by: max(1, batch)) {
                let body = Data(
                    all[start..<min(start + max(1, batch), all.count)].joined(separator: [UInt8(ascii: "\n")]))
                try await send(body, "application/x-ndjson", path, &total, sentBefore: start)
            }
        } else {
            try await send(
                data, PublishBody.isCloudEvent(data) ? "application/cloudevents+json" : "application/json", path,
                &total, sentBefore: 0)
        }
        if server.json {
            Console.say(String(decoding: try JSONEncoder().encode(total), as: UTF8.self))
        } else {
            let range = total.first.map { " at offsets \($0) to \(total.last ?? $0)" } ?? ""
            let duplicates = total.duplicates > 0 ? ", \(total.duplicates) known already" : ""
            Console.say("\(total.accepted) published to \(topic)\(range)\(duplicates)")
        }
    }

    private func send(
        _ body: Data, _ contentType: String, _ path: String, _ total: inout Accepted, sentBefore: Int
    ) async throws {
        let answer = try await server.client.sendUnchecked(
            "POST", path, body: .bytes(ByteBuffer(data: body)), contentType: contentType)
        guard answer.status == 202 else {
            let code = server.client.complain(answer)
            if sentBefore > 0 {
                Console.complain("the \(sentBefore) events before these were accepted; the rest was not sent")
            }
            throw code
        }
        let accepted = try answer.decoded(Accepted.self)
        total.accepted += accepted.accepted
        total.duplicates += accepted.duplicates
        total.first = total.first ?? accepted.first
        total.last = accepted.last ?? total.last
    }
}
