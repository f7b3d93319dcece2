// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// P8: no Swift frame ever stands above `lua_resume`. It holds as long as only CFairlead calls Lua, nothing of Swift's is
/// ever called from there, and what may raise stands behind a pcall. All three can be read off the source.
struct BoundaryTests {
    private static func sources(_ folder: String, _ suffixes: [String]) -> [(name: String, text: String)] {
        let root = Offenders.repository.appending(path: folder)
        let names = FileManager.default.enumerator(atPath: root.path)?.compactMap { $0 as? String } ?? []
        return names.sorted().filter { name in suffixes.contains { name.hasSuffix($0) } }
            .map { ($0, Offenders.read("\(folder)/\($0)")) }
    }

    @Test func onlyCFairleadCallsLua() throws {
        let swift = Self.sources("Sources", [".swift"])
        #expect(swift.count > 100)
        let calls = try Regex(#"\b(lua_[a-z]|luaL_|lua_State|import CLua)"#)
        for (name, text) in swift {
            for line in text.split(separator: "\n") where !line.drop(while: { $0 == " " }).hasPrefix("//") {
                #expect(line.firstMatch(of: calls) == nil, "\(name): \(line)")
            }
        }
    }

    @Test func theHostIsGivenNoFunctionOfSwifts() throws {
        let header = Offenders.read("Sources/CFairlead/include/fl_lua.h")
        #expect(!header.contains("(*"), "a pointer to a function in fl_lua.h")
        let closures = try Regex(#"@convention\(c\)|@_cdecl|@c\b|withoutActuallyEscaping"#)
        for (name, text) in Self.sources("Sources/Scripting", [".swift"]) {
            #expect(text.firstMatch(of: closures) == nil, "\(name)")
        }
    }

    /// The functions that Swift calls, and the ones that these call outside of a pcall, may use only what can't raise.
    @Test func nothingThatCanRaiseStandsOutsideAPcall() throws {
        // By the Lua 5.4 manual "-", or not where it is used: a string is read as one, a reference is given back.
        let harmless: Set = [
            "lua_newstate", "lua_close", "lua_getextraspace", "lua_sethook", "lua_settop", "lua_pushcfunction",
            "lua_pcall",
            "lua_gc", "lua_type", "lua_tolstring", "luaL_unref",
        ]
        let functions = Self.functions(of: Offenders.read("Sources/CFairlead/lua_run.c"))
        var open = functions.keys.filter { $0.hasPrefix("fl_lua_") } + ["protect"]
        #expect(open.count > 15)
        var seen = Set(open)
        let names = try Regex(#"\b([a-zA-Z_][a-zA-Z_0-9]*)\s*\("#)
        while let name = open.popLast() {
            let body = try #require(functions[name], "\(name)")
            for match in body.matches(of: names) {
                let called = String(match[1].substring ?? "")
                if called.hasPrefix("lua_") || called.hasPrefix("luaL_") {
                    #expect(harmless.contains(called), "\(name) calls \(called) outside of a pcall")
                } else if functions[called] != nil, seen.insert(called).inserted {
                    open.append(called)
                }
            }
        }
        #expect(seen.contains("finish"), "calls are followed")
    }

    /// Bodies by name, of C as it is formatted here: a function ends with a brace in the first column.
    private static func functions(of text: String) -> [String: String] {
        var functions: [String: String] = [:]
        var name: String?
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line == "}" {
                name = nil
            } else if let current = name {
                functions[current, default: ""] += line + "\n"
            } else if let paren = line.firstIndex(of: "("), line.first?.isLetter == true, !line.hasSuffix(";") {
                let found = String(line[..<paren].split(whereSeparator: { " *".contains($0) }).last ?? "")
                let rest = line[paren...]
                if let brace = rest.firstIndex(of: "{"), rest.hasSuffix("}") {
                    functions[found] = String(rest[brace...])
                } else {
                    name = found
                    functions[found] = ""
                }
            }
        }
        return functions
    }
}
