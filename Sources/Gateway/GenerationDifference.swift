// SPDX-License-Identifier: Apache-2.0

import Events
import Hummingbird

/// What two generations' files differ in.
package struct GenerationDifference: Sendable {
    package var number: Int
    /// The one that it is compared with; nil where there is none before it.
    package var against: Int?
    package var files: [File] = []

    package struct File: Sendable {
        package enum Change: String, Sendable {
            case added, changed, removed
        }

        package var path: String
        package var change: Change
        /// As `diff -u` writes it; nil where a text is not kept or too long to show.
        package var diff: String?

        package init(path: String, change: Change, diff: String?) {
            self.path = path
            self.change = change
            self.diff = diff
        }
    }

    package init(number: Int, against: Int?) {
        self.number = number
        self.against = against
    }

    func write(to json: inout JSONWriter) {
        json.field("number", number)
        json.field("against", ifPresent: against)
        json.array("files") { json in
            for file in files {
                json.object { json in
                    json.field("path", file.path)
                    json.field("change", file.change.rawValue)
                    json.field("diff", ifPresent: file.diff)
                }
            }
        }
    }
}

/// `/v1/generations/{number}/diff`: the files of one generation against the one before it, or another.
///
/// Takes `admin`: files hold whatever was written into them, and that may be more than who reads status is to see.
struct GenerationDifferences: Sendable {
    let difference: @Sendable (_ number: Int, _ against: Int?) async throws(Failure) -> GenerationDifference?

    func show(_ exchange: Exchange) async throws -> Response {
        guard let number = Int(exchange.parameters[0]), number > 0 else {
            throw Problem.malformed("\"\(exchange.parameters[0])\" isn't the number of a generation")
        }
        let against: Int? = try exchange.unsigned("against")
        guard let difference = try await difference(number, against) else {
            throw Failure(
                .notFound,
                "no generation \(number)\(against.map { " or no generation \($0)" } ?? ""); GET /v1/generations lists them"
            )
        }
        return .json { difference.write(to: &$0) }
    }
}

extension Limits {
    /// Bytes of a file whose differences are worked out: any configuration that is written by hand.
    package static let differenceBytesMax = 1 << 20
}
