// SPDX-License-Identifier: Apache-2.0

import Foundation
import Routes
import Testing

@Suite struct FormatterTests {
    private static let repository = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")

    private static func file(_ path: String) -> [UInt8] {
        (try? [UInt8](Data(contentsOf: repository.appending(path: path)))) ?? []
    }

    private func format(_ text: String) -> String {
        let formatted = RouteFormatter.format(Array(text.utf8))
        #expect(formatted.refusal == nil)
        return String(decoding: formatted.bytes, as: UTF8.self)
    }

    @Test func statementsAreIndentedAndTheirArgumentsAligned() {
        let text = """
            topic   orders{
            retain 400d
                key data.order_id   ;   dedupe    10m
            }
            """
        #expect(
            format(text) == """
                topic orders {
                  retain 400d
                  key    data.order_id
                  dedupe 10m
                }

                """)
    }

    @Test func aBlankLineEndsARunAndTwoBecomeOne() {
        #expect(
            format("listen 127.0.0.1:1\ndata \"d\"\n\n\n\nplugins \"p\"\n\n")
                == "listen 127.0.0.1:1\ndata   \"d\"\n\nplugins \"p\"\n")
        #expect(format("\n\ntopic a {\n\n  retain 1d\n\n}\n\n\n") == "topic a {\n  retain 1d\n}\n")
    }

    @Test func declarationsStandForThemselves() {
        #expect(format("topic a\nsubscriber b { pull }\nlet x=1s") == "topic a\nsubscriber b { pull }\nlet x = 1s\n")
        #expect(
            format("test \"t\" {\npublish a { type \"x\" }\nexpect b,c\n}")
                == "test \"t\" {\n  publish a { type \"x\" }\n  expect b, c\n}\n")
    }

    @Test func aBlockOnOneLineStaysThereIfItFits() {
        #expect(format("topic a {retain 1d;key subject;}") == "topic a { retain 1d; key subject }\n")
        #expect(format("subscriber s { run p {a 1 b [1,2]} }") == "subscriber s { run p { a 1  b [1, 2] } }\n")
        #expect(format("topic a {}\ntopic b { ; }") == "topic a { }\ntopic b { }\n")
        let long = String(repeating: "x", count: 60)
        #expect(
            format("subscriber s { run p { a \"\(long)\"; b { c 1 } }; from orders }") == """
                subscriber s {
                  run  p { a "\(long)"; b { c 1 } }
                  from orders
                }

                """)
        #expect(
            format("mail { directory \"\(long)\"  smtp \"\(long)\" }") == """
                mail {
                  directory "\(long)"
                  smtp      "\(long)"
                }

                """)
    }

    @Test func aBlockOnMoreLinesGetsALineForEachStatement() {
        #expect(
            format("subscriber s { run p { a 1; b {c 2\nd 3 }}\npull }") == """
                subscriber s {
                  run  p {
                    a 1
                    b {
                      c 2
                      d 3
                    }
                  }
                  pull
                }

                """)
    }

    @Test func commentsStay() {
        #expect(
            format(
                """
                # at the top
                topic a { # behind a brace
                    #nothing
                retain 1d # one
                dedupe 10m     # two

                # last
                } # behind the end
                # at the end
                """)
                    == """
                    # at the top
                    topic a { # behind a brace
                      #nothing
                      retain 1d   # one
                      dedupe 10m  # two

                      # last
                    } # behind the end
                    # at the end

                    """.replacing("{ #", with: "{  #").replacing("} #", with: "}  #"))
    }

    @Test func commentsOfNeighboursAreAlignedWhereTheFirstStands() {
        #expect(
            format("data \"d\"        # one\nplugins \"p\" # two\n")
                == "data    \"d\"     # one\nplugins \"p\"     # two\n")
        #expect(
            format("data \"d\" # one\nplugins \"plugins\" # two\n")
                == "data    \"d\"        # one\nplugins \"plugins\"  # two\n")
    }

    @Test func aFilterGoesOnUnderItsBeginning() {
        #expect(
            format(
                """
                subscriber s {
                from orders,
                stock.*
                where type='a' # why
                and(data.x>1
                    or data.y<2 ) and not( exists data['a  b'][0] )
                ordered
                }
                """) == """
                    subscriber s {
                      from    orders,
                              stock.*
                      where   type = 'a'  # why
                              and (data.x > 1
                                or data.y < 2) and not (exists data['a  b'][0])
                      ordered
                    }

                    """)
    }

    @Test func aListGoesOnOneLevelDeeper() {
        #expect(
            format("subscriber s {\nrun p {\nlong_name 1\ncurrencies [ \"EUR\" ,\n\"USD\"\n]\n}\n}") == """
                subscriber s {
                  run p {
                    long_name  1
                    currencies ["EUR",
                      "USD"
                    ]
                  }
                }

                """)
    }

    @Test func aMarkInFrontAndCarriageReturnsGo() {
        #expect(format("\u{FEFF}topic a {\r\n\tretain 1d\r\n}\r\n") == "topic a {\n  retain 1d\n}\n")
        #expect(format("") == "")
        #expect(format("\n  \n") == "")
    }

    @Test func aBlockThatWasNotClosedKeepsItsErrorWhereItIs() {
        let text = "topic a {\n  retain 1d\nsubscriber s {\n  from a\n  pull\n}\n"
        #expect(format(text) == text)
        let inSettings = "subscriber s {\n  run p {\n    a 1\ntopic b\n}\n"
        #expect(format(inSettings) == inSettings)
        let half = "subscriber s {\n  run   p {\n    a 1\nretry x { attempts 1 }\n  from  b\n}\n"
        #expect(format(half) == half)
    }

    @Test func anOpenParenthesisOrQuoteDoesNotSwallowTheNextLine() {
        let text = "subscriber s {\n  where (type = 'a' or type = 'b'\n  pull\n}\ntopic a\n"
        #expect(format(text) == text)
        let quote = "data    \"data\nplugins \"Plugins\"\n"
        #expect(format(quote) == quote)
    }

    @Test func whatIsNoTextOrTooDeepIsLeftAlone() {
        for (bytes, reason) in [
            (Array("topic  a\n".utf8) + [0xFF], "line 2 holds no UTF-8"), ([0x20, 0], "line 1 holds a NUL byte"),
            (Array(String(repeating: "a { ", count: 40).utf8), "blocks or lists nest deeper than 32"),
            ([UInt8](repeating: 0x20, count: 70_000), "line 1 is longer than 65536 bytes"),
        ] {
            let formatted = RouteFormatter.format(bytes)
            #expect(formatted.bytes == bytes)
            #expect(formatted.refusal == reason)
        }
    }

    @Test func whatTheLayoutWouldMendIsLeftAlone() {
        // The filter is too long, and without the spaces it is not.
        let spaces = String(repeating: " ", count: 5_000)
        let text = Array("subscriber s {\n  from orders\n  where type =\(spaces)'a'\n  pull\n}\n".utf8)
        let formatted = RouteFormatter.format(text)
        #expect(formatted.bytes == text)
        #expect(formatted.refusal == "the layout can't be told from the mistakes; mend them first")
    }

    @Test func aSemicolonStaysWhereTheStatementWouldGoOnWithoutIt() {
        for text in [
            "subscriber s {\n  from a,;\n  pull\n}\n", "subscriber s {\n  where type = 'a' and;\n  pull\n}\n",
            "subscriber s {\n  where type = 'a';\n  and type = 'b'\n}\n",
            "subscriber s {\n  where (type = 'a';\n  pull\n}\n",
        ] {
            let formatted = RouteFormatter.format(Array(text.utf8))
            #expect(formatted.refusal == nil)
            #expect(formatted.bytes.count { $0 == UInt8(ascii: ";") } == 1, "\(text)")
        }
    }

    // MARK: properties

    private static let texts: [[UInt8]] = {
        let folder = BadConfigurationTests.folder
        let bad = BadConfigurationTests.names.map { name -> [UInt8] in
            let text = (try? [UInt8](Data(contentsOf: folder.appending(path: name)))) ?? []
            let end = text.firstRange(of: Array("\n----------".utf8))?.lowerBound ?? text.count
            return Array(text[..<end])
        }
        return [file("routes.conf"), file("Tests/RoutesTests/Fixtures/shop.conf")] + bad
    }()

    private func fingerprints(_ bytes: [UInt8]) -> [String]? {
        var sources = MemorySources("")
        sources.files["routes.conf"] = bytes
        let table = RouteCompiler.compile("routes.conf", from: sources, strictEnvironment: false).table
        return table.map { table in
            // Lines may move.
            var server = table.server
            server.tokens = []
            let tokens = table.server.tokens.map { token in
                "\(token.name) \(token.secret) \(token.publish.map(\.text)) \(token.pull) \(token.read) \(token.admin)"
            }
            return table.subscribers.map(\.fingerprint)
                + table.topics.map { "\($0.name) \($0.key as Any) \($0.retainAge as Any)" }
                + tokens + ["\(server) \(table.mail) \(table.tests.map(\.name))"]
        }
    }

    private func check(_ bytes: [UInt8], _ comment: Comment) {
        let once = RouteFormatter.format(bytes)
        #expect(RouteFormatter.format(once.bytes).bytes == once.bytes, comment)
        #expect(fingerprints(once.bytes) == fingerprints(bytes), comment)
        guard once.refusal == nil else { return }
        #expect(!once.bytes.contains(0x0D) || bytes.contains(0x0D), comment)
        #expect(once.bytes.isEmpty || once.bytes.last == 0x0A, comment)
        #expect(once.bytes.firstRange(of: [0x0A, 0x0A, 0x0A]) == nil, comment)
    }

    /// `UPDATE_FIXTURES=1` formats them.
    @Test func theShopsAreAsTheFormatterWritesThem() throws {
        for path in ["routes.conf", "Tests/RoutesTests/Fixtures/shop.conf"] {
            let text = Self.file(path)
            #expect(!text.isEmpty)
            let formatted = RouteFormatter.format(text).bytes
            if ProcessInfo.processInfo.environment["UPDATE_FIXTURES"] == "1" {
                try Data(formatted).write(to: Self.repository.appending(path: path))
            } else {
                #expect(formatted == text, "\(path) is not formatted")
            }
        }
    }

    @Test func everyBadConfigurationIsFormattedOnce() {
        for (index, text) in Self.texts.enumerated() { check(text, "text \(index)") }
    }

    /// The same statements with any spaces, line breaks and comments between them.
    private func scattered(_ text: String, _ random: inout some RandomNumberGenerator) -> String {
        var result = ""
        var quote: Character?
        var isComment = false
        for character in text {
            if isComment {
                result.append(character)
                if character == "\n" { isComment = false }
                continue
            }
            if let open = quote {
                result.append(character)
                if character == open { quote = nil }
                continue
            }
            let breaks = ["\n", "\r\n", "\n\n\n \t", " # {c\n ", "\n#\tc\n  "]
            switch character {
            case "\"", "'":
                quote = character
                result.append(character)
            case "#":
                isComment = true
                result.append(character)
            case " ": result += [" ", " ", "  ", "\t", " \t "].randomElement(using: &random) ?? ""
            // A margin would end the block for some keywords.
            case "\n": result += (breaks.randomElement(using: &random) ?? "") + " "
            case ";": result += [";", "; ;", " ;\n ", "\n "].randomElement(using: &random) ?? ""
            case "{": result += ["{", "{\n ", "{ ;"].randomElement(using: &random) ?? ""
            case "}": result += ["}", "\n }", ";}"].randomElement(using: &random) ?? ""
            case ",": result += [",", " ,", ",\n "].randomElement(using: &random) ?? ""
            case "(", "[": result += "\(character)" + (["", " ", "\n "].randomElement(using: &random) ?? "")
            case ")", "]": result += (["", " ", "\n "].randomElement(using: &random) ?? "") + "\(character)"
            default: result.append(character)
            }
        }
        return result
    }

    @Test func anyLayoutOfTheShopsBecomesARightOne() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SplitMix(state: seed)
        for text in Self.texts.prefix(2) {
            let meaning = try #require(fingerprints(text))
            for round in 0..<50 {
                let bytes = Array(scattered(String(decoding: text, as: UTF8.self), &random).utf8)
                let comment: Comment = "seed \(seed), round \(round)"
                #expect(fingerprints(bytes) == meaning, comment)
                #expect(RouteFormatter.format(bytes).refusal == nil, comment)
                check(bytes, comment)
            }
        }
    }

    @Test func mutationsAreFormattedOnceAndMeanTheSame() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SplitMix(state: seed)
        let parts = [
            "{", "}", "(", ")", "[", "]", "\"", "'", ";", ",", "\n", "\n\n", "#", "# c\n", " and\n", "\nor ", "\\",
            "where ", "run p {", "\nretry", "\ntopic ", "\t", "\r\n", "  ", "é", "=", "[::1]:8", "env(",
        ].map { Array($0.utf8) }
        for round in 0..<600 {
            guard var bytes = Self.texts.randomElement(using: &random) else { return }
            for _ in 0..<Int.random(in: 1...6, using: &random) where !bytes.isEmpty {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes.remove(at: at)
                case 1: bytes[at] = UInt8.random(in: .min ... .max, using: &random)
                case 2: bytes.insert(contentsOf: parts.randomElement(using: &random)!, at: at)
                default: bytes.removeSubrange(at..<min(bytes.count, at + Int.random(in: 1...100, using: &random)))
                }
            }
            check(bytes, "seed \(seed), round \(round)")
        }
    }

    /// Far from linear, each of them would take minutes.
    @Test func manyLinesAreDoneSoon() {
        let hostile =
            HostileBytesTests.large.map { ($0.name, $0.make()) } + [
                ("breaks in a filter", Array("subscriber s {\nwhere (".utf8) + [UInt8](repeating: 0x0A, count: 200_000))
            ]
        for (name, bytes) in hostile {
            let time = ContinuousClock().measure { _ = RouteFormatter.format(Array(bytes.prefix(50_000))) }
            #expect(time < .seconds(20), "\(name)")
        }
    }

    @Test func randomBytesAreFormattedOnce() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SplitMix(state: seed)
        let signs = Array("{}[]()\"';,=\n\n #\\.*$abt01whereordata:/%-<>!".utf8)
        for round in 0..<600 {
            let isWild = round % 4 == 0
            let bytes = (0..<Int.random(in: 0...200, using: &random)).map { _ in
                isWild ? UInt8.random(in: .min ... .max, using: &random) : signs.randomElement(using: &random)!
            }
            check(bytes, "seed \(seed), round \(round)")
        }
    }
}
