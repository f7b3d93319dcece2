// SPDX-License-Identifier: Apache-2.0

import CFairlead

/// The members of a JSON object that has been checked, as runs of its own bytes. Valid until the next one is made on
/// the same thread, so never kept.
struct JSONMembers {
    let list: UnsafeBufferPointer<fl_json_member>

    /// `at` is where `text` starts in the body, for positions in refusals.
    init(of text: UnsafeRawBufferPointer, index: Int?, at: Int) throws(Failure) {
        var start: UnsafePointer<fl_json_member>?
        var count = 0
        let verdict = fl_json_members(text.asBytes, text.count, &start, &count)
        if verdict.status != FL_JSON_OK { throw EventDecoder.failure(verdict, index: index, at: at) }
        list = UnsafeBufferPointer(start: start, count: count)
    }

    /// What tells an event from plain data.
    var isCloudEvent: Bool { list.contains { $0.role == FL_MEMBER_SPECVERSION.rawValue } }
}
