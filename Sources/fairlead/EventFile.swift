// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Routes

/// A file with one event, as `fairlead publish` takes it: a CloudEvent, or plain data.
struct EventFile {
    private let path: String
    private let bytes: [UInt8]

    /// `-` is standard input.
    init(_ path: String) throws(Failure) {
        let data =
            path == "-" ? FileHandle.standardInput.readDataToEndOfFile() : FileManager.default.contents(atPath: path)
        guard let data else {
            throw Failure(
                .notFound, "can't read \(path); give the path of a file with one event, or - for standard input")
        }
        self.path = path
        bytes = Array(data)
    }

    /// The event as publishing it now would make a record of it.
    func record(on topic: String, type: String?, of table: RouteTable?) throws(Failure) -> Record {
        var padded = PaddedBytes(capacity: bytes.count)
        bytes.withUnsafeBytes { padded.append($0) }
        let contentType = PublishBody.isCloudEvent(Data(bytes)) ? "application/cloudevents+json" : "application/json"
        let key = table?.topics.first { $0.name == topic }?.keyExtractor
        let decoder = EventDecoder(topic: .named(topic), key: key)
        let request = EventRequest(contentType: contentType, type: type)
        do {
            let batch = try padded.withBytes { (body) throws(Failure) in try decoder.decode(body, request) }
            batch.stamp(first: 0, time: SystemClock().now())
            return batch[0]
        } catch {
            throw Failure(error.code, "\(path): \(error.message)", index: error.index)
        }
    }
}
