// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events
import Synchronization

/// The outside as one plugin under test sees it: everything is recorded, time stands still unless it is moved, and
/// what a test has not announced is refused and fails the test.
final class TestWorld: StateReader, HTTPSender, MailSender, FileAppending, Clock, Sendable {
    private struct Contents {
        // 2024-01-01T00:00:00Z, so that a test's times don't depend on the day.
        var now = Timestamp(milliseconds: 1_704_067_200_000)
        var state: [String: [UInt8]] = [:]
        var rules: [(method: String, url: String, response: PackedValue)] = []
        var calls: [PackedValue] = []
        var mail: [PackedValue] = []
        var files: [PackedValue] = []
        var sizes: [String: Int] = [:]
        var unexpected: [String] = []
    }

    private let contents = Mutex(Contents())

    func now() -> Timestamp { contents.withLock { $0.now } }
    func advance(_ duration: Duration) { contents.withLock { $0.now = $0.now + duration } }
    func put(_ key: String, _ value: [UInt8]) { contents.withLock { $0.state[key] = value } }
    func announce(_ method: String, _ url: String, _ response: PackedValue) {
        contents.withLock { $0.rules.append((method, url, response)) }
    }

    func value(subscriber: String, key: String) throws -> [UInt8]? { contents.withLock { $0.state[key] } }

    func usage(subscriber: String) throws -> StateUsage {
        contents.withLock { StateUsage(of: $0.state) }
    }

    func values(
        subscriber: String, prefix: String, after: String?, limit: Int
    ) throws -> [(key: String, value: [UInt8])] {
        contents.withLock { contents in
            contents.state.filter { key, _ in key.hasPrefix(prefix) && after.map { key > $0 } ?? true }
                .orderedByKey(limit: limit)
        }
    }

    func apply(_ effects: Effects) {
        contents.withLock { contents in
            for write in effects.state {
                switch write {
                case .put(let key, let value, _): contents.state[key] = value
                case .delete(let key): contents.state[key] = nil
                case .add(let key, let delta):
                    let old = contents.state[key].flatMap { StateNumber(json: $0) } ?? .integer(0)
                    contents.state[key] = (old + delta).json
                }
            }
        }
    }

    func send(_ request: OutboundRequest) async throws(OutboundFailure) -> OutboundResponse {
        let rule = contents.withLock { contents -> PackedValue? in
            var call: [(key: String, value: PackedValue)] = [
                ("method", .text(request.method)), ("url", .text(request.url)), ("body", .string(request.body)),
                ("headers", .map(request.headers.map { ($0.name.lowercased(), .text($0.value)) })),
            ]
            let isJSON = request.headers.contains {
                $0.name.lowercased() == "content-type" && $0.value.contains("json")
            }
            if isJSON { call.append(("json", .json(request.body))) }
            contents.calls.append(.map(call))
            let rule = contents.rules.last { rule in
                let prefix = rule.url.hasSuffix("*") ? String(rule.url.dropLast()) : nil
                return rule.method == request.method
                    && (prefix.map { request.url.hasPrefix($0) } ?? (rule.url == request.url))
            }
            if rule == nil { contents.unexpected.append("\(request.method) \(request.url)") }
            return rule?.response
        }
        guard let rule else { throw .badRequest("the test has not announced this request") }
        switch rule["fail"].text {
        case "timeout": throw .timeout
        case let text?: throw .connection(text)
        case nil: break
        }
        let headers = (rule["headers"].pairs ?? []).map { (name: $0.key.lowercased(), value: $0.value.shown) }
        guard case .integer(let status) = rule["status"] else {
            return OutboundResponse(status: 200, headers: headers, body: Array((rule["body"].text ?? "").utf8))
        }
        return OutboundResponse(status: Int(status), headers: headers, body: Array((rule["body"].text ?? "").utf8))
    }

