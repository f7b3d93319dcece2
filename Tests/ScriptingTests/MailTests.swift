// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Testing

@testable import Scripting

@Suite(.timeLimit(.minutes(1)))
struct MailTests {
    private func compose(_ message: MailMessage) throws -> String {
        String(
            decoding: try ComposedMail(message, from: "shop@example.com", at: FixedClock().time).bytes, as: UTF8.self)
    }

    @Test func aMessageIsMIMEWithItsHeaders() throws {
        let text = try compose(
            MailMessage(
                to: ["ann@example.org", "Zażółć <z@example.org>"], cc: ["\"C, D\" <c@example.org>"],
                replyTo: "r@example.org",
                subject: "Dziękujemy za zamówienie nr 5", text: "Zażółć\nmore", id: "id-1"))
        #expect(
            text == """
                Date: Tue, 14 Nov 2023 22:15:00 +0000\r
                Message-ID: <id-1@example.com>\r
                From: shop@example.com\r
                To: ann@example.org,\r
                 =?UTF-8?B?WmHFvMOzxYLEhw==?= <z@example.org>\r
                Cc: "C, D" <c@example.org>\r
                Reply-To: r@example.org\r
                Subject: =?UTF-8?B?RHppxJlrdWplbXkgemEgemFtw7N3aWVuaWUgbnIgNQ==?=\r
                MIME-Version: 1.0\r
                Content-Type: text/plain; charset=utf-8\r
                Content-Transfer-Encoding: base64\r
                \r
                WmHFvMOzxYLEhwptb3Jl\r

                """)
    }

    @Test func noEncodedWordIsLongerThanAllowed() throws {
        let text = try compose(
            MailMessage(
                to: ["a@b"], subject: String(repeating: "ążźéñ", count: 60), text: String(repeating: "x", count: 500)))
        #expect(text.split(separator: "\r\n").allSatisfy { $0.utf8.count <= 90 })
    }

    @Test func textAndHTMLAreAlternatives() throws {
        let text = try compose(MailMessage(to: ["a@b"], subject: "s", text: "t", html: "<p>"))
        #expect(text.contains("Content-Type: multipart/alternative; boundary="))
        #expect(text.contains("text/plain") && text.contains("text/html"))
    }

    @Test(arguments: [
        (MailMessage(to: ["a@b\r\nBcc: x@y"], subject: "s", text: "t"), "to has a line break"),
        (MailMessage(to: ["a@b"], subject: "s\nBcc: x@y", text: "t"), "subject has a line break"),
        (MailMessage(to: ["a@b"], from: "a@b\r\n", subject: "s", text: "t"), "from has a line break"),
        (MailMessage(to: ["a@b"], subject: "s\u{85}x", text: "t"), "subject has a line break"),
        (MailMessage(to: ["nobody"], subject: "s", text: "t"), "to \"nobody\" is no mail address"),
        (MailMessage(to: ["a@b>, <x@y"], subject: "s", text: "t"), "is no mail address"),
        (MailMessage(to: [], subject: "s", text: "t"), "no recipient"),
    ])
    func headerInjectionIsRefused(_ message: MailMessage, _ reason: String) throws {
        let failure = try #require(throws: MailFailure.self) { _ = try compose(message) }
        #expect(failure.description.contains(reason), "\(failure)")
    }

    @Test func aFolderGetsOneWholeFileForEachMessage() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("mail-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let mail = MailFolder(folder + "/in/side", clock: FixedClock())
        for _ in 0..<2 { try await mail.send(MailMessage(to: ["a@b"], subject: "s", text: "t")) }
        let files = try FileManager.default.contentsOfDirectory(atPath: folder + "/in/side")
        #expect(files.count == 2 && files.allSatisfy { $0.hasSuffix(".eml") && !$0.hasPrefix(".") })
        let text = try String(contentsOfFile: folder + "/in/side/" + files[0], encoding: .utf8)
        #expect(text.contains("Subject: s\r\n"))
    }

    @Test func aFolderThatCannotBeWrittenIsATemporaryFailure() async throws {
        let mail = MailFolder("/dev/null/mail", clock: FixedClock())
        await #expect(throws: MailFailure.self) {
            try await mail.send(MailMessage(to: ["a@b"], subject: "s", text: "t"))
        }
    }
}
