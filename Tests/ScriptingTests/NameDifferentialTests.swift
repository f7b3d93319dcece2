// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Testing

@testable import Scripting

/// Random programs, in which the check of names finds exactly those places where real Lua finds a global undeclared.
@Suite(.timeLimit(.minutes(1)))
struct NameDifferentialTests {
    @Test func theCheckFindsWhatLuaFinds() async throws {
        let seed = UInt64.random(in: .min ... .max)
        print("seed \(seed)")
        var random = SeededGenerator(state: seed)
        var found = 0
        for _ in 0..<300 {
            var program = RandomProgram(random: random)
            let code = program.make()
            random = program.random
            let harness = try await Harness(code)
            guard await harness.run().outcome == .ack, let json = harness.services.state["failed"] else {
                Issue.record("it doesn't run:\n\(code)")
                return
            }
            let real = Set(try JSONDecoder().decode([Int].self, from: Data(json.utf8)))
            let source = PluginSource(name: "test", files: ["test.lua": Array(code.utf8)], entry: "test.lua")
            let checked = Set(source.unknownNames(settings: nil, in: ["test.lua"]).map(\.line))
            #expect(checked == real, "\(code)")
            found += real.count
        }
        #expect(found > 300, "the programs do have undeclared names")
    }

    /// Whatever the bytes are, following names ends.
    @Test func anythingIsReadToItsEnd() {
        let seed = UInt64.random(in: .min ... .max)
        print("seed \(seed)")
        var random = SeededGenerator(state: seed)
        let words = [
            "local", "function", "end", "(", ")", "{", "}", "[[", "]]", "=", ",", ".", ":", "x", "ctx", "if", "then",
            "else", "for", "in", "do", "return", "'", "\"", "--", "\n", "::", "goto", "repeat", "until", "1e", "\\",
            "é",
        ]
        for _ in 0..<5_000 {
            let code = (0..<Int.random(in: 0..<30, using: &random)).map { _ in words.randomElement(using: &random)! }
                .joined(separator: Bool.random(using: &random) ? " " : "")
            _ = LuaNames(Array(code.utf8))
        }
    }
}

/// Steele, Lea and Flood's SplitMix64.
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Every statement of it runs exactly once, and every name that it reads stands alone on its line.
private struct RandomProgram {
    var random: SeededGenerator
    private var lines: [String] = []

    init(random: SeededGenerator) {
        self.random = random
    }

    mutating func make() -> String {
        lines = [
            "local failed = {}",
            "local function probe(line, read) if not pcall(read) then failed[#failed + 1] = line end return true end",
            "return function(event, ctx)",
        ]
        block(depth: 0)
        lines += ["ctx.state.put('failed', ctx.json.array(failed))", "end"]
        return lines.joined(separator: "\n")
    }

    private mutating func name() -> String { ["a", "b", "c", "d", "e"].randomElement(using: &random)! }

    private mutating func probe() -> String { "probe(\(lines.count + 1), function() return \(name()) end)" }

    private mutating func block(depth: Int) {
        for _ in 0..<Int.random(in: 1...5, using: &random) { statement(depth: depth) }
    }

    private mutating func inside(_ head: String, _ tail: String, _ depth: Int) {
        lines.append(head)
        block(depth: depth + 1)
        lines.append(tail)
    }

    private mutating func statement(depth: Int) {
        switch Int.random(in: 0..<(depth < 4 ? 18 : 7), using: &random) {
        case 0: lines.append("local \(name()) = true")
        case 1: lines.append("local \(name()) <const>, \(name()) = 1, \(probe())")
        case 2, 3, 4: lines.append(probe())
        case 5: lines.append("local _ = { \(name()) = 1, [2] = \(probe()), \"c\"; ('e'):rep(2) } -- a")
        case 6: lines.append("local _ = [==[ a ]] ]==] .. 'b\\'' .. \"\\\"c\" .. 0x1p4 --[[ d ]]")
        case 7: inside("do", "end", depth)
        case 8: inside("if true then", "end", depth)
        case 9: inside("if false then local a, b, c else", "end", depth)
        case 10: inside("if false then local a elseif \(probe()) then", "end", depth)
        case 11: inside("while true do", "break end", depth)
        case 12: inside("for \(name()) = 1, 1 do", "end", depth)
        case 13: inside("for \(name()), \(name()) in pairs({ true }) do", "end", depth)
        case 14:
            lines.append("repeat")
            block(depth: depth + 1)
            lines.append("until \(probe()) or true")
        case 15:
            let function = name()
            inside("do local function \(function)(\(name()))", "end", depth)
            lines.append("\(function)(true) end")
        case 16: inside(";(function(\(name()), ...)", "end)(true)", depth)
        default:
            lines.append("do local object = { a = {} } function object.a:b(\(name()))")
            lines.append("probe(\(lines.count + 1), function() return self end)")
            block(depth: depth + 1)
            lines.append("end object.a:b(1) end")
        }
    }
}
