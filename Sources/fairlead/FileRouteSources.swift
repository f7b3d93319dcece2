// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Routes

/// routes.conf's sources on this machine: its files and its environment.
///
/// A secret is the file of its name in `$CREDENTIALS_DIRECTORY` (where systemd's LoadCredential puts it), else the
/// environment variable of its name.
struct FileRouteSources: RouteSources {
    /// Foundation's own description of a missing file fills a page.
    private struct Unreadable: Error, CustomStringConvertible {
        var description: String
    }

    func bytes(of path: String) throws -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Unreadable(description: String(cString: strerror(errno))) }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        do {
            return try Array(file.readToEnd() ?? Data())
        } catch {
            throw Unreadable(description: error.localizedDescription)
        }
    }

    func files(matching pattern: String) throws -> [String] {
        var found = glob_t()
        defer { globfree(&found) }
        guard glob(pattern, GLOB_MARK, nil, &found) == 0 else { return [] }
        return (0..<Int(found.gl_pathc)).compactMap { found.gl_pathv[$0].map { String(cString: $0) } }
            .filter { !$0.hasSuffix("/") }.sorted()
    }

    func environment(_ name: String) -> String? {
        // Foundation's dictionary is made anew each time it is asked for.
        getenv(name).map { String(cString: $0) }
    }

    func secret(_ name: String) throws -> String? {
        if let folder = environment("CREDENTIALS_DIRECTORY"), !name.contains("/"), !name.hasPrefix(".") {
            let path = folder + "/" + name
            if FileManager.default.fileExists(atPath: path) {
                return try String(decoding: bytes(of: path), as: UTF8.self).trimmingCharacters(in: .newlines)
            }
        }
        return environment(name)
    }
}
