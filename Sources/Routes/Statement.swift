// SPDX-License-Identifier: Apache-2.0

import Filtering

/// `keyword arguments { block }`, as written; what it means is the schema's business.
struct Statement {
    var source: SourceText
    var keyword: String
    var range: Range<Int>
    var arguments: [Argument] = []
    var block: Block?
    /// What a `where` line says; nil where it could not be read, which has been reported.
    var filter: Filter?
    /// Whether something about it has been reported, so that nothing should be concluded from what seems missing.
    var isDamaged = false

    var place: Place { source.place(of: range.lowerBound) }

    func related(_ message: String) -> [Diagnostic.Related] {
        [Diagnostic.Related(message, in: source, range)]
    }
}

struct Block {
    var statements: [Statement]
    var open: Range<Int>
    var isDamaged = false
}

extension Statement {
    /// The keyword with the word behind it, where there is one.
    var form: String {
        if case .word(let word) = arguments.first?.value { "\(keyword) \(word)" } else { keyword }
    }
}

struct Argument {
    indirect enum Value {
        case word(String)
        case string(String)
        case call(String, [Argument])
        case list([Argument])
    }

    var value: Value
    var range: Range<Int>
    /// Whether a comma stands before it.
    var followsComma = false
}
