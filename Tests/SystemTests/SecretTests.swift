// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// A secret of any kind is never printed: not by a command, an endpoint, the log, a metric or a message, and nothing of it
/// lies in the data folder.
struct SecretTests {
    /// A secret's name, its value, and what of it must not be found anywhere.
    private struct Known {
        var name: String
        var value: String
        var marks: [String]

        /// The value is its own mark.
        init(_ name: String, _ mark: String) {
            self.init(name, value: mark, marks: [mark])
        }

        init(_ name: String, value: String, marks: [String]) {
            self.name = name
            self.value = value
            self.marks = marks + marks.map { Data($0.utf8).base64EncodedString() }
        }

        /// A key of Standard Webhooks.
        static func key(_ name: String, _ mark: String) -> Known {
            let text = Data((mark + mark).utf8).base64EncodedString()
            return Known(name, value: "whsec_" + text, marks: [mark, text])
        }

        static func basic(_ name: String, _ user: String, _ mark: String) -> Known {
            let text = Data("\(user):\(mark)".utf8).base64EncodedString()
            return Known(name, value: "Basic \(text)", marks: [mark, text])
        }

        static func url(_ name: String, _ prefix: String, _ mark: String) -> Known {
            Known(name, value: prefix + mark, marks: [mark])
        }
    }

    private static func secrets(_ port: Int) -> [Known] {
        [
            Known("ROOT_TOKEN", "MarkRootToken0001"), Known("SHOP_TOKEN", "MarkShopToken0002"),
            Known("NEW_TOKEN", "MarkNewToken00003"), Known("ENV_TOKEN", "MarkEnvToken00004"),
            .key("SIGN_KEY", "MarkSignKey000005"), .key("SIGN_OLD", "MarkSignOld000006"),
            .key("ENV_SIGN", "MarkEnvSign000007"), .basic("PUSH_AUTH", "shop", "MarkPushAuth00008"),
            Known("ENV_HEADER", "MarkEnvHeader0009"), Known("SMTP_PASSWORD", "MarkSmtpPass00010"),
            .url("DOWN_URL", "http://127.0.0.1:1/services/", "MarkDownUrl000011"),
            .url("ECHO_URL", "http://127.0.0.1:\(port)/echo/", "MarkEchoUrl000012"),
            Known(
                "BASIC_URL", value: "http://shop:MarkBasicUrl00013@127.0.0.1:\(port)/basic",
                marks: ["MarkBasicUrl00013", "shop:MarkBasicUrl00013"]),
            Known("API_TOKEN", "MarkApiToken00014"), Known("ENV_SETTING", "MarkEnvSetting015"),
            Known("GRANTED", "MarkGranted000016"), Known("BAD_RETAIN", "MarkBadRetain0017"),
            Known("IN_A_FILE", "MarkInAFile000018"),
        ]
    }

    private static let wrongToken = "MarkWrongToken019"

    private static func routes(_ port: Int, token: String = "SHOP_TOKEN", more: String = "") -> String {
        """
        let hidden = env("ENV_HEADER")
        mail { smtp "127.0.0.1:1" { user "shop"; password secret("SMTP_PASSWORD"); from "shop@example.com" } }
        token "root" secret("ROOT_TOKEN") { admin; read; publish *; pull taker }
        token "shop" secret("\(token)") { publish orders }
        token "from env" env("ENV_TOKEN") { read }
        topic orders { retain 30d }
        subscriber pushed {
          from orders
          push "http://127.0.0.1:\(port)/hook" {
            sign secret("SIGN_KEY"), secret("SIGN_OLD"), env("ENV_SIGN")
            header "Authorization" secret("PUSH_AUTH")
            header "X-Key" hidden
          }
          retry { attempts 2; backoff 10ms; timeout 5s }
        }
        subscriber leaky {
          from orders
          run leaky {
            down secret("DOWN_URL"); echo secret("ECHO_URL"); basic secret("BASIC_URL"); token secret("API_TOKEN")
            setting env("ENV_SETTING"); text file("text.txt")
          }
          allow http "127.0.0.1"
          allow mail
          allow env GRANTED
          retry { attempts 2; backoff 10ms; timeout 5s }
        }
        subscriber taker { from orders; pull; start earliest }
        test "all get it" { publish orders { type "t"; data.mode "none" }; expect pushed, leaky, taker }
        \(more)
        """
    }

