// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Events
import Foundation
import Routes

struct Explain: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say what a configuration does with an event: who gets it, who doesn't and why.",
        discussion: """
            Needs no server. EVENT is a file with one event, as `fairlead publish` takes it: a CloudEvent, or plain data. For \
            each subscriber: whether it gets the event, the value of each part of its filter, and each setting that holds, \
            with the line it comes from.
            """)

    @Argument(help: "The topic.", completion: .topics) var topic: String
    @Argument(help: "The file with the event; - is standard input.", completion: .file()) var event = "-"
    @Option(help: "The event's type, for plain data. Default: the topic's name.") var type: String?
    @Option(help: "The configuration.", completion: .routes) var config = "routes.conf"
    @Flag(help: "Settings of those, too, that don't get the event.") var full = false
    @Flag(help: "Print all of it as one JSON object.") var json = false

    func run() async throws {
        let compiled = RouteCompiler.compile(config, from: FileRouteSources(), strictEnvironment: false)
        guard let table = compiled.table else {
            for diagnostic in compiled.diagnostics { Console.complain(diagnostic.description) }
            Console.complain("\(config): refused")
            throw ExitCode.refused
        }
        do {
            let record = try EventFile(event).record(on: topic, type: type, of: table)
            let explanation = RouteExplanation(table, record)
            if json {
                var text: [UInt8] = []
                explanation.json.append(to: &text)
                return Console.say(String(decoding: text, as: UTF8.self))
            }
            Console.say(explanation.text(isFull: full), terminator: "")
        } catch {
            Console.complain(error.message)
            throw ExitCode.refused
        }
    }
}

enum PublishBody {
    /// Whether a file's JSON is a whole event, and not only the data of one.
    static func isCloudEvent(_ data: Data) -> Bool {
        (try? JSONSerialization.jsonObject(with: data) as? [String: Any])?["specversion"] != nil
    }
}
