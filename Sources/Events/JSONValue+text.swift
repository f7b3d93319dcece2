// SPDX-License-Identifier: Apache-2.0

extension JSONValue {
    /// A JSON text of any origin.
    package init(text: String) throws(Failure) {
        self = try PaddedBytes(text.utf8).withBytes { (bytes) throws(Failure) in try JSONValue(bytes) }
    }

    /// A JSON text that stands in the sources.
    package static func literal(_ text: StaticString) -> JSONValue {
        do {
            return try JSONValue(text: "\(text)")
        } catch {
            preconditionFailure("\(error): \(text)")
        }
    }
}
