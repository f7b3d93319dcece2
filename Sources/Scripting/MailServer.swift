// SPDX-License-Identifier: Apache-2.0

import CFairlead
package import Events

/// Mail through an SMTP server, by libcurl on a thread of its own. TLS is used where the server offers it, and is
/// needed before a password is sent anywhere but to this machine.
package final class MailServer: MailSender {
    private let url: String
    private let user: String?
    private let password: String?
    private let from: String?
    private let clock: any Clock
    private let timeout: Duration
    private let requiresTLS: Bool
    private let authorities: String?
    private let thread = Lane(name: "mail")

    /// - Parameters:
    ///   - port: 465 means TLS from the start; any other, STARTTLS where offered.
    ///   - authorities: a file of certificates to trust in place of the system's.
    package init(
        host: String, port: Int, user: String?, password: String?, from: String?, clock: any Clock,
        timeout: Duration = .seconds(30), authorities: String? = nil
    ) {
        url = "\(port == 465 ? "smtps" : "smtp")://\(host):\(port)"
        self.user = user
        self.password = password
        self.from = from
        self.clock = clock
        self.timeout = timeout
        self.authorities = authorities
        let isHere = ["localhost", "127.0.0.1", "[::1]"].contains(host)
        requiresTLS = user != nil && !isHere
    }

    deinit {
        thread.close()
    }

    package func send(_ message: MailMessage) async throws(MailFailure) {
        let mail = try ComposedMail(
            message, from: from ?? user.flatMap { $0.contains("@") ? $0 : nil }, at: clock.now())
        let result: Result<Void, MailFailure> = await withCheckedContinuation { continuation in
            thread.submit { continuation.resume(returning: self.send(mail)) }
        }
        try result.get()
    }

    private func send(_ mail: ComposedMail) -> Result<Void, MailFailure> {
        // C strings live until the call is over.
        let texts = [url, user ?? "", password ?? "", mail.sender, authorities ?? ""] + mail.recipients
        let strings = texts.map { text in
            let string = text.utf8CString
            let copy = UnsafeMutableBufferPointer<CChar>.allocate(capacity: string.count)
            _ = copy.initialize(from: string)
            return copy
        }
        defer { for string in strings { string.deallocate() } }
        func pointer(_ index: Int, _ isThere: Bool = true) -> UnsafePointer<CChar>? {
            isThere ? UnsafePointer(strings[index].baseAddress) : nil
        }
        var error = [CChar](repeating: 0, count: 512)
        let recipients = strings[5...].map { UnsafePointer<CChar>?($0.baseAddress!) }
        let status = recipients.withUnsafeBufferPointer { recipients in
            mail.bytes.withUnsafeBufferPointer { bytes in
                var request = fl_mail(
                    url: pointer(0), user: pointer(1, user != nil), password: pointer(2, password != nil),
                    sender: pointer(3), recipients: recipients.baseAddress, recipient_count: recipients.count,
                    message: bytes.baseAddress, message_length: bytes.count,
                    timeout_milliseconds: Int(timeout.milliseconds), require_tls: requiresTLS ? 1 : 0,
                    authorities: pointer(4, authorities != nil))
                return fl_mail_send(&request, &error, error.count)
            }
        }
        if status == 0 { return .success(()) }
        let text = error.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        let message = "\(url): \(text)"
        return .failure(status == 1 ? .refused(message) : .temporary(message))
    }
}
