// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events
import Logging

/// One subscriber at work on its lane: hands deliveries to C, answers what handlers want, gathers outcomes.
///
/// Everything in it is touched on the lane's thread only; that is what makes it Sendable.
final class PluginRunner: @unchecked Sendable {
    private let share: LaneShare
    var lane: Lane { share.lane }
    let binding: PluginBinding
    let services: ScriptServices
    let grants: Grants
    let secrets: [(name: String, value: [UInt8])]
    /// Carries out what tests ask for, where this runs a test file.
    let bench: PluginTestBench?
    let plugin: PluginState
    var lua: OpaquePointer { plugin.lua }

    private var settle: (@Sendable (Settlements) -> Void)?
    private var pending = Settlements()
    let unsettled: UnsettledState
    var usage = StateUsageEstimate()
    private var queue: [Delivery] = []
    private var head = 0
    var history = StateHistory()
    /// Run again, each alone, as what they had read was changed meanwhile; in order.
    var outdated: [[Delivery]] = []
    var runsAlone = false
    private var knownTopics: Set<Int> = []
    /// Calls that wanted something, by their slot in C.
    private(set) var calls: [UInt32: PluginCall] = [:]
    var callCount: UInt64 = 0
    /// Events handed to C at once: few where handlers wait, so that little is prepared in vain.
    private var handOver = Limits.laneTurnEvents
    private var answers: [(slot: UInt32, answer: Answer)] = []
    private var turnIsQueued = false
    private(set) var stopping: Stopping?
    private(set) var stopped = false
    private var stopTimers: [TimerHold] = []
    /// Begins nothing new; what is under way goes on.
    var isHeld = false
    /// Waits for the instance that it replaces to end.
    var isFollowing: Bool { predecessor != nil }
    /// nil once that has ended.
    var predecessor: PluginRunner?
    /// Whether the predecessor has been asked to tell when it has ended.
    var isAwaitingPredecessor = false
    var whenQuiet: [ObjectIdentifier: @Sendable () -> Void] = [:]
    var whenIdle: [@Sendable () -> Void] = []
    private var reportedBugs: Set<String> = []
    private var batchTimerIsSet = false
    private var batchIsDue = false

    struct Stopping {
        var reason: StopReason
        /// Who asked for it.
        var waiting: [@Sendable () -> Void]
        /// The plugin's own `stop` is over, too.
        var hasEnded = false
    }

    init(
        share: LaneShare, plugin: PluginState, binding: PluginBinding, services: ScriptServices,
        bench: PluginTestBench? = nil
    ) {
        self.bench = bench
        self.share = share
        self.plugin = plugin
        self.binding = binding
        self.services = services
        unsettled = UnsettledState(services.state)
        grants = Grants(binding.grants)
        secrets = plugin.secrets
        queue.reserveCapacity(1024)
    }

    // MARK: What the destination asks for

    func start(_ settle: @escaping @Sendable (Settlements) -> Void) {
        self.settle = settle
    }

    func take(_ deliveries: [Delivery]) {
        if stopping != nil || stopped {
            for delivery in deliveries { pending.others.append(Settlement(delivery.id, .returned)) }
            flush()
            return
        }
        queue.append(contentsOf: deliveries)
        turn()
    }

    /// Runs `init`; `done` gets the problem where it failed.
    func initialize(_ done: @escaping @Sendable (PluginProblem?) -> Void) {
        guard plugin.hasInit else { return done(nil) }
        call(FL_CALL_INIT, kind: .initialization(done), arguments: [], timeout: Limits.pluginInitTimeout)
        turn()
    }

    /// Runs a test file's entry; `done` gets how it ended.
    func run(_ index: Int, _ done: @escaping @Sendable (Outcome, String?) -> Void) {
        call(FL_CALL_RUN, kind: .test(done), arguments: [.integer(Int64(index))], timeout: binding.timeout)
        turn()
    }

    func stop(_ reason: StopReason, deadline: Duration, _ done: @escaping @Sendable () -> Void) {
        if let stopping {
            if stopping.hasEnded { return done() }
            self.stopping!.waiting.append(done)
            if !stopped { giveUp(in: deadline) }
            return
        }
        stopping = Stopping(reason: reason, waiting: [done])
        for delivery in queue[head...] + outdated.joined() {
            pending.others.append(Settlement(delivery.id, .returned))
        }
        queue = []
        head = 0
        outdated = []
        flush()
        if calls.isEmpty { return finishStop() }
        giveUp(in: deadline)
    }

