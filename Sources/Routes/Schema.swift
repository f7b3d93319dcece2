// SPDX-License-Identifier: Apache-2.0

import Events

/// What kind of block a statement stands in.
enum BlockKind: Hashable, CaseIterable, Sendable {
    case top, topic, retry, subscriber, push, pull, limits, mail, smtp, token, tls, keep, test
    /// A plugin's settings: any keyword, nested at will.
    case settings
    /// A test's event: attributes and paths into the data.
    case event
    /// The block of a keyword that isn't known, or takes none.
    case unknown

    var isFree: Bool { self == .settings || self == .event || self == .unknown }

    /// Its statements have one value each, so that several may share a line: `{ user "shop" password secret("X") }`.
    var sharesLines: Bool {
        switch self {
        case .settings, .event, .smtp, .limits, .mail, .pull, .tls, .keep: true
        default: false
        }
    }

    /// As a sentence names it.
    var name: String {
        switch self {
        case .top: "the top level"
        case .topic: "a `topic` block"
        case .retry: "a `retry` block"
        case .subscriber: "a `subscriber` block"
        case .push: "a `push` block"
        case .pull: "a `pull` block"
        case .limits: "a `limits` block"
        case .mail: "a `mail` block"
        case .smtp: "an `smtp` block"
        case .token: "a `token` block"
        case .tls: "a `tls` block"
        case .keep: "a `keep` block"
        case .test: "a `test` block"
        case .settings: "a plugin's settings"
        case .event: "a `publish` block"
        case .unknown: "this block"
        }
    }
}

/// A keyword of routes.conf in one kind of block. This table is what the file is checked against, and what messages,
/// suggestions and the manual say.
///
/// A class, as every statement of a large file refers to one.
final class Keyword: Sendable {
    let name: String
    let context: BlockKind
    let shape: Shape
    let block: BlockKind?
    let needsBlock: Bool
    /// May stand several times in one block.
    let isRepeatable: Bool
    /// May stand once for each first word that it takes: `on dead …` and `on bad_reload …`.
    let hasForms: Bool
    let takesFilter: Bool
    /// A change of it needs a restart.
    let isRestartOnly: Bool
    /// What holds where it is left out, as it would be written; nil where nothing is done without it.
    let defaultText: String?
    let doc: String

    init(
        name: String, context: BlockKind, shape: Shape, block: BlockKind? = nil, needsBlock: Bool = false,
        isRepeatable: Bool = false, hasForms: Bool = false, takesFilter: Bool = false, isRestartOnly: Bool = false,
        defaultText: String? = nil, doc: String
    ) {
        self.name = name
        self.context = context
        self.shape = shape
        self.block = block
        self.needsBlock = needsBlock
        self.isRepeatable = isRepeatable
        self.hasForms = hasForms
        self.takesFilter = takesFilter
        self.isRestartOnly = isRestartOnly
        self.defaultText = defaultText
        self.doc = doc
    }

    /// Whether no other kind of block knows a keyword of this name.
    var isTopLevelOnly: Bool { Schema.contexts[name] == [.top] }
}

enum Schema {
    /// The keyword called `name` in `context`.
    static func keyword(_ name: String, in context: BlockKind) -> Keyword? { index[Key(name: name, context: context)] }

    /// The keywords of `context`, in the order of the table.
    static func keywords(in context: BlockKind) -> [Keyword] { keywords.filter { $0.context == context } }

    private struct Key: Hashable, Sendable {
        var name: String
        var context: BlockKind
    }

    private static let index = Dictionary(
        uniqueKeysWithValues: keywords.map { (Key(name: $0.name, context: $0.context), $0) })

    static let contexts: [String: [BlockKind]] = keywords.reduce(into: [:]) {
        $0[$1.name, default: []].append($1.context)
    }

    static let keywords: [Keyword] = top + topic + retry + subscriber + delivery + mail + access + keep + test

