// SPDX-License-Identifier: Apache-2.0

extension Schema {
    /// Whether a line without indentation that begins with `word`, within an open block of kind `context`, is meant for
    /// the file's top level, so that the block was not closed.
    static func belongsToTopLevel(_ word: String, notTo context: BlockKind) -> Bool {
        guard let keyword = keyword(word, in: .top), keyword.block != nil || keyword.isTopLevelOnly else {
            return false
        }
        if Schema.keyword(word, in: context) == nil { return true }
        // `retry` stands in both: at the top level it has a name and a block.
        return context.isFree
    }
}