    func send(_ message: MailMessage) async throws(MailFailure) {
        contents.withLock { contents in
            var fields: [(key: String, value: PackedValue)] = [
                ("to", .array(message.to.map(PackedValue.text))), ("cc", .array(message.cc.map(PackedValue.text))),
                ("subject", .text(message.subject)),
            ]
            let optional = [("from", message.from), ("text", message.text), ("html", message.html)]
            for (name, value) in optional { if let value { fields.append((name, .text(value))) } }
            contents.mail.append(.map(fields))
        }
    }

    /// Keeps what was appended. A rule with the method `APPEND` and the file's name makes it fail.
    func append(_ addition: FileAddition) async throws(FileFailure) -> FileAppended {
        let result = contents.withLock { contents -> Result<FileAppended, FileFailure> in
            let rule = contents.rules.last { $0.method == "APPEND" && $0.url == addition.name }
            if let why = rule?.response["fail"].text { return .failure(.temporary(why)) }
            let place = "\(addition.folder)/\(addition.name)"
            contents.files.append(
                .map([
                    ("folder", .text(addition.folder)), ("name", .text(addition.name)),
                    ("text", .string(addition.bytes)),
                    ("max_size", addition.sizeMax.map { .integer(Int64($0)) } ?? .none),
                ]))
            contents.sizes[place, default: 0] += addition.bytes.count
            return .success(FileAppended(size: contents.sizes[place]!))
        }
        return try result.get()
    }

    struct Record {
        var calls: [PackedValue]
        var mail: [PackedValue]
        var files: [PackedValue]
        var unexpected: [String]
    }

    /// What happened since the last time it was asked.
    func takeRecord() -> Record {
        contents.withLock { contents in
            defer {
                contents.calls = []
                contents.mail = []
                contents.files = []
                contents.unexpected = []
            }
            return Record(
                calls: contents.calls, mail: contents.mail, files: contents.files, unexpected: contents.unexpected)
        }
    }
}

