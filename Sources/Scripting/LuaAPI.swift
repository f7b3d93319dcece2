// SPDX-License-Identifier: Apache-2.0

/// What plugins and their tests find: one table, from which the reference in docs/plugins.md, the annotations for editors
/// and the checks of names are made. A test compares it with a real interpreter.
package enum LuaAPI {
    /// A table or value of the API, with all that is in it.
    package struct Group: Sendable {
        /// As annotations call its type: `fairlead.HTTP`.
        var type: String
        /// How a plugin reaches it (`ctx.http`); nil for values that are passed around.
        var access: String?
        var doc: String
        var members: [Member]
        /// Whether other names may be in it as well, and of which type they are then.
        var others: String?

        init(_ type: String, access: String? = nil, _ doc: String, others: String? = nil, _ members: [Member]) {
            self.type = type
            self.access = access
            self.doc = doc
            self.others = others
            self.members = members
        }

        subscript(name: String) -> Member? { members.first { $0.name == name } }

        var names: [String] { members.map(\.name) }
    }

    package struct Member: Sendable {
        var name: String
        var kind: Kind
        var doc: String
        /// When it raises an error; nil where it doesn't, wrong types of arguments aside.
        var raises: String?
        /// Lua, on one line.
        var example: String?

        enum Kind: Sendable {
            case field(type: String, isOptional: Bool)
            /// `isMethod`: called with a colon.
            case function(parameters: [Parameter], returns: [String], isMethod: Bool)
        }
    }

    struct Parameter: Sendable {
        var name: String
        var type: String
        var isOptional: Bool

        init(_ name: String, _ type: String, optional: Bool = false) {
            self.name = name
            self.type = type
            isOptional = optional
        }
    }

    static func field(
        _ name: String, _ type: String, _ doc: String, optional: Bool = false, raises: String? = nil,
        example: String? = nil
    ) -> Member {
        Member(name: name, kind: .field(type: type, isOptional: optional), doc: doc, raises: raises, example: example)
    }

    static func function(
        _ name: String, _ parameters: [Parameter] = [], returns: [String] = [], _ doc: String, raises: String? = nil,
        example: String? = nil
    ) -> Member {
        Member(
            name: name, kind: .function(parameters: parameters, returns: returns, isMethod: false), doc: doc,
            raises: raises, example: example)
    }

    static func method(
        _ name: String, _ parameters: [Parameter] = [], returns: [String] = [], _ doc: String, raises: String? = nil,
        example: String? = nil
    ) -> Member {
        Member(
            name: name, kind: .function(parameters: parameters, returns: returns, isMethod: true), doc: doc,
            raises: raises, example: example)
    }

    package static let groups: [Group] =
        [event, context] + libraries + values + [plugin, requirements, settingField] + test

    static func group(_ type: String) -> Group? { groups.first { $0.type == type } }

    /// What `ctx.http` and the like are; nil where the member is no library.
    static func library(_ member: Member) -> Group? {
        guard case .field(let type, _) = member.kind, let group = group(type), group.access != nil else { return nil }
        return group
    }
}