    private func giveUp(in deadline: Duration) {
        stopTimers.append(wake(in: UInt64(clamping: max(.zero, deadline).nanoseconds)) { $0.giveUp() })
    }

    /// Calls `body` on the lane after so many nanoseconds, unless the hold is let go before.
    func wake(in nanoseconds: UInt64, _ body: @escaping @Sendable (PluginRunner) -> Void) -> TimerHold {
        let hold = TimerHold(self)
        lane.submit(at: Lane.now() &+ nanoseconds) {
            if let runner = hold.runner { body(runner) }
            hold.letGo()
        }
        return hold
    }

    /// The stop's deadline has passed: what still waits is given back.
    private func giveUp() {
        guard stopping != nil, !stopped else { return }
        for (slot, call) in calls {
            call.cancelWait()
            _ = fl_lua_cancel(lua, slot)
            for delivery in call.deliveries { pending.others.append(Settlement(delivery.id, .returned)) }
        }
        calls = [:]
        answers = []
        flush()
        // Whoever has asked for quiet: there is no other turn in which it would be told.
        tellIdle()
        finishStop()
    }

    private func finishStop() {
        guard let stopping, !stopped else { return }
        stopped = true
        tellIfQuiet()
        guard plugin.hasStop else { return endStop() }
        call(
            FL_CALL_STOP, kind: .stop { self.endStop() }, arguments: [.text(stopping.reason.rawValue)],
            timeout: Limits.pluginStopTimeout)
        turn()
    }

    private func endStop() {
        let waiting = stopping?.waiting ?? []
        stopping?.waiting = []
        stopping?.hasEnded = true
        for hold in stopTimers { hold.letGo() }
        stopTimers = []
        leavePredecessor()
        for done in waiting { done() }
    }

    // MARK: The turn

    /// Works until nothing is left that can go on, or its share of the lane is used up.
    func turn() {
        let end = Lane.now() + Limits.laneTurnNanoseconds
        fl_lua_set_time(lua, services.clock.now().milliseconds)
        while true {
            if !answers.isEmpty {
                let (slot, answer) = answers.removeFirst()
                resume(slot, answer)
            } else if isHeld || isFollowing {
                break
            } else if runsAlone || !outdated.isEmpty {
                guard beginOutdated() else { break }
            } else if plugin.takesBatches {
                guard beginBatch() else { break }
            } else {
                guard beginEvents(until: end) else { break }
            }
            if Lane.now() > end {
                continueLater()
                break
            }
        }
        if calls.isEmpty { history.clear() }
        flush()
        if calls.isEmpty { tellIdle() }
        if stopping != nil, !stopped, calls.isEmpty { finishStop() }
    }

    private func continueLater() {
        guard !turnIsQueued else { return }
        turnIsQueued = true
        lane.submit {
            self.turnIsQueued = false
            self.turn()
        }
    }

    private func flush() {
        guard !pending.isEmpty, let settle else { return }
        var settlements = pending
        pending = Settlements()
        guard settlements.writesState else { return settle(settlements) }
        // The next call reads what these wrote. The lane waits, since an `add` that both the reader and `unsettled`
        // show would count twice.
        let taken = Gate()
        settlements.whenTaken = { taken.open() }
        settle(settlements)
        taken.wait()
        unsettled.forget()
    }

    private func beginEvents(until end: UInt64) -> Bool {
        guard head < queue.count, stopping == nil, fl_lua_free_tasks(lua) > 0 else { return false }
        let count = min(handOver, queue.count - head)
        let slice = Array(queue[head..<head + count])
        let events = nativeEvents(slice)
        let now = Lane.now()
        let report = fl_lua_run(lua, events, events.count, end > now ? end - now : 1)!
        let begun = report.pointee.begun
        head += begun
        handOver = begun < count ? max(begun * 2, 1) : min(handOver * 2, Limits.laneTurnEvents)
        if head == queue.count {
            queue.removeAll(keepingCapacity: true)
            head = 0
        } else if head > 4_096 {
            queue.removeFirst(head)
            head = 0
        }
        withExtendedLifetime(slice) { process(report, slice) }
        return begun > 0
    }

    /// `tag` is the event's place in `deliveries`.
    func nativeEvents(_ deliveries: [Delivery]) -> [fl_lua_event] {
        var events: [fl_lua_event] = []
        events.reserveCapacity(deliveries.count)
        for (index, delivery) in deliveries.enumerated() {
            let topic = delivery.record.topic
            if !knownTopics.contains(topic.id) {
                knownTopics.insert(topic.id)
                fl_lua_topic(lua, UInt32(topic.id), topic.shownName, topic.shownName.utf8.count)
            }
            events.append(
                fl_lua_event(
                    record: delivery.record.bytes, tag: UInt64(index), topic: UInt32(topic.id),
                    attempt: UInt32(clamping: delivery.attempt), replay: delivery.replay ? 1 : 0))
        }
        return events
    }