/// Carries out what one test file asks for.
actor PluginTestBench {
    private struct Loaded {
        var destination: LuaDestination
        var world: TestWorld
        var settled: SettlementSlot
        var next: Offset = 0
    }

    private let host: ScriptHost
    private let files: [String: [UInt8]]
    private var plugins: [Loaded] = []
    private(set) var cases: [String] = []

    init(host: ScriptHost, files: [String: [UInt8]]) {
        self.host = host
        self.files = files
    }

    func perform(_ want: Want) async -> Answer {
        switch want[0].text {
        case "cases":
            cases = (want[1].items ?? []).compactMap(\.text)
            return .values([])
        case "load": return await load(want)
        default: break
        }
        guard case .integer(let id) = want[1], plugins.indices.contains(Int(id) - 1) else {
            return .error("call this with a colon, on what t.load gave")
        }
        let plugin = plugins[Int(id) - 1]
        switch want[0].text {
        case "on":
            guard let method = want[2].text, let url = want[3].text else {
                return .error("plugin:on(method, url, response)")
            }
            plugin.world.announce(method, url, want[4])
            return .values([])
        case "put":
            guard let key = want[2].text, case .string(let json) = want[3] else {
                return .error("plugin:put(key, value)")
            }
            plugin.world.put(key, json)
            return .values([])
        case "get":
            guard let key = want[2].text, let value = try? plugin.world.value(subscriber: "", key: key) else {
                return .values([])
            }
            return .values([.json(value)])
        case "advance":
            plugin.world.advance(.seconds(want[2].double ?? 0))
            return .values([])
        case "handle": return await handle(Int(id) - 1, [want[2]])
        case "handle_batch":
            guard let events = want[2].items, !events.isEmpty else {
                return .error("plugin:handle_batch({event, ...})")
            }
            return await handle(Int(id) - 1, events)
        default: return .error("not part of fairlead.test")
        }
    }

    /// Each case starts with nothing loaded.
    func reset() async {
        for plugin in plugins { await plugin.destination.stop(.shutdown, deadline: .zero) }
        plugins = []
    }

    private func load(_ want: Want) async -> Answer {
        guard let name = want[1].text else { return .error("t.load(name, settings, allow)") }
        let entry = files["\(name).lua"] == nil ? "\(name)/init.lua" : "\(name).lua"
        let world = TestWorld()
        let binding = PluginBinding(
            subscriber: name, source: PluginSource(name: name, files: files, entry: entry),
            settings: (want[2].pairs ?? []).map { PluginSetting($0.key, $0.value.setting) }, grants: grants(want[3]))
        do {
            let destination = try await host.load(binding, world: world)
            let slot = SettlementSlot()
            destination.start { slot.put($0, world) }
            plugins.append(Loaded(destination: destination, world: world, settled: slot))
            return .values([.integer(Int64(plugins.count))])
        } catch {
            return .error("\(error)")
        }
    }

    private func grants(_ table: PackedValue) -> [PluginGrant] {
        func names(_ key: String) -> [String] {
            table[key].text.map { [$0] } ?? (table[key].items ?? []).compactMap(\.text)
        }
        var grants = names("http").map(PluginGrant.http) + names("publish").map(PluginGrant.publish)
        grants += names("env").map(PluginGrant.env) + names("file").map(PluginGrant.file)
        if table["mail"] == .boolean(true) || (table.items ?? []).contains(.text("mail")) { grants.append(.mail) }
        return grants
    }

    /// Delivers the events in one go, and waits until all are settled.
    private func handle(_ index: Int, _ events: [PackedValue]) async -> Answer {
        let plugin = plugins[index]
        var deliveries: [Delivery] = []
        do {
            for fields in events {
                deliveries.append(
                    try TestEvent(fields).delivery(offset: plugins[index].next, time: plugin.world.now()))
                plugins[index].next += 1
            }
        } catch {
            return .error(error.description)
        }
        plugin.destination.deliver(deliveries)
        var settlements: [Settlement] = []
        while settlements.count < deliveries.count { settlements.append(await plugin.settled.next()) }
        let record = plugin.world.takeRecord()
        if let unexpected = record.unexpected.first {
            return .error("unexpected request: \(unexpected); announce it with plugin:on(method, url, response)")
        }
        let places = Dictionary(uniqueKeysWithValues: deliveries.enumerated().map { ($1.id, $0) })
        settlements.sort { places[$0.delivery] ?? 0 < places[$1.delivery] ?? 0 }
        return .values([result(settlements, record)])
    }

    /// What a test looks at: the outcome of the first event, `outcomes` of all, and everything that was done.
    private func result(_ settlements: [Settlement], _ record: TestWorld.Record) -> PackedValue {
        let outcomes = settlements.map { PackedValue.text($0.outcome.name) }
        var fields: [(key: String, value: PackedValue)] = [
            ("calls", .array(record.calls)), ("mail", .array(record.mail)), ("files", .array(record.files)),
            ("outcomes", .array(outcomes)), ("outcome", outcomes[0]),
        ]
        switch settlements[0].outcome {
        case .ack, .returned: break
        case .retry(let after, let reason):
            fields.append(("reason", .text(reason)))
            if let after { fields.append(("after", .number(after.seconds))) }
        case .dead(let reason), .drop(let reason): fields.append(("reason", .text(reason)))
        }
        if let trace = settlements[0].trace { fields.append(("trace", .text(trace))) }
        let published = settlements.flatMap { $0.effects?.publications ?? [] }
        fields.append(("published", .array(published.map(shown))))
        return .map(fields)
    }

    private func shown(_ publication: Publication) -> PackedValue {
        var fields: [(key: String, value: PackedValue)] = [
            ("topic", .text(publication.topic)), ("type", .text(publication.event.type)),
            ("source", .text(publication.event.source)), ("id", .text(publication.event.id)),
        ]
        for attribute in publication.event.attributes {
            let name = attribute.name == "partitionkey" ? "key" : attribute.name
            fields.append((name, .text(attribute.value.canonical)))
        }
        switch publication.event.data {
        case .none: break
        case .json(let bytes): fields.append(("data", .json(bytes)))
        case .text(let bytes), .binary(let bytes): fields.append(("data", .string(bytes)))
        }
        return .map(fields)
    }
}

