// SPDX-License-Identifier: Apache-2.0

import Events

/// Appends to files below folders that routes.conf grants.
package protocol FileAppending: Sendable {
    /// When this is back the bytes are on disk. After a failure some of them may be there, and come again with the
    /// next attempt.
    func append(_ addition: FileAddition) async throws(FileFailure) -> FileAppended
}

package struct FileAddition: Hashable, Sendable {
    /// As `allow file` names it.
    package var folder: String
    /// Where below the folder; the last part is the file.
    package var parts: [String]
    /// Whole lines.
    package var bytes: [UInt8]
    /// A file that would grow beyond this is set aside first.
    package var sizeMax: Int?

    package var name: String { parts.joined(separator: "/") }

    /// Takes only names that can't lead out of the folder, whatever is there: each part is opened by itself, without
    /// following links.
    init(folder: String, name: String, bytes: [UInt8], sizeMax: Int? = nil) throws(FileFailure) {
        func refuse(_ why: String) -> FileFailure { .refused("\"\(name)\" can't be a file's name here: \(why)") }
        let parts = name.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        if name.hasPrefix("/") { throw refuse("it is absolute; names are relative to the granted folder") }
        guard parts.count <= Limits.pluginFileDepthMax + 1 else {
            throw refuse("it goes through \(parts.count - 1) folders; the limit is \(Limits.pluginFileDepthMax)")
        }
        for part in parts {
            if part.isEmpty { throw refuse("a part of it is empty") }
            if part.hasPrefix(".") { throw refuse("a part of it begins with a dot") }
            guard part.utf8.count <= Limits.pluginFileNameBytesMax else {
                throw refuse("a part of it is longer than \(Limits.pluginFileNameBytesMax) bytes")
            }
            guard part.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "\\") }) else {
                throw refuse("it has a backslash or a control character in it")
            }
        }
        self.folder = folder
        self.parts = parts
        self.bytes = bytes
        self.sizeMax = sizeMax
    }
}

package struct FileAppended: Hashable, Sendable {
    /// Bytes of the file now.
    package var size: Int
    /// What the full file before this one is called now.
    package var setAside: String?

    package init(size: Int, setAside: String? = nil) {
        self.size = size
        self.setAside = setAside
    }
}

package enum FileFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The name or what stands there is wrong, and will stay wrong.
    case refused(String)
    /// It may work later.
    case temporary(String)

    package var description: String {
        switch self {
        case .refused(let message), .temporary(let message): message
        }
    }
}
