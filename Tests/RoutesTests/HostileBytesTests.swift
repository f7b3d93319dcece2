// SPDX-License-Identifier: Apache-2.0

import Foundation
import Routes
import Testing

/// Any bytes at all give a table or diagnostics, soon.
@Suite struct HostileBytesTests {
    private static let shop: [UInt8] = {
        let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/shop.conf")
        return (try? [UInt8](Data(contentsOf: url))) ?? []
    }()

    private func compile(_ bytes: [UInt8]) -> CompiledRoutes {
        var sources = MemorySources("")
        sources.files["routes.conf"] = bytes
        return RouteCompiler.compile("routes.conf", from: sources, strictEnvironment: false)
    }

    private func check(_ bytes: [UInt8], _ comment: Comment) {
        let compiled = compile(bytes)
        #expect((compiled.table == nil) == compiled.diagnostics.contains { $0.severity == .error }, comment)
        for diagnostic in compiled.diagnostics { #expect(!diagnostic.description.isEmpty, comment) }
    }

    @Test func mutationsOfTheShopNeverTrap() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SplitMix(state: seed)
        let parts: [[UInt8]] =
            [
                "{", "}", "(", ")", "[", "]", "\"", "'", ";", ",", "\n", "#", "\\", "where ", "env(", "let ",
                "\u{FEFF}", "é", "$", "*", "data.", "[*]", "1e9", "-", "0",
            ].map { Array($0.utf8) } + [[0], [0xFF], [0xC0, 0x80], [0x0D, 0x0A]]
        for round in 0..<400 {
            var bytes = Self.shop
            for _ in 0..<Int.random(in: 1...6, using: &random) where !bytes.isEmpty {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes.remove(at: at)
                case 1: bytes[at] = UInt8.random(in: .min ... .max, using: &random)
                case 2: bytes.insert(contentsOf: parts.randomElement(using: &random)!, at: at)
                default: bytes.removeSubrange(at..<min(bytes.count, at + Int.random(in: 1...200, using: &random)))
                }
            }
            check(bytes, "seed \(seed), round \(round)")
        }
    }

    @Test func randomBytesNeverTrap() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SplitMix(state: seed)
        let signs = Array("{}[]()\"';,=\n #\\.*$abt01whereordata:/%-<>!".utf8)
        for round in 0..<400 {
            let count = Int.random(in: 0...300, using: &random)
            let isWild = round % 2 == 0
            let bytes = (0..<count).map { _ in
                isWild ? UInt8.random(in: .min ... .max, using: &random) : signs.randomElement(using: &random)!
            }
            check(bytes, "seed \(seed), round \(round)")
        }
    }

    static let large: [(String, [UInt8])] = {
        #if DEBUG
            let size = 2 << 20
        #else
            let size = 10 << 20
        #endif
        func filled(_ text: String) -> [UInt8] {
            let unit = Array(text.utf8)
            return Array((0..<size / unit.count).map { _ in unit }.joined())
        }
        return [
            ("zeros", [UInt8](repeating: 0, count: size)),
            ("braces", [UInt8](repeating: UInt8(ascii: "{"), count: size)),
            ("brackets", filled("a [")), ("quotes", [UInt8](repeating: UInt8(ascii: "\""), count: size)),
            ("blocks", filled("a {\n")), ("newlines", [UInt8](repeating: UInt8(ascii: "\n"), count: size)),
            ("comments", filled("# nothing to see\n")), ("spaces", filled(" \n")), ("wrong words", filled("wrong\n")),
            ("parentheses", filled("subscriber s { where ((((((((((((((\n")), ("a string", filled("\"a\\\n")),
            ("invalid UTF-8", [UInt8](repeating: 0xFF, count: size)),
            ("nots", filled("subscriber s { where not not not\n")),
        ]
    }()

    /// One second each as it is shipped; a debug build is many times slower and gets a fifth of it.
    @Test(arguments: large.indices) func megabytesAreDoneSoon(_ index: Int) {
        let (name, bytes) = Self.large[index]
        let clock = ContinuousClock()
        let time = clock.measure { check(bytes, "\(name)") }
        #if DEBUG
            #expect(time < .seconds(20), "\(name)")
        #else
            #expect(time < .seconds(1), "\(name)")
        #endif
    }
}

/// Sebastiano Vigna's splitmix64.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
