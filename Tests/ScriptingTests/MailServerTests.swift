// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Glibc
import Testing

@testable import Scripting

/// Against a real SMTP conversation over a socket.
@Suite(.timeLimit(.minutes(1)), .enabled(if: SMTPServer.isAvailable, "python3 is not installed"))
struct MailServerTests {
    private let message = MailMessage(
        to: ["ann@example.org", "Bob <bob@example.org>"], cc: ["c@example.org"], subject: "Zamówienie",
        text: "Hello\n.\n..dots", id: "id-1")

    private func sender(
        _ server: SMTPServer, host: String = "127.0.0.1", user: String? = nil, password: String? = nil,
        authorities: String? = nil
    ) -> MailServer {
        MailServer(
            host: host, port: server.port, user: user, password: password, from: "Shop <shop@example.com>",
            clock: FixedClock(), timeout: .seconds(10), authorities: authorities)
    }

    @Test func aMessageReachesTheServerWholeWithItsEnvelope() async throws {
        let server = try SMTPServer()
        defer { server.stop() }
        try await sender(server).send(message)
        let received = try server.nextMessage()
        #expect(received.sender == "shop@example.com")
        #expect(received.recipients == ["ann@example.org", "bob@example.org", "c@example.org"])
        #expect(received.text.contains("Subject: =?UTF-8?B?"))
        #expect(received.text.contains(Base64.encode(Array("Hello\n.\n..dots".utf8))))
        #expect(received.user == "" && !received.tls)
    }

    @Test func aUserIsLoggedIn() async throws {
        let server = try SMTPServer()
        defer { server.stop() }
        try await sender(server, user: "shop", password: "right").send(message)
        #expect(try server.nextMessage().user == "shop")
        let failure = await #expect(throws: MailFailure.self) {
            try await sender(server, user: "shop", password: "wrong").send(message)
        }
        guard case .temporary(let text) = failure else {
            Issue.record("a wrong password loses mail")
            return
        }
        #expect(!text.contains("wrong"))
    }

    @Test(arguments: [("refuse@example.org", true, 550), ("busy@example.org", false, 451)])
    func theServersAnswerDecidesWhetherItMayPassLater(_ address: String, _ isFinal: Bool, _ code: Int) async throws {
        let server = try SMTPServer()
        defer { server.stop() }
        let failure = await #expect(throws: MailFailure.self) {
            try await sender(server).send(MailMessage(to: [address], subject: "s", text: "t"))
        }
        let text = try #require(failure).description
        #expect(text.contains("smtp://127.0.0.1:\(server.port)") && text.contains("\(code)"), "\(text)")
        #expect(failure == (isFinal ? .refused(text) : .temporary(text)))
    }

    @Test func aServerThatIsNotThereIsATemporaryFailure() async throws {
        let mail = MailServer(host: "127.0.0.1", port: 1, user: nil, password: nil, from: "a@b", clock: FixedClock())
        let failure = await #expect(throws: MailFailure.self) { try await mail.send(message) }
        guard case .temporary = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
    }

    @Test(.enabled(if: SMTPServer.canMakeCertificates, "openssl is not installed"))
    func tlsIsUsedWhereOfferedAndTheCertificateIsChecked() async throws {
        let certificate = try SMTPServer.makeCertificate()
        defer { try? FileManager.default.removeItem(atPath: certificate) }
        let server = try SMTPServer(certificate: certificate)
        defer { server.stop() }
        try await sender(server, host: "localhost", authorities: certificate).send(message)
        #expect(try server.nextMessage().tls)
        let failure = await #expect(throws: MailFailure.self) {
            try await sender(server, host: "localhost").send(message)
        }
        #expect(failure?.description.contains("certificate") == true)
    }

    @Test func aPasswordIsNotSentToAnotherMachineWithoutTLS() async throws {
        let server = try SMTPServer()
        defer { server.stop() }
        // This machine, under a name that isn't taken for it.
        let failure = await #expect(throws: MailFailure.self) {
            try await sender(server, host: "127.0.0.2", user: "shop", password: "right").send(message)
        }
        #expect(failure != nil)
    }
}

/// A small SMTP server of Python's, as a process of its own.
final class SMTPServer {
    struct Received: Decodable {
        var sender: String
        var recipients: [String]
        var text: String
        var user: String
        var tls: Bool
    }