    private static let plugin = """
        return {
          version = "1.0.0",
          config = {
            down = { type = "secret" }, echo = { type = "secret" }, basic = { type = "secret" },
            token = { type = "secret" }, setting = { type = "string" }, text = { type = "string" },
          },
          handle = function(event, ctx)
            local config, mode = ctx.config, event.data.mode
            ctx.log.info("works", { url = config.down, mode = mode })
            ctx.log.warn("with " .. tostring(config.token), { basic = tostring(config.basic) })
            assert(#ctx.env("GRANTED") > 0 and #config.setting > 0 and #config.text > 0)
            if mode == "down" then ctx.http.post(config.down, { json = {} })
            elseif mode == "echo" then
              ctx.http.post(config.echo, { headers = { authorization = config.token }, json = {} })
            elseif mode == "basic" then ctx.http.post(config.basic, { headers = { ["x-key"] = config.token } })
            elseif mode == "throw" then error("no luck with " .. tostring(config.down))
            elseif mode == "value" then error(config.token)
            elseif mode == "dead" then return ctx.dead("gave up on " .. tostring(config.echo))
            elseif mode == "retry" then return ctx.retry{ reason = tostring(config.basic) }
            elseif mode == "mail" then ctx.mail.send{ to = "a@example.com", subject = "s", text = "t" }
            elseif mode == "state" then ctx.state.put("seen", tostring(config.token))
            end
          end,
        }
        """

    private static let modes = ["none", "down", "echo", "basic", "throw", "value", "dead", "retry", "mail", "state"]

    /// All that was printed, by what printed it.
    private final class Outputs {
        var all: [(what: String, text: String)] = []
        func add(_ what: String, _ text: String) { all.append((what, text)) }
    }

