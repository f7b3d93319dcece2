// SPDX-License-Identifier: Apache-2.0

import Events
import Routes
import Testing

@Suite struct TopicTests {
    @Test(arguments: [
        ("orders", "orders", true), ("orders", "orders.eu", false), ("orders.*", "orders.eu", true),
        ("orders.*", "orders", false), ("orders.*", "orders.eu.de", false), ("*.eu", "orders.eu", true),
        ("*", "orders", true), ("*", "orders.eu", false), ("**", "orders", true), ("**", "orders.eu.de", true),
        ("**", "$dead", false), ("*", "$dead", false), ("$dead", "$dead", true), ("orders.**", "orders.eu.de", true),
        ("orders.**", "orders", false), ("*.*", "orders.eu", true), ("orders.*.de", "orders.eu.de", true),
    ])
    func patterns(_ pattern: String, _ topic: String, _ matches: Bool) {
        #expect(TopicPattern(pattern).matches(topic) == matches)
    }

    @Test(
        arguments: [
            (#"{"k": "o-1"}"#, "o-1"), (#"{"k": 42}"#, "42"), (#"{"k": 1.5}"#, "1.5"), (#"{"k": 2.0}"#, "2"),
            (#"{"k": true}"#, "true"),
            (#"{"k": null}"#, nil), (#"{"k": [1]}"#, nil), (#"{}"#, nil), (#"{"k": "\u00e9"}"#, "é"),
            (#"{"k": ""}"#, ""), ("{", nil),
        ] as [(String, String?)])
    func aKeyIsAScalarOfTheData(_ data: String, _ key: String?) throws {
        let compiled = compile("topic orders { key data.k }")
        let extractor = try #require(compiled.table?.topics[0].keyExtractor)
        var builder = RecordBatchBuilder(topic: .named("orders"), key: extractor, capacity: 256)
        builder.append(Event(id: "1", source: "s", type: "t", data: .json(Array(data.utf8))))
        #expect(builder.finish()[0].key == key)
    }

    @Test func aKeyMayBeAnAttribute() throws {
        let extractor = try #require(compile("topic orders { key subject }").table?.topics[0].keyExtractor)
        var builder = RecordBatchBuilder(topic: .named("orders"), key: extractor, capacity: 256)
        builder.append(Event(id: "1", source: "s", type: "t", attributes: [.init("subject", .string("c-7"))]))
        builder.append(Event(id: "2", source: "s", type: "t"))
        let batch = builder.finish()
        #expect(batch[0].key == "c-7")
        #expect(batch[1].key == nil)
    }

    @Test func keysAreTakenOnManyThreadsAtOnce() async throws {
        let extractor = try #require(compile("topic orders { key data.k }").table?.topics[0].keyExtractor)
        await withTaskGroup(of: Bool.self) { group in
            for task in 0..<4 {
                group.addTask {
                    (0..<500).allSatisfy { number in
                        var builder = RecordBatchBuilder(topic: .named("orders"), key: extractor, capacity: 256)
                        builder.append(
                            Event(
                                id: "1", source: "s", type: "t",
                                data: .json(Array(#"{"k": "\#(task)-\#(number)"}"#.utf8))))
                        return builder.finish()[0].key == "\(task)-\(number)"
                    }
                }
            }
            for await isRight in group { #expect(isRight) }
        }
    }
}