extension Outcome {
    /// As tests and logs call it.
    fileprivate var name: String {
        switch self {
        case .ack, .returned: "ack"
        case .retry: "retry"
        case .dead: "dead"
        case .drop: "drop"
        }
    }
}

/// An event as a test writes it, `t.event { … }`.
private struct TestEvent {
    private var event = Event(id: "", source: "", type: "")
    private var topic = "test"
    private var attempt = 1
    private var replay = false
    private var key: String?

    struct Refusal: Error {
        var description: String
    }

    init(_ fields: PackedValue) throws(Refusal) {
        for (name, value) in (fields.pairs ?? []).sorted(by: { $0.key < $1.key }) {
            switch (name, value) {
            case ("id", _): event.id = value.text ?? ""
            case ("source", _): event.source = value.text ?? ""
            case ("type", _): event.type = value.text ?? ""
            case ("topic", _): topic = value.text ?? ""
            case ("key", _): key = value.text
            case ("data", .string(let json)): event.data = .json(json)
            case ("attempt", .integer(let number)): attempt = Int(number)
            case ("replay", .boolean(let flag)): replay = flag
            case (_, .boolean(let flag)): event.attributes.append(.init(name, .boolean(flag)))
            case (_, .integer(let number)) where Int32(exactly: number) != nil:
                event.attributes.append(.init(name, .integer(Int32(number))))
            case (_, .string): event.attributes.append(.init(name, .string(value.text ?? "")))
            default: throw Refusal(description: "t.event: \(name) can't be a \(value.typeName)")
            }
        }
    }

    func delivery(offset: Offset, time: Timestamp) -> Delivery {
        var builder = RecordBatchBuilder(topic: .named(topic), key: key.map(FixedKey.init), capacity: 1_024)
        builder.append(event)
        let batch = builder.finish()
        batch.stamp(first: offset, time: time)
        return Delivery(record: batch[0], attempt: attempt, replay: replay)
    }
}

private struct FixedKey: KeyExtractor {
    var key: String

    init(_ key: String) {
        self.key = key
    }

    func withKey(of record: UnsafeRawPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
        Array(key.utf8).withUnsafeBytes(body)
    }
}

/// Hands the one settlement that a test waits for from the lane to it.
final class SettlementSlot: Sendable {
    private struct State {
        var settled: [Settlement] = []
        var waiter: CheckedContinuation<Settlement, Never>?
    }

    private let state = Mutex(State())

    /// `world` takes the state that is written; nil throws it away.
    func put(_ settlements: Settlements, _ world: TestWorld? = nil) {
        for settlement in settlements.acks.map({ Settlement($0, .ack) }) + settlements.others {
            if let effects = settlement.effects { world?.apply(effects) }
            let waiter = state.withLock { state in
                defer { state.waiter = nil }
                if state.waiter == nil { state.settled.append(settlement) }
                return state.waiter
            }
            waiter?.resume(returning: settlement)
        }
        settlements.whenTaken?()
    }

    func next() async -> Settlement {
        await withCheckedContinuation { continuation in
            let ready = state.withLock { state -> Settlement? in
                if !state.settled.isEmpty { return state.settled.removeFirst() }
                state.waiter = continuation
                return nil
            }
            if let ready { continuation.resume(returning: ready) }
        }
    }
}

extension PackedValue {
    /// A test's setting, as routes.conf would have it.
    var setting: PluginValue {
        switch self {
        case .boolean(let value): .boolean(value)
        case .integer(let value): .integer(value)
        case .number(let value): .number(value)
        case .array(let items): .list(items.map(\.setting))
        case .map(let pairs): .block(pairs.map { PluginSetting($0.key, $0.value.setting) })
        case .secret(let name, let value): .secret(name: name, value: String(decoding: value, as: UTF8.self))
        default: .string(shown)
        }
    }
}
