// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

@testable import Routes

struct AsyncAPITests {
    private static let routes = """
        listen 127.0.0.1:9000
        token "shop" secret("SHOP") { publish orders }
        topic orders { retain 30d; key data.order_id }
        topic stock { }
        subscriber receipts { from orders; where type = 'order.placed'; run mailer; allow publish stock }
        subscriber shop { from orders, stock; push "http://127.0.0.1:9090/hook?key=hidden" }
        subscriber books { from orders; pull }
        subscriber oncall { from $dead; pull }
        """

    private static func at(_ value: JSONValue, _ path: String...) -> JSONValue {
        path.reduce(value) { value, name in
            if case .object(let members) = value { members[name] ?? .null } else { .null }
        }
    }

    private static func keys(_ value: JSONValue) -> [String] {
        if case .object(let members) = value { members.keys.sorted() } else { [] }
    }

    private static func document() throws -> (json: JSONValue, text: String) {
        let compiled = RouteCompiler.compile(
            "routes.conf", from: MemorySources(routes, secrets: ["SHOP": "s3cret-token-of-the-shop"]),
            strictEnvironment: false)
        let table = try #require(compiled.table, "\(compiled.diagnostics)")
        let json = AsyncAPIDocument(table, version: "1.2.3").json
        var bytes: [UInt8] = []
        json.append(to: &bytes)
        return (json, String(decoding: bytes, as: UTF8.self))
    }

    @Test func topicsAreChannelsAndSubscribersOperations() throws {
        let (json, _) = try Self.document()
        #expect(Self.at(json, "asyncapi") == .string("3.0.0"))
        #expect(Self.at(json, "info", "version") == .string("1.2.3"))
        #expect(Self.at(json, "servers", "fairlead", "host") == .string("127.0.0.1:9000"))
        #expect(Self.at(json, "servers", "fairlead", "protocol") == .string("http"))
        #expect(Self.keys(Self.at(json, "channels")) == ["$dead", "orders", "stock"])
        #expect(Self.at(json, "channels", "orders", "address") == .string("/v1/topics/orders/events"))
        #expect(
            Self.keys(Self.at(json, "operations")) == [
                "deliver.books.orders", "deliver.oncall.$dead", "deliver.receipts.orders", "deliver.shop.orders",
                "deliver.shop.stock", "publish.orders", "publish.stock", "publish.stock.by.receipts",
            ])
        let receipts = Self.at(json, "operations", "deliver.receipts.orders")
        #expect(Self.at(receipts, "action") == .string("send"))
        #expect(Self.at(receipts, "x-where") == .string("type = 'order.placed'"))
        guard case .string(let description) = Self.at(receipts, "description") else {
            Issue.record("no description")
            return
        }
        #expect(description.contains("plugin mailer, where type = 'order.placed'"))
        #expect(Self.at(json, "operations", "publish.orders", "action") == .string("receive"))
    }

    @Test func noSecretIsInIt() throws {
        let (_, text) = try Self.document()
        #expect(!text.contains("s3cret") && !text.contains("hidden"))
        #expect(text.contains("http://127.0.0.1:9090/hook"))
    }

    @Test(arguments: [
        ("https://a:b@shop.test/x?k=1#f", "https://shop.test/x"), ("http://shop.test", "http://shop.test"),
        ("http://shop.test/a@b", "http://shop.test/a@b"), ("nonsense", ""),
    ])
    func anAddressIsShownWithoutWhatMayBeSecret(_ url: String, _ shown: String) {
        #expect(PushRoute(url: url).shownURL == shown)
    }

    /// The rules of AsyncAPI 3.0 that this document can break.
    @Test func theStructureIsThatOfAsyncAPI3() throws {
        let (json, _) = try Self.document()
        func resolve(_ reference: String) -> JSONValue {
            reference.dropFirst(2).split(separator: "/").reduce(json) { Self.at($0, String($1)) }
        }
        func walk(_ value: JSONValue) {
            switch value {
            case .object(let members):
                if case .string(let reference)? = members["$ref"] {
                    #expect(resolve(reference) != .null, "\(reference)")
                }
                for member in members.values { walk(member) }
            case .array(let elements): for element in elements { walk(element) }
            default: break
            }
        }
        walk(json)
        let root: Set = ["asyncapi", "info", "servers", "defaultContentType", "channels", "operations", "components"]
        #expect(Set(Self.keys(json)) == root)
        let channelMembers: Set = ["address", "title", "description", "servers", "messages"]
        for name in Self.keys(Self.at(json, "channels")) {
            let channel = Self.at(json, "channels", name)
            #expect(channelMembers.isSuperset(of: Self.keys(channel)), "\(name)")
        }
        let operationMembers: Set = [
            "action", "channel", "title", "description", "messages", "bindings", "x-where",
        ]
        for name in Self.keys(Self.at(json, "operations")) {
            let operation = Self.at(json, "operations", name)
            #expect(operationMembers.isSuperset(of: Self.keys(operation)), "\(name)")
            #expect([.string("send"), .string("receive")].contains(Self.at(operation, "action")), "\(name)")
            // An operation's messages are references through its own channel.
            guard case .string(let channel) = Self.at(operation, "channel", "$ref"),
                case .array(let messages) = Self.at(operation, "messages")
            else {
                Issue.record("\(name) has no channel or no messages")
                continue
            }
            #expect(messages == [.object(["$ref": .string("\(channel)/messages/event")])])
        }
    }
}
