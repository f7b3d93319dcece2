// SPDX-License-Identifier: Apache-2.0

import CFairlead

/// The release of the Lua library that this process runs, such as 5.4.6.
package struct LuaRelease: Comparable, Sendable, CustomStringConvertible {
    package var numbers: [Int]

    /// Before it, a coroutine's stack could overflow in an error handler, and collections in generational mode could free what
    /// was in use (https://www.lua.org/bugs.html#5.4.3).
    package static let advised = LuaRelease(numbers: [5, 4, 4])

    package static var linked: LuaRelease {
        LuaRelease(in: String(cString: fl_lua_ident())) ?? LuaRelease(numbers: [])
    }

    init(numbers: [Int]) {
        self.numbers = numbers
    }

    /// From a text that says "Lua 5.4.6" somewhere.
    init?(in text: String) {
        let words = text.split(separator: " ")
        guard let at = words.firstIndex(of: "Lua"), at + 1 < words.count else { return nil }
        let numbers = words[at + 1].split(separator: ".").compactMap { Int($0) }
        guard numbers.count == 3 else { return nil }
        self.init(numbers: numbers)
    }

    package static func < (a: Self, b: Self) -> Bool { a.numbers.lexicographicallyPrecedes(b.numbers) }

    package var description: String {
        numbers.isEmpty ? "of unknown release" : numbers.map(String.init).joined(separator: ".")
    }
}
