// SPDX-License-Identifier: Apache-2.0

import Events
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

    #if DEBUG
        private static let size = 256 << 10
    #else
        private static let size = 10 << 20
    #endif

    private static func filled(_ unit: String, _ size: Int = size) -> [UInt8] {
        let unit = Array(unit.utf8)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(size)
        for _ in 0..<(size / unit.count) { bytes += unit }
        return bytes
    }

    private static func numbered(_ count: Int, _ line: (Int) -> String) -> [UInt8] {
        var bytes: [UInt8] = []
        for number in 0..<count { bytes += line(number).utf8 }
        return bytes
    }

    private static func named(
        _ name: String, _ make: @escaping @Sendable () -> [UInt8]
    ) -> (String, @Sendable () -> [UInt8]) {
        (name, make)
    }

    /// Ten megabytes each, whatever they are; a quarter of one in a debug build, which is many times slower.
    static let large: [(name: String, make: @Sendable () -> [UInt8])] = {
        return [
            named("zeros") { [UInt8](repeating: 0, count: size) },
            named("invalid UTF-8") { [UInt8](repeating: 0xFF, count: size) },
            named("a NUL at the end") { filled("# nothing to see\n") + [0] },
            named("braces") { [UInt8](repeating: UInt8(ascii: "{"), count: size) },
            named("closing braces") { filled("}\n") },
            named("brackets") { filled("a [") }, named("nested lists") { filled("a [[[[[[[[[[[[[[[[[[[[\n") },
            named("quotes") { [UInt8](repeating: UInt8(ascii: "\""), count: size) },
            named("blocks") { filled("a {\n") },
            named("blocks of known keywords") { filled("subscriber s {\n run p {\n") },
            named("blocks in a line") { filled("subscriber s { run p { a { b { ") },
            named("newlines") { [UInt8](repeating: UInt8(ascii: "\n"), count: size) },
            named("carriage returns") { filled("\r\n") }, named("lone carriage returns") { filled("topic a\r") },
            named("comments") { filled("# nothing to see\n") }, named("spaces") { filled(" \n") },
            named("deeper and deeper") { numbered(4_000) { String(repeating: " ", count: $0) + "topic t {\n" } },
            named("wrong words") { filled("wrong\n") }, named("byte-order marks") { filled("\u{FEFF}") },
            named("byte-order marks in lines") { filled("\u{FEFF}topic a\n") },
            named("parentheses") { filled("subscriber s { where ((((((((((((((\n") },
            named("nots") { filled("subscriber s { where not not not\n") },
            named("a filter without end") { filled("subscriber s { where data.a = 1 or\n") },
            named("a string") { filled("\"a\\\n") }, named("strings without end") { filled("data \"nowhere\n") },
            named("strings that hide braces") { filled("subscriber s { run p { a \"}\n}\n") },
            named("apostrophes") { filled("subscriber s { where a = '}\n}\n") },
        ]
    }()

    /// Statements that are right in themselves, as many as there may be reason for; a fiftieth in a debug build.
    static let long: [(name: String, make: @Sendable () -> [UInt8])] = {
        #if DEBUG
            let count = 2_000
        #else
            let count = 100_000
        #endif
        return [
            named("equal topics") { filled("topic a\n", 40 * count) },
            named("topics in long lines") {
                numbered(count) { "topic t\($0)é\($0 % 3_000 == 2_999 ? "\n" : ";")" }
            },
            named("unread topics in long lines") {
                numbered(count) { "topic t\($0)\($0 % 3_000 == 2_999 ? "\n" : ";")" }
            },
            named("topics with settings") {
                numbered(count) { "topic t.a\($0) { retain 5d; key data.a[\($0)]; dedupe 1m }\n" }
            },
            named("unknown topics") { numbered(count) { "subscriber s\($0) { from t\($0); pull }\n" } },
            named("subscribers") {
                Array("topic orders\n".utf8)
                    + numbered(count) {
                        "subscriber s\($0) {\n  from orders\n  where data.n = \($0)\n  run p { a \($0) }\n}\n"
                    }
            },
            named("subscribers by wildcards") {
                numbered(count) { "topic a.t\($0).z\n" }
                    + numbered(count) { "subscriber s\($0) { from a.t\($0).*, *.t\($0).*; pull }\n" }
            },
            named("wildcards that match nothing") {
                numbered(count) { "topic t\($0).z\n" }
                    + numbered(count) { "subscriber s\($0) { from *.a\($0); pull }\n" }
            },
            named("equal subscribers") { filled("subscriber s { from a; pull }\n", 40 * count) },
            named("tokens") {
                Array("topic a\nsubscriber s { from a; pull }\n".utf8)
                    + numbered(count) { "token \"t\($0)\" secret(\"S\") { publish a; pull s; read }\n" }
            },
            named("lets that refer to each other") { numbered(count) { "let a\($0) = a\($0 + 1)\n" } },
            named("a setting of many names") {
                Array("topic a\nsubscriber s { from a\n run p {\n".utf8) + numbered(count) { "a\($0) 1\n" }
                    + Array("}}".utf8)
            },
            named("tests") {
                Array("topic a\nsubscriber s { from a; pull }\n".utf8)
                    + numbered(count) { "test \"\($0)\" { publish a { data.n \($0) }; expect s }\n" }
            },
            named("an event of many members") {
                Array("topic a\nsubscriber s { from a; pull }\ntest \"t\" { expect s; publish a {\n".utf8)
                    + numbered(count) { "data.n\($0) 1\n" } + Array("}}".utf8)
            },
            named("grants") {
                Array("topic a\nsubscriber s { from a; run p\n".utf8) + numbered(count) { "allow http \"h\($0)\"\n" }
                    + Array("}".utf8)
            },
        ]
    }()

    /// A second each as it is shipped; a debug build is many times slower.
    @Test(arguments: large.indices) func megabytesAreDoneSoon(_ index: Int) {
        #if DEBUG
            takes(.seconds(15), Self.large[index])
        #else
            takes(.seconds(1), Self.large[index])
        #endif
    }

    /// What grows faster than the file takes minutes with so many.
    @Test(arguments: long.indices) func manyStatementsAreDoneSoon(_ index: Int) {
        takes(.seconds(15), Self.long[index])
    }

    private func takes(_ bound: Duration, _ hostile: (name: String, make: @Sendable () -> [UInt8])) {
        let bytes = hostile.make()
        let time = ContinuousClock().measure { check(bytes, "\(hostile.name)") }
        #expect(time < bound, "\(hostile.name)")
        if ProcessInfo.processInfo.environment["SHOW_TIMES"] == "1" { print(hostile.name, bytes.count, time) }
    }

    @Test(arguments: ["topic a\n", "topic a;", "a {"]) func moreStatementsThanAnybodyHasAreRefusedUnread(_ unit: String)
    {
        let compiled = compile(Self.filled(unit, (Limits.routesStatementsMax + 1) * unit.utf8.count))
        #expect(compiled.diagnostics.map(\.code) == [.tooLarge])
        #expect(compiled.diagnostics[0].message.hasPrefix("routes.conf has some 1000001 lines, `;` and blocks"))
    }

    @Test func manyIncludesAreDoneSoon() {
        var sources = MemorySources("include \"conf.d/*.conf\"")
        for number in 0..<20_000 { sources.files["conf.d/\(number).conf"] = Array("topic t\(number)\n".utf8) }
        let time = ContinuousClock().measure {
            let compiled = RouteCompiler.compile("routes.conf", from: sources, strictEnvironment: false)
            #expect(compiled.diagnostics.map(\.code).contains(.tooLarge))
        }
        #expect(time < .seconds(15))
    }

    @Test(arguments: [
        "\"", "data \"", "data \"\\", "data \"\\u{", "data \"\\u{FFFFFFFFF}\"", "test \"a\\", "a [\"", "a env(\"",
    ])
    func textsWithoutEndAreNamed(_ text: String) {
        #expect(!compile(Array(text.utf8)).diagnostics.isEmpty)
        #expect(!compile(Array("\(text)\r\n}\r\n".utf8)).diagnostics.isEmpty)
    }

    @Test func carriageReturnsMoveNoPlace() {
        let unix = String(decoding: Self.shop, as: UTF8.self).replacing("orders", with: "orderz", maxReplacements: 1)
        let found = compile(Array(unix.utf8)).diagnostics.map(\.description)
        #expect(!found.isEmpty)
        #expect(compile(Array(unix.replacing("\n", with: "\r\n").utf8)).diagnostics.map(\.description) == found)
        #expect(compile(Array(("\u{FEFF}" + unix).utf8)).diagnostics.map(\.description) == found)
    }

    @Test func nestingBeyondItsBoundIsOneError() {
        for (first, sign) in [("", "a { "), ("a ", "["), ("a ", "env(")] {
            let text = "topic t\nsubscriber s { from t; run p { \(first)" + String(repeating: sign, count: 100)
            #expect(compile(Array(text.utf8)).diagnostics.contains { $0.code == .tooDeep })
        }
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
