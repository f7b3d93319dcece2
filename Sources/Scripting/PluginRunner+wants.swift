// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

extension PluginRunner {
    /// Answers what can be answered at once; nil where the answer comes later through ``complete(_:_:_:)``.
    func perform(_ want: Want, _ call: PluginCall, _ slot: UInt32) -> Answer? {
        switch want.kind {
        case FL_WANT_STATE_GET, FL_WANT_STATE_PUT, FL_WANT_STATE_ADD, FL_WANT_STATE_DELETE, FL_WANT_STATE_LIST:
            do {
                return try performState(want, call)
            } catch {
                return .error("the state can't be read: \(error)")
            }
        case FL_WANT_PUBLISH: return performPublish(want, call)
        case FL_WANT_HTTP: return performHTTP(want, call, slot)
        case FL_WANT_MAIL: return performMail(want, call, slot)
        case FL_WANT_FILE: return performFile(want, call, slot)
        case FL_WANT_SLEEP: return performSleep(want, call, slot)
        case FL_WANT_ENV: return performEnv(want)
        case FL_WANT_TEST:
            guard let bench else { return .error("fairlead.test is available only in tests") }
            let id = call.id
            call.wait = Task { self.complete(slot, id, await bench.perform(want)) }
            return nil
        default: return .error("not available here")
        }
    }

    private func performState(_ want: Want, _ call: PluginCall) throws -> Answer {
        let key = want[0].text ?? ""
        switch want.kind {
        case FL_WANT_STATE_GET:
            guard let value = try call.overlay!.value(key) else { return .values([]) }
            return .values([.json(value)])
        case FL_WANT_STATE_PUT:
            guard case .string(let value) = want[1] else { return .error("ctx.state.put: no value") }
            guard value.count <= Limits.pluginStateValueBytesMax else {
                return .error(
                    "ctx.state.put: \"\(key)\" is \(value.count) bytes as JSON; the limit is \(Limits.pluginStateValueBytesMax)"
                )
            }
            if let refusal = try refusal(ofKeeping: value.count, under: key, call) { return .error(refusal) }
            let expires = want[2].double.map { services.clock.now() + .seconds($0) }
            call.overlay!.put(key, value, expires: expires)
        case FL_WANT_STATE_ADD:
            let delta: StateNumber
            switch want[1] {
            case .integer(let value): delta = .integer(value)
            case .number(let value) where value.isFinite: delta = .float(value)
            default: return .error("ctx.state.add: the amount is no finite number")
            }
            if let refusal = try refusal(ofKeeping: Limits.stateNumberBytes, under: key, call) {
                return .error(refusal)
            }
            guard let sum = try call.overlay!.add(key, delta) else {
                return .error("ctx.state.add: \"\(key)\" holds something that is not a number")
            }
            switch sum {
            case .integer(let value): return checkWrites(call) ?? .values([.integer(value)])
            case .float(let value): return checkWrites(call) ?? .values([.number(value)])
            }
        case FL_WANT_STATE_DELETE:
            call.overlay!.delete(key)
        default:
            return try performList(want, call)
        }
        return checkWrites(call) ?? .values([])
    }

    private func checkWrites(_ call: PluginCall) -> Answer? {
        let most = if case .migration = call.kind { Limits.pluginMigrateWritesMax } else { Limits.pluginStateWritesMax }
        guard call.overlay!.writes.count > most else { return nil }
        return .error("one call may write \(most) state keys; this is one more")
    }

    private func performList(_ want: Want, _ call: PluginCall) throws -> Answer {
        let options = want[1]
        var limit = Limits.pluginStateListMax
        var after: String?
        for (name, value) in options.pairs ?? [] {
            switch (name, value) {
            case ("limit", .integer(let number)) where number > 0: limit = min(limit, Int(clamping: number))
            case ("after", .string(let bytes)): after = String(decoding: bytes, as: UTF8.self)
            default: return .error("ctx.state.list: its options are limit (a number above 0) and after (a key)")
            }
        }
        let entries = try call.overlay!.list(prefix: want[0].text ?? "", after: after, limit: limit)
        return .values([.array(entries.map { .map([("key", .text($0.key)), ("value", .json($0.value))]) })])
    }

    private func performSleep(_ want: Want, _ call: PluginCall, _ slot: UInt32) -> Answer? {
        let id = call.id
        let nanoseconds = min(want[0].double ?? 0, 1e9) * 1e9
        if let advance = services.advance {
            advance(.nanoseconds(Int64(max(0, nanoseconds))))
            return .values([])
        }
        call.sleep = wake(in: UInt64(max(0, nanoseconds))) { $0.complete(slot, id, .values([])) }
        return nil
    }

    private func performEnv(_ want: Want) -> Answer {
        let name = want[0].text ?? ""
        guard grants.allowsVariable(name) else {
            return .error(refusal("env(\"\(name)\")", allow: "env \(name)"))
        }
        return .values(services.environment(name).map { [.text($0)] } ?? [])
    }

    /// The text of a refused call. Where it stands in the plugin is put before it in C.
    func refusal(_ what: String, allow: String) -> String {
        "\(what) is not granted to plugin \"\(binding.source.name)\"; add `allow \(allow)` to subscriber "
            + "\(binding.subscriber) in routes.conf"
    }

