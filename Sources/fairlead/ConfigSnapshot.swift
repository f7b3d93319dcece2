// SPDX-License-Identifier: Apache-2.0

import Crypto
import Events
import Foundation
import Glibc
import Routes
import Synchronization

/// All files that a generation was made from, as they were: routes.conf, its includes, the plugins. Secrets and variables
/// are not among them.
struct ConfigSnapshot: Sendable {
    /// As given to the program.
    let config: String
    /// Of the contents, by path; plugins by their path in the folder, behind the folder's name.
    let hashes: [String: String]
    /// By their hash.
    let contents: [String: [UInt8]]

    init(config: String, files: [String: [UInt8]]) {
        self.config = config
        let hashes = files.mapValues { SHA256.hash(data: $0).hexadecimal }
        self.hashes = hashes
        contents = Dictionary(files.map { (hashes[$0.key]!, $0.value) }) { first, _ in first }
    }

    /// Of everything: equal where every file is.
    var hash: String {
        let lines = hashes.sorted { $0.key < $1.key }.map { "\($0.key)\u{0}\($0.value)\n" }.joined()
        return SHA256.hash(data: Data(lines.utf8)).hexadecimal
    }
}

/// Reads from the machine and remembers what the files were.
final class RecordingSources: RouteSources {
    private let files = FileRouteSources()
    private let read = Mutex<(contents: [String: [UInt8]], patterns: Set<String>, paths: Set<String>)>(([:], [], []))

    /// By path.
    var contents: [String: [UInt8]] { read.withLock { $0.contents } }

    /// What was asked for, there or not: a change of it is a change of the configuration.
    var asked: (paths: Set<String>, patterns: Set<String>) { read.withLock { ($0.paths, $0.patterns) } }

    struct NotAFile: Error, CustomStringConvertible {
        var description: String { "it is no regular file; reading it could wait for ever" }
    }

    func bytes(of path: String) throws -> [UInt8] {
        read.withLock { _ = $0.paths.insert(path) }
        guard FileStamp(path)?.isRegular ?? true else { throw NotAFile() }
        let bytes = try files.bytes(of: path)
        read.withLock { $0.contents[path] = bytes }
        return bytes
    }

    func files(matching pattern: String) throws -> [String] {
        read.withLock { _ = $0.patterns.insert(pattern) }
        return try files.files(matching: pattern)
    }

    func environment(_ name: String) -> String? { files.environment(name) }
    func secret(_ name: String) throws -> String? { try files.secret(name) }
}

/// The files of an old generation, out of the ledger.
struct StoredConfig: Sendable {
    var generation: Int
    /// The main file, as `files` names it.
    var config: String
    /// By path.
    var files: [String: [UInt8]]
}

/// An old generation's files, with variables and secrets as they are now.
struct StoredSources: RouteSources {
    var files: [String: [UInt8]]

    struct Missing: Error, CustomStringConvertible {
        var description: String { "the generation has no such file" }
    }

    func bytes(of path: String) throws -> [UInt8] {
        guard let bytes = files[path] else { throw Missing() }
        return bytes
    }

    func files(matching pattern: String) throws -> [String] {
        files.keys.filter { fnmatch(pattern, $0, FNM_PATHNAME | FNM_PERIOD) == 0 }.sorted()
    }

    func environment(_ name: String) -> String? { FileRouteSources().environment(name) }
    func secret(_ name: String) throws -> String? { try FileRouteSources().secret(name) }
}
