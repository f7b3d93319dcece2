// SPDX-License-Identifier: Apache-2.0

/// `Plugins/types/fairlead.lua`: the API as LuaCATS annotations, for lua-language-server and editors that use it.
package enum LuaAnnotations {
    package static var text: String {
        // The name makes `require "fairlead.test"` find what this file returns; the classes are known everywhere.
        var text = """
            ---@meta fairlead.test

            -- What Fairlead's plugins find, for editors with lua-language-server. Made by `fairlead plugin new`; not to be edited.


            """
        for (index, group) in LuaAPI.groups.enumerated() { text += section(group, "c\(index)") + "\n" }
        let test = LuaAPI.groups.firstIndex { $0.type == "fairlead.Test" }!
        return text + "return c\(test)\n"
    }

    private static func section(_ group: LuaAPI.Group, _ variable: String) -> String {
        var text = comment(group.doc)
        text += "---@class \(group.type)\n"
        for member in group.members {
            guard case .field(let type, let isOptional) = member.kind else { continue }
            text += "---@field \(member.name)\(isOptional ? "?" : "") \(type) \(oneLine(member.doc + notes(member)))\n"
        }
        if let others = group.others { text += "---@field [string] \(others)\n" }
        if group.type == "fairlead.Secret" {
            text += "---@operator concat(string|fairlead.Secret): fairlead.Secret\n"
        }
        text += "local \(variable) = {}\n"
        for member in group.members {
            guard case .function(let parameters, let returns, let isMethod) = member.kind else { continue }
            text += "\n" + comment(member.doc + notes(member))
            if let example = member.example { text += "---\n---```lua\n---\(example)\n---```\n" }
            for parameter in parameters {
                text += "---@param \(parameter.name)\(parameter.isOptional ? "?" : "") \(parameter.type)\n"
            }
            for type in returns { text += "---@return \(type)\n" }
            let names = parameters.map(\.name).joined(separator: ", ")
            text += "function \(variable)\(isMethod ? ":" : ".")\(member.name)(\(names)) end\n"
        }
        return text
    }

    private static func notes(_ member: LuaAPI.Member) -> String {
        member.raises.map { " Raises: \($0)." } ?? ""
    }

    private static func comment(_ text: String) -> String { "---\(oneLine(text))\n" }

    private static func oneLine(_ text: String) -> String {
        String(text.map { $0.isNewline ? " " : $0 })
    }
}