    private func performPublish(_ want: Want, _ call: PluginCall) -> Answer {
        let topic = want[0].text ?? ""
        guard grants.allowsPublish(to: topic) else {
            return .error(refusal("publishing to \(topic)", allow: "publish \(topic)"))
        }
        guard call.publications.count < Limits.pluginPublicationsMax else {
            return .error("one call may publish \(Limits.pluginPublicationsMax) events; this is one more")
        }
        var event = Event(
            id: Event.randomID(), source: "/subscribers/\(binding.subscriber)", type: topic, attributes: [])
        var bytes: [UInt8] = []
        if case .string(let data) = want[1] { bytes = data }
        if bytes.count > Limits.eventBytesMax {
            return .error("ctx.publish: data is \(bytes.count) bytes; the limit is \(Limits.eventBytesMax)")
        }
        switch want[2] {
        case .integer(Int64(FL_DATA_JSON)): event.data = .json(bytes)
        case .integer(Int64(FL_DATA_TEXT)): event.data = .text(bytes)
        case .integer(Int64(FL_DATA_BINARY)): event.data = .binary(bytes)
        default: event.data = .none
        }
        for (name, value) in (want[3].pairs ?? []).sorted(by: { $0.key < $1.key }) {
            if case .secret(let secret, _) = value {
                return .error("ctx.publish: \(name) is secret(\(secret)), which may not leave in an event")
            }
            switch (name, value.text) {
            case ("type", let text?) where !text.isEmpty: event.type = text
            case ("id", let text?) where !text.isEmpty: event.id = text
            case ("source", let text?) where !text.isEmpty: event.source = text
            // The CloudEvents partitioning extension.
            case ("key", let text?): event.attributes.append(.init("partitionkey", .string(text)))
            case ("type", _), ("id", _), ("source", _), ("key", _), ("data", _), ("specversion", _):
                return .error(
                    "ctx.publish: \(name) can't be a \(value.typeName)" + (name == "key" ? "; use tostring" : ""))
            default:
                if let refused = addAttribute(name, value, to: &event) { return .error(refused) }
            }
        }
        for attribute in event.attributes {
            let refusal = ScheduleAttribute.refusal(
                of: attribute.name, attribute.value.canonical, in: topic, keeping: services.kept(topic),
                now: services.clock.now())
            if let refusal { return .error("ctx.publish: \(refusal.message)") }
        }
        inheritTrace(call, &event)
        if event["time"] == nil {
            event.attributes.append(.init("time", .string(services.clock.now().rfc3339)))
        }
        call.publish(Publication(topic: topic, event: event))
        return .values([])
    }

    /// What a handler publishes belongs to the trace of the event that it handles, unless it names another. Of a batch no one
    /// event is the cause.
    private func inheritTrace(_ call: PluginCall, _ event: inout Event) {
        guard call.deliveries.count == 1, event["traceparent"] == nil, event["tracestate"] == nil,
            let record = call.deliveries.first?.record, let parent = record.attribute("traceparent")
        else { return }
        event.attributes.append(.init("traceparent", .string(parent)))
        if let state = record.attribute("tracestate") { event.attributes.append(.init("tracestate", .string(state))) }
    }

    private func addAttribute(_ name: String, _ value: PackedValue, to event: inout Event) -> String? {
        let isName = name.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) }
        guard isName, name.utf8.count <= Limits.attributeNameBytesMax else {
            return "ctx.publish: \"\(name)\" is no attribute's name; those are lower-case letters and digits"
        }
        switch value {
        case .string(let bytes):
            guard bytes.count <= Limits.attributeValueBytesMax, String(validating: bytes, as: UTF8.self) != nil else {
                return "ctx.publish: \(name) is not UTF-8, or longer than \(Limits.attributeValueBytesMax) bytes"
            }
            event.attributes.append(.init(name, .string(String(decoding: bytes, as: UTF8.self))))
        case .boolean(let flag): event.attributes.append(.init(name, .boolean(flag)))
        case .integer(let number):
            guard let small = Int32(exactly: number) else {
                return "ctx.publish: \(name) is \(number), and an integer attribute has 32 bits; use tostring"
            }
            event.attributes.append(.init(name, .integer(small)))
        default: return "ctx.publish: \(name) can't be a \(value.typeName)"
        }
        return nil
    }
}

extension Event {
    /// A random UUID (RFC 9562, version 4).
    static func randomID() -> String {
        var text = [CChar](repeating: 0, count: 37)
        fl_random_uuid(&text)
        return String(decoding: text.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension Timestamp {
    /// In UTC, with milliseconds.
    var rfc3339: String {
        let (days, ofDay) = milliseconds.flooredDivision(by: 86_400_000)
        // Years are counted from March, so that the leap day is the last of its year.
        let (era, dayOfEra) = (days + 719_468).flooredDivision(by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shifted + 2) / 5 + 1
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        func pad(_ value: Int64, _ width: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, width - text.count)) + text
        }
        let seconds = ofDay / 1_000
        return "\(pad(year, 4))-\(pad(month, 2))-\(pad(day, 2))T\(pad(seconds / 3_600, 2)):"
            + "\(pad(seconds / 60 % 60, 2)):\(pad(seconds % 60, 2)).\(pad(ofDay % 1_000, 3))Z"
    }
}

extension Int64 {
    func flooredDivision(by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        var (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        if remainder < 0 {
            quotient -= 1
            remainder += divisor
        }
        return (quotient, remainder)
    }
}
