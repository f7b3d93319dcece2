// SPDX-License-Identifier: Apache-2.0

import Crypto
import Events
import Foundation
import Scripting

/// All Lua files below `Plugins/`, read once: a generation is made from this snapshot and sees no later change.
struct PluginFolder {
    let path: String
    /// By path relative to the folder.
    let files: [String: [UInt8]]

    /// Bytes of one plugin file; a script of this size is a mistake.
    static let fileBytesMax = 4 << 20

    /// What editors read of the API; no plugin's.
    static let annotations = "types/"

    struct Unreadable: Error, CustomStringConvertible {
        var description: String
    }

    init(_ path: String) throws(Unreadable) {
        self.path = path
        var files: [String: [UInt8]] = [:]
        guard let found = FileManager.default.enumerator(atPath: path) else {
            throw Unreadable(
                description: "can't read the folder of plugins, \(path); make it, or name another with `plugins`")
        }
        for case let name as String in found where name.hasSuffix(".lua") && !name.hasPrefix(Self.annotations) {
            guard let contents = FileManager.default.contents(atPath: path + "/" + name) else {
                throw Unreadable(description: "can't read \(path)/\(name)")
            }
            guard contents.count <= Self.fileBytesMax else {
                throw Unreadable(
                    description: "\(path)/\(name) is \(contents.count) bytes; the limit is \(Self.fileBytesMax)")
            }
            files[name] = Array(contents)
        }
        self.files = files
    }

    /// As it was: the plugins among `files`, which are by their path with the folder's before it.
    init(_ path: String, among files: [String: [UInt8]]) {
        self.path = path
        var own: [String: [UInt8]] = [:]
        for (name, bytes) in files where name.hasPrefix(path + "/") && name.hasSuffix(".lua") {
            own[String(name.dropFirst(path.count + 1))] = bytes
        }
        self.files = own
    }

    /// What the plugin `name` can see: its own file or folder, and `lib/`. nil where there is no such plugin.
    func source(of name: String) -> PluginSource? {
        let entry = ["\(name).lua", "\(name)/init.lua"].first { files[$0] != nil }
        guard let entry else { return nil }
        let visible = files.filter { path, _ in path == entry || path.hasPrefix(name + "/") || path.hasPrefix("lib/") }
        return PluginSource(name: name, files: visible, entry: entry)
    }

    /// As messages call the folder that a configuration names: relative to where the command runs.
    static func shown(_ path: String, besides config: String) -> String {
        guard !path.hasPrefix("/"), let slash = config.lastIndex(of: "/") else { return path }
        return String(config[...slash]) + path
    }

    /// Names of plugins there are, for suggestions.
    var names: [String] {
        files.keys.compactMap { path in
            if path.hasSuffix("/init.lua") { return String(path.dropLast("/init.lua".count)) }
            if path.contains("/") || path.hasSuffix("_test.lua") { return nil }
            return String(path.dropLast(".lua".count))
        }.sorted()
    }
}

extension PluginSource {
    /// Equal where every file that the plugin can see is.
    var fingerprint: String {
        var hash = SHA256()
        for (path, bytes) in files.sorted(by: { $0.key < $1.key }) {
            hash.update(data: Data("\(path.utf8.count):\(path):\(bytes.count):".utf8))
            hash.update(data: bytes)
        }
        return hash.finalize().hexadecimal
    }
}
