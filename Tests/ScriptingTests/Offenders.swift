// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The scripts of `Tests/Offenders`, which the soak run shares.
enum Offenders {
    static let repository = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..").standardized
    static let source = read("Tests/Offenders/offenders.lua")

    static let loops = names(of: "loops")
    static let hogs = names(of: "hogs")

    static func read(_ path: String) -> String {
        guard let bytes = try? Data(contentsOf: repository.appending(path: path)) else {
            fatalError("\(path) can't be read")
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func names(of table: String) -> [String] {
        source.split(separator: "\n").compactMap { line in
            guard line.hasPrefix("\(table)[\"") else { return nil }
            return line.dropFirst(table.count + 2).split(separator: "\"").first.map(String.init)
        }
    }
}