    @Test(.timeLimit(.minutes(5)), arguments: ["text", "json"])
    func noOutputHoldsASecret(logFormat: String) async throws {
        // An endpoint that says in its refusal what it was sent.
        let sink = try Sink { request in
            let echo = request.line + " " + request.headers.map { "\($0.key) \($0.value)" }.joined(separator: " ")
            return "400 Bad Request\nConnection: close\nContent-Length: \(echo.utf8.count)\n\n\(echo)"
        }
        let secrets = Self.secrets(sink.port)
        let server = try RunningServer(routes: Self.routes(sink.port), plugins: ["leaky": Self.plugin])
        let file = try #require(secrets.first { $0.name == "IN_A_FILE" })
        try Data(file.value.utf8).write(to: server.folder.appendingPathComponent("text.txt"))
        var environment = Dictionary(uniqueKeysWithValues: secrets.map { ($0.name, $0.value) })
        environment["FAIRLEAD_TOKEN"] = environment["ROOT_TOKEN"]
        let outputs = Outputs()
        try await server.start("--log-level", "trace", "--log-format", logFormat, environment: environment)

        func command(_ arguments: String...) async throws {
            let ended = try await RunningServer.command(arguments, in: server.folder, environment: environment)
            #expect(ended.code < 100, "`fairlead \(arguments.joined(separator: " "))` was killed")
            outputs.add("fairlead \(arguments.joined(separator: " "))", ended.output + "\n" + ended.errors)
        }
        @discardableResult
        func get(_ path: String, _ method: String = "GET", _ body: String? = nil, token: String? = nil) async throws
            -> Loopback.Answer
        {
            let bearer = token ?? environment["ROOT_TOKEN"] ?? ""
            let answer = try await Loopback.send(
                method, server.port, path, body: body.map { Array($0.utf8) },
                headers: ["Authorization: Bearer \(bearer)"])
            outputs.add("\(method) \(path)", answer.head + "\n" + answer.text)
            return answer
        }

        let event = server.folder.appendingPathComponent("event.json")
        try Data(#"{"specversion":"1.0","id":"e-none","source":"/s","type":"t","data":{"mode":"none"}}"#.utf8).write(
            to: event)
        try Data(#"{"specversion":"1.0","id":"i-1","source":"/s","type":"t","data":{"mode":"none"}}"#.utf8)
            .write(to: server.folder.appendingPathComponent("events.ndjson"))
        for mode in Self.modes {
            let text = #"{"specversion":"1.0","id":"e-\#(mode)","source":"/s","type":"t","data":{"mode":"\#(mode)"}}"#
            let answer = try await Loopback.send(
                "POST", server.port, "/v1/topics/orders/events", body: Array(text.utf8),
                type: "application/cloudevents+json", headers: ["Authorization: Bearer \(environment["SHOP_TOKEN"]!)"])
            #expect(answer.status == 202, "\(answer.text)")
        }
        try await eventually("all is settled, one way or the other", within: .seconds(60)) {
            let all = try await get("/v1/status").object["subscribers"] as? [[String: Any]] ?? []
            outputs.all.removeLast()
            let byName = Dictionary(uniqueKeysWithValues: all.map { ($0["name"] as? String ?? "", $0) })
            let count = Self.modes.count
            let leaky = (byName["leaky"]?["dead"] as? Int ?? 0) + (byName["leaky"]?["acked"] as? Int ?? 0)
            return byName["pushed"]?["dead"] as? Int == count && leaky == count
        }
        #expect(sink.requests.contains { $0.headers["authorization"] == environment["PUSH_AUTH"] })
        #expect(sink.requests.contains { $0.headers["x-key"] == environment["ENV_HEADER"] })
        #expect(sink.requests.contains { $0.line.hasSuffix(environment["ECHO_URL"]!.suffix(16)) })

        // Refusals, in the middle of what is secret.
        try await get("/v1/status", token: Self.wrongToken)
        try await get("/v1/topics/orders/events", "POST", "{}", token: Self.wrongToken)
        for more in [
            #"topic bad { retain env("BAD_RETAIN") }"#, #"topic bad { retain file("text.txt") }"#,
            #"subscriber bad { from orders; push env("BAD_RETAIN") }"#, #"listen env("BAD_RETAIN")"#,
            #"subscriber bad { from orders; run leaky { token 5; setting env("BAD_RETAIN"); nonsense secret("API_TOKEN") } }"#,
            #"token "again" secret("ROOT_TOKEN") { read }"#,
            #"subscriber bad { from orders; push "http://127.0.0.1:1/" { sign env("BAD_RETAIN"); header "X" secret("SMTP_PASSWORD"); x y } }"#,
        ] {
            try server.write(routes: Self.routes(sink.port, more: more))
            try await command("check")
            try await command("check", "--json")
            try await command("plan")
            try await command("reload")
            try await get("/v1/plan")
            try await get("/v1/reload", "POST", "{}")
        }
        try server.write(
            routes: Self.routes(sink.port, token: "NEW_TOKEN", more: "subscriber added { from orders; pull }"))
        for words in ["plan", "reload", "plan"] { try await command(words) }
        try await command("reload", "--json")
        server.signal(SIGHUP)

        let letters = try await get("/v1/dead?max=100").object["dead"] as? [[String: Any]] ?? []
        let letter = letters.first?["id"] as? Int ?? 1
        // Commands and paths don't know how the log is written.
        if logFormat == "text" {
            // Every command but those that serve by themselves.
            try await command("fmt", "--check")
            try await command("fmt", "--diff")
            try await command("test")
            try await command("test", "--tap")
            try await command("explain", "orders", "event.json", "--full")
            for mode in ["none", "throw", "echo"] {
                try Data(#"{"mode":"\#(mode)"}"#.utf8).write(to: server.folder.appendingPathComponent("data.json"))
                try await command("run", "leaky", "data.json", "--subscriber", "leaky")
                try await command("run", "leaky", "data.json", "--subscriber", "leaky", "--json")
                try await command("run", "leaky", "data.json", "--subscriber", "leaky", "--really")
            }
            try await command("plugin", "check")
            try await command("plugin", "new", "another")
            try await command("rehearse", "--state", "empty")
            try await command("rehearse", "--json", "--subscriber", "leaky", "--subscriber", "pushed")
            try await command("rollback")
            try await command("publish", "orders", "event.json")
            try await command("pull", "taker", "--json")
            try await command("tail", "orders", "--from", "0", "--max", "3")
            for topic in ["$config", "$alert", "$dead"] {
                try await command("tail", topic, "--from", "0", "--max", "1")
            }
            try await command("status")
            try await command("status", "--json")
            for mode in Self.modes { try await command("why", "e-\(mode)") }
            try await command("why", "e-echo", "leaky", "--json")
            try await command("generations")
            try await command("generations", "--json")
            for words in ["list", "groups"] {
                try await command("dead", words)
                try await command("dead", words, "--json")
            }
            for letter in letters { try await command("dead", "show", "\(letter["id"] ?? "")") }
            try await command("dead", "edit", "\(letter)", "--set", "data.mode=none")
            try await command("dead", "redrive", "\(letter)", "--canary")
            try await command("dead", "discard", "\(letter)", "--reason", "done")
            try await command("state", "list", "leaky")
            try await command("state", "get", "leaky", "seen")
            try await command("state", "put", "leaky", "more", "5")
            try await command("state", "delete", "leaky", "more")
            try await command("openapi")
            try await command("asyncapi")
            try await command("replay", "taker", "--from", "earliest", "--no-wait")
            try await command("replay", "taker", "--list")
            try await command("import", "orders", "events.ndjson", "--only", "taker", "--no-wait")
            try await command("pause", "taker", "--reason", "a look")
            try await command("resume", "taker")
            try await command("forget", "added", "--yes")
            try await command("verify")
            try await command("verify", "--json")
            try await command("doctor", "--network")
            try await command("doctor", "--json")
            let help = try await RunningServer.command(["--help"], in: server.folder)
            let known = help.output.matches(of: #/\n  ([a-z]+) /#).map { String($0.1) }
            let isRun = Set(outputs.all.map { $0.what.split(separator: " ").prefix(2).joined(separator: " ") })
            let missing = known.filter {
                !isRun.contains("fairlead \($0)") && !["serve", "sink", "bench", "help"].contains($0)
            }
            #expect(known.count > 20 && missing.isEmpty, "commands that nobody looked at: \(missing)")

            // Every path that answers to GET.
            let paths = try await get("/v1/openapi.json").object["paths"] as? [String: [String: Any]] ?? [:]
            let values = [
                "{topic}": "orders", "{name}": "leaky", "{key}": "seen", "{number}": "1", "{run}": "1",
                "{file}": "app.js",
            ]
            for (path, operations) in paths.sorted(by: { $0.key < $1.key }) where operations["get"] != nil {
                // It goes on for ever, with what /v1/status has.
                if path == "/v1/live" { continue }
                var filled = values.reduce(path) { $0.replacing($1.key, with: $1.value) }
                filled = filled.replacing("{id}", with: path.hasPrefix("/v1/events") ? "e-echo" : "\(letter)")
                #expect(!filled.contains("{"), "\(path) has a parameter that this test doesn't know")
                try await get(filled + (path == "/v1/topics/{topic}/events" ? "?from=0&max=100&wait=0s" : ""))
            }
            for number in 1...4 { try await get("/v1/generations/\(number)/diff?with=\(number + 1)") }
            for subscriber in ["pushed", "taker"] { try await get("/v1/subscribers/\(subscriber)/replays") }
            for topic in ["$config", "$alert", "$dead"] {
                try await get("/v1/topics/\(topic)/events?from=0&max=100&wait=0s")
            }
            for letter in letters { try await get("/v1/dead/\(letter["id"] ?? "")") }
            let pages = [
                "index.html", "api.js", "dead.js", "dom.js", "events.js", "generations.js", "history.js", "live.js",
            ]
            for page in pages { try await get("/dashboard/\(page)") }
            try await get("/")
            try await get("/metrics")
        }

        server.signal(SIGTERM)
        try await eventually("it has stopped") { !server.process.isRunning }
        try await command("verify")
        try await command("rehearse", "--json")
        outputs.add("the log", server.output)
        #expect(server.output.contains("works"), "the log is that of level trace")
        let data = server.folder.appendingPathComponent("data")
        let files = try #require(FileManager.default.enumerator(at: data, includingPropertiesForKeys: nil))
        for case let file as URL in files {
            guard let bytes = FileManager.default.contents(atPath: file.path) else { continue }
            outputs.add(file.path, String(decoding: bytes, as: UTF8.self))
        }
        #expect(outputs.all.contains { $0.what.hasSuffix("ledger.db") && $0.text.contains("SIGN_KEY") })

        var leaks: [String] = []
        for (what, text) in outputs.all {
            for secret in secrets {
                // What `file()` names is part of a generation, which is kept and shown to an administrator.
                if secret.name == "IN_A_FILE", what.contains("/diff") || what.contains("/data/") { continue }
                guard let found = secret.marks.lazy.compactMap({ text.range(of: $0) }).first else { continue }
                let start = text.index(found.lowerBound, offsetBy: -80, limitedBy: text.startIndex) ?? text.startIndex
                leaks.append("\(secret.name) in \(what): …\(text[start..<found.upperBound])")
            }
            if text.contains(Self.wrongToken) { leaks.append("a wrong token in \(what)") }
        }
        #expect(leaks.isEmpty, "\(leaks.count) leaks:\n\(leaks.prefix(30).joined(separator: "\n"))")
        guard logFormat == "text" else { return }
        #expect(
            outputs.all.contains { $0.what.hasPrefix("fairlead explain") && $0.text.contains(#"secret("SIGN_KEY")"#) })
        #expect(
            outputs.all.contains { $0.what.hasPrefix("fairlead explain") && $0.text.contains(#"env("ENV_SETTING")"#) })
    }
}
