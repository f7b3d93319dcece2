// SPDX-License-Identifier: Apache-2.0

/// Follows the names of a Lua source that Lua's own compiler has accepted: which are locals, which globals, and what is
/// taken out of which. Knows Lua's grammar (section 9 of the 5.4 manual), all branches alike, and nothing of values.
struct LuaNames {
    /// `ctx.state.get`, wherever it stands.
    struct Use {
        var root: Root
        /// The root's own name first.
        var tokens: [LuaToken]
        /// Whether the last one is called with a colon.
        var isMethod = false
        /// Whether it is set here: `x = 1`, `function x()`.
        var isSet = false
    }

    enum Root: Hashable {
        case global
        case local(Int)
    }

    private(set) var uses: [Use] = []
    /// What each local was made with, where that is a use alone: `local http = ctx.http`.
    private(set) var origins: [Int: Use] = [:]
    /// The names of locals that are parameters of functions.
    private(set) var parameters: [Int: String] = [:]
    /// All names that are made local somewhere.
    private(set) var declared: Set<String> = []
    /// Locals that are set again after they were made.
    private(set) var changed: Set<Int> = []

    private let tokens: [LuaToken]
    private var at = 0
    private var scopes: [[String: Int]] = [[:]]
    private var localCount = 0

    init(_ source: [UInt8]) {
        tokens = LuaTokens.of(source)
        block()
    }

    // MARK: Words

    private var token: LuaToken { tokens[at] }

    private mutating func advance() { if at < tokens.count - 1 { at += 1 } }

    private mutating func take(_ text: String) -> Bool {
        guard token.is(text) else { return false }
        advance()
        return true
    }

    // MARK: Scopes

    private mutating func declare(_ name: String) -> Int {
        localCount += 1
        declared.insert(name)
        scopes[scopes.count - 1][name] = localCount
        return localCount
    }

    private func root(of name: String) -> Root {
        for scope in scopes.reversed() { if let local = scope[name] { return .local(local) } }
        return .global
    }

    private mutating func scoped(_ body: (inout LuaNames) -> Void) {
        scopes.append([:])
        body(&self)
        scopes.removeLast()
    }

    // MARK: Statements

    private mutating func block() {
        while token.kind != .end, !["end", "else", "elseif", "until"].contains(where: { token.is($0) }) {
            let before = at
            statement()
            // A source that isn't Lua after all ends here instead of never.
            if at == before { return }
        }
    }

    private mutating func scopedBlock() { scoped { $0.block() } }

    private mutating func statement() {
        if take(";") || take("break") { return }
        if take("goto") { return advance() }
        if take("::") {
            advance()
            _ = take("::")
            return
        }
        if take("do") {
            scopedBlock()
            _ = take("end")
        } else if take("while") {
            expression()
            _ = take("do")
            scopedBlock()
            _ = take("end")
        } else if take("repeat") {
            // The condition sees the block's locals.
            scoped { names in
                names.block()
                if names.take("until") { names.expression() }
            }
        } else if take("if") {
            ifStatement()
        } else if take("for") {
            forStatement()
        } else if take("function") {
            functionStatement()
        } else if take("local") {
            localStatement()
        } else if take("return") {
            if !token.is(";"), !token.is("end"), !token.is("else"), !token.is("elseif"), !token.is("until"),
                token.kind != .end
            {
                expressions()
            }
            _ = take(";")
        } else {
            assignmentOrCall()
        }
    }

    private mutating func ifStatement() {
        expression()
        _ = take("then")
        scopedBlock()
        while take("elseif") {
            expression()
            _ = take("then")
            scopedBlock()
        }
        if take("else") { scopedBlock() }
        _ = take("end")
    }

    private mutating func forStatement() {
        var names = [token.text]
        advance()
        while take(",") {
            names.append(token.text)
            advance()
        }
        if !take("=") { _ = take("in") }
        expressions()
        _ = take("do")
        scoped { scope in
            for name in names { _ = scope.declare(name) }
            scope.block()
        }
        _ = take("end")
    }

    private mutating func functionStatement() {
        var use = Use(root: root(of: token.text), tokens: [token])
        advance()
        var isMethod = false
        while token.is(".") || token.is(":") {
            isMethod = token.is(":")
            advance()
            use.tokens.append(token)
            advance()
        }
        set(use)
        functionBody(isMethod: isMethod)
    }

