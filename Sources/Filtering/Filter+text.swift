// SPDX-License-Identifier: Apache-2.0

package import Events

extension Expression {
    /// With as few parentheses as the grammar allows, but those that tell `and` from `or` always.
    package var canonical: String {
        switch self {
        case .constant(let value): value ? "true" : "false"
        case .and(let terms): terms.map { $0.canonical(inside: .and) }.joined(separator: " and ")
        case .or(let terms): terms.map { $0.canonical(inside: .or) }.joined(separator: " or ")
        case .not(let term): "not \(term.canonical(inside: .not))"
        case .predicate(let predicate): predicate.canonical
        }
    }

    private enum Parent { case and, or, not }

    private func canonical(inside parent: Parent) -> String {
        switch self {
        case .and, .or: "(\(canonical))"
        case .predicate(.compare), .predicate(.isIn), .predicate(.like), .predicate(.affix), .predicate(.isKind):
            // `not a = b` reads differently in CESQL.
            parent == .not && !isBarePath ? "(\(canonical))" : canonical
        default: canonical
        }
    }

    private var isBarePath: Bool {
        if case .predicate(.compare(.path(let path), .equal, .literal(.boolean(true)))) = self {
            path.mayStandAlone
        } else {
            false
        }
    }
}

extension Predicate {
    package var canonical: String {
        switch self {
        case .compare(.path(let path), .equal, .literal(.boolean(true))) where path.mayStandAlone: path.canonical
        case .compare(let left, let comparison, let right):
            "\(left.canonical) \(comparison.canonical) \(right.canonical)"
        case .isIn(let operand, let list):
            "\(operand.canonical) in (\(list.map(\.canonical).joined(separator: ", ")))"
        case .like(let operand, let pattern): "\(operand.canonical) like \(quoted(pattern))"
        case .affix(let operand, let affix, let text): "\(operand.canonical) \(affix.canonical) \(quoted(text))"
        case .exists(let path): "exists \(path.canonical)"
        case .isKind(let path, let kind): "\(path.canonical) is \(kind.rawValue)"
        case .cesql(let strict): "cesql \(QuotedText.quote(strict.text))"
        }
    }
}

extension Operand {
    package var canonical: String {
        switch self {
        case .path(let path): path.canonical
        case .call(let function, let path): "\(function.rawValue)(\(path.canonical))"
        case .literal(let literal): literal.canonical
        }
    }
}

extension Path {
    /// Whether the path alone may mean `= true`; attributes that are never true or false are more likely unfinished.
    var mayStandAlone: Bool {
        switch self {
        case .attribute(let name): !["id", "source", "type", "subject"].contains(name)
        case .data: true
        case .topic, .received: false
        }
    }

    package var canonical: String {
        switch self {
        case .attribute(let name):
            FilterParser.isPlainAttribute(name) ? name : "attr[\(quoted(name))]"
        case .data(let path): path.canonical
        case .topic: "meta.topic"
        case .received: "meta.received"
        }
    }
}

extension DataPath {
    /// As a filter or a `key` line says it: `data.items[*].sku`.
    package var canonical: String {
        steps.reduce(into: "data") { text, step in
            switch step {
            case .key(let key): text += FilterParser.isPlainKey(key) ? ".\(key)" : "[\(quoted(key))]"
            case .index(let index): text += "[\(index)]"
            case .every: text += "[*]"
            }
        }
    }
}

extension Literal {
    package var canonical: String {
        switch self {
        case .string(let value): quoted(value)
        case .integer(let value): String(value)
        case .number(let value): value.description
        case .boolean(let value): value ? "true" : "false"
        }
    }
}

extension Comparison {
    package var canonical: String {
        switch self {
        case .equal: "="
        case .notEqual: "!="
        case .less: "<"
        case .lessOrEqual: "<="
        case .greater: ">"
        case .greaterOrEqual: ">="
        }
    }
}

extension Affix {
    package var canonical: String {
        switch self {
        case .startsWith: "startswith"
        case .endsWith: "endswith"
        case .contains: "contains"
        }
    }
}

/// A string as the grammar reads it: inside, the delimiter stands doubled. A backslash counts as an escape before the
/// delimiter alone, so a text that has one before `'` goes into double quotes.
func quoted(_ text: String) -> String {
    let delimiter: Character = text.contains("\\'") ? "\"" : "'"
    var result = String(delimiter)
    for scalar in text.unicodeScalars {
        if Character(scalar) == delimiter { result.append(delimiter) }
        result.unicodeScalars.append(scalar)
    }
    return result + String(delimiter)
}
