// SPDX-License-Identifier: Apache-2.0

import Events

extension Diagnostic {
    /// One object on one line, for editors:
    ///
    ///     {"file":"routes.conf","line":4,"column":8,"endColumn":13,"severity":"error","code":"R034","message":"…",
    ///      "hint":"…","related":[{"file":"routes.conf","line":2,"column":7,"message":"…"}]}
    ///
    /// Lines count from 1. Columns count as editors do: UTF-16 units from 1, `endColumn` one past the last marked one;
    /// ``description`` and ``place`` count Unicode scalars. What has no place has null for each of the four, and what
    /// has no hint has null there.
    package var json: String {
        var text = "{"
        if let place {
            let column = editorColumn(place.column)
            let end = max(editorColumn(endColumn), column + 1)
            text +=
                "\"file\":\(JSONText.quoted(place.file)),\"line\":\(place.line),\"column\":\(column),\"endColumn\":\(end),"
        } else {
            text += #""file":null,"line":null,"column":null,"endColumn":null,"#
        }
        text += "\"severity\":\"\(severity.rawValue)\",\"code\":\"\(code.rawValue)\","
        text += "\"message\":\(JSONText.quoted(message)),\"hint\":\(hint.map(JSONText.quoted) ?? "null"),\"related\":["
        text += related.map { other in
            "{\"file\":\(JSONText.quoted(other.place.file)),\"line\":\(other.place.line),"
                + "\"column\":\(other.editorColumn),\"message\":\(JSONText.quoted(other.message))}"
        }.joined(separator: ",")
        return text + "]}"
    }

    /// `column` counts scalars, and may be one past the line's end.
    private func editorColumn(_ column: Int) -> Int {
        guard let sourceLine else { return max(1, column) }
        let scalars = sourceLine.unicodeScalars
        let before = scalars.prefix(max(0, column - 1))
        return before.reduce(max(1, column - before.count)) { $0 + UTF16.width($1) }
    }
}
