// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Gateway
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Testing

@testable import Broker

/// What is wrong with one event of many is said with its place, wherever many may be sent; and wrong JSON is refused as
/// such, whatever it is packed in.
struct BatchRefusalTests {
    struct Refusal: Decodable {
        struct Place: Decodable {
            var index: Int
            var detail: String
        }
        var type: String
        var status: Int
        var detail: String
        var errors: [Place]?
    }

    struct Packing: Sendable, CustomTestStringConvertible {
        var name: String
        var path = "/v1/topics/orders/events"
        var contentType: String
        /// Where `value` stands in a request that is right but for it.
        var body: @Sendable (_ value: [UInt8]) -> [UInt8]
        /// nil for one event.
        var index: Int?
        var isLines = false
        var testDescription: String { name }
    }

    private static func event(_ value: [UInt8]) -> [UInt8] {
        Array(#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"#.utf8) + value + Array("}".utf8)
    }

    static let packings = [
        Packing(name: "plain", contentType: "application/json", body: { $0 }),
        Packing(name: "structured", contentType: "application/cloudevents+json", body: { event($0) }),
        Packing(
            name: "batch", contentType: "application/cloudevents-batch+json",
            body: { Array("[".utf8) + event(Array("1".utf8)) + Array(",".utf8) + event($0) + Array("]".utf8) }, index: 1
        ),
        Packing(
            name: "a batch of one", contentType: "application/cloudevents-batch+json",
            body: { Array("[".utf8) + event($0) + Array("]".utf8) }, index: 0),
        Packing(
            name: "lines", contentType: "application/x-ndjson",
            body: { Array("1\n\n2\n".utf8) + $0 + Array("\n".utf8) }, index: 2, isLines: true),
        Packing(
            name: "lines of an import", path: "/v1/subscribers/history/imports/7?at=0",
            contentType: "application/x-ndjson",
            body: { Array("1\n".utf8) + event($0) + Array("\n".utf8) }, index: 1, isLines: true),
    ]

    @Test(arguments: packings)
    func everyJSONIsTakenOrRefusedByTheRules(_ packing: Packing) async throws {
        let broker = FakeBroker()
        try await gateway(broker).application.test(.router) { client in
            for json in JSONCase.all {
                let isBlank = json.bytes.allSatisfy { $0 == 0x20 }
                if packing.isLines, isBlank || json.bytes.contains(0x0A) { continue }
                let before = broker.with { $0.published.count }
                let response = try await client.execute(
                    uri: packing.path, method: .post, headers: [.contentType: packing.contentType],
                    body: ByteBuffer(bytes: packing.body(json.bytes)))
                let text = String(buffer: response.body)
                let after = broker.with { $0.published.count }
                if json.isRight {
                    #expect(response.status == .accepted, "\(json.shown): \(text)")
                    // Imports don't go through the topic.
                    guard packing.path.hasPrefix("/v1/topics") else { continue }
                    #expect(after == before + 1, "\(json.shown)")
                    let data = broker.with { state in
                        state.published.last.map { $0[packing.index ?? 0].event.data }
                    }
                    let value = json.bytes.drop { $0 == 0x09 }.reversed().drop { $0 == 0x09 }.reversed()
                    #expect(data == .json(Array(value)), "\(json.shown)")
                } else {
                    #expect(response.status == .badRequest, "\(json.shown): \(text)")
                    #expect(after == before, "\(json.shown)")
                    try Self.check(response, packing.index)
                }
            }
        }
    }

    private static func check(_ response: TestResponse, _ index: Int?) throws {
        #expect(response.headers[.contentType] == "application/problem+json")
        let refusal = try JSONDecoder().decode(Refusal.self, from: Data(Array(buffer: response.body)))
        #expect(refusal.status == Int(response.status.code))
        #expect(refusal.errors?.map(\.index) == index.map { [$0] }, "\(refusal)")
        if index != nil { #expect(refusal.errors?.first?.detail == refusal.detail) }
    }

    @Test(arguments: packings.filter { $0.index != nil })
    func everyKindOfFaultInABatchHasItsPlace(_ packing: Packing) async throws {
        let broker = FakeBroker()
        let large = Array(("\"" + String(repeating: "x", count: Limits.eventBytesMax) + "\"").utf8)
        let closing = Array(#"1,"specversion":"0.3""#.utf8)
        // Not JSON, too large, and a CloudEvent that is none.
        let broken: (value: [UInt8], status: HTTPResponse.Status) = (Array("[".utf8), .badRequest)
        let faults = [broken, (large, .contentTooLarge)] + (packing.name == "lines" ? [] : [(closing, .badRequest)])
        try await gateway(broker).application.test(.router) { client in
            for fault in faults {
                let response = try await client.execute(
                    uri: packing.path, method: .post, headers: [.contentType: packing.contentType],
                    body: ByteBuffer(bytes: packing.body(fault.value)))
                #expect(response.status == fault.status)
                try Self.check(response, packing.index)
            }
        }
        #expect(broker.with { $0.published.isEmpty })
    }

    @Test func whatTheTopicRefusesHasItsPlaceInABatchOnly() async throws {
        let broker = FakeBroker()
        broker.with { $0.publishFailure = Failure(.malformed, "the topic keeps events for 1d", index: 0) }
        try await gateway(broker).application.test(.router) { client in
            for packing in Self.packings where packing.path.hasPrefix("/v1/topics") {
                let response = try await client.execute(
                    uri: packing.path, method: .post, headers: [.contentType: packing.contentType],
                    body: ByteBuffer(bytes: packing.body(Array("1".utf8))))
                #expect(response.status == .badRequest)
                try Self.check(response, packing.index == nil ? nil : 0)
            }
        }
    }

    @Test(arguments: [
        ("/v1/subscribers/history/settle", #"{"ack":["a-0",5]}"#, 1),
        ("/v1/subscribers/history/settle", #"{"ack":["a-0"],"retry":["a-1","a-2",{"lease":"a-3","after":"30"}]}"#, 2),
        ("/v1/subscribers/history/settle", #"{"dead":[{"lease":"a-0","why":"x"}]}"#, 0),
        ("/v1/subscribers/history/settle", #"{"extend":["a-0",""]}"#, 1),
        ("/v1/dead/redrive", #"{"ids":[1,"x"]}"#, 1), ("/v1/dead/discard", #"{"ids":[1,2,1.5],"reason":"r"}"#, 2),
    ])
    func ofListsOfOtherThingsTheWrongEntryIsNamed(_ path: String, _ body: String, _ index: Int) async throws {
        let broker = FakeBroker()
        try await gateway(broker).application.test(.router) { client in
            let response = try await client.execute(
                uri: path, method: .post, headers: [.contentType: "application/json"], body: ByteBuffer(string: body))
            #expect(response.status == .badRequest)
            try Self.check(response, index)
        }
        #expect(broker.with { $0.settlements.isEmpty && $0.redrives.isEmpty && $0.discards.isEmpty })
    }

    @Test func anEventBeyondTheLimitOfItsTopicIsRefused() async throws {
        let broker = FakeBroker()
        broker.with { $0.eventBytesMax = Limits.eventBytesMaxLeast }
        try await gateway(broker).application.test(.router) { client in
            for packing in Self.packings where packing.path.hasPrefix("/v1/topics") {
                for (count, status) in [(60_000, HTTPResponse.Status.accepted), (70_000, .contentTooLarge)] {
                    let value = Array(("\"" + String(repeating: "x", count: count) + "\"").utf8)
                    let response = try await client.execute(
                        uri: packing.path, method: .post, headers: [.contentType: packing.contentType],
                        body: ByteBuffer(bytes: packing.body(value)))
                    #expect(response.status == status, "\(packing.name)")
                    guard status != .accepted else { continue }
                    #expect(String(buffer: response.body).contains("the limit is 65536"))
                    try Self.check(response, packing.index)
                }
            }
            let binary = try await client.execute(
                uri: "/v1/topics/orders/events", method: .post,
                headers: [
                    .contentType: "text/plain", HTTPField.Name("ce-id")!: "1", HTTPField.Name("ce-source")!: "/s",
                    HTTPField.Name("ce-type")!: "t", HTTPField.Name("ce-specversion")!: "1.0",
                ], body: ByteBuffer(repeating: 0x78, count: Limits.eventBytesMaxLeast + 1))
            #expect(binary.status == .contentTooLarge)
        }
    }
}