    private(set) var port: Int
    private let process = Process()
    private let output = Pipe()
    private var buffer = Data()

    static let isAvailable = find("python3") != nil
    static let canMakeCertificates = find("openssl") != nil

    private static func find(_ program: String) -> String? {
        (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(program)" }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
    }

    /// A self-signed certificate for localhost with its key, in one file.
    static func makeCertificate() throws -> String {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("smtp-\(UUID()).pem").path
        let openssl = Process()
        openssl.executableURL = URL(fileURLWithPath: find("openssl")!)
        openssl.arguments = [
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj",
            "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", path + ".key", "-out", path,
        ]
        openssl.standardError = FileHandle.nullDevice
        try openssl.run()
        openssl.waitUntilExit()
        var both = try Data(contentsOf: URL(fileURLWithPath: path))
        both.append(try Data(contentsOf: URL(fileURLWithPath: path + ".key")))
        try both.write(to: URL(fileURLWithPath: path))
        try FileManager.default.removeItem(atPath: path + ".key")
        return path
    }

    init(certificate: String? = nil) throws {
        process.executableURL = URL(fileURLWithPath: Self.find("python3")!)
        process.arguments = ["-u", "-c", Self.script, certificate ?? ""]
        process.standardOutput = output
        try process.run()
        port = 0
        port = Int(try line()) ?? 0
    }

    func stop() {
        // Started from a thread that blocks signals, it takes no other.
        kill(process.processIdentifier, SIGKILL)
    }

    func nextMessage() throws -> Received {
        try JSONDecoder().decode(Received.self, from: Data(try line().utf8))
    }

    private func line() throws -> String {
        while true {
            if let end = buffer.firstIndex(of: 0x0A) {
                let line = String(decoding: buffer[..<end], as: UTF8.self)
                buffer = Data(buffer[buffer.index(after: end)...])
                return line
            }
            let more = output.fileHandleForReading.availableData
            try #require(!more.isEmpty, "the server has ended")
            buffer.append(more)
        }
    }

    private static let script = """
        import base64, json, socket, ssl, sys, threading

        def serve(connection):
            state = dict(sender="", recipients=[], text="", user="", tls=False)
            file = connection.makefile("rb")
            def say(text):
                connection.sendall(text.encode() + b"\\r\\n")
            say("220 test ready")
            while True:
                line = file.readline().decode().rstrip("\\r\\n")
                word = line.split(" ")[0].upper()
                if word in ("EHLO", "HELO"):
                    tls = "250-STARTTLS\\r\\n" if sys.argv[1] and not state["tls"] else ""
                    say("250-test\\r\\n" + tls + "250 AUTH PLAIN")
                elif word == "STARTTLS":
                    say("220 go")
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(sys.argv[1])
                    connection = context.wrap_socket(connection, server_side=True)
                    file = connection.makefile("rb")
                    state["tls"] = True
                elif word == "AUTH":
                    parts = line.split(" ")
                    if len(parts) < 3:
                        say("334 ")
                        parts.append(file.readline().decode().strip())
                    _, user, password = base64.b64decode(parts[2]).decode().split("\\0")
                    if password == "right":
                        state["user"] = user
                        say("235 welcome")
                    else:
                        say("535 no")
                elif word == "MAIL":
                    state["sender"] = line.split("<")[1].split(">")[0]
                    say("250 ok")
                elif word == "RCPT":
                    address = line.split("<")[1].split(">")[0]
                    if address.startswith("refuse"):
                        say("550 no such user")
                    elif address.startswith("busy"):
                        say("451 later")
                    else:
                        state["recipients"].append(address)
                        say("250 ok")
                elif word == "DATA":
                    say("354 go on")
                    lines = []
                    while True:
                        line = file.readline().decode().rstrip("\\r\\n")
                        if line == ".":
                            break
                        lines.append(line[1:] if line.startswith(".") else line)
                    state["text"] = "\\n".join(lines)
                    print(json.dumps(state), flush=True)
                    say("250 taken")
                elif word == "QUIT" or not line:
                    say("221 bye")
                    connection.close()
                    return
                else:
                    say("250 ok")

        def guarded(connection):
            try:
                serve(connection)
            except OSError:
                connection.close()

        listener = socket.socket()
        listener.bind(("", 0))
        listener.listen()
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=guarded, args=(connection,), daemon=True).start()
        """
}
