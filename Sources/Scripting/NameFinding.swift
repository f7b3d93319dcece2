// SPDX-License-Identifier: Apache-2.0

import Events

/// A name in a plugin's files that means nothing, found without running anything.
package struct NameFinding: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        /// Raises an error wherever it is reached.
        case global
        /// Of `ctx` or of a library: nil, or an error.
        case member
        /// Of the event: always nil.
        case field
    }

    package var kind: Kind
    /// `Plugins/slack.lua`
    package var file: String
    package var line: Int
    package var column: Int
    package var length: Int
    package var message: String
    package var remedy: String?
}

extension PluginSource {
    /// Looks through all files that the plugin sees, on all their branches.
    ///
    /// - Parameter settings: those that the plugin declares; nil where it takes any.
    /// - Parameter files: which files; those whose syntax is wrong had better not be among them.
    func unknownNames(settings: [String]?, in files: [String]) -> [NameFinding] {
        let checks = files.map { path in
            NameCheck(file: Self.chunkName(path), source: self.files[path] ?? [], settings: settings)
        }
        // Whoever takes `_G` in hand may have put globals there.
        let areGlobalsKnown = !checks.contains(where: \.usesGlobalTable)
        return checks.flatMap(\.findings).filter { areGlobalsKnown || $0.kind != .global }
    }
}

private struct NameCheck {
    private let file: String
    private let names: LuaNames
    private let settings: [String]?
    private var handlerParameters: [Int: LuaAPI.Group] = [:]
    private(set) var findings: [NameFinding] = []

    var usesGlobalTable: Bool { names.uses.contains { $0.root == .global && $0.tokens[0].text == "_G" } }

    private static let globals = Dictionary(uniqueKeysWithValues: LuaAPI.globals.map { ($0.name, $0.members) })

    init(file: String, source: [UInt8], settings: [String]?) {
        self.file = file
        self.settings = settings
        names = LuaNames(source)
        // By convention, which all of the manual follows: a parameter of this name is this.
        for (local, name) in names.parameters where !names.changed.contains(local) {
            if name == "ctx" { handlerParameters[local] = LuaAPI.context }
            if name == "event" { handlerParameters[local] = LuaAPI.event }
        }
        // A file that makes its own environment knows what its globals are.
        let hasOwnEnvironment = names.declared.contains("_ENV") || names.uses.contains { $0.tokens[0].text == "_ENV" }
        for use in names.uses {
            switch use.root {
            case .global: if !hasOwnEnvironment { checkGlobal(use) }
            case .local(let local): check(use, of: local)
            }
        }
        findings.sort { ($0.line, $0.column) < ($1.line, $1.column) }
    }

    private mutating func add(_ kind: NameFinding.Kind, _ token: LuaToken, _ message: String, _ remedy: String?) {
        findings.append(
            NameFinding(
                kind: kind, file: file, line: token.line, column: token.column, length: token.text.count,
                message: message, remedy: remedy))
    }

    private mutating func checkGlobal(_ use: LuaNames.Use) {
        let token = use.tokens[0]
        let name = token.text
        guard let members = Self.globals[name] else {
            if use.isSet {
                return add(.global, token, "undeclared global \"\(name)\" is set", "write `local \(name)`")
            }
            if let absent = LuaAPI.absentGlobals.first(where: { $0.name == name }) {
                return add(.global, token, "\"\(name)\" is not available as a global", absent.remedy)
            }
            // Any name of a letter or two is near to any other.
            let others = Self.globals.keys.sorted() + names.declared.subtracting([name]).sorted()
            let near = name.utf8.count > 2 ? name.nearest(of: others) : nil
            return add(
                .global, token, "undeclared global \"\(name)\"",
                near.map { "did you mean \"\($0)\"?" } ?? "declare it with `local` before it is used")
        }
        guard !members.isEmpty, use.tokens.count > 1 else { return }
        let member = use.tokens[1]
        let isOld = name == "math" && LuaAPI.oldMath.contains(member.text)
        guard !members.contains(member.text), !isOld else { return }
        let near = member.text.nearest(of: members).map { "did you mean \"\(name).\($0)\"?" }
        add(
            .member, member, "\"\(name)\" has no \"\(member.text)\" in plugins",
            near ?? "it has \(members.joined(separator: ", "))")
    }

    private mutating func check(_ use: LuaNames.Use, of local: Int) {
        guard let (group, path) = meaning(of: local) else { return }
        walk(group, path, use.tokens.dropFirst(), isMethod: use.isMethod)
    }

    /// What a local stands for: `ctx`, or what was taken out of it.
    private func meaning(of local: Int) -> (group: LuaAPI.Group, path: String)? {
        if let group = handlerParameters[local] { return (group, group.access!) }
        guard let origin = names.origins[local], !origin.isMethod, !names.changed.contains(local),
            case .local(let root) = origin.root, var (group, path) = meaning(of: root)
        else { return nil }
        for token in origin.tokens.dropFirst() {
            guard let member = group[token.text], let library = LuaAPI.library(member) else { return nil }
            group = library
            path += ".\(token.text)"
        }
        return (group, path)
    }

    private mutating func walk(
        _ group: LuaAPI.Group, _ path: String, _ tokens: ArraySlice<LuaToken>, isMethod: Bool
    ) {
        guard let token = tokens.first else { return }
        let name = token.text
        guard let member = group[name] else {
            if group.type == LuaAPI.event.type { return checkEventField(token) }
            let near = name.nearest(of: group.names).map { "did you mean \"\(path).\($0)\"?" }
            return add(
                .member, token, "\"\(path)\" has no \"\(name)\"",
                near ?? "it has \(group.names.joined(separator: ", "))")
        }
        if let library = LuaAPI.library(member) {
            return walk(library, "\(path).\(name)", tokens.dropFirst(), isMethod: isMethod)
        }
        if isMethod, tokens.count == 1, case .function = member.kind {
            return add(
                .member, token, "\"\(path).\(name)\" is called with a colon", "write \(path).\(name)(…) with a dot")
        }
        if group.type == LuaAPI.context.type, name == "config", tokens.count > 1, let settings {
            let setting = tokens[tokens.startIndex + 1]
            guard !settings.contains(setting.text) else { return }
            let near = setting.text.nearest(of: settings).map { "did you mean \"\($0)\"?" }
            add(
                .member, setting, "the plugin's config declares no \"\(setting.text)\"",
                near ?? "add \(setting.text) = { type = \"string\" } to it")
        }
    }

    /// An attribute may have any name of lower-case letters and digits; nothing else is ever there.
    private mutating func checkEventField(_ token: LuaToken) {
        let isName = token.text.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) }
        guard !isName || token.text.utf8.count > Limits.attributeNameBytesMax else { return }
        add(
            .field, token, "an event never has a field \"\(token.text)\"",
            "attributes have lower-case letters and digits only; did you mean \"event.data.\(token.text)\"?")
    }
}
