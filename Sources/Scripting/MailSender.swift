// SPDX-License-Identifier: Apache-2.0

/// Sends mail to the outside.
package protocol MailSender: Sendable {
    /// When this is back the message is handed over: written to the folder, or accepted by the server.
    func send(_ message: MailMessage) async throws(MailFailure)
}

package struct MailMessage: Hashable, Sendable {
    /// Addresses: `ann@example.com` or `Ann <ann@example.com>`.
    package var to: [String]
    package var cc: [String]
    /// nil takes the sender's own default.
    package var from: String?
    package var replyTo: String?
    package var subject: String
    package var text: String?
    package var html: String?
    /// Becomes the Message-ID, so that a message sent again can be told from a new one.
    package var id: String?

    package init(
        to: [String], cc: [String] = [], from: String? = nil, replyTo: String? = nil, subject: String,
        text: String? = nil, html: String? = nil, id: String? = nil
    ) {
        self.to = to
        self.cc = cc
        self.from = from
        self.replyTo = replyTo
        self.subject = subject
        self.text = text
        self.html = html
        self.id = id
    }
}

package enum MailFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The message is wrong and will stay wrong.
    case refused(String)
    /// It may go through later.
    case temporary(String)

    package var description: String {
        switch self {
        case .refused(let message), .temporary(let message): message
        }
    }
}
