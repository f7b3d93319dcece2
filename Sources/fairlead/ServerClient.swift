// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOFoundationCompat
import NIOHTTP1
import NIOSSL
import Routes
import Synchronization

/// Where the running server is; the same for every command that talks to one.
struct ServerOptions: ParsableArguments {
    @Option(help: "The server's address, such as http://127.0.0.1:8080. Default: what routes.conf listens on.")
    var server: String?

    @Option(help: "The routes.conf that says where the server listens.", completion: .routes)
    var config = "routes.conf"

    @Option(help: "The token to send, where routes.conf has tokens. Default: $FAIRLEAD_TOKEN.")
    var token: String?

    @Flag(help: "Print what the server answered, as JSON.")
    var json = false

    var client: ServerClient {
        let settings = ListenLine.settings(in: config)
        let host = settings.host.contains(":") ? "[\(settings.host)]" : settings.host
        return ServerClient(
            base: server ?? "\(settings.tls == nil ? "http" : "https")://\(host):\(settings.port)",
            token: token ?? ProcessInfo.processInfo.environment["FAIRLEAD_TOKEN"],
            certificate: server == nil
                ? settings.tls.map { GenerationBuilder.path($0.certificate, besides: config) } : nil)
    }
}

/// Talks to a running server over its HTTP API.
struct ServerClient {
    let base: String
    private let token: String?
    private let http: HTTPClient

    /// - Parameter certificate: that of the server, as a PEM file beside its routes.conf; it is then trusted whatever name
    ///   it is for. nil trusts what the system does.
    init(base: String, token: String? = nil, certificate: String? = nil) {
        self.base = base
        self.token = token
        guard let certificate else {
            http = Self.plain
            return
        }
        var configuration = Self.configuration
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .file(certificate)
        tls.certificateVerification = .noHostnameVerification
        configuration.tlsConfiguration = tls
        http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        // A command ends with its process.
        Self.kept.withLock { $0.append(http) }
    }

    private static let kept = Mutex<[HTTPClient]>([])

    /// Says at once that nobody listens: the client's own default is to try again until its timeout.
    private static var configuration: HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration()
        configuration.connectionPool.retryConnectionEstablishment = false
        return configuration
    }

    private static let plain = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)

    struct Answer {
        var status: Int
        var body: Data
        /// The path of the next page (RFC 8288 `rel="next"`).
        var next: String?

        func decoded<Value: Decodable>(_ type: Value.Type) throws -> Value {
            try JSONDecoder().decode(type, from: body)
        }
    }

    /// Longer than any wait a command asks for, shorter than a person's patience with a server that hangs.
    static let timeout: TimeAmount = .seconds(90)

    /// Bytes of an answer that a command takes.
    static let answerBytesMax = 256 << 20

    /// Prints why and ends the command where the server can't be reached or refuses.
    func send(
        _ method: String, _ path: String, body: HTTPClientRequest.Body? = nil, contentType: String = "application/json"
    ) async throws -> Answer {
        let answer = try await sendUnchecked(method, path, body: body, contentType: contentType)
        guard answer.status < 300 else { throw complain(answer) }
        return answer
    }

    func sendUnchecked(
        _ method: String, _ path: String, body: HTTPClientRequest.Body? = nil, contentType: String = "application/json",
        timeout: TimeAmount = Self.timeout
    ) async throws -> Answer {
        var request = HTTPClientRequest(url: base + path)
        request.method = .init(rawValue: method)
        if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        if let body {
            request.body = body
            request.headers.add(name: "Content-Type", value: contentType)
        }
        do {
            let response = try await http.execute(request, timeout: timeout)
            let body = try await response.body.collect(upTo: Self.answerBytesMax)
            let next = response.headers["Link"].first { $0.contains("rel=\"next\"") }
                .flatMap { $0.split(separator: ">").first }.map { String($0.dropFirst()) }
            return Answer(status: Int(response.status.code), body: Data(buffer: body), next: next)
        } catch {
            // Of what NIO says of a connection, who runs a command needs the end.
            let isRefused = "\(error)".contains("Connection refused")
            Console.complain(
                "no answer from \(base) (\(isRefused ? "connection refused" : "\(error)")); "
                    + "is the server running? `fairlead serve` starts it, "
                    + "--server names another address")
            throw ExitCode.failure
        }
    }

    /// The status of an answer; nil where nobody answers in HTTP.
    func probe(_ path: String) async -> Int? {
        let response = try? await http.execute(HTTPClientRequest(url: base + path), timeout: .seconds(5))
        return response.map { Int($0.status.code) }
    }

    /// Shows what is wrong with a configuration that the server refused.
    func showRefusal(_ answer: Answer, _ summary: String) {
        struct Refusal: Decodable {
            var diagnostics: [String]?
        }
        for diagnostic in (try? answer.decoded(Refusal.self))?.diagnostics ?? [] { Console.complain(diagnostic) }
        Console.complain(summary)
    }

    /// Tells the user what the server refused, in the server's words.
    func complain(_ answer: Answer) -> ExitCode {
        struct Problem: Decodable {
            var title: String?
            var detail: String?
            var errors: [Item]?

            struct Item: Decodable {
                var index: Int?
                var detail: String?
            }
        }
        if let problem = try? answer.decoded(Problem.self) {
            Console.complain("refused: \(problem.detail ?? problem.title ?? "status \(answer.status)")")
            for item in problem.errors ?? [] {
                Console.complain("  event \(item.index.map(String.init) ?? "?"): \(item.detail ?? "")")
            }
        } else {
            Console.complain("refused with status \(answer.status): \(String(decoding: answer.body, as: UTF8.self))")
        }
        return answer.status >= 500 ? .failure : .refused
    }
}

extension String {
    /// As one segment of a path.
    var pathSegment: String {
        addingPercentEncoding(withAllowedCharacters: .urlPathAllowed.subtracting(.init(charactersIn: "/?#"))) ?? self
    }

    /// As a value in a query.
    var queryValue: String {
        addingPercentEncoding(withAllowedCharacters: .alphanumerics.union(.init(charactersIn: "-._~"))) ?? self
    }
}