    private func beginBatch() -> Bool {
        guard head < queue.count, stopping == nil, fl_lua_free_tasks(lua) > 0 else { return false }
        let most = binding.batch?.count ?? Limits.laneTurnEvents
        if let batch = binding.batch, queue.count - head < batch.count, !batchIsDue {
            if !batchTimerIsSet {
                batchTimerIsSet = true
                // Weak: it may be a day until then, and the subscriber gone.
                lane.submit(at: Lane.now() &+ UInt64(clamping: batch.every.nanoseconds)) { [weak self] in
                    guard let self else { return }
                    self.batchTimerIsSet = false
                    self.batchIsDue = true
                    self.turn()
                }
            }
            return false
        }
        batchIsDue = false
        let count = min(most, queue.count - head)
        let slice = Array(queue[head..<head + count])
        head += count
        if head == queue.count {
            queue.removeAll(keepingCapacity: true)
            head = 0
        }
        callCount += 1
        let events = nativeEvents(slice)
        let call = PluginCall(id: callCount, kind: .batch, deliveries: slice, started: Lane.now())
        let report = fl_lua_run_batch(lua, events, events.count, callCount)!
        process(report, slice, call)
        return true
    }

    private func call(_ function: Int, kind: PluginCall.Kind, arguments: [PackedValue], timeout: Duration) {
        callCount += 1
        let packed = PackedValue.array(arguments).packed()
        let call = PluginCall(id: callCount, kind: kind, deliveries: [], started: Lane.now())
        call.timeout = timeout
        fl_lua_set_time(lua, services.clock.now().milliseconds)
        let report = fl_lua_call(lua, Int32(function), packed, packed.count, callCount)!
        process(report, [], call)
    }

    private func resume(_ slot: UInt32, _ answer: Answer) {
        let (kind, value) = answer.packed
        let bytes = value.packed()
        guard let call = calls[slot] else { return }
        let report = fl_lua_answer(lua, slot, Int32(kind), bytes, bytes.count)!
        process(report, call.deliveries, call)
    }

    // MARK: Reports

    /// - Parameter fresh: the call that the report is about, where it is about one; else it is about single events,
    ///   whose tags are their places in `deliveries`.
    func process(_ report: UnsafePointer<fl_lua_report>, _ deliveries: [Delivery], _ fresh: PluginCall? = nil) {
        let report = report.pointee
        func bytes(_ run: fl_lua_run_of_bytes) -> UnsafeRawBufferPointer {
            guard let base = report.bytes, run.length > 0 else { return UnsafeRawBufferPointer(start: nil, count: 0) }
            return UnsafeRawBufferPointer(start: base + Int(run.at), count: Int(run.length))
        }
        if report.ack_count == deliveries.count, fresh == nil {
            pending.acks.reserveCapacity(pending.acks.count + report.ack_count)
            for delivery in deliveries { pending.acks.append(delivery.id) }
        } else {
            for index in 0..<report.ack_count { pending.acks.append(deliveries[Int(report.acks[index])].id) }
        }
        for index in 0..<report.log_count {
            let log = report.logs[index]
            guard let arguments = PackedValue(bytes(log.arguments))?.items else { continue }
            // A call that Swift knows of brings its deliveries along; any other is about one event, at the place it names.
            let call = fresh ?? calls[log.task]
            let place = Int(truncatingIfNeeded: log.tag)
            let about = call?.deliveries ?? (deliveries.indices.contains(place) ? [deliveries[place]] : [])
            write(log.level, arguments, about)
        }
        for index in 0..<report.end_count {
            let end = report.ends[index]
            let call = fresh ?? calls[end.task]
            let reason = redact(String(decoding: bytes(end.reason), as: UTF8.self))
            let trace = redact(String(decoding: bytes(end.trace), as: UTF8.self))
            finish(end, call, call?.deliveries ?? [deliveries[Int(end.tag)]], reason: reason, trace: trace)
        }
        var wanted: [(call: PluginCall, slot: UInt32, want: Want)] = []
        for index in 0..<report.want_count {
            let want = report.wants[index]
            let call: PluginCall
            if let fresh {
                call = fresh
            } else {
                callCount += 1
                call = PluginCall(
                    id: callCount, kind: .event, deliveries: [deliveries[Int(want.tag)]], started: Lane.now())
            }
            calls[want.task] = call
            let arguments = PackedValue(bytes(want.arguments))?.items ?? []
            wanted.append((call, want.task, Want(kind: Int(want.kind), arguments: arguments)))
        }
        // C's report ends here: answering makes the next one.
        for (call, slot, want) in wanted {
            if call.overlay == nil {
                call.overlay = StateOverlay(subscriber: binding.subscriber, reader: unsettled)
            }
            call.overlay?.moment = history.moment
            if let answer = perform(want, call, slot) {
                answers.append((slot, answer))
            } else {
                watch(call, slot)
            }
        }
    }