    private static let top: [Keyword] = [
        Keyword(
            name: "include", context: .top, shape: .one(.string), isRepeatable: true,
            doc: "Reads other files, sorted by name, relative to this one's folder."),
        Keyword(
            name: "let", context: .top, shape: .sequence([.one(.name), .one(.value)]), isRepeatable: true,
            doc: "Names a value, to be used wherever a value is expected."),
        Keyword(
            name: "listen", context: .top, shape: .one(.address), isRestartOnly: true, defaultText: "127.0.0.1:8080",
            doc: "Where publish, pull and administration are served."),
        Keyword(
            name: "data", context: .top, shape: .one(.string), isRestartOnly: true, defaultText: #""data""#,
            doc: "The folder of journal and ledger, relative to that of routes.conf."),
        Keyword(
            name: "plugins", context: .top, shape: .one(.string), defaultText: #""Plugins""#,
            doc: "The folder of Lua plugins, relative to that of routes.conf."),
        Keyword(
            name: "mail", context: .top, shape: .sequence([]), block: .mail, needsBlock: true,
            defaultText: #"{ directory "data/mail" }"#, doc: "Where plugins' mail goes."),
        Keyword(
            name: "topic", context: .top, shape: .one(.topicName), block: .topic, isRepeatable: true,
            doc: "Declares a topic."),
        Keyword(
            name: "retry", context: .top, shape: .one(.name), block: .retry, needsBlock: true, isRepeatable: true,
            doc: "Names a retry policy."),
        Keyword(
            name: "subscriber", context: .top, shape: .one(.name), block: .subscriber, needsBlock: true,
            isRepeatable: true, doc: "Declares a subscriber: which events, how delivered, retried, limited."),
        Keyword(
            name: "test", context: .top, shape: .one(.string), block: .test, needsBlock: true, isRepeatable: true,
            doc: "Says which subscribers an event should reach; run by `fairlead test`."),
        Keyword(
            name: "token", context: .top, shape: .sequence([.one(.string), .one(.secret)]), block: .token,
            needsBlock: true, isRepeatable: true, doc: "A client's token and what it may do."),
        Keyword(
            name: "tls", context: .top, shape: .sequence([]), block: .tls, needsBlock: true, isRestartOnly: true,
            doc: "Serves HTTPS, with this certificate and key."),
        Keyword(
            name: "event", context: .top, shape: .sequence([.word("max"), .one(.size)]), defaultText: "max 1MiB",
            doc: """
                Bytes of one event as it is published, from 64KiB to 1MiB. Of a binary event its body counts, of others \
                all of their JSON.
                """),
        Keyword(
            name: "keep", context: .top, shape: .sequence([]), block: .keep, needsBlock: true,
            defaultText: "{ attempts 7d; dead forever }", doc: "How long what happened is remembered."),
        Keyword(
            name: "insecure", context: .top, shape: .choice([.word("yes"), .word("no")]), isRestartOnly: true,
            defaultText: "no", doc: "Lets anybody in who reaches `listen`, where no `token` is declared."),
    ]

    private static let unlessUnsettled: Shape = .optional(.sequence([.word("unless"), .word("unsettled")]))

    private static let topic: [Keyword] = [
        Keyword(
            name: "retain", context: .topic,
            shape: .choice([
                .sequence([.one(.duration), .optional(.one(.size)), unlessUnsettled]),
                .sequence([.one(.size), .optional(.one(.duration)), unlessUnsettled]),
                .word("forever"),
            ]), defaultText: "forever",
            doc: """
                How long, or up to how many bytes, events are kept. A subscriber that has not settled them by then loses \
                them, and `$alert` says so; `unless unsettled` keeps them until every subscriber has.
                """),
        Keyword(
            name: "key", context: .topic, shape: .one(.keyPath),
            doc: "What events are ordered by: an attribute, or a path into the data."),
        Keyword(
            name: "dedupe", context: .topic, shape: .one(.duration),
            doc: "Within this time, an event with the same source and id is accepted once."),
        Keyword(
            name: "sync", context: .topic,
            shape: .choice([.word("always"), .sequence([.word("interval"), .one(.duration)])]),
            defaultText: "always",
            doc: "When events are forced to disk: before each answer, or at intervals, which a power cut may cost."),
    ]

    private static let retry: [Keyword] = [
        Keyword(
            name: "attempts", context: .retry, shape: .choice([.one(.integer(1...1_000_000)), .word("unlimited")]),
            defaultText: "8", doc: "Attempts before an event becomes a dead letter."),
        Keyword(
            name: "backoff", context: .retry,
            shape: .sequence([
                .one(.duration), .optional(.sequence([.word("to"), .one(.duration)])),
                .optional(.sequence([.word("jitter"), .one(.percent)])),
            ]), defaultText: "1s to 10m jitter 20%",
            doc: "Time before the next attempt: doubling from the first to the second, or constant."),
        Keyword(
            name: "timeout", context: .retry, shape: .one(.duration), defaultText: "10s",
            doc: "Longest that one attempt may take."),
    ]

    private static let subscriber: [Keyword] = [
        Keyword(
            name: "from", context: .subscriber, shape: .many(.topicPattern),
            doc: "Topics: by name, `*` for one segment, `**` for all but system topics."),
        Keyword(
            name: "where", context: .subscriber, shape: .sequence([]), takesFilter: true,
            doc: "Takes only events that this is true of."),
        Keyword(
            name: "run", context: .subscriber, shape: .one(.name), block: .settings,
            doc: "Gives each event to a Lua plugin; the block is the plugin's settings."),
        Keyword(
            name: "push", context: .subscriber, shape: .one(.url), block: .push, doc: "Posts each event to a URL."),
        Keyword(
            name: "pull", context: .subscriber, shape: .sequence([]), block: .pull,
            doc: "Keeps events until a client takes them."),
        Keyword(
            name: "batch", context: .subscriber,
            shape: .sequence([.one(.integer(1...Limits.batchPolicyCountMax)), .word("every"), .one(.duration)]),
            doc:
                "Gives the plugin, or the endpoint, up to so many events at a time: when there are as many, or after this time."
        ),
        Keyword(
            name: "retry", context: .subscriber, shape: .optional(.one(.name)), block: .retry,
            defaultText: "attempts 8, backoff 1s to 10m jitter 20%, timeout 10s",
            doc: "A named policy, changes to it, or a policy of its own."),
        Keyword(
            name: "concurrency", context: .subscriber, shape: .one(.integer(1...Limits.concurrencyMax)),
            defaultText: "1",
            doc: "Deliveries at the same time."),
        Keyword(
            name: "rate", context: .subscriber, shape: .one(.rate),
            doc: "Deliveries per second, minute or hour at most."),
        Keyword(
            name: "ordered", context: .subscriber, shape: .sequence([]),
            doc: "Events with the same key one after the other, in their order."),
        Keyword(
            name: "deliver", context: .subscriber, shape: .sequence([.word("after"), .one(.duration)]),
            doc: "Delivers each event this long after it was accepted, not before. Less than its topics' `retain`."),
        Keyword(
            name: "ttl", context: .subscriber, shape: .one(.duration),
            doc: "Drops events that could not be delivered within this time after they were accepted."),
        Keyword(
            name: "start", context: .subscriber,
            shape: .choice([
                .word("earliest"), .word("latest"), .sequence([.word("offset"), .one(.integer(0...Int.max))]),
                .sequence([.word("time"), .one(.time)]),
            ]), defaultText: "latest",
            doc: "Where a new subscriber begins. `run` and `push` get the past beside what is live."),
        Keyword(
            name: "allow", context: .subscriber,
            shape: .choice([
                .word("mail"), .sequence([.word("http"), .many(.string)]),
                .sequence([.word("publish"), .many(.topicName)]),
                .sequence([.word("env"), .many(.environmentName)]), .sequence([.word("file"), .many(.string)]),
            ]), isRepeatable: true,
            doc:
                "What the plugin may touch; everything else is refused. Hosts are public ones, but for addresses, `localhost` and `private:NAME`."
        ),
        Keyword(
            name: "limits", context: .subscriber, shape: .sequence([]), block: .limits, needsBlock: true,
            defaultText: "{ cpu 100ms; memory 32MiB }", doc: "What one event, and the plugin's state, may use."),
        Keyword(
            name: "on", context: .subscriber,
            shape: .choice([
                .sequence([
                    .word("dead"),
                    .choice([.word("keep"), .word("pause"), .sequence([.word("publish"), .one(.topicName)])]),
                ]),
                .sequence([.word("bad_reload"), .choice([.word("rollback"), .word("pause"), .word("keep")])]),
            ]), hasForms: true, defaultText: "dead keep; on bad_reload rollback",
            doc:
                "After a dead letter: only keep it, pause the subscriber, or publish the event to a topic as well. Where a reload changed the subscriber and its first deliveries fail: go back to what it was before, pause, or only report it."
        ),
        Keyword(
            name: "pause", context: .subscriber, shape: .sequence([]), doc: "Nothing is delivered; events are kept."),
        Keyword(
            name: "was", context: .subscriber, shape: .one(.name),
            doc: "The subscriber's name before: it goes on where that one stopped."),
        Keyword(
            name: "replay", context: .subscriber, shape: .word("deny"),
            doc: "Refuses replays and imports to this subscriber."),
    ]

    private static let delivery: [Keyword] = [
        Keyword(
            name: "sign", context: .push, shape: .many(.secret),
            doc:
                "Signs requests (Standard Webhooks): `whsec_…` by HMAC, `whsk_…` by ed25519; while changing, new and old."
        ),
        Keyword(
            name: "header", context: .push, shape: .sequence([.one(.string), .choice([.one(.text), .one(.secret)])]),
            isRepeatable: true,
            doc: "Adds a header to each request."),
        Keyword(
            name: "mode", context: .push, shape: .choice([.word("binary"), .word("structured")]),
            defaultText: "binary",
            doc: "An event's attributes as headers and its data as the body, or all of it as one JSON object."),
        Keyword(
            name: "handshake", context: .push, shape: .choice([.word("yes"), .word("no"), .one(.text)]),
            defaultText: "no",
            doc: "Asks the endpoint for its consent first (CloudEvents webhooks), in this host's name or the one given."
        ),
        Keyword(
            name: "breaker", context: .push,
            shape: .choice([
                .word("off"),
                .sequence([
                    .one(.integer(1...Limits.breakerFailuresMax)),
                    .optional(.sequence([.word("probe"), .one(.duration), .word("to"), .one(.duration)])),
                ]),
            ]), defaultText: "10 probe 5s to 5m",
            doc: "After so many failures in a row, only tries single events, at growing intervals, until one succeeds."),
        Keyword(
            name: "lease", context: .pull, shape: .one(.duration), defaultText: "30s",
            doc: "How long a client has an event to itself."),
        Keyword(
            name: "cpu", context: .limits, shape: .one(.duration), defaultText: "100ms",
            doc: "Processor time of one event."),
        Keyword(
            name: "memory", context: .limits, shape: .one(.size), defaultText: "32MiB",
            doc: "Bytes of the plugin's Lua state."),
    ]

    private static let mail: [Keyword] = [
        Keyword(
            name: "directory", context: .mail, shape: .one(.string), doc: "Writes each message to a file there."),
        Keyword(
            name: "smtp", context: .mail, shape: .one(.address), block: .smtp, doc: "Sends through this server."),
        Keyword(name: "user", context: .smtp, shape: .one(.text), doc: "The user to log in as."),
        Keyword(name: "password", context: .smtp, shape: .one(.secret), doc: "Its password."),
        Keyword(name: "from", context: .smtp, shape: .one(.text), doc: "The sender where a plugin names none."),
    ]

    private static let access: [Keyword] = [
        Keyword(
            name: "publish", context: .token, shape: .many(.topicPattern), doc: "Topics that it may publish to."),
        Keyword(
            name: "pull", context: .token, shape: .many(.name), doc: "Subscribers whose events it may take."),
        Keyword(
            name: "read", context: .token, shape: .sequence([]), doc: "May look at events, subscribers and settings."),
        Keyword(name: "admin", context: .token, shape: .sequence([]), doc: "May change what runs: pause, replay, …"),
        Keyword(
            name: "certificate", context: .tls, shape: .one(.string),
            doc: "The certificate chain (PEM), relative to the folder of routes.conf."),
        Keyword(
            name: "key", context: .tls, shape: .one(.string),
            doc: "Its private key (PEM), relative to the folder of routes.conf."),
    ]

    private static let keep: [Keyword] = [
        Keyword(
            name: "attempts", context: .keep, shape: .one(.duration), defaultText: "7d",
            doc: "Attempts, and dead letters that are done with: what `fairlead why` and `dead show` tell."),
        Keyword(
            name: "dead", context: .keep, shape: .choice([.one(.duration), .word("forever")]), defaultText: "forever",
            doc: "Dead letters that nobody has dealt with. When they go, it is reported on `$alert`."),
    ]

    private static let test: [Keyword] = [
        Keyword(
            name: "publish", context: .test, shape: .one(.topicName), block: .event, needsBlock: true,
            isRepeatable: true,
            doc: "An event: `type`, `subject`, `data.order_id`, …"),
        Keyword(
            name: "expect", context: .test, shape: .many(.name), isRepeatable: true,
            doc: "Subscribers that should get an event."),
        Keyword(
            name: "reject", context: .test, shape: .many(.name), isRepeatable: true,
            doc: "Subscribers that should get none."),
    ]
}
