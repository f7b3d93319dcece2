// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
import Routes
import Testing

/// What is parsed lands in the table.
@Suite struct LanguageTests {
    private func table(_ text: String, _ sources: MemorySources? = nil) throws -> RouteTable {
        let sources = sources ?? MemorySources(text)
        let compiled = RouteCompiler.compile("routes.conf", from: sources, strictEnvironment: true)
        #expect(compiled.diagnostics.filter { $0.severity == .error }.map(\.description) == [])
        return try #require(compiled.table)
    }

    private func subscriber(_ body: String) throws -> SubscriberRoute {
        let table = try table(
            "topic orders\ntopic stock.low\nretry slow { attempts 3; backoff 5s; timeout 30s }\nsubscriber s {\n\(body)\n}"
        )
        return try #require(table.subscribers.first)
    }

    @Test func emptyIsAServerWithDefaults() throws {
        let table = try table("")
        #expect(table.server == ServerSettings())
        #expect(table.mail == .directory("data/mail"))
        #expect(table.topics.map(\.name) == ["$dead", "$config", "$alert"])
        #expect(table.topics[0].retainAge == .seconds(30 * 86_400))
    }

    @Test func theServersSettings() throws {
        let table = try table(
            #"""
            listen [::1]:9000
            data "/var/lib/fairlead"; plugins "Lua"
            mail { smtp "mail.example.com:587" { user "shop" password env("PASSWORD") from "shop@example.com" } }
            """#,
            MemorySources(
                #"""
                listen [::1]:9000
                data "/var/lib/fairlead"; plugins "Lua"
                mail { smtp "mail.example.com:587" { user "shop" password env("PASSWORD") from "shop@example.com" } }
                """#, variables: ["PASSWORD": "pw"]))
        #expect(table.server.host == "::1")
        #expect(table.server.port == 9000)
        #expect(table.server.data == "/var/lib/fairlead")
        #expect(table.server.plugins == "Lua")
        #expect(
            table.mail
                == .smtp(
                    host: "mail.example.com", port: 587, user: "shop", password: Secret(name: "PASSWORD", value: "pw"),
                    from: "shop@example.com"))
    }

    @Test func aTopicsSettings() throws {
        let table = try table(
            """
            topic a { retain 400d 50GB; key data.customer['home id'][0]; dedupe 10m; sync interval 1s }
            topic b.c { retain 1_000KiB; key Subject; sync always }
            topic $dead { retain forever }
            topic d { retain 10GB 7d unless unsettled }
            """)
        let a = table.topics[0]
        #expect(a.retainAge == .seconds(400 * 86_400))
        #expect(a.retainBytes == 50_000_000_000)
        #expect(a.key == .data(DataPath([.key("customer"), .key("home id"), .index(0)])))
        #expect(a.dedupe == .seconds(600))
        #expect(a.syncInterval == .seconds(1))
        #expect(table.topics[1].retainAge == nil)
        #expect(table.topics[1].retainBytes == 1_024_000)
        #expect(table.topics[1].key == .attribute("subject"))
        #expect(table.topics[2].name == "$dead")
        #expect(table.topics[2].retainAge == nil)
        #expect(table.topics.prefix(4).map(\.keepsUnsettled) == [false, false, false, true])
        #expect(table.topics[3].retainAge == .seconds(7 * 86_400))
    }

    @Test(arguments: [
        ("retry slow", 3, RetryPolicy.Backoff.constant(.seconds(5)), 20, 30),
        ("retry slow { attempts 20 }", 20, .constant(.seconds(5)), 20, 30),
        (
            "retry { attempts unlimited; backoff 100ms to 1h30m jitter 5%; timeout 1m }", 0,
            .exponential(from: .milliseconds(100), to: .seconds(5_400)), 5, 60
        ),
        ("ordered", 8, .exponential(from: .seconds(1), to: .seconds(600)), 20, 10),
    ])
    func policies(_ line: String, _ attempts: Int, _ backoff: RetryPolicy.Backoff, _ jitter: Int, _ timeout: Int) throws
    {
        let policy = try subscriber("from orders\npull\n\(line)").retry
        #expect(policy.attempts == (attempts == 0 ? nil : attempts))
        #expect(policy.backoff == backoff)
        #expect(policy.jitterPercent == jitter)
        #expect(policy.timeout == .seconds(timeout))
    }

    @Test(arguments: [
        ("start earliest", StartPosition.earliest), ("start latest", .latest), ("start offset 17", .offset(17)),
        ("start time \"1970-01-02T00:00:00+00:00\"", .time(Timestamp(milliseconds: 86_400_000))), ("pause", .latest),
    ])
    func startPositions(_ line: String, _ start: StartPosition) throws {
        #expect(try subscriber("from orders\npull\n\(line)").start == start)
    }

    @Test(arguments: [
        #"where cesql "type = 'a' AND EXISTS subject""#, #"where CESQL   "type = \"a\" and exists subject" # a remark"#,
        #"where cesql "(type = 'a')\n\tAND EXISTS SUBJECT"; pause"#,
    ])
    func aFilterMayBeCESQL(_ line: String) throws {
        let route = try subscriber("from orders\n\(line)\npull")
        #expect(route.filter?.text == #"cesql "type = 'a' AND EXISTS subject""#)
        #expect(route.paused == line.hasSuffix("pause"))
    }

    @Test func aSubscriberHasAllItsParts() throws {
        let route = try subscriber(
            """
            from orders, stock.*,
                 **
            where type = 'a'
              and (data.x > 1   # a remark
                   or data.y < 2)
            run p { a 1; b 2.5, c
              deep { x [1, "y", true] } ; on }
            batch 500 every 24h
            concurrency 4; rate 50/m
            ordered
            allow mail
            allow http "a.example.com", "*.b.example.com:8443"
            allow publish stock.low
            allow env HOME, LANG_2
            allow file "out"
            limits { cpu 50ms memory 16MiB }
            pause
            was t
            replay deny
            """)
        #expect(route.from.map(\.text) == ["orders", "stock.*", "**"])
        #expect(route.filter?.text == "type = 'a' and (data.x > 1 or data.y < 2)")
        guard case .run("p", let settings, let batch) = route.delivery else { throw Wrong() }
        #expect(batch == BatchPolicy(count: 500, every: .seconds(86_400)))
        #expect(settings.map(\.name) == ["a", "b", "deep", "on"])
        #expect(settings[0].value == .integer(1))
        #expect(settings[1].value == .list([.number(2.5), .name("c")]))
        #expect(settings[3].value == .boolean(true))
        guard case .block(let deep) = settings[2].value else { throw Wrong() }
        #expect(deep.map(\.value) == [.list([.integer(1), .string("y"), .boolean(true)])])
        #expect(route.concurrency == 4)
        #expect(route.rate == Rate(count: 50, per: .seconds(60)))
        #expect(route.ordered && route.paused && route.refusesReplay)
        #expect(
            route.grants == [
                .mail, .http("a.example.com"), .http("*.b.example.com:8443"), .publish("stock.low"), .env("HOME"),
                .env("LANG_2"),
                .file("out"),
            ])
        #expect(route.limits.cpu == .milliseconds(50))
        #expect(route.limits.memory == 16 << 20)
        #expect(route.was == "t")
    }

    struct Wrong: Error {}

    @Test func pushCarriesSignaturesAndHeaders() throws {
        let text = #"""
            topic orders
            subscriber s {
              from orders
              push "https://example.com/x" { sign secret("NEW"), secret("OLD"); header "X-Shop" "one"; header "Authorization" secret("NEW") }
            }
            """#
        let table = try table(text, MemorySources(text, secrets: ["NEW": "n", "OLD": "o"]))
        guard case .push(let push) = table.subscribers[0].delivery else { throw Wrong() }
        #expect(push.signing == [Secret(name: "NEW", value: "n"), Secret(name: "OLD", value: "o")])
        #expect(push.headers == ["X-Shop": .string("one"), "Authorization": .secret(Secret(name: "NEW", value: "n"))])
        #expect("\(push)".contains("secret(\"NEW\")"))
        #expect(!"\(push.signing)".contains("n\"]"))
    }

    @Test func valuesComeFromLetEnvAndFiles() throws {
        let text = #"""
            let hold = env("HOLD", 10m)
            let again = hold
            let channel = env("CHANNEL", "#none")
            topic orders { retain env("RETAIN"); dedupe again }
            subscriber s { from orders; run p { channel channel; text file("words.txt"); size 5MB; every 3s; share 5% } }
            """#
        let table = try table(
            text, MemorySources(text, ["words.txt": "hello\n"], variables: ["RETAIN": "3d", "CHANNEL": "#sales"]))
        #expect(table.topics[0].retainAge == .seconds(3 * 86_400))
        #expect(table.topics[0].dedupe == .seconds(600))
        guard case .run(_, let settings, _) = table.subscribers[0].delivery else { throw Wrong() }
        #expect(
            settings.map(\.value) == [
                .read(#"env("CHANNEL")"#, .string("#sales")), .read(#"file("words.txt")"#, .string("hello\n")),
                .size(5_000_000), .duration(.seconds(3)), .percent(5),
            ])
        #expect(settings[0].value.text == #"env("CHANNEL")"#, "what comes from outside is shown by its name")
    }

    @Test func includesAreReadInOrderRelativeToTheIncluder() throws {
        let sources = MemorySources(
            "include \"conf.d/*.conf\"",
            [
                "conf.d/b.conf": "subscriber s { from orders; pull }", "conf.d/a.conf": "include \"deep/c.conf\"",
                "conf.d/deep/c.conf": "topic orders { retain 1d }",
            ])
        let compiled = RouteCompiler.compile("routes.conf", from: sources, strictEnvironment: true)
        #expect(compiled.diagnostics.isEmpty)
        #expect(compiled.files == ["routes.conf", "conf.d/a.conf", "conf.d/deep/c.conf", "conf.d/b.conf"])
        #expect(compiled.table?.subscribers.first?.place == Place(file: "conf.d/b.conf", line: 1, column: 1))
    }

    @Test(arguments: [
        ("", DeadAction.keep), ("on dead keep", .keep), ("on dead pause", .pause),
        ("on dead publish stock.low", .publish("stock.low")),
    ])
    func whatFollowsADeadLetter(_ line: String, _ action: DeadAction) throws {
        #expect(try subscriber("from orders\npull\n\(line)").onDead == action)
    }

    @Test(arguments: [
        ("", BadReloadAction.rollback), ("on bad_reload rollback", .rollback),
        ("on bad_reload pause; on dead pause", .pause), ("on dead keep\non bad_reload keep", .keep),
    ])
    func whatFollowsAReloadThatBreaksIt(_ line: String, _ action: BadReloadAction) throws {
        #expect(try subscriber("from orders\nrun p\n\(line)").onBadReload == action)
    }

    @Test(arguments: [
        ("orders, stock.*", ["orders", "stock.*"]), ("**", ["**"]), ("*.low", ["*.low"]),
        ("orders,\n    stock.low", ["orders", "stock.low"]),
        ("$dead, $config, $alert", ["$dead", "$config", "$alert"]),
    ])
    func fromTakesListsWildcardsAndSystemTopics(_ from: String, _ patterns: [String]) throws {
        let route = try subscriber("from \(from)\npull")
        #expect(route.from.map(\.text) == patterns)
        #expect(route.from[0].place == Place(file: "routes.conf", line: 5, column: 6))
    }

    @Test func topicsAreDottedAndPatternsFindThem() throws {
        let table = try table("topic a.b.c\ntopic a.b\ntopic x-1.y_2\nsubscriber s { from a.*, *.y_2, a.b.c; pull }")
        let taken = table.topics.filter { table.subscribers[0].takes(from: .named($0.name)) }
        #expect(taken.map(\.name) == ["a.b.c", "a.b", "x-1.y_2"])
    }

    @Test func aLetMayStandFurtherDownAndInAnotherFile() throws {
        let sources = MemorySources(
            "topic orders { retain hold }\ninclude \"a.conf\"\nsubscriber s { from orders; pull { lease hold } }",
            ["a.conf": "let hold = 2m"])
        let table = try table("", sources)
        #expect(table.topics[0].retainAge == .seconds(120))
        guard case .pull(.seconds(120)) = table.subscribers[0].delivery else { throw Wrong() }
    }

    @Test(arguments: ["retain 5", "retain 5 GB", "dedupe 10", "sync interval 1"])
    func unitsOfTopicsAreMandatory(_ line: String) {
        let found = compile("topic orders { \(line) }").diagnostics.filter { $0.severity == .error }
        #expect(found.map(\.code) == [.unitMissing])
    }

    @Test(arguments: [
        "pull { lease 5 }", "pull; rate 5", "pull; retry { timeout 5 }", "pull; retry { backoff 5 }",
        "pull; retry { backoff 1s to 5 }", "pull; retry { backoff 1s jitter 5 }", "run p; batch 5 every 5",
        "run p; limits { cpu 5 }", "run p; limits { memory 5 }",
    ])
    func unitsOfSubscribersAreMandatory(_ lines: String) {
        #expect(compile("topic t\nsubscriber s { from t; \(lines) }").diagnostics.map(\.code) == [.unitMissing])
    }

    @Test func aMissingVariableIsAWarningUntilItMatters() {
        let text = "topic orders\nsubscriber s { from orders; run p { a env(\"NOWHERE\"); b secret(\"NOBODY\") } }"
        let loose = compile(text)
        #expect(loose.table != nil)
        #expect(loose.diagnostics.map(\.severity) == [.warning, .warning])
        let strict = compile(text, strict: true)
        #expect(strict.table == nil)
        #expect(strict.diagnostics.map(\.code) == [.environmentMissing, .secretMissing])
        #expect(strict.diagnostics.map(\.severity) == [.error, .error])
    }

    @Test func atMostFiftyErrorsAreShown() {
        let compiled = compile((0..<500).map { "wrong\($0) x" }.joined(separator: "\n"))
        #expect(compiled.diagnostics.count { $0.severity == .error } == 50)
        #expect(compiled.diagnostics.last?.code == .tooMany)
    }

    @Test func aMarkInFrontAndCarriageReturnsAreNothing() throws {
        let compiled = compile(
            "\u{FEFF}topic orders { retain 5 }\r\nsubscriber s {\r\n  from orders\r\n  where type = 'a'\r\n  pull\r\n}\r\n"
        )
        #expect(
            compiled.diagnostics.map { "\($0.code.rawValue) \($0.place.map(\.description) ?? "")" } == [
                "R021 routes.conf:1:23"
            ])
    }
}