    /// Sees to it that a call that waits ends when its time is over.
    private func watch(_ call: PluginCall, _ slot: UInt32) {
        guard !call.isWatched else { return }
        call.isWatched = true
        let timeout = call.timeout ?? binding.timeout
        let id = call.id
        lane.submit(at: call.started &+ UInt64(clamping: timeout.nanoseconds)) { [weak self] in
            guard let self, let call = self.calls[slot], call.id == id else { return }
            self.expire(call, slot, "took longer than \(timeout.milliseconds) ms (timeout)")
        }
    }

    /// Stops a call that waits; `reason` goes on after "stopped:".
    func expire(_ call: PluginCall, _ slot: UInt32, _ reason: String) {
        call.cancelWait()
        answers.removeAll { $0.slot == slot }
        let report = fl_lua_cancel(lua, slot)!.pointee
        var trace = ""
        if report.end_count > 0, let base = report.bytes {
            let run = report.ends[0].trace
            trace = String(
                decoding: UnsafeRawBufferPointer(start: base + Int(run.at), count: Int(run.length)), as: UTF8.self)
        }
        let end = fl_lua_end(
            tag: 0, task: slot, index: -1, outcome: UInt8(FL_LUA_RETRY), cause: UInt8(FL_LUA_KILLED_WALL), more: 0,
            after: -1, reason: fl_lua_run_of_bytes(), trace: fl_lua_run_of_bytes())
        finish(
            end, call, call.deliveries, reason: "stopped: \(reason)",
            trace: redact(trace))
        turn()
    }

    private func finish(
        _ end: fl_lua_end, _ call: PluginCall?, _ deliveries: [Delivery], reason: String, trace: String
    ) {
        if end.more == 0 { calls[end.task] = nil }
        let outcome: Outcome =
            switch Int(end.outcome) {
            case FL_LUA_RETRY:
                .retry(
                    after: end.after < 0 ? nil : min(.seconds(end.after), Limits.retryAfterMax),
                    reason: reason.isEmpty ? "the plugin asked for a retry" : reason)
            case FL_LUA_DEAD: .dead(reason: reason)
            case FL_LUA_DROP: .drop(reason: reason)
            default: .ack
            }
        if Int(end.cause) == FL_LUA_BUG, reportedBugs.insert(reason).inserted {
            services.logger.error(
                "Plugin bug",
                metadata: [
                    "subscriber": "\(binding.subscriber)", "plugin": "\(binding.source.name)",
                    "error": "\(reason)",
                ])
        }
        let shown = trace.isEmpty ? nil : trace
        switch call?.kind {
        case .initialization(let done):
            if outcome == .ack { return done(nil) }
            var problem = PluginProblem(luaError: reason, trace: trace)
            problem.message = "init failed: \(problem.message)"
            return done(problem)
        case .stop(let done):
            if outcome != .ack {
                services.logger.warning(
                    "Plugin's stop failed",
                    metadata: ["subscriber": "\(binding.subscriber)", "error": "\(reason)"])
            }
            return done()
        case .test(let done):
            return done(outcome, shown)
        case .migration(let done):
            if outcome == .ack { return done(.success(call?.effects?.state ?? [])) }
            var problem = PluginProblem(luaError: reason, trace: trace)
            problem.message = "migrate failed: \(problem.message)"
            return done(.failure(PluginError(problem)))
        case .event, .batch, nil: break
        }
        if let call, outcome.isDone || end.more != 0 || call.isOutdated, isOutdated(call) {
            guard end.more == 0 else { return }
            if stopping == nil { return outdated.append(deliveries) }
            return pending.others += deliveries.map { Settlement($0.id, .returned) }
        }
        var effects = outcome.isDone ? call?.effects : nil
        let wasKilled = [FL_LUA_KILLED_CPU, FL_LUA_KILLED_MEMORY].contains(Int(end.cause))
        if end.index >= 0 {
            // Of a batch with outcomes by index, the effects go with the first event that is done.
            if outcome.isDone { call?.forgetEffects() }
            settle(deliveries[Int(end.index)], outcome, effects, shown, wasKilled)
        } else {
            for delivery in deliveries {
                settle(delivery, outcome, effects, shown, wasKilled)
                effects = nil
            }
        }
    }

