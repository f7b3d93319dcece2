// SPDX-License-Identifier: Apache-2.0

import Routes
import Testing

/// Tokens, TLS, and where the server listens.
@Suite struct AccessTests {
    private func table(_ text: String, _ secrets: [String: String] = ["CI": "one", "OPS": "two"]) throws -> RouteTable {
        let sources = MemorySources(text, ["token.txt": "three\n"], secrets: secrets)
        let compiled = RouteCompiler.compile("routes.conf", from: sources, strictEnvironment: true)
        #expect(compiled.diagnostics.map(\.description) == [])
        return try #require(compiled.table)
    }

    static let shop = """
        topic orders
        topic stock.low
        subscriber order_history { from **; pull }

        """

    @Test func aTokenHasItsScopes() throws {
        let server = try table(
            Self.shop + """
                token "ci" secret("CI") { publish orders, stock.*; pull order_history; read; admin }
                token "ops" secret("OPS") {
                  read
                }
                """
        ).server
        var ci = TokenRoute(name: "ci", secret: Secret(name: "CI", value: "one"))
        ci.publish = [TopicPattern("orders"), TopicPattern("stock.*")]
        ci.pull = ["order_history"]
        ci.read = true
        ci.admin = true
        ci.place = Place(file: "routes.conf", line: 4, column: 1)
        var ops = TokenRoute(name: "ops", secret: Secret(name: "OPS", value: "two"))
        ops.read = true
        ops.place = Place(file: "routes.conf", line: 5, column: 1)
        #expect(server.tokens == [ci, ops])
    }

    @Test func aTokenMayReferToWhatStandsFurtherDown() throws {
        let text = #"token "ci" secret("CI") { publish **; pull order_history }"#
        #expect(try table(text + "\n" + Self.shop).server.tokens.map(\.pull) == [["order_history"]])
    }

    @Test func aSecretFromAFileHasNoLineBreak() throws {
        let tokens = try table(Self.shop + #"token "ci" file("token.txt") { publish ** }"#).server.tokens
        #expect(tokens.map(\.secret.value) == ["three"])
    }

    @Test func aTokensMissingSecretIsAnErrorAtStartAlone() {
        let text = Self.shop + #"token "ci" secret("CI") { publish ** }"#
        #expect(compile(text).table?.server.tokens.count == 1)
        #expect(compile(text).diagnostics.map(\.severity) == [.warning])
        let strict = compile(text, strict: true)
        #expect(strict.table == nil)
        #expect(strict.diagnostics.map(\.code) == [.secretMissing])
        #expect(strict.diagnostics.map(\.severity) == [.error])
    }

    @Test func aTokenIsNeverShown() throws {
        let table = try table(Self.shop + #"token "ci" secret("CI") { publish ** }"#)
        #expect(!String(reflecting: table.server).contains("\"one\""))
        #expect("\(table.server)".contains(#"secret("CI")"#))
    }

    @Test func certificateAndKeyAreKeptAsWritten() throws {
        let server = try table(#"tls { certificate "tls/cert.pem"; key "/etc/key.pem" }"#).server
        #expect(server.tls == TLSRoute(certificate: "tls/cert.pem", key: "/etc/key.pem"))
    }

    @Test(arguments: ["127.0.0.1", "127.200.3.4", "localhost", "LOCALHOST", "[::1]"])
    func loopbackNeedsNoToken(_ host: String) throws {
        #expect(try table("listen \(host):80").server.port == 80)
    }

    @Test(arguments: [
        "0.0.0.0", "128.0.0.1", "127.0.0.1.example.com", "127.0.0", "127.0.0.256", "[::]", "10.0.0.1", "shop",
    ])
    func beyondLoopbackNeedsATokenOrItsWord(_ host: String) throws {
        #expect(compile("listen \(host):80").diagnostics.map(\.code) == [.unprotected])
        #expect(compile("insecure no\nlisten \(host):80").diagnostics.map(\.code) == [.unprotected])
        #expect(try table("listen \(host):80\ninsecure yes").server.insecure)
        let open = "listen \(host):80\n" + Self.shop + #"token "ci" secret("CI") { publish ** }"#
        #expect(try table(open).server.tokens.count == 1)
    }

    @Test func aWrongTokenIsNotTakenForNone() {
        let text = "listen 0.0.0.0:80\n" + #"token "ci" { read }"#
        #expect(compile(text).diagnostics.map(\.code) == [.missingArgument])
    }

    @Test func tokensChangeByReloadAndTheRestByRestart() throws {
        let old = try table(Self.shop + #"token "ci" secret("CI") { publish ** }"#)
        let moved = try table("\n" + Self.shop + #"token "ci" secret("CI") { publish ** }"#)
        #expect(RouteDiff(from: old, to: moved).isEmpty)
        for text in [#"token "ci" secret("CI") { publish **; read }"#, #"token "ci" secret("OPS") { publish ** }"#, ""]
        {
            let diff = RouteDiff(from: old, to: try table(Self.shop + text))
            #expect(diff.settings == ["token"])
            #expect(diff.restartOnly.isEmpty)
        }
        let diff = RouteDiff(
            from: try table(Self.shop),
            to: try table(Self.shop + #"insecure yes; tls { certificate "c.pem"; key "k.pem" }"#))
        #expect(diff.restartOnly == ["insecure no → yes", #"tls off → "c.pem", "k.pem""#])
        #expect(diff.settings.isEmpty)
    }
}
