// SPDX-License-Identifier: Apache-2.0

/// The reference part of docs/plugins.md.
package enum LuaManual {
    package static var text: String {
        (LuaAPI.groups.map(section) + [globals]).joined(separator: "\n")
    }

    private static func section(_ group: LuaAPI.Group) -> String {
        var text = "### \(title(group))\n\n\(group.doc)\n"
        // Whatever stands above already.
        let inherited = group.type == "fairlead.HTTPRequest" ? Set(LuaAPI.httpOptions.map(\.name)) : []
        let members = group.members.filter { !inherited.contains($0.name) }
        if members.isEmpty { return text }
        text += "\n| | | |\n|---|---|---|\n"
        for member in members {
            text += "| \(code(usage(member, in: group))) | \(result(member)) | \(description(member)) |\n"
        }
        return text
    }

    private static func title(_ group: LuaAPI.Group) -> String {
        let short = String(group.type.drop { $0 != "." }.dropFirst())
        return group.access.map { "`\($0)`" } ?? short
    }

    private static func usage(_ member: LuaAPI.Member, in group: LuaAPI.Group) -> String {
        let isLibrary = group.access != nil
        switch member.kind {
        case .field: return isLibrary ? "\(group.access!).\(member.name)" : member.name
        case .function(let parameters, _, let isMethod):
            let required = parameters.prefix { !$0.isOptional }.map(\.name).joined(separator: ", ")
            let optional = parameters.drop { !$0.isOptional }.map(\.name)
            var list = required
            for name in optional { list += list.isEmpty ? "[\(name)" : " [, \(name)" }
            list += String(repeating: "]", count: optional.count)
            return (group.access.map { $0 + (isMethod ? ":" : ".") } ?? "") + "\(member.name)(\(list))"
        }
    }

    private static func result(_ member: LuaAPI.Member) -> String {
        switch member.kind {
        case .field(let type, let isOptional): return code(short(type)) + (isOptional ? ", optional" : "")
        case .function(_, let returns, _):
            return returns.isEmpty ? "" : "→ " + code(returns.map(short).joined(separator: ", "))
        }
    }

    private static func short(_ type: String) -> String { type.replacing("fairlead.", with: "") }

    private static func description(_ member: LuaAPI.Member) -> String {
        var text = member.doc
        if let raises = member.raises { text += " *Raises:* \(raises)." }
        if let example = member.example { text += " \(code(example))" }
        return text
    }

    private static var globals: String {
        let plain = LuaAPI.globals.filter(\.members.isEmpty).map { code($0.name) }.joined(separator: ", ")
        var text = """
            ### Globals

            Lua 5.4's own, without what reaches the machine. Any other global is an error where it is read or set.

            \(plain)

            | library | |
            |---|---|

            """
        for library in LuaAPI.globals where !library.members.isEmpty {
            text += "| `\(library.name)` | \(library.members.map(code).joined(separator: ", ")) |\n"
        }
        return text
    }

    /// `|` would end a table's cell even within code.
    private static func code(_ text: String) -> String { "`\(text.replacing("|", with: "\\|"))`" }
}