    private func settle(
        _ delivery: Delivery, _ outcome: Outcome, _ effects: Effects?, _ trace: String?, _ wasKilled: Bool
    ) {
        let effects = effects.flatMap { $0.isEmpty ? nil : $0 }
        if outcome == .ack, effects == nil {
            pending.acks.append(delivery.id)
        } else {
            if let effects {
                unsettled.add(effects)
                if binding.concurrency > 1 { history.add(effects.state) }
            }
            pending.others.append(
                Settlement(delivery.id, outcome, effects: effects, trace: trace, wasKilled: wasKilled))
        }
    }

    /// What the host says with each line that a plugin logs.
    static let logFields: Set<String> = ["subscriber", "event.id", "attempt"]

    private func write(_ level: UInt8, _ arguments: [PackedValue], _ deliveries: [Delivery]) {
        let message = redact(arguments.first?.text ?? "")
        if Int(level) == FL_LOG_METRIC {
            return services.metric(binding.subscriber, message, arguments.last?.double ?? 1)
        }
        var metadata: Logger.Metadata = [:]
        for (key, value) in (arguments.count > 1 ? arguments[1].pairs : nil) ?? [] {
            metadata[key] = .string(redact(value.shown))
        }
        metadata["subscriber"] = "\(binding.subscriber)"
        if deliveries.count == 1 {
            metadata["event.id"] = "\(deliveries[0].record.id)"
            metadata["attempt"] = "\(deliveries[0].attempt)"
        }
        let levels: [Logger.Level] = [.debug, .info, .warning, .error]
        services.logger.log(level: levels[Int(level)], "\(message)", metadata: metadata)
    }

    /// Takes every secret of the settings out of a text that people will read.
    func redact(_ text: String) -> String {
        guard text.utf8.count > Limits.pluginReasonBytesMax * 2 else { return text.redacting(secrets) }
        return String(text.prefix(Limits.pluginReasonBytesMax)).redacting(secrets) + "…"
    }

    /// Processor time of the plugin's own code so far.
    var spent: Duration { .nanoseconds(Int64(clamping: fl_lua_spent(lua))) }

    /// An answer that comes from elsewhere, for the call that `id` names if that still waits.
    func complete(_ slot: UInt32, _ id: UInt64, _ answer: Answer) {
        lane.submit {
            guard let call = self.calls[slot], call.id == id else { return }
            call.wait = nil
            self.answers.append((slot, answer))
            self.turn()
        }
    }
}

extension Outcome {
    /// Whether effects are committed with it.
    var isDone: Bool {
        switch self {
        case .ack, .drop: true
        case .retry, .dead, .returned: false
        }
    }
}

extension String {
    /// With secrets' names in place of their values.
    package func redacting(_ secrets: [(name: String, value: [UInt8])]) -> String {
        var text = self
        for (name, value) in secrets where value.count >= 4 {
            text = SecretParts.hide(String(decoding: value, as: UTF8.self), in: text, as: "secret(\(name))")
        }
        return text
    }
}

extension PluginValue {
    var secrets: [(name: String, value: [UInt8])] {
        switch self {
        case .secret(let name, let value): [(name, Array(value.utf8))]
        case .list(let values): values.flatMap(\.secrets)
        case .block(let settings): settings.flatMap { $0.value.secrets }
        default: []
        }
    }
}

extension PackedValue {
    /// All that are in it, with their values.
    var secrets: [(name: String, value: [UInt8])] {
        switch self {
        case .secret(let name, let value): [(name, value)]
        case .array(let items): items.flatMap(\.secrets)
        case .map(let pairs): pairs.flatMap { $0.value.secrets }
        default: []
        }
    }

    /// For logs.
    var shown: String {
        switch self {
        case .none: "nil"
        case .null: "null"
        case .boolean(let value): "\(value)"
        case .integer(let value): "\(value)"
        case .number(let value): value.plain
        case .string(let value), .json(let value): String(decoding: value, as: UTF8.self)
        case .secret(let name, _): "secret(\(name))"
        case .array(let items): "[" + items.map(\.shown).joined(separator: ", ") + "]"
        case .map(let pairs): "{" + pairs.map { "\($0.key): \($0.value.shown)" }.joined(separator: ", ") + "}"
        case .other(let type): type
        }
    }
}