    private mutating func localStatement() {
        if take("function") {
            _ = declare(token.text)
            advance()
            functionBody(isMethod: false)
            return
        }
        var names: [String] = []
        repeat {
            names.append(token.text)
            advance()
            if take("<") {
                advance()
                _ = take(">")
            }
        } while take(",")
        let made = take("=") ? expressions() : []
        for (index, name) in names.enumerated() {
            let local = declare(name)
            if index < made.count, let use = made[index] { origins[local] = use }
        }
    }

    private mutating func assignmentOrCall() {
        var targets: [Use?] = []
        repeat { targets.append(suffixed(isTarget: true)) } while take(",")
        let isSet = take("=")
        if isSet { expressions() }
        for case let target? in targets { if isSet { set(target) } else { uses.append(target) } }
    }

    /// Of `a.b.c = 1`, `a.b` is read and a member of it set.
    private mutating func set(_ use: Use) {
        var use = use
        if use.tokens.count == 1 {
            if case .local(let local) = use.root { changed.insert(local) }
            use.isSet = true
        } else {
            use.tokens.removeLast()
        }
        uses.append(use)
    }

    private mutating func functionBody(isMethod: Bool) {
        scoped { names in
            if isMethod { _ = names.declare("self") }
            _ = names.take("(")
            while names.token.kind != .end, !names.take(")") {
                if names.token.kind == .name {
                    let name = names.token.text
                    names.parameters[names.declare(name)] = name
                }
                names.advance()
            }
            names.block()
            _ = names.take("end")
        }
    }

    // MARK: Expressions

    /// For each the use that it is, where it is nothing more.
    @discardableResult
    private mutating func expressions() -> [Use?] {
        var all = [expression()]
        while take(",") { all.append(expression()) }
        return all
    }

    private static let unary = ["not", "-", "#", "~"]
    private static let binary = [
        "+", "-", "*", "/", "//", "^", "%", "&", "~", "|", ">>", "<<", "..", "<", "<=", ">", ">=", "==", "~=", "and",
        "or",
    ]

    @discardableResult
    private mutating func expression() -> Use? {
        var alone = true
        var use: Use?
        while true {
            while Self.unary.contains(where: { token.is($0) }) {
                alone = false
                advance()
            }
            use = operand()
            guard Self.binary.contains(where: { token.is($0) }) else { break }
            alone = false
            advance()
        }
        return alone ? use : nil
    }

    private mutating func operand() -> Use? {
        if token.kind == .literal || ["nil", "true", "false", "..."].contains(where: { token.is($0) }) {
            advance()
            return nil
        }
        if take("function") {
            functionBody(isMethod: false)
            return nil
        }
        if token.is("{") {
            table()
            return nil
        }
        return suffixed(isTarget: false)
    }

    private mutating func table() {
        advance()
        while token.kind != .end, !take("}") {
            if take("[") {
                expression()
                _ = take("]")
                _ = take("=")
            } else if token.kind == .name, tokens[at + 1].is("=") {
                advance()
                advance()
            }
            let before = at
            expression()
            if !take(","), !take(";"), !token.is("}"), at == before { return }
        }
    }

    /// A name or an expression in brackets, with what is taken out of it or called. Reads are noted here, but for the
    /// one of a target, which may be set.
    private mutating func suffixed(isTarget: Bool) -> Use? {
        var use: Use?
        if take("(") {
            expression()
            _ = take(")")
        } else if token.kind == .name {
            use = Use(root: root(of: token.text), tokens: [token])
            advance()
        } else {
            return nil
        }
        func note(_ names: inout LuaNames, isMethod: Bool = false) {
            guard var found = use else { return }
            found.isMethod = isMethod
            names.uses.append(found)
            use = nil
        }
        while true {
            if take(".") {
                use?.tokens.append(token)
                advance()
            } else if take("[") {
                note(&self)
                expression()
                _ = take("]")
            } else if take(":") {
                use?.tokens.append(token)
                advance()
                note(&self, isMethod: true)
                arguments()
            } else if token.is("(") || token.is("{") || token.kind == .literal && isString {
                note(&self)
                arguments()
            } else {
                break
            }
        }
        if !isTarget, let use { uses.append(use) }
        return use
    }

    private var isString: Bool { token.text.first.map { $0 == "\"" || $0 == "'" || $0 == "[" } ?? false }

    private mutating func arguments() {
        if take("(") {
            if !token.is(")") { expressions() }
            _ = take(")")
        } else if token.is("{") {
            table()
        } else {
            advance()
        }
    }
}
